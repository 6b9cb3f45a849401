/* Sockets under other numbers, in other processes, and numbers of other sockets. */

/* All by which a name is told. */
static void show_all_names(int fd, int kind) {
    show_names(fd);
    if (kind) {
        MUST(send(fd, "question", 8, 0));
        receive_by(0, fd, 64, 0);
    }
}

static int made(int kind) { return kind ? datagram_to(UDP_ECHO) : stream_to(ECHO); }

CASES("descriptors/copied by", COPY) {
    for (int kind = 0; kind < 2; kind++) {
        int fd = made(kind), copy;
        CALL(copy = copy_by(variant, fd), "copy");
        show_flags(copy);
        show_all_names(copy, kind);
        CALL(close(fd), "close");
        show_all_names(copy, kind);
        CALL(close(copy), "close");
        CALL(close(copy), "close again");
    }
}

CASES("descriptors/copied before connect by", COPY) {
    for (int kind = 0; kind < 2; kind++) {
        int fd = kind ? datagram(0) : stream(0), copy;
        CALL(copy = copy_by(variant, fd), "copy");
        CALL(connect_to(fd, kind ? UDP_ECHO : ECHO), "connect");
        show_all_names(copy, kind);
        CALL(connect_to(copy, kind ? UDP_ECHO : ECHO), "connect");
        show_all_names(fd, kind);
        close(fd);
        show_all_names(copy, kind);
        close(copy);
    }
}

CASES("descriptors/copied over another by", COPY) {
    int other = datagram_to(UDP_ECHO), fd = stream_to(ECHO), copy;
    MUST(dup3(other, 300, O_CLOEXEC));
    show_names(300);
    CALL(copy = copy_by(variant, fd), "copy");
    show_names(copy);
    show_all_names(other, 1);
    close(fd);
    show_names(copy);
    close(copy);
    if (copy != 300)
        close(300);
    close(other);
}

CASES("descriptors/not connected, copied, sent to A through", COPY) {
    int fd = datagram(0), copy;
    ask(fd, "question");
    receive_by(0, fd, 64, 0);
    CALL(copy = copy_by(variant, fd), "copy");
    ask(copy, "another");
    receive_by(0, fd, 64, 0);
    close(fd);
    ask(copy, "last");
    receive_by(0, copy, 64, 0);
    close(copy);
}

NAMES(BAD_COPIES, "from -1", "from a closed one", "to -1", "to one too high", "to itself",
      "dup3 to itself", "dup3 with a bad flag", "dup2 of a closed one to itself");
CASES("descriptors/copy", BAD_COPIES) {
    int fd = stream_to(ECHO);
    for (int way = 0; way < 2; way++) {
#define COPY2(from, to) (way ? __dup2(from, to) : dup2(from, to))
        switch (variant) {
        case 0: CALL(COPY2(-1, fd), "dup2"); break;
        case 1: CALL(COPY2(250, fd), "dup2"); break;
        case 2: CALL(COPY2(fd, -1), "dup2"); break;
        case 3: CALL(COPY2(fd, 0x7fffffff), "dup2"); break;
        case 4: CALL(COPY2(fd, fd), "dup2"); break;
        case 5: CALL(dup3(fd, fd, 0), "dup3"); break;
        case 6: CALL(dup3(fd, 300, 12345), "dup3"); break;
        default: CALL(COPY2(250, 250), "dup2"); break;
        }
    }
    show_names(fd);
    close(fd);
}

CASES("descriptors/closed and used again after", CLOSE) {
    for (int kind = 0; kind < 6; kind++) {
        int fd = made(kind % 2), pair[2] = {-1, -1}, again;
        show_names(fd);
        close_by(variant, fd);
        if (variant > 6) {
            show_names(fd);
            close(fd);
        }
        show_names(fd);
        switch (kind / 2) {
        case 0: again = kind % 2 ? datagram(0) : stream(0); break;
        case 1: again = kind % 2 ? stream_to(WEB) : datagram_to(UDP_ECHO); break;
        default:
            MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
            again = pair[0];
        }
        printf("same number %d\n", again == fd);
        show_names(again);
        show_ready(again);
        close(again);
        close(pair[1]);
    }
}

