/* Tries what a container has no business with, and prints what came of each: "name errno", 0 for what
 * succeeded. Without arguments the kernel's interfaces (attacks 29 to 32, 38); with `signal` it types into its
 * terminal (25); with `look PROGRAM` it looks into every process of that name that comes by (24), for a second or two. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void say(const char *name, long result)
{
    printf("%s %d\n", name, result < 0 ? errno : 0);
    fflush(stdout);
}

static void writes(const char *name, const char *path, const char *text)
{
    int file = open(path, O_WRONLY);
    long result = file < 0 ? -1 : write(file, text, strlen(text));
    say(name, result);
    if (file >= 0) close(file);
}

/* 0 if something came out. */
static void reads(const char *name, const char *path)
{
    char byte;
    int file = open(path, O_RDONLY | O_NONBLOCK);
    long result = file < 0 ? -1 : read(file, &byte, 1);
    if (result == 0) result = -1, errno = ENODATA;
    say(name, result);
    if (file >= 0) close(file);
}

static void device(const char *name, int kind, int major, int minor)
{
    unlink("/tmp/node");
    long made = mknod("/tmp/node", kind | 0600, makedev(major, minor));
    say(name, made < 0 ? made : open("/tmp/node", O_RDONLY));
}

/* Sends one message of netlink and returns what the kernel answered. */
static void asks(const char *name, int protocol, int type, void *body, int size)
{
    struct { struct nlmsghdr head; char body[256]; } message;
    memset(&message, 0, sizeof message);
    int file = socket(AF_NETLINK, SOCK_RAW, protocol);
    if (file < 0) return say(name, file);
    message.head.nlmsg_len = NLMSG_LENGTH(size);
    message.head.nlmsg_type = type;
    message.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE;
    memcpy(message.body, body, size);
    if (send(file, &message, message.head.nlmsg_len, 0) < 0) return say(name, -1);
    struct { struct nlmsghdr head; struct nlmsgerr error; char rest[512]; } answer;
    long got = recv(file, &answer, sizeof answer, 0);
    errno = got > 0 && answer.head.nlmsg_type == NLMSG_ERROR ? -answer.error.error : got < 0 ? errno : 0;
    say(name, errno ? -1 : 0);
    close(file);
}

static void kernel(void)
{
    mkdir("/tmp/cg", 0700);
    say("cgroup-mount", mount("x", "/tmp/cg", "cgroup", 0, "memory"));
    say("cgroup2-mount", mount("x", "/tmp/cg", "cgroup2", 0, 0));
    const char *agents[] = {"/sys/fs/cgroup/release_agent", "/sys/fs/cgroup/memory/release_agent", "/sys/fs/cgroup/pids/release_agent", "/tmp/cg/release_agent"};
    for (int i = 0; i < 4; i++) writes("release_agent", agents[i], "/tmp/evil");
    writes("core_pattern", "/proc/sys/kernel/core_pattern", "|/tmp/evil");
    writes("modprobe", "/proc/sys/kernel/modprobe", "/tmp/evil");
    writes("sysrq-trigger", "/proc/sysrq-trigger", "h");
    writes("sysrq", "/proc/sys/kernel/sysrq", "1");
    writes("uevent_helper", "/sys/kernel/uevent_helper", "/tmp/evil");
    writes("uevent", "/sys/class/mem/null/uevent", "change");
    say("binfmt_misc-mount", mount("x", "/proc/sys/fs/binfmt_misc", "binfmt_misc", 0, 0));
    writes("binfmt_misc", "/proc/sys/fs/binfmt_misc/register", ":evil:M::evil::/tmp/evil:");
    writes("oom_score_adj-of-others", "/proc/1/oom_score_adj", "-1000");
    writes("panic", "/proc/sys/kernel/panic", "1");
    reads("kcore", "/proc/kcore");
    reads("kmsg", "/proc/kmsg");
    reads("dev-kmsg", "/dev/kmsg");
    reads("timer_list", "/proc/timer_list");
    reads("sched_debug", "/proc/sched_debug");
    reads("debug-sched", "/sys/kernel/debug/sched/debug");
    reads("dev-mem", "/dev/mem");
    reads("keys", "/proc/keys");
    say("syslog", syscall(SYS_syslog, 4, malloc(64), 64));
    device("mknod-disk", S_IFBLK, 254, 0);
    device("mknod-sda", S_IFBLK, 8, 0);
    device("mknod-mem", S_IFCHR, 1, 1);
    struct { unsigned size; int kind; unsigned char bytes[8]; } handle = {8, 1, {2, 0, 0, 0, 0, 0, 0, 0}};
    say("open_by_handle_at", syscall(SYS_open_by_handle_at, open("/", O_RDONLY | O_DIRECTORY), &handle, O_RDONLY));
    say("af-alg", socket(38, SOCK_SEQPACKET, 0));
    say("af-vsock", socket(40, SOCK_STREAM, 0));
    say("af-packet", socket(AF_PACKET, SOCK_RAW, 0x300));
    say("raw-socket", socket(AF_INET, SOCK_RAW, 255));
    struct ifinfomsg link = {.ifi_family = AF_UNSPEC, .ifi_index = 1, .ifi_change = 1, .ifi_flags = 0};
    asks("netlink-route", NETLINK_ROUTE, RTM_NEWLINK, &link, sizeof link);
    char audit[16] = {0};
    asks("netlink-audit", NETLINK_AUDIT, 1001, audit, sizeof audit);
}

