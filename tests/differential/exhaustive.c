/* Every length, family, place and number, where there are more than a case each. */

/* Sockets and others, of all kinds. */
static int of_kind(int kind) {
    switch (kind) {
    case 0: return stream(0);
    case 1: return stream(SOCK_NONBLOCK);
    case 2: return datagram(0);
    default: return no_socket(kind);
    }
}
#define OF_KINDS (COUNT(NO_SOCKETS) - 1)

static const char *kind_name(int kind) {
    static const char *const SOCKETS[] = {"stream", "stream, non-blocking", "datagram"};
    return kind < 3 ? SOCKETS[kind] : NO_SOCKETS[kind];
}

CASES("connect/every length of an address", KINDS) {
    char room[256] = {0};
    struct sockaddr_in6 to = at_port(variant ? UDP_ECHO : WEB);
    memcpy(room, &to, sizeof to);
    for (int length = 0; length <= 200; length++) {
        int fd = variant ? datagram(0) : stream(0);
        CALL(connect(fd, SA(room), length), "length %d", length);
        show_peer_name(fd);
        close(fd);
    }
}

CASES("connect/every family", KINDS) {
    for (int family = 0; family < 48; family++) {
        struct sockaddr_in6 to = at_port(variant ? UDP_ECHO : WEB);
        to.sin6_family = family;
        int fd = variant ? datagram(0) : stream(0);
        CALL(connect(fd, SA(&to), sizeof to), "family %d", family);
        CALL(sendto(fd, "x", 1, MSG_NOSIGNAL, SA(&to), sizeof to), "sendto");
        close(fd);
    }
}

CASES("connect/every length and descriptor, address at", PLACES) {
    for (int kind = 0; kind < OF_KINDS; kind++)
        for (int at = 0; LENGTHS[at]; at++) {
            struct sockaddr_in6 to = at_port(kind == 2 ? UDP_ECHO : WEB);
            int fd = of_kind(kind);
            CALL(connect(fd, SA(place_for_name(variant, &to)), LENGTH[at]), "%s, length %s",
                 kind_name(kind), LENGTHS[at]);
            close(fd);
        }
}

CASES("names/every room and descriptor, getpeername, name at", PLACES) {
    struct sockaddr_in6 nothing = {0};
    for (int kind = 0; kind < OF_KINDS + 2; kind++) {
        int pair[2] = {-1, -1}, fd;
        if (kind < OF_KINDS) {
            fd = of_kind(kind);
        } else if (kind == OF_KINDS) {
            MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
            fd = pair[0];
        } else {
            fd = stream(SOCK_NONBLOCK);
            CALL(connect_to(fd, silent_port()), "connect");
        }
        for (int room = 0; room <= 28; room += 4) {
            socklen_t len = room;
            CALL(getpeername(fd, SA(place_for_name(variant, &nothing)), &len), "%d, room %d", kind,
                 room);
            printf("  length %u\n", len);
        }
        close(fd);
        close(pair[1]);
    }
}

/* A page of its own, which begins with these octets and cannot be written to; nothing
 * comes after it. */
static void *unwritable(const void *octets, int count) {
    char *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        exit(1);
    memcpy(page, octets, count);
    MUST(munmap(page + PAGE, PAGE));
    MUST(mprotect(page, PAGE, PROT_READ));
    return page;
}

/* Nothing is to be written that the kernel did not write. */
CASES("names/nothing can be written, room", ROOMS) {
    socklen_t room = ROOM[variant];
    if (room > 128)
        return;
    for (int connected = 0; connected < 2; connected++) {
        int fd = connected ? datagram_to(UDP_ECHO) : datagram(0);
        struct sockaddr_in6 name;
        char data[64];
        void *length = unwritable(&room, sizeof room), *page = unwritable("", 1);
        memset(&name, 0, sizeof name);
        ask(fd, "question");
        CALL(recvfrom(fd, data, 64, 0, SA(&name), length), "a length to read");
        hex("name", &name, room < sizeof name ? room : sizeof name);
        socklen_t len = room;
        ask(fd, "question");
        CALL(recvfrom(fd, data, 64, 0, page, &len), "a name to read");
        printf("  length %u\n", len);
        len = room;
        CALL(getpeername(fd, page, &len), "getpeername, a name to read");
        CALL(getpeername(fd, SA(&name), length), "getpeername, a length to read");
        struct iovec part = {data, sizeof data};
        struct msghdr message = {.msg_name = &name, .msg_namelen = room, .msg_iov = &part,
                                 .msg_iovlen = 1};
        void *header = unwritable(&message, sizeof message);
        ask(fd, "question");
        CALL(recvmsg(fd, header, 0), "a header to read");
        message.msg_name = page;
        ask(fd, "question");
        CALL(recvmsg(fd, &message, 0), "a name to read by recvmsg");
        printf("  length %u\n", message.msg_namelen);
        struct mmsghdr one = {message, 77};
        ask(fd, "question");
        CALL(recvmmsg(fd, &one, 1, 0, NULL), "a name to read by recvmmsg");
        printf("  length %u %u\n", one.msg_hdr.msg_namelen, one.msg_len);
        close(fd);
    }
}

