/* Options of sockets, asked and set. */

NAMES(STATES, "new", "connected", "connecting", "refused", "listening", "datagram",
      "connected datagram", "disconnected");
static int in_state(int variant) {
    int fd;
    struct sockaddr_in6 none = {.sin6_family = AF_UNSPEC};
    switch (variant) {
    case 0: return stream(0);
    case 1: return stream_to(ECHO);
    case 2:
        fd = stream(SOCK_NONBLOCK);
        CALL(connect_to(fd, silent_port()), "connect");
        return fd;
    case 3:
        fd = stream(SOCK_NONBLOCK);
        CALL(connect_to(fd, refused_port()), "connect");
        wait_for(fd, POLLOUT);
        return fd;
    case 4:
        fd = stream(0);
        MUST(listen(fd, 1));
        return fd;
    case 5: return datagram(0);
    case 6: return datagram_to(UDP_ECHO);
    default:
        fd = stream_to(ECHO);
        MUST(connect(fd, SA(&none), sizeof none));
        return fd;
    }
}

static void show_option(int fd, const char *name, int level, int option) {
    int value = -1;
    socklen_t len = sizeof value;
    CALL(getsockopt(fd, level, option, &value, &len), "%s", name);
    printf("  %d length %u\n", value, len);
}

CASES("options/what is asked when", STATES) {
    int fd = in_state(variant);
#define SHOW(level, option) show_option(fd, #option, level, option)
    SHOW(SOL_SOCKET, SO_TYPE);
    SHOW(SOL_SOCKET, SO_DOMAIN);
    SHOW(SOL_SOCKET, SO_PROTOCOL);
    SHOW(SOL_SOCKET, SO_ACCEPTCONN);
    SHOW(SOL_SOCKET, SO_REUSEADDR);
    SHOW(SOL_SOCKET, SO_KEEPALIVE);
    SHOW(SOL_SOCKET, SO_MARK);
    SHOW(SOL_SOCKET, SO_BROADCAST);
    SHOW(SOL_SOCKET, SO_DONTROUTE);
    SHOW(SOL_SOCKET, SO_SNDLOWAT);
    SHOW(SOL_SOCKET, SO_RCVLOWAT);
    SHOW(SOL_SOCKET, SO_PRIORITY);
    SHOW(SOL_SOCKET, SO_OOBINLINE);
    SHOW(SOL_SOCKET, SO_LINGER);
    SHOW(SOL_SOCKET, 12345);
    SHOW(IPPROTO_IPV6, IPV6_V6ONLY);
    SHOW(IPPROTO_IPV6, IPV6_MTU_DISCOVER);
    SHOW(IPPROTO_IPV6, IPV6_UNICAST_HOPS);
    SHOW(IPPROTO_IPV6, IPV6_TCLASS);
    SHOW(IPPROTO_IPV6, IPV6_RECVERR);
    SHOW(IPPROTO_IPV6, IPV6_MTU);
    SHOW(IPPROTO_TCP, TCP_NODELAY);
    SHOW(IPPROTO_TCP, TCP_USER_TIMEOUT);
    SHOW(IPPROTO_TCP, TCP_SYNCNT);
    SHOW(IPPROTO_TCP, TCP_FASTOPEN_CONNECT);
    SHOW(IPPROTO_TCP, TCP_MAXSEG);
    SHOW(12345, 1);
    show_error(fd);
    show_state(fd);
    close(fd);
}

CASES("options/names and state when", STATES) {
    int fd = in_state(variant);
    show_stream(fd);
    char data[8];
    CALL(recv(fd, data, 8, MSG_DONTWAIT), "recv");
    CALL(send(fd, data, 1, MSG_DONTWAIT | MSG_NOSIGNAL), "send");
    /* Who listens waits. */
    if (variant != 4)
        CALL(accept4(fd, NULL, NULL, SOCK_NONBLOCK), "accept");
    close(fd);
}

CASES("options/set when", STATES) {
    if (variant == 4)
        return;
    int fd = in_state(variant), on = 1;
    struct timeval limit = {1, 500000};
    struct linger linger = {1, 0};
    CALL(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on), "SO_KEEPALIVE");
    CALL(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, 1), "short");
    CALL(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, wall(), 4), "nowhere");
    CALL(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, NULL, 4), "null");
    CALL(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, -1), "negative length");
    CALL(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), "SO_SNDTIMEO");
    CALL(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "SO_RCVTIMEO");
    CALL(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger), "SO_LINGER");
    CALL(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on), "IPV6_V6ONLY");
    CALL(setsockopt(fd, IPPROTO_IPV6, IPV6_ADDRFORM, &(int){AF_INET}, sizeof on), "IPV6_ADDRFORM");
    CALL(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "TCP_NODELAY");
    CALL(setsockopt(fd, IPPROTO_TCP, TCP_ULP, "none", 4), "TCP_ULP");
    CALL(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "none", 4), "SO_BINDTODEVICE");
    CALL(setsockopt(fd, SOL_SOCKET, SO_TYPE, &on, sizeof on), "SO_TYPE");
    CALL(setsockopt(fd, 12345, 1, &on, sizeof on), "no level");
    socklen_t len = sizeof limit;
    CALL(getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, &len), "SO_SNDTIMEO");
    printf("  %ld %ld length %u\n", (long)limit.tv_sec, (long)limit.tv_usec, len);
    show_error(fd);
    close(fd);
}

