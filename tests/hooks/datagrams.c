/* Calls that send and receive datagrams. The port 7000 answers with the same octets,
   7001 never, and 9 is closed. */
#include "transcript.h"
#include <pthread.h>
#include <sys/uio.h>

static struct sockaddr_in6 echo, mute, closed;
static char *bad;

static int udp(void) {
    int fd = MUST(socket(AF_INET6, SOCK_DGRAM, 0));
    /* A test that waits for what does not come ends. */
    struct timeval limit = {20, 0};
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    return fd;
}

static void hex(const char *label, const void *octets, int count) {
    printf("  %s:", label);
    for (int at = 0; at < count; at++)
        printf(" %02x", ((const unsigned char *)octets)[at]);
    printf("\n");
}

static const int ROOMS[] = {0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 20, 23, 24, 25, 27, 28, 29, 64, 128};
#define COUNT(array) (int)(sizeof array / sizeof *array)

/* What of a name was written, and no octet more. */
static void show_name(const char *name, socklen_t len) {
    printf("  length %u\n", len);
    hex("name", name, 130);
}

static void ask(int fd, const struct sockaddr_in6 *to) {
    CALL(sendto(fd, "question", 8, 0, (void *)to, to ? sizeof *to : 0), "question");
}

/* What is still on its way is received and forgotten: the service keeps the order. */
static void drain(int fd, const struct sockaddr_in6 *to) {
    static int number;
    char text[32], data[64];
    int length = sprintf(text, "drained %d", ++number);
    MUST(sendto(fd, text, length, 0, (void *)to, to ? sizeof *to : 0));
    while (MUST(recv(fd, data, sizeof data, 0)) != length || memcmp(data, text, length))
        ;
}

static void receive_names(int fd, const struct sockaddr_in6 *to) {
    for (int at = 0; at < COUNT(ROOMS); at++) {
        int room = ROOMS[at];
        char data[64], name[256];
        memset(name, 0xa5, sizeof name);
        socklen_t len = room;
        ask(fd, to);
        CALL(recvfrom(fd, data, sizeof data, 0, (void *)name, &len), "recvfrom room %d", room);
        show_name(name, len);

        memset(name, 0xa5, sizeof name);
        char control[256];
        struct iovec part = {data, 4};
        struct msghdr message = {name, room, &part, 1, control, sizeof control, -1};
        ask(fd, to);
        CALL(recvmsg(fd, &message, 0), "recvmsg room %d", room);
        printf("  flags %x control %zu parts %zu same %d\n", message.msg_flags,
               message.msg_controllen, message.msg_iovlen, message.msg_name == (void *)name);
        show_name(name, message.msg_namelen);
    }
}

static void receive_ways(int fd, const struct sockaddr_in6 *to) {
    char data[64], more[64];
    struct iovec parts[2] = {{data, 3}, {more, sizeof more}};
    ask(fd, to);
    CALL(recv(fd, data, sizeof data, 0), "recv");
    ask(fd, to);
    CALL(read(fd, data, sizeof data), "read");
    ask(fd, to);
    CALL(readv(fd, parts, 2), "readv");
    ask(fd, to);
    CALL(recvfrom(fd, data, sizeof data, 0, NULL, NULL), "recvfrom nobody");
    struct sockaddr_in6 name;
    socklen_t len = sizeof name;
    ask(fd, to);
    for (int turn = 0; turn < 2; turn++) {
        memset(&name, 0, sizeof name);
        CALL(recvfrom(fd, data, 2, MSG_PEEK, SA(&name), &len), "peek");
        hex("name", &name, sizeof name);
        CALL(recvfrom(fd, data, 2, MSG_PEEK | MSG_TRUNC, SA(&name), &len), "peek whole length");
    }
    CALL(recvfrom(fd, data, 2, MSG_TRUNC, SA(&name), &len), "truncated");
    hex("name", &name, sizeof name);
    len = 11;
    CALL(recvfrom(fd, data, 2, MSG_DONTWAIT, SA(&name), &len), "nothing there");
    printf("  length %u\n", len);
    CALL(recv(fd, data, 2, MSG_DONTWAIT), "nothing there");
    CALL(recvfrom(fd, data, 2, MSG_DONTWAIT, SA(&name), NULL), "nothing there");
    /* An empty datagram is one. */
    CALL(sendto(fd, "", 0, 0, (void *)to, to ? sizeof *to : 0), "empty");
    len = sizeof name;
    memset(&name, 0, sizeof name);
    CALL(recvfrom(fd, data, sizeof data, 0, SA(&name), &len), "empty");
    hex("name", &name, sizeof name);
}

