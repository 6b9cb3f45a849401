/* The services of the ports in cases.h, each connection in a child of its own. */
#include "transcript.h"
#include <signal.h>

enum { ECHO = 7002, GREETING, RESET, BULK, DEAF, URGENT, BACK, LAST };

static void write_all(int fd, const void *data, size_t size) {
    for (size_t done = 0; done < size;)
        done += MUST(send(fd, (const char *)data + done, size - done, MSG_NOSIGNAL));
}

static void end_with_reset(int fd) {
    struct linger now = {1, 0};
    MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now));
    close(fd);
}

/* Until the other end has closed. */
static void wait_for_end(int fd) {
    struct pollfd entry = {fd, POLLRDHUP, 0};
    while (poll(&entry, 1, -1) >= 0 && !(entry.revents & (POLLRDHUP | POLLERR | POLLHUP)))
        ;
}

static void back(int fd) {
    struct {
        struct in6_addr from;
        in_port_t port;
    } __attribute__((packed)) order;
    struct sockaddr_in6 own = {.sin6_family = AF_INET6}, to;
    socklen_t len = sizeof to;
    if (recv(fd, &order, sizeof order, MSG_WAITALL) != sizeof order)
        return;
    own.sin6_addr = order.from;
    MUST(getpeername(fd, SA(&to), &len));
    to.sin6_port = order.port;
    int call = tcp();
    MUST(bind(call, SA(&own), sizeof own));
    MUST(connect(call, SA(&to), sizeof to));
    write_all(call, "back", 4);
    close(call);
    write_all(fd, "!", 1);
}

static void serve(int port, int fd) {
    static unsigned char data[65536];
    ssize_t count;
    switch (port) {
    case ECHO:
        while ((count = recv(fd, data, sizeof data, 0)) > 0)
            write_all(fd, data, count);
        break;
    case GREETING:
        write_all(fd, "greeting", 8);
        shutdown(fd, SHUT_WR);
        wait_for_end(fd);
        break;
    case RESET:
        recv(fd, data, 1, 0);
        return end_with_reset(fd);
    case BULK:
        for (unsigned at = 0; at < sizeof data; at++)
            data[at] = at * 31;
        write_all(fd, data, sizeof data);
        shutdown(fd, SHUT_WR);
        wait_for_end(fd);
        break;
    case DEAF: wait_for_end(fd); break;
    case URGENT:
        recv(fd, data, 1, 0);
        write_all(fd, "ab", 2);
        MUST(send(fd, "c", 1, MSG_OOB));
        write_all(fd, "de", 2);
        wait_for_end(fd);
        break;
    case BACK: back(fd); break;
    }
    close(fd);
}

int main(void) {
    struct pollfd fds[LAST - ECHO];
    pid_t parent = getpid();
    signal(SIGCHLD, SIG_IGN);
    for (int port = ECHO; port < LAST; port++) {
        struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
        int fd = tcp(), small = 4096;
        if (port == DEAF)
            MUST(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
        MUST(bind(fd, SA(&name), sizeof name));
        MUST(listen(fd, 128));
        fds[port - ECHO] = (struct pollfd){fd, POLLIN, 0};
    }
    for (;;) {
        MUST(poll(fds, LAST - ECHO, -1));
        for (int at = 0; at < LAST - ECHO; at++) {
            if (!fds[at].revents)
                continue;
            int fd = MUST(accept(fds[at].fd, NULL, NULL));
            if (!MUST(fork())) {
                MUST(prctl(PR_SET_PDEATHSIG, SIGKILL));
                if (getppid() == parent)
                    serve(ECHO + at, fd);
                exit(0);
            }
            close(fd);
        }
    }
}
