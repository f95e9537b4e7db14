/* A server on sockets that it was given (sd_listen_fds(3)): tells whoever comes its process id, the name
 * of the socket and what else is open, and ends with 1 where it is asked to. */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FIRST = 3, MOST = 8 };

int main(void) {
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS"), *names = getenv("LISTEN_FDNAMES");
    if (!pid || !fds || !names || atoi(pid) != getpid()) return 3;
    int count = atoi(fds);
    struct pollfd polled[MOST];
    char *name[MOST], *all = strdup(names);
    for (int i = 0; i < count; i++) {
        polled[i] = (struct pollfd){.fd = FIRST + i, .events = POLLIN};
        name[i] = strsep(&all, ":");
    }
    int others = 0;
    for (int fd = FIRST + count; fd < 256; fd++) others += fcntl(fd, F_GETFD) >= 0;
    for (;;) {
        poll(polled, (nfds_t)count, -1);
        for (int i = 0; i < count; i++) {
            if (!polled[i].revents) continue;
            int client = accept(polled[i].fd, NULL, NULL);
            char asked = 0;
            if (client < 0 || read(client, &asked, 1) != 1) continue;
            if (asked == 'q') return 1;
            dprintf(client, "%d %s %d\n", getpid(), name[i], others);
            close(client);
        }
    }
}