static void send_ways(int fd) {
    char data[64];
    struct iovec parts[2] = {{"ab", 2}, {"cde", 3}};
    struct msghdr message = {NULL, 0, parts, 2, NULL, 0, 0};
    CALL(send(fd, "x", 1, 0), "send");
    CALL(recv(fd, data, sizeof data, 0), "recv");
    CALL(write(fd, "xy", 2), "write");
    CALL(recv(fd, data, sizeof data, 0), "recv");
    CALL(writev(fd, parts, 2), "writev");
    CALL(recv(fd, data, sizeof data, 0), "recv");
    CALL(sendmsg(fd, &message, 0), "sendmsg");
    CALL(recv(fd, data, sizeof data, 0), "recv");
    CALL(send(fd, "x", 1, MSG_OOB), "send out of band");
    CALL(recv(fd, data, sizeof data, 0), "recv");
    CALL(send(fd, bad + PAGE, 8, 0), "send from nowhere");
    CALL(sendmsg(fd, (void *)(bad + PAGE), 0), "sendmsg of nothing");
    CALL(sendmsg(fd, NULL, 0), "sendmsg of null");
}

static void send_to_ways(int fd, const struct sockaddr_in6 *to) {
    char data[64], name[256];
    struct iovec parts[2] = {{"ab", 2}, {"cde", 3}};
    memset(name, 0, sizeof name);
    memcpy(name, to, sizeof *to);
    for (int len = 0; len <= 130; len += len < 22 || len > 30 ? 11 : 1) {
        CALL(sendto(fd, "abc", 3, 0, (void *)name, len), "sendto length %d", len);
        struct msghdr message = {name, len, parts, 2, NULL, 0, 0};
        CALL(sendmsg(fd, &message, 0), "sendmsg length %d", len);
    }
    CALL(sendto(fd, "abc", 3, 0, (void *)(bad + PAGE), 28), "sendto nowhere");
    CALL(sendto(fd, "abc", 3, 0, (void *)(bad + PAGE - 20), 28), "sendto the edge");
    CALL(sendto(fd, bad + PAGE, 3, 0, (void *)to, 28), "sendto from nowhere");
    CALL(sendto(fd, "abc", 3, 0, NULL, 28), "sendto null");
    struct msghdr message = {bad + PAGE, 28, parts, 2, NULL, 0, 0};
    CALL(sendmsg(fd, &message, 0), "sendmsg nowhere");
    message.msg_name = (void *)to;
    message.msg_iov = (void *)(bad + PAGE);
    CALL(sendmsg(fd, &message, 0), "sendmsg of parts that are not there");
    message.msg_iov = parts;
    message.msg_control = bad + PAGE;
    message.msg_controllen = 40;
    CALL(sendmsg(fd, &message, 0), "sendmsg with control from nowhere");
#ifndef UNDER_VALGRIND /* which reads the whole header when it may read a part */
    memcpy(bad + PAGE - 30, &message, 30);
    CALL(sendmsg(fd, (void *)(bad + PAGE - 30), 0), "sendmsg at the edge");
#endif
    struct sockaddr_in6 other = *to;
    other.sin6_family = AF_INET;
    CALL(sendto(fd, "abc", 3, 0, SA(&other), sizeof other) >= -1, "another family");
    other.sin6_family = 77;
    CALL(sendto(fd, "abc", 3, 0, SA(&other), sizeof other), "no family");
    CALL(sendto(-1, "abc", 3, 0, (void *)to, sizeof *to), "no descriptor");
    CALL(sendto(fd, data, 70000, 0, (void *)to, sizeof *to), "too long");
    CALL(sendto(1000000, "abc", 3, 0, (void *)to, sizeof *to), "a high number");
    drain(fd, to);
}

