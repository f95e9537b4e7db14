/* Puts a fault at one system call of one process: kills it, or holds it while something else happens.
 *
 *   injector [-k WHO:N] [-h WHO:N] [-x SCRIPT] [-p PID] -o REPORT COMMAND...
 *
 * WHO is c (the command), k (a child of it: the keeper), f (a child of that: a container's first
 * process) or p (the process PID, which runs already; its children are f). N counts the system calls
 * of all processes of that kind from 1; the process is killed (-k) or held (-h) before that one is
 * done. What is held goes on when SCRIPT has ended, which runs when everything that was asked for has
 * happened, or when nothing happens any more because of what is held. The script finds the command's
 * pid in $COMMAND. The report has what was seen: the command's wait status, how many calls each kind
 * made, which of the command's was its first message (sendmsg), whether the faults happened, and the pid and the id of every keeper. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC)
#define MOST 256

struct rule { char who; long at; int done; };
static struct rule death, hold;
static const char *script;
static struct { pid_t pid; char who; int held; int known; char argument[32]; } seen[MOST];
static int count;
static long calls[128], sent;
static pid_t command, running_script;
static int script_done, began;

static int find(pid_t pid)
{
    for (int i = count - 1; i >= 0; i--)
        if (seen[i].pid == pid) return i;
    if (count == MOST) exit(99);
    seen[count].pid = pid;
    seen[count].who = 'f';
    return count++;
}

static char child_of(char who) { return who == 'c' ? 'k' : 'f'; }

static struct rule rule(const char *text)
{
    struct rule made = { text[0], atol(text + 2), 0 };
    return made;
}

static void on(int i, int signal)
{
    ptrace(PTRACE_SYSCALL, seen[i].pid, 0, (void *)(long)signal);
}

/* The beginning of a system call: true if the process stays where it is. */
static int reached(int i, long number)
{
    /* Its calls until it is the command are ours. */
    if (seen[i].who == 'c' && !began) return 0;
    long at = ++calls[(int)seen[i].who];
    if (seen[i].who == 'c' && number == SYS_sendmsg && !sent) sent = at;
    if (death.who == seen[i].who && at == death.at) {
        death.done = 1;
        kill(seen[i].pid, SIGKILL);
    }
    if (hold.who == seen[i].who && at == hold.at) {
        hold.done = 1;
        return seen[i].held = 1;
    }
    return 0;
}

/* The first argument of a program that has just been executed. */
static void read_argument(int i)
{
    char path[64], line[4096];
    snprintf(path, sizeof path, "/proc/%d/cmdline", seen[i].pid);
    int file = open(path, O_RDONLY);
    long length = file < 0 ? 0 : read(file, line, sizeof line - 1);
    if (file >= 0) close(file);
    if (length <= 0) return;
    line[length] = 0;
    if ((long)strlen(line) + 1 < length) snprintf(seen[i].argument, sizeof seen[i].argument, "%s", line + strlen(line) + 1);
}

/* A keeper that is a copy of its command has no argument of its own: it is known by the name of the
 * first control group that it makes. */
static void read_group(int i, unsigned long address)
{
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/mem", seen[i].pid);
    int file = open(path, O_RDONLY);
    long length = file < 0 ? 0 : pread(file, line, sizeof line - 1, address);
    if (file >= 0) close(file);
    if (length <= 0) return;
    line[length] = 0;
    char *name = strrchr(line, '/');
    if (strstr(line, "/tsubo/") && name && strlen(name + 1) == 12) snprintf(seen[i].argument, sizeof seen[i].argument, "%s", name + 1);
}

