/* What binds the program: its own ids, no privileges to gain, no capabilities, a filter. */
#include "floor.h"
#include <fcntl.h>
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static int open_of(pid_t child, const char *file, int flags) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)child, file);
    return open(path, flags | O_CLOEXEC);
}

/* Root inside is nobody outside. Returns the user namespace. */
int guard_map_ids(pid_t child) {
    put_at(open_of(child, "uid_map", O_WRONLY), "0 100000 65536", "uid_map");
    put_at(open_of(child, "gid_map", O_WRONLY), "0 100000 65536", "gid_map");
    int user_namespace = open_of(child, "ns/user", O_RDONLY);
    must(user_namespace, "ns/user");
    return user_namespace;
}

void guard_become_root(void) {
    must(setgroups(0, NULL), "setgroups");
    must(setresgid(0, 0, 0), "setresgid");
    must(setresuid(0, 0, 0), "setresuid");
}

static void drop_capabilities(void) {
    for (int i = 0; prctl(PR_CAPBSET_DROP, i, 0, 0, 0) == 0; i++) {}
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    must((int)syscall(SYS_capset, &header, none), "capset");
}

enum { LEAVES = 146, STEP = 3, KNOWN = 335 };

/* A binary search over the call's number, as tsubo's filters are: how long the kernel takes to load
 * one depends on its shape. Below KNOWN everything is allowed, above every other leaf. */
static int search(struct sock_filter *out, unsigned first, unsigned leaves) {
    if (leaves == 1) {
        int allow = first * STEP < KNOWN || first % 2 == 0;
        out[0] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, allow ? SECCOMP_RET_ALLOW : SECCOMP_RET_ERRNO | EPERM);
        return 1;
    }
    unsigned low = leaves / 2;
    int below = search(out + 1, first, low);
    out[0] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (first + low) * STEP, (unsigned char)below, 0);
    return 1 + below + search(out + 1 + below, first + low, leaves - low);
}

#if defined __x86_64__
#define ARCHITECTURE AUDIT_ARCH_X86_64
#else
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

static void load_filter(void) {
    static struct sock_filter code[6 + 2 * LEAVES] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
    };
    struct sock_fprog program = {.filter = code};
    program.len = (unsigned short)(6 + search(code + 6, 0, LEAVES));
    must((int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "seccomp");
}

void guard_bind(unsigned parts) {
    if (parts & NNP) must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs");
    if (parts & CAPS) drop_capabilities();
    if (parts & SECCOMP) load_filter();
}
