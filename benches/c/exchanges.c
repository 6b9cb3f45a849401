/* The rows of sending and receiving through the system, up to whole exchanges. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <unistd.h>

#include "calls.h"

static char data[64];
static struct iovec part = { data, sizeof data };
static struct sockaddr_storage from;
static socklen_t room = sizeof from;
static struct msghdr to_inet = { .msg_name = &inet, .msg_namelen = sizeof inet,
    .msg_iov = &part, .msg_iovlen = 1 };
static struct msghdr incoming = { .msg_name = &from, .msg_namelen = sizeof from,
    .msg_iov = &part, .msg_iovlen = 1 };

#define FROM (struct sockaddr *)&from, &room

BAD_FD(sys_sendto_inet, sendto(-1, data, 1, 0, ADDRESS(inet)))
BAD_FD(sys_sendto_unix, sendto(-1, data, 1, 0, ADDRESS(local)))
BAD_FD(sys_sendto_elsewhere, sendto(-1, data, 1, 0, ADDRESS(elsewhere)))
BAD_FD(sys_sendmsg, sendmsg(-1, &to_inet, 0))
BAD_FD(sys_send, send(-1, data, 1, 0))
BAD_FD(sys_write, write(-1, data, 1))
BAD_FD(sys_recvfrom, recvfrom(-1, data, 1, 0, FROM))
BAD_FD(sys_recvmsg, recvmsg(-1, &incoming, 0))
BAD_FD(sys_recv, recv(-1, data, 1, 0))
BAD_FD(sys_read, read(-1, data, 1))

/* --- descriptors that are none of our business ---------------------------- */

static long file(long count, const char *path, int flags, int writes)
{
    int fd = open(path, flags);
    if (fd < 0)
        return failed("%s: %s", path, strerror(errno));
    long took = writes ? TIMED(count, if (write(fd, data, 1) != 1) count = -1)
                       : TIMED(count, if (read(fd, data, 1) != 1) count = -1);
    close(fd);
    return count < 0 ? failed("%s: %s", path, strerror(errno)) : took;
}

static long sys_write_null(long count)
{
    return file(count, "/dev/null", O_WRONLY, 1);
}

static long sys_read_zero(long count)
{
    return file(count, "/dev/zero", O_RDONLY, 0);
}

/* One octet there and back again, by two ends that this process has both of. */
#define TO_AND_FRO(count, send_call, receive_call) \
    ({ \
        long wrong = 0; \
        long took = TIMED(count, wrong |= (send_call) != 1 || (receive_call) != 1); \
        wrong ? failed("%s, %s: %s", #send_call, #receive_call, strerror(errno)) : took; \
    })

static long sys_pipe(long count)
{
    int ends[2];
    if (pipe(ends))
        return failed("pipe: %s", strerror(errno));
    long took = TO_AND_FRO(count, write(ends[1], data, 1), read(ends[0], data, 1));
    close(ends[0]);
    close(ends[1]);
    return took;
}

static long sys_unix(long count)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends))
        return failed("socketpair: %s", strerror(errno));
    struct msghdr outgoing = { .msg_iov = &part, .msg_iovlen = 1 };
    part.iov_len = 1;
    long took = TO_AND_FRO(count, sendmsg(ends[1], &outgoing, 0), recvmsg(ends[0], &incoming, 0));
    part.iov_len = sizeof data;
    close(ends[0]);
    close(ends[1]);
    return took;
}

static long stream(long count, int writes)
{
    struct sockaddr_in6 address = { .sin6_family = AF_INET6, .sin6_addr = in6addr_loopback };
    socklen_t len = sizeof address;
    int listener = socket(AF_INET6, SOCK_STREAM, 0), fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (bind(listener, ADDRESS(address)) || listen(listener, 1)
        || getsockname(listener, (struct sockaddr *)&address, &len)
        || connect(fd, ADDRESS(address)))
        return failed("a connection: %s", strerror(errno));
    int other = accept(listener, NULL, NULL);
    long took = writes ? TO_AND_FRO(count, write(fd, data, 1), read(other, data, 1))
                       : TO_AND_FRO(count, send(fd, data, 1, 0), recv(other, data, 1, 0));
    /* Closed by a reset, it leaves nothing behind. */
    struct linger linger = { 1, 0 };
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
    close(other);
    close(listener);
    return took;
}

static long sys_stream_write(long count)
{
    return stream(count, 1);
}

static long sys_stream_send(long count)
{
    return stream(count, 0);
}

/* --- datagrams ------------------------------------------------------------- */

