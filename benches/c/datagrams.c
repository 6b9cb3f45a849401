/* The rows of sending and receiving around the stub: the hooks alone. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "calls.h"

enum call { SENDTO, SENDMSG, SEND, WRITE, RECVFROM, RECVMSG, RECV, READ, SENDTO_RECVFROM };

/* What is sent on. */
enum kind {
    INET,      /* UDP over IPv4 */
    UNIX,      /* datagrams of AF_UNIX */
    UNPINNED,  /* UDP over IPv6, with an address outside `prefixes` */
    PINNED,    /* with A, which is moved to U */
    CONNECTED, /* the same, connected */
    STREAM,    /* TCP over IPv6 */
    PIPE,
    REGULAR,   /* a file */
};

/* What a call needs. */
struct arguments {
    int fd;
    struct sockaddr *name;
    socklen_t len, room;
    char data[16];
    struct iovec part;
    struct msghdr message;
};

static inline __attribute__((always_inline)) ssize_t make(enum call call, struct arguments *with)
{
    switch (call) {
    case SENDTO:
        return sendto(with->fd, with->data, sizeof with->data, 0, with->name, with->len);
    case SENDMSG:
        with->message.msg_namelen = with->len;
        return sendmsg(with->fd, &with->message, 0);
    case SEND:
        return send(with->fd, with->data, sizeof with->data, 0);
    case WRITE:
        return write(with->fd, with->data, sizeof with->data);
    case RECVFROM:
        with->room = sizeof(struct sockaddr_storage);
        return recvfrom(with->fd, with->data, sizeof with->data, 0, with->name, &with->room);
    case RECVMSG:
        with->message.msg_namelen = sizeof(struct sockaddr_storage);
        return recvmsg(with->fd, &with->message, 0);
    case RECV:
        return recv(with->fd, with->data, sizeof with->data, 0);
    case READ:
        return read(with->fd, with->data, sizeof with->data);
    case SENDTO_RECVFROM:
        make(SENDTO, with);
        return make(RECVFROM, with);
    }
    return -1;
}

static int open_kind(enum kind kind)
{
    int ends[2];
    switch (kind) {
    case INET: return socket(AF_INET, SOCK_DGRAM, 0);
    case UNIX: return socket(AF_UNIX, SOCK_DGRAM, 0);
    case UNPINNED: case PINNED: case CONNECTED: return socket(AF_INET6, SOCK_DGRAM, 0);
    case STREAM: return socket(AF_INET6, SOCK_STREAM, 0);
    case REGULAR: return open("/proc/self/exe", O_RDONLY);
    case PIPE:
        if (pipe(ends))
            return -1;
        close(ends[1]);
        return ends[0];
    }
    return -1;
}

/* Whom the program speaks to, and from whom the answers are. */
static socklen_t far_end(enum kind kind, struct sockaddr_storage *to)
{
    struct sockaddr_in6 *address = kind == UNPINNED ? &elsewhere : &anycast;
    if (kind == INET) {
        memcpy(to, &inet, sizeof inet);
        memcpy(&stub->source, &inet, stub->source_len = sizeof inet);
        return sizeof inet;
    }
    if (kind == UNIX) {
        memcpy(to, &local, sizeof local);
        memcpy(&stub->source, &local, stub->source_len = sizeof local);
        return sizeof local;
    }
    struct sockaddr_in6 source = kind == UNPINNED ? elsewhere : *moved();
    memcpy(to, address, sizeof *address);
    source.sin6_port = ((struct sockaddr_in6 *)to)->sin6_port = htons(4242);
    memcpy(&stub->source, &source, stub->source_len = sizeof source);
    return sizeof source;
}

static int is_same(const struct sockaddr_in6 *one, const struct sockaddr_in6 *other)
{
    return !memcmp(&one->sin6_addr, &other->sin6_addr, sizeof one->sin6_addr);
}

