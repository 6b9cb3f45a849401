/* One exchange by each of the ways to make the same calls: their names, the other names
   that the C library has for them, and syscall(2). Port 80 is served, 7000 answers each
   datagram with the same octets. */
#include "transcript.h"
#include <sys/uio.h>

#ifndef SO_PEERNAME
#define SO_PEERNAME 28
#endif

/* Of glibc's, and in no header. */
int __connect(int, const struct sockaddr *, socklen_t);
ssize_t __send(int, const void *, size_t, int);
ssize_t __write(int, const void *, size_t);
ssize_t __read(int, void *, size_t);
int __close(int);
int __dup2(int, int);
int __fcntl(int, int, ...);

struct way {
    const char *name;
    int (*socket)(int, int, int);
    int (*connect)(int, const struct sockaddr *, socklen_t);
    int (*getpeername)(int, struct sockaddr *, socklen_t *);
    int (*getsockopt)(int, int, int, void *, socklen_t *);
    ssize_t (*send)(int, const void *, size_t, int);
    ssize_t (*write)(int, const void *, size_t);
    ssize_t (*writev)(int, const struct iovec *, int);
    ssize_t (*sendto)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    ssize_t (*sendmsg)(int, const struct msghdr *, int);
    int (*sendmmsg)(int, struct mmsghdr *, unsigned, int);
    ssize_t (*recv)(int, void *, size_t, int);
    ssize_t (*read)(int, void *, size_t);
    ssize_t (*readv)(int, const struct iovec *, int);
    ssize_t (*recvfrom)(int, void *, size_t, int, struct sockaddr *, socklen_t *);
    ssize_t (*recvmsg)(int, struct msghdr *, int);
    int (*recvmmsg)(int, struct mmsghdr *, unsigned, int, struct timespec *);
    int (*dup)(int);
    int (*dup2)(int, int);
    int (*fcntl)(int, int, ...);
    int (*nonblocking)(int, int *);
    int (*close)(int);
};

static int named_socket(int d, int k, int p) { return socket(d, k, p); }
static int named_connect(int f, const struct sockaddr *n, socklen_t l) { return connect(f, n, l); }
static int named_peer(int f, struct sockaddr *n, socklen_t *l) { return getpeername(f, n, l); }
static ssize_t named_sendto(int f, const void *b, size_t c, int g, const struct sockaddr *n,
                            socklen_t l) {
    return sendto(f, b, c, g, n, l);
}
static ssize_t named_recvfrom(int f, void *b, size_t c, int g, struct sockaddr *n, socklen_t *l) {
    return recvfrom(f, b, c, g, n, l);
}
static int named_nonblocking(int f, int *on) { return ioctl(f, FIONBIO, on); }

static int raw_socket(int d, int k, int p) { return syscall(SYS_socket, d, k, p); }
static int raw_connect(int f, const struct sockaddr *n, socklen_t l) {
    return syscall(SYS_connect, f, n, l);
}
static int raw_peer(int f, struct sockaddr *n, socklen_t *l) {
    return syscall(SYS_getpeername, f, n, l);
}
static int raw_getsockopt(int f, int v, int o, void *b, socklen_t *l) {
    return syscall(SYS_getsockopt, f, v, o, b, l);
}
static ssize_t raw_sendto(int f, const void *b, size_t c, int g, const struct sockaddr *n,
                          socklen_t l) {
    return syscall(SYS_sendto, f, b, c, g, n, l);
}
static ssize_t raw_send(int f, const void *b, size_t c, int g) {
    return syscall(SYS_sendto, f, b, c, g, NULL, 0L);
}
static ssize_t raw_write(int f, const void *b, size_t c) { return syscall(SYS_write, f, b, c); }
static ssize_t raw_writev(int f, const struct iovec *p, int c) {
    return syscall(SYS_writev, f, p, c);
}
static ssize_t raw_sendmsg(int f, const struct msghdr *m, int g) {
    return syscall(SYS_sendmsg, f, m, g);
}
static int raw_sendmmsg(int f, struct mmsghdr *m, unsigned c, int g) {
    return syscall(SYS_sendmmsg, f, m, c, g);
}
static ssize_t raw_recvfrom(int f, void *b, size_t c, int g, struct sockaddr *n, socklen_t *l) {
    return syscall(SYS_recvfrom, f, b, c, g, n, l);
}
static ssize_t raw_recv(int f, void *b, size_t c, int g) {
    return syscall(SYS_recvfrom, f, b, c, g, NULL, NULL);
}
static ssize_t raw_read(int f, void *b, size_t c) { return syscall(SYS_read, f, b, c); }
static ssize_t raw_readv(int f, const struct iovec *p, int c) { return syscall(SYS_readv, f, p, c); }
static ssize_t raw_recvmsg(int f, struct msghdr *m, int g) { return syscall(SYS_recvmsg, f, m, g); }
static int raw_recvmmsg(int f, struct mmsghdr *m, unsigned c, int g, struct timespec *t) {
    return syscall(SYS_recvmmsg, f, m, c, g, t);
}
static int raw_dup(int f) { return syscall(SYS_dup, f); }
static int raw_dup2(int f, int to) { return syscall(SYS_dup3, f, to, 0); }
static int raw_fcntl(int f, int command, ...) {
    return syscall(SYS_fcntl, f, command, command == F_DUPFD_CLOEXEC ? 40 : 0);
}
static int raw_nonblocking(int f, int *on) { return syscall(SYS_ioctl, f, FIONBIO, on); }
static int raw_close(int f) { return syscall(SYS_close, f); }