static void receive_badly(int fd, const struct sockaddr_in6 *to) {
    char data[64];
    struct sockaddr_in6 name;
    socklen_t len = sizeof name;
    struct iovec part = {data, sizeof data};
    ask(fd, to);
    CALL(recvfrom(fd, bad + PAGE, 8, 0, SA(&name), &len), "into nowhere");
    ask(fd, to);
    CALL(recvfrom(fd, data, 8, 0, (void *)(bad + PAGE), &len), "a name nowhere");
    ask(fd, to);
    CALL(recvfrom(fd, data, 8, 0, SA(&name), (void *)(bad + PAGE)), "a length nowhere");
    CALL(recvmsg(fd, NULL, MSG_DONTWAIT), "recvmsg null");
    CALL(recvmsg(fd, (void *)(bad + PAGE), MSG_DONTWAIT), "recvmsg nowhere");
    ask(fd, to);
    struct msghdr message = {bad + PAGE, 28, &part, 1, NULL, 0, 0};
    CALL(recvmsg(fd, &message, 0), "recvmsg a name nowhere");
    message.msg_name = &name;
    message.msg_namelen = -1;
    CALL(recvmsg(fd, &message, MSG_DONTWAIT), "recvmsg a bad length");
    drain(fd, to);
    CALL(recvfrom(-1, data, 8, 0, SA(&name), &len), "no descriptor");
}

/* A page of its own, which begins with these octets, and cannot be written to; nothing
   comes after it. */
static void *unwritable(const void *octets, int count) {
    char *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        exit(1);
    memcpy(page, octets, count);
    MUST(munmap(page + PAGE, PAGE));
    MUST(mprotect(page, PAGE, PROT_READ));
    return page;
}

/* Where a name does not fit, nothing is to be written that the kernel did not write. */
static void no_writing(int fd, const struct sockaddr_in6 *to) {
    char data[64];
    struct sockaddr_in6 name;
    socklen_t rooms[] = {0, 8, 16, 24, 28, 128};
    for (int at = 0; at < COUNT(rooms); at++) {
        socklen_t room = rooms[at];
        void *length = unwritable(&room, sizeof room), *page = unwritable("", 1);
        memset(&name, 0, sizeof name);
        ask(fd, to);
        CALL(recvfrom(fd, data, 64, 0, SA(&name), length), "a length to read, room %u", room);
        hex("name", &name, room < sizeof name ? room : sizeof name);
        socklen_t len = room;
        ask(fd, to);
        CALL(recvfrom(fd, data, 64, 0, page, &len), "a name to read, room %u", room);
        printf("  length %u\n", len);
        struct iovec part = {data, sizeof data};
        struct msghdr message = {&name, room, &part, 1, NULL, 0, 0};
        void *header = unwritable(&message, sizeof message);
        ask(fd, to);
        CALL(recvmsg(fd, header, 0), "a header to read, room %u", room);
        message.msg_name = page;
        ask(fd, to);
        CALL(recvmsg(fd, &message, 0), "a name to read by recvmsg, room %u", room);
        printf("  length %u\n", message.msg_namelen);
        struct mmsghdr one = {message, 77};
        ask(fd, to);
        CALL(recvmmsg(fd, &one, 1, 0, NULL), "a name to read by recvmmsg, room %u", room);
        printf("  length %u %u\n", one.msg_hdr.msg_namelen, one.msg_len);
        MUST(munmap(length, PAGE));
        MUST(munmap(page, PAGE));
        MUST(munmap(header, PAGE));
    }
    /* What is sent comes from memory to read only, but its length cannot be said. */
    struct iovec part = {"x", 1};
    struct mmsghdr one = {{(void *)to, sizeof *to, &part, 1, NULL, 0, 0}, 77};
    struct mmsghdr *vector = unwritable(&one, sizeof one);
    CALL(sendmmsg(fd, vector, 1, 0), "a vector to read");
    drain(fd, to);
    one.msg_hdr.msg_name = unwritable(to, sizeof *to);
    CALL(sendto(fd, "x", 1, 0, one.msg_hdr.msg_name, sizeof *to), "a destination to read");
    CALL(sendmmsg(fd, &one, 1, 0), "and one in a vector");
    printf("  %u\n", one.msg_len);
    drain(fd, to);
    /* The second header of two is where there is no memory. */
    char *end = bad + PAGE - sizeof one;
    memcpy(end, &one, sizeof one);
    CALL(sendmmsg(fd, (void *)end, 2, 0), "one header of two");
    drain(fd, to);
    MUST(munmap(vector, PAGE));
    MUST(munmap(one.msg_hdr.msg_name, PAGE));
}

