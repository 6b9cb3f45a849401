/* connect() of streams that block. */

static void connect_and_show(int way, int fd, int port) {
    struct sockaddr_in6 to = at_port(port);
    CALL(connect_by(way, fd, &to, sizeof to), "connect");
}

CASES("connect/served", CONNECT) {
    int fd = stream(0);
    show_stream(fd);
    connect_and_show(variant, fd, WEB);
    show_stream(fd);
    close(fd);
}

CASES("connect/refused", CONNECT) {
    int fd = stream(0);
    connect_and_show(variant, fd, refused_port());
    show_stream(fd);
    close(fd);
}

CASES("connect/refused, then served", CONNECT) {
    int fd = stream(0);
    connect_and_show(variant, fd, refused_port());
    connect_and_show(variant, fd, WEB);
    show_stream(fd);
    close(fd);
}

CASES("connect/refused twice at one port", CONNECT) {
    int fd = stream(0), port = refused_port();
    connect_and_show(variant, fd, port);
    connect_and_show(variant, fd, port);
    show_stream(fd);
    close(fd);
}

CASES("connect/silent until SO_SNDTIMEO ends it", CONNECT) {
    /* The kernel has no shorter times than some milliseconds. */
    static const int LIMITS[] = {50000, 12000, 8000, 4000, 1000, 1};
    for (int at = 0; at < COUNT(LIMITS); at++) {
        int fd = stream(0), port = silent_port();
        struct timeval limit = {0, LIMITS[at]}, before, after;
        socklen_t len = sizeof limit;
        MUST(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
        MUST(getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &before, &len));
        connect_and_show(variant, fd, port);
        show_stream(fd);
        MUST(getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &after, &len));
        printf("limit as before %d\n", !memcmp(&before, &after, sizeof before));
        connect_and_show(variant, fd, port);
        connect_and_show(variant, fd, WEB);
        close(fd);
    }
}

CASES("connect/connected already", CONNECT) {
    int fd = stream_to(WEB);
    connect_and_show(variant, fd, WEB);
    connect_and_show(variant, fd, ECHO);
    connect_and_show(variant, fd, refused_port());
    show_stream(fd);
    close(fd);
}

NAMES(UNCONNECTED, "sockaddr_in6", "sockaddr", "family alone", "one octet", "sockaddr_storage");
static const int UNCONNECTED_LENGTHS[] = {sizeof(struct sockaddr_in6), sizeof(struct sockaddr), 2,
                                          1, sizeof(struct sockaddr_storage)};

static void disconnect(int way, int fd, int variant) {
    struct sockaddr_storage none = {.ss_family = AF_UNSPEC};
    CALL(connect_by(way, fd, &none, UNCONNECTED_LENGTHS[variant]), "disconnect");
}

CASES("connect/AF_UNSPEC on a new socket", UNCONNECTED) {
    int fd = stream(0);
    disconnect(0, fd, variant);
    show_stream(fd);
    connect_and_show(0, fd, WEB);
    show_stream(fd);
    close(fd);
}

CASES("connect/AF_UNSPEC on a connected socket", UNCONNECTED) {
    int fd = stream_to(WEB);
    disconnect(0, fd, variant);
    show_stream(fd);
    connect_and_show(0, fd, WEB);
    show_names(fd);
    close(fd);
}

CASES("connect/AF_UNSPEC on a connected socket by", CONNECT) {
    int fd = stream_to(WEB);
    disconnect(variant, fd, 0);
    show_stream(fd);
    connect_and_show(variant, fd, ECHO);
    show_stream(fd);
    close(fd);
}

CASE("connect/AF_UNSPEC on a listening socket") {
    int fd = stream(0);
    MUST(listen(fd, 1));
    connect_and_show(0, fd, WEB);
    disconnect(0, fd, 0);
    show_stream(fd);
    connect_and_show(0, fd, WEB);
    show_stream(fd);
    close(fd);
}

CASE("connect/AF_UNSPEC after a refusal") {
    int fd = stream(0);
    connect_and_show(0, fd, refused_port());
    disconnect(0, fd, 0);
    connect_and_show(0, fd, WEB);
    show_stream(fd);
    close(fd);
}

NAMES(LENGTHS, "0", "1", "2", "16", "23", "24", "25", "26", "27", "28", "29", "32", "64", "128",
      "129", "-1", "INT_MIN");
static const socklen_t LENGTH[] = {0,  1,  2,  16, 23,  24,  25, 26, 27,
                                   28, 29, 32, 64, 128, 129, -1, 0x80000000};

