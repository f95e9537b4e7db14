/* The smallest service: waits until it is asked to stop. What every runtime starts in `./x bench`.
 *   idle true   does nothing at all
 *   idle say    says one line
 *   idle echo   says what it hears, until it is asked to stop
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>

static void stop(int signal) {
    (void)signal;
    _exit(0);
}

static void echo(void) {
    char bytes[256];
    ssize_t count;
    while ((count = read(0, bytes, sizeof bytes)) > 0)
        if (write(1, bytes, (size_t)count) < 0) return;
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "say") == 0) return write(1, "x\n", 2) != 2;
    if (argc > 1 && strcmp(argv[1], "echo") != 0) return 0;
    signal(SIGTERM, stop);
    if (argc > 1) echo();
    for (;;) pause();
}