/* getpeername(2) by an instruction of its own. */
static long kernel_getpeername(int fd, void *name, socklen_t *len)
{
#if defined __x86_64__
    long result;
    asm volatile("syscall"
        : "=a"(result)
        : "0"((long)SYS_getpeername), "D"((long)fd), "S"(name), "d"(len)
        : "rcx", "r11", "memory");
    return result;
#elif defined __aarch64__
    register long number asm("x8") = SYS_getpeername, first asm("x0") = fd;
    register void *second asm("x1") = name, *third asm("x2") = len;
    asm volatile("svc 0" : "+r"(first) : "r"(number), "r"(second), "r"(third) : "memory");
    return first;
#else
#error "another machine"
#endif
}

/* What is sent goes to U, and what comes from there is shown as from A. */
static int is_moved(struct arguments *with, enum kind kind)
{
    struct sockaddr_in6 end, *shown = (struct sockaddr_in6 *)with->name;
    socklen_t len = sizeof end;
    stub->mode = NOTE;
    make(SENDTO, with);
    struct sockaddr_in6 to = stub->seen;
    stub->mode = PASS;
    /* Past every hook: the system itself says where a connected socket leads. */
    if (kind == CONNECTED) {
        if (kernel_getpeername(with->fd, &end, &len))
            return failed("getpeername failed"), 0;
        to = end;
    }
    if (!is_same(&to, moved()))
        return failed("a datagram did not go where it should"), 0;
    stub->mode = NOTE;
    make(RECVFROM, with);
    stub->mode = PASS;
    if (!is_same(shown, &anycast) || with->room != sizeof end)
        return failed("a datagram was not shown as from the anycast address"), 0;
    return 1;
}

static inline __attribute__((always_inline)) long timed(long count, enum call call,
    enum kind kind, enum place place)
{
    struct sockaddr_storage here;
    struct arguments with = { .name = (struct sockaddr *)&here };
    if (stub_answers(0, 0))
        return -1;
    stub->mode = PASS;
    with.fd = open_kind(kind);
    if (with.fd < 0)
        return failed("a descriptor: %s", strerror(errno));
    with.part = (struct iovec){ with.data, sizeof with.data };
    with.len = far_end(kind, &here);
    if (place == HEAP) {
        with.name = malloc(sizeof here);
        if (!with.name)
            return failed("malloc: %s", strerror(errno));
        memcpy(with.name, &here, sizeof here);
    }
    if (kind == CONNECTED && connect(with.fd, with.name, with.len))
        return failed("connect: %s", strerror(errno));
    with.message = (struct msghdr){ .msg_name = with.name, .msg_iov = &with.part,
        .msg_iovlen = 1 };
    int pinned = kind == PINNED || kind == CONNECTED;
    /* A connected socket sends without an address. */
    if (kind == CONNECTED && call == SENDMSG) {
        with.message.msg_name = NULL;
        with.len = 0;
    }
    if (kind == UNPINNED) {
        stub->mode = ANSWER;
        make(SENDTO, &with);
    }
    if (pinned && !is_moved(&with, kind))
        return -1;
    stub->mode = ANSWER;
    long took = TIMED(count, make(call, &with));
    stub->mode = PASS;
    /* It still is: nothing of what was measured was a way around. */
    if (pinned && !is_moved(&with, kind))
        return -1;
    close(with.fd);
    if (place == HEAP)
        free(with.name);
    return took;
}

#define STUBBED(name, call, kind, place) \
    static long name(long count) \
    { \
        return timed(count, call, kind, place); \
    }