CASES("connect/address length", LENGTHS) {
    char room[256] = {0};
    struct sockaddr_in6 to = at_port(WEB);
    memcpy(room, &to, sizeof to);
    int fd = stream(0);
    CALL(connect(fd, SA(room), LENGTH[variant]), "stream");
    show_stream(fd);
    close(fd);
    to = at_port(refused_port());
    memcpy(room, &to, sizeof to);
    fd = stream(0);
    CALL(connect(fd, SA(room), LENGTH[variant]), "refused");
    close(fd);
    to = at_port(UDP_ECHO);
    memcpy(room, &to, sizeof to);
    fd = datagram(0);
    CALL(connect(fd, SA(room), LENGTH[variant]), "datagram");
    show_names(fd);
    close(fd);
}

NAMES(PLACES, "null", "one", "no access", "crosses after 1", "crosses after 2", "crosses after 8",
      "crosses after 24", "crosses after 27", "fits", "misaligned", "read only", "kernel",
      "not canonical");
static char *place_for_name(int which, const struct sockaddr_in6 *name) {
    static const int BEFORE[] = {0, 0, 0, 1, 2, 8, 24, 27, 28, 29};
    char *end = wall();
    switch (which) {
    case 0: return NULL;
    case 1: return (char *)1;
    case 10: return read_only();
    case 11: return (char *)0xffffffffffffff00;
    case 12: return (char *)0x8000000000000000;
    }
    char *at = end - BEFORE[which];
    size_t room = end - at;
    memcpy(at, name, room < sizeof *name ? room : sizeof *name);
    return at;
}

CASES("connect/address at", PLACES) {
    for (int way = 0; way < 3; way++) {
        struct sockaddr_in6 to = at_port(WEB);
        int fd = stream(0);
        CALL(connect_by(way, fd, place_for_name(variant, &to), sizeof to), "stream");
        show_names(fd);
        close(fd);
        to = at_port(UDP_ECHO);
        fd = datagram(0);
        CALL(connect_by(way, fd, place_for_name(variant, &to), sizeof to), "datagram");
        show_names(fd);
        close(fd);
    }
}

NAMES(ODD_NAMES, "port 0", "flow label", "flow info all ones", "scope that is none",
      "scope of an interface", "family 0", "family AF_INET", "family AF_UNIX", "family 77",
      "padding");
static struct sockaddr_in6 odd_name(int variant, int port) {
    struct sockaddr_in6 to = at_port(port);
    switch (variant) {
    case 0: to.sin6_port = 0; break;
    case 1: to.sin6_flowinfo = htonl(0x12345); break;
    case 2: to.sin6_flowinfo = -1; break;
    case 3: to.sin6_scope_id = 77; break;
    case 4: to.sin6_scope_id = if_nametoindex("eth0"); break;
    case 5: to.sin6_family = AF_UNSPEC; break;
    case 6: to.sin6_family = AF_INET; break;
    case 7: to.sin6_family = AF_UNIX; break;
    case 8: to.sin6_family = 77; break;
    }
    return to;
}

CASES("connect/odd address", ODD_NAMES) {
    struct sockaddr_in6 to = odd_name(variant, WEB);
    int fd = stream(0);
    CALL(connect(fd, SA(&to), sizeof to), "connect");
    show_stream(fd);
    close(fd);
}

NAMES(BINDINGS, "any address", "any address and a port", "own address", "foreign address",
      "loopback", "SO_BINDTODEVICE", "SO_MARK", "SO_REUSEADDR and a port", "IPV6_V6ONLY",
      "mapped any address");
static void bind_by(int variant, int fd) {
    int one = 1;
    struct timeval moment = {0, 50000};
    struct sockaddr_in6 own = {.sin6_family = AF_INET6};
    switch (variant) {
    case 1: own.sin6_port = htons(own_port); break;
    case 2: inet_pton(AF_INET6, "2001:db8:c::2", &own.sin6_addr); break;
    case 3: own.sin6_addr = destination; break;
    case 4:
        /* Nothing with this source leaves the host. */
        MUST(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &moment, sizeof moment));
        own.sin6_addr = in6addr_loopback;
        break;
    case 5: CALL(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5), "device"); return;
    case 6: CALL(setsockopt(fd, SOL_SOCKET, SO_MARK, &one, sizeof one), "mark"); return;
    case 7:
        MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
        own.sin6_port = htons(own_port);
        break;
    case 8:
        CALL(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one), "IPv6 only");
        return;
    case 9: inet_pton(AF_INET6, "::ffff:0.0.0.0", &own.sin6_addr); break;
    }
    CALL(bind(fd, SA(&own), sizeof own), "bind");
}

/* Ends in a way that leaves nothing waiting on the port. */
static void close_at_once(int fd) {
    struct linger now = {1, 0};
    MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now));
    close(fd);
}

