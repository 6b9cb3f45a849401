/* Connects a socket, and hands it on to another program in each way that there is; that
   writes down with whom it speaks. Arguments: address, TCP port, UDP port. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void must(int good, const char *what) {
    if (!good) {
        perror(what);
        exit(71);
    }
}

/* --- the program that is handed a socket -------------------------------------------- */

static void name(const char *what, int result, struct sockaddr_in6 *peer, socklen_t len) {
    char text[INET6_ADDRSTRLEN] = "-";
    if (result < 0)
        printf(" %s: %s", what, strerror(errno));
    else {
        inet_ntop(AF_INET6, &peer->sin6_addr, text, sizeof text);
        printf(" %s: [%s]:%d %d octets", what, text, ntohs(peer->sin6_port), (int)len);
    }
}

static void answered(const char *what, int fd) {
    struct sockaddr_in6 peer = {0};
    char data[16];
    struct iovec part = {data, sizeof data};
    struct msghdr message = {&peer, sizeof peer, &part, 1, NULL, 0, 0};
    struct mmsghdr messages[1] = {{message, 0}};
    socklen_t len = sizeof peer;
    must(send(fd, "question", 8, 0) == 8, "send");
    if (!strcmp(what, "recvfrom"))
        must(recvfrom(fd, data, sizeof data, 0, (struct sockaddr *)&peer, &len) == 8, what);
    else if (!strcmp(what, "recvmsg"))
        must(recvmsg(fd, &message, 0) == 8, what);
    else
        must(recvmmsg(fd, messages, 1, 0, NULL) == 1, what);
    name(what, 0, &peer, len);
}

/* What is asked first has to ask whose the socket is. */
static const char *FIRST[] = {"recvfrom", "recvmsg", "recvmmsg", "getpeername", "SO_PEERNAME"};

static int show(int count, char **words) {
    const char *way = words[2], *first = words[3];
    int fd = atoi(words[4]), udp = atoi(words[5]);
    printf("%s%s, %s:", way, udp ? " datagram" : " stream", first);
    for (int at = 6; at < count; at++)
        printf(" %s", words[at]);
    printf(" %s;", getenv("HANDED") ? getenv("HANDED") : "-");
    if (udp && first[0] == 'r')
        answered(first, fd);
    for (int turn = 0; turn < 2; turn++) {
        struct sockaddr_in6 peer = {0};
        socklen_t len = sizeof peer;
        int result;
        if (!strcmp(first, "SO_PEERNAME")) {
            result = getsockopt(fd, SOL_SOCKET, SO_PEERNAME, &peer, &len);
        } else {
            errno = 0;
            result = getpeername(fd, (struct sockaddr *)&peer, &len);
            if (!result && errno)
                printf(" errno %d", errno);
        }
        name("peer", result, &peer, len);
    }
    if (udp)
        answered("recvfrom", fd);
    printf("\n");
    fflush(stdout);
    return 0;
}

/* --- the program that hands it on --------------------------------------------------- */

static struct sockaddr_in6 destination[2];

static int connected(int udp, int closed) {
    int fd = socket(AF_INET6, (udp ? SOCK_DGRAM : SOCK_STREAM) | (closed ? SOCK_CLOEXEC : 0), 0);
    must(fd >= 0, "socket");
    must(!connect(fd, (struct sockaddr *)&destination[udp], sizeof *destination), "connect");
    return fd;
}

enum { WORDS = 14 };
static char *words[WORDS + 1];

#define ARGUMENTS                                                                         \
    words[0], words[1], words[2], words[3], words[4], words[5], words[6], words[7], words[8], \
        words[9], words[10], words[11], words[12], words[13], (char *)NULL

static char SELF[] = "/proc/self/exe", *ENVIRONMENT[64];

static void line_of(char *line, size_t room) {
    int used = snprintf(line, room, "exec /proc/%d/exe", getpid());
    for (int at = 1; at < WORDS; at++)
        used += snprintf(line + used, room - used, " %s", words[at]);
}

static void become(const char *way) {
    char line[512];
    int self;
    if (!strcmp(way, "execve"))
        execve(SELF, words, ENVIRONMENT);
    else if (!strcmp(way, "execv"))
        execv(SELF, words);
    else if (!strcmp(way, "execvp"))
        execvp(SELF, words);
    else if (!strcmp(way, "execvpe"))
        execvpe(SELF, words, ENVIRONMENT);
    else if (!strcmp(way, "execl"))
        execl(SELF, ARGUMENTS);
    else if (!strcmp(way, "execlp"))
        execlp(SELF, ARGUMENTS);
    else if (!strcmp(way, "execle"))
        execle(SELF, ARGUMENTS, ENVIRONMENT);
    else if (!strcmp(way, "execveat"))
        execveat(AT_FDCWD, SELF, words, ENVIRONMENT, 0);
    else if (!strcmp(way, "fexecve") && (self = open(SELF, O_RDONLY | O_CLOEXEC)) >= 0)
        fexecve(self, words, ENVIRONMENT);
    else if (!strcmp(way, "SYS_execve"))
        syscall(SYS_execve, SELF, words, ENVIRONMENT);
    else if (!strcmp(way, "SYS_execveat"))
        syscall(SYS_execveat, AT_FDCWD, SELF, words, ENVIRONMENT, 0);
    else if (!strcmp(way, "system")) {
        line_of(line, sizeof line);
        exit(system(line) ? 72 : 0);
    } else if (!strcmp(way, "popen")) {
        line_of(line, sizeof line);
        FILE *pipe = popen(line, "r");
        must(pipe != NULL, "popen");
        while (fgets(line, sizeof line, pipe))
            fputs(line, stdout);
        exit(pclose(pipe) ? 72 : 0);
    }
    perror(way);
    _exit(73);
}

