/* How much of a small stack each call takes: PROGRAM ADDRESS CALL [BYTES]. Without a
 * number, a line says how much of 64 KiB the call has used; with one, that is the
 * stack. */
#include "storm.h"
#include <limits.h>
#include <sys/uio.h>

static struct sockaddr_in6 echo;
static char octets[8];
static struct iovec part = {octets, 8};

static void do_connect(void) {
    int fd = tcp();
    if (connect(fd, SA(&served), sizeof served))
        exit(1);
    shows_a(fd);
    close(fd);
}
static void do_connect_datagrams(void) {
    int fd = udp();
    CLEAN(connect(fd, SA(&echo), sizeof echo));
    CLEAN(send(fd, "question", 8, 0));
    CLEAN(recv(fd, octets, 8, 0));
    close(fd);
}
static void do_sendto(void) {
    struct sockaddr_in6 from;
    socklen_t len = sizeof from;
    int fd = udp();
    CLEAN(sendto(fd, "question", 8, 0, SA(&echo), sizeof echo));
    CLEAN(recvfrom(fd, octets, 8, 0, SA(&from), &len));
    close(fd);
}
static void do_messages(void) {
    struct sockaddr_in6 from;
    struct msghdr message = {&echo, sizeof echo, &part, 1, NULL, 0, 0};
    int fd = udp();
    CLEAN(sendmsg(fd, &message, 0));
    message.msg_name = &from;
    CLEAN(recvmsg(fd, &message, 0));
    close(fd);
}
static void do_many(void) {
    static struct mmsghdr messages[64];
    int fd = udp();
    for (int i = 0; i < 64; i++)
        messages[i].msg_hdr = (struct msghdr){&echo, sizeof echo, &part, 1, NULL, 0, 0};
    CLEAN(sendmmsg(fd, messages, 64, 0));
    CLEAN(recvmmsg(fd, messages, 1, 0, NULL));
    CLEAN(syscall(SYS_sendmmsg, fd, messages, 64, 0));
    CLEAN(syscall(SYS_recvmmsg, fd, messages, 1, 0, NULL));
    close(fd);
}
static void do_getaddrinfo(void) {
    struct addrinfo hints = {.ai_family = AF_INET6, .ai_socktype = SOCK_DGRAM}, *list;
    if (getaddrinfo("www.any.test", "80", &hints, &list))
        exit(1);
    freeaddrinfo(list);
}
static void do_descriptors(void) {
    struct sockaddr_in6 name;
    socklen_t len = sizeof name;
    int fd = udp(), on = 1, copy = CLEAN(dup(fd));
    CLEAN(connect(fd, SA(&echo), sizeof echo));
    CLEAN(getpeername(fd, SA(&name), &len));
    CLEAN(dup2(fd, copy));
    CLEAN(dup3(fd, copy, O_CLOEXEC));
    CLEAN(fcntl(fd, F_SETFL, O_NONBLOCK));
    CLEAN(ioctl(fd, FIONBIO, &on));
    CLEAN(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    len = sizeof on;
    CLEAN(getsockopt(fd, SOL_SOCKET, SO_ERROR, &on, &len));
    CLEAN(write(fd, "question", 8));
    (void)!read(fd, octets, 8);
    (void)!writev(fd, &part, 1);
    (void)!readv(fd, &part, 1);
    CLEAN(close_range(fd, copy, 0));
}

static const struct {
    const char *name;
    void (*run)(void);
} CALLS[] = {
    {"connect", do_connect},         {"connect-datagrams", do_connect_datagrams},
    {"sendto", do_sendto},           {"messages", do_messages},
    {"many", do_many},               {"getaddrinfo", do_getaddrinfo},
    {"descriptors", do_descriptors},
};

static void *work(void *call) {
    static struct worker nobody = {.doing = "a thread with a small stack"};
    self = &nobody;
    CALLS[(long)call].run();
    return NULL;
}

int main(int count, char **words) {
    enum { WHOLE = 64 * 1024 };
    long call = 0, size = WHOLE;
    if (count != 3 && count != 4)
        return 64;
    begin(2, words);
    echo = with_port(served, ECHO);
    while (strcmp(CALLS[call].name, words[2]))
        call++;
    if (count == 4)
        size = !strcmp(words[3], "least") ? PTHREAD_STACK_MIN : atol(words[3]);
    /* Nothing below it can be touched. */
    char *stack = mmap(NULL, size + WHOLE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack + WHOLE, size, PROT_READ | PROT_WRITE))
        return 1;
    stack += WHOLE;
    memset(stack, 0xa5, size);
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    if (pthread_attr_setstack(&attributes, stack, size) ||
        pthread_create(&thread, &attributes, work, (void *)call))
        return 1;
    pthread_join(thread, NULL);
    long untouched = 0;
    while (untouched < size && (unsigned char)stack[untouched] == 0xa5)
        untouched++;
    printf("used=%ld\n", size - untouched);
    return 0;
}
