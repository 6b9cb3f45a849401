/* Cases of socket behaviour: each has a name, runs once for each of its variants, and
 * writes down what every call returned and left behind. */
#include "transcript.h"
#include <dirent.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/uio.h>
#include <time.h>

/* A case, or several that differ in one thing. The part of the name before the slash
 * is its theme. */
struct cases {
    const char *name;
    void (*run)(int variant);
    const char *const *variants; /* NULL for one case; the last is NULL */
};

#define JOINED_(a, b) a##b
#define JOINED(a, b) JOINED_(a, b)
#define CASES_(text, names, number)                                                      \
    static void JOINED(case_, number)(int variant);                                      \
    static const struct cases JOINED(cases_, number) = {text, JOINED(case_, number), names}; \
    /* Pointers, so that nothing is between them. */                                     \
    static const struct cases *const JOINED(entry_, number)                              \
        __attribute__((used, section("cases"))) = &JOINED(cases_, number);               \
    static void JOINED(case_, number)(__attribute__((unused)) int variant)
#define CASE(text) CASES_(text, NULL, __COUNTER__)
#define CASES(text, names) CASES_(text, names, __COUNTER__)

#define NAMES(array, ...) static const char *const array[] = {__VA_ARGS__, NULL}
#define COUNT(array) (int)(sizeof array / sizeof *array)

/* The destination; ports of its services (service.c, echo.c). */
static struct in6_addr destination;
enum {
    DISCARD = 9,
    WEB = 80,
    UDP_ECHO = 7000,
    UDP_MUTE = 7001,
    ECHO = 7002,     /* sends back what comes */
    GREETING = 7003, /* sends eight octets, and says that this was all */
    RESET = 7004,    /* ends the connection with a reset, when an octet has come */
    BULK = 7005,     /* sends 65536 octets, and says that this was all */
    DEAF = 7006,     /* reads nothing */
    URGENT = 7007,   /* sends "ab", "c" urgent, "de", when an octet has come */
    BACK = 7008,     /* connects to the port that is sent to it, from A or its own */
};

/* Each call gives another port: what was found out about one says nothing about the
 * next. Nothing listens there; the filter of the host drops what is for silent ones. */
static inline int refused_port(void) {
    static int next = 20000;
    return next++;
}
static inline int silent_port(void) {
    static int next = 21000;
    return next++;
}

/* A port of this host that no other case binds. */
static int own_port;

static inline struct sockaddr_in6 at_port(int port) {
    return (struct sockaddr_in6){
        .sin6_family = AF_INET6, .sin6_port = htons(port), .sin6_addr = destination};
}

static void bound_to_end(int fd) {
    /* A test that waits for what does not come ends, and differs. */
    struct timeval limit = {60, 0};
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
}

static inline int stream(int flags) {
    int fd = MUST(socket(AF_INET6, SOCK_STREAM | flags, 0));
    bound_to_end(fd);
    return fd;
}

static inline int datagram(int flags) {
    int fd = MUST(socket(AF_INET6, SOCK_DGRAM | flags, 0));
    bound_to_end(fd);
    return fd;
}

static inline int connect_to(int fd, int port) {
    struct sockaddr_in6 to = at_port(port);
    return connect(fd, SA(&to), sizeof to);
}

static inline int stream_to(int port) {
    int fd = stream(0);
    MUST(connect_to(fd, port));
    return fd;
}

static inline int datagram_to(int port) {
    int fd = datagram(0);
    MUST(connect_to(fd, port));
    return fd;
}

/* Waits until something can be done, without receiving anything. */
static inline short wait_for(int fd, short events) {
    struct pollfd entry = {fd, events, 0};
    int count;
    do
        count = poll(&entry, 1, 60000);
    while (count < 0 && errno == EINTR);
    if (count != 1)
        printf("waited in vain: %d\n", count);
    return entry.revents;
}

