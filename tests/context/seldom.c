/* What few programs do: PROGRAM ADDRESS WHAT. */
#include "storm.h"
#include <sched.h>
#include <sys/uio.h>

/* Beside A, of which U serves: one that answers for itself. */
static struct sockaddr_in6 echo, direct;
static char octets[8];
static struct iovec part = {octets, 8};

extern ssize_t __recv_chk(int, void *, size_t, size_t, int);
extern ssize_t __read(int, void *, size_t);
extern ssize_t __read_chk(int, void *, size_t, size_t);

/* --- several destinations, and calls that have no room for a source --------------- */

static ssize_t by_recv(int fd) { return recv(fd, octets, 8, 0); }
static ssize_t by_recv_chk(int fd) { return __recv_chk(fd, octets, 8, 8, 0); }
static ssize_t by_recvfrom(int fd) { return recvfrom(fd, octets, 8, 0, NULL, NULL); }
static ssize_t by_read(int fd) { return read(fd, octets, 8); }
static ssize_t by_other_read(int fd) { return __read(fd, octets, 8); }
static ssize_t by_read_chk(int fd) { return __read_chk(fd, octets, 8, 8); }
static ssize_t by_readv(int fd) { return readv(fd, &part, 1); }
static ssize_t by_recvmsg(int fd) {
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    ssize_t count = recvmsg(fd, &message, 0);
    return message.msg_name || message.msg_namelen || message.msg_flags ? -2 : count;
}
static ssize_t by_recvmmsg(int fd) {
    struct mmsghdr message = {{.msg_iov = &part, .msg_iovlen = 1}, 0};
    return recvmmsg(fd, &message, 1, 0, NULL) == 1 ? (ssize_t)message.msg_len : -1;
}
static ssize_t by_sys_recvmsg(int fd) {
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    return syscall(SYS_recvmsg, fd, &message, 0);
}
static ssize_t by_sys_read(int fd) { return syscall(SYS_read, fd, octets, 8); }
static ssize_t by_sys_readv(int fd) { return syscall(SYS_readv, fd, &part, 1); }
static ssize_t by_sys_recvfrom(int fd) {
    return syscall(SYS_recvfrom, fd, octets, 8, 0, NULL, NULL);
}

static ssize_t (*const ways[])(int) = {by_recv,     by_recv_chk,   by_recvfrom,   by_read,
                                       by_other_read, by_read_chk, by_readv,      by_sys_read,
                                       by_sys_readv, by_sys_recvfrom, by_recvmsg, by_recvmmsg,
                                       by_sys_recvmsg};
enum { WAYS = sizeof ways / sizeof *ways };

/* A pause that is tested: for less than a second nobody is taken for silent. */
static void pause_between(void) {
    struct timespec pause = {.tv_nsec = 400000000};
    clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
}

static void answers(void) {
    int fds[WAYS];
    for (int i = 0; i < WAYS; i++)
        fds[i] = udp();
    for (int round = 0; round < 5; round++, pause_between())
        for (int i = 0; i < WAYS; i++) {
            AT("answers");
            CLEAN(sendto(fds[i], "question", 8, 0, SA(&echo), sizeof echo));
            CLEAN(sendto(fds[i], "question", 8, 0, SA(&direct), sizeof direct));
            for (int answer = 0; answer < 2; answer++)
                if (CLEAN(ways[i](fds[i])) != 8)
                    WRONG("way %d: no answer", i);
        }
    /* Nothing is asked for: nothing is taken. */
    for (int i = 0; i < WAYS; i++) {
        struct pollfd entry = {.fd = fds[i], .events = POLLIN};
        CLEAN(sendto(fds[i], "question", 8, 0, SA(&echo), sizeof echo));
        if (poll(&entry, 1, 30000) != 1 || read(fds[i], octets, 0) != 0 ||
            __read_chk(fds[i], octets, 0, 8) != 0 || readv(fds[i], &part, 0) != 0 ||
            syscall(SYS_read, fds[i], octets, 0) != 0 || ways[i](fds[i]) != 8)
            WRONG("way %d: something was taken by who asked for nothing", i);
    }
}

