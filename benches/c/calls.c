/*
 * The program that is measured: an ordinary one, which makes the calls that the
 * driver asks for and says how long they took.
 *
 *   asked on standard input:     ROW COUNT [ARGUMENT]
 *   said on standard output:     ok NANOSECONDS, or: failed REASON
 *
 * Run as `calls respond` it is the other side of an exchange of datagrams.
 *
 * It lives as long as the driver wants it to, so that the driver can go from one
 * preload library to the next and back, many times a second.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "calls.h"

struct stub *stub;
struct sockaddr_in6 anycast, unicast, direct, elsewhere, loopback;
struct sockaddr_in inet = { .sin_family = AF_INET };
struct sockaddr_un local = { .sun_family = AF_UNIX, .sun_path = "/nonexistent" };
const char *argument, *row_name;
static char reason[256];

long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000L + time.tv_nsec;
}

long failed(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    return -1;
}

/* --- around the system call --------------------------------------------- */

static struct sockaddr_in6 peer;
static socklen_t peer_len = sizeof peer;
static int option;
static socklen_t option_len = sizeof option;
static struct iovec part = { &option, sizeof option };
static struct mmsghdr several = { { .msg_iov = &part, .msg_iovlen = 1 }, 0 };

BAD_FD(sys_connect_unix, connect(-1, ADDRESS(local)))
BAD_FD(sys_connect_inet, connect(-1, ADDRESS(inet)))
BAD_FD(sys_connect_loopback, connect(-1, ADDRESS(loopback)))
BAD_FD(sys_connect_elsewhere, connect(-1, ADDRESS(elsewhere)))
BAD_FD(sys_connect_asked, connect(-1, ADDRESS(anycast)))
BAD_FD(sys_close, close(-1))
BAD_FD(sys_getpeername, getpeername(-1, (struct sockaddr *)&peer, &peer_len))
BAD_FD(sys_getsockopt, getsockopt(-1, SOL_SOCKET, SO_ERROR, &option, &option_len))
BAD_FD(sys_fcntl, fcntl(-1, F_GETFL, 0))

static long sys_socket_close(long count)
{
    if (close(socket(AF_INET6, SOCK_STREAM, 0)))
        return failed("socket and close: %s", strerror(errno));
    return TIMED(count, close(socket(AF_INET6, SOCK_STREAM, 0)));
}

/* --- whole connections, on the loopback interface ------------------------- */

static int listener = -1;
static struct sockaddr_in6 service;

static int listen_on_loopback(void)
{
    socklen_t len = sizeof service;
    struct sockaddr_in6 any = { .sin6_family = AF_INET6 };
    listener = socket(AF_INET6, SOCK_STREAM, 0);
    if (listener < 0 || bind(listener, ADDRESS(any)) || listen(listener, 16)
        || getsockname(listener, (struct sockaddr *)&service, &len))
        return failed("a listening socket: %s", strerror(errno));
    return 0;
}

/* Closed by a reset, a connection leaves nothing behind that fills the host. */
static void reset(int fd)
{
    struct linger linger = { 1, 0 };
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    close(fd);
}

/*
 * One connection to an address; its time does not include the end. Where the
 * program ends up is what the other side says: its own address.
 */
static long connection(const struct sockaddr_in6 *to, int flags, struct sockaddr_in6 *end)
{
    struct sockaddr_in6 address = *to;
    socklen_t len = sizeof *end;
    address.sin6_port = service.sin6_port;
    int fd = socket(AF_INET6, SOCK_STREAM | flags, 0);
    long start = now();
    int result = connect(fd, ADDRESS(address));
    long took = now() - start;
    if (result && errno != EINPROGRESS)
        return failed("connect: %s", strerror(errno));
    int other = accept(listener, NULL, NULL);
    if (other < 0 || getsockname(other, (struct sockaddr *)end, &len))
        return failed("accept: %s", strerror(errno));
    reset(fd);
    close(other);
    return took;
}

const struct sockaddr_in6 *destination(void)
{
    return strcmp(argument, "hooked") ? &unicast : &anycast;
}

static long connections(long count, int flags)
{
    struct sockaddr_in6 end;
    long total = 0;
    if (listener < 0 && listen_on_loopback())
        return -1;
    for (long round = 0; round < count; round++) {
        long took = connection(destination(), flags, &end);
        if (took < 0)
            return -1;
        if (memcmp(&end.sin6_addr, &unicast.sin6_addr, 16))
            return failed("the connection did not go to the unicast address");
        total += took;
    }
    return total;
}

