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

/* Nor to one that has come from elsewhere by that number. */
static void untouched_either(int fd) {
    struct sockaddr_in6 name;
    socklen_t len = sizeof name;
    if (option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT) != KEPT)
        WRONG("TCP_USER_TIMEOUT of the socket from elsewhere is %d",
              option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT));
    CLEAN(getpeername(fd, SA(&name), &len));
    if (!IN6_IS_ADDR_LOOPBACK(&name.sin6_addr))
        WRONG("the socket from elsewhere shows another peer");
}

/* Of one descriptor, as it is sent or received. */
static struct msghdr message(char *control, size_t size) {
    static char octet;
    static struct iovec piece = {&octet, 1};
    return (struct msghdr){
        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = size};
}

/* A connection with an option of the program's, under way to it by a message. */
static int under_way(void) {
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = "";
    struct msghdr sent = message(control, sizeof control);
    struct cmsghdr *rights = CMSG_FIRSTHDR(&sent);
    struct sockaddr_in6 name = loopback();
    int pair[2], kept = KEPT, connected = tcp();
    CLEAN(connect(connected, SA(&name), sizeof name));
    MUST(setsockopt(connected, IPPROTO_TCP, TCP_USER_TIMEOUT, &kept, sizeof kept));
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    *rights = (struct cmsghdr){CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
    memcpy(CMSG_DATA(rights), &connected, sizeof connected);
    CLEAN(sendmsg(pair[0], &sent, 0));
    CLEAN(close(connected));
    return pair[1];
}

static int come(int from) {
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    struct msghdr received = message(control, sizeof control);
    int fd;
    CLEAN(recvmsg(from, &received, 0));
    memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&received)), sizeof fd);
    return fd;
}

static void reused(const char *how, const char *expected) {
    int listening = served_here(), kept = KEPT;
    int is_handed = strstr(how, "handed") != NULL, from = is_handed ? under_way() : -1;
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
    int fd = is_handed ? come(from) : tcp();
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
    if (!is_handed)
        MUST(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &kept, sizeof kept));
    end_waiting(thread, expected);
    if (is_handed)
        untouched_either(fd);
    else
        untouched(fd);
}

/* --- descriptors --------------------------------------------------------------- */

/* The program's own, when somebody begins to ask. */
static char own[NUMBERS];

/* A thread asks about who is silent. */
static pthread_t begin_asking(void) {
    to = unknown(9);
    to.sin6_addr.s6_addr[7] = 2;
    waiting = tcp();
    snapshot(own);
    return begin_waiting(SYS_ppoll);
}

static int regular(void) { return MUST(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)); }

static ino_t inode(int fd) {
    struct stat status;
    if (fstat(fd, &status))
        WRONG("descriptor %d: %s", fd, strerrorname_np(errno));
    return status.st_ino;
}

/* What is closed all at once is closed, and what is opened behind it stays open. */
static void range(const char *how) {
    int files[FILES];
    ino_t inodes[FILES];
    char before[NUMBERS];
    pthread_t thread = begin_asking();
    if (strstr(how, "closefrom"))
        closefrom(3);
    else if (strstr(how, "each"))
        for (int fd = 3; fd < NUMBERS; fd++)
            close(fd);
    else
        CLEAN(close_range(3, ~0U, 0));
    for (int i = 0; i < FILES; i++) {
        files[i] = i % 2 ? regular() : tcp();
        inodes[i] = inode(files[i]);
        if (files[i] != 3 + i)
            WRONG("the %dth is %d", i, files[i]);
    }
    snapshot(before);
    end_waiting(thread, "EBADF");
    same(before, "behind the question");
    for (int i = 0; i < FILES; i++)
        if (inode(files[i]) != inodes[i])
            WRONG("%d is another file", files[i]);
}

/* Every number that is not the program's is made the program's. */
static void onto(const char *unused) {
    char during[NUMBERS];
    int file = regular(), count = 0;
    pthread_t thread = begin_asking();
    snapshot(during);
    for (int fd = 0; fd < NUMBERS; fd++)
        if (during[fd] && !own[fd]) {
            if (count++ % 2)
                CLEAN(dup2(file, fd));
            else
                CLEAN(dup3(file, fd, O_CLOEXEC));
            own[fd] = 2;
        }
    if (count < 2)
        WRONG("nothing was open");
    /* This replaces nothing. */
    if (dup2(NUMBERS - 1, file) != -1 || errno != EBADF)
        WRONG("dup2 of nothing");
    end_waiting(thread, "ECONNREFUSED");
    same(during, "behind the question");
    for (int fd = 0; fd < NUMBERS; fd++)
        if (own[fd] == 2 && inode(fd) != inode(file))
            WRONG("%d is another file", fd);
    (void)unused;
}

