/* Datagram sockets and what is known of them: PROGRAM ADDRESS WHAT. */
#include "storm.h"
#include <sys/resource.h>

static struct sockaddr_in6 echo;

/* Asks on a socket until it is answered. */
static void ask(int fd, struct sockaddr_in6 to) {
    for (;;) {
        struct pollfd entry = {.fd = fd, .events = POLLIN};
        struct sockaddr_in6 from;
        socklen_t len = sizeof from;
        char text[8];
        CLEAN(sendto(fd, "question", 8, 0, SA(&to), sizeof to));
        if (MUST(poll(&entry, 1, 1000)) == 0)
            continue;
        if (recvfrom(fd, text, sizeof text, 0, SA(&from), &len) != 8 || !is_a(&from))
            WRONG("no answer from whom was asked");
        return;
    }
}

/* Whether a new socket is moved. */
static int moves(void) {
    int fd = udp();
    MUST(connect(fd, SA(&echo), sizeof echo));
    shows_a(fd);
    int moved = is_moved(fd);
    MUST(close(fd));
    return moved;
}

/* Each socket is duplicated, and closed by both of its numbers. */
static void duplicates(void) {
    for (int i = 0; i < 10000; i++) {
        int fd = udp(), copy;
        if (i % 2)
            ask(fd, echo);
        copy = CLEAN(dup(fd));
        if (i % 2 == 0)
            ask(copy, echo);
        CLEAN(close(i % 3 ? fd : copy));
        CLEAN(close(i % 3 ? copy : fd));
    }
}

/* More sockets than there are places for pins. */
static void full(void) {
    enum { SOCKETS = 6000 };
    static int fds[SOCKETS];
    struct rlimit limit;
    MUST(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    MUST(setrlimit(RLIMIT_NOFILE, &limit));
    for (int turn = 0; turn < 2; turn++) {
        for (int i = 0; i < SOCKETS; i++)
            ask(fds[i] = udp(), echo);
        /* Each stays with whom it has begun with. */
        for (int i = 0; i < SOCKETS; i++)
            ask(fds[i], echo);
        for (int i = 0; i < SOCKETS; i++)
            CLEAN(close(fds[i]));
        if (!moves())
            WRONG("no socket is moved any more");
    }
}

static long now_ns(void) {
    struct timespec t;
    MUST(clock_gettime(CLOCK_MONOTONIC, &t));
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

/* What a duplicate costs, at its best: nobody is interrupted in all of the turns. */
static long cost(int fd) {
    long best = 1L << 60;
    int copy = CLEAN(dup(fd)), on = 1;
    for (int turn = 0; turn < 200; turn++) {
        long began = now_ns();
        for (int i = 0; i < 10; i++) {
            CLEAN(ioctl(fd, FIONBIO, &on));
            CLEAN(close(CLEAN(dup(copy))));
        }
        long took = now_ns() - began;
        best = took < best ? took : best;
    }
    CLEAN(close(copy));
    return best;
}

/* With many descriptors about it costs no more. */
static void many(void) {
    struct rlimit limit;
    MUST(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    MUST(setrlimit(RLIMIT_NOFILE, &limit));
    int fd = udp(), sockets = 0;
    long few = cost(fd);
    while (sockets < 15000 && socket(AF_INET6, SOCK_DGRAM, 0) >= 0)
        sockets++;
    printf("sockets=%d few=%ld many=%ld\n", sockets, few, cost(fd));
}

/* Threads that duplicate and close one socket: whoever is left has what all had. */
static int shared;

static void *duplicating(void *data) {
    self = &workers[(long)data];
    for (int i = 0; i < 5000; i++) {
        AT("dup, dup, close, close");
        int one = CLEAN(dup(shared)), two = CLEAN(dup(one));
        CLEAN(close(i % 2 ? one : two));
        int three = CLEAN(fcntl(shared, F_DUPFD_CLOEXEC, 0));
        CLEAN(close(i % 2 ? two : one));
        CLEAN(close(three));
    }
    self->doing = NULL;
    return NULL;
}

static void threads(void) {
    pthread_t threads[4];
    shared = udp();
    ask(shared, echo);
    for (long i = 0; i < 4; i++)
        if (pthread_create(&threads[i], NULL, duplicating, (void *)(i + 1)))
            exit(1);
    self->doing = NULL;
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    AT("threads");
    for (int i = 0; i < 100; i++) {
        int copy = CLEAN(dup(shared));
        ask(i % 2 ? copy : shared, echo);
        CLEAN(close(shared));
        shared = copy;
    }
    CLEAN(close(shared));
}

/* A child goes its own way with its parent's socket, and A itself answers. */
static void child(void) {
    int fd = udp(), index = 1, status;
    ask(fd, echo);
    pid_t pid = MUST(fork());
    if (pid == 0) {
        char control[CMSG_SPACE(sizeof(struct in6_pktinfo))] = {0};
        struct iovec part = {"question", 8};
        struct msghdr message = {&echo, sizeof echo, &part, 1, control, sizeof control, 0};
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = IPPROTO_IPV6;
        header->cmsg_type = IPV6_PKTINFO;
        header->cmsg_len = CMSG_LEN(sizeof(struct in6_pktinfo));
        ((struct in6_pktinfo *)CMSG_DATA(header))->ipi6_ifindex = index;
        ((struct in6_pktinfo *)CMSG_DATA(header))->ipi6_addr = served.sin6_addr;
        _exit(sendmsg(fd, &message, 0) != 8);
    }
    MUST(waitpid(pid, &status, 0));
    struct sockaddr_in6 from;
    socklen_t len = sizeof from;
    char text[8];
    if (status || recvfrom(fd, text, 8, 0, SA(&from), &len) != 8 || !is_a(&from))
        WRONG("status %#x, no answer from A", status);
    if (!moves())
        WRONG("no socket is moved any more");
}

int main(int count, char **words) {
    if (count != 3)
        return 64;
    begin(2, words);
    watched(60);
    echo = with_port(served, ECHO);
    AT(words[2]);
    if (!strcmp(words[2], "duplicates"))
        duplicates();
    else if (!strcmp(words[2], "full"))
        full();
    else if (!strcmp(words[2], "child"))
        child();
    else if (!strcmp(words[2], "many"))
        many();
    else if (!strcmp(words[2], "threads"))
        threads();
    else
        return 64;
    return 0;
}
