/* Asks the kernel about paths in every way that we know of and prints the answers. What it prints
   over the whole base and in its exact package must be the same. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ASK(name, call) do { errno = 0; long r = (call); printf("%s: %s %s\n", name, r < 0 ? "no" : "yes", r < 0 ? strerror(errno) : ""); fflush(stdout); } while (0)

static long how(int at, const char *path, uint64_t flags, uint64_t resolve) {
    struct open_how h = { .flags = flags, .resolve = resolve };
    return syscall(SYS_openat2, at, path, &h, sizeof h);
}

static void content(const char *name, const char *path) {
    char text[200] = "";
    int file = open(path, O_RDONLY);
    if (file >= 0) read(file, text, sizeof text - 1);
    printf("%s: %s\n", name, file < 0 ? strerror(errno) : text);
    fflush(stdout);
}

static void run(const char *name, const char *path, int by_fd) {
    char *argv[] = { (char *)name, 0 }, *env[] = { 0 };
    pid_t child = fork();
    if (!child) {
        if (by_fd) { int fd = open(path, O_PATH | O_CLOEXEC); syscall(SYS_execveat, fd, "", argv, env, AT_EMPTY_PATH); }
        else execve(path, argv, env);
        printf("%s: %s\n", name, strerror(errno)); fflush(stdout); _exit(1);
    }
    int status; waitpid(child, &status, 0);
    printf("%s: code %d\n", name, WEXITSTATUS(status)); fflush(stdout);
}

int main(void) {
    struct stat st; struct statx sx; struct statfs fs; char text[300]; int fd, at;
    chdir("/srv/q");
    ASK("statx", statx(AT_FDCWD, "statx", 0, STATX_ALL, &sx)); printf("%ld %o\n", (long)sx.stx_size, sx.stx_mode);
    ASK("access x", access("access-x", X_OK));
    ASK("access not x", access("access-not-x", X_OK));
    ASK("faccessat2", syscall(439, AT_FDCWD, "faccessat2", R_OK, AT_EACCESS));
    content("by /proc/self/root", "/proc/self/root/srv/q/proc-root");
    content("by /proc/self/cwd", "/proc/self/cwd/proc-cwd");
    at = open("dir", O_PATH | O_DIRECTORY);
    sprintf(text, "/proc/self/fd/%d/by-fd", at); content("by /proc/self/fd", text);
    sprintf(text, "/proc/self/fd/%d/../by-fd-up", at); content("by fd and ..", text);
    content("up and down", "dir/../dir/.././up-and-down");
    content("double slashes", "//srv//q///double");
    ASK("trailing slash on a file", open("trailing/", O_RDONLY));
    ASK("below a file", open("below-file/x", O_RDONLY));
    ASK("stat below a file", stat("stat-below-file/x", &st));
    ASK("a directory for writing", open("write-dir", O_WRONLY));
    ASK("exclusive", open("exclusive", O_WRONLY | O_CREAT | O_EXCL, 0600));
    ASK("exclusive on a dangling link", open("exclusive-link", O_WRONLY | O_CREAT | O_EXCL, 0600));
    ASK("mkdir", mkdir("mkdir", 0700));
    ASK("symlink", symlink("x", "symlink"));
    ASK("link to itself", open("loop", O_RDONLY));
    ASK("stat of a link to itself", stat("stat-loop", &st));
    ASK("dangling", open("dangling", O_RDONLY));
    ASK("dangling stat", stat("dangling-stat", &st));
    ASK("no follow", open("no-follow", O_RDONLY | O_NOFOLLOW));
    ASK("path no follow", fd = open("path-no-follow", O_PATH | O_NOFOLLOW));
    memset(text, 0, sizeof text); readlinkat(fd, "", text, 200); printf("%s\n", text);
    ASK("directory wanted", open("directory-wanted", O_RDONLY | O_DIRECTORY));
    ASK("openat2 beneath", how(at, "beneath", O_RDONLY, RESOLVE_BENEATH));
    ASK("openat2 in root", how(at, "/in-root", O_RDONLY, RESOLVE_IN_ROOT));
    ASK("openat2 no symlinks", how(AT_FDCWD, "no-symlinks", O_RDONLY, RESOLVE_NO_SYMLINKS));
    ASK("inotify file", inotify_add_watch(inotify_init1(0), "inotify", IN_MODIFY));
    ASK("inotify dir", inotify_add_watch(inotify_init1(0), "inotify-dir", IN_CREATE));
    ASK("statfs", statfs("statfs", &fs));
    ASK("getxattr", getxattr("getxattr", "user.color", text, 100));
    ASK("no such xattr", getxattr("getxattr-none", "user.none", text, 100));
    ASK("listxattr", listxattr("listxattr", text, 100));
    ASK("truncate without leave", truncate("dir", 0));
    ASK("chdir to a file", chdir("chdir-file"));
    ASK("chdir by a link", chdir("chdir-link")); getcwd(text, 200); printf("%s\n", text);
    content("in it", "inside"); chdir("/srv/q");
    ASK("fchdir", fchdir(open("fchdir", O_RDONLY | O_DIRECTORY))); content("there", "inside"); chdir("/srv/q");
    fd = open("mapped", O_RDONLY); printf("mapped: %.6s\n", (char *)mmap(0, 4096, PROT_READ, MAP_PRIVATE, fd, 0));
    ASK("rmdir of a file", rmdir("rmdir-file"));
    ASK("unlink of a directory", unlink("unlink-dir"));
    ASK("rename onto a directory", rename("rename-from", "rename-dir"));
    ASK("hard link over", link("link-from", "link-to"));
    struct sockaddr_un un = { AF_UNIX, "no-socket" };
    ASK("connect to a file", connect(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&un, sizeof un));
    strcpy(un.sun_path, "bind-file");
    ASK("bind over a file", bind(socket(AF_UNIX, SOCK_STREAM, 0), (void *)&un, sizeof un));
    run("executed by descriptor", "exec-fd", 1);
    run("a script", "script", 0);
    run("not executable", "not-executable", 0);
    run("no format", "no-format", 0);
    run("no interpreter", "no-interpreter", 0);
    run("a directory executed", "exec-dir", 0);
    if (!fork()) {
        ASK("chroot", chroot("jail")); chdir("/");
        content("in the jail", "/etc/conf"); content("up in the jail", "../../etc/link"); _exit(0);
    }
    wait(0);
    if (!fork()) {
        setresgid(1234, 1234, 1234); setresuid(1234, 1234, 1234);
        ASK("no leave to read", open("secret", O_RDONLY));
        ASK("no leave to look", stat("closed/inside", &st));
        ASK("no leave to write", open("read-only", O_WRONLY));
        ASK("access without leave", access("secret-access", R_OK));
        run("no leave to execute", "secret-exec", 0);
        _exit(0);
    }
    wait(0);
    return 0;
}