static void event(int i, int status)
{
    int signal = WSTOPSIG(status), kind = status >> 16;
    if (kind == PTRACE_EVENT_FORK || kind == PTRACE_EVENT_VFORK || kind == PTRACE_EVENT_CLONE) {
        unsigned long child = 0;
        ptrace(PTRACE_GETEVENTMSG, seen[i].pid, 0, &child);
        int at = find(child);
        seen[at].who = child_of(seen[i].who);
        if (seen[at].known == 2) on(at, 0);
        seen[at].known = 1;
        return on(i, 0);
    }
    if (kind == PTRACE_EVENT_STOP) {
        if (signal == SIGTRAP && !seen[i].known) {
            /* A child that stops before its parent has told of it. */
            seen[i].known = 2;
            return;
        }
        if (signal != SIGTRAP) {
            ptrace(PTRACE_LISTEN, seen[i].pid, 0, 0);
            return;
        }
        return on(i, 0);
    }
    if (signal == (SIGTRAP | 0x80)) {
        struct __ptrace_syscall_info info;
        memset(&info, 0, sizeof info);
        ptrace(PTRACE_GET_SYSCALL_INFO, seen[i].pid, (void *)sizeof info, &info);
        int enters = info.op == PTRACE_SYSCALL_INFO_ENTRY;
        if (enters && seen[i].who == 'k' && info.entry.nr == SYS_mkdir && !seen[i].argument[0]) read_group(i, info.entry.args[0]);
        if (enters && reached(i, info.entry.nr)) return;
        return on(i, 0);
    }
    if (kind == PTRACE_EVENT_EXEC && seen[i].who == 'k' && !seen[i].argument[0]) read_argument(i);
    on(i, kind ? 0 : signal);
}

static void run_script(void)
{
    char text[32];
    script_done = 1;
    running_script = fork();
    if (running_script == 0) {
        snprintf(text, sizeof text, "%d", command);
        setenv("COMMAND", text, 1);
        execl("/bin/sh", "sh", "-c", script, (char *)0);
        _exit(127);
    }
}

static void let_go(void)
{
    for (int i = 0; i < count; i++)
        if (seen[i].held) {
            seen[i].held = 0;
            on(i, 0);
        }
}

static long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
    const char *report = 0;
    int option, end = -1;
    pid_t attached = 0;
    while ((option = getopt(argc, argv, "+k:h:x:p:o:")) != -1) switch (option) {
        case 'k': death = rule(optarg); break;
        case 'h': hold = rule(optarg); break;
        case 'x': script = optarg; break;
        case 'p': attached = atoi(optarg); break;
        case 'o': report = optarg; break;
        default: return 98;
    }
    if (attached) {
        if (ptrace(PTRACE_SEIZE, attached, 0, (void *)OPTIONS)) return 97;
        int i = find(attached);
        seen[i].who = 'p';
        seen[i].known = 1;
        ptrace(PTRACE_INTERRUPT, attached, 0, 0);
    }
    command = fork();
    if (command == 0) {
        raise(SIGSTOP);
        execvp(argv[optind], argv + optind);
        _exit(127);
    }
    int status;
    waitpid(command, &status, WUNTRACED);
    ptrace(PTRACE_SEIZE, command, 0, (void *)OPTIONS);
    int first = find(command);
    seen[first].who = 'c';
    seen[first].known = 1;
    kill(command, SIGCONT);
    long quiet = now();
    for (;;) {
        pid_t pid = waitpid(-1, &status, __WALL | WNOHANG);
        if (pid > 0) quiet = now();
        if (pid > 0 && pid == running_script) {
            running_script = 0;
            let_go();
        } else if (pid > 0 && WIFSTOPPED(status)) {
            int i = find(pid);
            began |= i == first && status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8);
            event(i, status);
        } else if (pid == command) {
            end = status;
        } else if (pid <= 0) {
            usleep(100);
        }
        int waits = script && !script_done;
        int happened = (!death.who || death.done) && (!hold.who || hold.done);
        long idle = now() - quiet;
        if (waits && (happened || (idle > 100 && hold.done))) run_script();
        else if (end != -1 && !running_script && idle > (death.done ? 5 : 20)) {
            let_go();
            break;
        }
        /* Where the command waits for somebody outside, its own patience ends that. */
        if (idle > 30000) break;
    }
    FILE *out = fopen(report, "w");
    if (!out) return 96;
    fprintf(out, "{\"status\": %d, \"killed\": %s, \"held\": %s, \"c\": %ld, \"k\": %ld, \"f\": %ld, \"p\": %ld, \"sent\": %ld, \"keepers\": [",
            end, death.done ? "true" : "false", hold.done ? "true" : "false", calls['c'], calls['k'], calls['f'], calls['p'], sent);
    const char *comma = "";
    for (int i = 0; i < count; i++)
        if (seen[i].who == 'k') fprintf(out, "%s[%d, \"%s\"]", comma, seen[i].pid, seen[i].argument), comma = ", ";
    fprintf(out, "]}\n");
    return fclose(out) ? 95 : 0;
}
