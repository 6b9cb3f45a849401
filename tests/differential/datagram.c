/* Datagrams, on sockets that are connected and that are not. */

/* Sends a question to A, however the socket is connected. */
static void ask_with(int fd, const char *question, int port) {
    struct sockaddr_in6 to = at_port(port);
    MUST(sendto(fd, question, strlen(question), 0, SA(&to), sizeof to));
}

static void ask(int fd, const char *question) { ask_with(fd, question, UDP_ECHO); }

/* Receives and forgets what is still on its way: the service keeps the order. */
static void drain(int fd) {
    static int number;
    char question[32], answer[64];
    int length = sprintf(question, "drained %d", ++number);
    ask(fd, question);
    while (MUST(recv(fd, answer, sizeof answer, 0)) != length || memcmp(answer, question, length))
        ;
}

CASES("datagram/sent to A with", SEND_TO) {
    int fd = datagram(0);
    struct sockaddr_in6 to = at_port(UDP_ECHO);
    for (int turn = 0; turn < 3; turn++) {
        CALL(send_to_by(variant, fd, "question", 8, 0, &to, sizeof to), "send");
        receive_by(0, fd, 64, 0);
    }
    CALL(send_to_by(variant, fd, "", 0, 0, &to, sizeof to), "send nothing");
    receive_by(0, fd, 64, 0);
    show_names(fd);
    show_error(fd);
    close(fd);
}

CASES("datagram/sent to A first, received with", RECEIVE) {
    int fd = datagram(0);
    ask(fd, "question");
    receive_by(variant, fd, 64, 0);
    ask(fd, "another one");
    receive_by(variant, fd, 4, 0);
    ask(fd, "");
    receive_by(variant, fd, 64, 0);
    show_ready(fd);
    close(fd);
}

CASES("datagram/connected, sent with", SEND) {
    int fd = datagram_to(UDP_ECHO);
    show_names(fd);
    for (int turn = 0; turn < 2; turn++) {
        CALL(send_by(variant, fd, "question", 8, 0), "send");
        receive_by(1, fd, 64, 0);
    }
    close(fd);
}

CASES("datagram/connected, received with", RECEIVE) {
    int fd = datagram_to(UDP_ECHO);
    MUST(send(fd, "question", 8, 0));
    receive_by(variant, fd, 64, 0);
    MUST(send(fd, "another one", 11, 0));
    receive_by(variant, fd, 4, 0);
    MUST(send(fd, "", 0, 0));
    receive_by(variant, fd, 64, 0);
    close(fd);
}

CASES("datagram/connected, and sent to A all the same with", SEND_TO) {
    int fd = datagram_to(UDP_ECHO);
    struct sockaddr_in6 to = at_port(UDP_ECHO);
    CALL(send_to_by(variant, fd, "question", 8, 0, &to, sizeof to), "send");
    receive_by(0, fd, 64, 0);
    to = at_port(UDP_MUTE);
    CALL(send_to_by(variant, fd, "elsewhere", 9, 0, &to, sizeof to), "send");
    show_names(fd);
    close(fd);
}

CASES("datagram/connected by", CONNECT) {
    struct sockaddr_in6 to = at_port(UDP_ECHO), none = {.sin6_family = AF_UNSPEC};
    int fd = datagram(0);
    CALL(connect_by(variant, fd, &to, sizeof to), "connect");
    show_names(fd);
    MUST(send(fd, "question", 8, 0));
    receive_by(0, fd, 64, 0);
    CALL(connect_by(variant, fd, &to, sizeof to), "connect again");
    to.sin6_port = htons(UDP_MUTE);
    CALL(connect_by(variant, fd, &to, sizeof to), "connect elsewhere");
    show_names(fd);
    CALL(connect_by(variant, fd, &none, sizeof none), "disconnect");
    show_names(fd);
    CALL(send(fd, "question", 8, 0), "send to nobody");
    ask(fd, "unconnected");
    receive_by(0, fd, 64, 0);
    close(fd);
}

CASES("datagram/connected to an odd address", ODD_NAMES) {
    struct sockaddr_in6 to = odd_name(variant, UDP_ECHO);
    int fd = datagram(0);
    CALL(connect(fd, SA(&to), sizeof to), "connect");
    show_names(fd);
    close(fd);
}