CASES("descriptors/closed, then accepted under its number, after", CLOSE) {
    struct sockaddr_in6 own = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    socklen_t len = sizeof own;
    int listener = stream(0);
    MUST(bind(listener, SA(&own), sizeof own));
    MUST(listen(listener, 8));
    MUST(getsockname(listener, SA(&own), &len));
    int waiting = stream(0);
    MUST(connect(waiting, SA(&own), sizeof own));
    int fd = stream_to(ECHO);
    close_by(variant, fd);
    if (variant > 6)
        close(fd);
    int again = MUST(accept(listener, NULL, NULL));
    printf("same number %d\n", again == fd);
    show_names(again);
    close(again);
    close(waiting);
    close(listener);
}

CASE("descriptors/close_range and its flags") {
    int fd = stream_to(ECHO);
    CALL(close_range(fd, fd, CLOSE_RANGE_CLOEXEC), "CLOSE_RANGE_CLOEXEC");
    show_flags(fd);
    show_names(fd);
    CALL(close_range(fd, fd - 1, 0), "backwards");
    CALL(close_range(fd, fd, 12345), "bad flags");
    show_names(fd);
    CALL(close_range(fd, ~0u, CLOSE_RANGE_UNSHARE), "CLOSE_RANGE_UNSHARE");
    show_names(fd);
}

static void end_of(pid_t child) {
    int status;
    MUST(waitpid(child, &status, 0));
    if (WIFEXITED(status))
        printf("ended %d\n", WEXITSTATUS(status));
    else
        printf("ended by signal %d\n", WTERMSIG(status));
}

NAMES(KINDS, "stream", "datagram");
CASES("descriptors/inherited by fork", KINDS) {
    int fd = made(variant);
    fflush(stdout);
    pid_t child = MUST(fork());
    if (!child) {
        show_all_names(fd, variant);
        close(fd);
        fd = made(variant);
        show_all_names(fd, variant);
        fflush(stdout);
        _exit(7);
    }
    end_of(child);
    show_all_names(fd, variant);
    close(fd);
}

CASES("descriptors/connected in a child", KINDS) {
    int fd = variant ? datagram(0) : stream(0);
    fflush(stdout);
    pid_t child = MUST(fork());
    if (!child) {
        CALL(connect_to(fd, variant ? UDP_ECHO : ECHO), "connect");
        show_all_names(fd, variant);
        fflush(stdout);
        _exit(7);
    }
    end_of(child);
    /* The parent has the same socket, which the child has connected. */
    show_all_names(fd, variant);
    close(fd);
}

CASES("descriptors/closed in a vfork child", KINDS) {
    int fd = made(variant);
    fflush(stdout);
    pid_t child = vfork();
    if (!child) {
        close(fd);
        _exit(8);
    }
    end_of(child);
    show_all_names(fd, variant);
    close(fd);
}

/* What is started with a descriptor as its own. */
static int child(int count, char **words) {
    if (count != 3 || inet_pton(AF_INET6, words[0], &destination) != 1)
        return 64;
    setvbuf(stdout, NULL, _IOLBF, 0);
    int kind = atoi(words[1]), fd = atoi(words[2]);
    show_all_names(fd, kind);
    close(fd);
    fd = made(kind);
    show_all_names(fd, kind);
    return 9;
}

extern char **environ;
NAMES(STARTS, "stream, fork and exec", "datagram, fork and exec", "stream, vfork and exec",
      "datagram, vfork and exec", "stream, posix_spawn", "datagram, posix_spawn");