CASES("connect/bound to", BINDINGS) {
    int fd = stream(0);
    bind_by(variant, fd);
    show_names(fd);
    connect_and_show(0, fd, WEB);
    show_stream(fd);
    CALL(bind(fd, SA(&(struct sockaddr_in6){.sin6_family = AF_INET6}), 28), "bind again");
    close_at_once(fd);
}

CASES("connect/bound and refused at", BINDINGS) {
    int fd = stream(0);
    bind_by(variant, fd);
    connect_and_show(0, fd, refused_port());
    show_stream(fd);
    close_at_once(fd);
}

NAMES(NO_SOCKETS, "-1", "closed", "too high", "a file", "a pipe", "a terminal of paths", "epoll",
      "a unix socket", "a unix datagram socket", "an IPv4 socket", "an IPv4 datagram socket");
static int no_socket(int variant) {
    int ends[2];
    switch (variant) {
    case 0: return -1;
    case 1: return 250;
    case 2: return 0x7fffffff;
    case 3: return MUST(open("/dev/null", O_RDWR));
    case 4: MUST(pipe(ends)); close(ends[1]); return ends[0];
    case 5: return MUST(open("/", O_PATH));
    case 6: return MUST(epoll_create1(0));
    case 7: return MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    case 8: return MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
    case 9: return MUST(socket(AF_INET, SOCK_STREAM, 0));
    default: return MUST(socket(AF_INET, SOCK_DGRAM, 0));
    }
}

CASES("connect/descriptor is", NO_SOCKETS) {
    struct sockaddr_in6 to = at_port(WEB);
    for (int way = 0; way < 3; way++) {
        int fd = no_socket(variant);
        CALL(connect_by(way, fd, &to, sizeof to), "connect");
        CALL(sendto(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL, SA(&to), sizeof to), "sendto");
        show_names(fd);
        if (variant > 2)
            close(fd);
    }
}

/* Until the other end has closed as well. */
static void wait_for_the_end(int fd) {
    struct tcp_info info;
    do {
        struct timespec moment = {0, 1000000};
        nanosleep(&moment, NULL);
        socklen_t len = sizeof info;
        MUST(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len));
    } while (info.tcpi_state != TCP_CLOSE);
}

NAMES(SHUT, "SHUT_RD", "SHUT_WR", "SHUT_RDWR");
CASES("connect/shut down before and after", SHUT) {
    int fd = stream(0);
    CALL(shutdown(fd, variant), "shut down");
    connect_and_show(0, fd, ECHO);
    show_stream(fd);
    CALL(shutdown(fd, variant), "shut down");
    if (variant != SHUT_RD)
        wait_for_the_end(fd);
    show_ready(fd);
    connect_and_show(0, fd, ECHO);
    show_names(fd);
    CALL(send(fd, "x", 1, MSG_NOSIGNAL), "send");
    CALL(shutdown(fd, 3), "no way to shut down");
    close(fd);
}

CASE("connect/the other end has gone") {
    int fd = stream_to(GREETING);
    char data[16];
    CALL(recv(fd, data, 8, MSG_WAITALL), "greeting");
    wait_for(fd, POLLRDHUP);
    show_stream(fd);
    connect_and_show(0, fd, GREETING);
    CALL(recv(fd, data, 8, 0), "end");
    close(fd);
}

CASE("connect/a reset, then anew") {
    int fd = stream_to(RESET);
    CALL(send(fd, "x", 1, 0), "send");
    wait_for(fd, POLLRDHUP);
    show_ready(fd);
    show_error(fd);
    show_stream(fd);
    connect_and_show(0, fd, WEB);
    show_stream(fd);
    connect_and_show(0, fd, WEB);
    show_stream(fd);
    close(fd);
}

CASE("connect/many at once") {
    int fds[40];
    for (int at = 0; at < COUNT(fds); at++) {
        fds[at] = stream(0);
        connect_and_show(0, fds[at], at % 3 ? WEB : ECHO);
    }
    for (int at = 0; at < COUNT(fds); at++) {
        show_names(fds[at]);
        close(fds[at]);
    }
}

CASE("connect/TCP_USER_TIMEOUT and keepalive stay") {
    int fd = stream(0), value = 30000, on = 1;
    MUST(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, sizeof value));
    MUST(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on));
    connect_and_show(0, fd, refused_port());
    connect_and_show(0, fd, WEB);
    socklen_t len = sizeof value;
    CALL(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &value, &len), "timeout");
    printf("  %d\n", value);
    CALL(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &len), "keepalive");
    printf("  %d\n", value);
    close(fd);
}
