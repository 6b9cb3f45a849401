/* Names that are told: no more than there is room for, and their whole length. */

NAMES(ROOMS, "0", "1", "2", "4", "7", "8", "9", "15", "16", "20", "23", "24", "25", "27", "28",
      "29", "64", "128", "-1", "INT_MIN");
static const socklen_t ROOM[] = {0,  1,  2,  4,  7,  8,  9,  15,  16, 20,
                                 23, 24, 25, 27, 28, 29, 64, 128, -1, 0x80000000};

CASES("names/getpeername, room", ROOMS) {
    for (int kind = 0; kind < 3; kind++) {
        int fd = kind == 0 ? stream_to(WEB) : kind == 1 ? datagram_to(UDP_ECHO) : stream(0);
        char name[160];
        memset(name, 0xa5, sizeof name);
        socklen_t len = ROOM[variant];
        CALL(getpeername(fd, SA(name), &len), "getpeername");
        printf("  length %u\n", len);
        show_octets("name", name, sizeof name);
        memset(name, 0xa5, sizeof name);
        len = ROOM[variant];
        CALL(syscall(SYS_getpeername, fd, name, &len), "syscall getpeername");
        printf("  length %u\n", len);
        show_octets("name", name, sizeof name);
        close(fd);
    }
}

CASES("names/getsockname, room", ROOMS) {
    int fd = stream_to(WEB);
    char name[160];
    memset(name, 0xa5, sizeof name);
    socklen_t len = ROOM[variant];
    CALL(getsockname(fd, SA(name), &len), "getsockname");
    /* The port is the kernel's choice. */
    if (name[2] != (char)0xa5 || name[3] != (char)0xa5)
        name[2] = name[3] = 0;
    printf("  length %u\n", len);
    show_octets("name", name, sizeof name);
    close(fd);
}

CASES("names/getpeername, name at", PLACES) {
    int fds[] = {stream_to(WEB), datagram_to(UDP_ECHO), stream(0)};
    struct sockaddr_in6 nothing = {0};
    for (int kind = 0; kind < COUNT(fds); kind++) {
        for (int room = 0; room <= 28; room += 7) {
            socklen_t len = room;
            CALL(getpeername(fds[kind], SA(place_for_name(variant, &nothing)), &len), "room %d",
                 room);
            printf("  length %u\n", len);
            len = room;
            CALL(syscall(SYS_getpeername, fds[kind], place_for_name(variant, &nothing), &len),
                 "syscall");
            printf("  length %u\n", len);
        }
    }
    for (int kind = 0; kind < COUNT(fds); kind++)
        close(fds[kind]);
}

CASES("names/getpeername, length at", PLACES) {
    struct sockaddr_in6 name, nothing = {0};
    for (int kind = 0; kind < 2; kind++) {
        int fd = kind ? datagram_to(UDP_ECHO) : stream_to(WEB);
        /* Where it can be read, what stands there is too long or none. */
        CALL(getpeername(fd, SA(&name), (void *)place_for_name(variant, &nothing)), "getpeername");
        CALL(syscall(SYS_getpeername, fd, &name, place_for_name(variant, &nothing)), "syscall");
        close(fd);
    }
}

/* What is told of the sender where there is room for a part of it. */
static void receive_names_with(int way, int fd) {
    for (int at = 0; ROOMS[at]; at++) {
        char data[64], name[160];
        memset(name, 0xa5, sizeof name);
        printf("room %s\n", ROOMS[at]);
        if (ROOM[at] > 128 && way % 4) {
            /* With a header the kernel says so before it has received anything. */
            receive_into(way, fd, data, sizeof data, MSG_DONTWAIT, name, ROOM[at]);
            continue;
        }
        ask(fd, "question");
        wait_for(fd, POLLIN);
        receive_into(way, fd, data, sizeof data, 0, name, ROOM[at]);
        show_octets("name", name, sizeof name);
        drain(fd);
    }
}

CASES("names/rooms, not connected, with", RECEIVE_NAMES) {
    int fd = datagram(0);
    receive_names_with(variant, fd);
    close(fd);
}

CASES("names/rooms, connected, with", RECEIVE_NAMES) {
    int fd = datagram_to(UDP_ECHO);
    receive_names_with(variant, fd);
    close(fd);
}

CASES("names/name nowhere with", RECEIVE_NAMES) {
    for (int connected = 0; connected < 2; connected++) {
        int fd = connected ? datagram_to(UDP_ECHO) : datagram(0);
        char data[64];
        struct sockaddr_in6 nothing = {0};
        for (int place = 0; PLACES[place]; place++) {
            ask(fd, "question");
            wait_for(fd, POLLIN);
            memset(data, 0xa5, sizeof data);
            char *at = place_for_name(place, &nothing);
            printf("%s\n", PLACES[place]);
            receive_into(variant, fd, data, sizeof data, 0, at, 28);
            text("data", data, 8);
            drain(fd);
        }
        close(fd);
    }
}

