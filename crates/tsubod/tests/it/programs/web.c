/* A web server that does what its tests want to see: `web PORT`, or `web -` with a listening socket as
 * descriptor 3. Each connection has a thread of its own. Every answer names the run of the program in `X-Run`; paths say
 * what is to be done. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEAD = 1 << 17 };

struct connection {
    int fd;
    size_t have;         /* bytes in `buffer` */
    size_t head;         /* how many of them are the head of this request */
    char buffer[HEAD + 1];
};

static unsigned run;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t told = PTHREAD_COND_INITIALIZER;
static int ticks, now, most, hangs, deaf, listener = 3;

/* As process 1 of a container it gets no signal that it does not ask for. */
static void stop(int number) { (void)number; _exit(0); }

static int say(struct connection *c, const void *bytes, size_t count) {
    for (const char *at = bytes; count > 0;) {
        ssize_t sent = send(c->fd, at, count, MSG_NOSIGNAL);
        if (sent <= 0) return 0;
        at += sent, count -= sent;
    }
    return 1;
}

static int sayf(struct connection *c, const char *format, ...) {
    char text[4096];
    va_list rest;
    va_start(rest, format);
    int count = vsnprintf(text, sizeof text, format, rest);
    va_end(rest);
    return say(c, text, count);
}

static int head(struct connection *c, int status, const char *rest) {
    return sayf(c, "HTTP/1.1 %d Said\r\nX-Run: %08x\r\n%s\r\n", status, run, rest);
}

/* What a field of the head says, or an empty text. */
static const char *field(struct connection *c, const char *name) {
    static _Thread_local char value[512];
    char end = c->buffer[c->head];
    c->buffer[c->head] = 0;
    value[0] = 0;
    size_t length = strlen(name);
    for (char *line = strstr(c->buffer, "\r\n"); line && line[2]; line = strstr(line + 2, "\r\n"))
        if (strncasecmp(line + 2, name, length) == 0 && line[2 + length] == ':')
            sscanf(line + 3 + length, " %511[^\r]", value);
    c->buffer[c->head] = end;
    return value;
}

/* The next bytes of a body: those that came with the head first. */
static ssize_t more(struct connection *c, char *into, size_t most_bytes) {
    size_t left = c->have - c->head;
    if (left == 0) return recv(c->fd, into, most_bytes, 0);
    size_t count = left < most_bytes ? left : most_bytes;
    memcpy(into, c->buffer + c->head, count);
    memmove(c->buffer + c->head, c->buffer + c->head + count, left - count);
    c->have -= count;
    return count;
}

static int exactly(struct connection *c, char *into, size_t count) {
    for (ssize_t got; count > 0; into += got, count -= got)
        if ((got = more(c, into, count)) <= 0) return 0;
    return 1;
}

/* A line of a chunked body as a number. */
static long size_of_chunk(struct connection *c) {
    char line[64] = "";
    for (size_t at = 0; at < sizeof line - 1; at++) {
        if (!exactly(c, line + at, 1)) return -1;
        if (line[at] == '\n') return strtol(line, NULL, 16);
    }
    return -1;
}

/* All of a body; NULL when the client went away before its end. */
static char *body(struct connection *c, size_t *length) {
    char *all = malloc(1);
    *length = 0;
    if (strcasecmp(field(c, "transfer-encoding"), "chunked") != 0) {
        *length = strtoul(field(c, "content-length"), NULL, 10);
        all = realloc(all, *length + 1);
        return exactly(c, all, *length) ? all : NULL;
    }
    for (long size; (size = size_of_chunk(c)) >= 0;) {
        all = realloc(all, *length + size + 2);
        if (!exactly(c, all + *length, size + 2)) return NULL;
        if (size == 0) return all;
        *length += size;
    }
    return NULL;
}

static int bytes(struct connection *c, long count, int chunked) {
    char piece[1004];
    for (long done = 0; done < count;) {
        long size = count - done < 1004 ? count - done : 1004;
        for (long at = 0; at < size; at++) piece[at] = (char)((done + at) % 251);
        if (chunked && !sayf(c, "%lx\r\n", size)) return 0;
        if (!say(c, piece, size)) return 0;
        if (chunked && !say(c, "\r\n", 2)) return 0;
        done += size;
    }
    return !chunked || say(c, "0\r\n\r\n", 5);
}

/* One event at once, then one for each tick. */
static int events(struct connection *c, int count) {
    head(c, 200, "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n");
    for (int event = 0; event < count; event++) {
        pthread_mutex_lock(&lock);
        while (ticks < event) pthread_cond_wait(&told, &lock);
        pthread_mutex_unlock(&lock);
        char text[32];
        int length = snprintf(text, sizeof text, "data: %d\n\n", event);
        if (!sayf(c, "%x\r\n%s\r\n", length, text)) return 0;
    }
    return say(c, "0\r\n\r\n", 5);
}

/* A socket of the web that says again what it is told. The answer is that to the key of RFC 6455, 1.3. */
static int echoes(struct connection *c) {
    char some[4096];
    sayf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
    for (ssize_t count; (count = more(c, some, sizeof some)) > 0;)
        if (!say(c, some, count)) break;
    return 0;
}

