/* The many names by which a program can make the same call. */

/* Not in any header, and called by programs all the same. */
int __connect(int, const struct sockaddr *, socklen_t);
ssize_t __send(int, const void *, size_t, int);
int __close(int);
int __fcntl(int, int, ...);
ssize_t __read(int, void *, size_t);
ssize_t __write(int, const void *, size_t);
int __dup2(int, int);
ssize_t __recv_chk(int, void *, size_t, size_t, int);
ssize_t __recvfrom_chk(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *);
ssize_t __read_chk(int, void *, size_t, size_t);

NAMES(CONNECT, "connect", "__connect", "syscall connect");

static int connect_by(int way, int fd, const void *name, socklen_t len) {
    switch (way) {
    case 0: return connect(fd, name, len);
    case 1: return __connect(fd, name, len);
    default: return syscall(SYS_connect, fd, name, len);
    }
}

/* Those that take flags and a destination first, then those that take flags. */
#define SENDING_TO "sendto", "sendmsg", "sendmmsg", "syscall sendto", "syscall sendmsg", \
                   "syscall sendmmsg"
#define SENDING_FLAGS "send", "__send"
NAMES(SEND_TO, SENDING_TO);
NAMES(SEND_FLAGS, SENDING_TO, SENDING_FLAGS);
NAMES(SEND, SENDING_TO, SENDING_FLAGS, "write", "writev", "__write", "syscall write",
      "syscall writev");

static ssize_t send_to_by(int way, int fd, const void *data, size_t size, int flags,
                          const void *name, socklen_t len) {
    struct iovec part = {(void *)data, size};
    struct mmsghdr message = {
        .msg_hdr = {.msg_name = (void *)name, .msg_namelen = len, .msg_iov = &part, .msg_iovlen = 1}};
    int sent;
    switch (way) {
    case 0: return sendto(fd, data, size, flags, name, len);
    case 1: return sendmsg(fd, &message.msg_hdr, flags);
    case 2: sent = sendmmsg(fd, &message, 1, flags); break;
    case 3: return syscall(SYS_sendto, fd, data, size, flags, name, len);
    case 4: return syscall(SYS_sendmsg, fd, &message.msg_hdr, flags);
    case 5: sent = syscall(SYS_sendmmsg, fd, &message, 1, flags); break;
    case 6: return send(fd, data, size, flags);
    case 7: return __send(fd, data, size, flags);
    case 8: return write(fd, data, size);
    case 9: return writev(fd, &part, 1);
    case 10: return __write(fd, data, size);
    case 11: return syscall(SYS_write, fd, data, size);
    default: return syscall(SYS_writev, fd, &part, 1);
    }
    return sent < 0 ? sent : (ssize_t)message.msg_len;
}

static ssize_t send_by(int way, int fd, const void *data, size_t size, int flags) {
    return send_to_by(way, fd, data, size, flags, NULL, 0);
}

/* Those that tell a name first, then those that take flags. */
#define RECEIVING_NAMES "recvfrom", "recvmsg", "recvmmsg", "__recvfrom_chk", \
                        "syscall recvfrom", "syscall recvmsg", "syscall recvmmsg"
#define RECEIVING_FLAGS "recv", "recvfrom nobody", "__recv_chk"
NAMES(RECEIVE_NAMES, RECEIVING_NAMES);
NAMES(RECEIVE_FLAGS, RECEIVING_NAMES, RECEIVING_FLAGS);
NAMES(RECEIVE, RECEIVING_NAMES, RECEIVING_FLAGS, "read", "readv", "__read", "__read_chk",
      "syscall read", "syscall readv");

/* Receives, and shows all that was written. */
static ssize_t receive_into(int way, int fd, void *data, size_t size, int flags, void *name,
                            socklen_t room) {
    socklen_t len = room;
    struct iovec part = {data, size};
    struct mmsghdr message = {.msg_hdr = {.msg_name = name, .msg_namelen = room, .msg_iov = &part,
                                          .msg_iovlen = 1, .msg_flags = -1},
                              .msg_len = -1};
    struct msghdr *header = &message.msg_hdr;
    ssize_t count = -1;
    const char *how = RECEIVE[way];
    switch (way) {
    case 0: CALL(count = recvfrom(fd, data, size, flags, name, &len), "%s", how); break;
    case 1: CALL(count = recvmsg(fd, header, flags), "%s", how); break;
    case 2: CALL(count = recvmmsg(fd, &message, 1, flags, NULL), "%s", how); break;
    case 3: CALL(count = __recvfrom_chk(fd, data, size, size, flags, name, &len), "%s", how); break;
    case 4: CALL(count = syscall(SYS_recvfrom, fd, data, size, flags, name, &len), "%s", how); break;
    case 5: CALL(count = syscall(SYS_recvmsg, fd, header, flags), "%s", how); break;
    case 6: CALL(count = syscall(SYS_recvmmsg, fd, &message, 1, flags, NULL), "%s", how); break;
    case 7: CALL(count = recv(fd, data, size, flags), "%s", how); break;
    case 8: CALL(count = recvfrom(fd, data, size, flags, NULL, NULL), "%s", how); break;
    case 9: CALL(count = __recv_chk(fd, data, size, size, flags), "%s", how); break;
    case 10: CALL(count = read(fd, data, size), "%s", how); break;
    case 11: CALL(count = readv(fd, &part, 1), "%s", how); break;
    case 12: CALL(count = __read(fd, data, size), "%s", how); break;
    case 13: CALL(count = __read_chk(fd, data, size, size), "%s", how); break;
    case 14: CALL(count = syscall(SYS_read, fd, data, size), "%s", how); break;
    default: CALL(count = syscall(SYS_readv, fd, &part, 1), "%s", how); break;
    }
    if (way == 2 || way == 6) {
        printf("  message length %d\n", (int)message.msg_len);
        if (count == 1)
            count = message.msg_len;
    }
    if (way == 0 || way == 3 || way == 4)
        printf("  name length %u\n", len);
    else if (way < 7)
        printf("  name length %u flags %x control %zu parts %zu same %d\n", header->msg_namelen,
               header->msg_flags, header->msg_controllen, header->msg_iovlen,
               header->msg_name == name);
    return count;
}

