// Makes calls that a container has no business with and prints what came of each: "name errno".
// With arguments: executes them afterwards, to show what stays over exec.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define HIGH 0xdeadbeef00000000L
#define X32 0x40000000L
#define NEWUSER 0x10000000L
#define NEWNS 0x00020000L

static void say(const char *name, long result) {
    printf("%s %ld\n", name, result < 0 ? -result : 0);
    fflush(stdout);
}

static long raw(long number, long a, long b, long c, long d, long e) {
    long result = syscall(number, a, b, c, d, e, 0L);
    return result < 0 ? -errno : result;
}

// A call of the i386 ABI; pointers lie below 4 GiB.
static long i386(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(a), "c"(b), "d"(c)
                     : "memory", "r8", "r9", "r10", "r11");
    return (int)result;
}

// A child that came to be ends at once.
static void forked(const char *name, long result) {
    if (result == 0)
        _exit(0);
    if (result > 0)
        waitpid(result, NULL, __WALL);
    say(name, result);
}

// In a process of its own: what succeeds must not change the others.
static void apart(const char *name, long number, long a, long b, long c) {
    pid_t pid = fork();
    if (pid == 0) {
        say(name, raw(number, a, b, c, 0, 0));
        _exit(0);
    }
    waitpid(pid, NULL, 0);
}

static void namespaces(void) {
    forked("clone-newuser", raw(SYS_clone, NEWUSER | SIGCHLD, 0, 0, 0, 0));
    forked("clone-newuser-high-bits", raw(SYS_clone, HIGH | NEWUSER | SIGCHLD, 0, 0, 0, 0));
    struct clone_args args = {.flags = NEWUSER, .exit_signal = SIGCHLD};
    forked("clone3-newuser", raw(SYS_clone3, (long)&args, sizeof args, 0, 0, 0));
    apart("unshare-newuser", SYS_unshare, NEWUSER, 0, 0);
    apart("unshare-newuser-high-bits", SYS_unshare, HIGH | NEWUSER, 0, 0);
    apart("unshare-newns", SYS_unshare, NEWNS, 0, 0);
    apart("setns", SYS_setns, 0, NEWNS, 0);
}

static void mounts(void) {
    say("mount", raw(SYS_mount, (long)"x", (long)"/tmp", (long)"tmpfs", 0, 0));
    say("umount2", raw(SYS_umount2, (long)"/proc", 2, 0, 0, 0));
    say("pivot_root", raw(SYS_pivot_root, (long)".", (long)".", 0, 0, 0));
    say("fsopen", raw(SYS_fsopen, (long)"tmpfs", 0, 0, 0, 0));
    say("fsconfig", raw(SYS_fsconfig, 0, 0, 0, 0, 0));
    say("fsmount", raw(SYS_fsmount, 0, 0, 0, 0, 0));
    say("fspick", raw(SYS_fspick, -100, (long)"/", 0, 0, 0));
    say("open_tree", raw(SYS_open_tree, -100, (long)"/", 1, 0, 0));
    say("open_tree_attr", raw(467, -100, (long)"/", 1, 0, 0));
    say("move_mount", raw(SYS_move_mount, 0, (long)"", 0, (long)"", 0));
    say("mount_setattr", raw(SYS_mount_setattr, -100, (long)"/", 0, 0, 0));
}

static void machinery(void) {
    char memory[256];
    memset(memory, 0, sizeof memory);
    say("bpf", raw(SYS_bpf, 0, (long)memory, sizeof memory, 0, 0));
    say("perf_event_open", raw(SYS_perf_event_open, (long)memory, 0, -1, -1, 0));
    say("userfaultfd", raw(SYS_userfaultfd, 1, 0, 0, 0, 0));
    say("io_uring_setup", raw(SYS_io_uring_setup, 1, (long)memory, 0, 0, 0));
    say("io_uring_enter", raw(SYS_io_uring_enter, 0, 0, 0, 0, 0));
    say("io_uring_register", raw(SYS_io_uring_register, 0, 0, 0, 0, 0));
    say("keyctl", raw(SYS_keyctl, 0, -3, 0, 0, 0));
    say("add_key", raw(SYS_add_key, (long)"user", (long)"k", (long)"v", 1, -2));
    say("request_key", raw(SYS_request_key, (long)"user", (long)"k", 0, 0, 0));
    say("kexec_load", raw(SYS_kexec_load, 0, 0, 0, 0, 0));
    say("open_by_handle_at", raw(SYS_open_by_handle_at, -100, (long)memory, 0, 0, 0));
    say("personality-no-randomize", raw(SYS_personality, 0x0040000, 0, 0, 0, 0));
    say("personality-read-implies-exec", raw(SYS_personality, HIGH | 0x0400000, 0, 0, 0, 0));
}

