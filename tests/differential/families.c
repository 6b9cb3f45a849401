/* Sockets that are none of the library's business. */

NAMES(PROTOCOLS, "UDP-Lite", "SCTP stream", "SCTP packets", "MPTCP", "DCCP", "ICMPv6 ping",
      "raw ICMPv6", "raw UDP", "raw, protocol 253", "packets", "netlink", "SOCK_SEQPACKET",
      "SOCK_RDM", "type 77", "protocol 77", "family 77", "TCP by name", "UDP by name",
      "bad flags");
static const int PROTOCOL[][3] = {
    {AF_INET6, SOCK_DGRAM, 136},
    {AF_INET6, SOCK_STREAM, IPPROTO_SCTP},
    {AF_INET6, SOCK_SEQPACKET, IPPROTO_SCTP},
    {AF_INET6, SOCK_STREAM, 262 /* IPPROTO_MPTCP */},
    {AF_INET6, SOCK_DCCP, IPPROTO_DCCP},
    {AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6},
    {AF_INET6, SOCK_RAW, IPPROTO_ICMPV6},
    {AF_INET6, SOCK_RAW, IPPROTO_UDP},
    {AF_INET6, SOCK_RAW, 253},
    {AF_PACKET, SOCK_RAW, 0},
    {AF_NETLINK, SOCK_RAW, 0},
    {AF_INET6, SOCK_SEQPACKET, 0},
    {AF_INET6, SOCK_RDM, 0},
    {AF_INET6, 77, 0},
    {AF_INET6, SOCK_DGRAM, 77},
    {77, SOCK_STREAM, 0},
    {AF_INET6, SOCK_STREAM, IPPROTO_TCP},
    {AF_INET6, SOCK_DGRAM, IPPROTO_UDP},
    {AF_INET6, SOCK_STREAM | 0x100000, 0},
};

static void use(int fd, int type, int port) {
    struct sockaddr_in6 to = at_port(port);
    show_flags(fd);
    show_option(fd, "SO_TYPE", SOL_SOCKET, SO_TYPE);
    show_option(fd, "SO_PROTOCOL", SOL_SOCKET, SO_PROTOCOL);
    CALL(connect(fd, SA(&to), sizeof to), "connect");
    show_peer_name(fd);
    char data[64];
    struct sockaddr_in6 name;
    socklen_t len = sizeof name;
    /* A raw socket hears what is sent to others as well. */
    if (type != SOCK_RAW)
        CALL(recvfrom(fd, data, sizeof data, MSG_DONTWAIT, SA(&name), &len), "recvfrom");
    show_error(fd);
}

CASES("families/connected", PROTOCOLS) {
    int fd;
    CALL(fd = socket(PROTOCOL[variant][0], PROTOCOL[variant][1], PROTOCOL[variant][2]), "socket");
    if (fd < 0)
        return;
    use(fd, PROTOCOL[variant][1], PROTOCOL[variant][1] == SOCK_STREAM ? WEB : UDP_ECHO);
    close(fd);
}

CASES("families/sent to A", PROTOCOLS) {
    int fd;
    CALL(fd = socket(PROTOCOL[variant][0], PROTOCOL[variant][1], PROTOCOL[variant][2]), "socket");
    if (fd < 0)
        return;
    /* An echo request without an answer: its type is 200. */
    char message[16] = {(char)200};
    struct sockaddr_in6 to = at_port(0);
    CALL(sendto(fd, message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL, SA(&to), sizeof to),
         "port 0");
    to = at_port(UDP_MUTE);
    CALL(sendto(fd, message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL, SA(&to), sizeof to),
         "sendto");
    struct iovec part = {message, sizeof message};
    struct msghdr header = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &part,
                            .msg_iovlen = 1};
    CALL(sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL), "sendmsg");
    show_peer_name(fd);
    close(fd);
}