CASES("datagram/sent to an odd address", ODD_NAMES) {
    struct sockaddr_in6 to = odd_name(variant, UDP_ECHO);
    for (int way = 0; way < COUNT(SEND_TO) - 1; way++) {
        int fd = datagram(0);
        CALL(send_to_by(way, fd, "x", 1, 0, &to, sizeof to), "send");
        close(fd);
    }
}

CASES("datagram/bound to", BINDINGS) {
    int fd = datagram(0);
    bind_by(variant, fd);
    show_names(fd);
    if (!strcmp(BINDINGS[variant], "loopback")) {
        /* Nobody would answer to there, the questions of the library neither. */
        close(fd);
        return;
    }
    struct sockaddr_in6 to = at_port(UDP_ECHO);
    ssize_t sent;
    CALL(sent = sendto(fd, "question", 8, 0, SA(&to), sizeof to), "sendto");
    if (sent > 0)
        receive_by(0, fd, 64, 0);
    CALL(connect_to(fd, UDP_ECHO), "connect");
    show_names(fd);
    close(fd);
}

CASES("datagram/MSG_PEEK with", RECEIVE_FLAGS) {
    int fd = datagram(0);
    ask(fd, "question");
    wait_for(fd, POLLIN);
    receive_by(variant, fd, 3, MSG_PEEK);
    receive_by(variant, fd, 3, MSG_PEEK | MSG_TRUNC);
    receive_by(variant, fd, 64, MSG_PEEK);
    receive_by(variant, fd, 64, 0);
    receive_by(variant, fd, 64, MSG_PEEK | MSG_DONTWAIT);
    close(fd);
}

CASES("datagram/MSG_TRUNC with", RECEIVE_FLAGS) {
    int fd = datagram_to(UDP_ECHO);
    MUST(send(fd, "question", 8, 0));
    wait_for(fd, POLLIN);
    receive_by(variant, fd, 3, MSG_TRUNC);
    MUST(send(fd, "question", 8, 0));
    wait_for(fd, POLLIN);
    receive_by(variant, fd, 0, MSG_TRUNC);
    close(fd);
}

CASES("datagram/MSG_WAITALL with", RECEIVE_FLAGS) {
    int fd = datagram(0);
    ask(fd, "question");
    receive_by(variant, fd, 64, MSG_WAITALL);
    close(fd);
}

CASES("datagram/nothing there, MSG_DONTWAIT with", RECEIVE_FLAGS) {
    int fd = datagram_to(UDP_MUTE);
    MUST(send(fd, "question", 8, 0));
    receive_by(variant, fd, 64, MSG_DONTWAIT);
    receive_by(variant, fd, 64, MSG_DONTWAIT | MSG_ERRQUEUE);
    close(fd);
}

CASES("datagram/nothing there, SO_RCVTIMEO with", RECEIVE) {
    int fd = datagram(0);
    struct timeval limit = {0, 5000};
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    ask_with(fd, "question", UDP_MUTE);
    receive_by(variant, fd, 64, 0);
    close(fd);
}

CASES("datagram/MSG_OOB with", SEND_FLAGS) {
    int fd = datagram_to(UDP_ECHO);
    CALL(send_by(variant, fd, "x", 1, MSG_OOB), "send");
    close(fd);
}

CASES("datagram/not connected, sent to nobody with", SEND) {
    int fd = datagram(0);
    CALL(send_by(variant, fd, "x", 1, 0), "send");
    close(fd);
}

CASES("datagram/refused, told to", RECEIVE) {
    int fd = datagram_to(refused_port());
    MUST(send(fd, "question", 8, 0));
    wait_for(fd, POLLIN);
    receive_by(variant, fd, 64, 0);
    show_ready(fd);
    show_error(fd);
    show_names(fd);
    close(fd);
}

CASES("datagram/refused, told to who sends with", SEND) {
    int fd = datagram_to(refused_port());
    MUST(send(fd, "question", 8, 0));
    wait_for(fd, POLLERR);
    show_ready(fd);
    CALL(send_by(variant, fd, "question", 8, 0), "send");
    close(fd);
}

CASE("datagram/refused, told by SO_ERROR") {
    int fd = datagram_to(refused_port());
    for (int turn = 0; turn < 3; turn++) {
        CALL(send(fd, "question", 8, 0), "send");
        wait_for(fd, POLLERR);
        show_error(fd);
        show_error(fd);
    }
    close(fd);
}

