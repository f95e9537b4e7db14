/* Takes as much as it can get of something that the kernel counts: counts WHAT MOST [hold].
 * Prints how many it got and why it got no more; then it holds them until it is killed. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/msg.h>
#include <sys/resource.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char name[64];
/* Whoever does not hold gives back what outlives a process. */
static int holds;

static int inotify(long i) { return inotify_init1(IN_CLOEXEC); }

/* Many files, watched by each of a few instances. */
static int watch(long i) {
    enum { FILES = 2000 };
    static int instance = -1;
    snprintf(name, sizeof name, "/tmp/watched-%ld", i % FILES);
    if (i < FILES) close(open(name, O_CREAT | O_WRONLY, 0600));
    if (i % FILES == 0 && (instance = inotify_init1(IN_CLOEXEC)) < 0) return -1;
    return inotify_add_watch(instance, name, IN_MODIFY);
}

static int key(long i) {
    snprintf(name, sizeof name, "counts-%ld", i);
    /* The process's keyring. */
    return syscall(SYS_add_key, "user", name, "x", 1, -2) < 0 ? -1 : 0;
}

static int keyring(long i) { return syscall(SYS_keyctl, 1 /* JOIN_SESSION_KEYRING */, 0) < 0 ? -1 : 0; }

static int pty(long i) { return open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC); }

static int queue(long i) {
    struct mq_attr attr = {.mq_maxmsg = 10, .mq_msgsize = 64};
    snprintf(name, sizeof name, "/counts-%ld", i);
    int queue = mq_open(name, O_CREAT | O_RDWR, 0600, &attr);
    if (queue >= 0 && !holds) mq_unlink(name);
    return queue;
}

static int shm(long i) {
    int id = shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600);
    if (id >= 0 && !holds) shmctl(id, IPC_RMID, NULL);
    return id;
}

static int sem(long i) {
    int id = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
    if (id >= 0 && !holds) semctl(id, 0, IPC_RMID);
    return id;
}

static int msg(long i) {
    int id = msgget(IPC_PRIVATE, IPC_CREAT | 0600);
    if (id >= 0 && !holds) msgctl(id, IPC_RMID, NULL);
    return id;
}

/* Messages in queues, the longest that there are. */
static int message(long i) {
    static int queue = -1;
    static struct { long type; char text[8192]; } message = {.type = 1};
    if (!holds) return msg(i);
    if (queue >= 0 && msgsnd(queue, &message, sizeof message.text, IPC_NOWAIT) == 0) return 0;
    if ((queue = msgget(IPC_PRIVATE, IPC_CREAT | 0600)) < 0) return -1;
    return msgsnd(queue, &message, sizeof message.text, IPC_NOWAIT);
}

/* Memory that belongs to no process. */
static int memory(long i) {
    if (!holds) return shm(i);
    int id = shmget(IPC_PRIVATE, 1 << 20, IPC_CREAT | 0600);
    char *at = id < 0 ? (char *)-1 : shmat(id, NULL, 0);
    if (at == (char *)-1) return -1;
    memset(at, 1, 1 << 20);
    return shmdt(at);
}

static int aio(long i) {
    unsigned long context = 0;
    return syscall(SYS_io_setup, 128, &context);
}

static int epoll(long i) {
    static int one = -1, all = -1;
    if (one < 0) one = eventfd(0, EFD_CLOEXEC);
    if (i % 500 == 0) all = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    int copy = dup(one);
    return copy < 0 ? -1 : epoll_ctl(all, EPOLL_CTL_ADD, copy, &event);
}

static int pipes(long i) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) return -1;
    if (fcntl(ends[1], F_SETPIPE_SZ, 1 << 20) < (1 << 20)) {
        if (!errno) errno = EPERM;
        return -1;
    }
    return 0;
}

/* Half as many as a process may have: the other half is for who comes after. */
static int file(long i) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (i % (limit.rlim_cur - 16) == limit.rlim_cur - 17) {
        /* The files stay with the parent, the child goes on without. */
        int ends[2];
        if (pipe(ends) < 0) return -1;
        pid_t child = fork();
        if (child < 0) return -1;
        if (child > 0) {
            for (;;) pause();
        }
        syscall(SYS_close_range, 3, ~0U, 0);
    }
    return open("/dev/null", O_RDONLY);
}