static void sockets_and_terminals(void) {
    say("af-alg", raw(SYS_socket, 38, 5, 0, 0, 0));
    say("af-alg-high-bits", raw(SYS_socket, HIGH | 38, 5, 0, 0, 0));
    say("af-vsock", raw(SYS_socket, 40, 1, 0, 0, 0));
    say("af-vsock-high-bits", raw(SYS_socket, HIGH | 40, 1, 0, 0, 0));
    say("tiocsti", raw(SYS_ioctl, 0, 0x5412, (long)"x", 0, 0));
    say("tiocsti-high-bits", raw(SYS_ioctl, 0, HIGH | 0x5412, (long)"x", 0, 0));
    say("tioclinux", raw(SYS_ioctl, 0, HIGH | 0x541c, (long)"\3", 0, 0));
}

static void other_interfaces(void) {
    say("x32-getpid", raw(X32 + 39, 0, 0, 0, 0, 0));
    say("x32-execve", raw(X32 + 520, (long)"/bin/true", 0, 0, 0, 0));
    char *low = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    strcpy(low, "tmpfs");
    strcpy(low + 16, "/tmp");
    say("i386-getpid", i386(20, 0, 0, 0));
    say("i386-mount", i386(21, (long)low, (long)low + 16, (long)low));
    say("i386-unshare", i386(310, NEWUSER, 0, 0));
    say("i386-keyctl", i386(288, 0, -3, 0));
    say("i386-bpf", i386(357, 0, (long)low, 16));
    say("i386-perf_event_open", i386(336, (long)low, 0, -1));
    say("i386-userfaultfd", i386(374, 1, 0, 0));
    say("i386-io_uring_setup", i386(425, 1, (long)low, 0));
    say("i386-socketcall", i386(102, 1, (long)low, 0));
    say("i386-af-alg", i386(359, 38, 5, 0));
    say("i386-tiocsti", i386(54, 0, 0x5412, (long)low));
}

static void others_processes(void) {
    pid_t victim = fork();
    if (victim == 0) {
        pause();
        _exit(0);
    }
    say("ptrace", raw(SYS_ptrace, PTRACE_SEIZE, victim, 0, 0, 0));
    char byte;
    struct { void *at; unsigned long length; } local = {&byte, 1}, remote = {&victim, 1};
    say("process_vm_readv", raw(SYS_process_vm_readv, victim, (long)&local, 1, (long)&remote, 1));
    kill(victim, SIGKILL);
    waitpid(victim, NULL, 0);
}

// Neither may a filter be taken off, nor a lenient one on top of it help.
static void a_way_out(void) {
    say("seccomp-off", prctl(PR_SET_SECCOMP, 0, 0, 0, 0) < 0 ? -errno : 0);
    struct { unsigned short code; unsigned char jt, jf; unsigned k; } allow = {6, 0, 0, 0x7fff0000};
    struct { unsigned short length; void *program; } program = {1, &allow};
    say("lenient-filter", raw(SYS_seccomp, 1, 0, (long)&program, 0, 0));
    apart("unshare-under-lenient-filter", SYS_unshare, NEWUSER, 0, 0);
}

int main(int argc, char **argv) {
    namespaces();
    mounts();
    machinery();
    sockets_and_terminals();
    other_interfaces();
    others_processes();
    a_way_out();
    if (argc > 1) {
        printf("executed\n");
        fflush(stdout);
        execv(argv[1], argv + 1);
    }
    return 0;
}
