/* connect() of streams that do not block, and how programs wait for it. */

NAMES(WAITS, "poll", "ppoll", "select", "pselect", "epoll", "epoll, edge-triggered");

static void wait_by(int way, int fd) {
    struct pollfd entry = {fd, POLLIN | POLLOUT | POLLPRI | POLLRDHUP, 0};
    struct timespec limit = {60, 0};
    struct timeval time = {60, 0};
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP};
    fd_set sets[3];
    for (int at = 0; at < 3; at++) {
        FD_ZERO(&sets[at]);
        FD_SET(fd, &sets[at]);
    }
    int queue;
    switch (way) {
    case 0:
        CALL(poll(&entry, 1, 60000), "poll");
        printf("  events %x\n", entry.revents);
        break;
    case 1:
        CALL(ppoll(&entry, 1, &limit, NULL), "ppoll");
        printf("  events %x\n", entry.revents);
        break;
    case 2:
    case 3:
        if (way == 2)
            CALL(select(fd + 1, &sets[0], &sets[1], &sets[2], &time), "select");
        else
            CALL(pselect(fd + 1, &sets[0], &sets[1], &sets[2], &limit, NULL), "pselect");
        printf("  %d %d %d\n", FD_ISSET(fd, &sets[0]), FD_ISSET(fd, &sets[1]),
               FD_ISSET(fd, &sets[2]));
        break;
    default:
        queue = MUST(epoll_create1(0));
        if (way == 5)
            event.events |= EPOLLET;
        MUST(epoll_ctl(queue, EPOLL_CTL_ADD, fd, &event));
        CALL(epoll_wait(queue, &event, 1, 60000), "epoll");
        printf("  events %x\n", event.events);
        CALL(epoll_wait(queue, &event, 1, 0), "epoll again");
        close(queue);
    }
}

static void begin_to(int fd, int port) {
    CALL(connect_to(fd, port), "connect");
}

CASES("nonblocking/served, waited for by", WAITS) {
    int fd = stream(SOCK_NONBLOCK);
    begin_to(fd, WEB);
    wait_by(variant, fd);
    show_stream(fd);
    begin_to(fd, WEB);
    begin_to(fd, WEB);
    show_stream(fd);
    close(fd);
}

CASES("nonblocking/refused, waited for by", WAITS) {
    int fd = stream(SOCK_NONBLOCK), port = refused_port();
    begin_to(fd, port);
    wait_by(variant, fd);
    show_names(fd);
    show_state(fd);
    show_error(fd);
    show_error(fd);
    show_stream(fd);
    /* Who has read the error is told that it was aborted; the next is a new attempt. */
    begin_to(fd, port);
    begin_to(fd, port);
    wait_by(variant, fd);
    show_error(fd);
    close(fd);
}

CASES("nonblocking/registered before connect with", WAITS) {
    if (variant < 4) {
        int fd = stream(SOCK_NONBLOCK);
        wait_by(variant, fd);
        close(fd);
        return;
    }
    int fd = stream(SOCK_NONBLOCK), queue = MUST(epoll_create1(EPOLL_CLOEXEC));
    struct epoll_event event = {.events = EPOLLOUT | (variant == 5 ? EPOLLET : 0)};
    MUST(epoll_ctl(queue, EPOLL_CTL_ADD, fd, &event));
    CALL(epoll_wait(queue, &event, 1, 0), "before");
    printf("  events %x\n", event.events);
    begin_to(fd, WEB);
    do
        MUST(epoll_wait(queue, &event, 1, 60000));
    while (event.events & EPOLLHUP);
    printf("  events %x\n", event.events);
    show_stream(fd);
    /* The number is the same, and the socket is: nobody has put another there. */
    CALL(epoll_ctl(queue, EPOLL_CTL_DEL, fd, NULL), "removed");
    close(fd);
    close(queue);
}