static long sys_connection_blocking(long count)
{
    return connections(count, 0);
}

static long sys_connection_nonblocking(long count)
{
    return connections(count, SOCK_NONBLOCK);
}

/* getpeername() on a connection; with our library, on one that it has moved. */
static long sys_getpeername_connected(long count)
{
    if (listener < 0 && listen_on_loopback())
        return -1;
    struct sockaddr_in6 address = *destination();
    address.sin6_port = service.sin6_port;
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    if (connect(fd, ADDRESS(address)))
        return failed("connect: %s", strerror(errno));
    long took = TIMED(count, getpeername(fd, (struct sockaddr *)&peer, &peer_len));
    if (memcmp(&peer.sin6_addr, &address.sin6_addr, 16))
        return failed("getpeername shows another address");
    close(accept(listener, NULL, NULL));
    reset(fd);
    return took;
}

/* --- around the stub: the hook alone ------------------------------------- */

static int real_socket = -1;

int stub_answers(int result, int error)
{
    if (!stub)
        return failed("the stub is not loaded");
    if (real_socket < 0) {
        real_socket = socket(AF_INET6, SOCK_STREAM, 0);
        /* torsocks has no IPv6. */
        if (real_socket < 0)
            real_socket = socket(AF_INET, SOCK_STREAM, 0);
        if (real_socket < 0)
            return failed("socket: %s", strerror(errno));
    }
    stub->fd = real_socket;
    stub->result = result;
    stub->error = error;
    stub->mode = ANSWER;
    return 0;
}

#define STUBBED(name, call) \
    static long name(long count) \
    { \
        if (stub_answers(0, 0)) \
            return -1; \
        long took = TIMED(count, call); \
        stub->mode = PASS; \
        return took; \
    }

/* connect() on a socket that was made before. */
static long to(long count, int domain, const void *from, size_t size, enum place place)
{
    struct sockaddr_storage here;
    if (stub_answers(0, 0))
        return -1;
    stub->mode = PASS;
    stub->fd = socket(domain, SOCK_STREAM, 0);
    if (stub->fd < 0)
        return failed("socket: %s", strerror(errno));
    int fd = stub->fd;
    stub->mode = ANSWER;
    struct sockaddr *address = place == STACK ? (struct sockaddr *)&here : malloc(sizeof here);
    if (!address)
        return failed("malloc: %s", strerror(errno));
    memcpy(address, from, size);
    long took = TIMED(count, connect(fd, address, size));
    stub->mode = PASS;
    close(fd);
    if (place == HEAP)
        free(address);
    return took;
}

#define CONNECT(name, domain, address, place) \
    static long name(long count) \
    { \
        return to(count, domain, &address, sizeof address, place); \
    }

CONNECT(stub_connect_unix, AF_UNIX, local, STACK)
CONNECT(stub_connect_unix_heap, AF_UNIX, local, HEAP)
CONNECT(stub_connect_inet, AF_INET, inet, STACK)
CONNECT(stub_connect_inet_heap, AF_INET, inet, HEAP)
CONNECT(stub_connect_loopback, AF_INET6, loopback, STACK)
CONNECT(stub_connect_elsewhere, AF_INET6, elsewhere, STACK)
CONNECT(stub_connect_elsewhere_heap, AF_INET6, elsewhere, HEAP)
STUBBED(stub_close_unknown, close(1000))
STUBBED(stub_close_beyond, close(5000))
STUBBED(stub_getpeername, getpeername(real_socket, (struct sockaddr *)&peer, &peer_len))
STUBBED(stub_getsockopt, getsockopt(real_socket, SOL_SOCKET, SO_ERROR, &option, &option_len))
STUBBED(stub_getsockopt_other, getsockopt(real_socket, SOL_SOCKET, SO_TYPE, &option, &option_len))
STUBBED(stub_fcntl, fcntl(real_socket, F_GETFL, 0))
STUBBED(stub_fcntl_flags, fcntl(real_socket, F_SETFL, 0))
STUBBED(stub_ioctl, ioctl(real_socket, FIONREAD, &option))
STUBBED(stub_setsockopt, setsockopt(real_socket, SOL_SOCKET, SO_KEEPALIVE, &option, option_len))
STUBBED(stub_bind, bind(1000, (const struct sockaddr *)&loopback, sizeof loopback))
STUBBED(stub_accept, accept(real_socket, NULL, NULL))
STUBBED(stub_dup_close, close(dup(real_socket)))
STUBBED(stub_dup2, dup2(1000, OTHER))
STUBBED(stub_readv, readv(real_socket, &part, 1))
STUBBED(stub_writev, writev(real_socket, &part, 1))
STUBBED(stub_sendmmsg, sendmmsg(real_socket, &several, 1, 0))
STUBBED(stub_recvmmsg, recvmmsg(real_socket, &several, 1, 0, NULL))
STUBBED(stub_syscall_gettid, syscall(SYS_gettid))
STUBBED(stub_syscall_read, syscall(SYS_read, real_socket, &option, sizeof option))
STUBBED(stub_socket, socket(AF_INET6, SOCK_STREAM, 0))
STUBBED(stub_socket_unix, socket(AF_UNIX, SOCK_STREAM, 0))
STUBBED(stub_socket_close, close(socket(AF_INET6, SOCK_STREAM, 0)))

