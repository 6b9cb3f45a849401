/* Other ways to move data, connections that begin with data, and who listens. */

static int a_file(const char *content) {
    int fd = MUST(memfd_create("content", MFD_CLOEXEC));
    MUST(write(fd, content, strlen(content)));
    MUST(lseek(fd, 0, SEEK_SET));
    return fd;
}

NAMES(COPIES, "sendfile", "splice", "splice from a pipe that ends", "vmsplice and splice",
      "MSG_MORE and TCP_CORK", "MSG_ZEROCOPY");
CASES("transfer/by", COPIES) {
    for (int kind = 0; kind < 2; kind++) {
        int fd = made(kind), file = a_file("0123456789"), ends[2], on = 1;
        char data[16] = "";
        loff_t offset = 2;
        off_t place = 2;
        struct iovec part = {"0123456789", 10};
        MUST(pipe(ends));
        switch (variant) {
        case 0: CALL(sendfile(fd, file, &place, 5), "sendfile"); break;
        case 1:
            CALL(splice(file, &offset, ends[1], NULL, 5, 0), "into a pipe");
            CALL(splice(ends[0], NULL, fd, NULL, 5, 0), "into the socket");
            break;
        case 2:
            MUST(write(ends[1], "abcde", 5));
            close(ends[1]);
            CALL(splice(ends[0], NULL, fd, NULL, 100, 0), "into the socket");
            CALL(splice(ends[0], NULL, fd, NULL, 100, 0), "at the end");
            ends[1] = -1;
            break;
        case 3:
            CALL(vmsplice(ends[1], &part, 1, 0), "into a pipe");
            CALL(splice(ends[0], NULL, fd, NULL, 5, 0), "into the socket");
            break;
        case 4:
            CALL(send(fd, "ab", 2, MSG_MORE), "more");
            CALL(send(fd, "cde", 3, 0), "and that was all");
            break;
        default:
            CALL(setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on), "SO_ZEROCOPY");
            CALL(send(fd, "abcde", 5, MSG_ZEROCOPY), "send");
        }
        CALL(recv(fd, data, 5, MSG_WAITALL), "recv");
        text("data", data, 5);
        MUST(send(fd, "fghij", 5, 0));
        wait_for(fd, POLLIN);
        close(ends[0]);
        close(ends[1]);
        MUST(pipe(ends));
        CALL(splice(fd, NULL, ends[1], NULL, 5, 0), "out of the socket");
        CALL(fcntl(ends[0], F_SETFL, O_NONBLOCK), "F_SETFL");
        CALL(read(ends[0], data, 5), "read");
        text("data", data, 5);
        CALL(lseek(fd, 0, SEEK_CUR), "lseek");
        CALL(pread(fd, data, 1, 0), "pread");
        CALL(pwrite(fd, data, 1, 0), "pwrite");
        close(ends[0]);
        close(ends[1]);
        close(file);
        close(fd);
    }
}

NAMES(OPENINGS, "sendto", "sendmsg", "sendmmsg", "syscall sendto", "syscall sendmsg",
      "syscall sendmmsg");
CASES("transfer/MSG_FASTOPEN with", OPENINGS) {
    struct sockaddr_in6 to = at_port(ECHO);
    for (int turn = 0; turn < 2; turn++) {
        int fd = stream(0);
        CALL(send_to_by(variant, fd, "abcde", 5, MSG_FASTOPEN, &to, sizeof to), "send");
        receive_by(0, fd, 5, MSG_WAITALL);
        show_stream(fd);
        CALL(send_to_by(variant, fd, "abcde", 5, MSG_FASTOPEN, &to, sizeof to), "again");
        close(fd);
    }
    int fd = stream(SOCK_NONBLOCK);
    CALL(send_to_by(variant, fd, "abcde", 5, MSG_FASTOPEN, NULL, 0), "to nobody");
    CALL(send_to_by(variant, fd, "abcde", 5, MSG_FASTOPEN, &to, 20), "a short address");
    close(fd);
    fd = stream(0);
    to = at_port(refused_port());
    CALL(send_to_by(variant, fd, "abcde", 5, MSG_FASTOPEN, &to, sizeof to), "refused");
    show_stream(fd);
    close(fd);
    fd = datagram(0);
    to = at_port(UDP_ECHO);
    CALL(send_to_by(variant, fd, "abcde", 5, MSG_FASTOPEN, &to, sizeof to), "datagram");
    close(fd);
}

