/* Threads that are cancelled while they are blocked in a hooked call: PROGRAM ADDRESS
 * CANCELLATIONS SECONDS. Their clean-up handlers run, and nothing of ours is left. */
#include "storm.h"

/* The call that a thread is blocked in, and by which system call that shows. */
struct call {
    const char *name;
    int number;
    void (*run)(int fd);
    int (*prepare)(void);
};

static struct sockaddr_in6 echo;
static atomic_int tid, cleaned;
static int listening, accepted = -1;

static void clean(void *data) {
    int fd = *(int *)data, limit = 0, type = 0;
    socklen_t len = sizeof limit;
    cleaned++;
    /* What a connect() of ours has changed it has not given back: the next call does. */
    CLEAN(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len));
    if (type == SOCK_STREAM) {
        CLEAN(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, &len));
        if (limit || kernel_limit(fd, IPPROTO_TCP, TCP_USER_TIMEOUT) ||
            kernel_limit(fd, SOL_SOCKET, SO_SNDTIMEO))
            WRONG("a limit of time is left");
    }
    if (close(fd))
        WRONG("close in a clean-up handler: %s", strerrorname_np(errno));
}

static int silent_stream(void) { return tcp(); }
static int served_stream(void) { return connected(); }

static int datagrams(void) {
    int fd = udp();
    CLEAN(sendto(fd, "question", 8, 0, SA(&echo), sizeof echo));
    char text[8];
    if (recv(fd, text, 8, 0) != 8)
        WRONG("no answer");
    return fd;
}

static int connected_datagrams(void) {
    int fd = udp();
    CLEAN(connect(fd, SA(&echo), sizeof echo));
    return fd;
}

/* One whose peer takes nothing more. */
static int full_stream(void) {
    struct sockaddr_in6 mute = with_port(served, MUTE);
    int fd = tcp(), size = 1;
    char octets[4096] = {0};
    MUST(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
    MUST(connect(fd, SA(&mute), sizeof mute));
    accepted = MUST(accept(listening, NULL, NULL));
    while (send(fd, octets, sizeof octets, MSG_DONTWAIT) > 0)
        ;
    return fd;
}

/* Nobody answers on these; and none is used so often that its U were refuted. */
static void do_connect(int fd) {
    static int number;
    struct sockaddr_in6 to = with_port(served, SILENT + number++ % 1000);
    connect(fd, SA(&to), sizeof to);
}
/* Nobody says who that is before the budget is over. */
static void do_connect_unknown(int fd) {
    struct sockaddr_in6 to = unknown(SILENT);
    to.sin6_addr.s6_addr[7] = 2;
    connect(fd, SA(&to), sizeof to);
}
static char room[1 << 16];
static void do_recv(int fd) { recv(fd, room, sizeof room, 0); }
static void do_read(int fd) { (void)!read(fd, room, sizeof room); }
static void do_recvfrom(int fd) {
    struct sockaddr_in6 from;
    socklen_t len = sizeof from;
    recvfrom(fd, room, sizeof room, 0, SA(&from), &len);
}
static void do_recvmsg(int fd) {
    struct sockaddr_in6 from;
    struct iovec part = {room, sizeof room};
    struct msghdr message = {&from, sizeof from, &part, 1, NULL, 0, 0};
    recvmsg(fd, &message, 0);
}
static void do_recvmmsg(int fd) {
    struct iovec part = {room, sizeof room};
    struct mmsghdr messages[2] = {{{NULL, 0, &part, 1, NULL, 0, 0}, 0},
                                  {{NULL, 0, &part, 1, NULL, 0, 0}, 0}};
    recvmmsg(fd, messages, 2, 0, NULL);
}
/* What is on its way yet may make room for some. */
static void do_send(int fd) {
    while (send(fd, room, sizeof room, MSG_NOSIGNAL) > 0)
        ;
}
static void do_write(int fd) {
    while (write(fd, room, sizeof room) > 0)
        ;
}
static void do_sendmsg(int fd) {
    struct iovec part = {room, sizeof room};
    struct msghdr message = {NULL, 0, &part, 1, NULL, 0, 0};
    while (sendmsg(fd, &message, MSG_NOSIGNAL) > 0)
        ;
}

static const struct call CALLS[] = {
    {"connect", SYS_connect, do_connect, silent_stream},
    {"recvfrom", SYS_recvfrom, do_recvfrom, datagrams},
    {"recv", SYS_recvfrom, do_recv, connected_datagrams},
    {"read", SYS_read, do_read, connected_datagrams},
    {"recvmsg", SYS_recvmsg, do_recvmsg, datagrams},
    {"recvmmsg", SYS_recvmmsg, do_recvmmsg, connected_datagrams},
    {"recv, a stream", SYS_recvfrom, do_recv, served_stream},
    {"read, a stream", SYS_read, do_read, served_stream},
    {"send, a stream", SYS_sendto, do_send, full_stream},
    {"write, a stream", SYS_write, do_write, full_stream},
    {"sendmsg, a stream", SYS_sendmsg, do_sendmsg, full_stream},
};
/* Here it is our own question that is waited in when the thread is cancelled, and the
 * call behind that ends it. */
static const struct call UNKNOWN = {"connect, to an unknown destination", SYS_ppoll,
                                    do_connect_unknown, silent_stream};

struct task {
    const struct call *call;
    int fd;
};

static void *work(void *data) {
    struct task *task = data;
    struct linger reset = {1, 0};
    self = &workers[1];
    int fd = task->fd;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    pthread_cleanup_push(clean, &fd);
    AT(task->call->name);
    tid = gettid();
    task->call->run(fd);
    /* What ends by itself is not what this is about. */
    WRONG("%s came back: %s", task->call->name, strerrorname_np(errno));
    pthread_cleanup_pop(0);
    return NULL;
}

/* The numbers of the signals that are held back in this thread. */
static unsigned long held(void) {
    unsigned long set = 0;
    MUST(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &set, 8));
    return set;
}

