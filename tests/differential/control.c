/* Control messages and the error queue. */

/* Of linux/in6.h, which cannot be had beside netinet/in.h. */
#define FLOWINFO 11
#define AUTOFLOWLABEL 70

/* Of a control message that which does not depend on the moment. */
static void show_control(struct msghdr *message) {
    for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at; at = CMSG_NXTHDR(message, at)) {
        unsigned char *data = CMSG_DATA(at);
        int level = at->cmsg_level, type = at->cmsg_type;
        printf("  control level %d type %d length %zu\n", level, type, (size_t)at->cmsg_len);
        if (level == IPPROTO_IPV6 && type == IPV6_PKTINFO) {
            struct in6_pktinfo *info = (void *)data;
            char name[IF_NAMESIZE] = "";
            if_indextoname(info->ipi6_ifindex, name);
            hex("address", &info->ipi6_addr, 16);
            printf("  interface %s\n", name);
        } else if (level == IPPROTO_IPV6 && type == IPV6_RECVERR) {
            struct sock_extended_err *error = (void *)data;
            printf("  error %s origin %d type %d code %d info %u data %u\n",
                   strerrorname_np(error->ee_errno), error->ee_origin, error->ee_type,
                   error->ee_code, error->ee_info, error->ee_data);
            show_in6("offender", (void *)SO_EE_OFFENDER(error));
        } else if (level == IPPROTO_IPV6 && type == FLOWINFO) {
            /* The other end's choice, by the addresses and its own secret. */
            printf("  a flow label %d\n", *(int *)data != 0);
        } else if (level == IPPROTO_IPV6) {
            hex("data", data, at->cmsg_len - CMSG_LEN(0));
        } else if (level == SOL_SOCKET && (type == SCM_TIMESTAMP || type == SCM_TIMESTAMPNS)) {
            printf("  a time %d\n", *(long *)data > 1000000000);
        }
    }
}

static ssize_t receive_controlled(int by_syscall, int fd, int flags, int room) {
    char data[64], name[160], control[512];
    memset(name, 0xa5, sizeof name);
    memset(control, 0xa5, sizeof control);
    struct iovec part = {data, sizeof data};
    struct msghdr message = {.msg_name = name, .msg_namelen = 128, .msg_iov = &part,
                             .msg_iovlen = 1, .msg_control = control, .msg_controllen = room};
    ssize_t count = -1;
    if (by_syscall)
        CALL(count = syscall(SYS_recvmsg, fd, &message, flags), "syscall recvmsg");
    else
        CALL(count = recvmsg(fd, &message, flags), "recvmsg");
    printf("  name length %u flags %x control %zu\n", message.msg_namelen, message.msg_flags,
           message.msg_controllen);
    if (count < 0)
        return count;
    text("data", data, count);
    show_octets("name", name, sizeof name);
    show_control(&message);
    return count;
}

NAMES(TOLD, "IPV6_RECVPKTINFO", "IPV6_RECVHOPLIMIT", "IPV6_RECVTCLASS", "SO_TIMESTAMP",
      "SO_TIMESTAMPNS", "IPV6_RECVORIGDSTADDR", "IPV6_FLOWINFO", "all of them");
static void tell(int variant, int fd) {
    static const int OPTIONS[][2] = {
        {IPPROTO_IPV6, IPV6_RECVPKTINFO}, {IPPROTO_IPV6, IPV6_RECVHOPLIMIT},
        {IPPROTO_IPV6, IPV6_RECVTCLASS},  {SOL_SOCKET, SO_TIMESTAMP},
        {SOL_SOCKET, SO_TIMESTAMPNS},     {IPPROTO_IPV6, IPV6_RECVORIGDSTADDR},
        {IPPROTO_IPV6, FLOWINFO}};
    int on = 1;
    for (int at = 0; at < COUNT(OPTIONS); at++)
        if (variant == at || variant == COUNT(OPTIONS))
            CALL(setsockopt(fd, OPTIONS[at][0], OPTIONS[at][1], &on, sizeof on), "setsockopt");
}

/* The own name that IPV6_RECVORIGDSTADDR tells has a port of the kernel's choice. */
static void bind_here(int fd) {
    struct sockaddr_in6 own = {.sin6_family = AF_INET6, .sin6_port = htons(own_port)};
    MUST(bind(fd, SA(&own), sizeof own));
}

CASES("control/told about datagrams", TOLD) {
    for (int way = 0; way < 2; way++) {
        int fd = datagram(0);
        bind_here(fd);
        tell(variant, fd);
        ask(fd, "question");
        receive_controlled(way, fd, 0, 512);
        ask(fd, "question");
        wait_for(fd, POLLIN);
        receive_controlled(way, fd, MSG_PEEK, 512);
        receive_controlled(way, fd, 0, 20);
        CALL(connect_to(fd, UDP_ECHO), "connect");
        MUST(send(fd, "connected", 9, 0));
        receive_controlled(way, fd, MSG_CMSG_CLOEXEC, 512);
        close(fd);
    }
}