static int text(struct connection *c, int is_head, const char *said, size_t length) {
    char rest[64];
    snprintf(rest, sizeof rest, "Content-Length: %zu\r\n", length);
    return head(c, 200, rest) && (is_head || say(c, said, length));
}

#define begins(word) (strncmp(path, word, strlen(word)) == 0)

static int answer(struct connection *c, const char *method, const char *path) {
    int is_head = strcmp(method, "HEAD") == 0;
    long number = strrchr(path, '/') ? atol(strrchr(path, '/') + 1) : 0;
    char rest[64];
    if (hangs) pause();
    if (strcasecmp(field(c, "upgrade"), "websocket") == 0) return echoes(c);
    if (begins("/head")) return text(c, is_head, c->buffer, c->head);
    if (begins("/sleep/")) return usleep(number * 1000), text(c, is_head, "slept\n", 6);
    if (begins("/chunked/"))
        return head(c, 200, "Transfer-Encoding: chunked\r\n") && bytes(c, number, 1);
    if (begins("/bytes/")) {
        snprintf(rest, sizeof rest, "Content-Length: %ld\r\n", number);
        return head(c, 200, rest) && (is_head || bytes(c, number, 0));
    }
    if (begins("/status/")) {
        int bare = number == 204 || number == 304;
        return head(c, (int)number, bare ? "" : "Content-Length: 0\r\n");
    }
    if (begins("/echo")) {
        size_t length;
        char *all = body(c, &length);
        int fine = all && text(c, is_head, all, length);
        free(all);
        return fine;
    }
    if (begins("/events/")) return events(c, (int)number);
    if (begins("/tick")) {
        pthread_mutex_lock(&lock);
        ticks++;
        pthread_cond_broadcast(&told);
        pthread_mutex_unlock(&lock);
    }
    if (begins("/most")) return snprintf(rest, sizeof rest, "%d\n", most), text(c, is_head, rest, strlen(rest));
    if (begins("/half")) {
        int chunked = begins("/half-chunked");
        head(c, 200, chunked ? "Transfer-Encoding: chunked\r\n" : "Content-Length: 1000\r\n");
        if (chunked) say(c, "1f4\r\n", 5);
        bytes(c, 500, 0);
        usleep(50000);
        _exit(1);
    }
    if (begins("/die")) _exit(1);
    if (begins("/both"))
        return head(c, 200, "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n") && bytes(c, 5, 1);
    if (begins("/gzip")) return head(c, 200, "Transfer-Encoding: gzip, chunked\r\n") && bytes(c, 5, 1);
    if (begins("/hasty")) return text(c, is_head, "hello\n", 6), usleep(20000), 0;
    if (begins("/garbage")) return say(c, "what do you want?\r\n\r\n", 21), 0;
    if (begins("/deaf")) deaf = 1, shutdown(listener, SHUT_RD);
    if (begins("/hang")) hangs = 1;
    return text(c, is_head, "hello\n", 6);
}

static int count(int by) {
    pthread_mutex_lock(&lock);
    now += by;
    if (now > most) most = now;
    pthread_mutex_unlock(&lock);
    return 1;
}

static int request(struct connection *c) {
    char *end = NULL, method[16], path[256];
    while (c->buffer[c->have] = 0, !(end = strstr(c->buffer, "\r\n\r\n"))) {
        ssize_t got = c->have < HEAD ? recv(c->fd, c->buffer + c->have, HEAD - c->have, 0) : 0;
        if (got <= 0) return 0;
        c->have += got;
    }
    c->head = end + 4 - c->buffer;
    if (sscanf(c->buffer, "%15s %255s", method, path) != 2) return 0;
    count(1);
    int goes_on = answer(c, method, path);
    count(-1);
    memmove(c->buffer, c->buffer + c->head, c->have - c->head);
    c->have -= c->head;
    return goes_on;
}

static void *serve(void *given) {
    struct connection *c = given;
    while (request(c)) continue;
    close(c->fd);
    free(c);
    return NULL;
}

static int listening(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, (void *)&at, sizeof at) || listen(fd, 4096)) perror("listen"), exit(1);
    return fd;
}

int main(int argc, char **argv) {
    signal(SIGTERM, stop);
    signal(SIGINT, stop);
    getrandom(&run, sizeof run, 0);
    if (getenv("FAILS")) return 3;
    if (getenv("SLOW")) usleep(atoi(getenv("SLOW")) * 1000);
    if (getenv("NEVER")) for (;;) pause();
    int yes = 1;
    if (strcmp(argv[argc - 1], "-") != 0) listener = listening(atoi(argv[argc - 1]));
    for (int fd; (fd = accept(listener, NULL, NULL)) >= 0;) {
        struct connection *c = calloc(1, sizeof *c);
        pthread_t thread;
        pthread_attr_t small;
        pthread_attr_init(&small);
        pthread_attr_setstacksize(&small, 64 << 10);
        pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        c->fd = fd;
        if (pthread_create(&thread, &small, serve, c)) close(fd), free(c);
    }
    while (deaf) pause();
}