CASES("names/what is sent can only be read", MANY_WAYS) {
    int fd = variant % 2 ? datagram_to(UDP_ECHO) : datagram(0);
    struct sockaddr_in6 to = at_port(UDP_ECHO);
    struct iovec part = {"x", 1};
    struct mmsghdr one = {.msg_hdr = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &part,
                                      .msg_iovlen = 1},
                          .msg_len = 77};
    void *vector = unwritable(&one, sizeof one), *name = unwritable(&to, sizeof to);
    /* It is sent, and how much was cannot be told. */
    CALL(variant / 2 ? syscall(SYS_sendmmsg, fd, vector, 1, 0) : sendmmsg(fd, vector, 1, 0),
         "a vector");
    receive_by(0, fd, 64, 0);
    CALL(sendto(fd, "x", 1, 0, name, sizeof to), "a destination");
    receive_by(0, fd, 64, 0);
    one.msg_hdr.msg_name = name;
    CALL(variant / 2 ? syscall(SYS_sendmmsg, fd, &one, 1, 0) : sendmmsg(fd, &one, 1, 0),
         "one in a vector");
    printf("  %u\n", one.msg_len);
    receive_by(0, fd, 64, 0);
    /* The second of two headers is where there is no memory. */
    char *end = wall() - sizeof one;
    memcpy(end, &one, sizeof one);
    CALL(variant / 2 ? syscall(SYS_sendmmsg, fd, end, 2, 0) : sendmmsg(fd, (void *)end, 2, 0),
         "one of two");
    receive_by(0, fd, 64, 0);
    close(fd);
}

#define MOST 40
NAMES(SO_MANY, "0", "1", "2", "3", "15", "16", "17", "31", "32", "33", "40");
CASES("many/so many at once", SO_MANY) {
    for (int way = 0; way < 4; way++) {
        int fd = way % 2 ? datagram_to(UDP_ECHO) : datagram(0), count = atoi(SO_MANY[variant]);
        struct sockaddr_in6 to = at_port(UDP_ECHO), names[MOST];
        struct mmsghdr messages[MOST] = {0};
        struct iovec parts[MOST];
        char data[MOST][16];
        for (int at = 0; at < count; at++) {
            parts[at] = (struct iovec){data[at], sprintf(data[at], "%d", at)};
            messages[at].msg_hdr = (struct msghdr){.msg_name = way == 1 ? NULL : &to,
                                                   .msg_namelen = way == 1 ? 0 : sizeof to,
                                                   .msg_iov = &parts[at], .msg_iovlen = 1};
        }
        CALL(way / 2 ? syscall(SYS_sendmmsg, fd, messages, count, 0)
                     : sendmmsg(fd, messages, count, 0), "sent");
        for (int at = 0; at < count; at++) {
            printf(" %u", messages[at].msg_len);
            parts[at].iov_len = sizeof data[at];
            /* Not all want to know from whom. */
            messages[at].msg_hdr.msg_name = at % 3 == 2 ? NULL : &names[at];
            messages[at].msg_hdr.msg_namelen = at % 3 == 2 ? 0 : sizeof names[at];
        }
        CALL(way / 2 ? syscall(SYS_recvmmsg, fd, messages, count, 0, NULL)
                     : recvmmsg(fd, messages, count, 0, NULL), "received");
        for (int at = 0; at < count; at++) {
            text("data", data[at], messages[at].msg_len);
            if (messages[at].msg_hdr.msg_name)
                show_in6("from", &names[at]);
        }
        close(fd);
    }
}