CASES("options/places when", STATES) {
    int fd = in_state(variant);
    char value[64];
    for (int room = 0; room <= 8; room++) {
        memset(value, 0xa5, sizeof value);
        socklen_t len = room;
        CALL(getsockopt(fd, SOL_SOCKET, SO_TYPE, value, &len), "room %d", room);
        printf("  length %u\n", len);
        show_octets("value", value, sizeof value);
    }
    socklen_t len = 4;
    CALL(getsockopt(fd, SOL_SOCKET, SO_TYPE, wall(), &len), "nowhere");
    CALL(getsockopt(fd, SOL_SOCKET, SO_TYPE, wall() - 2, &len), "crossing");
    CALL(getsockopt(fd, SOL_SOCKET, SO_TYPE, value, (void *)wall()), "length nowhere");
    CALL(getsockopt(fd, SOL_SOCKET, SO_ERROR, value, (void *)wall()), "error, length nowhere");
    CALL(getsockopt(fd, SOL_SOCKET, SO_ERROR, NULL, &len), "error at null");
    len = sizeof value;
    CALL(getsockopt(fd, SOL_SOCKET, SO_PEERNAME, value, &len), "SO_PEERNAME");
    printf("  length %u\n", len);
    if (len == 28)
        show_in6("name", (void *)value);
    close(fd);
}

NAMES(PEERNAMES, "stream", "datagram", "stream, by syscall", "datagram, by syscall");
CASES("options/SO_PEERNAME, room, of a", PEERNAMES) {
    int fd = variant % 2 ? datagram_to(UDP_ECHO) : stream_to(WEB);
    for (int room = 0; room <= 128; room += room < 32 ? 4 : 32) {
        char name[160];
        memset(name, 0xa5, sizeof name);
        socklen_t len = room;
        if (variant / 2)
            CALL(syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERNAME, name, &len), "room %d", room);
        else
            CALL(getsockopt(fd, SOL_SOCKET, SO_PEERNAME, name, &len), "room %d", room);
        printf("  length %u\n", len);
        show_octets("name", name, sizeof name);
    }
    close(fd);
}

NAMES(REQUESTS, "FIONREAD", "SIOCOUTQ", "SIOCATMARK", "FIONBIO", "FIOASYNC", "SIOCGIFINDEX",
      "none", "TIOCGWINSZ");
static const unsigned long REQUEST[] = {FIONREAD, 0x5411, 0x8905, FIONBIO, 0x5452,
                                        0x8933, 0xffffffff, 0x5413};
CASES("options/ioctl", REQUESTS) {
    for (int state = 0; STATES[state]; state++) {
        int fd = in_state(state);
        struct ifreq value;
        memset(&value, 0, sizeof value);
        strcpy(value.ifr_name, variant == 5 ? "lo" : "");
        CALL(ioctl(fd, REQUEST[variant], &value), "%s", STATES[state]);
        printf("  %d\n", variant == 5 ? value.ifr_ifindex : *(int *)&value);
        CALL(syscall(SYS_ioctl, fd, REQUEST[variant], &value), "syscall");
        CALL(ioctl(fd, REQUEST[variant], wall()), "nowhere");
        CALL(ioctl(fd, REQUEST[variant], NULL), "null");
        show_flags(fd);
        close(fd);
    }
}

CASE("options/FIONREAD of what is there") {
    int fd = stream_to(GREETING), count = -1;
    wait_for_octets(fd, 8);
    CALL(ioctl(fd, FIONREAD, &count), "stream");
    printf("  %d\n", count);
    close(fd);
    fd = datagram(0);
    ask(fd, "question");
    wait_for(fd, POLLIN);
    CALL(ioctl(fd, FIONREAD, &count), "datagram");
    printf("  %d\n", count);
    close(fd);
}

NAMES(COMMANDS, "F_GETFD", "F_SETFD", "F_GETFL", "F_SETFL", "F_GETOWN", "F_SETOWN", "F_GETSIG",
      "F_SETLK", "F_GETLK", "F_DUPFD negative", "F_DUPFD too high", "none");
CASES("options/fcntl", COMMANDS) {
    static const int COMMAND[] = {F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETOWN, F_SETOWN,
                                  F_GETSIG, F_SETLK, F_GETLK, F_DUPFD, F_DUPFD, 12345};
    static const long ARGUMENT[] = {0, FD_CLOEXEC, 0, O_NONBLOCK | O_APPEND, 0, 0,
                                    0, 0, 0, -1, 0x7fffffff, 0};
    int fd = stream_to(ECHO);
    struct flock lock = {.l_type = F_WRLCK};
    long argument = variant == 7 || variant == 8 ? (long)&lock : ARGUMENT[variant];
    CALL(fcntl(fd, COMMAND[variant], argument), "fcntl");
    CALL(fcntl64(fd, COMMAND[variant], argument), "fcntl64");
    CALL(__fcntl(fd, COMMAND[variant], argument), "__fcntl");
    CALL(syscall(SYS_fcntl, fd, COMMAND[variant], argument), "syscall");
    CALL(fcntl(-1, COMMAND[variant], argument), "no descriptor");
    show_stream(fd);
    close(fd);
}