static int cancel(const struct call *call, pthread_attr_t *attributes) {
    struct task task = {call, -1};
    pthread_t thread;
    void *result;
    AT("prepare");
    task.fd = call->prepare();
    tid = 0;
    cleaned = 0;
    AT("pthread_create");
    if (pthread_create(&thread, attributes, work, &task))
        exit(1);
    AT("wait for it");
    while (!tid)
        sched_yield();
    int found = is_in(tid, call->number);
    AT("pthread_cancel");
    pthread_cancel(thread);
    AT(call->name);
    pthread_join(thread, &result);
    workers[1].doing = NULL;
    if (result != PTHREAD_CANCELED || cleaned != 1)
        WRONG("%s: cancelled %d, cleaned %d", call->name, result == PTHREAD_CANCELED, cleaned);
    if (accepted >= 0)
        CLEAN(close(accepted));
    accepted = -1;
    if (fcntl(task.fd, F_GETFD) != -1)
        WRONG("%s: the descriptor is open", call->name);
    return found;
}

static void ignore(int signal) { (void)signal; }

int main(int count, char **words) {
    enum { CALLS_COUNT = sizeof CALLS / sizeof *CALLS, STACK = 128 * 1024, STACKS = 64 };
    long cancellations = storm(count, words), unknowns = 0, moved = 0, checks = 0;
    struct sigaction action = {.sa_handler = ignore};
    pthread_attr_t small, own;
    echo = with_port(served, ECHO);
    struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons(MUTE)};
    listening = tcp();
    MUST(bind(listening, SA(&here), sizeof here));
    MUST(listen(listening, 8));
    /* A handler, so that our question has something to hold back. */
    MUST(sigaction(SIGUSR1, &action, NULL));
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, STACK);
    char *stacks = mmap(NULL, STACK * STACKS, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    /* Everything is loaded that pthread_cancel needs. */
    cancel(&CALLS[0], &small);
    int before = open_descriptors();
    unsigned long mask = held();
    for (long i = 0; i < cancellations; i++) {
        cancel(&CALLS[i % CALLS_COUNT], &small);
        if (i % 32 == 0) {
            /* Who a thread is its stack tells. */
            pthread_attr_init(&own);
            pthread_attr_setstack(&own, stacks + i / 32 % STACKS * STACK, STACK);
            unknowns += cancel(&UNKNOWN, &own);
        }
        if (i % CALLS_COUNT == 0) {
            AT("the next calls");
            int fd = connected();
            struct linger reset = {1, 0};
            MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
            shows_a(fd);
            moved += is_moved(fd);
            checks++;
            CLEAN(close(fd));
            if (open_descriptors() != before)
                WRONG("%d descriptors instead of %d", open_descriptors(), before);
            if (held() != mask)
                WRONG("signals are held back");
        }
    }
    printf("cancelled=%ld unknowns=%ld checks=%ld moved=%ld descriptors=%d\n", cancellations,
           unknowns, checks, moved, open_descriptors() - before);
    return 0;
}