CASES("descriptors/handed on to another program", STARTS) {
    int kind = variant % 2, fd = made(kind);
    char address[INET6_ADDRSTRLEN], kind_word[12], fd_word[12];
    inet_ntop(AF_INET6, &destination, address, sizeof address);
    sprintf(kind_word, "%d", kind);
    sprintf(fd_word, "%d", fd);
    char *words[] = {"/proc/self/exe", "--child", address, kind_word, fd_word, NULL};
    fflush(stdout);
    pid_t pid;
    if (variant / 2 == 0)
        pid = MUST(fork());
    else if (variant / 2 == 1)
        pid = vfork();
    else
        MUST(-posix_spawn(&pid, words[0], NULL, NULL, words, environ));
    if (!pid) {
        execv(words[0], words);
        _exit(71);
    }
    end_of(pid);
    show_all_names(fd, kind);
    close(fd);
}

static void pass(int through, int fd) {
    char control[CMSG_SPACE(sizeof fd)] __attribute__((aligned(8))) = {0};
    struct iovec part = {"x", 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = sizeof control};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    MUST(sendmsg(through, &message, 0));
}

static int passed(int through) {
    char control[64] __attribute__((aligned(8))), data[8];
    struct iovec part = {data, sizeof data};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control,
                             .msg_controllen = sizeof control};
    int fd = -1;
    CALL(recvmsg(through, &message, MSG_CMSG_CLOEXEC), "take");
    printf("  control %zu flags %x\n", (size_t)message.msg_controllen, message.msg_flags);
    if (CMSG_FIRSTHDR(&message))
        memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
    return fd;
}

NAMES(PASSED, "stream, to itself", "datagram, to itself", "stream, to a child",
      "datagram, to a child");
CASES("descriptors/passed over a unix socket", PASSED) {
    int kind = variant % 2, pair[2], fd = made(kind);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    fflush(stdout);
    pid_t pid = variant / 2 ? MUST(fork()) : 0;
    if (pid) {
        pass(pair[0], fd);
        fflush(stdout);
        end_of(pid);
    } else {
        if (!(variant / 2))
            pass(pair[0], fd);
        /* The number that it had in the other place is free here. */
        close(fd);
        int taken = passed(pair[1]);
        show_all_names(taken, kind);
        if (variant / 2) {
            fflush(stdout);
            _exit(10);
        }
        fd = taken;
    }
    show_all_names(fd, kind);
    close(fd);
    close(pair[0]);
    close(pair[1]);
}

CASE("descriptors/opened past the library") {
    int fd = syscall(SYS_socket, AF_INET6, SOCK_STREAM, 0);
    CALL(connect_to(fd, ECHO), "connect");
    show_stream(fd);
    close(fd);
    fd = syscall(SYS_socket, AF_INET6, SOCK_DGRAM, 0);
    ask(fd, "question");
    receive_by(0, fd, 64, 0);
    CALL(connect_to(fd, UDP_ECHO), "connect");
    show_all_names(fd, 1);
    close(fd);
}

CASE("descriptors/high numbers") {
    struct rlimit limit = {5000, 5000};
    CALL(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
    for (int kind = 0; kind < 2; kind++) {
        int fd = made(kind);
        CALL(dup2(fd, 4000 + kind), "dup2");
        CALL(dup2(fd, 5000), "dup2 beyond");
        close(fd);
        show_all_names(4000 + kind, kind);
        close(4000 + kind);
    }
}

CASE("descriptors/none left") {
    struct rlimit before, few;
    MUST(getrlimit(RLIMIT_NOFILE, &before));
    int fd = stream(0);
    few = before;
    few.rlim_cur = fd + 1;
    MUST(setrlimit(RLIMIT_NOFILE, &few));
    CALL(socket(AF_INET6, SOCK_STREAM, 0), "socket");
    CALL(dup(fd), "dup");
    CALL(connect_to(fd, ECHO), "connect");
    show_stream(fd);
    MUST(setrlimit(RLIMIT_NOFILE, &before));
    close(fd);
}
