/* sendmmsg() and recvmmsg(): many at once, and some of them. */

#define MANY 8

struct several {
    struct mmsghdr messages[MANY];
    struct iovec parts[MANY];
    char data[MANY][64];
    char names[MANY][160];
};

static void prepare(struct several *all, int room) {
    memset(all, 0xa5, sizeof *all);
    for (int at = 0; at < MANY; at++) {
        all->parts[at] = (struct iovec){all->data[at], sizeof all->data[at]};
        all->messages[at] = (struct mmsghdr){
            .msg_hdr = {.msg_name = room ? all->names[at] : NULL, .msg_namelen = room,
                        .msg_iov = &all->parts[at], .msg_iovlen = 1, .msg_flags = -1},
            .msg_len = -1};
    }
}

static void show_messages(const struct several *all, int count) {
    for (int at = 0; at < MANY; at++) {
        const struct mmsghdr *message = &all->messages[at];
        printf(" %d: length %d name length %u flags %x\n", at, (int)message->msg_len,
               message->msg_hdr.msg_namelen, message->msg_hdr.msg_flags);
        if (at < count) {
            text("data", all->data[at], message->msg_len);
            show_octets("name", all->names[at], sizeof all->names[at]);
        }
    }
}

/* Questions to several ports of A; some may be nowhere. */
static void questions(struct several *all, struct sockaddr_in6 *to, const int *ports) {
    prepare(all, 0);
    for (int at = 0; at < MANY; at++) {
        all->parts[at].iov_len = sprintf(all->data[at], "question %d", at);
        to[at] = at_port(ports[at]);
        all->messages[at].msg_hdr.msg_name = ports[at] ? &to[at] : NULL;
        all->messages[at].msg_hdr.msg_namelen = ports[at] ? sizeof to[at] : 0;
    }
}

static int send_many(int by_syscall, int fd, struct several *all, unsigned count) {
    int sent;
    if (by_syscall)
        CALL(sent = syscall(SYS_sendmmsg, fd, all->messages, count, 0), "syscall sendmmsg");
    else
        CALL(sent = sendmmsg(fd, all->messages, count, 0), "sendmmsg");
    for (int at = 0; at < MANY; at++)
        printf(" %d: length %d\n", at, (int)all->messages[at].msg_len);
    return sent;
}

static int receive_many(int by_syscall, int fd, struct several *all, unsigned count, int flags) {
    int received;
    if (by_syscall)
        CALL(received = syscall(SYS_recvmmsg, fd, all->messages, count, flags, NULL),
             "syscall recvmmsg");
    else
        CALL(received = recvmmsg(fd, all->messages, count, flags, NULL), "recvmmsg");
    show_messages(all, received);
    return received;
}

NAMES(MANY_WAYS, "not connected", "connected", "not connected, by syscall", "connected, by syscall");
static const int ECHOES[MANY] = {[0 ... MANY - 1] = UDP_ECHO};
static const int PEERS[MANY] = {0};
static const int MIXED[MANY] = {UDP_ECHO, UDP_MUTE, UDP_ECHO, UDP_MUTE,
                                UDP_ECHO, UDP_MUTE, UDP_ECHO, UDP_ECHO};

CASES("many/all of them", MANY_WAYS) {
    int fd = variant % 2 ? datagram_to(UDP_ECHO) : datagram(0);
    struct several all;
    struct sockaddr_in6 to[MANY];
    questions(&all, to, variant % 2 ? PEERS : ECHOES);
    send_many(variant / 2, fd, &all, MANY);
    prepare(&all, 128);
    receive_many(variant / 2, fd, &all, MANY, 0);
    close(fd);
}

CASES("many/MSG_WAITFORONE", MANY_WAYS) {
    int fd = variant % 2 ? datagram_to(UDP_ECHO) : datagram(0);
    struct several all;
    ask(fd, "one");
    prepare(&all, 28);
    receive_many(variant / 2, fd, &all, MANY, MSG_WAITFORONE);
    close(fd);
}

CASES("many/none there", MANY_WAYS) {
    int fd = variant % 2 ? datagram_to(UDP_ECHO) : datagram(0);
    struct several all;
    prepare(&all, 28);
    receive_many(variant / 2, fd, &all, MANY, MSG_DONTWAIT);
    receive_many(variant / 2, fd, &all, 0, MSG_DONTWAIT);
    close(fd);
}

CASES("many/some to a mute port", MANY_WAYS) {
    int fd = variant % 2 ? datagram_to(UDP_ECHO) : datagram(0);
    struct several all;
    struct sockaddr_in6 to[MANY];
    questions(&all, to, MIXED);
    send_many(variant / 2, fd, &all, MANY);
    prepare(&all, 28);
    receive_many(variant / 2, fd, &all, 5, 0);
    receive_many(variant / 2, fd, &all, 5, MSG_DONTWAIT);
    close(fd);
}

NAMES(MANY_BAD, "name nowhere", "name short", "family 77", "data nowhere", "parts nowhere",
      "too long", "nobody", "control nowhere", "control bad");
