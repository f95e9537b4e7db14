/* The floor: what the kernel alone takes for a container, with nothing that anybody could leave out.
 *
 * Namespaces, a control group in every hierarchy, 7 mounts, pivot_root, exec, wait, remove the
 * groups. No configuration, no state, no filter, no log. Exits with the program's status.
 *
 *   floor [-n] [-p] ROOT PROGRAM [ARGS...]
 *     -n  a network namespace too
 *     -p  on cgroup v1, the parent writes the child's pid into cgroup.procs, as most engines do;
 *         without it the single-threaded child writes 0 into tasks, which spares a grace period
 *         of the kernel after a pause
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CGROUPS "/sys/fs/cgroup"
static const char *const V1[] = {"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"};
enum { COUNT = sizeof V1 / sizeof *V1 };

static void die(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    _exit(125);
}

static void must(int result, const char *what) {
    if (result < 0) die(what);
}

static void put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    must(fd, path);
    must((int)write(fd, text, strlen(text)), path);
    close(fd);
}

static void group_path(char *out, size_t size, const char *hierarchy, const char *file) {
    snprintf(out, size, CGROUPS "/%s/floor-%d%s", hierarchy, (int)getpid(), file);
}

/* Groups in all v1 hierarchies; a cpuset of its own is unusable until its parent's is copied. */
static void make_v1(int joins[COUNT], int by_child) {
    char path[256], text[256];
    for (int i = 0; i < COUNT; i++) {
        group_path(path, sizeof path, V1[i], "");
        must(mkdir(path, 0755), path);
        if (strcmp(V1[i], "cpuset") == 0) {
            for (int k = 0; k < 2; k++) {
                const char *knob = k ? "mems" : "cpus";
                snprintf(path, sizeof path, CGROUPS "/cpuset/cpuset.%s", knob);
                int fd = open(path, O_RDONLY | O_CLOEXEC);
                must(fd, path);
                ssize_t n = read(fd, text, sizeof text - 1);
                must((int)n, path);
                close(fd);
                text[n] = 0;
                snprintf(path, sizeof path, CGROUPS "/cpuset/floor-%d/cpuset.%s", (int)getpid(), knob);
                put(path, text);
            }
        }
        group_path(path, sizeof path, V1[i], by_child ? "/tasks" : "/cgroup.procs");
        must(joins[i] = open(path, O_WRONLY | O_CLOEXEC), path);
    }
}

static void join_v1(const int joins[COUNT], int pid) {
    char text[16];
    int n = snprintf(text, sizeof text, "%d", pid);
    for (int i = 0; i < COUNT; i++) must((int)write(joins[i], text, n), "joining a group");
}

static void mounts(const char *root) {
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
    must(mount(root, root, NULL, MS_BIND | MS_REC, NULL), root);
    must(chdir(root), root);
    must(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "proc");
    must(mount("sysfs", "sys", "sysfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "sys");
    must(mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755,size=65536k"), "dev");
    must(mkdir("dev/pts", 0755), "dev/pts");
    must(mkdir("dev/shm", 0755), "dev/shm");
    must(mkdir("dev/mqueue", 0755), "dev/mqueue");
    must(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"), "devpts");
    must(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=65536k"), "shm");
    must(mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL), "mqueue");
    must((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", MNT_DETACH), "umount");
    must(chdir("/"), "chdir");
}

int main(int argc, char **argv) {
    int network = 0, by_parent = 0, option;
    while ((option = getopt(argc, argv, "+np")) != -1) {
        if (option == 'n') network = 1;
        else if (option == 'p') by_parent = 1;
        else return 125;
    }
    if (argc - optind < 2) {
        fprintf(stderr, "floor [-n] [-p] ROOT PROGRAM [ARGS...]\n");
        return 125;
    }
    int v1 = access(CGROUPS "/memory/tasks", F_OK) == 0;
    int joins[COUNT], gate[2], into = -1;
    char path[256];
    if (v1) {
        make_v1(joins, !by_parent);
    } else {
        group_path(path, sizeof path, "", "");
        must(mkdir(path, 0755), path);
        must(into = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), path);
    }
    must(pipe2(gate, O_CLOEXEC), "pipe");
    struct clone_args args = {.exit_signal = SIGCHLD};
    args.flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS;
    if (network) args.flags |= CLONE_NEWNET;
    if (!v1) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)into;
    }
    pid_t child = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    must(child, "clone3");
    if (child == 0) {
        char byte;
        if (v1 && !by_parent) join_v1(joins, 0);
        if (v1 && by_parent) must((int)read(gate[0], &byte, 1), "gate");
        must(unshare(CLONE_NEWCGROUP), "cgroup namespace");
        mounts(argv[optind]);
        must(sethostname("floor", 5), "sethostname");
        char *const environment[] = {"PATH=/bin:/usr/bin", NULL};
        execve(argv[optind + 1], argv + optind + 1, environment);
        die(argv[optind + 1]);
    }
    if (v1 && by_parent) {
        join_v1(joins, child);
        must((int)write(gate[1], "g", 1), "gate");
    }
    int status;
    must(waitpid(child, &status, 0), "wait");
    for (int i = 0; v1 && i < COUNT; i++) {
        group_path(path, sizeof path, V1[i], "");
        must(rmdir(path), path);
    }
    if (!v1) must(rmdir(path), path);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
