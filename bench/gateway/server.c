/* A small web server: what stands behind the gateway and its peers in `./x bench gateway`.
 *
 *   server PORT [WORD...]   listens on this port of every address
 *   server - [WORD...]      has been given a listening socket as descriptor 3
 *     once                  ends with the first connection that ends
 *     hold=N                keeps N MiB of memory, as a site with a program of its own does
 *
 * Every answer is six bytes, `first` after a start and `later` from then on, so whoever asks sees starts without anybody's help.
 * `/work/N` takes N microseconds of the processor first. One thread, connections kept as long as the client likes. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { GIVEN = 3, HEAD = 4096 };

struct connection {
    int fd;
    size_t length;
    char head[HEAD + 1];
};

static const char *said = "first\n";

static void must(int result, const char *what) {
    if (result >= 0) return;
    fprintf(stderr, "server: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* As process 1 of a container it gets no signal that it does not ask for. */
static void stop(int signal) {
    (void)signal;
    _exit(0);
}

static int listening(const char *where) {
    if (strcmp(where, "-") == 0) return GIVEN;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    must(fd, "socket");
    must(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes), "reuse");
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(where))};
    must(bind(fd, (void *)&address, sizeof address), "bind");
    must(listen(fd, 4096), "listen");
    return fd;
}

static long microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void work(const char *head) {
    long wanted = 0;
    if (sscanf(head, "GET /work/%ld", &wanted) != 1) return;
    for (long end = microseconds() + wanted; microseconds() < end;) {}
}

/* Whether the connection stays. */
static int answer(const struct connection *from) {
    char text[128];
    work(from->head);
    int close = strcasestr(from->head, "\r\nconnection: close") != NULL;
    int length = snprintf(text, sizeof text, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n%s\r\n%s",
                          close ? "Connection: close\r\n" : "", said);
    said = "later\n";
    return write(from->fd, text, (size_t)length) == length && !close;
}

/* Whether the connection stays; nobody here asks twice before there is an answer. */
static int hear(struct connection *from) {
    ssize_t more = read(from->fd, from->head + from->length, HEAD - from->length);
    if (more <= 0) return 0;
    from->length += (size_t)more;
    from->head[from->length] = 0;
    if (!strstr(from->head, "\r\n\r\n")) return from->length < HEAD;
    from->length = 0;
    return answer(from);
}

static void welcome(int epoll, int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), yes = 1;
    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct connection *fresh = calloc(1, sizeof *fresh);
    must(fresh ? 0 : -1, "memory");
    fresh->fd = fd;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = fresh};
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), "epoll");
}

/* Somebody might look at it, as far as the compiler knows. */
char *kept;

static void hold(size_t mebibytes) {
    kept = malloc(mebibytes << 20);
    must(kept ? 0 : -1, "memory");
    memset(kept, 1, mebibytes << 20);
}

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    int once = 0;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "once") == 0) once = 1;
        if (strncmp(argv[i], "hold=", 5) == 0) hold((size_t)atoi(argv[i] + 5));
    }
    signal(SIGTERM, stop);
    signal(SIGPIPE, SIG_IGN);
    int listener = listening(argv[1]), epoll = epoll_create1(EPOLL_CLOEXEC);
    must(epoll, "epoll");
    struct epoll_event event = {.events = EPOLLIN};
    must(epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event), "epoll");
    for (;;) {
        struct epoll_event events[64];
        int count = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < count; i++) {
            struct connection *from = events[i].data.ptr;
            if (!from) welcome(epoll, listener);
            else if (!hear(from)) {
                close(from->fd);
                free(from);
                if (once) return 0;
            }
        }
    }
}
