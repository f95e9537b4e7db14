/* Puts a fault at one system call of one process: kills it, or holds it while something else happens.
 *
 *   injector [-k WHO:N] [-h WHO:N] [-e WHO:N:ERROR] [-x SCRIPT] [-p PID] -o REPORT COMMAND...
 *
 * WHO is c (the command), k (a child of it: the keeper), f (a child of that: a container's first
 * process) or p (the process PID, which runs already; its children are f). N counts the system calls
 * of all processes of that kind from 1; the process is killed (-k) or held (-h) before that one is
 * done. What is held goes on when SCRIPT has ended, which runs when everything that was asked for has
 * happened, or when nothing happens any more because of what is held. With -e the call is not done and
 * fails with ERROR (a number); there N counts only those calls that could fail so. The script finds the command's
 * pid in $COMMAND. The report has what was seen: the command's wait status, how many calls each kind
 * made, how many of them could fail with each error, which of the command's was its first message (sendmsg), whether the faults
 * happened and at which call, and the pid and the id of every keeper. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/user.h>
#include <time.h>
#include <unistd.h>

#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC)
#define MOST 256

struct rule { char who; long at; int done; };
static struct rule death, hold, failure;
static long wrong, failed_call = -1;

/* Who gets no memory from mmap or brk ends as if it were killed: that is another fault. */
enum { FILES = 1, MAKES = 2, HANDLES = 4, WAITS = 8, MEMORY = 16 };
static const struct { long number; int kinds; } table[] = {
    {SYS_open, FILES | HANDLES | MEMORY | WAITS}, {SYS_openat, FILES | HANDLES | MEMORY | WAITS},
    {437 /* openat2 */, FILES | HANDLES | MEMORY | WAITS}, {SYS_read, FILES | WAITS | MEMORY}, {SYS_pread64, FILES | WAITS},
    {SYS_write, FILES | MAKES | WAITS | MEMORY}, {SYS_pwrite64, FILES | MAKES | WAITS}, {SYS_writev, FILES | MAKES | WAITS},
    {SYS_getdents64, FILES | MEMORY}, {SYS_statx, FILES | MEMORY}, {SYS_newfstatat, FILES | MEMORY}, {SYS_readlink, FILES | MEMORY},
    {SYS_readlinkat, FILES | MEMORY}, {SYS_fsync, FILES | MAKES}, {SYS_ftruncate, FILES | MAKES}, {SYS_mkdir, FILES | MAKES | MEMORY},
    {SYS_mkdirat, FILES | MAKES | MEMORY}, {SYS_mknod, FILES | MAKES}, {SYS_mknodat, FILES | MAKES}, {SYS_symlink, FILES | MAKES},
    {SYS_symlinkat, FILES | MAKES}, {SYS_link, FILES | MAKES}, {SYS_linkat, FILES | MAKES}, {SYS_rename, FILES | MAKES},
    {SYS_renameat, FILES | MAKES}, {SYS_renameat2, FILES | MAKES}, {SYS_unlink, FILES}, {SYS_unlinkat, FILES},
    {SYS_mount, FILES | MAKES | MEMORY}, {SYS_unshare, MAKES | MEMORY}, {SYS_setns, MEMORY}, {SYS_clone, MAKES | MEMORY},
    {435 /* clone3 */, MAKES | MEMORY}, {SYS_fork, MEMORY}, {SYS_vfork, MEMORY}, {SYS_execve, FILES | MEMORY}, {SYS_pivot_root, MEMORY},
    {428 /* open_tree */, HANDLES | MEMORY}, {429 /* move_mount */, MAKES | MEMORY}, {430 /* fsopen */, HANDLES | MEMORY},
    {431 /* fsconfig */, FILES | MEMORY}, {432 /* fsmount */, HANDLES | MEMORY | MAKES}, {442 /* mount_setattr */, MEMORY},
    {SYS_socket, HANDLES | MEMORY}, {SYS_socketpair, HANDLES | MEMORY}, {SYS_pipe, HANDLES | MEMORY}, {SYS_pipe2, HANDLES | MEMORY},
    {SYS_dup, HANDLES}, {SYS_epoll_create1, HANDLES | MEMORY}, {SYS_eventfd2, HANDLES | MEMORY}, {SYS_signalfd4, HANDLES | MEMORY},
    {SYS_memfd_create, HANDLES | MEMORY}, {434 /* pidfd_open */, HANDLES | MEMORY}, {SYS_accept4, HANDLES | MEMORY | WAITS},
    {SYS_timerfd_create, HANDLES | MEMORY}, {SYS_seccomp, MEMORY}, {SYS_wait4, WAITS}, {SYS_waitid, WAITS}, {SYS_poll, WAITS | MEMORY},
    {SYS_ppoll, WAITS | MEMORY}, {SYS_epoll_wait, WAITS}, {SYS_connect, WAITS}, {SYS_recvmsg, WAITS | MEMORY}, {SYS_sendmsg, WAITS | MEMORY},
    {SYS_recvfrom, WAITS | MEMORY}, {SYS_sendto, WAITS | MEMORY}, {SYS_flock, WAITS | MEMORY},
};
/* In the order of the report. */
static const struct { int number, kind; } errors[] = {{ENOSPC, MAKES}, {EMFILE, HANDLES}, {ENOMEM, MEMORY}, {EINTR, WAITS}, {EIO, FILES}};
#define ERRORS 5
static long could_fail[128][ERRORS];