STUBBED(stub_sendto_inet, SENDTO, INET, STACK)
STUBBED(stub_sendto_unix, SENDTO, UNIX, STACK)
STUBBED(stub_sendto_unpinned, SENDTO, UNPINNED, STACK)
STUBBED(stub_sendto_pinned, SENDTO, PINNED, STACK)
STUBBED(stub_sendto_pinned_heap, SENDTO, PINNED, HEAP)
STUBBED(stub_sendmsg_inet, SENDMSG, INET, STACK)
STUBBED(stub_sendmsg_unix, SENDMSG, UNIX, STACK)
STUBBED(stub_sendmsg_unpinned, SENDMSG, UNPINNED, STACK)
STUBBED(stub_sendmsg_pinned, SENDMSG, PINNED, STACK)
STUBBED(stub_sendmsg_connected, SENDMSG, CONNECTED, STACK)
STUBBED(stub_send_inet, SEND, INET, STACK)
STUBBED(stub_send_unpinned, SEND, UNPINNED, STACK)
STUBBED(stub_send_connected, SEND, CONNECTED, STACK)
STUBBED(stub_send_stream, SEND, STREAM, STACK)
STUBBED(stub_write_regular, WRITE, REGULAR, STACK)
STUBBED(stub_write_pipe, WRITE, PIPE, STACK)
STUBBED(stub_write_stream, WRITE, STREAM, STACK)
STUBBED(stub_write_connected, WRITE, CONNECTED, STACK)
STUBBED(stub_recvfrom_inet, RECVFROM, INET, STACK)
STUBBED(stub_recvfrom_unix, RECVFROM, UNIX, STACK)
STUBBED(stub_recvfrom_unpinned, RECVFROM, UNPINNED, STACK)
STUBBED(stub_recvfrom_pinned, RECVFROM, PINNED, STACK)
STUBBED(stub_recvfrom_connected, RECVFROM, CONNECTED, STACK)
STUBBED(stub_recvmsg_inet, RECVMSG, INET, STACK)
STUBBED(stub_recvmsg_unix, RECVMSG, UNIX, STACK)
STUBBED(stub_recvmsg_unpinned, RECVMSG, UNPINNED, STACK)
STUBBED(stub_recvmsg_pinned, RECVMSG, PINNED, STACK)
STUBBED(stub_recvmsg_connected, RECVMSG, CONNECTED, STACK)
STUBBED(stub_recv_inet, RECV, INET, STACK)
STUBBED(stub_recv_unpinned, RECV, UNPINNED, STACK)
STUBBED(stub_recv_connected, RECV, CONNECTED, STACK)
STUBBED(stub_recv_stream, RECV, STREAM, STACK)
STUBBED(stub_read_regular, READ, REGULAR, STACK)
STUBBED(stub_read_pipe, READ, PIPE, STACK)
STUBBED(stub_read_stream, READ, STREAM, STACK)
STUBBED(stub_read_connected, READ, CONNECTED, STACK)
STUBBED(stub_exchange_pinned, SENDTO_RECVFROM, PINNED, STACK)

const struct row datagram_rows[] = {
    ROW(stub_sendto_inet), ROW(stub_sendto_unix), ROW(stub_sendto_unpinned),
    ROW(stub_sendto_pinned), ROW(stub_sendto_pinned_heap), ROW(stub_sendmsg_inet),
    ROW(stub_sendmsg_unix), ROW(stub_sendmsg_unpinned), ROW(stub_sendmsg_pinned),
    ROW(stub_sendmsg_connected), ROW(stub_send_inet), ROW(stub_send_unpinned),
    ROW(stub_send_connected), ROW(stub_send_stream), ROW(stub_write_regular),
    ROW(stub_write_pipe), ROW(stub_write_stream), ROW(stub_write_connected),
    ROW(stub_recvfrom_inet), ROW(stub_recvfrom_unix), ROW(stub_recvfrom_unpinned),
    ROW(stub_recvfrom_pinned), ROW(stub_recvfrom_connected), ROW(stub_recvmsg_inet),
    ROW(stub_recvmsg_unix), ROW(stub_recvmsg_unpinned), ROW(stub_recvmsg_pinned),
    ROW(stub_recvmsg_connected), ROW(stub_recv_inet), ROW(stub_recv_unpinned),
    ROW(stub_recv_connected), ROW(stub_recv_stream), ROW(stub_read_regular),
    ROW(stub_read_pipe), ROW(stub_read_stream), ROW(stub_read_connected),
    ROW(stub_exchange_pinned), { NULL, NULL },
};
