/* A client that lives long: connects to A as each line of its standard input says,
 * and prints one line of what came of it, `key=value` by `key=value`.
 *
 *   client ADDRESS PORT
 *
 *   blocking [sndtimeo=MS] [usertimeo=MS] [syncnt=N]
 *   nonblocking how=error|connect|read|close [wait=MS] [keep=1]
 *   handlers restart=0|1 interrupt=0|1     (SIGUSR1 restarts, SIGUSR2 does not)
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* How long to wait for what must come. */
#define LONG 60000

static struct sockaddr_in6 to;
static volatile sig_atomic_t restarted, interrupted;

static void on_restart(int signal) { (void)signal; restarted++; }
static void on_interrupt(int signal) { (void)signal; interrupted++; }

static long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static const char *name(int error) { return error ? strerrorname_np(error) : "OK"; }

static long option(char *line, const char *key) {
    char wanted[32];
    snprintf(wanted, sizeof wanted, " %s=", key);
    char *found = strstr(line, wanted);
    return found ? atol(found + strlen(wanted)) : -1;
}

static void must(int result, const char *what) {
    if (result < 0) {
        fprintf(stderr, "client: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static void set_timeval(int fd, long ms) {
    struct timeval t = {ms / 1000, ms % 1000 * 1000};
    must(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof t), "SO_SNDTIMEO");
}

/* What the program can see of its own settings. */
static void show_settings(int fd) {
    struct timeval t;
    unsigned user;
    int flags = fcntl(fd, F_GETFL);
    socklen_t len = sizeof t;
    must(flags, "F_GETFL");
    must(getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, &len), "SO_SNDTIMEO");
    len = sizeof user;
    must(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user, &len), "TCP_USER_TIMEOUT");
    printf(" nonblock=%d sndtimeo=%ld usertimeo=%u", !!(flags & O_NONBLOCK),
           (long)t.tv_sec * 1000 + t.tv_usec / 1000, user);
}

static void show_peer(int fd) {
    struct sockaddr_in6 peer;
    socklen_t len = sizeof peer;
    char text[INET6_ADDRSTRLEN];
    if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0)
        printf(" peer=%s", name(errno));
    else
        printf(" peer=%s", inet_ntop(AF_INET6, &peer.sin6_addr, text, sizeof text));
}

/* Whether poll reports anything for this socket in time. */
static int ready(int fd, short events, long ms) {
    struct pollfd entry = {.fd = fd, .events = events};
    long end = now() + ms, left = ms;
    int count;
    while ((count = poll(&entry, 1, left)) < 0 && errno == EINTR)
        left = end > now() ? end - now() : 0;
    must(count, "poll");
    return count;
}

static int pending_error(int fd) {
    int error;
    socklen_t len = sizeof error;
    must(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), "SO_ERROR");
    return error;
}

/* Asks the web server who it is. */
static void show_server(int fd) {
    static const char request[] = "GET /who HTTP/1.0\r\n\r\n";
    char answer[1024];
    size_t have = 0;
    ssize_t count;
    must(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK), "F_SETFL");
    must(write(fd, request, sizeof request - 1), "write");
    while (have < sizeof answer - 1 &&
           (count = read(fd, answer + have, sizeof answer - 1 - have)) > 0)
        have += count;
    answer[have] = 0;
    char *body = strstr(answer, "\r\n\r\n");
    char word[16] = "nothing";
    if (body)
        sscanf(body, "%15s", word);
    printf(" said=%s", word);
}

static void blocking(char *line) {
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    must(fd, "socket");
    long value;
    if ((value = option(line, "sndtimeo")) >= 0)
        set_timeval(fd, value);
    if ((value = option(line, "usertimeo")) >= 0)
        must(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &(unsigned){value}, 4), "option");
    if ((value = option(line, "syncnt")) >= 0)
        must(setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &(int){value}, 4), "TCP_SYNCNT");
    restarted = interrupted = 0;
    long began = now();
    int result = connect(fd, (struct sockaddr *)&to, sizeof to);
    int error = result ? errno : 0;
    printf("result=%s elapsed=%ld restarted=%d interrupted=%d", name(error), now() - began,
           restarted, interrupted);
    show_settings(fd);
    /* Interrupted or out of time: the kernel goes on connecting. */
    if (error == EINTR && ready(fd, POLLOUT, LONG)) {
        error = pending_error(fd);
        printf(" later=%s", name(error));
    }
    show_peer(fd);
    if (!error)
        show_server(fd);
    close(fd);
}

static void nonblocking(char *line) {
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
    must(fd, "socket");
    char *how = strstr(line, "how=");
    if (!how)
        must(-1, "how=");
    how += strlen("how=");
    long began = now(), wait = option(line, "wait");
    int result = connect(fd, (struct sockaddr *)&to, sizeof to), error = result ? errno : 0;
    printf("first=%s at_once=%ld", name(error), now() - began);
    if (error == EINPROGRESS) {
        if (!ready(fd, POLLOUT, wait < 0 ? LONG : wait)) {
            error = ETIMEDOUT;
            printf(" given_up=1");
        } else if (!strncmp(how, "error", 5)) {
            error = pending_error(fd);
        } else if (!strncmp(how, "connect", 7)) {
            error = connect(fd, (struct sockaddr *)&to, sizeof to) ? errno : 0;
        } else if (!strncmp(how, "read", 4)) {
            error = read(fd, &(char){0}, 1) < 0 ? errno : 0;
            if (error == EAGAIN)
                error = 0;
        } else {
            /* Closes it, and never asks why. */
            struct pollfd entry = {.fd = fd, .events = POLLOUT};
            must(poll(&entry, 1, 0), "poll");
            error = entry.revents & POLLERR ? EIO : 0;
        }
    }
    printf(" result=%s elapsed=%ld", name(error), now() - began);
    show_settings(fd);
    show_peer(fd);
    if (!error)
        show_server(fd);
    /* A program need not close at once what has failed. */
    if (!error || option(line, "keep") <= 0)
        close(fd);
}

static void handlers(char *line) {
    struct sigaction action = {.sa_handler = on_restart, .sa_flags = SA_RESTART};
    if (option(line, "restart") > 0)
        must(sigaction(SIGUSR1, &action, NULL), "sigaction");
    action = (struct sigaction){.sa_handler = on_interrupt};
    if (option(line, "interrupt") > 0)
        must(sigaction(SIGUSR2, &action, NULL), "sigaction");
    printf("handlers=1");
}

int main(int count, char **words) {
    if (count != 3)
        return 64;
    to.sin6_family = AF_INET6;
    to.sin6_port = htons(atoi(words[2]));
    if (inet_pton(AF_INET6, words[1], &to.sin6_addr) != 1)
        return 64;
    char line[256];
    while (fgets(line, sizeof line, stdin)) {
        if (!strncmp(line, "blocking", 8))
            blocking(line);
        else if (!strncmp(line, "nonblocking", 11))
            nonblocking(line);
        else if (!strncmp(line, "handlers", 8))
            handlers(line);
        else
            return 64;
        printf("\n");
        fflush(stdout);
    }
    return 0;
}
