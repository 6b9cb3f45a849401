/* While one thread waits for us in a call - A is being asked, or a U tried - another
 * closes, replaces, inherits or forbids what it waits with: PROGRAM ADDRESS WHAT. */
#include "storm.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { SERVED = 7777, KEPT = 77777, FILES = 6, NUMBERS = 1024 };

static struct sockaddr_in6 to;
static int waiting = -1, is_datagram, result, error;
static atomic_int task;

/* --- the thread that waits --------------------------------------------------- */

static void *wait_in_call(void *unused) {
    task = gettid();
    errno = 0;
    result = is_datagram ? sendto(waiting, "DATAGRAM", 8, 0, SA(&to), sizeof to)
                         : connect(waiting, SA(&to), sizeof to);
    error = errno;
    return unused;
}

/* In which system call it is; -1 where it runs. */
static long call_of_thread(void) {
    char path[64], text[64] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", task);
    int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY);
    if (fd < 0 || syscall(SYS_read, fd, text, sizeof text - 1) < 0)
        WRONG("%s: %s", path, strerrorname_np(errno));
    syscall(SYS_close, fd);
    return *text == 'r' ? -1 : atol(text);
}

static pthread_t begin_waiting(long call) {
    pthread_t thread;
    AT("begin_waiting");
    task = 0;
    if (pthread_create(&thread, NULL, wait_in_call, NULL))
        WRONG("pthread_create");
    while (!task || call_of_thread() != call)
        sched_yield();
    return thread;
}

static void end_waiting(pthread_t thread, const char *expected) {
    AT("end_waiting");
    pthread_join(thread, NULL);
    const char *told = result >= 0 ? "0" : strerrorname_np(error);
    if (strcmp(told, expected))
        WRONG("the call that waited: %s", told);
}

/* --- what there is ----------------------------------------------------------- */

static void snapshot(char *open) {
    for (int fd = 0; fd < NUMBERS; fd++)
        open[fd] = syscall(SYS_fcntl, fd, F_GETFD) >= 0;
}

static void same(const char *before, const char *when) {
    char now[NUMBERS];
    snapshot(now);
    for (int fd = 0; fd < NUMBERS; fd++)
        if (now[fd] != before[fd])
            WRONG("%s: descriptor %d is %s", when, fd, now[fd] ? "open" : "closed");
}

static void raw_close(int fd) {
#ifdef __x86_64__
    long number = SYS_close;
    __asm__ volatile("syscall" : "+a"(number) : "D"((long)fd) : "rcx", "r11", "memory");
#else
    syscall(SYS_close, fd);
#endif
}

static int served_here(void) {
    struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons(SERVED)};
    int listening = tcp();
    MUST(bind(listening, SA(&here), sizeof here));
    MUST(listen(listening, 8));
    return listening;
}

static struct sockaddr_in6 loopback(void) {
    return (struct sockaddr_in6){.sin6_family = AF_INET6,
                                 .sin6_port = htons(SERVED),
                                 .sin6_addr = IN6ADDR_LOOPBACK_INIT};
}

/* --- another socket with the number ------------------------------------------- */

static int option(int fd, int level, int name) {
    int value = -1;
    socklen_t len = sizeof value;
    MUST(syscall(SYS_getsockopt, fd, level, name, &value, &len));
    return value;
}

/* Nothing was done to a socket but what the program has done. */
static void untouched(int fd) {
    struct tcp_info info = {0};
    socklen_t len = sizeof info;
    MUST(syscall(SYS_getsockopt, fd, IPPROTO_TCP, TCP_INFO, &info, &len));
    if (info.tcpi_state != TCP_CLOSE)
        WRONG("the new socket is in state %d", info.tcpi_state);
    if (option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT) != KEPT)
        WRONG("TCP_USER_TIMEOUT of the new socket is %d",
              option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT));
    struct sockaddr_in6 name = loopback(), peer;
    CLEAN(connect(fd, SA(&name), sizeof name));
    len = sizeof peer;
    CLEAN(getpeername(fd, SA(&peer), &len));
    if (memcmp(&peer.sin6_addr, &name.sin6_addr, 16))
        WRONG("the new socket shows another peer");
}

static void reused(const char *how, const char *expected) {
    int listening = served_here(), kept = KEPT;
    int unseen = strstr(how, "unseen") != NULL;
    is_datagram = strstr(how, "datagram") != NULL;
    int trying = strstr(how, "trying") != NULL;
    to = trying ? with_port(served, SILENT) : unknown(ECHO);
    if (!trying)
        to.sin6_addr.s6_addr[7] = 2;
    waiting = is_datagram ? udp() : tcp();
    if (trying) {
        int limit = 2200;
        MUST(setsockopt(waiting, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit));
    }
    pthread_t thread = begin_waiting(trying ? SYS_connect : SYS_ppoll);
    if (unseen)
        raw_close(waiting);
    else
        CLEAN(close(waiting));
    int fd = tcp();
    if (fd != waiting)
        WRONG("the number is not used again");
    if (is_datagram) {
        struct sockaddr_in6 name = loopback();
        char text[16];
        CLEAN(connect(fd, SA(&name), sizeof name));
        int peer = CLEAN(accept(listening, NULL, NULL));
        end_waiting(thread, expected);
        if (recv(peer, text, sizeof text, MSG_DONTWAIT) != -1)
            WRONG("the datagram went into another connection");
        return;
    }
    MUST(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kept, sizeof kept));
    end_waiting(thread, expected);
    untouched(fd);
}

int main(int count, char **words) {
    if (count != 3)
        return 64;
    const char *what = words[2];
    begin(2, words);
    watched(60);
    if (!strncmp(what, "reused", 6))
        reused(what, strstr(what, "trying") ? "ETIMEDOUT" : "EBADF");
    CLEAN(write(1, "done\n", 5));
    return 0;
}
