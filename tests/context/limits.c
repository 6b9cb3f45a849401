/* A connect() that limits the time of its socket, and never comes to its end: its thread
 * is cancelled, or a handler jumps out of it. Then the program's own limits are found, by
 * it and by the kernel. PROGRAM ADDRESS. */
#include "storm.h"
#include <setjmp.h>

/* What the program has set, in milliseconds. */
struct limits {
    long user, send;
};

static const struct limits OWN[] = {{0, 0}, {50000, 0}, {0, 60000}, {70000, 80000}};
enum { WAYS = sizeof OWN / sizeof *OWN };

static atomic_int tid;
static int fd;
static struct sockaddr_in6 to;
static sigjmp_buf back;

static void *connecting(void *unused) {
    self = &workers[1];
    AT("connect");
    tid = gettid();
    connect(fd, SA(&to), sizeof to);
    WRONG("connect came back: %s", strerrorname_np(errno));
    return unused;
}

static void jump(int signal) {
    (void)signal;
    siglongjmp(back, 1);
}

static void begin_with(const struct limits *own) {
    struct timeval send = {own->send / 1000, 0};
    unsigned user = own->user;
    int retries = 2;
    fd = tcp();
    CLEAN(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user, sizeof user));
    CLEAN(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &send, sizeof send));
    /* So that who is not known is not asked about for long. */
    CLEAN(setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &retries, sizeof retries));
    tid = 0;
}

static void shows(const struct limits *own) {
    struct timeval send;
    unsigned user;
    socklen_t len = sizeof user, time_len = sizeof send;
    CLEAN(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user, &len));
    CLEAN(getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &send, &time_len));
    long time = send.tv_sec * 1000 + send.tv_usec / 1000;
    if (user != own->user || time != own->send || len != 4 || time_len != sizeof send)
        WRONG("limits %u, %ld", user, time);
}

static void has(const struct limits *own) {
    long user = kernel_limit(fd, IPPROTO_TCP, TCP_USER_TIMEOUT);
    long send = kernel_limit(fd, SOL_SOCKET, SO_SNDTIMEO);
    if (user != own->user || send != own->send)
        WRONG("the kernel has limits %ld, %ld", user, send);
}

/* By whichever call the program goes on, the kernel has its limits before. */
static void next_call(int way) {
    static const char *const WAY[] = {"send", "write", "recv", "connect", "close", "disconnect"};
    struct sockaddr_in6 nowhere = {.sin6_family = AF_UNSPEC};
    int copy = -1;
    AT(WAY[way % 6]);
    switch (way % 6) {
    case 0: send(fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL); break;
    case 1: fcntl(fd, F_SETFL, O_NONBLOCK), (void)!write(fd, "", 1); break;
    case 2: recv(fd, (char[1]){0}, 1, MSG_DONTWAIT); break;
    case 3: fcntl(fd, F_SETFL, O_NONBLOCK), connect(fd, SA(&to), sizeof to); break;
    case 4: copy = MUST(dup(fd)), CLEAN(close(fd)), fd = copy; break;
    case 5: CLEAN(connect(fd, SA(&nowhere), sizeof nowhere)); break;
    }
}

/* Cancelled while it is in the call behind. Another thread then uses the socket. */
static void cancelled(const struct limits *own, int way) {
    pthread_t thread;
    void *result;
    begin_with(own);
    if (pthread_create(&thread, NULL, connecting, NULL))
        exit(1);
    while (!tid)
        sched_yield();
    AT("wait for it");
    is_in(tid, SYS_connect);
    /* Nobody sees meanwhile what it has set. */
    AT("getsockopt meanwhile");
    shows(own);
    if (kernel_limit(fd, IPPROTO_TCP, TCP_USER_TIMEOUT) == own->user &&
        kernel_limit(fd, SOL_SOCKET, SO_SNDTIMEO) == own->send)
        WRONG("not limited");
    pthread_cancel(thread);
    AT("pthread_join");
    pthread_join(thread, &result);
    workers[1].doing = NULL;
    if (result != PTHREAD_CANCELED)
        WRONG("not cancelled");
    shows(own);
    /* To close it is for who has it alone. */
    next_call(way % 6 == 4 ? 0 : way);
    has(own);
    shows(own);
    CLEAN(close(fd));
}

static void *interrupt(void *data) {
    self = &workers[1];
    AT("wait for it");
    is_in(tid, SYS_connect);
    pthread_kill(*(pthread_t *)data, SIGUSR1);
    self->doing = NULL;
    return NULL;
}

static void jumped(const struct limits *own, int way) {
    static pthread_t thread, this;
    begin_with(own);
    this = pthread_self();
    tid = gettid();
    if (sigsetjmp(back, 1) == 0) {
        if (pthread_create(&thread, NULL, interrupt, &this))
            exit(1);
        AT("connect");
        connect(fd, SA(&to), sizeof to);
        WRONG("connect came back: %s", strerrorname_np(errno));
    }
    AT("pthread_join");
    pthread_join(thread, NULL);
    if (way % 2)
        shows(own);
    next_call(way / 2);
    has(own);
    shows(own);
    /* What it sets then is what it has. */
    unsigned user = 90000;
    CLEAN(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user, sizeof user));
    shows(&(struct limits){user, own->send});
    next_call(0);
    has(&(struct limits){user, own->send});
    CLEAN(close(fd));
}

/* What the program sets while another thread is in connect() is what it has. */
static void set_meanwhile(void) {
    struct limits own = {40000, 0};
    unsigned user = own.user;
    pthread_t thread;
    begin_with(&OWN[0]);
    if (pthread_create(&thread, NULL, connecting, NULL))
        exit(1);
    while (!tid)
        sched_yield();
    AT("setsockopt meanwhile");
    is_in(tid, SYS_connect);
    CLEAN(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user, sizeof user));
    pthread_cancel(thread);
    pthread_join(thread, NULL);
    workers[1].doing = NULL;
    shows(&own);
    next_call(0);
    has(&own);
    CLEAN(close(fd));
}

int main(int count, char **words) {
    struct sigaction action = {.sa_handler = jump};
    if (count != 2)
        return 64;
    begin(2, words);
    watched(60);
    MUST(sigaction(SIGUSR1, &action, NULL));
    CLEAN(close(connected()));
    for (int turn = 0; turn < 12; turn++)
        for (int way = 0; way < WAYS; way++) {
            /* Each U fails by being given up, for its port. */
            int port = SILENT + turn * WAYS + way;
            to = with_port(served, port);
            cancelled(&OWN[way], turn);
            to = with_port(served, port + 500);
            jumped(&OWN[way], turn);
        }
    to = with_port(served, SILENT + 999);
    set_meanwhile();
    /* A itself, after the question who that is. */
    to = unknown(SILENT);
    to.sin6_addr.s6_addr[7] = 2;
    jumped(&OWN[0], 1);
    puts("done");
    return 0;
}