/* The lowest free number is the program's, also while somebody asks. */
static void lowest(const char *unused) {
    pthread_t thread = begin_asking();
    int fds[FILES];
    for (int i = 0, lowest = 0; i < FILES; i++, lowest++) {
        while (own[lowest])
            lowest++;
        if ((fds[i] = regular()) != lowest)
            WRONG("the %dth is %d", i, fds[i]);
    }
    end_waiting(thread, "ECONNREFUSED");
    (void)unused;
}

/* A child has what the program has opened, and nothing else. */
static void child(const char *how) {
    int status;
    pthread_t thread = begin_asking();
    pid_t pid = strstr(how, "_Fork") ? _Fork() : strstr(how, "clone") ?
        (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
    if (pid == 0) {
        /* Unseen: known by the first call that closes something. */
        if (strstr(how, "clone"))
            close(NUMBERS - 1);
        same(own, "in a child");
        _exit(0);
    }
    AT("waitpid");
    MUST(pid);
    MUST(waitpid(pid, &status, 0));
    if (status)
        WRONG("a child: %#x", status);
    end_waiting(thread, "ECONNREFUSED");
}

/* A child with this memory closes what it has, and takes nothing from its parent. */
static void vfork_child(const char *unused) {
    int status;
    pthread_t thread = begin_asking();
    pid_t pid = vfork();
    if (pid == 0) {
        close_range(3, ~0U, 0);
        _exit(0);
    }
    AT("waitpid");
    MUST(pid);
    MUST(waitpid(pid, &status, 0));
    end_waiting(thread, "ECONNREFUSED");
    if (option(waiting, IPPROTO_TCP, TCP_USER_TIMEOUT))
        WRONG("TCP_USER_TIMEOUT is %d", option(waiting, IPPROTO_TCP, TCP_USER_TIMEOUT));
    (void)unused;
}

/* --- filters ------------------------------------------------------------------- */

#define KILL_ON(call)                                                               \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1),                          \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS)

/* A filter for all threads, which kills on what none of them does any more. */
static void filter(const char *how) {
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        KILL_ON(socket), KILL_ON(sendto), KILL_ON(recvmsg), KILL_ON(recvfrom),
        KILL_ON(ppoll), KILL_ON(setsockopt), KILL_ON(getsockopt), KILL_ON(close),
        KILL_ON(fcntl), KILL_ON(getpid), KILL_ON(getsockname), KILL_ON(getpeername),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    struct sock_fprog bad = {0, NULL};
    int trying = strstr(how, "trying") != NULL, limit = 2100;
    pthread_t thread;
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (trying) {
        to = with_port(served, SILENT);
        waiting = tcp();
        MUST(setsockopt(waiting, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit));
        thread = begin_waiting(SYS_connect);
    } else if (strstr(how, "datagram")) {
        to = unknown(9);
        to.sin6_addr.s6_addr[7] = 2;
        is_datagram = 1;
        waiting = udp();
        thread = begin_waiting(SYS_ppoll);
    } else {
        thread = begin_asking();
    }
    if (strstr(how, "failing")) {
        /* That ends what is asked, and nothing else. */
        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &bad) != -1)
            WRONG("a filter of nothing");
        end_waiting(thread, "ECONNREFUSED");
        thread = begin_asking();
    }
    MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program));
    end_waiting(thread, trying ? "ETIMEDOUT" : is_datagram ? "0" : "ECONNREFUSED");
}

int main(int count, char **words) {
    if (count != 3)
        return 64;
    const char *what = words[2];
    begin(2, words);
    watched(60);
    if (!strncmp(what, "reused", 6))
        reused(what, strstr(what, "trying") ? "ETIMEDOUT" : "EBADF");
    if (!strncmp(what, "range", 5))
        range(what);
    if (!strcmp(what, "onto"))
        onto(what);
    if (!strcmp(what, "lowest"))
        lowest(what);
    if (!strncmp(what, "child", 5))
        child(what);
    if (!strcmp(what, "vfork"))
        vfork_child(what);
    if (!strncmp(what, "filter", 6))
        filter(what);
    CLEAN(write(1, "done\n", 5));
    return 0;
}