static ssize_t receive_by(int way, int fd, size_t size, int flags) {
    char data[256], name[160];
    memset(data, 0xa5, sizeof data);
    memset(name, 0xa5, sizeof name);
    if (size > sizeof data)
        exit(64);
    ssize_t count = receive_into(way, fd, data, size, flags, name, 128);
    if (count >= 0)
        text("data", data, (size_t)count < size ? count : (ssize_t)size);
    if (way < 7)
        show_octets("name", name, sizeof name);
    return count;
}

/* How a number becomes free. */
NAMES(CLOSE, "close", "__close", "syscall close", "close_range", "syscall close_range",
      "closefrom", "fclose", "dup2 over it", "__dup2 over it", "dup3 over it",
      "syscall dup2 over it", "syscall dup3 over it");

/* The number may stand for /dev/null afterwards: `leave` closes that too. */
static void close_by(int way, int fd) {
    int null = way > 6 ? MUST(open("/dev/null", O_RDWR)) : -1;
    errno = UNTOUCHED;
    switch (way) {
    case 0: CALL(close(fd), "%s", CLOSE[way]); break;
    case 1: CALL(__close(fd), "%s", CLOSE[way]); break;
    case 2: CALL(syscall(SYS_close, fd), "%s", CLOSE[way]); break;
    case 3: CALL(close_range(fd, fd, 0), "%s", CLOSE[way]); break;
    case 4: CALL(syscall(SYS_close_range, fd, fd, 0), "%s", CLOSE[way]); break;
    case 5: closefrom(fd); break;
    case 6: CALL(fclose(fdopen(fd, "r+")), "%s", CLOSE[way]); break;
    case 7: CALL(dup2(null, fd), "%s", CLOSE[way]); break;
    case 8: CALL(__dup2(null, fd), "%s", CLOSE[way]); break;
    case 9: CALL(dup3(null, fd, O_CLOEXEC), "%s", CLOSE[way]); break;
    case 10: CALL(syscall(SYS_dup2, null, fd), "%s", CLOSE[way]); break;
    default: CALL(syscall(SYS_dup3, null, fd, 0), "%s", CLOSE[way]); break;
    }
    if (null >= 0)
        close(null);
}

/* How a descriptor gets a copy. */
NAMES(COPY, "dup", "dup2", "__dup2", "dup3", "F_DUPFD", "F_DUPFD_CLOEXEC", "fcntl64 F_DUPFD",
      "__fcntl F_DUPFD", "syscall dup", "syscall dup2", "syscall dup3", "syscall F_DUPFD");

static int copy_by(int way, int fd) {
    switch (way) {
    case 0: return dup(fd);
    case 1: return dup2(fd, 300);
    case 2: return __dup2(fd, 300);
    case 3: return dup3(fd, 300, O_CLOEXEC);
    case 4: return fcntl(fd, F_DUPFD, 300);
    case 5: return fcntl(fd, F_DUPFD_CLOEXEC, 300);
    case 6: return fcntl64(fd, F_DUPFD, 300);
    case 7: return __fcntl(fd, F_DUPFD, 300);
    case 8: return syscall(SYS_dup, fd);
    case 9: return syscall(SYS_dup2, fd, 300);
    case 10: return syscall(SYS_dup3, fd, 300, O_CLOEXEC);
    default: return syscall(SYS_fcntl, fd, F_DUPFD, 300);
    }
}

/* How a descriptor becomes non-blocking. */
NAMES(UNBLOCK, "SOCK_NONBLOCK", "F_SETFL", "fcntl64 F_SETFL", "__fcntl F_SETFL", "FIONBIO",
      "syscall F_SETFL", "syscall FIONBIO", "on a copy", "opened by syscall");

static int nonblocking_by(int way) {
    int one = 1, copy;
    int fd = way == 8 ? MUST(syscall(SYS_socket, AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0))
                      : stream(way == 0 ? SOCK_NONBLOCK : 0);
    switch (way) {
    case 1: CALL(fcntl(fd, F_SETFL, O_NONBLOCK), "set"); break;
    case 2: CALL(fcntl64(fd, F_SETFL, O_NONBLOCK), "set"); break;
    case 3: CALL(__fcntl(fd, F_SETFL, O_NONBLOCK), "set"); break;
    case 4: CALL(ioctl(fd, FIONBIO, &one), "set"); break;
    case 5: CALL(syscall(SYS_fcntl, fd, F_SETFL, O_NONBLOCK), "set"); break;
    case 6: CALL(syscall(SYS_ioctl, fd, FIONBIO, &one), "set"); break;
    case 7:
        copy = MUST(dup(fd));
        CALL(fcntl(copy, F_SETFL, O_NONBLOCK), "set");
        close(copy);
        break;
    }
    return fd;
}