/* The third cannot be sent. */
static void spoil(int variant, struct several *all, struct sockaddr_in6 *to) {
    struct msghdr *header = &all->messages[2].msg_hdr;
    static char control[40];
    switch (variant) {
    case 0: header->msg_name = wall(); break;
    case 1: header->msg_namelen = 9; break;
    case 2: to[2].sin6_family = 77; break;
    case 3: all->parts[2].iov_base = wall(); break;
    case 4: header->msg_iov = (void *)wall(); break;
    case 5: all->parts[2].iov_len = 70000; break;
    case 6: header->msg_name = NULL; break;
    case 7: header->msg_control = wall(); header->msg_controllen = 40; break;
    case 8: header->msg_control = control; header->msg_controllen = 40; break;
    }
}

CASES("many/the third cannot be sent", MANY_BAD) {
    for (int way = 0; way < 4; way++) {
        int fd = way % 2 ? datagram_to(UDP_ECHO) : datagram(0);
        struct several all;
        static char room[80000];
        struct sockaddr_in6 to[MANY];
        questions(&all, to, ECHOES);
        if (variant == 5)
            all.parts[2].iov_base = room;
        spoil(variant, &all, to);
        int sent = send_many(way / 2, fd, &all, MANY);
        /* Who goes on from there hears why. */
        all.messages[0] = all.messages[2];
        send_many(way / 2, fd, &all, 1);
        printf("%d left\n", sent);
        prepare(&all, 28);
        receive_many(way / 2, fd, &all, 2, 0);
        close(fd);
    }
}

CASES("many/rooms for names", MANY_WAYS) {
    static const int SEVERAL[MANY] = {0, 2, 8, 16, 24, 27, 28, 128};
    int fd = variant % 2 ? datagram_to(UDP_ECHO) : datagram(0);
    struct several all;
    struct sockaddr_in6 to[MANY];
    questions(&all, to, ECHOES);
    send_many(variant / 2, fd, &all, MANY);
    prepare(&all, 128);
    for (int at = 0; at < MANY; at++)
        all.messages[at].msg_hdr.msg_namelen = SEVERAL[at];
    receive_many(variant / 2, fd, &all, MANY, 0);
    close(fd);
}

CASES("many/the third cannot be received", MANY_WAYS) {
    int fd = variant % 2 ? datagram_to(UDP_ECHO) : datagram(0);
    for (int bad = 0; bad < 3; bad++) {
        struct several all;
        struct sockaddr_in6 to[MANY];
        questions(&all, to, ECHOES);
        send_many(variant / 2, fd, &all, 4);
        prepare(&all, 128);
        if (bad == 0)
            all.messages[2].msg_hdr.msg_name = wall();
        else if (bad == 1)
            all.parts[2].iov_base = wall();
        else
            all.messages[2].msg_hdr.msg_iov = (void *)wall();
        receive_many(variant / 2, fd, &all, 4, 0);
        show_error(fd);
        show_error(fd);
        drain(fd);
    }
    close(fd);
}

CASE("many/more than the kernel takes at once") {
    static struct mmsghdr messages[1100];
    struct iovec part = {"x", 1};
    int fd = datagram_to(UDP_MUTE);
    for (int at = 0; at < COUNT(messages); at++)
        messages[at].msg_hdr = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1};
    CALL(sendmmsg(fd, messages, COUNT(messages), 0), "sendmmsg");
    CALL(sendmmsg(fd, messages, 0, 0), "sendmmsg of none");
    CALL(sendmmsg(fd, (void *)wall(), 2, 0), "sendmmsg of what is not there");
    CALL(recvmmsg(fd, (void *)wall(), 2, MSG_DONTWAIT, NULL), "recvmmsg into nowhere");
    CALL(sendmmsg(-1, messages, 2, 0), "sendmmsg, no descriptor");
    CALL(recvmmsg(-1, messages, 2, 0, NULL), "recvmmsg, no descriptor");
    close(fd);
}

CASES("many/a time limit", MANY_WAYS) {
    int fd = variant % 2 ? datagram_to(UDP_ECHO) : datagram(0);
    struct several all;
    struct timespec past = {0, 0}, bad = {0, 2000000000};
    ask(fd, "one");
    wait_for(fd, POLLIN);
    prepare(&all, 128);
    int received;
    if (variant / 2)
        CALL(received = syscall(SYS_recvmmsg, fd, all.messages, MANY, 0, &past), "limit");
    else
        CALL(received = recvmmsg(fd, all.messages, MANY, 0, &past), "limit");
    show_messages(&all, received);
    printf("left %ld %ld\n", (long)past.tv_sec, (long)past.tv_nsec);
    CALL(recvmmsg(fd, all.messages, MANY, 0, &bad), "bad limit");
    CALL(recvmmsg(fd, all.messages, MANY, 0, (void *)wall()), "limit nowhere");
    close(fd);
}

CASES("many/refused", MANY_WAYS) {
    int port = refused_port();
    int fd = variant % 2 ? datagram_to(port) : datagram(0);
    struct several all;
    struct sockaddr_in6 to[MANY];
    int ports[MANY];
    for (int at = 0; at < MANY; at++)
        ports[at] = port;
    questions(&all, to, variant % 2 ? PEERS : ports);
    send_many(variant / 2, fd, &all, 1);
    if (variant % 2)
        wait_for(fd, POLLERR);
    send_many(variant / 2, fd, &all, 1);
    close(fd);
}