static void end_of(pid_t child) {
    int status;
    must(waitpid(child, &status, 0) == child, "waitpid");
    if (status) {
        fprintf(stderr, "%s %s: status %x\n", words[2], words[5], status);
        exit(74);
    }
}

static char *number(int value) {
    char *text;
    must(asprintf(&text, "%d", value) > 0, "asprintf");
    return text;
}

static void hand_on(const char *way, int first, int fd, int udp) {
    char *all[] = {SELF, "show", (char *)way, (char *)FIRST[first], number(fd), number(udp),
                   "a", "b", "c", "d", "e", "f", "g", "h"};
    memcpy(words, all, sizeof all);
}

static void by_fork(const char *way, int first, int udp) {
    pid_t child = fork();
    must(child >= 0, "fork");
    if (!child) {
        hand_on(way, first, connected(udp, 0), udp);
        become(way);
    }
    end_of(child);
}

static void by_spawn(int by_path, int first, int udp) {
    /* The program has it as a number of its own choice. */
    int fd = connected(udp, 1), to = 0;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fd, to);
    hand_on(by_path ? "posix_spawnp" : "posix_spawn", first, to, udp);
    pid_t child;
    errno = by_path ? posix_spawnp(&child, SELF, &actions, NULL, words, environ)
                    : posix_spawn(&child, SELF, &actions, NULL, words, environ);
    must(!errno, "posix_spawn");
    end_of(child);
    close(fd);
}

static void by_vfork(int moved, int first, int udp) {
    int fd = connected(udp, moved);
    hand_on(moved ? "vfork and dup2" : "vfork", first, moved ? 0 : fd, udp);
    pid_t child = vfork();
    if (!child) {
        if (moved) {
            dup2(fd, 0);
            close(fd);
        }
        execv(SELF, words);
        _exit(73);
    }
    end_of(child);
    /* What it has closed is none of this one's. */
    struct sockaddr_in6 peer;
    socklen_t len = sizeof peer;
    must(!getpeername(fd, (struct sockaddr *)&peer, &len), "getpeername");
    name(words[2], 0, &peer, len);
    printf("\n");
    fflush(stdout);
    close(fd);
}

static void *busy(void *nothing) {
    for (;;) {
        int fd = connected(1, 0);
        close(fd);
    }
    return nothing;
}

static void by_thread(int first, int udp) {
    pid_t child = fork();
    must(child >= 0, "fork");
    if (!child) {
        pthread_t thread;
        for (int at = 0; at < 4; at++)
            must(!pthread_create(&thread, NULL, busy, NULL), "pthread_create");
        hand_on("with threads", first, connected(udp, 0), udp);
        execv(SELF, words);
        _exit(73);
    }
    end_of(child);
}

static void in_handler(int signal) {
    (void)signal;
    execv(SELF, words);
    _exit(73);
}

static void by_handler(int first, int udp) {
    pid_t child = fork();
    must(child >= 0, "fork");
    if (!child) {
        hand_on("in a handler", first, connected(udp, 0), udp);
        signal(SIGUSR1, in_handler);
        raise(SIGUSR1);
    }
    end_of(child);
}

/* A program that starts one by this one: the second has never been told of it. */
static int relay(char **argv) {
    argv[1] = "show";
    execv(SELF, argv);
    return 73;
}

static void by_two(int first, int udp) {
    pid_t child = fork();
    must(child >= 0, "fork");
    if (!child) {
        hand_on("through a program", first, connected(udp, 0), udp);
        words[1] = "relay";
        execv(SELF, words);
        _exit(73);
    }
    end_of(child);
}

/* Its numbers are given again and again: those that are not handed on are its own. */
static void after_many(int first, int udp) {
    for (int at = 0; at < 100; at++)
        close(connected(udp, 0));
    by_fork("execv", first, udp);
}

/* A program whose filter ends it when it makes a socket, and the one that it becomes. */
static void in_a_filter(void) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    hand_on("in a filter", 3, connected(0, 0), 0);
    /* The daemon is told of it now. */
    must(!system("true"), "system");
    must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges");
    must(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "filter");
    become("execv");
}

int main(int argc, char **argv) {
    if (argc > 2 && !strcmp(argv[1], "show"))
        return show(argc, argv);
    if (argc > 2 && !strcmp(argv[1], "relay"))
        return relay(argv);
    if (argc != 4)
        return 64;
    for (int udp = 0; udp < 2; udp++) {
        destination[udp].sin6_family = AF_INET6;
        destination[udp].sin6_port = htons(atoi(argv[2 + udp]));
        must(inet_pton(AF_INET6, argv[1], &destination[udp].sin6_addr) == 1, "inet_pton");
    }
    if (getenv("FILTERED"))
        in_a_filter();
    int count = 0;
    ENVIRONMENT[count++] = "HANDED=anew";
    for (char **word = environ; *word && count < 63; word++)
        ENVIRONMENT[count++] = *word;
    const char *ways[] = {"execve",   "execv",      "execvp",       "execvpe", "execl",
                          "execlp",   "execle",     "execveat",     "fexecve", "SYS_execve",
                          "SYS_execveat", "system", "popen"};
    int number_of_ways = sizeof ways / sizeof *ways;
    for (int udp = 0; udp < 2; udp++) {
        for (int at = 0; at < number_of_ways; at++)
            by_fork(ways[at], udp ? at % 5 : 3 + at % 2, udp);
        for (int at = 0; at < 2; at++) {
            by_spawn(at, udp ? at : 3 + at, udp);
            by_vfork(at, udp ? 1 + at : 3 + at, udp);
        }
        by_thread(3, udp);
        by_handler(3, udp);
        by_two(3, udp);
        after_many(3, udp);
    }
    return 0;
}