NAMES(PINGS, "a ping socket", "a raw socket");
CASES("families/an ordinary echo comes from A, by", PINGS) {
    int fd;
    CALL(fd = socket(AF_INET6, variant ? SOCK_RAW : SOCK_DGRAM, IPPROTO_ICMPV6), "socket");
    if (fd < 0)
        return;
    struct icmp6_filter filter;
    ICMP6_FILTER_SETBLOCKALL(&filter);
    ICMP6_FILTER_SETPASS(ICMP6_ECHO_REPLY, &filter);
    CALL(setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof filter), "filter");
    bound_to_end(fd);
    for (int connected = 0; connected < 2; connected++) {
        struct sockaddr_in6 to = at_port(0), from = {0};
        struct icmp6_hdr message = {.icmp6_type = ICMP6_ECHO_REQUEST};
        message.icmp6_id = htons(own_port);
        char data[200];
        socklen_t len;
        if (connected)
            CALL(connect(fd, SA(&to), sizeof to), "connect");
        CALL(sendto(fd, &message, sizeof message, 0, connected ? NULL : SA(&to),
                    connected ? 0 : sizeof to), "sendto");
        ssize_t count;
        /* A raw socket hears the answers to others as well. */
        do {
            len = sizeof from;
            count = MUST(recvfrom(fd, data, sizeof data, 0, SA(&from), &len));
        } while (variant && (count != sizeof message ||
                             ((struct icmp6_hdr *)data)->icmp6_id != htons(own_port)));
        printf("  length %u\n", len);
        show_in6("from", &from);
        show_peer_name(fd);
    }
    close(fd);
}

CASES("families/IPv4", KINDS) {
    struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = MUST(socket(AF_INET, variant ? SOCK_DGRAM : SOCK_STREAM, 0));
    own.sin_port = htons(9);
    CALL(connect(fd, SA(&own), sizeof own), "connect");
    CALL(send(fd, "x", 1, MSG_NOSIGNAL), "send");
    CALL(sendto(fd, "x", 1, MSG_NOSIGNAL, SA(&own), sizeof own), "sendto");
    show_names(fd);
    close(fd);
}

CASES("families/v4-mapped", KINDS) {
    struct sockaddr_in6 own = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    inet_pton(AF_INET6, "::ffff:127.0.0.1", &own.sin6_addr);
    int fd = variant ? datagram(0) : stream(0);
    CALL(connect(fd, SA(&own), sizeof own), "connect");
    CALL(send(fd, "x", 1, MSG_NOSIGNAL), "send");
    show_names(fd);
    close(fd);
    fd = variant ? datagram(0) : stream(0);
    CALL(sendto(fd, "x", 1, MSG_NOSIGNAL, SA(&own), sizeof own), "sendto");
    CALL(connect_to(fd, variant ? UDP_ECHO : ECHO), "connect to A");
    show_names(fd);
    close(fd);
}

NAMES(ADDRESSES, "::1", "::", "fe80::1", "ff02::1", "ff0e::1", "::ffff:0.0.0.0", "2001:db8:c::2",
      "2001:db8:c::1", "fd00::1", "64:ff9b::1", "100::1");
CASES("families/another address", ADDRESSES) {
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
    inet_pton(AF_INET6, ADDRESSES[variant], &to.sin6_addr);
    int fd = stream(SOCK_NONBLOCK);
    CALL(connect(fd, SA(&to), sizeof to), "connect");
    close(fd);
    fd = datagram(0);
    CALL(sendto(fd, "x", 1, 0, SA(&to), sizeof to), "sendto");
    CALL(connect(fd, SA(&to), sizeof to), "connect");
    show_names(fd);
    close(fd);
}

NAMES(UNIX, "stream", "datagram", "seqpacket");
CASES("families/unix", UNIX) {
    static const int TYPES[] = {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET};
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    strcpy(name.sun_path + 1, "differential");
    int pair[2], fd = MUST(socket(AF_UNIX, TYPES[variant] | SOCK_CLOEXEC, 0));
    CALL(connect(fd, SA(&name), sizeof name), "connect");
    show_flags(fd);
    close(fd);
    MUST(socketpair(AF_UNIX, TYPES[variant], 0, pair));
    for (int way = 0; RECEIVE[way]; way++) {
        MUST(send(pair[0], "abc", 3, 0));
        receive_by(way, pair[1], 8, 0);
    }
    for (int way = 0; SEND[way]; way++) {
        CALL(send_by(way, pair[0], "abcd", 4, 0), "%s", SEND[way]);
        receive_by(7, pair[1], 8, 0);
    }
    show_names(pair[0]);
    close(pair[0]);
    close(pair[1]);
}