struct little {
    int way;
};
static void *in_little_stack(void *given) {
    const struct little *little = given;
    struct sockaddr_in6 to = at_port(UDP_ECHO);
    int fd = datagram(0), connected = stream(0);
    CALL(send_to_by(little->way, fd, "question", 8, 0, &to, sizeof to), "send");
    receive_by(little->way, fd, 64, 0);
    CALL(connect_to(connected, refused_port()), "refused");
    CALL(connect_to(connected, ECHO), "connect");
    show_names(connected);
    close(connected);
    close(fd);
    return NULL;
}

CASES("datagram/all in a thread with a stack of 64 KiB, by", SEND_TO) {
    struct little little = {variant};
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    MUST(-pthread_attr_setstacksize(&attributes, 64 * 1024));
    MUST(-pthread_create(&thread, &attributes, in_little_stack, &little));
    pthread_join(thread, NULL);
}

CASE("descriptors/datagrams, not connected, copied and in children") {
    int fd = datagram(0), copy = MUST(dup(fd)), third = MUST(fcntl(fd, F_DUPFD_CLOEXEC, 100));
    ask(fd, "asked by the first");
    close(fd);
    receive_by(0, copy, 64, 0);
    ask(copy, "asked before dup2");
    CALL(dup2(third, copy) == copy, "dup2 over it");
    receive_by(0, copy, 64, 0);
    fflush(stdout);
    pid_t child = MUST(fork());
    if (!child) {
        ask(third, "asked by a child");
        receive_by(0, copy, 64, 0);
        close(copy);
        fflush(stdout);
        _exit(7);
    }
    end_of(child);
    child = vfork();
    if (!child) {
        close(copy);
        close(third);
        _exit(8);
    }
    end_of(child);
    ask(copy, "asked after that");
    receive_by(0, third, 64, 0);
    CALL(dup2(250, copy), "dup2 of nothing");
    ask(copy, "and after that");
    receive_by(0, copy, 64, 0);
    close(copy);
    close(third);
    int other = datagram(0);
    receive_by(0, other, 64, MSG_DONTWAIT);
    show_names(other);
    close(other);
}

CASE("descriptors/files and locks") {
    int fd = a_file("content");
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 3, .l_len = 4};
    CALL(fcntl(fd, F_SETLK, &lock), "F_SETLK");
    CALL(fcntl(fd, F_GETLK, &lock), "F_GETLK");
    printf("  %d %ld\n", lock.l_type, (long)lock.l_len);
    CALL(fcntl(fd, F_GETLK, NULL), "F_GETLK at null");
    CALL(fcntl64(fd, F_OFD_SETLK, &lock), "F_OFD_SETLK");
    CALL(fcntl(fd, 12345), "no command");
    for (int way = 10; RECEIVE[way]; way++)
        receive_by(way, fd, 3, 0);
    CALL(close(fd), "close");
    CALL(close(fd), "close again");
    CALL(close(-1), "close none");
}

CASE("options/calls that are not about sockets") {
    char name[16] = "";
    CALL(prctl(PR_SET_NAME, "transcript"), "PR_SET_NAME");
    CALL(prctl(PR_GET_NAME, name), "PR_GET_NAME");
    printf("  %s\n", name);
    CALL(prctl(12345, 0, 0, 0, 0), "no option");
    CALL(syscall(SYS_prctl, PR_GET_NAME, name, 0, 0, 0), "syscall prctl");
    CALL(syscall(SYS_getpid) == getpid(), "SYS_getpid");
    CALL(syscall(-1), "no system call");
    CALL(syscall(100000), "none so high");
    int fd = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY, 0);
    char *map = (char *)syscall(SYS_mmap, NULL, 4096L, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1L,
                                0L);
    printf("mapped %d\n", map != MAP_FAILED && map[100] == 0);
    close(fd);
    struct sockaddr_in6 to = at_port(WEB);
    CALL(bind(-1, SA(&to), sizeof to), "bind, no descriptor");
    fd = stream(0);
    CALL(bind(fd, NULL, sizeof to), "bind to null");
    CALL(bind(fd, SA(&to), 3), "bind, short");
    CALL(bind(fd, SA(wall()), sizeof to), "bind nowhere");
    CALL(ioctl(-1, FIONBIO, &(int){1}), "FIONBIO, no descriptor");
    close(fd);
}
