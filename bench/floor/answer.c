/* A program that is started by the first who connects: its socket was there before.
 *
 * Either the program is handed the socket, or it listens by itself in a network namespace of its own, as services do that know
 * nothing of this; then somebody must connect to it there and pass on what is said. */
#include "floor.h"
#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int setns(int fd, int type);

enum { GIVEN = 3, RETRY_US = 50 };

static struct sockaddr_in loopback(int port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

/* The program finds it where it expects it, as this is the first descriptor that anybody opens. */
int answer_listen(int port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;
    must(fd == GIVEN ? 0 : -1, "descriptor 3 is taken");
    must(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes), "reuse");
    struct sockaddr_in address = loopback(port);
    must(bind(fd, (void *)&address, sizeof address), "bind");
    must(listen(fd, 128), "listen");
    return fd;
}

/* Returns when somebody has connected. */
void answer_await(int listener, int port) {
    struct pollfd first = {.fd = listener, .events = POLLIN};
    fprintf(stderr, "listening on 127.0.0.1:%d\n", port);
    must(poll(&first, 1, -1), "poll");
}

/* Moves to the network of a process, the loopback interface of which nobody has set up. */
static void enter(pid_t child) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/net", (int)child);
    int network = open(path, O_RDONLY | O_CLOEXEC);
    must(network, path);
    must(setns(network, CLONE_NEWNET), "network");
    close(network);
    int any = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    must(any, "socket");
    struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    must(ioctl(any, SIOCSIFFLAGS, &up), "lo");
    close(any);
}

static int connected(int port) {
    struct sockaddr_in address = loopback(port);
    for (int left = 10 * 1000000 / RETRY_US; left > 0; left--) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
        must(fd, "socket");
        if (connect(fd, (void *)&address, sizeof address) == 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
            return fd;
        }
        close(fd);
        usleep(RETRY_US);
    }
    die("nobody listens there");
    return -1;
}

/* Whether there may be more. */
static int pass_on(int from, int to) {
    char bytes[4096];
    ssize_t length = read(from, bytes, sizeof bytes);
    return length > 0 && write(to, bytes, (size_t)length) == length;
}

/* Connects to the program on its own network, and speaks for it until either has said all. */
void answer_relay(int listener, pid_t child, int port) {
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    must(client, "accept");
    enter(child);
    int server = connected(port);
    struct pollfd ends[2] = {{.fd = client, .events = POLLIN}, {.fd = server, .events = POLLIN}};
    for (int more = 1; more;) {
        must(poll(ends, 2, -1), "poll");
        for (int i = 0; i < 2 && more; i++)
            if (ends[i].revents) more = pass_on(ends[i].fd, ends[1 - i].fd);
    }
    close(client);
    close(server);
}
