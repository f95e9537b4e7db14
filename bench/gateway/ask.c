/* Asks at given times, whatever becomes of what was asked before, as many people do.
 *
 *   ask PORT < SCHEDULE
 *     each line of the schedule: MICROSECONDS HOST PATH, in order of time; one connection each, to 127.0.0.1
 *
 * Says of each: the time it was meant for, from then to the first byte of the answer, to its end, the status (0: none
 * came), and the first letter of what was answered. A request that is late because we are is late all the same. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* Whoever has no answer so long after the last was asked will have none. */
enum { PATIENCE = 60 * 1000000, ANSWER = 2048 };

struct request {
    long at, first, end;
    int fd, asked;
    size_t length;
    char host[64], path[64], answer[ANSWER + 1];
};

static struct request *requests;
static size_t count, begun, ended;
static struct sockaddr_in server = {.sin_family = AF_INET};
static int queue;
static struct timespec start;

static void must(long result, const char *what) {
    if (result >= 0) return;
    fprintf(stderr, "ask: %s: %s\n", what, strerror(errno));
    exit(1);
}

static long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (time.tv_sec - start.tv_sec) * 1000000 + (time.tv_nsec - start.tv_nsec) / 1000;
}

static void read_schedule(void) {
    struct request one = {0};
    for (size_t room = 0; scanf("%ld %63s %63s", &one.at, one.host, one.path) == 3; requests[count++] = one) {
        if (count < room) continue;
        room = room ? 2 * room : 1024;
        requests = realloc(requests, room * sizeof *requests);
        must(requests ? 0 : -1, "memory");
    }
}

static void finish(struct request *of) {
    of->end = now();
    if (of->fd >= 0) close(of->fd);
    ended++;
}

static void begin(struct request *of) {
    int yes = 1;
    of->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (of->fd < 0) return finish(of);
    setsockopt(of->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    if (connect(of->fd, (void *)&server, sizeof server) < 0 && errno != EINPROGRESS) return finish(of);
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = of};
    must(epoll_ctl(queue, EPOLL_CTL_ADD, of->fd, &event), "epoll");
}

static void say(struct request *of) {
    char text[256];
    int length = snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", of->path, of->host);
    if (write(of->fd, text, (size_t)length) != length) return finish(of);
    of->asked = 1;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = of};
    must(epoll_ctl(queue, EPOLL_CTL_MOD, of->fd, &event), "epoll");
}

static void hear(struct request *of) {
    char rest[4096];
    int full = of->length == ANSWER;
    ssize_t more = read(of->fd, full ? rest : of->answer + of->length, full ? sizeof rest : ANSWER - of->length);
    if (more <= 0) return finish(of);
    if (!of->first) of->first = now();
    if (!full) of->length += (size_t)more;
}

static void wait_for_next(void) {
    struct epoll_event events[256];
    long wait = (begun < count ? requests[begun].at : requests[count - 1].at + PATIENCE) - now();
    if (wait < 0) wait = 0;
    struct timespec most = {.tv_sec = wait / 1000000, .tv_nsec = wait % 1000000 * 1000};
    int found = epoll_pwait2(queue, events, 256, &most, NULL);
    for (int i = 0; i < found; i++) {
        struct request *of = events[i].data.ptr;
        if (of->asked) hear(of);
        else say(of);
    }
}

static void tell(const struct request *of) {
    int status = 0;
    const char *body = strstr(of->answer, "\r\n\r\n");
    sscanf(of->answer, "HTTP/1.%*c %d", &status);
    printf("%ld %ld %ld %d %c\n", of->at, of->first ? of->first - of->at : -1, of->end - of->at, body ? status : 0,
           body && body[4] ? body[4] : '-');
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    server.sin_port = htons((uint16_t)atoi(argv[1]));
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    read_schedule();
    if (count == 0) return 0;
    must(queue = epoll_create1(EPOLL_CLOEXEC), "epoll");
    clock_gettime(CLOCK_MONOTONIC, &start);
    while (ended < count && now() < requests[count - 1].at + PATIENCE) {
        while (begun < count && requests[begun].at <= now()) begin(&requests[begun++]);
        wait_for_next();
    }
    for (size_t i = 0; i < count; i++) tell(&requests[i]);
}