CASE("nonblocking/refused, asked by connect") {
    int fd = stream(SOCK_NONBLOCK), port = refused_port();
    begin_to(fd, port);
    wait_for(fd, POLLOUT);
    begin_to(fd, port);
    show_stream(fd);
    begin_to(fd, port);
    wait_for(fd, POLLOUT);
    begin_to(fd, port);
    begin_to(fd, WEB);
    wait_for(fd, POLLOUT);
    begin_to(fd, WEB);
    show_stream(fd);
    close(fd);
}

CASES("nonblocking/refused, asked by", RECEIVE) {
    int fd = stream(SOCK_NONBLOCK);
    begin_to(fd, refused_port());
    wait_for(fd, POLLOUT);
    receive_by(variant, fd, 8, 0);
    receive_by(variant, fd, 8, 0);
    show_stream(fd);
    close(fd);
}

CASES("nonblocking/refused, asked by sending with", SEND) {
    signal(SIGPIPE, SIG_IGN);
    int fd = stream(SOCK_NONBLOCK);
    begin_to(fd, refused_port());
    wait_for(fd, POLLOUT);
    CALL(send_by(variant, fd, "x", 1, 0), "send");
    CALL(send_by(variant, fd, "x", 1, 0), "send");
    show_stream(fd);
    close(fd);
}

CASE("nonblocking/silent") {
    int fd = stream(SOCK_NONBLOCK), port = silent_port();
    begin_to(fd, port);
    show_stream(fd);
    begin_to(fd, port);
    begin_to(fd, WEB);
    begin_to(fd, refused_port());
    CALL(connect(fd, NULL, sizeof(struct sockaddr_in6)), "connect to null");
    struct sockaddr_in6 to = at_port(port);
    CALL(connect(fd, SA(&to), 3), "connect, short");
    show_stream(fd);
    close(fd);
}

CASES("nonblocking/silent, sent with", SEND) {
    int fd = stream(SOCK_NONBLOCK);
    begin_to(fd, silent_port());
    CALL(send_by(variant, fd, "x", 1, 0), "send");
    show_stream(fd);
    close(fd);
}

CASES("nonblocking/silent, received with", RECEIVE) {
    int fd = stream(SOCK_NONBLOCK);
    begin_to(fd, silent_port());
    receive_by(variant, fd, 8, 0);
    show_stream(fd);
    close(fd);
}

CASES("nonblocking/silent, given up by", CLOSE) {
    int port = silent_port();
    int fd = stream(SOCK_NONBLOCK);
    begin_to(fd, port);
    close_by(variant, fd);
    show_names(fd);
    close(fd);
    int again = stream(SOCK_NONBLOCK);
    printf("same number %d\n", again == fd);
    show_stream(again);
    begin_to(again, WEB);
    wait_for(again, POLLOUT);
    show_stream(again);
    close(again);
}

CASES("nonblocking/silent, given up by AF_UNSPEC with", CONNECT) {
    struct sockaddr_in6 none = {.sin6_family = AF_UNSPEC};
    int fd = stream(SOCK_NONBLOCK), port = silent_port();
    begin_to(fd, port);
    CALL(connect_by(variant, fd, &none, sizeof none), "disconnect");
    show_stream(fd);
    begin_to(fd, port);
    show_stream(fd);
    CALL(connect_by(variant, fd, &none, sizeof none), "disconnect");
    begin_to(fd, WEB);
    wait_for(fd, POLLOUT);
    show_stream(fd);
    close(fd);
}

CASES("nonblocking/silent, shut down", SHUT) {
    int fd = stream(SOCK_NONBLOCK), port = silent_port();
    begin_to(fd, port);
    CALL(shutdown(fd, variant), "shut down");
    show_stream(fd);
    begin_to(fd, port);
    show_stream(fd);
    close(fd);
}