static const struct way WAYS[] = {
    {"by name", named_socket, named_connect, named_peer, getsockopt, send, write, writev,
     named_sendto, sendmsg, sendmmsg, recv, read, readv, named_recvfrom, recvmsg, recvmmsg, dup,
     dup2, fcntl, named_nonblocking, close},
    {"by another name", named_socket, __connect, named_peer, getsockopt, __send, __write, writev,
     named_sendto, sendmsg, sendmmsg, recv, __read, readv, named_recvfrom, recvmsg, recvmmsg, dup,
     __dup2, __fcntl, named_nonblocking, __close},
    {"by syscall", raw_socket, raw_connect, raw_peer, raw_getsockopt, raw_send, raw_write,
     raw_writev, raw_sendto, raw_sendmsg, raw_sendmmsg, raw_recv, raw_read, raw_readv,
     raw_recvfrom, raw_recvmsg, raw_recvmmsg, raw_dup, raw_dup2, raw_fcntl, raw_nonblocking,
     raw_close},
};

static struct sockaddr_in6 echo;

static void peer_of(const struct way *way, const char *label, int fd) {
    struct sockaddr_in6 name = {0};
    socklen_t len = sizeof name;
    char text[INET6_ADDRSTRLEN] = "";
    CALL(way->getpeername(fd, SA(&name), &len), "%s: %s: peer", way->name, label);
    inet_ntop(AF_INET6, &name.sin6_addr, text, sizeof text);
    printf("  %s port %d length %u\n", text, ntohs(name.sin6_port), len);
}

/* The peer as an option, of which there may be less room than it has. */
static void peer_as_option(const struct way *way, int fd) {
    for (socklen_t room = 0; room <= 32; room += 4) {
        unsigned char name[32];
        socklen_t len = room;
        memset(name, 0xa5, sizeof name);
        CALL(way->getsockopt(fd, SOL_SOCKET, SO_PEERNAME, name, &len), "%s: SO_PEERNAME, room %u",
             way->name, room);
        printf("  length %u:", len);
        for (unsigned at = 0; at < sizeof name; at++)
            printf(" %02x", name[at]);
        printf("\n");
    }
}

static void from_whom(const struct sockaddr_in6 *name, socklen_t len) {
    char text[INET6_ADDRSTRLEN] = "";
    inet_ntop(AF_INET6, &name->sin6_addr, text, sizeof text);
    printf("  from %s port %d length %u\n", text, ntohs(name->sin6_port), len);
}