/* A UDP socket; waits two seconds for what does not come. */
static int datagrams(int domain)
{
    struct timeval limit = { 2, 0 };
    int fd = socket(domain, SOCK_DGRAM, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* How an exchange is made. */
enum means { ADDRESSED, MESSAGES, CONNECTED };

static inline int exchanged(int fd, enum means means, const struct sockaddr_in6 *to)
{
    struct msghdr outgoing = { .msg_name = (void *)to, .msg_namelen = sizeof *to,
        .msg_iov = &part, .msg_iovlen = 1 };
    room = incoming.msg_namelen = sizeof from;
    switch (means) {
    case ADDRESSED:
        return sendto(fd, data, sizeof data, 0, (const struct sockaddr *)to, sizeof *to)
            == sizeof data && recvfrom(fd, data, sizeof data, 0, FROM) == sizeof data;
    case MESSAGES:
        return sendmsg(fd, &outgoing, 0) == sizeof data
            && recvmsg(fd, &incoming, 0) == sizeof data;
    case CONNECTED:
        return send(fd, data, sizeof data, 0) == sizeof data
            && recv(fd, data, sizeof data, 0) == sizeof data;
    }
    return 0;
}

/* Exchanges on one socket; what comes in is shown as from where the program has sent to. */
static long exchanges_on(int fd, long count, enum means means, const struct sockaddr_in6 *to)
{
    if (means == CONNECTED && connect(fd, (const struct sockaddr *)to, sizeof *to))
        return failed("connect: %s", strerror(errno));
    long wrong = 0;
    long took = TIMED(count, wrong |= !exchanged(fd, means, to));
    if (wrong)
        return failed("an exchange: %s", strerror(errno));
    if (means != CONNECTED
        && memcmp(&((struct sockaddr_in6 *)&from)->sin6_addr, &to->sin6_addr, 16))
        return failed("an answer is not shown as from where it was asked");
    return took;
}

/* The socket is its own far end, so that nothing is timed but calls of this process. */
static long with_itself(long count, enum means means, const struct sockaddr_in6 *there)
{
    struct sockaddr_in6 any = { .sin6_family = AF_INET6 }, to = *there;
    socklen_t len = sizeof any;
    int fd = datagrams(AF_INET6);
    if (fd < 0 || bind(fd, ADDRESS(any)) || getsockname(fd, (struct sockaddr *)&any, &len))
        return failed("a socket: %s", strerror(errno));
    to.sin6_port = any.sin6_port;
    long took = exchanges_on(fd, count, means, &to);
    close(fd);
    return took;
}

static long sys_itself_inet(long count)
{
    struct sockaddr_in to = inet;
    socklen_t len = sizeof to;
    int fd = datagrams(AF_INET);
    if (fd < 0 || bind(fd, ADDRESS(to)) || getsockname(fd, (struct sockaddr *)&to, &len))
        return failed("a socket: %s", strerror(errno));
    room = sizeof from;
    long took = TO_AND_FRO(count, sendto(fd, data, 1, 0, ADDRESS(to)),
        recvfrom(fd, data, 1, 0, FROM));
    close(fd);
    return took;
}

/* U is outside `prefixes`. */
#define WITH_ITSELF(name, means, to) \
    static long name(long count) \
    { \
        return with_itself(count, means, to); \
    }

WITH_ITSELF(sys_itself_unpinned, ADDRESSED, &unicast)
WITH_ITSELF(sys_itself_addressed, ADDRESSED, destination())
WITH_ITSELF(sys_itself_messages, MESSAGES, destination())
WITH_ITSELF(sys_itself_connected, CONNECTED, destination())

/* A server in another process answers, from U. */
static int address_of_server(struct sockaddr_in6 *to)
{
    const char *port = getenv("BENCH_PORT");
    if (!port)
        return failed("there is no server");
    *to = *destination();
    to->sin6_port = htons(strtol(port, NULL, 10));
    return 0;
}

static long with_server(long count, enum means means)
{
    struct sockaddr_in6 to;
    int fd = datagrams(AF_INET6);
    if (fd < 0)
        return failed("a socket: %s", strerror(errno));
    if (address_of_server(&to))
        return -1;
    long took = exchanges_on(fd, count, means, &to);
    close(fd);
    return took;
}

#define WITH_SERVER(name, means) \
    static long name(long count) \
    { \
        return with_server(count, means); \
    }

WITH_SERVER(sys_server_addressed, ADDRESSED)
WITH_SERVER(sys_server_messages, MESSAGES)
WITH_SERVER(sys_server_connected, CONNECTED)

/* As programs do that open a socket for each question. */
static long sys_server_question(long count)
{
    struct sockaddr_in6 to;
    if (address_of_server(&to))
        return -1;
    long start = now();
    for (long round = 0; round < count; round++) {
        int fd = datagrams(AF_INET6);
        if (fd < 0 || exchanges_on(fd, 1, ADDRESSED, &to) < 0)
            return -1;
        close(fd);
    }
    return now() - start;
}

int respond(void)
{
    struct sockaddr_in6 own = unicast;
    socklen_t len = sizeof own;
    /* It must not outlive the driver. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL))
        return 71;
    int fd = socket(AF_INET6, SOCK_DGRAM, 0);
    if (fd < 0 || bind(fd, ADDRESS(own)) || getsockname(fd, (struct sockaddr *)&own, &len)) {
        perror("calls: a socket of the server");
        return 71;
    }
    printf("%d\n", ntohs(own.sin6_port));
    fflush(stdout);
    for (;;) {
        room = sizeof from;
        ssize_t received = recvfrom(fd, data, sizeof data, 0, FROM);
        if (received < 0 || sendto(fd, data, received, 0, (struct sockaddr *)&from, room) < 0) {
            perror("calls: the server");
            return 71;
        }
    }
}

const struct row exchange_rows[] = {
    ROW(sys_sendto_inet), ROW(sys_sendto_unix), ROW(sys_sendto_elsewhere), ROW(sys_sendmsg),
    ROW(sys_send), ROW(sys_write), ROW(sys_recvfrom), ROW(sys_recvmsg), ROW(sys_recv),
    ROW(sys_read), ROW(sys_write_null), ROW(sys_read_zero), ROW(sys_pipe), ROW(sys_unix),
    ROW(sys_stream_write), ROW(sys_stream_send), ROW(sys_itself_inet),
    ROW(sys_itself_unpinned), ROW(sys_itself_addressed), ROW(sys_itself_messages),
    ROW(sys_itself_connected), ROW(sys_server_addressed), ROW(sys_server_messages),
    ROW(sys_server_connected), ROW(sys_server_question), { NULL, NULL },
};
