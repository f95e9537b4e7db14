/* The mounts of a container. */
#include "floor.h"
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

/* The same attributes as the flags of mount(2) in `mounts_make`. */
static int sysfs(void) {
    int context = fsopen("sysfs", FSOPEN_CLOEXEC);
    must(context, "sysfs");
    must(fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0), "sysfs");
    int tree = fsmount(context, FSMOUNT_CLOEXEC,
                       MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    must(tree, "sysfs");
    close(context);
    return tree;
}

struct trees mounts_prepare(unsigned parts, const char *root) {
    struct trees trees = {-1, -1};
    if (parts & IDMAP)
        must(trees.root = open_tree(AT_FDCWD, root, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE), root);
    /* On the host's network, the user namespace of a container may not mount sysfs. */
    if ((parts & (SYS | USER | NET)) == (SYS | USER)) trees.sys = sysfs();
    return trees;
}

/* The child inherited the same tree, so needs to be told nothing. */
void mounts_map(struct trees trees, int user_namespace) {
    struct mount_attr attr = {
        .attr_set = MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY,
        .userns_fd = (__u64)user_namespace,
    };
    must(mount_setattr(trees.root, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof attr), "idmap");
}

static void attach(int tree, const char *at) {
    must(move_mount(tree, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH), at);
}

/* Everything but the root stands in the new root; where /dev is left out, in directories of the tree. */
static void inside(unsigned parts, struct trees trees) {
    const unsigned long strict = MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (parts & PROC) must(mount("proc", "proc", "proc", strict, NULL), "proc");
    if (trees.sys >= 0) attach(trees.sys, "sys");
    else if (parts & SYS) must(mount("sysfs", "sys", "sysfs", MS_RDONLY | strict, NULL), "sys");
    if (parts & DEV) {
        must(mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755,size=65536k"), "dev");
        must(mkdir("dev/pts", 0755), "dev/pts");
        must(mkdir("dev/shm", 0755), "dev/shm");
        must(mkdir("dev/mqueue", 0755), "dev/mqueue");
    }
    if (parts & PTS)
        must(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"), "devpts");
    if (parts & SHM) must(mount("shm", "dev/shm", "tmpfs", strict, "mode=1777,size=65536k"), "shm");
    if (parts & MQUEUE) must(mount("mqueue", "dev/mqueue", "mqueue", strict, NULL), "mqueue");
}

void mounts_make(unsigned parts, struct trees trees, const char *root) {
    must(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), "private");
    if (trees.root >= 0) attach(trees.root, root);
    else if (parts & ROOT) must(mount(root, root, NULL, MS_BIND | MS_REC, NULL), root);
    must(chdir(root), root);
    inside(parts, trees);
    if (parts & PIVOT) {
        must((int)syscall(SYS_pivot_root, ".", "."), "pivot_root");
        must(umount2(".", MNT_DETACH), "umount");
    }
    must(chdir("/"), "chdir");
}