CASES("transfer/TCP_FASTOPEN_CONNECT, then", SEND) {
    for (int turn = 0; turn < 2; turn++) {
        int fd = stream(0), on = 1;
        CALL(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on), "set");
        CALL(connect_to(fd, ECHO), "connect");
        CALL(send_by(variant, fd, "abcde", 5, 0), "send");
        receive_by(7, fd, 5, MSG_WAITALL);
        show_stream(fd);
        close(fd);
    }
}

/* Lets the service connect to us, from A or from its own address. */
static void call_back(int listener, int from_a) {
    struct sockaddr_in6 own;
    socklen_t len = sizeof own;
    MUST(getsockname(listener, SA(&own), &len));
    struct {
        struct in6_addr from;
        in_port_t port;
    } __attribute__((packed)) order = {from_a ? destination : in6addr_any, own.sin6_port};
    int fd = stream_to(BACK);
    MUST(send(fd, &order, sizeof order, 0));
    char data[1];
    MUST(recv(fd, data, 1, 0));
    close(fd);
}

NAMES(ACCEPTS, "accept", "accept4", "syscall accept", "syscall accept4");
CASES("transfer/accepted from A by", ACCEPTS) {
    int listener = stream(0), fd = -1;
    struct sockaddr_in6 own = {.sin6_family = AF_INET6};
    MUST(bind(listener, SA(&own), sizeof own));
    MUST(listen(listener, 8));
    for (int from_a = 0; from_a < 2; from_a++) {
        call_back(listener, from_a);
        struct sockaddr_in6 name;
        memset(&name, 0xa5, sizeof name);
        socklen_t len = sizeof name;
        switch (variant) {
        case 0: CALL(fd = accept(listener, SA(&name), &len), "accept"); break;
        case 1: CALL(fd = accept4(listener, SA(&name), &len, SOCK_NONBLOCK), "accept4"); break;
        case 2: CALL(fd = syscall(SYS_accept, listener, &name, &len), "accept"); break;
        default: CALL(fd = syscall(SYS_accept4, listener, &name, &len, SOCK_CLOEXEC), "accept4");
        }
        printf("  length %u\n", len);
        show_in6("from", &name);
        show_flags(fd);
        struct sockaddr_in6 peer;
        len = sizeof peer;
        CALL(getpeername(fd, SA(&peer), &len), "getpeername");
        printf("  the same %d\n", !memcmp(&peer, &name, sizeof peer));
        struct sockaddr_in6 to = at_port(WEB);
        CALL(connect(fd, SA(&to), sizeof to), "connect");
        wait_for(fd, POLLRDHUP);
        char data[8];
        CALL(recv(fd, data, 8, MSG_WAITALL), "recv");
        text("data", data, 4);
        close(fd);
    }
    show_names(listener);
    close(listener);
}

CASE("transfer/a socket that listened connects") {
    int fd = stream(0);
    struct sockaddr_in6 none = {.sin6_family = AF_UNSPEC};
    CALL(listen(fd, 1), "listen");
    show_option(fd, "SO_ACCEPTCONN", SOL_SOCKET, SO_ACCEPTCONN);
    CALL(connect(fd, SA(&none), sizeof none), "disconnect");
    CALL(connect_to(fd, ECHO), "connect");
    show_stream(fd);
    CALL(listen(fd, 1), "listen");
    close(fd);
}

CASE("transfer/datagrams to the other's own address and to A on one socket") {
    int fd = datagram(0);
    struct sockaddr_in6 to = at_port(UDP_ECHO);
    ask(fd, "first");
    receive_by(0, fd, 64, 0);
    inet_pton(AF_INET6, "2001:db8:51::2", &to.sin6_addr);
    CALL(sendto(fd, "second", 6, 0, SA(&to), sizeof to), "sendto");
    receive_by(0, fd, 64, 0);
    ask(fd, "third");
    receive_by(0, fd, 64, 0);
    CALL(connect(fd, SA(&to), sizeof to), "connect");
    show_names(fd);
    CALL(send(fd, "fourth", 6, 0), "send");
    receive_by(0, fd, 64, 0);
    CALL(connect_to(fd, UDP_ECHO), "connect");
    show_names(fd);
    close(fd);
}

CASE("transfer/streams to the other's own address and to A") {
    struct sockaddr_in6 to = at_port(ECHO);
    inet_pton(AF_INET6, "2001:db8:51::2", &to.sin6_addr);
    int a = stream_to(ECHO), u = stream(0);
    CALL(connect(u, SA(&to), sizeof to), "connect");
    show_names(a);
    show_names(u);
    close(a);
    CALL(dup2(u, a), "dup2");
    show_names(a);
    close(a);
    close(u);
}
