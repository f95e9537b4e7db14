/* Control groups: one in every v1 hierarchy, or one on v2. */
#include "floor.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>

static const char *const V1[HIERARCHIES] = {"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"};

int groups_are_v1(void) {
    return access(CGROUPS "/memory/tasks", F_OK) == 0;
}

static const char *at(const char *hierarchy, const char *name, const char *file) {
    static char path[256];
    snprintf(path, sizeof path, CGROUPS "/%s/%s%s", hierarchy, name, file);
    return path;
}

/* A cpuset of its own is unusable until its parent's values are copied. */
static void fill_cpuset(const char *name, const char *from, const char *file) {
    char text[256];
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    must(fd, from);
    ssize_t n = read(fd, text, sizeof text - 1);
    must((int)n, from);
    close(fd);
    text[n] = 0;
    const char *path = at("cpuset", name, file);
    put_at(open(path, O_WRONLY | O_CLOEXEC), text, path);
}

void groups_make_v1(const char *name, int by_child, int joins[HIERARCHIES]) {
    for (int i = 0; i < HIERARCHIES; i++) {
        const char *path = at(V1[i], name, "");
        must(mkdir(path, 0755), path);
        if (strcmp(V1[i], "cpuset") == 0) {
            fill_cpuset(name, CGROUPS "/cpuset/cpuset.cpus", "/cpuset.cpus");
            fill_cpuset(name, CGROUPS "/cpuset/cpuset.mems", "/cpuset.mems");
        }
        path = at(V1[i], name, by_child ? "/tasks" : "/cgroup.procs");
        must(joins[i] = open(path, O_WRONLY | O_CLOEXEC), path);
    }
}

int groups_make_v2(const char *name) {
    const char *path = at("", name, "");
    must(mkdir(path, 0755), path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(fd, path);
    return fd;
}

void groups_join_v1(const int joins[HIERARCHIES], int pid) {
    char text[16];
    int n = snprintf(text, sizeof text, "%d", pid);
    for (int i = 0; i < HIERARCHIES; i++) must((int)write(joins[i], text, n), "joining a group");
}

/* What was killed is in its group for a moment longer. */
static void remove_one(const char *path) {
    for (int left = 2000; rmdir(path) < 0 && errno != ENOENT; left--) {
        if (errno != EBUSY || left == 0) die(path);
        usleep(1000);
    }
}

void groups_remove(const char *name) {
    if (!groups_are_v1()) remove_one(at("", name, ""));
    for (int i = 0; groups_are_v1() && i < HIERARCHIES; i++) remove_one(at(V1[i], name, ""));
}

/* Kills all that is in the group and removes it. */
void groups_end(const char *name) {
    FILE *procs = fopen(at(groups_are_v1() ? "pids" : "", name, "/cgroup.procs"), "re");
    for (int pid; procs && fscanf(procs, "%d", &pid) == 1;) kill(pid, SIGKILL);
    if (procs) fclose(procs);
    groups_remove(name);
}
