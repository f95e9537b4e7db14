/* What the files of the floor share. */
#ifndef FLOOR_H
#define FLOOR_H
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* Every kernel object that can be made or left out, each a bit. */
enum part {
    /* Namespaces. */
    MNT = 1 << 0, PID = 1 << 1, IPC = 1 << 2, UTS = 1 << 3, CGROUP = 1 << 4, NET = 1 << 5, USER = 1 << 6, TIME = 1 << 7,
    /* A control group in every hierarchy. */
    GROUPS = 1 << 8,
    /* Mounts, and what is done with the root. */
    ROOT = 1 << 9, PROC = 1 << 10, SYS = 1 << 11, DEV = 1 << 12, PTS = 1 << 13, SHM = 1 << 14, MQUEUE = 1 << 15,
    IDMAP = 1 << 16, PIVOT = 1 << 17,
    /* What binds the program. */
    NNP = 1 << 18, CAPS = 1 << 19, SECCOMP = 1 << 20,
    /* What leads from its network to the host's. */
    WIRE = 1 << 21,
};

unsigned parts_named(char *list);

#define CGROUPS "/sys/fs/cgroup"
enum { HIERARCHIES = 8 };

int groups_are_v1(void);
void groups_make_v1(const char *name, int by_child, int joins[HIERARCHIES]);
int groups_make_v2(const char *name);
void groups_join_v1(const int joins[HIERARCHIES], int pid);
void groups_remove(const char *name);
void groups_end(const char *name);

/* What the parent prepares because only its privileges reach that far; the child inherits it. */
struct trees { int root, sys; };

struct trees mounts_prepare(unsigned parts, const char *root);
void mounts_map(struct trees trees, int user_namespace);
void mounts_make(unsigned parts, struct trees trees, const char *root);

int guard_map_ids(pid_t child);
void guard_become_root(void);
void guard_bind(unsigned parts);

void wire_make(pid_t child);
void wire_remove(pid_t child);

int answer_listen(int port);
void answer_await(int listener, int port);
void answer_relay(int listener, pid_t child, int port);

static inline void die(const char *what) {
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    _exit(125);
}

static inline void must(int result, const char *what) {
    if (result < 0) die(what);
}

static inline void put_at(int fd, const char *text, const char *what) {
    must(fd, what);
    must((int)write(fd, text, strlen(text)), what);
    close(fd);
}
#endif