/*
 * connect() on a socket just made: the time of socket() and connect() less that of
 * socket() alone. Before that, once through the system, so that the mapping is
 * there; and once with the stub noting where it is sent.
 */
enum { PORTION = 512 };

static long fresh(long count, const struct sockaddr_in6 *to, const struct sockaddr_in6 *expected,
    int flags, enum place place)
{
    /* What the kernel would say, who goes on to shake hands. */
    int result = flags & SOCK_NONBLOCK ? -1 : 0, error = result ? EINPROGRESS : 0;
    struct sockaddr_in6 here = *to, end, *address = &here;
    if (listener < 0 && listen_on_loopback())
        return -1;
    if (place == HEAP) {
        address = malloc(sizeof here);
        if (!address)
            return failed("malloc: %s", strerror(errno));
        *address = here;
    }
    address->sin6_port = service.sin6_port;
    if (connection(to, flags, &end) < 0)
        return -1;
    if (memcmp(&end.sin6_addr, &expected->sin6_addr, 16))
        return failed("the first connection did not go where it should");
    if (stub_answers(result, error))
        return -1;
    stub->mode = NOTE;
    int fd = socket(AF_INET6, SOCK_STREAM | flags, 0);
    int got = connect(fd, (struct sockaddr *)address, sizeof *address);
    stub->mode = ANSWER;
    if (got != result || (result && errno != error)
        || memcmp(&stub->seen.sin6_addr, &expected->sin6_addr, 16)) {
        stub->mode = PASS;
        return failed("a connection did not go where it should");
    }
    /*
     * In small portions, of which the least counts: a difference of two times does
     * not forgive an interruption of either.
     */
    long portion = count < PORTION ? count : PORTION, both = LONG_MAX, alone = LONG_MAX;
    for (int turn = 0; turn < 16; turn++) {
        long took = TIMED(portion, {
            fd = socket(AF_INET6, SOCK_STREAM | flags, 0);
            connect(fd, (struct sockaddr *)address, sizeof *address);
        });
        both = took < both ? took : both;
        took = TIMED(portion, fd = socket(AF_INET6, SOCK_STREAM | flags, 0));
        alone = took < alone ? took : alone;
    }
    stub->mode = PASS;
    if (place == HEAP)
        free(address);
    return (both - alone) * count / portion;
}

const struct sockaddr_in6 *moved(void)
{
    return strcmp(argument, "hooked") ? &anycast : &unicast;
}

#define FRESH(name, address, expected, flags, place) \
    static long name(long count) \
    { \
        return fresh(count, &address, expected, flags, place); \
    }

FRESH(stub_direct, direct, &direct, SOCK_NONBLOCK, STACK)
FRESH(stub_hit_nonblocking, anycast, moved(), SOCK_NONBLOCK, STACK)
FRESH(stub_hit_nonblocking_heap, anycast, moved(), SOCK_NONBLOCK, HEAP)
FRESH(stub_hit_blocking, anycast, moved(), 0, STACK)

/* --- the start of a process ------------------------------------------------ */

