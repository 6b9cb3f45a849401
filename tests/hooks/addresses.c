/* connect() with every kind of pointer, length, family, address and descriptor. */
#include "transcript.h"

enum { TCP6, TCP6_NONBLOCKING, UDP6, TCP4, UNIX, PIPE, FILE_, KINDS };
static const char *KIND[] = {"tcp6", "tcp6 nonblocking", "udp6", "tcp4", "unix", "pipe", "file"};

static int descriptor(int kind) {
    int ends[2];
    switch (kind) {
    case TCP6: return tcp();
    case TCP6_NONBLOCKING: return MUST(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
    case UDP6: return MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    case TCP4: return MUST(socket(AF_INET, SOCK_STREAM, 0));
    case UNIX: return MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    case PIPE: MUST(pipe(ends)); close(ends[1]); return ends[0];
    default: return MUST(open("/dev/null", O_RDWR));
    }
}

static void pointers(void) {
    char *page = edge();
    struct { const char *name; char *at; } places[] = {
        {"null", NULL},
        {"one", (char *)1},
        {"no access", page + PAGE},
        {"not mapped", page + 3 * PAGE},
        {"not canonical", (char *)0x8000000000000000},
        {"kernel", (char *)0xffffffffffffff00},
        {"last", (char *)-1},
        {"crosses after 1", page + PAGE - 1},
        {"crosses after 2", page + PAGE - 2},
        {"crosses after 8", page + PAGE - 8},
        {"crosses after 24", page + PAGE - 24},
        {"crosses after 27", page + PAGE - 27},
    };
    socklen_t lengths[] = {0, 1, 2, 16, 24, 27, 28, 110, 128, 129, 0x7fffffff, 0x80000000, -1};
    for (unsigned p = 0; p < sizeof places / sizeof *places; p++) {
        memset(page, 0, PAGE);
        for (int kind = 0; kind < KINDS; kind++)
            for (unsigned l = 0; l < sizeof lengths / sizeof *lengths; l++) {
                long room = page + PAGE - places[p].at;
                if (room > 0 && room < 28)
                    memcpy(places[p].at, &served, room);
                int fd = descriptor(kind);
                CALL(connect(fd, SA(places[p].at), lengths[l]), "%s, %s, length %d",
                     places[p].name, KIND[kind], (int)lengths[l]);
                close(fd);
            }
    }
    /* Where it can be read, it does not matter how it lies. */
    for (int shift = 0; shift < 4; shift++) {
        char *at = page + PAGE - sizeof served - shift;
        memcpy(at, &served, sizeof served);
        int fd = tcp();
        CALL(connect(fd, SA(at), sizeof served), "misaligned by %d", shift);
        show_peer("peer", fd);
        close(fd);
    }
}

static void lengths(void) {
    char room[256] = {0};
    memcpy(room, &served, sizeof served);
    for (int length = 0; length <= 200; length++) {
        int fd = tcp();
        CALL(connect(fd, SA(room), length), "length %d", length);
        show_peer("peer", fd);
        close(fd);
    }
    memcpy(room, &refused, sizeof refused);
    for (int length = 20; length <= 32; length++) {
        int fd = tcp();
        CALL(connect(fd, SA(room), length), "refused, length %d", length);
        close(fd);
    }
}

static void one(const char *label, int kind, struct sockaddr_in6 to) {
    int fd = descriptor(kind);
    CALL(connect(fd, SA(&to), sizeof to), "%s, %s", label, KIND[kind]);
    show_peer("peer", fd);
    close(fd);
}

static void families(void) {
    for (int family = 0; family < 48; family++) {
        struct sockaddr_in6 to = served;
        to.sin6_family = family;
        int fd = tcp();
        CALL(connect(fd, SA(&to), sizeof to), "family %d", family);
        close(fd);
    }
    for (int kind = 0; kind < KINDS; kind++) {
        /* A non-blocking one is on its way, or not, as it comes. */
        if (kind == TCP6_NONBLOCKING)
            continue;
        one("served", kind, served);
        one("refused", kind, refused);
        one("port 0", kind, address("2001:db8:a::53", 0));
        one("mapped", kind, address("::ffff:127.0.0.1", 9));
        one("loopback", kind, address("::1", 9));
        one("unspecified", kind, address("::", 9));
        one("link-local without scope", kind, address("fe80::1", 9));
        one("multicast", kind, address("ff02::1", 9));
        one("multicast, global", kind, address("ff0e::1", 9));
        struct sockaddr_in6 to = served;
        to.sin6_scope_id = 77;
        one("scope", kind, to);
        to = served;
        to.sin6_flowinfo = htonl(0x12345);
        one("flow label", kind, to);
        to.sin6_flowinfo = -1;
        one("flow label, all ones", kind, to);
    }
    CALL(connect(-1, SA(&served), sizeof served), "bad descriptor");
    CALL(connect(9999, SA(&served), sizeof served), "no descriptor");
    CALL(connect(0x7fffffff, SA(&served), sizeof served), "large descriptor");
    int path = MUST(open("/", O_PATH));
    CALL(connect(path, SA(&served), sizeof served), "O_PATH");
    close(path);
}

static void twice(void) {
    struct sockaddr_in6 none = {.sin6_family = AF_UNSPEC};
    int fd = connected();
    CALL(connect(fd, SA(&served), sizeof served), "connected, again");
    CALL(connect(fd, SA(&refused), sizeof refused), "connected, elsewhere");
    show_peer("still", fd);
    CALL(connect(fd, SA(&none), sizeof none), "disconnected");
    show_peer("disconnected", fd);
    CALL(connect(fd, SA(&refused), sizeof refused), "disconnected, refused");
    show_peer("refused", fd);
    CALL(connect(fd, SA(&served), sizeof served), "disconnected, again");
    show_peer("again", fd);
    close(fd);

    fd = descriptor(TCP6_NONBLOCKING);
    CALL(connect(fd, SA(&silent), sizeof silent), "on its way");
    CALL(connect(fd, SA(&silent), sizeof silent), "on its way, again");
    CALL(connect(fd, SA(&served), sizeof served), "on its way, elsewhere");
    CALL(connect(fd, NULL, sizeof served), "on its way, null");
    CALL(connect(fd, SA(&served), 3), "on its way, short");
    show_peer("on its way", fd);
    CALL(connect(fd, SA(&none), sizeof none), "stopped");
    CALL(connect(fd, SA(&silent), sizeof silent), "on its way once more");
    close(fd);

    fd = tcp();
    MUST(listen(fd, 1));
    CALL(connect(fd, SA(&served), sizeof served), "listening");
    CALL(connect(fd, SA(&none), sizeof none), "listening, stopped");
    CALL(connect(fd, SA(&served), sizeof served), "no longer listening");
    show_peer("no longer listening", fd);
    close(fd);

    fd = connected();
    MUST(shutdown(fd, SHUT_RDWR));
    CALL(connect(fd, SA(&served), sizeof served), "shut down, again");
    close(fd);

    fd = tcp();
    struct sockaddr_in6 own = {.sin6_family = AF_INET6};
    CALL(bind(fd, SA(&own), sizeof own), "bound to no port");
    CALL(connect(fd, SA(&served), sizeof served), "bound");
    show_peer("bound", fd);
    close(fd);
}

int main(int count, char **words) {
    begin(count, words);
    pointers();
    lengths();
    families();
    twice();
    return 0;
}
