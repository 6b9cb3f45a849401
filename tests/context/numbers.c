/* Calls that close a descriptor, or would: one that fails, or is never made because its
 * thread is cancelled, leaves what is known of the descriptor. PROGRAM ADDRESS WHAT. */
#include "storm.h"

/* As in numbers.rs. */
enum { TURNS = 20000 };

static struct sockaddr_in6 echo, silent;

static int peer_of(struct sockaddr_in6 to) {
    int fd = udp();
    CLEAN(connect(fd, SA(&to), sizeof to));
    return fd;
}

/* A connection that nobody answers yet. */
static int under_way(void) {
    int fd = MUST(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
    if (connect(fd, SA(&silent), sizeof silent) != -1 || errno != EINPROGRESS)
        WRONG("connect: %s", strerrorname_np(errno));
    return fd;
}

/* One that is made by now, of which the program has not heard. */
static int made_unheard(void) {
    int fd = MUST(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
    struct pollfd entry = {.fd = fd, .events = POLLOUT};
    if (connect(fd, SA(&served), sizeof served) != -1 || errno != EINPROGRESS)
        WRONG("connect: %s", strerrorname_np(errno));
    if (poll(&entry, 1, 30000) != 1)
        WRONG("not connected");
    return fd;
}

static void still(int fd) {
    shows_a(fd);
    if (!is_moved(fd))
        WRONG("not pinned any more");
}

static void fails(long result, int error) {
    if (result != -1 || errno != error)
        WRONG("%ld, %s", result, strerrorname_np(errno));
}

static void failing(int fd, int is_connected) {
    AT("dup2 of nothing");
    fails(dup2(-1, fd), EBADF);
    if (is_connected)
        still(fd);
    AT("dup3 with flags that there are not");
    fails(dup3(0, fd, 0x12345), EINVAL);
    if (is_connected)
        still(fd);
    AT("dup3 of itself");
    fails(dup3(fd, fd, 0), EINVAL);
    fails(syscall(SYS_dup3, -1, fd, 0), EBADF);
    if (is_connected)
        still(fd);
    AT("dup2 of itself");
    if (dup2(fd, fd) != fd)
        WRONG("%s", strerrorname_np(errno));
    if (is_connected)
        still(fd);
}

static void ask(int fd) {
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    struct sockaddr_in6 from;
    socklen_t len = sizeof from;
    char text[8];
    CLEAN(sendto(fd, "question", 8, 0, SA(&echo), sizeof echo));
    if (poll(&entry, 1, 30000) != 1 || recvfrom(fd, text, 8, 0, SA(&from), &len) != 8 ||
        !is_a(&from))
        WRONG("no answer from A");
}

static atomic_int cleaned;

static void clean(void *data) {
    int fd = *(int *)data;
    self->doing = "clean up";
    cleaned++;
    if (fd >= 0)
        still(fd);
}

/* As glibc has it, nothing is closed where the thread is cancelled already. */
static void *close_cancelled(void *data) {
    self = &workers[1];
    int fd = *(int *)data, shown = ((int *)data)[1] ? fd : -1;
    pthread_cleanup_push(clean, &shown);
    AT("close");
    pthread_cancel(pthread_self());
    close(fd);
    WRONG("close came back");
    pthread_cleanup_pop(0);
    return NULL;
}

static void cancelled(int fd, int is_connected) {
    int arguments[2] = {fd, is_connected};
    pthread_t thread;
    void *result;
    cleaned = 0;
    if (pthread_create(&thread, NULL, close_cancelled, arguments))
        exit(1);
    pthread_join(thread, &result);
    workers[1].doing = NULL;
    if (result != PTHREAD_CANCELED || cleaned != 1)
        WRONG("not cancelled");
    if (fcntl(fd, F_GETFD) < 0)
        WRONG("closed");
    if (is_connected)
        still(fd);
}

/* Other threads are given the numbers that are being closed: each has what it has
 * opened. */
static void *churn(void *data) {
    int at = (int)(long)data;
    self = &workers[at];
    for (int i = 0; i < 1000; i++) {
        AT("socket, connect, close");
        int fd = peer_of(echo);
        still(fd);
        if (i % 2)
            CLEAN(dup2(0, fd));
        CLEAN(close(fd));
    }
    self->doing = NULL;
    return NULL;
}

/* The same of sockets that are not connected, of which the kernel cannot tell whose
 * they are; each has two destinations, of which one answers for itself and says nothing.
 * Files have numbers too, and are read. */
static void *ask_and_close(void *data) {
    struct sockaddr_in6 direct = with_port(served, MUTE);
    int at = (int)(long)data;
    self = &workers[at];
    direct.sin6_addr.s6_addr[7] = 1;
    for (int i = 0; i < TURNS; i++) {
        AT("socket, sendto, recvfrom, close");
        int fd = udp();
        struct sockaddr_in6 from;
        socklen_t len = sizeof from;
        struct pollfd entry = {.fd = fd, .events = POLLIN};
        char text[64];
        CLEAN(sendto(fd, "question", 8, 0, SA(&echo), sizeof echo));
        CLEAN(sendto(fd, "question", 8, 0, SA(&direct), sizeof direct));
        if (poll(&entry, 1, 30000) != 1)
            WRONG("no answer");
        if (recvfrom(fd, text, sizeof text, MSG_DONTWAIT, SA(&from), &len) != 8)
            WRONG("recvfrom: %s", strerrorname_np(errno));
        if (!is_a(&from))
            WRONG("an answer from another");
        CLEAN(close(fd));
        AT("open, read, close");
        fd = MUST(open("/dev/zero", O_RDONLY));
        if (CLEAN(read(fd, text, sizeof text)) != sizeof text)
            WRONG("not all was read");
        CLEAN(close(fd));
    }
    self->doing = NULL;
    return NULL;
}

/* All that a socket is told at the same time. */
static int told;

static void *tells(void *data) {
    int at = (int)(long)data, on, mark = 0;
    self = &workers[at];
    for (int i = 0; i < 100000; i++) {
        AT("FIONBIO, fcntl, setsockopt");
        on = i % 2;
        if (at == 1)
            CLEAN(ioctl(told, FIONBIO, &on));
        else if (at == 2)
            CLEAN(fcntl(told, F_SETFL, on ? 0 : O_NONBLOCK));
        else
            CLEAN(ioctl(told, FIONBIO, &mark));
    }
    self->doing = NULL;
    return NULL;
}

static void at_once(int fd) {
    pthread_t threads[3];
    told = fd;
    for (long i = 0; i < 3; i++)
        if (pthread_create(&threads[i], NULL, tells, (void *)(i + 1)))
            exit(1);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    AT("told at once");
    still(fd);
}

int main(int count, char **words) {
    if (count != 3)
        return 64;
    begin(2, words);
    watched(60);
    echo = with_port(served, ECHO);
    silent = with_port(served, SILENT);
    AT(words[2]);
    int is_churn = !strcmp(words[2], "threads");
    if (is_churn || !strcmp(words[2], "questions")) {
        pthread_t threads[4];
        for (long i = 0; i < 4; i++)
            if (pthread_create(&threads[i], NULL, is_churn ? churn : ask_and_close, (void *)(i + 1)))
                return 1;
        self->doing = NULL;
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        return 0;
    }
    int stream = kept_stream(), peer = peer_of(echo), plain = udp(), early = under_way();
    int made = made_unheard();
    ask(plain);
    if (!strcmp(words[2], "at once")) {
        at_once(stream);
        at_once(peer);
    } else if (!strcmp(words[2], "failing")) {
        failing(stream, 1);
        failing(peer, 1);
        failing(plain, 0);
        failing(early, 0);
        failing(made, 1);
    } else {
        cancelled(stream, 1);
        cancelled(peer, 1);
        cancelled(plain, 0);
        cancelled(early, 0);
        cancelled(made, 1);
        /* Given up now. */
        CLEAN(dup2(0, early));
    }
    ask(plain);
    return 0;
}