/* posix_spawn() of true(1) until it has ended; the argument is its LD_PRELOAD. */
static long spawn(long count)
{
    char preload[4096];
    snprintf(preload, sizeof preload, "LD_PRELOAD=%s", argument);
    char *const program[] = { "true", NULL };
    /* What the peers' wrappers set as well. */
    char *environment[8] = { "PATH=/usr/bin:/bin" };
    int used = 1;
    for (const char *name = "TORSOCKS_LOG_LEVEL\0TORSOCKS_CONF_FILE\0PROXYCHAINS_CONF_FILE\0"
                            "PROXYCHAINS_QUIET_MODE\0";
         *name; name += strlen(name) + 1) {
        char *value = getenv(name);
        if (value)
            environment[used++] = value - strlen(name) - 1;
    }
    if (*argument)
        environment[used++] = preload;
    environment[used] = NULL;
    long start = now();
    for (long round = 0; round < count; round++) {
        pid_t child;
        int status;
        int error = posix_spawn(&child, "/bin/true", NULL, NULL, program, environment);
        if (error)
            return failed("posix_spawn: %s", strerror(error));
        if (waitpid(child, &status, 0) != child || status)
            return failed("true(1) ended with status %d", status);
    }
    return now() - start;
}

/* ----------------------------------------------------------------------------- */

static const struct row rows[] = {
    ROW(sys_connect_unix), ROW(sys_connect_inet), ROW(sys_connect_loopback),
    ROW(sys_connect_elsewhere), ROW(sys_connect_asked), ROW(sys_close),
    ROW(sys_getpeername), ROW(sys_getsockopt), ROW(sys_fcntl), ROW(stub_connect_unix),
    ROW(stub_connect_unix_heap), ROW(stub_connect_inet), ROW(stub_connect_inet_heap),
    ROW(stub_connect_loopback), ROW(stub_connect_elsewhere),
    ROW(stub_connect_elsewhere_heap), ROW(stub_close_unknown), ROW(stub_close_beyond),
    ROW(stub_getpeername), ROW(stub_getsockopt), ROW(stub_getsockopt_other),
    ROW(stub_fcntl), ROW(stub_fcntl_flags), ROW(stub_ioctl), ROW(stub_setsockopt),
    ROW(stub_bind), ROW(stub_accept), ROW(stub_dup_close), ROW(stub_dup2), ROW(stub_readv),
    ROW(stub_writev), ROW(stub_sendmmsg), ROW(stub_recvmmsg), ROW(stub_syscall_gettid),
    ROW(stub_syscall_read), ROW(stub_socket), ROW(stub_socket_unix), ROW(stub_socket_close),
    ROW(stub_direct), ROW(stub_hit_nonblocking), ROW(stub_hit_nonblocking_heap),
    ROW(stub_hit_blocking), ROW(sys_socket_close), ROW(sys_connection_blocking),
    ROW(sys_connection_nonblocking), ROW(sys_getpeername_connected),
    ROW(spawn), { NULL, NULL },
};

static long measured(const char *name, long count)
{
    const struct row *const tables[] = { rows, datagram_rows, exchange_rows };
    for (size_t table = 0; name && table < sizeof tables / sizeof *tables; table++)
        for (const struct row *row = tables[table]; row->name; row++)
            if (!strcmp(row->name, name)) {
                row_name = row->name;
                return row->run(count);
            }
    return failed("no such row");
}

static int address_from(const char *variable, struct sockaddr_in6 *address)
{
    const char *text = getenv(variable);
    address->sin6_family = AF_INET6;
    return text && inet_pton(AF_INET6, text, &address->sin6_addr) == 1 ? 0 : -1;
}

int main(int count, char **words)
{
    char line[4096];
    stub = dlsym(RTLD_DEFAULT, "aarp_bench_stub");
    inet.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    loopback.sin6_family = AF_INET6;
    loopback.sin6_addr = in6addr_loopback;
    if (address_from("BENCH_ANYCAST", &anycast) || address_from("BENCH_UNICAST", &unicast)
        || address_from("BENCH_DIRECT", &direct) || address_from("BENCH_ELSEWHERE", &elsewhere)) {
        fputs("calls: run by the driver, which says with which addresses\n", stderr);
        return 64;
    }
    if (count > 1 && !strcmp(words[1], "respond"))
        return respond();
    while (fgets(line, sizeof line, stdin)) {
        char *save, *name = strtok_r(line, " \n", &save);
        char *rounds = strtok_r(NULL, " \n", &save);
        argument = strtok_r(NULL, " \n", &save);
        if (!argument)
            argument = "";
        long took = measured(name, rounds ? strtol(rounds, NULL, 10) : 0);
        /* A difference of two times can be below zero. */
        if (took == -1)
            printf("failed %s\n", reason);
        else
            printf("ok %ld\n", took);
        fflush(stdout);
    }
    return 0;
}