#define MANY 40

static void many(int fd, const struct sockaddr_in6 *to) {
    char data[MANY][16], names[MANY][64];
    struct iovec parts[MANY];
    struct mmsghdr messages[MANY];
    for (int count = 0; count <= MANY; count += count < 4 ? 1 : 9) {
        memset(messages, 0, sizeof messages);
        for (int at = 0; at < count; at++) {
            int length = sprintf(data[at], "%d", at);
            parts[at] = (struct iovec){data[at], length};
            messages[at].msg_hdr.msg_iov = &parts[at];
            messages[at].msg_hdr.msg_iovlen = 1;
            messages[at].msg_hdr.msg_name = to ? (void *)to : NULL;
            messages[at].msg_hdr.msg_namelen = to ? sizeof *to : 0;
        }
        CALL(sendmmsg(fd, messages, count, 0), "sendmmsg %d", count);
        for (int at = 0; at < count; at++)
            printf("  %u", messages[at].msg_len);
        printf("\n");
        int got = 0;
        while (got < count) {
            memset(names, 0xa5, sizeof names);
            for (int at = 0; at < count; at++) {
                parts[at] = (struct iovec){data[at], sizeof data[at]};
                messages[at].msg_hdr.msg_name = at % 3 == 2 ? NULL : names[at];
                messages[at].msg_hdr.msg_namelen = at % 3 == 2 ? 0 : at % 3 ? 28 : 64;
            }
            int now = recvmmsg(fd, messages, count - got, MSG_WAITFORONE, NULL);
            if (now <= 0)
                break;
            for (int at = 0; at < now; at++)
                if (messages[at].msg_hdr.msg_name && messages[at].msg_hdr.msg_namelen != 28)
                    printf("  length %u\n", messages[at].msg_hdr.msg_namelen);
            hex("first", names[0], 64);
            got += now;
            /* How they are divided is chance: the rest is read one by one. */
            struct sockaddr_in6 name;
            socklen_t len = sizeof name;
            while (got < count && recvfrom(fd, data[0], 16, 0, SA(&name), &len) >= 0) {
                if (memcmp(&name, names[0], sizeof name))
                    hex("another", &name, sizeof name);
                got++;
            }
        }
        printf("  got %d\n", got);
        drain(fd, to);
    }
    CALL(sendmmsg(fd, (void *)(bad + PAGE), 2, 0), "sendmmsg nowhere");
    CALL(sendmmsg(fd, NULL, 0, 0), "sendmmsg nothing");
    CALL(sendmmsg(-1, NULL, 0, 0), "sendmmsg no descriptor");
    CALL(recvmmsg(fd, (void *)(bad + PAGE), 2, MSG_DONTWAIT, NULL), "recvmmsg nowhere");
    CALL(recvmmsg(fd, NULL, 0, MSG_DONTWAIT, NULL), "recvmmsg nothing");
    /* The third has no parts that can be read: two are sent. */
    for (int at = 0; at < 3; at++) {
        parts[at] = (struct iovec){"x", 1};
        messages[at].msg_hdr = (struct msghdr){(void *)to, to ? sizeof *to : 0, &parts[at], 1, NULL, 0, 0};
        messages[at].msg_len = 77;
    }
    parts[2].iov_base = bad + PAGE;
    CALL(sendmmsg(fd, messages, 3, 0), "sendmmsg of two");
    printf("  %u %u %u\n", messages[0].msg_len, messages[1].msg_len, messages[2].msg_len);
    for (int at = 0; at < 2; at++)
        CALL(recv(fd, data[0], 16, 0), "one of two");
    drain(fd, to);
}

