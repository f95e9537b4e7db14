/* The names of the parts, and the two lists that everything is compared with. */
#include "floor.h"

/* What nobody's container can do without. */
#define MINIMAL "mnt,pid,ipc,uts,cgroup,groups,root,proc,sys,dev,pts,shm,mqueue,pivot"
/* The objects of tsubo's default: also its own ids, the tree shown in them, and what binds the program. */
#define DEFAULT MINIMAL ",user,idmap,nnp,caps,seccomp"

static const struct { const char *name; unsigned part; } NAMES[] = {
    {"none", 0},
    {"mnt", MNT}, {"pid", PID}, {"ipc", IPC}, {"uts", UTS}, {"cgroup", CGROUP}, {"net", NET}, {"user", USER}, {"time", TIME},
    {"groups", GROUPS},
    {"root", ROOT}, {"proc", PROC}, {"sys", SYS}, {"dev", DEV}, {"pts", PTS}, {"shm", SHM}, {"mqueue", MQUEUE},
    {"idmap", IDMAP}, {"pivot", PIVOT},
    {"nnp", NNP}, {"caps", CAPS}, {"seccomp", SECCOMP},
    {"wire", WIRE},
};

static unsigned one(const char *name) {
    char list[256];
    if (strcmp(name, "minimal") == 0) return parts_named(strcpy(list, MINIMAL));
    if (strcmp(name, "default") == 0) return parts_named(strcpy(list, DEFAULT));
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++)
        if (strcmp(name, NAMES[i].name) == 0) return NAMES[i].part;
    fprintf(stderr, "floor: no part is called %s\n", name);
    _exit(125);
}

unsigned parts_named(char *list) {
    unsigned parts = 0;
    char *rest;
    for (char *name = strtok_r(list, ",", &rest); name; name = strtok_r(NULL, ",", &rest)) parts |= one(name);
    return parts;
}