/* Types an x, also with high bits that a compare of 64 bits would not see through (2019-10063). */
static void types(void)
{
    for (int fd = 0; fd < 3; fd++) {
        say("tiocsti", syscall(SYS_ioctl, (long)fd, 0x5412L, "x"));
        say("tiocsti-high-bits", syscall(SYS_ioctl, (long)fd, 0xdeadbeef00005412L, "x"));
    }
    int terminal = open("/dev/tty", O_RDWR);
    say("dev-tty", terminal);
}

static int is(const char *pid, const char *wanted)
{
    char path[64], name[64] = "";
    snprintf(path, sizeof path, "/proc/%s/comm", pid);
    int file = open(path, O_RDONLY);
    if (file < 0) return 0;
    long length = read(file, name, sizeof name - 1);
    close(file);
    return length > 0 && !strncmp(name, wanted, strlen(wanted));
}

static void looks(const char *wanted)
{
    time_t end = time(0) + 2;
    long passed = 0, inside = 0;
    char path[64], target[256];
    while (time(0) < end) {
        DIR *all = opendir("/proc");
        struct dirent *entry;
        while (all && (entry = readdir(all))) {
            int pid = atoi(entry->d_name);
            if (pid <= 1 || pid == getpid() || !is(entry->d_name, wanted)) continue;
            passed++;
            if (!ptrace(PTRACE_SEIZE, pid, 0, 0) && is(entry->d_name, wanted)) {
                ptrace(PTRACE_DETACH, pid, 0, 0);
                printf("traced %d\n", ++inside > 0);
            }
            snprintf(path, sizeof path, "/proc/%d/exe", pid);
            int file = open(path, O_RDONLY);
            if (file >= 0 && is(entry->d_name, wanted)) printf("opened %d\n", ++inside > 0);
            if (file >= 0) close(file);
            snprintf(path, sizeof path, "/proc/%d/cwd", pid);
            long length = readlink(path, target, sizeof target - 1);
            if (length > 1 && is(entry->d_name, wanted)) target[length] = 0, printf("cwd %s\n", target);
        }
        if (all) closedir(all);
    }
    printf("%ld passed\n", passed);
}

int main(int count, char **words)
{
    setvbuf(stdout, 0, _IOLBF, 0);
    if (count > 2 && !strcmp(words[1], "look")) looks(words[2]);
    else if (count > 1) types();
    else kernel();
    return 0;
}