CASES("datagram/refused, nobody told, sent with", SEND_TO) {
    struct sockaddr_in6 to = at_port(refused_port());
    int fd = datagram(0);
    for (int turn = 0; turn < 4; turn++)
        CALL(send_to_by(variant, fd, "question", 8, 0, &to, sizeof to), "send");
    ask(fd, "question");
    receive_by(0, fd, 64, 0);
    show_error(fd);
    close(fd);
}

CASES("datagram/many to a mute port with", SEND_TO) {
    struct sockaddr_in6 to = at_port(UDP_MUTE);
    int fd = datagram(0);
    for (int turn = 0; turn < 6; turn++)
        CALL(send_to_by(variant, fd, "question", 8, 0, &to, sizeof to), "send");
    ask(fd, "question");
    receive_by(0, fd, 64, 0);
    close(fd);
}

CASES("datagram/address length, sent with", SEND_TO) {
    char room[300] = {0};
    struct sockaddr_in6 to = at_port(UDP_ECHO);
    memcpy(room, &to, sizeof to);
    for (int at = 0; LENGTHS[at]; at++) {
        int fd = datagram(0);
        CALL(send_to_by(variant, fd, "question", 8, 0, room, LENGTH[at]), "length %s", LENGTHS[at]);
        if (LENGTH[at] >= 24 && LENGTH[at] <= 128)
            receive_by(0, fd, 64, 0);
        close(fd);
    }
}

CASES("datagram/sent to an address at", PLACES) {
    for (int way = 0; way < COUNT(SEND_TO) - 1; way++) {
        struct sockaddr_in6 to = at_port(UDP_ECHO);
        int fd = datagram(0);
        CALL(send_to_by(way, fd, "question", 8, 0, place_for_name(variant, &to), sizeof to),
             "%s", SEND[way]);
        if (variant == 8 || variant == 9)
            receive_by(0, fd, 64, 0);
        close(fd);
    }
}

CASES("datagram/too long for", SEND) {
    static char data[70000];
    int fd = datagram_to(UDP_MUTE);
    CALL(send_by(variant, fd, data, sizeof data, 0), "send");
    CALL(send_by(variant, fd, data, 65507, 0), "send");
    show_error(fd);
    close(fd);
}

CASES("datagram/shut down", SHUT) {
    int fd = datagram(0);
    CALL(shutdown(fd, variant), "shut down");
    CALL(connect_to(fd, UDP_ECHO), "connect");
    CALL(shutdown(fd, variant), "shut down");
    ssize_t sent;
    CALL(sent = send(fd, "question", 8, MSG_NOSIGNAL), "send");
    if (sent > 0)
        wait_for_octets(fd, 8);
    receive_by(0, fd, 64, variant == SHUT_WR ? MSG_DONTWAIT : 0);
    show_ready(fd);
    show_names(fd);
    close(fd);
}

CASE("datagram/two services on one socket") {
    int fd = datagram(0);
    for (int turn = 0; turn < 3; turn++) {
        ask(fd, "first");
        ask_with(fd, "never answered", UDP_MUTE);
        ask(fd, "second");
        for (int way = 0; way < 2; way++)
            receive_by(way, fd, 64, 0);
    }
    close(fd);
}

CASE("datagram/the order of many") {
    int fd = datagram(0);
    for (int number = 0; number < 40; number++) {
        char question[16], answer[16];
        int length = sprintf(question, "%d", number);
        struct sockaddr_in6 to = at_port(UDP_ECHO);
        MUST(sendto(fd, question, length, 0, SA(&to), sizeof to));
        ssize_t count = MUST(recv(fd, answer, sizeof answer, 0));
        text("answer", answer, count);
    }
    close(fd);
}

CASE("datagram/connected, who else writes is not heard") {
    int fd = datagram(0), other = datagram(0);
    struct sockaddr_in6 own = {.sin6_family = AF_INET6};
    inet_pton(AF_INET6, "2001:db8:c::2", &own.sin6_addr);
    MUST(bind(fd, SA(&own), sizeof own));
    socklen_t len = sizeof own;
    MUST(getsockname(fd, SA(&own), &len));
    CALL(connect_to(fd, UDP_ECHO), "connect");
    CALL(sendto(other, "stranger", 8, 0, SA(&own), sizeof own), "stranger");
    MUST(send(fd, "question", 8, 0));
    receive_by(0, fd, 64, 0);
    receive_by(0, fd, 64, MSG_DONTWAIT);
    close(fd);
    close(other);
}
