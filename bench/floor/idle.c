/* The smallest service: waits until it is asked to stop, or with an argument does nothing at all.
 * What every runtime starts in `./x bench start`. */
#include <signal.h>
#include <unistd.h>

static void stop(int signal) {
    (void)signal;
    _exit(0);
}

int main(int argc, char **argv) {
    (void)argv;
    if (argc > 1) return 0;
    signal(SIGTERM, stop);
    for (;;) pause();
}