/* --- what comes out of the queue of errors is nobody's answer ---------------------- */

static void timestamps(void) {
    struct sockaddr_in6 mute = with_port(served, MUTE);
    int fd = udp(), software = 1 << 1 | 1 << 4 | 1 << 11, told = 0;
    CLEAN(connect(fd, SA(&mute), sizeof mute));
    CLEAN(setsockopt(fd, SOL_SOCKET, 37 /* SO_TIMESTAMPING */, &software, sizeof software));
    for (int round = 0; round < 5; round++, pause_between()) {
        struct pollfd entry = {.fd = fd};
        AT("timestamps");
        CLEAN(send(fd, "question", 8, 0));
        if (poll(&entry, 1, 30000) != 1)
            WRONG("no timestamp");
        told += recv(fd, octets, 8, MSG_ERRQUEUE | MSG_DONTWAIT) >= 0;
    }
    if (!told)
        WRONG("no timestamp was told");
    if (is_moved(fd))
        WRONG("a silent U is kept");
}

/* --- a packet that is too large --------------------------------------------------- */

static void large(void) {
    static char large[3000];
    struct sockaddr_in6 from;
    char control[256];
    struct iovec all = {large, sizeof large};
    int fd = udp(), on = 1, mtu = 1280, named = 0;
    CLEAN(setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPATHMTU, &on, sizeof on));
    CLEAN(setsockopt(fd, IPPROTO_IPV6, IPV6_DONTFRAG, &on, sizeof on));
    CLEAN(setsockopt(fd, IPPROTO_IPV6, IPV6_MTU, &mtu, sizeof mtu));
    for (int with_name = 0; with_name < 2; with_name++) {
        struct msghdr message = {with_name ? &from : NULL, with_name ? sizeof from : 0, &all, 1,
                                 control, sizeof control, 0};
        if (sendto(fd, large, sizeof large, 0, SA(&echo), sizeof echo) != -1 || errno != EMSGSIZE)
            WRONG("so much was sent");
        if (CLEAN(recvmsg(fd, &message, MSG_DONTWAIT)) != 0)
            WRONG("nobody says how much");
        if (with_name && !is_a(&from))
            WRONG("the name is another");
        for (struct cmsghdr *head = CMSG_FIRSTHDR(&message); head;
             head = CMSG_NXTHDR(&message, head))
            if (head->cmsg_level == IPPROTO_IPV6 && head->cmsg_type == IPV6_PATHMTU) {
                struct ip6_mtuinfo told;
                memcpy(&told, CMSG_DATA(head), sizeof told);
                if (!is_a(&told.ip6m_addr) || told.ip6m_mtu != 1280)
                    WRONG("the control message names another");
                named++;
            }
    }
    if (named != 2)
        WRONG("%d control messages", named);
}

/* --- an address that lies behind the end of the stack ------------------------------ */

static char *end_of_stack;

static void *at_the_end(void *unused) {
    struct sockaddr_in6 *name = (void *)(end_of_stack - 8);
    self = &workers[1];
    AT("the end of the stack");
    name->sin6_family = AF_INET6;
    if (connect(tcp(), SA(name), sizeof *name) != -1 || errno != EFAULT)
        WRONG("connect: %s", strerrorname_np(errno));
    if (sendto(udp(), "question", 8, 0, SA(name), sizeof *name) != -1 || errno != EFAULT)
        WRONG("sendto: %s", strerrorname_np(errno));
    return unused;
}

static void end(void) {
    enum { SIZE = 65536 };
    pthread_attr_t attributes;
    pthread_t thread;
    char *stack = mmap(NULL, SIZE + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                       -1, 0);
    if (stack == MAP_FAILED || mprotect(stack + SIZE, PAGE, PROT_NONE))
        WRONG("no stack");
    end_of_stack = stack + SIZE;
    pthread_attr_init(&attributes);
    if (pthread_attr_setstack(&attributes, stack, SIZE - 64) ||
        pthread_create(&thread, &attributes, at_the_end, NULL) || pthread_join(thread, NULL))
        WRONG("no thread");
}

/* --- another network namespace ------------------------------------------------------ */