static void stream(const struct way *way) {
    static const char ASK[] = "GET /who HTTP/1.0\r\n\r\n";
    char data[4096];
    int fd = MUST(way->socket(AF_INET6, SOCK_STREAM, 0)), error = -1, on = 1;
    socklen_t len = sizeof error;
    CALL(way->connect(fd, SA(&served), sizeof served), "%s: connect", way->name);
    CALL(way->connect(fd, SA(&served), sizeof served), "%s: connected already", way->name);
    peer_of(way, "stream", fd);
    peer_as_option(way, fd);
    CALL(way->getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), "%s: error", way->name);
    printf("  %d length %u\n", error, len);
    int copy = MUST(way->dup(fd)), other = MUST(way->fcntl(fd, F_DUPFD_CLOEXEC, 40));
    MUST(way->dup2(fd, 50));
    peer_of(way, "dup", copy);
    peer_of(way, "F_DUPFD_CLOEXEC", other);
    peer_of(way, "dup2", 50);
    CALL(way->write(fd, ASK, sizeof ASK - 1), "%s: write", way->name);
    size_t got = 0;
    ssize_t count;
    while ((count = way->read(copy, data + got, sizeof data - 1 - got)) > 0)
        got += count;
    data[got] = 0;
    char *body = strstr(data, "\r\n\r\n");
    printf("  body %s\n", body ? body + 4 : "none");
    MUST(way->nonblocking(fd, &on));
    MUST(way->close(copy));
    MUST(way->close(other));
    MUST(way->close(50));
    CALL(way->close(fd), "%s: close", way->name);
    CALL(way->close(fd), "%s: closed", way->name);

    fd = MUST(way->socket(AF_INET6, SOCK_STREAM, 0));
    CALL(way->connect(fd, SA(&refused), sizeof refused), "%s: refused", way->name);
    MUST(way->close(fd));
    fd = MUST(way->socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
    CALL(way->connect(fd, SA(&refused), sizeof refused), "%s: refused later", way->name);
    struct pollfd entry = {fd, POLLOUT, 0};
    MUST(poll(&entry, 1, 20000));
    len = sizeof error;
    CALL(way->getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), "%s: error", way->name);
    printf("  %s\n", strerrorname_np(error));
    MUST(way->close(fd));
}

static void datagrams(const struct way *way) {
    char data[64];
    struct sockaddr_in6 name = {0};
    socklen_t len = sizeof name;
    int fd = MUST(way->socket(AF_INET6, SOCK_DGRAM, 0));
    struct timeval limit = {20, 0};
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    CALL(way->sendto(fd, "1", 1, 0, SA(&echo), sizeof echo), "%s: sendto", way->name);
    CALL(way->recvfrom(fd, data, sizeof data, 0, SA(&name), &len), "%s: recvfrom", way->name);
    from_whom(&name, len);

    struct iovec part = {"22", 2}, room = {data, sizeof data};
    struct msghdr message = {&echo, sizeof echo, &part, 1, NULL, 0, 0};
    CALL(way->sendmsg(fd, &message, 0), "%s: sendmsg", way->name);
    struct msghdr answer = {&name, sizeof name, &room, 1, NULL, 0, 0};
    memset(&name, 0, sizeof name);
    CALL(way->recvmsg(fd, &answer, 0), "%s: recvmsg", way->name);
    from_whom(&name, answer.msg_namelen);

    struct mmsghdr many = {message, 99}, answers = {answer, 99};
    CALL(way->sendmmsg(fd, &many, 1, 0), "%s: sendmmsg", way->name);
    memset(&name, 0, sizeof name);
    answers.msg_hdr.msg_namelen = sizeof name;
    CALL(way->recvmmsg(fd, &answers, 1, 0, NULL), "%s: recvmmsg", way->name);
    from_whom(&name, answers.msg_hdr.msg_namelen);
    printf("  sent %u received %u\n", many.msg_len, answers.msg_len);

    CALL(way->connect(fd, SA(&echo), sizeof echo), "%s: connect", way->name);
    peer_of(way, "datagrams", fd);
    peer_as_option(way, fd);
    CALL(way->send(fd, "333", 3, 0), "%s: send", way->name);
    CALL(way->recv(fd, data, sizeof data, 0), "%s: recv", way->name);
    CALL(way->write(fd, "4444", 4), "%s: write", way->name);
    CALL(way->read(fd, data, sizeof data), "%s: read", way->name);
    CALL(way->writev(fd, &part, 1), "%s: writev", way->name);
    CALL(way->readv(fd, &room, 1), "%s: readv", way->name);
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    CALL(way->connect(fd, &nobody, sizeof nobody), "%s: disconnect", way->name);
    CALL(way->send(fd, "5", 1, 0), "%s: not connected", way->name);
    MUST(way->close(fd));
}

int main(int count, char **words) {
    begin(count, words);
    echo = address(words[1], 7000);
    for (unsigned at = 0; at < sizeof WAYS / sizeof *WAYS; at++) {
        stream(&WAYS[at]);
        datagrams(&WAYS[at]);
    }
    return 0;
}
