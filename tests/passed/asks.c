/* Does with sockets what somebody may be asked for, or told of. Arguments: what, and the
   numbers of sockets that it has inherited, or an address, a port, and how many. Writes for
   how many milliseconds that took. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void must(int good, const char *what) {
    if (!good) {
        perror(what);
        exit(71);
    }
}

static long now(void) {
    struct timespec time;
    must(!clock_gettime(CLOCK_BOOTTIME, &time), "clock_gettime");
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

static void ask(int fd) {
    struct sockaddr_in6 peer;
    socklen_t len = sizeof peer;
    must(!getpeername(fd, (struct sockaddr *)&peer, &len), "getpeername");
}

/* Three ways to close a number, in a child that has another's memory. */
static void closed_by_child(int fd, int way) {
    pid_t child = vfork();
    if (!child) {
        if (way == 0)
            close(fd);
        else if (way == 1)
            close_range(fd, fd, 0);
        else
            dup2(0, fd);
        _exit(0);
    }
    int status;
    must(waitpid(child, &status, 0) == child && !status, "the child");
}

/* Such a child puts a socket of the program's own by a number. */
static void taken_by_child(int fd, int way) {
    static int own;
    own = socket(way == 0 ? AF_UNIX : AF_INET6, SOCK_STREAM, 0);
    must(own >= 0, "socket");
    pid_t child = vfork();
    if (!child)
        _exit(dup2(own, fd) != fd);
    int status;
    must(waitpid(child, &status, 0) == child && !status, "the child");
}

/* The program closes a number itself, and is given it again, by a message. */
static void given_again(int fd, int way) {
    int pair[2], kept = fcntl(fd, F_DUPFD, 500);
    char octet = 0, room[CMSG_SPACE(sizeof kept)] = {0};
    struct iovec part = {&octet, 1};
    struct msghdr message = {NULL, 0, &part, 1, room, sizeof room, 0};
    must(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair), "socketpair");
    struct cmsghdr *control = CMSG_FIRSTHDR(&message);
    *control = (struct cmsghdr){CMSG_LEN(sizeof kept), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(control), &kept, sizeof kept);
    must(sendmsg(pair[0], &message, 0) == 1, "sendmsg");
    if (way == 0)
        close(fd);
    else if (way == 1)
        close_range(fd, fd, 0);
    else
        must(fclose(fdopen(fd, "r")) == 0, "fclose");
    must(recvmsg(pair[1], &message, 0) == 1, "recvmsg");
    int got;
    memcpy(&got, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof got);
    must(got == fd, "the same number");
    close(kept);
}

static void ask_of(void *fd) { ask(*(int *)fd); }

/* Goes to A on a socket that waits for half a second at the most. */
static void reach(void *from) {
    char **words = from;
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(words[1]))};
    struct timeval time = {0, 500000};
    must(inet_pton(AF_INET6, words[0], &to.sin6_addr) == 1, "inet_pton");
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0, "socket");
    must(!setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof time), "SO_SNDTIMEO");
    connect(fd, (struct sockaddr *)&to, sizeof to);
    close(fd);
}

/* Asks about a socket in what is left of a fifth of a second after that: each takes 31 ms at
   least, of a daemon that never answers. */
static void ask_hurried(void *from) {
    char **words = from;
    for (int count = 5; count; count--)
        reach(words);
    ask(atoi(words[2]));
}

struct task {
    void (*what)(void *);
    void *with;
    sem_t is_done;
};

static void *run(void *from) {
    struct task *task = from;
    task->what(task->with);
    must(!sem_post(&task->is_done), "sem_post");
    while (pause())
        continue;
    return NULL;
}

/* In a thread that lives on: the next one is another. */
static void in_thread(void (*what)(void *), void *with) {
    struct task *task = malloc(sizeof *task);
    pthread_t thread;
    must(task != NULL, "malloc");
    *task = (struct task){.what = what, .with = with};
    must(!sem_init(&task->is_done, 0, 0), "sem_init");
    must(!pthread_create(&thread, NULL, run, task), "a thread");
    must(!sem_wait(&task->is_done), "sem_wait");
}