NAMES(SENT_WITH, "IPV6_HOPLIMIT", "IPV6_TCLASS", "IPV6_DONTFRAG", "IPV6_PKTINFO of the interface",
      "IPV6_PKTINFO of the own address", "IPV6_PKTINFO of a foreign address", "SO_MARK",
      "a message that is none", "a length that is none");
static size_t make_control(int variant, char *room) {
    struct cmsghdr *header = (void *)room;
    int value = 17;
    struct in6_pktinfo info = {.ipi6_ifindex = variant == 3 ? if_nametoindex("eth0") : 0};
    if (variant == 4)
        inet_pton(AF_INET6, "2001:db8:c::2", &info.ipi6_addr);
    else if (variant == 5)
        info.ipi6_addr = destination;
    static const int TYPES[] = {IPV6_HOPLIMIT, IPV6_TCLASS, IPV6_DONTFRAG, IPV6_PKTINFO,
                                IPV6_PKTINFO, IPV6_PKTINFO, SO_MARK, 12345, IPV6_HOPLIMIT};
    size_t size = variant >= 3 && variant <= 5 ? sizeof info : sizeof value;
    if (variant == 2)
        value = 1;
    header->cmsg_level = variant == 6 ? SOL_SOCKET : IPPROTO_IPV6;
    header->cmsg_type = TYPES[variant];
    header->cmsg_len = variant == 8 ? 3 : CMSG_LEN(size);
    memcpy(CMSG_DATA(header), size == sizeof info ? (void *)&info : (void *)&value, size);
    return CMSG_SPACE(size);
}

NAMES(MESSAGES, "sendmsg", "sendmmsg", "syscall sendmsg", "syscall sendmmsg");
CASES("control/sent with", SENT_WITH) {
    for (int way = 0; way < 8; way++) {
        int connected = way / 4, fd = connected ? datagram_to(UDP_ECHO) : datagram(0);
        char control[64] __attribute__((aligned(8))) = {0};
        struct sockaddr_in6 to = at_port(UDP_ECHO);
        struct iovec part = {"question", 8};
        struct mmsghdr message = {.msg_hdr = {
            .msg_name = connected ? NULL : &to, .msg_namelen = connected ? 0 : sizeof to,
            .msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
            .msg_controllen = make_control(variant, control)}};
        int sent = -1;
        const char *how = MESSAGES[way % 4];
        switch (way % 4) {
        case 0: CALL(sent = sendmsg(fd, &message.msg_hdr, 0), "%s", how); break;
        case 1: CALL(sent = sendmmsg(fd, &message, 1, 0), "%s", how); break;
        case 2: CALL(sent = syscall(SYS_sendmsg, fd, &message.msg_hdr, 0), "%s", how); break;
        default: CALL(sent = syscall(SYS_sendmmsg, fd, &message, 1, 0), "%s", how); break;
        }
        hex("control", control, sizeof control);
        if (sent > 0)
            receive_by(0, fd, 64, 0);
        ask(fd, "one without");
        receive_by(0, fd, 64, 0);
        close(fd);
    }
}

NAMES(SOCKET_WIDE, "IPV6_PKTINFO of the own address", "IPV6_UNICAST_HOPS", "IPV6_TCLASS",
      "IPV6_UNICAST_IF", "IPV6_MTU_DISCOVER", "IPV6_AUTOFLOWLABEL");
CASES("control/option", SOCKET_WIDE) {
    struct in6_pktinfo info = {0};
    inet_pton(AF_INET6, "2001:db8:c::2", &info.ipi6_addr);
    int index = if_nametoindex("eth0"), value = variant == 3 ? (int)htonl(index) : 1;
    static const int OPTIONS[] = {IPV6_PKTINFO, IPV6_UNICAST_HOPS, IPV6_TCLASS,
                                  IPV6_UNICAST_IF, IPV6_MTU_DISCOVER, AUTOFLOWLABEL};
    if (variant == 1)
        value = 33;
    for (int kind = 0; kind < 2; kind++) {
        int fd = kind ? stream(0) : datagram(0);
        if (variant == 0)
            CALL(setsockopt(fd, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info), "set");
        else
            CALL(setsockopt(fd, IPPROTO_IPV6, OPTIONS[variant], &value, sizeof value), "set");
        if (kind == 0) {
            ask(fd, "question");
            receive_by(0, fd, 64, 0);
        }
        CALL(connect_to(fd, kind ? ECHO : UDP_ECHO), "connect");
        show_names(fd);
        CALL(send(fd, "abc", 3, 0), "send");
        char data[8];
        CALL(recv(fd, data, 3, MSG_WAITALL), "recv");
        socklen_t len = sizeof value;
        CALL(getsockopt(fd, IPPROTO_IPV6, OPTIONS[variant], &value, &len), "get");
        printf("  %d length %u\n", variant == 3 ? value == (int)htonl(index) : value, len);
        close(fd);
    }
}

NAMES(ERROR_WAYS, "not connected", "connected", "not connected, by syscall",
      "connected, by syscall");