static int kinds_of(struct __ptrace_syscall_info *call)
{
    for (unsigned i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].number == (long)call->entry.nr) {
            long flags = table[i].number == SYS_open ? call->entry.args[1] : table[i].number == SYS_openat ? call->entry.args[2] : 0;
            return table[i].kinds | (flags & O_CREAT ? MAKES : 0);
        }
    return 0;
}
static const char *script;
static struct { pid_t pid; char who; int held; int known; int fails; char argument[32]; } seen[MOST];
static int count;
static long calls[128], sent;
static pid_t command, running_script;
static int script_done, began;
static sigset_t children;

static int find(pid_t pid)
{
    for (int i = count - 1; i >= 0; i--)
        if (seen[i].pid == pid) return i;
    if (count == MOST) exit(99);
    seen[count].pid = pid;
    seen[count].who = 'f';
    return count++;
}

static char child_of(char who) { return who == 'c' ? 'k' : 'f'; }

static struct rule rule(const char *text)
{
    struct rule made = { text[0], atol(text + 2), 0 };
    return made;
}

static void on(int i, int signal)
{
    ptrace(PTRACE_SYSCALL, seen[i].pid, 0, (void *)(long)signal);
}

/* The call is not done; at its end its result is replaced. */
static void replace(int i, int enters)
{
    struct user_regs_struct registers;
    if (ptrace(PTRACE_GETREGS, seen[i].pid, 0, &registers)) return;
    if (enters) registers.orig_rax = -1;
    else registers.rax = -wrong;
    ptrace(PTRACE_SETREGS, seen[i].pid, 0, &registers);
    seen[i].fails = enters;
}

static void count_failures(int i, struct __ptrace_syscall_info *call)
{
    int who = seen[i].who, kinds = kinds_of(call);
    if (who == 'c' && !began) return;
    for (int e = 0; e < ERRORS; e++) {
        if (!(kinds & errors[e].kind)) continue;
        long at = ++could_fail[who][e];
        if (failure.who != who || failure.done || errors[e].number != wrong || at != failure.at) continue;
        failure.done = 1;
        failed_call = call->entry.nr;
        replace(i, 1);
    }
}

/* The beginning of a system call: true if the process stays where it is. */
static int reached(int i, long number)
{
    /* Its calls until it is the command are ours. */
    if (seen[i].who == 'c' && !began) return 0;
    long at = ++calls[(int)seen[i].who];
    if (seen[i].who == 'c' && number == SYS_sendmsg && !sent) sent = at;
    if (death.who == seen[i].who && at == death.at) {
        death.done = 1;
        kill(seen[i].pid, SIGKILL);
    }
    if (hold.who == seen[i].who && at == hold.at) {
        hold.done = 1;
        return seen[i].held = 1;
    }
    return 0;
}

/* The first argument of a program that has just been executed. */
static void read_argument(int i)
{
    char path[64], line[4096];
    snprintf(path, sizeof path, "/proc/%d/cmdline", seen[i].pid);
    int file = open(path, O_RDONLY);
    long length = file < 0 ? 0 : read(file, line, sizeof line - 1);
    if (file >= 0) close(file);
    if (length <= 0) return;
    line[length] = 0;
    if ((long)strlen(line) + 1 < length) snprintf(seen[i].argument, sizeof seen[i].argument, "%s", line + strlen(line) + 1);
}

/* A keeper that is a copy of its command has no argument of its own: it is known by the name of the
 * first control group that it makes. */
static void read_group(int i, unsigned long address)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/mem", seen[i].pid);
    int file = open(path, O_RDONLY);
    long length = file < 0 ? 0 : pread(file, line, sizeof line - 1, address);
    if (file >= 0) close(file);
    if (length <= 0) return;
    line[length] = 0;
    char *name = strrchr(line, '/');
    if (strstr(line, "/tsubo/") && name && strlen(name + 1) == 12) snprintf(seen[i].argument, sizeof seen[i].argument, "%s", name + 1);
}

