/* A handler that connects and sends, ten thousand times a second, while the program is
 * in hooks and in malloc: PROGRAM ADDRESS SECONDS-OF-STORM SECONDS. */
#include "storm.h"
#include <link.h>
#include <setjmp.h>
#include <ucontext.h>

enum { INTERVAL_NS = 100000, SIZES = 64 };

/* Used by the program and by its handler. */
static int plain, peer, stream;
static volatile int current = -1;
/* Where the handler jumps to, as wget's does, when the program says that it may. */
static sigjmp_buf back;
static volatile int may_jump, jumps;
static struct sockaddr_in6 echo;
static volatile int allocating;
static volatile unsigned long runs, late, in_library, in_allocator, moved;
static uintptr_t library, library_end;
static timer_t timer;

static int find(struct dl_phdr_info *info, size_t size, void *unused) {
    (void)size, (void)unused;
    if (!strstr(info->dlpi_name, "libaarp"))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
            library = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            library_end = library + info->dlpi_phdr[i].p_memsz;
        }
    return 1;
}

static uintptr_t interrupted_at(void *context) {
    ucontext_t *at = context;
#ifdef __x86_64__
    return at->uc_mcontext.gregs[REG_RIP];
#else
    return at->uc_mcontext.pc;
#endif
}

static void quiet_close(int fd) {
    struct linger reset = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    if (close(fd))
        WRONG("close: %s", strerrorname_np(errno));
}

static void handle(int signal, siginfo_t *info, void *context) {
    int error = errno;
    const char *doing = self->doing;
    (void)signal;
    late += info->si_overrun;
    AT("in the handler");
    uintptr_t at = interrupted_at(context);
    in_library += at - library < library_end - library;
    in_allocator += allocating;
    runs++;
    /* What the program may be at, at this very moment. */
    sendto(plain, "question", 8, MSG_DONTWAIT, SA(&echo), sizeof echo);
    if (current >= 0)
        sendto(current, "question", 8, MSG_DONTWAIT, SA(&echo), sizeof echo);
    if (connect(peer, SA(&echo), sizeof echo))
        WRONG("connect again: %s", strerrorname_np(errno));
    shows_a(peer);
    if (runs % 16 == 0) {
        AT("in the handler, a stream");
        int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0);
        if (connect(fd, SA(&served), sizeof served) && errno != EINPROGRESS)
            WRONG("connect: %s", strerrorname_np(errno));
        shows_a(stream);
        moved += is_moved(fd);
        quiet_close(fd);
    }
    if (runs % 64 == 1) {
        AT("in the handler, to an unknown destination");
        struct sockaddr_in6 to = unknown(ECHO);
        int fd = socket(AF_INET6, SOCK_DGRAM, 0);
        connect(fd, SA(&to), sizeof to);
        quiet_close(fd);
    }
    self->doing = doing;
    if (may_jump) {
        may_jump = 0;
        jumps++;
        siglongjmp(back, 1);
    }
    errno = error;
}

static void allocate(unsigned turn) {
    static void *kept[SIZES];
    allocating = 1;
    for (int i = 0; i < 200; i++) {
        void **place = &kept[(turn * 7 + i) % SIZES];
        free(*place);
        *place = malloc(16u << (turn + i) % 14);
        if (!*place)
            WRONG("malloc");
        memset(*place, turn, 16);
    }
    allocating = 0;
}

int main(int count, char **words) {
    long length = storm(count, words) * 1000;
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};
    struct itimerspec often = {{0, INTERVAL_NS}, {0, INTERVAL_NS}}, never = {0};
    echo = with_port(served, ECHO);
    dl_iterate_phdr(find, NULL);
    AT("connect");
    stream = kept_stream();
    int before = open_descriptors();
    plain = udp(), peer = udp();
    CLEAN(connect(peer, SA(&echo), sizeof echo));
    CLEAN(sendto(plain, "question", 8, 0, SA(&echo), sizeof echo));
    event._sigev_un._tid = gettid();
    MUST(sigaction(SIGRTMIN, &action, NULL));
    MUST(timer_create(CLOCK_MONOTONIC, &event, &timer));
    MUST(timer_settime(timer, 0, &often, NULL));
    long began = now_ms(), took, own_moved = 0;
    /* So many handlers as ten thousand a second would have been: where one takes longer
     * than from one to the next, as on a slow machine, the storm does. */
    unsigned long handlers = length * (1000000 / INTERVAL_NS);
    unsigned turn = 0;
    while ((took = now_ms() - began) < length || runs < handlers) {
        char text[64];
        struct sockaddr_in6 from;
        socklen_t len = sizeof from;
        AT("sendto");
        CLEAN(sendto(plain, "question", 8, MSG_DONTWAIT, SA(&echo), sizeof echo));
        AT("recvfrom");
        if (recvfrom(plain, text, sizeof text, MSG_DONTWAIT, SA(&from), &len) == 8 &&
            !is_a(&from))
            WRONG("an answer from another");
        AT("socket, connect, getpeername, of a datagram socket");
        int fd = udp();
        current = fd;
        CLEAN(connect(fd, SA(&echo), sizeof echo));
        shows_a(fd);
        own_moved += is_moved(fd);
        /* A U of which nothing is ever heard would be given up. */
        AT("send, recv");
        struct pollfd entry = {.fd = fd, .events = POLLIN};
        CLEAN(send(fd, "question", 8, MSG_DONTWAIT));
        if (poll(&entry, 1, 100) == 1)
            recv(fd, text, sizeof text, MSG_DONTWAIT);
        current = -1;
        AT("dup, dup2, fcntl, close");
        int copy = CLEAN(dup(peer));
        CLEAN(dup2(fd, copy));
        CLEAN(fcntl(peer, F_SETFL, turn & 1 ? O_NONBLOCK : 0));
        CLEAN(close(copy));
        CLEAN(close(fd));
        AT("getpeername");
        shows_a(peer);
        shows_a(stream);
        if (turn % 32 == 16) {
            AT("connect, out of which the handler jumps");
            static struct sockaddr_in6 to;
            static int left;
            to = unknown(9);
            left = tcp();
            if (!sigsetjmp(back, 1)) {
                may_jump = 1;
                connect(left, SA(&to), sizeof to);
                may_jump = 0;
            }
            CLEAN(close(left));
        }
        if (turn % 32 == 0) {
            AT("connect, to an unknown destination");
            struct sockaddr_in6 to = unknown(9);
            fd = tcp();
            if (connect(fd, SA(&to), sizeof to) == 0 || errno != ECONNREFUSED)
                WRONG("an unknown destination: %s", strerrorname_np(errno));
            CLEAN(close(fd));
            AT("connect, a stream");
            fd = tcp();
            int result = connect(fd, SA(&served), sizeof served);
            if (result)
                WRONG("connect: %s", strerrorname_np(errno));
            shows_a(fd);
            quiet_close(fd);
        }
        AT("malloc");
        allocate(turn++);
    }
    AT("timer_settime");
    MUST(timer_settime(timer, 0, &never, NULL));
    CLEAN(close(plain));
    CLEAN(close(peer));
    AT("count descriptors");
    int left = open_descriptors() - before;
    if (left)
        WRONG("%d descriptors are left", left);
    printf("turns=%u runs=%lu rate=%lu late=%lu in_library=%lu in_allocator=%lu jumps=%d moved=%lu "
           "own_moved=%ld\n",
           turn, runs, runs * 1000 / took, late, in_library, in_allocator, jumps, moved, own_moved);
    return 0;
}