static void report_errors(int fd) {
    int on = 1;
    MUST(setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on));
}

CASES("control/the error queue", ERROR_WAYS) {
    int port = refused_port(), fd = datagram(0);
    report_errors(fd);
    if (variant % 2)
        MUST(connect_to(fd, port));
    ask_with(fd, "question", port);
    wait_for(fd, POLLERR);
    show_ready(fd);
    receive_controlled(variant / 2, fd, MSG_ERRQUEUE, 512);
    show_error(fd);
    receive_controlled(variant / 2, fd, MSG_ERRQUEUE, 512);
    show_ready(fd);
    show_names(fd);
    ask_with(fd, "another", port);
    wait_for(fd, POLLERR);
    receive_by(0, fd, 64, MSG_DONTWAIT);
    receive_controlled(variant / 2, fd, MSG_ERRQUEUE | MSG_DONTWAIT, 512);
    close(fd);
}

CASES("control/the error queue read with", RECEIVE_FLAGS) {
    int port = refused_port(), fd = datagram(0);
    report_errors(fd);
    ask_with(fd, "question", port);
    wait_for(fd, POLLERR);
    receive_by(variant, fd, 4, MSG_ERRQUEUE);
    receive_by(variant, fd, 64, MSG_ERRQUEUE);
    show_error(fd);
    close(fd);
}

CASES("control/the error queue, little room", ERROR_WAYS) {
    static const int LITTLE[] = {0, 10, 40, 50, 60, 70};
    int fd = datagram(0), port = refused_port();
    report_errors(fd);
    if (variant % 2)
        MUST(connect_to(fd, port));
    for (int at = 0; at < COUNT(LITTLE); at++) {
        ask_with(fd, "question", port);
        wait_for(fd, POLLERR);
        receive_controlled(variant / 2, fd, MSG_ERRQUEUE, LITTLE[at]);
        show_error(fd);
    }
    close(fd);
}

CASE("control/the error queue by recvmmsg") {
    int fd = datagram(0);
    report_errors(fd);
    for (int at = 0; at < 3; at++) {
        ask_with(fd, "question", refused_port());
        wait_for(fd, POLLERR);
        show_error(fd);
    }
    struct several all;
    prepare(&all, 128);
    receive_many(0, fd, &all, MANY, MSG_ERRQUEUE);
    close(fd);
}

CASES("control/the error of who sends next with", SEND_TO) {
    int port = refused_port(), fd = datagram(0);
    report_errors(fd);
    ask_with(fd, "question", port);
    wait_for(fd, POLLERR);
    struct sockaddr_in6 to = at_port(UDP_ECHO);
    CALL(send_to_by(variant, fd, "told", 4, 0, &to, sizeof to), "send");
    CALL(send_to_by(variant, fd, "sent", 4, 0, &to, sizeof to), "send");
    receive_by(0, fd, 64, 0);
    receive_controlled(0, fd, MSG_ERRQUEUE, 512);
    close(fd);
}

CASE("control/a message too long for the path") {
    int fd = datagram(0), value = IPV6_PMTUDISC_DO;
    static char data[4000];
    report_errors(fd);
    MUST(setsockopt(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, &value, sizeof value));
    struct sockaddr_in6 to = at_port(UDP_MUTE);
    CALL(sendto(fd, data, sizeof data, 0, SA(&to), sizeof to), "sendto");
    receive_controlled(0, fd, MSG_ERRQUEUE | MSG_DONTWAIT, 512);
    CALL(connect_to(fd, UDP_MUTE), "connect");
    CALL(send(fd, data, sizeof data, 0), "send");
    receive_controlled(0, fd, MSG_ERRQUEUE | MSG_DONTWAIT, 512);
    socklen_t len = sizeof value;
    CALL(getsockopt(fd, IPPROTO_IPV6, IPV6_MTU, &value, &len), "IPV6_MTU");
    printf("  %d\n", value);
    close(fd);
}

CASE("control/times of what was sent") {
    int fd = datagram(0), flags = SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE |
                          SOF_TIMESTAMPING_OPT_TSONLY;
    CALL(setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags), "SO_TIMESTAMPING");
    ask(fd, "question");
    receive_by(0, fd, 64, 0);
    wait_for(fd, POLLERR);
    char control[512];
    struct sockaddr_in6 name;
    struct msghdr message = {.msg_name = &name, .msg_namelen = sizeof name,
                             .msg_control = control, .msg_controllen = sizeof control};
    CALL(recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT), "recvmsg");
    printf("  flags %x name length %u\n", message.msg_flags, message.msg_namelen);
    close(fd);
}

CASE("control/told about streams") {
    int fd = stream_to(GREETING), on = 1;
    CALL(setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on), "set");
    CALL(setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof on), "set");
    wait_for_octets(fd, 8);
    receive_controlled(0, fd, 0, 512);
    receive_controlled(0, fd, MSG_ERRQUEUE, 512);
    close(fd);
}