CASES("names/buffer nowhere with", RECEIVE) {
    int fd = datagram(0);
    char name[160];
    ask(fd, "question");
    wait_for(fd, POLLIN);
    memset(name, 0xa5, sizeof name);
    receive_into(variant, fd, wall(), 8, 0, name, 28);
    show_octets("name", name, sizeof name);
    ask(fd, "question");
    wait_for(fd, POLLIN);
    receive_into(variant, fd, wall() - 4, 8, 0, name, 28);
    show_octets("name", name, sizeof name);
    show_error(fd);
    ask(fd, "after that");
    receive_by(variant, fd, 64, 0);
    close(fd);
}

NAMES(LENGTH_CALLS, "recvfrom", "__recvfrom_chk", "syscall recvfrom", "accept", "getsockname");
CASES("names/length nowhere with", LENGTH_CALLS) {
    int fd = datagram(0);
    char data[64];
    struct sockaddr_in6 name, nothing = {0};
    for (int place = 0; PLACES[place]; place++) {
        ask(fd, "question");
        wait_for(fd, POLLIN);
        void *at = place_for_name(place, &nothing);
        switch (variant) {
        case 0: CALL(recvfrom(fd, data, 64, 0, SA(&name), at), "%s", PLACES[place]); break;
        case 1: CALL(__recvfrom_chk(fd, data, 64, 64, 0, SA(&name), at), "%s", PLACES[place]); break;
        case 2: CALL(syscall(SYS_recvfrom, fd, data, 64, 0, &name, at), "%s", PLACES[place]); break;
        case 3: CALL(accept(fd, SA(&name), at), "%s", PLACES[place]); break;
        default: CALL(getsockname(fd, SA(&name), at), "%s", PLACES[place]); break;
        }
        drain(fd);
    }
    close(fd);
}

NAMES(HEADERS, "null", "no access", "read only", "crosses after 8", "parts nowhere",
      "parts too many", "control nowhere", "name length negative", "no parts");
CASES("names/header", HEADERS) {
    for (int connected = 0; connected < 2; connected++) {
        int fd = connected ? datagram_to(UDP_ECHO) : datagram(0);
        char data[64];
        struct sockaddr_in6 to = at_port(UDP_ECHO), name = to;
        struct iovec part = {data, sizeof data}, out = {"abc", 3};
        struct msghdr receive = {.msg_name = &name, .msg_namelen = sizeof name, .msg_iov = &part,
                                 .msg_iovlen = 1};
        struct msghdr send = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &out,
                              .msg_iovlen = 1};
        struct msghdr *receiving = &receive, *sending = &send;
        switch (variant) {
        case 0: receiving = sending = NULL; break;
        case 1: receiving = sending = (void *)wall(); break;
        case 2: receiving = (void *)read_only(); break;
        case 3: receiving = sending = (void *)(wall() - 8); break;
        case 4: receive.msg_iov = send.msg_iov = (void *)wall(); break;
        case 5: receive.msg_iovlen = send.msg_iovlen = 1025; break;
        case 6:
            receive.msg_control = send.msg_control = wall();
            receive.msg_controllen = send.msg_controllen = 40;
            break;
        case 7: receive.msg_namelen = send.msg_namelen = -1; break;
        case 8: receive.msg_iovlen = send.msg_iovlen = 0; break;
        }
        CALL(sendmsg(fd, sending, 0), "sendmsg");
        CALL(syscall(SYS_sendmsg, fd, sending, 0), "syscall sendmsg");
        for (int way = 0; way < 2; way++) {
            drain(fd);
            ask(fd, "question");
            wait_for(fd, POLLIN);
            if (way)
                CALL(syscall(SYS_recvmsg, fd, receiving, MSG_DONTWAIT), "syscall recvmsg");
            else
                CALL(recvmsg(fd, receiving, MSG_DONTWAIT), "recvmsg");
        }
        printf("name length %u flags %x\n", receive.msg_namelen, receive.msg_flags);
        close(fd);
    }
}

CASES("names/descriptor is", NO_SOCKETS) {
    int fd = no_socket(variant);
    char data[8];
    struct sockaddr_in6 name;
    socklen_t len = sizeof name;
    CALL(getpeername(fd, SA(&name), &len), "getpeername");
    CALL(getsockname(fd, SA(&name), &len) < 0, "getsockname");
    CALL(recvfrom(fd, data, 8, MSG_DONTWAIT, SA(&name), &len), "recvfrom");
    CALL(recv(fd, data, 8, MSG_DONTWAIT), "recv");
    CALL(recvmsg(fd, &(struct msghdr){0}, MSG_DONTWAIT), "recvmsg");
    CALL(send(fd, data, 1, MSG_DONTWAIT | MSG_NOSIGNAL), "send");
    CALL(sendmmsg(fd, &(struct mmsghdr){0}, 1, MSG_DONTWAIT | MSG_NOSIGNAL), "sendmmsg");
    CALL(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &(int){1}, 4), "setsockopt");
    show_error(fd);
    CALL(shutdown(fd, SHUT_RD), "shutdown");
    CALL(listen(fd, 1), "listen");
    if (variant > 2)
        close(fd);
}