static int signals(long i) {
    union sigval value = {0};
    return sigqueue(getpid(), SIGRTMIN, value);
}

static int timers(long i) {
    timer_t timer;
    struct sigevent event = {.sigev_notify = SIGEV_NONE};
    return timer_create(CLOCK_MONOTONIC, &event, &timer);
}

static int locks(long i) {
    static int file = -1;
    if (file < 0 && (file = open("/tmp/locked", O_CREAT | O_RDWR, 0600)) < 0) return -1;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = i * 2, .l_len = 1};
    return fcntl(file, F_SETLK, &lock);
}

static int flight(long i) {
    static int pair[2] = {-1, -1};
    if (i % 5 == 0 && socketpair(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0, pair) < 0) return -1;
    char control[CMSG_SPACE(sizeof(int) * 100)] = {0};
    struct iovec part = {"x", 1};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control};
    header.msg_controllen = sizeof control;
    struct cmsghdr *words = CMSG_FIRSTHDR(&header);
    words->cmsg_level = SOL_SOCKET;
    words->cmsg_type = SCM_RIGHTS;
    words->cmsg_len = CMSG_LEN(sizeof(int) * 100);
    int *files = (int *)CMSG_DATA(words);
    for (int n = 0; n < 100; n++) files[n] = open("/dev/null", O_RDONLY);
    int sent = sendmsg(pair[0], &header, 0), error = errno;
    for (int n = 0; n < 100; n++) close(files[n]);
    errno = error;
    return sent < 0 ? -1 : 0;
}

static int space(int flag) {
    if (unshare(flag) < 0) return -1;
    const char *files[] = {"/proc/thread-self/ns/net", "/proc/thread-self/ns/ipc", "/proc/thread-self/ns/uts",
                           "/proc/thread-self/ns/user", "/proc/thread-self/ns/mnt"};
    const int flags[] = {CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWUSER, CLONE_NEWNS};
    for (int n = 0; n < 5; n++)
        if (flags[n] == flag) return open(files[n], O_RDONLY);
    return 0;
}
static int net(long i) { return space(CLONE_NEWNET); }
static int ipc(long i) { return space(CLONE_NEWIPC); }
static int uts(long i) { return space(CLONE_NEWUTS); }
static int user(long i) { return space(CLONE_NEWUSER); }
static int mnt(long i) { return space(CLONE_NEWNS); }

/* Of its own namespace only: whoever does not hold may be the host. */
static int mounts(long i) {
    if (!holds) return errno = EINVAL, -1;
    return mount("none", "/tmp", "tmpfs", 0, "size=4k");
}

static int fanotify(long i) { return syscall(SYS_fanotify_init, 0x200 /* FAN_REPORT_FID */, 0); }

static const struct {
    const char *word;
    int (*one)(long);
} kinds[] = {
    {"inotify", inotify}, {"watch", watch}, {"key", key}, {"keyring", keyring}, {"pty", pty},
    {"queue", queue}, {"shm", shm}, {"sem", sem}, {"msg", msg}, {"message", message},
    {"memory", memory}, {"aio", aio}, {"epoll", epoll}, {"pipe", pipes}, {"file", file},
    {"signal", signals}, {"timer", timers}, {"lock", locks}, {"flight", flight}, {"net", net},
    {"ipc", ipc}, {"uts", uts}, {"user", user}, {"mnt", mnt}, {"mount", mounts}, {"fanotify", fanotify},
};

int main(int count, char **words) {
    if (count < 3) return 2;
    long most = atol(words[2]);
    holds = count > 3;
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
        if (strcmp(kinds[kind].word, words[1])) continue;
        long got = 0;
        errno = 0;
        while (got < most && kinds[kind].one(got) >= 0) got++, errno = 0;
        printf("%s %ld %s\n", words[1], got, errno ? strerrorname_np(errno) : "enough");
        fflush(stdout);
        while (holds) pause();
        return 0;
    }
    return 2;
}