static void copies(void) {
    char data[64];
    struct sockaddr_in6 name;
    socklen_t len = sizeof name;
    int fd = udp();
    ask(fd, &echo);
    int copy = dup(fd), third = fcntl(fd, F_DUPFD_CLOEXEC, 100);
    close(fd);
    CALL(recvfrom(copy, data, 64, 0, SA(&name), &len), "on a duplicate");
    hex("name", &name, sizeof name);
    ask(copy, &echo);
    CALL(dup2(third, copy) >= 0, "dup2 over it");
    CALL(recvfrom(copy, data, 64, 0, SA(&name), &len), "after dup2");
    hex("name", &name, sizeof name);
    fflush(stdout);
    pid_t child = MUST(fork());
    if (!child) {
        ask(third, &echo);
        CALL(recvfrom(copy, data, 64, 0, SA(&name), &len), "in a child");
        hex("name", &name, sizeof name);
        close(copy);
        fflush(stdout);
        _exit(0);
    }
    int status;
    MUST(waitpid(child, &status, 0));
    child = vfork();
    if (!child) {
        close(copy);
        close(third);
        _exit(0);
    }
    MUST(waitpid(child, &status, 0));
    ask(copy, &echo);
    CALL(recvfrom(third, data, 64, 0, SA(&name), &len), "after the children");
    hex("name", &name, sizeof name);
    CALL(dup2(77, copy), "dup2 of nothing");
    ask(copy, &echo);
    CALL(recvfrom(copy, data, 64, 0, SA(&name), &len), "after it");
    hex("name", &name, sizeof name);
    close(copy);
    close(third);
    /* The number again, for something else. */
    int other = udp();
    CALL(recvfrom(other, data, 64, MSG_DONTWAIT, SA(&name), &len), "another socket");
    show_peer("another socket", other);
    close(other);
}

static void connections(void) {
    char data[64];
    int fd = udp();
    struct sockaddr nowhere = {.sa_family = AF_UNSPEC};
    show_peer("open", fd);
    CALL(send(fd, "x", 1, 0), "send open");
    CALL(connect(fd, SA(&echo), sizeof echo), "connect");
    show_peer("connected", fd);
    send_ways(fd);
    receive_names(fd, NULL);
    receive_ways(fd, NULL);
    receive_names(fd, &echo);
    many(fd, NULL);
    many(fd, &echo);
    CALL(connect(fd, SA(&echo), sizeof echo), "connect again");
    show_peer("connected again", fd);
    send_ways(fd);
    CALL(connect(fd, &nowhere, sizeof nowhere), "disconnect");
    show_peer("disconnected", fd);
    CALL(send(fd, "x", 1, 0), "send disconnected");
    receive_names(fd, &echo);
    CALL(connect(fd, SA(&closed), sizeof closed), "connect to the closed port");
    show_peer("closed", fd);
    for (int turn = 0; turn < 3; turn++) {
        CALL(send(fd, "x", 1, 0), "send to the closed port");
        CALL(recv(fd, data, sizeof data, 0), "recv from the closed port");
    }
    int error = -1;
    socklen_t len = sizeof error;
    CALL(send(fd, "x", 1, 0), "send to the closed port");
    struct pollfd entry = {fd, POLLERR, 0};
    MUST(poll(&entry, 1, 20000));
    CALL(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), "SO_ERROR");
    printf("  %d\n", error);
    CALL(connect(fd, SA(&echo), sizeof echo), "connect");
    send_ways(fd);
    show_peer("back", fd);
    close(fd);
    fd = MUST(socket(AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK, 0));
    CALL(connect(fd, SA(&mute), sizeof mute), "connect");
    CALL(send(fd, "x", 1, 0), "send");
    CALL(recv(fd, data, sizeof data, 0), "recv");
    close(fd);
}