/* There A answers for itself, and who has the address of U is somebody else. */
static void elsewhere(const char *how) {
    struct sockaddr_in6 name = with_port(served, SILENT);
    int before = kept_stream(), old = tcp(), fresh, first = MUST(open("/proc/self/ns/net", O_RDONLY));
    shows_a(before);
    if (!is_moved(before))
        WRONG("not pinned");
    if (!strcmp(how, "syscall"))
        MUST(syscall(SYS_unshare, CLONE_NEWNET));
    else
        MUST(unshare(CLONE_NEWNET));
    if (system("unset LD_PRELOAD; ip link set lo up && ip -6 addr add 2001:db8:51::1/128 dev lo nodad"
               " && ip -6 addr add 2001:db8:a::53/128 dev lo nodad"))
        WRONG("no network");
    int listening = tcp();
    MUST(bind(listening, SA(&name), sizeof name));
    MUST(listen(listening, 8));
    fresh = tcp();
    CLEAN(connect(fresh, SA(&name), sizeof name));
    shows_a(fresh);
    if (is_moved(fresh))
        WRONG("moved to who has the address of U elsewhere");
    /* What was made before stays where it was: pinned, or not asked about from here. */
    shows_a(before);
    name = with_port(served, MUTE);
    if (connect(old, SA(&name), sizeof name) == 0 && is_moved(old))
        WRONG("asked in the network of another");
    /* And back again. */
    if (!strcmp(how, "syscall"))
        MUST(syscall(SYS_setns, first, CLONE_NEWNET));
    else
        MUST(setns(first, CLONE_NEWNET));
    for (int turn = 0; turn < 2; turn++)
        if (!is_moved(kept_stream()))
            WRONG("not pinned any more");
}

/* --- syscall(2) is no place where a thread is cancelled ---------------------------- */

static volatile int reached;

static void *cancelled(void *fd) {
    self = &workers[1];
    AT("cancelled");
    pthread_cancel(pthread_self());
    for (int i = 0; i < WAYS; i++)
        if (ways[i] == by_sys_read || ways[i] == by_sys_readv || ways[i] == by_sys_recvfrom ||
            ways[i] == by_sys_recvmsg)
            reached += ways[i]((int)(long)fd) == -1;
    return NULL;
}

static void cancellation(void) {
    pthread_t thread;
    int fd = udp();
    CLEAN(sendto(fd, "question", 8, 0, SA(&echo), sizeof echo));
    CLEAN(sendto(fd, "question", 8, 0, SA(&direct), sizeof direct));
    for (int answer = 0; answer < 2; answer++)
        CLEAN(recv(fd, octets, 8, 0));
    MUST(fcntl(fd, F_SETFL, O_NONBLOCK));
    if (pthread_create(&thread, NULL, cancelled, (void *)(long)fd) || pthread_join(thread, NULL))
        WRONG("no thread");
    if (reached != 4)
        WRONG("cancelled before call %d", reached);
}

/* --- counters of children ---------------------------------------------------------- */

static void children(void) {
    kept_stream();
    for (int child = 0; child < 3; child++) {
        pid_t pid = MUST(fork());
        if (pid == 0) {
            if (child == 1)
                kept_stream(), kept_stream();
            exit(0);
        }
        int status;
        if (waitpid(pid, &status, 0) != pid || status)
            WRONG("a child");
    }
}

int main(int count, char **words) {
    if (count != 3)
        return 64;
    begin(2, words);
    watched(60);
    echo = with_port(served, ECHO);
    direct = echo;
    direct.sin6_addr.s6_addr[7] = 1;
    if (!strcmp(words[2], "answers"))
        answers();
    else if (!strcmp(words[2], "timestamps"))
        timestamps();
    else if (!strcmp(words[2], "large"))
        large();
    else if (!strcmp(words[2], "end"))
        end();
    else if (!strcmp(words[2], "elsewhere") || !strcmp(words[2], "syscall"))
        elsewhere(words[2]);
    else if (!strcmp(words[2], "cancellation"))
        cancellation();
    else if (!strcmp(words[2], "children"))
        children();
    else
        return 64;
    puts("done");
    return 0;
}
