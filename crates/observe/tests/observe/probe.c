/* What the tests let a container do, one deed per argument: `probe stat PATH access PATH …` */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static int fd = AT_FDCWD;
static char buffer[4096];
static const char *argument;

static void *in_thread(void *unused) {
    struct stat st;
    (void)unused;
    snprintf(buffer, sizeof buffer, "%s-thread", argument);
    stat(buffer, &st);
    int opened = open(argument, O_RDONLY);
    close(opened);
    return NULL;
}

static void *briefly(void *number) {
    char name[64];
    sprintf(name, "absent-%ld", (long)number);
    int failed = open(name, O_RDONLY) >= 0;
    sprintf(name, "link-%ld", (long)number);
    failed |= open(name, O_RDONLY) < 0;
    return failed ? &fd : NULL;
}

static void nothing(int signal) { (void)signal; }

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static int try(const char *deed, const char *path) {
    struct stat st;
    struct statfs fs;
    argument = path;
    if (!strcmp(deed, "stat")) return stat(path, &st);
    if (!strcmp(deed, "lstat")) return lstat(path, &st);
    if (!strcmp(deed, "statat")) return fstatat(fd, path, &st, 0);
    if (!strcmp(deed, "access")) return access(path, R_OK);
    if (!strcmp(deed, "readlink")) return readlink(path, buffer, sizeof buffer) < 0;
    if (!strcmp(deed, "opath")) return (fd = open(path, O_PATH)) < 0;
    if (!strcmp(deed, "chdir")) return chdir(path);
    if (!strcmp(deed, "chroot")) return chroot(path) || chdir("/");
    if (!strcmp(deed, "getxattr")) return getxattr(path, "user.x", buffer, sizeof buffer) < 0 && errno != ENODATA && errno != ENOTSUP;
    if (!strcmp(deed, "statfs")) return statfs(path, &fs);
    if (!strcmp(deed, "inotify")) return inotify_add_watch(inotify_init(), path, IN_MODIFY) < 0;
    if (!strcmp(deed, "fail")) return access(path, F_OK) == 0 || open(path, O_RDONLY) >= 0;
    if (!strcmp(deed, "dir")) return (fd = open(path, O_RDONLY | O_DIRECTORY)) < 0;
    if (!strcmp(deed, "openat")) return openat(fd, path, O_RDONLY) < 0;
    if (!strcmp(deed, "open")) { int o = open(path, O_RDONLY); close(o); return o < 0; }
    if (!strcmp(deed, "write")) { int o = open(path, O_WRONLY | O_APPEND); int w = write(o, "x", 1); close(o); return w != 1; }
    if (!strcmp(deed, "create")) { int o = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600); close(o); return o < 0; }
    if (!strcmp(deed, "unlink")) return unlink(path);
    if (!strcmp(deed, "mkdir")) return mkdir(path, 0755) && errno != EEXIST;
    if (!strcmp(deed, "rename")) { snprintf(buffer, sizeof buffer, "%s.new", path); return rename(path, buffer); }
    if (!strcmp(deed, "list")) {
        DIR *d = opendir(path);
        if (!d) return 1;
        while (readdir(d)) {}
        return closedir(d);
    }
    if (!strcmp(deed, "dlopen")) return dlopen(path, RTLD_NOW) == NULL;
    if (!strcmp(deed, "execveat")) {
        char *argv[] = {"x", NULL}, *envp[] = {NULL};
        int at = open(path, O_RDONLY | O_CLOEXEC), status;
        pid_t pid = fork();
        if (pid == 0) { syscall(SYS_execveat, at, "", argv, envp, AT_EMPTY_PATH); _exit(9); }
        return waitpid(pid, &status, 0) != pid || status;
    }
    if (!strcmp(deed, "run")) return system(path);
    if (!strcmp(deed, "static")) {
        int status;
        pid_t pid = fork();
        if (pid == 0) { execl(path, path, "true", (char *)NULL); _exit(9); }
        return waitpid(pid, &status, 0) != pid || status;
    }
    /* bind A over B in a mount namespace of a process's own, which opens and looks at things in B and dies */
    if (!strcmp(deed, "bind")) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            char *to = strchr(strcpy(buffer, path), ':');
            *to++ = 0;
            if (unshare(CLONE_NEWNS) || mount(buffer, to, NULL, MS_BIND, NULL) || chdir(to)) _exit(9);
            if (open("opened", O_RDONLY) < 0 || access("looked", F_OK)) _exit(8);
            _exit(0);
        }
        return waitpid(pid, &status, 0) != pid || status;
    }
    /* The same, then a chroot into B, so that no table of mounts shows what is above it */
    if (!strcmp(deed, "jail")) {
        int status;
        pid_t pid = fork();
        if (pid == 0) {
            if (unshare(CLONE_NEWNS) || chroot(path) || chdir("/")) _exit(9);
            if (open("/opened", O_RDONLY) < 0 || access("looked", F_OK) || access("/link", F_OK)) _exit(8);
            _exit(0);
        }
        return waitpid(pid, &status, 0) != pid || status;
    }
    /* A process in a pid namespace of its own */
    if (!strcmp(deed, "nested")) {
        int status;
        pid_t pid = syscall(SYS_clone, CLONE_NEWPID | SIGCHLD, 0, 0, 0, 0);
        if (pid == 0) _exit(open(path, O_RDONLY) < 0);
        return waitpid(pid, &status, 0) != pid || status;
    }
    /* A process that is killed right after its open */
    if (!strcmp(deed, "killed")) {
        int status;
        pid_t pid = fork();
        if (pid == 0) { open(path, O_RDONLY); kill(getpid(), SIGKILL); }
        return waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status);
    }
    if (!strcmp(deed, "die")) { open(path, O_RDONLY); return kill(getpid(), SIGKILL); }
    /* PATH-i is opened by the i-th of many processes that are killed at once */
    if (!strcmp(deed, "slain")) {
        for (int i = 0; i < 50; i++) {
            pid_t pid = fork();
            if (pid == 0) {
                snprintf(buffer, sizeof buffer, "%s-%d", path, i);
                open(buffer, O_RDONLY);
                kill(getpid(), SIGKILL);
            }
            int status;
            if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status)) return 1;
        }
        return 0;
    }
    /* Signals rain on a process that looks at files */
    if (!strcmp(deed, "signals")) {
        struct itimerval often = {{0, 200}, {0, 200}}, never = {{0, 0}, {0, 0}};
        struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
        sigaction(SIGALRM, &action, NULL);
        setitimer(ITIMER_REAL, &often, NULL);
        int failed = 0;
        for (int i = 0; i < 5000 && !failed; i++) failed = stat(path, &st);
        setitimer(ITIMER_REAL, &never, NULL);
        return failed;
    }
    if (!strcmp(deed, "supervise")) {
        struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
        struct sock_fprog program = {1, &allow};
        int got = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
        return got != -1 || errno != EBUSY;
    }
    if (!strcmp(deed, "threads")) {
        pthread_t threads[8];
        for (int i = 0; i < 8; i++) if (pthread_create(&threads[i], NULL, in_thread, NULL)) return 1;
        for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
        return 0;
    }
    /* PATH/i is opened relative to PATH by the i-th of many threads that live for that alone */
    if (!strcmp(deed, "brief")) {
        if (chdir(path)) return 1;
        for (int i = 0; i < 200; i++) {
            pthread_t thread;
            if (pthread_create(&thread, NULL, briefly, (void *)(long)i)) return 1;
            void *failed;
            if (pthread_join(thread, &failed) || failed) return 1;
        }
        return 0;
    }
    if (!strcmp(deed, "socket") || !strcmp(deed, "connect")) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int one = socket(AF_UNIX, SOCK_STREAM, 0);
        strcpy(address.sun_path, path);
        if (*deed == 'c') return connect(one, (struct sockaddr *)&address, sizeof address);
        return bind(one, (struct sockaddr *)&address, sizeof address) || listen(one, 9);
    }
    if (!strcmp(deed, "burst")) {
        for (int i = 0; i < 20000; i++) {
            snprintf(buffer, sizeof buffer, "%s/%d", path, i);
            int o = open(buffer, O_RDONLY);
            if (o < 0) return 1;
            close(o);
        }
        return 0;
    }
    /* PATH/i is opened by the i-th of many processes that live for that alone */
    if (!strcmp(deed, "spawn")) {
        for (int i = 0; i < 200; i++) {
            pid_t pid = fork();
            if (pid == 0) {
                snprintf(buffer, sizeof buffer, "%s/%d", path, i);
                _exit(open(buffer, O_RDONLY) < 0);
            }
        }
        int status, failed = 0;
        for (int i = 0; i < 200; i++) failed |= wait(&status) < 0 || status;
        return failed;
    }
    if (!strcmp(deed, "uring")) return !(syscall(425, 1, buffer) == -1 && errno == ENOSYS);
    if (!strcmp(deed, "bad")) {
        if (syscall(SYS_open, (char *)8, 0) >= 0 || errno != EFAULT) return 1;
        return syscall(SYS_newfstatat, 77, "x", &st, 0) != -1 || errno != EBADF;
    }
    if (!strcmp(deed, "time")) {
        double start = now();
        for (int i = 0; i < 20000; i++) stat(path, &st);
        double stats = now();
        for (int i = 0; i < 20000; i++) close(open(path, O_RDONLY));
        double opens = now();
        for (int i = 0; i < 200000; i++) getppid();
        double end = now();
        printf("MEASURED ns: stat %.0f, open+close %.0f, getppid %.0f\n", (stats - start) / 20000,
               (opens - stats) / 20000, (end - opens) / 200000);
        return 0;
    }
    fprintf(stderr, "unknown deed %s\n", deed);
    return 1;
}

int main(int count, char **deeds) {
    for (int i = 1; i + 1 < count; i += 2)
        if (try(deeds[i], deeds[i + 1])) {
            fprintf(stderr, "probe: %s %s: %s\n", deeds[i], deeds[i + 1], strerror(errno));
            return 1;
        }
    return 0;
}