CASES("nonblocking/made so by", UNBLOCK) {
    int fd = nonblocking_by(variant);
    show_flags(fd);
    begin_to(fd, WEB);
    show_flags(fd);
    wait_for(fd, POLLOUT);
    show_stream(fd);
    begin_to(fd, WEB);
    show_stream(fd);
    close(fd);
    fd = nonblocking_by(variant);
    begin_to(fd, silent_port());
    show_flags(fd);
    close(fd);
}

NAMES(BLOCK_AGAIN, "F_SETFL", "fcntl64", "__fcntl", "FIONBIO", "syscall F_SETFL", "syscall FIONBIO");
static void block_by(int way, int fd) {
    int zero = 0;
    switch (way) {
    case 0: CALL(fcntl(fd, F_SETFL, 0), "set"); break;
    case 1: CALL(fcntl64(fd, F_SETFL, 0), "set"); break;
    case 2: CALL(__fcntl(fd, F_SETFL, 0), "set"); break;
    case 3: CALL(ioctl(fd, FIONBIO, &zero), "set"); break;
    case 4: CALL(syscall(SYS_fcntl, fd, F_SETFL, 0), "set"); break;
    default: CALL(syscall(SYS_ioctl, fd, FIONBIO, &zero), "set"); break;
    }
}

CASES("nonblocking/made blocking before connect by", BLOCK_AGAIN) {
    int fd = stream(SOCK_NONBLOCK);
    block_by(variant, fd);
    begin_to(fd, refused_port());
    begin_to(fd, WEB);
    show_stream(fd);
    close(fd);
}

CASES("nonblocking/made blocking under way by", BLOCK_AGAIN) {
    int fd = stream(SOCK_NONBLOCK);
    begin_to(fd, DEAF);
    block_by(variant, fd);
    wait_for(fd, POLLOUT);
    begin_to(fd, DEAF);
    show_stream(fd);
    close(fd);
    fd = stream(SOCK_NONBLOCK);
    int port = refused_port();
    begin_to(fd, port);
    wait_for(fd, POLLOUT);
    block_by(variant, fd);
    begin_to(fd, port);
    show_stream(fd);
    close(fd);
}

CASE("nonblocking/several at once, as clients of several addresses do") {
    int fds[6];
    for (int at = 0; at < COUNT(fds); at++) {
        fds[at] = stream(SOCK_NONBLOCK | SOCK_CLOEXEC);
        begin_to(fds[at], at % 2 ? silent_port() : WEB);
    }
    for (int at = 0; at < COUNT(fds); at++) {
        if (at % 2 == 0)
            wait_for(fds[at], POLLOUT);
        show_stream(fds[at]);
        close(fds[at]);
    }
}

CASE("nonblocking/SOCK_NONBLOCK and SOCK_CLOEXEC stay") {
    int fd = stream(SOCK_NONBLOCK | SOCK_CLOEXEC);
    show_flags(fd);
    begin_to(fd, WEB);
    show_flags(fd);
    wait_for(fd, POLLOUT);
    begin_to(fd, WEB);
    show_flags(fd);
    close(fd);
}

CASE("nonblocking/SO_ERROR room") {
    int fd = stream(SOCK_NONBLOCK);
    begin_to(fd, refused_port());
    wait_for(fd, POLLOUT);
    char *end = wall();
    socklen_t len = 4;
    CALL(getsockopt(fd, SOL_SOCKET, SO_ERROR, end, &len), "no access");
    show_error(fd);
    begin_to(fd, WEB);
    close(fd);
    for (int room = -1; room <= 8; room++) {
        unsigned char value[8];
        memset(value, 0xa5, sizeof value);
        fd = stream(SOCK_NONBLOCK);
        begin_to(fd, refused_port());
        wait_for(fd, POLLOUT);
        len = room;
        CALL(getsockopt(fd, SOL_SOCKET, SO_ERROR, value, &len), "room %d", room);
        printf("  length %u\n", len);
        show_octets("value", value, sizeof value);
        show_error(fd);
        close(fd);
    }
}