static void event(int i, int status)
{
    int signal = WSTOPSIG(status), kind = status >> 16;
    if (kind == PTRACE_EVENT_FORK || kind == PTRACE_EVENT_VFORK || kind == PTRACE_EVENT_CLONE) {
        unsigned long child = 0;
        ptrace(PTRACE_GETEVENTMSG, seen[i].pid, 0, &child);
        int at = find(child);
        seen[at].who = child_of(seen[i].who);
        if (seen[at].known == 2) on(at, 0);
        seen[at].known = 1;
        return on(i, 0);
    }
    if (kind == PTRACE_EVENT_STOP) {
        if (signal == SIGTRAP && !seen[i].known) {
            /* A child that stops before its parent has told of it. */
            seen[i].known = 2;
            return;
        }
        if (signal != SIGTRAP) {
            ptrace(PTRACE_LISTEN, seen[i].pid, 0, 0);
            return;
        }
        return on(i, 0);
    }
    if (signal == (SIGTRAP | 0x80)) {
        struct __ptrace_syscall_info info;
        memset(&info, 0, sizeof info);
        ptrace(PTRACE_GET_SYSCALL_INFO, seen[i].pid, (void *)sizeof info, &info);
        int enters = info.op == PTRACE_SYSCALL_INFO_ENTRY;
        if (enters) count_failures(i, &info);
        else if (seen[i].fails) replace(i, 0);
        if (enters && seen[i].who == 'k' && info.entry.nr == SYS_mkdir && !seen[i].argument[0]) read_group(i, info.entry.args[0]);
        if (enters && reached(i, info.entry.nr)) return;
        return on(i, 0);
    }
    if (kind == PTRACE_EVENT_EXEC && seen[i].who == 'k' && !seen[i].argument[0]) read_argument(i);
    on(i, kind ? 0 : signal);
}

static void run_script(void)
{
    char text[32];
    script_done = 1;
    running_script = fork();
    if (running_script == 0) {
        sigprocmask(SIG_UNBLOCK, &children, 0);
        snprintf(text, sizeof text, "%d", command);
        setenv("COMMAND", text, 1);
        execl("/bin/sh", "sh", "-c", script, (char *)0);
        _exit(127);
    }
}

static void let_go(void)
{
    for (int i = 0; i < count; i++)
        if (seen[i].held) {
            seen[i].held = 0;
            on(i, 0);
        }
}

static long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
    const char *report = 0;
    int option, end = -1;
    pid_t attached = 0;
    while ((option = getopt(argc, argv, "+k:h:e:x:p:o:")) != -1) switch (option) {
        case 'k': death = rule(optarg); break;
        case 'h': hold = rule(optarg); break;
        case 'e': failure = rule(optarg); wrong = atol(strrchr(optarg, ':') + 1); break;
        case 'x': script = optarg; break;
        case 'p': attached = atoi(optarg); break;
        case 'o': report = optarg; break;
        default: return 98;
    }
    if (attached) {
        if (ptrace(PTRACE_SEIZE, attached, 0, (void *)OPTIONS)) return 97;
        int i = find(attached);
        seen[i].who = 'p';
        seen[i].known = 1;
        ptrace(PTRACE_INTERRUPT, attached, 0, 0);
    }
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, 0);
    command = fork();
    if (command == 0) {
        sigprocmask(SIG_UNBLOCK, &children, 0);
        raise(SIGSTOP);
        execvp(argv[optind], argv + optind);
        _exit(127);
    }
    int status;
    waitpid(command, &status, WUNTRACED);
    ptrace(PTRACE_SEIZE, command, 0, (void *)OPTIONS);
    int first = find(command);
    seen[first].who = 'c';
    seen[first].known = 1;
    kill(command, SIGCONT);
    long quiet = now();
    for (;;) {
        pid_t pid = waitpid(-1, &status, __WALL | WNOHANG);
        if (pid > 0) quiet = now();
        if (pid > 0 && pid == running_script) {
            running_script = 0;
            let_go();
        } else if (pid > 0 && WIFSTOPPED(status)) {
            int i = find(pid);
            began |= i == first && status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8);
            event(i, status);
        } else if (pid == command) {
            end = status;
        } else if (pid <= 0) {
            /* Until something happens, or for a moment. */
            struct timespec moment = {0, 1000000};
            sigtimedwait(&children, 0, &moment);
        }
        int waits = script && !script_done;
        int happened = (!death.who || death.done) && (!hold.who || hold.done);
        long idle = now() - quiet;
        if (waits && (happened || (idle > 100 && hold.done))) run_script();
        else if (end != -1 && !running_script && idle > (death.done ? 5 : 20)) {
            let_go();
            break;
        }
        /* Where the command waits for somebody outside, its own patience ends that. */
        if (idle > 30000) break;
    }
    FILE *out = fopen(report, "w");
    if (!out) return 96;
    fprintf(out, "{\"status\": %d, \"killed\": %s, \"held\": %s, \"c\": %ld, \"k\": %ld, \"f\": %ld, \"p\": %ld, \"sent\": %ld, \"keepers\": [",
            end, death.done ? "true" : "false", hold.done ? "true" : "false", calls['c'], calls['k'], calls['f'], calls['p'], sent);
    const char *comma = "";
    for (int i = 0; i < count; i++)
        if (seen[i].who == 'k') fprintf(out, "%s[%d, \"%s\"]", comma, seen[i].pid, seen[i].argument), comma = ", ";
    fprintf(out, "], \"failed\": %ld, \"could_fail\": {", failed_call);
    comma = "";
    for (const char *who = "ckfp"; *who; who++, comma = ", ") {
        fprintf(out, "%s\"%c\": [", comma, *who);
        for (int e = 0; e < ERRORS; e++) fprintf(out, "%s%ld", e ? ", " : "", could_fail[(int)*who][e]);
        fprintf(out, "]");
    }
    fprintf(out, "}}\n");
    return fclose(out) ? 95 : 0;
}