static void other_kinds(void) {
    char data[64];
    struct sockaddr_in6 name;
    socklen_t len = sizeof name;
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    CALL(send(pair[0], "x", 1, 0), "unix");
    CALL(recvfrom(pair[1], data, 64, 0, SA(&name), &len), "unix");
    printf("  length %u\n", len);
    MUST(pipe(pair));
    CALL(write(pair[1], "abc", 3), "pipe");
    CALL(read(pair[0], data, 64), "pipe");
    CALL(send(pair[0], "x", 1, 0), "no socket");
    CALL(recvfrom(pair[0], data, 64, 0, SA(&name), &len), "no socket");
    CALL(sendto(pair[0], "x", 1, 0, SA(&echo), sizeof echo), "no socket");
    int fd = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    CALL(sendto(fd, "x", 1, 0, SA(&echo), sizeof echo), "the other family");
    fd = udp();
    struct sockaddr_in6 mapped = address("::ffff:127.0.0.1", 9);
    CALL(sendto(fd, "x", 1, 0, SA(&mapped), sizeof mapped), "mapped");
    struct sockaddr_in6 loop = address("::1", 9);
    CALL(sendto(fd, "x", 1, 0, SA(&loop), sizeof loop), "loopback");
    ask(fd, &echo);
    len = sizeof name;
    CALL(recvfrom(fd, data, 64, 0, SA(&name), &len), "and A");
    hex("name", &name, sizeof name);
    fd = MUST(socket(AF_INET6, SOCK_STREAM, 0));
    CALL(sendto(fd, "x", 1, MSG_NOSIGNAL, SA(&served), sizeof served), "a name for a stream");
    CALL(connect(fd, SA(&served), sizeof served), "stream");
    struct iovec part = {"GET /who HTTP/1.0\r\n\r\n", 21};
    struct msghdr message = {&echo, sizeof echo, &part, 1, NULL, 0, 0};
    CALL(sendmsg(fd, &message, MSG_NOSIGNAL), "a message with a name for a stream");
    memset(&name, 0, sizeof name);
    len = sizeof name;
    CALL(recvfrom(fd, data, 10, MSG_WAITALL, SA(&name), &len), "from a stream");
    printf("  length %u\n", len);
    close(fd);
}

static void *everything(void *nothing) {
    int fd = udp();
    receive_names(fd, &echo);
    receive_ways(fd, &echo);
    send_to_ways(fd, &echo);
    receive_badly(fd, &echo);
    no_writing(fd, &echo);
    many(fd, &echo);
    int on = 1;
    MUST(setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on));
    MUST(setsockopt(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof on));
    receive_names(fd, &echo);
    close(fd);
    copies();
    connections();
    other_kinds();
    return NULL;
}

int main(int argc, char **argv) {
    begin(argc, argv);
    echo = address(argv[1], 7000);
    mute = address(argv[1], 7001);
    closed = address(argv[1], 9);
    bad = edge();
    everything(NULL);
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    MUST(-pthread_attr_setstacksize(&attributes, 64 * 1024));
    MUST(-pthread_create(&thread, &attributes, everything, NULL));
    pthread_join(thread, NULL);
    return 0;
}
