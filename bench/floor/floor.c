/* The floor: what the kernel alone takes for a container, by bare system calls.
 *
 * No configuration, no state, no log; every kernel object that is named and nothing else. Exits
 * with the program's status.
 *
 *   floor [-p] [-d] [-g GROUP] [-l PORT | -r PORT] PARTS ROOT PROGRAM [ARGS...]
 *     PARTS  `minimal`, `default`, or names from parts.c, with commas between
 *     -p     on cgroup v1, the parent writes the child's pid into cgroup.procs, as most engines do;
 *            without it the single-threaded child writes 0 into tasks, which spares a grace period
 *            of the kernel after a pause
 *     -d     leaves it running, its groups with it
 *     -g     the name of the control groups
 *     -l N   first listens on port N, and starts when somebody connects; the program gets the socket as descriptor 3
 *     -r N   likewise; the program listens on port 8080 of its own network, and what is said is passed on to it
 *   floor -k GROUP
 *     kills what -d has left running, and removes its groups
 */
#include "floor.h"
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <sys/wait.h>

int unshare(int flags);

/* Where a program listens that gets no socket. */
enum { SERVED = 8080 };

struct job {
    unsigned parts;
    int v1, by_parent, detach, port, relay;
    const char *group, *root;
    char **argv;
    struct trees trees;
    int joins[HIERARCHIES], into, gate[2], wired[2], running[2];
};

static pid_t start(struct job *job) {
    const struct { unsigned part; uint64_t flag; } spaces[] = {
        {MNT, CLONE_NEWNS}, {PID, CLONE_NEWPID}, {IPC, CLONE_NEWIPC}, {UTS, CLONE_NEWUTS},
        {NET, CLONE_NEWNET}, {USER, CLONE_NEWUSER}, {TIME, CLONE_NEWTIME},
    };
    struct clone_args args = {.exit_signal = SIGCHLD};
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
        if (job->parts & spaces[i].part) args.flags |= spaces[i].flag;
    if (job->parts & GROUPS && !job->v1) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = (uint64_t)job->into;
    }
    pid_t child = (pid_t)syscall(SYS_clone3, &args, sizeof args);
    must(child, "clone3");
    return child;
}

static void execute(const struct job *job) {
    char path[4096], *const environment[] = {"PATH=/bin:/usr/bin", NULL};
    snprintf(path, sizeof path, "%s%s", job->parts & PIVOT ? "" : job->root, job->argv[0]);
    execve(path, job->argv, environment);
    die(path);
}

static void child(const struct job *job) {
    char byte;
    close(job->gate[1]);
    if (job->parts & WIRE) close(job->wired[1]);
    if (job->parts & GROUPS && job->v1 && !job->by_parent) groups_join_v1(job->joins, 0);
    if ((job->by_parent || job->parts & USER) && read(job->gate[0], &byte, 1) != 1) _exit(125);
    if (job->parts & CGROUP) must(unshare(CLONE_NEWCGROUP), "cgroup namespace");
    if (job->parts & USER) guard_become_root();
    if (job->parts & MNT) mounts_make(job->parts, job->trees, job->root);
    if (job->parts & UTS) must(sethostname("floor", 5), "sethostname");
    guard_bind(job->parts);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    if (job->parts & WIRE && read(job->wired[0], &byte, 1) != 1) _exit(125);
    execute(job);
}

/* What only the parent's privileges allow. */
static void help(const struct job *job, pid_t child) {
    if (job->parts & USER) {
        int user_namespace = guard_map_ids(child);
        if (job->parts & IDMAP) mounts_map(job->trees, user_namespace);
    }
    if (job->by_parent) groups_join_v1(job->joins, child);
    if (job->by_parent || job->parts & USER) must((int)write(job->gate[1], "g", 1), "gate");
    if (job->parts & WIRE) {
        wire_make(child);
        must((int)write(job->wired[1], "w", 1), "wired");
    }
}

/* Executing closes the other end; so does dying, and then the program is not there. */
static int await_exec(const struct job *job) {
    char byte;
    close(job->running[1]);
    return (int)read(job->running[0], &byte, 1);
}

/* All that needs no process is there before. */
static void prepare(struct job *job) {
    if (job->parts & GROUPS) {
        if (job->v1) groups_make_v1(job->group, !job->by_parent, job->joins);
        else job->into = groups_make_v2(job->group);
    }
    job->trees = mounts_prepare(job->parts, job->root);
    must(pipe2(job->gate, O_CLOEXEC), "pipe");
    if (job->parts & WIRE) must(pipe2(job->wired, O_CLOEXEC), "pipe");
    if (job->detach) must(pipe2(job->running, O_CLOEXEC), "pipe");
}

static int run(struct job *job) {
    int listener = job->port ? answer_listen(job->port) : -1;
    prepare(job);
    if (job->port) answer_await(listener, job->port);
    pid_t pid = start(job);
    if (pid == 0) child(job);
    help(job, pid);
    if (job->relay) answer_relay(listener, pid, SERVED);
    if (job->detach) return await_exec(job);
    int status;
    must(waitpid(pid, &status, 0), "wait");
    if (job->parts & WIRE) wire_remove(pid);
    if (job->parts & GROUPS) groups_remove(job->group);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv) {
    static char own[32];
    struct job job = {.v1 = groups_are_v1(), .group = own};
    snprintf(own, sizeof own, "floor-%d", (int)getpid());
    for (int option; (option = getopt(argc, argv, "+pdg:k:l:r:")) != -1;) {
        if (option == 'k') return groups_end(optarg), 0;
        if (option == 'p') job.by_parent = job.v1;
        else if (option == 'd') job.detach = 1;
        else if (option == 'g') job.group = optarg;
        else if (option == 'l' || option == 'r') job.port = atoi(optarg), job.relay = option == 'r';
        else return 125;
    }
    if (argc - optind < 3) {
        fprintf(stderr, "floor [-p] [-d] [-g GROUP] [-l PORT | -r PORT] PARTS ROOT PROGRAM [ARGS...] | floor -k GROUP\n");
        return 125;
    }
    /* ^C is for who started us: the groups are removed in any case. */
    signal(SIGINT, SIG_IGN);
    signal(SIGTERM, SIG_IGN);
    job.parts = parts_named(argv[optind]);
    job.root = argv[optind + 1];
    job.argv = argv + optind + 2;
    return run(&job);
}