/* Waits until so many octets can be received. */
static inline void wait_for_octets(int fd, int wanted) {
    for (int turn = 0; turn < 60000; turn++) {
        int there = 0;
        MUST(ioctl(fd, FIONREAD, &there));
        if (there >= wanted)
            return;
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
    }
    printf("waited in vain for %d octets\n", wanted);
}

/* Sends until nothing more can be sent, nor a moment later, when what was sent before
 * has been acknowledged: the other end does not read. */
static inline void fill(int fd) {
    static char data[1 << 16];
    for (int quiet = 0; quiet < 2;) {
        if (send(fd, data, sizeof data, MSG_DONTWAIT) > 0) {
            quiet = 0;
            continue;
        }
        struct pollfd entry = {fd, POLLOUT, 0};
        /* Acknowledgements are delayed for 200 ms at most. */
        if (quiet || MUST(poll(&entry, 1, 250)) == 0)
            quiet++;
    }
}

static inline void hex(const char *label, const void *octets, int count) {
    printf("  %s:", label);
    for (int at = 0; at < count; at++)
        printf(" %02x", ((const unsigned char *)octets)[at]);
    printf("\n");
}

static inline void text(const char *label, const void *octets, long count) {
    printf("  %s: \"", label);
    for (long at = 0; at < count; at++) {
        unsigned char octet = ((const unsigned char *)octets)[at];
        if (octet >= ' ' && octet < 127)
            putchar(octet);
        else
            printf("\\%02x", octet);
    }
    printf("\"\n");
}

/* A port that the kernel has chosen is another one each time. */
static inline void show_in6(const char *label, const struct sockaddr_in6 *name) {
    char address[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, &name->sin6_addr, address, sizeof address);
    int port = ntohs(name->sin6_port);
    printf("  %s: family %d [%s]:", label, name->sin6_family, address);
    printf(port >= 32768 ? "*" : "%d", port);
    printf(" flow %x scope %d\n", ntohl(name->sin6_flowinfo), !!name->sin6_scope_id);
}

/* What of a name was written in `size` octets that were 0xa5 before, and no octet more. */
static inline void show_octets(const char *label, const void *octets, int size) {
    const unsigned char *at = octets;
    int end = size;
    while (end > 0 && at[end - 1] == 0xa5)
        end--;
    hex(label, octets, end);
}

static inline void show_peer_name(int fd) {
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    memset(&name, 0, sizeof name);
    CALL(getpeername(fd, SA(&name), &len), "peer");
    if (name.ss_family == AF_INET6)
        show_in6("peer", (void *)&name);
    printf("  length %u\n", len);
}

static inline void show_names(int fd) {
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    show_peer_name(fd);
    memset(&name, 0, sizeof name);
    CALL(getsockname(fd, SA(&name), &len), "own name");
    if (name.ss_family == AF_INET6)
        show_in6("own", (void *)&name);
    printf("  length %u\n", len);
}

static inline void show_error(int fd) {
    int error = -1;
    socklen_t len = sizeof error;
    CALL(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), "SO_ERROR");
    printf("  error %s length %u\n", error > 0 ? strerrorname_np(error) : "-", len);
}

static inline void show_state(int fd) {
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    CALL(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), "TCP_INFO");
    printf("  state %d\n", info.tcpi_state);
}

static inline void show_flags(int fd) {
    CALL(fcntl(fd, F_GETFL), "F_GETFL");
    CALL(fcntl(fd, F_GETFD), "F_GETFD");
}

static inline void show_ready(int fd) {
    struct pollfd entry = {fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0};
    CALL(poll(&entry, 1, 0), "poll");
    printf("  events %x\n", entry.revents);
}

/* All that can be asked of a stream. */
static inline void show_stream(int fd) {
    show_names(fd);
    show_state(fd);
    show_error(fd);
    show_flags(fd);
    show_ready(fd);
}

/* A page that nobody may touch; the one before it may be written to. */
static inline char *wall(void) {
    static char *start;
    if (!start)
        start = edge();
    memset(start, 0xa5, PAGE);
    return start + PAGE;
}

/* A page that may only be read. */
static inline char *read_only(void) { return wall() + PAGE; }