static void permit_everything(void) {
    struct sock_filter rules[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    struct sock_fprog program = {1, rules};
    must(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges");
    must(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "filter");
}

static void start(void) {
    char *line[] = {"true", NULL};
    pid_t child;
    must(!posix_spawnp(&child, "true", NULL, NULL, line, environ), "posix_spawnp");
    must(waitpid(child, NULL, 0) == child, "waitpid");
}

static void make(char **words, int spawns) {
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(atoi(words[1]))};
    must(inet_pton(AF_INET6, words[0], &to.sin6_addr) == 1, "inet_pton");
    for (int count = atoi(words[2]); count; count--) {
        int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        must(fd >= 0 && !connect(fd, (struct sockaddr *)&to, sizeof to), "connect");
        if (spawns)
            start();
    }
}

/* For longer than a daemon is left alone. */
static void wait_for_it(void) {
    for (long since = now(); now() < since + 2100;)
        usleep(10000);
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 64;
    const char *what = argv[1];
    struct rlimit files;
    must(!getrlimit(RLIMIT_NOFILE, &files), "getrlimit");
    files.rlim_cur = files.rlim_max;
    must(!setrlimit(RLIMIT_NOFILE, &files), "setrlimit");
    long begun = now();
    if (!strcmp(what, "spawn")) {
        make(argv + 2, 1);
    } else if (!strcmp(what, "again")) {
        make(argv + 2, 1);
        wait_for_it();
        start();
        start();
    } else if (!strcmp(what, "exec")) {
        make(argv + 2, 0);
        execlp("true", "true", (char *)NULL);
        return 72;
    } else if (!strcmp(what, "reach")) {
        for (int count = 2; count; count--)
            in_thread(reach, argv + 2);
    } else if (!strcmp(what, "late")) {
        for (int at = 4; at < argc; at++) {
            int fd = atoi(argv[at]);
            in_thread(ask_of, &fd);
        }
        in_thread(reach, argv + 2);
    } else if (!strcmp(what, "taken")) {
        for (int at = 2; at < argc; at++) {
            taken_by_child(atoi(argv[at]), at - 2);
            ask(atoi(argv[at]));
        }
    } else if (!strcmp(what, "hurried")) {
        int fd = atoi(argv[5]);
        in_thread(ask_hurried, argv + 2);
        long since = now();
        in_thread(ask_of, &fd);
        errno = ETIME;
        must(now() - since >= 45, "who had time is not answered");
    } else if (!strcmp(what, "until")) {
        for (int at = 2; at < argc; at++)
            ask(atoi(argv[at]));
        wait_for_it();
        for (int turn = 0; turn < 2; turn++)
            for (int at = 2; at < argc; at++)
                ask(atoi(argv[at]));
    } else if (!strcmp(what, "retaken")) {
        for (int at = 2; at < argc; at++) {
            ask(atoi(argv[at]));
            taken_by_child(atoi(argv[at]), at - 2);
            given_again(atoi(argv[at]), 0);
            ask(atoi(argv[at]));
        }
    } else if (!strcmp(what, "threads")) {
        for (int at = 2; at < argc; at++) {
            int fd = atoi(argv[at]);
            in_thread(ask_of, &fd);
        }
    } else {
        if (!strcmp(what, "barred"))
            permit_everything();
        for (int at = 2; at < argc; at++)
            ask(atoi(argv[at]));
        for (int at = 2; at < argc; at++) {
            if (!strcmp(what, "child"))
                closed_by_child(atoi(argv[at]), at - 2);
            else if (!strcmp(what, "itself"))
                given_again(atoi(argv[at]), at - 2);
            else
                break;
            ask(atoi(argv[at]));
        }
        if (!strcmp(what, "later")) {
            wait_for_it();
            ask(atoi(argv[argc - 1]));
        }
    }
    printf("%ld\n", now() - begun);
    return 0;
}
