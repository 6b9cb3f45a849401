/*
 * Stands behind a preload library, in front of the C library, and answers at once
 * when told to: what is left is what the hook itself costs.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "stub.h"

extern int close(int fd);
extern ssize_t read(int fd, void *data, size_t count);
extern ssize_t write(int fd, const void *data, size_t count);
extern int fcntl(int fd, int command, long argument);
extern int dup(int fd);
extern int dup2(int fd, int to);
extern int ioctl(int fd, unsigned long request, void *argument);
extern long syscall(long number, long a, long b, long c, long d, long e, long f);

struct stub aarp_bench_stub;
#define stub aarp_bench_stub

#define REAL(name, ...) \
    ({ \
        static __typeof__(&name) real; \
        if (!real) \
            real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); \
        real(__VA_ARGS__); \
    })

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
    if (stub.mode == PASS)
        return REAL(connect, fd, address, len);
    if (stub.mode == NOTE && len == sizeof stub.seen)
        memcpy(&stub.seen, address, len);
    if (stub.result < 0)
        errno = stub.error;
    return stub.result;
}

int socket(int domain, int type, int protocol)
{
    return stub.mode == PASS ? REAL(socket, domain, type, protocol) : stub.fd;
}

int close(int fd)
{
    return stub.mode == PASS ? REAL(close, fd) : 0;
}

int getpeername(int fd, struct sockaddr *address, socklen_t *len)
{
    return stub.mode == PASS ? REAL(getpeername, fd, address, len) : 0;
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    return stub.mode == PASS ? REAL(getsockopt, fd, level, name, value, len) : 0;
}

int fcntl(int fd, int command, long argument)
{
    return stub.mode == PASS ? REAL(fcntl, fd, command, argument) : 0;
}

int bind(int fd, const struct sockaddr *address, socklen_t len)
{
    return stub.mode == PASS ? REAL(bind, fd, address, len) : 0;
}

int setsockopt(int fd, int level, int name, const void *value, socklen_t len)
{
    return stub.mode == PASS ? REAL(setsockopt, fd, level, name, value, len) : 0;
}

int ioctl(int fd, unsigned long request, void *argument)
{
    return stub.mode == PASS ? REAL(ioctl, fd, request, argument) : 0;
}

int accept(int fd, struct sockaddr *address, socklen_t *len)
{
    return stub.mode == PASS ? REAL(accept, fd, address, len) : OTHER;
}

int dup(int fd)
{
    return stub.mode == PASS ? REAL(dup, fd) : OTHER;
}

int dup2(int fd, int to)
{
    return stub.mode == PASS ? REAL(dup2, fd, to) : to;
}

ssize_t readv(int fd, const struct iovec *parts, int count)
{
    return stub.mode == PASS ? REAL(readv, fd, parts, count) : 1;
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return stub.mode == PASS ? REAL(writev, fd, parts, count) : (ssize_t)parts->iov_len;
}

int sendmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags)
{
    return stub.mode == PASS ? REAL(sendmmsg, fd, messages, count, flags) : (int)count;
}

int recvmmsg(int fd, struct mmsghdr *messages, unsigned int count, int flags,
    struct timespec *timeout)
{
    return stub.mode == PASS ? REAL(recvmmsg, fd, messages, count, flags, timeout) : (int)count;
}

long syscall(long number, long a, long b, long c, long d, long e, long f)
{
    return stub.mode == PASS ? REAL(syscall, number, a, b, c, d, e, f) : 1;
}

/* What was sent: everything. */
static ssize_t sent(const void *to, socklen_t len, size_t count)
{
    if (stub.mode == NOTE && len == sizeof stub.seen)
        memcpy(&stub.seen, to, len);
    return count;
}

/*
 * From where it was received. There is room for all of it. In words, not as memcpy()
 * does, in two halves that overlap: who looked at it at once would wait for those to
 * leave the store buffer, which they have long left behind a system call.
 */
static socklen_t source(void *name)
{
    unsigned long *to = name;
    const unsigned long *from = (const unsigned long *)&stub.source;
    for (socklen_t at = 0; at < (stub.source_len + 7) / 8; at++)
        ((volatile unsigned long *)to)[at] = from[at];
    return stub.source_len;
}

ssize_t sendto(int fd, const void *data, size_t count, int flags, const struct sockaddr *to,
    socklen_t len)
{
    if (stub.mode == PASS)
        return REAL(sendto, fd, data, count, flags, to, len);
    return sent(to, len, count);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    if (stub.mode == PASS)
        return REAL(sendmsg, fd, message, flags);
    return sent(message->msg_name, message->msg_namelen, message->msg_iov->iov_len);
}

ssize_t send(int fd, const void *data, size_t count, int flags)
{
    return stub.mode == PASS ? REAL(send, fd, data, count, flags) : (ssize_t)count;
}

ssize_t write(int fd, const void *data, size_t count)
{
    return stub.mode == PASS ? REAL(write, fd, data, count) : (ssize_t)count;
}

ssize_t recvfrom(int fd, void *data, size_t count, int flags, struct sockaddr *from,
    socklen_t *len)
{
    if (stub.mode == PASS)
        return REAL(recvfrom, fd, data, count, flags, from, len);
    if (from)
        *len = source(from);
    return 1;
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    if (stub.mode == PASS)
        return REAL(recvmsg, fd, message, flags);
    if (message->msg_name)
        message->msg_namelen = source(message->msg_name);
    return 1;
}

ssize_t recv(int fd, void *data, size_t count, int flags)
{
    return stub.mode == PASS ? REAL(recv, fd, data, count, flags) : 1;
}

ssize_t read(int fd, void *data, size_t count)
{
    return stub.mode == PASS ? REAL(read, fd, data, count) : 1;
}
