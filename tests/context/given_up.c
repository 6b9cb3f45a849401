/* A program that has pinned sockets, gives up what it had, and goes on with what is
 * left: PROGRAM ADDRESS WHAT [FOLDER]. */
#include "storm.h"
#include <grp.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/uio.h>

static struct sockaddr_in6 echo;
static int stream, peer, plain;
/* As the kernel knows the peer, which may not be asked by and by. */
static int may_ask_the_kernel = 1;

static void from_a(int fd, int with_name) {
    struct sockaddr_in6 from;
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    struct iovec part = {(char[8]){0}, 8};
    struct msghdr message = {&from, sizeof from, &part, 1, NULL, 0, 0};
    if (poll(&entry, 1, 30000) != 1)
        WRONG("no answer");
    if (with_name && recvmsg(fd, &message, 0) == 8 && !is_a(&from))
        WRONG("an answer from another");
    if (!with_name && recv(fd, part.iov_base, 8, 0) != 8)
        WRONG("recv: %s", strerrorname_np(errno));
}

/* Pages that nobody has handed over before. */
static struct {
    _Alignas(4096) struct mmsghdr header;
    struct sockaddr_in6 from;
} fresh[3];

/* An answer that is read by a header, and has a name, in such memory. */
static void from_a_to_new_memory(int fd, int many) {
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    struct iovec part = {(char[8]){0}, 8};
    struct sockaddr_in6 *from = &fresh[many].from;
    struct mmsghdr *header = &fresh[many].header;
    header->msg_hdr = (struct msghdr){from, sizeof *from, &part, 1, NULL, 0, 0};
    if (poll(&entry, 1, 30000) != 1)
        WRONG("no answer");
    if (many ? recvmmsg(fd, header, 1, 0, NULL) != 1 : recvmsg(fd, &header->msg_hdr, 0) != 8)
        WRONG("%s: %s", many ? "recvmmsg" : "recvmsg", strerrorname_np(errno));
    if (!is_a(from))
        WRONG("an answer from another, to new memory");
}

/* There is no room for a name, and the place for it is none. */
static void from_a_to_nowhere(int fd) {
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    struct iovec part = {(char[8]){0}, 8};
    struct msghdr *header = &fresh[2].header.msg_hdr;
    *header = (struct msghdr){(void *)8, 0, &part, 1, NULL, 0, 0};
    if (poll(&entry, 1, 30000) != 1)
        WRONG("no answer");
    if (recvmsg(fd, header, 0) != 8)
        WRONG("recvmsg: %s", strerrorname_np(errno));
}

/* recvmsg(2), past everybody who could have a hand in it. */
static long kernel_receives(int fd, struct msghdr *message) {
    long result;
#if defined __x86_64__
    asm volatile("syscall"
                 : "=a"(result)
                 : "0"((long)SYS_recvmsg), "D"((long)fd), "S"(message), "d"(0L)
                 : "rcx", "r11", "memory");
#else
    register long number asm("x8") = SYS_recvmsg;
    register long first asm("x0") = fd, third asm("x2") = 0;
    register void *second asm("x1") = message;
    asm volatile("svc 0" : "+r"(first) : "r"(number), "r"(second), "r"(third) : "memory");
    result = first;
#endif
    return result;
}

/* An answer that has come from another than A, as the kernel sees it. */
static void from_u(int fd) {
    struct sockaddr_in6 from;
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    struct iovec part = {(char[8]){0}, 8};
    struct msghdr message = {&from, sizeof from, &part, 1, NULL, 0, 0};
    if (poll(&entry, 1, 30000) != 1)
        WRONG("no answer");
    if (kernel_receives(fd, &message) != 8 || is_a(&from))
        WRONG("not sent to U");
}

/* A question with an address, and its answer, in every place that a page of the stack
 * has for them. */
static void use_deeper(int depth) {
    volatile char room[56];
    struct iovec part = {"question", 8};
    struct sockaddr_in6 to = echo;
    struct msghdr message = {&to, sizeof to, &part, 1, NULL, 0, 0};
    room[0] = 0;
    CLEAN(sendto(plain, "question", 8, 0, SA(&to), sizeof to));
    from_a(plain, 1);
    CLEAN(sendto(plain, "question", 8, 0, SA(&to), sizeof to));
    from_u(plain);
    CLEAN(sendmsg(plain, &message, 0));
    from_a(plain, 1);
    CLEAN(sendmsg(plain, &message, 0));
    from_u(plain);
    if (depth)
        use_deeper(depth - 1);
    room[1] = room[0];
}

/* All that may be done with the sockets that there are. */
static void use(const char *when) {
    struct iovec part = {"question", 8};
    struct msghdr message = {&echo, sizeof echo, &part, 1, NULL, 0, 0};
    AT(when);
    shows_a(stream);
    shows_a(peer);
    CLEAN(send(stream, "question", 8, MSG_NOSIGNAL));
    CLEAN(send(peer, "question", 8, 0));
    from_a(peer, 0);
    CLEAN(write(peer, "question", 8));
    from_a(peer, 1);
    CLEAN(sendto(plain, "question", 8, 0, SA(&echo), sizeof echo));
    from_a(plain, 1);
    CLEAN(sendmsg(plain, &message, 0));
    from_a(plain, 1);
    if (may_ask_the_kernel && !(is_moved(stream) && is_moved(peer)))
        WRONG("%s: not pinned any more", when);
}

static void begin_anew(void) {
    stream = kept_stream();
    peer = udp();
    plain = udp();
    CLEAN(connect(peer, SA(&echo), sizeof echo));
}

/* --- descriptors ------------------------------------------------------------- */

static void close_all(const char *how) {
    if (!strcmp(how, "close_range"))
        CLEAN(close_range(3, ~0U, 0));
    else if (!strcmp(how, "closefrom"))
        closefrom(3);
    else if (!strcmp(how, "syscall"))
        CLEAN(syscall(SYS_close_range, 3, ~0U, 0));
    else
        for (int fd = 3; fd < 1024; fd++)
            close(fd);
    /* The numbers stand for something else now, and nothing is left of what they were:
     * streams where datagrams were, and the other way round. */
    int again[] = {udp(), tcp(), tcp(), udp()};
    for (int i = 0; i < 4; i++) {
        struct sockaddr_in6 name;
        socklen_t len = sizeof name;
        if (getpeername(again[i], SA(&name), &len) != -1 || errno != ENOTCONN)
            WRONG("a new socket has a peer");
    }
    CLEAN(connect(again[0], SA(&echo), sizeof echo));
    CLEAN(connect(again[1], SA(&served), sizeof served));
    for (int i = 0; i < 2; i++) {
        shows_a(again[i]);
        if (!is_moved(again[i]))
            WRONG("%d is not pinned", again[i]);
    }
    CLEAN(close_range(3, ~0U, 0));
    begin_anew();
}

/* --- privileges -------------------------------------------------------------- */

static void drop_privileges(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct none[2] = {{0}, {0}};
    /* In an ordinary user's namespace there is nobody else. */
    if ((setgroups(0, NULL) || setresgid(65534, 65534, 65534) || setresuid(65534, 65534, 65534)) &&
        errno != EPERM && errno != EINVAL)
        WRONG("setresuid: %s", strerrorname_np(errno));
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    MUST(syscall(SYS_capset, &header, none));
}

/* What is new, and what is not known yet, and that nobody may ask about. */
static void use_new(void) {
    struct sockaddr_in6 other = unknown(9);
    AT("new sockets");
    int fd = tcp();
    CLEAN(connect(fd, SA(&served), sizeof served));
    shows_a(fd);
    if (!is_moved(fd))
        WRONG("what is known is not pinned");
    CLEAN(close(fd));
    fd = tcp();
    errno = UNTOUCHED;
    if (connect(fd, SA(&other), sizeof other) != -1 || errno != ECONNREFUSED)
        WRONG("what is unknown: %s", strerrorname_np(errno));
    CLEAN(close(fd));
}

/* --- filters ----------------------------------------------------------------- */

#define ON(call, what)                                                              \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1),                          \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_##what)

/* Kills on socket, or on everything but what the program does itself from now on. */
static void filter(const char *how) {
    struct sock_filter no_socket[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ON(socket, KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_filter own[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ON(sendto, ALLOW), ON(sendmsg, ALLOW), ON(recvfrom, ALLOW), ON(recvmsg, ALLOW),
        ON(write, ALLOW), ON(poll, ALLOW), ON(getpeername, ALLOW), ON(close, ALLOW),
        ON(connect, ALLOW), ON(dup, ALLOW), ON(exit_group, ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    int strict = strstr(how, "strict") != NULL;
    struct sock_fprog program = {strict ? sizeof own / sizeof *own
                                        : sizeof no_socket / sizeof *no_socket,
                                 strict ? own : no_socket};
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    if (strstr(how, "prctl"))
        MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
    else
        MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    may_ask_the_kernel = !strict;
}

/* A vfork child with a filter of its own, which kills what it does not do itself. */
static void filtered_child(char **words, int how) {
    char *arguments[] = {"true", NULL};
    int status;
    AT("vfork");
    pid_t child = vfork();
    if (child == 0) {
        /* One that fails before is none. */
        if (how & 1 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) == 0)
            _exit(1);
        filter(how & 2 ? "strict-prctl" : "syscall");
        may_ask_the_kernel = 1;
        struct sockaddr_in6 other = unknown(ECHO);
        sendto(plain, "question", 8, 0, SA(&other), sizeof other);
        close(peer), close(dup(stream));
        if (how & 2)
            _exit(0);
        execv("/bin/true", arguments);
        _exit(2);
    }
    AT("waitpid");
    MUST(waitpid(MUST(child), &status, 0));
    if (status)
        WRONG("a child with a filter, way %d: %#x", how, status);
    use("behind a child with a filter");
    int fd = tcp();
    CLEAN(connect(fd, SA(&served), sizeof served));
    shows_a(fd);
    if (!is_moved(fd))
        WRONG("way %d: nothing is pinned any more", how);
    CLEAN(close(fd));
}

/* Threads that ask what filters there may be, by calls that fail. */
static atomic_int asking;

static void *asks(void *data) {
    for (int i = 0; i < 20000 || asking; i++)
        if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) == 0)
            exit(1);
    return data;
}

static void filter_while_others_ask(void) {
    pthread_t threads[3];
    for (int turn = 0; turn < 2; turn++) {
        asking = turn;
        for (int i = 0; i < 3; i++)
            if (pthread_create(&threads[i], NULL, asks, NULL))
                exit(1);
        /* One of them is in such a call, most likely. */
        if (turn)
            filter("prctl");
        asking = 0;
        for (int i = 0; i < 3; i++)
            pthread_join(threads[i], NULL);
        /* There is none yet. */
        if (!turn)
            use_new();
    }
}

/* Sockets that are there but have not been connected or used, on their way to a
 * destination that is not known. */
static void use_filtered(int unused, int unused_stream, struct sockaddr_in6 other) {
    struct sockaddr_in6 mute = with_port(served, MUTE);
    AT("filtered: to what is unknown");
    sendto(unused, "question", 8, 0, SA(&other), sizeof other);
    AT("filtered: a stream");
    CLEAN(connect(unused_stream, SA(&served), sizeof served));
    shows_a(unused_stream);
    AT("filtered: to new memory");
    for (int many = 0; many < 1 + may_ask_the_kernel; many++) {
        CLEAN(sendto(plain, "question", 8, 0, SA(&echo), sizeof echo));
        from_a_to_new_memory(plain, many);
    }
    CLEAN(sendto(plain, "question", 8, 0, SA(&echo), sizeof echo));
    from_a_to_nowhere(plain);
    AT("filtered: anywhere on the stack");
    use_deeper(60);
    /* Long enough for any patience with silence. */
    AT("filtered: to who is silent");
    for (int i = 0; i < 15; i++) {
        CLEAN(sendto(plain, "question", 8, 0, SA(&mute), sizeof mute));
        CLEAN(poll(NULL, 0, 100));
    }
    AT("filtered: dup, close");
    int copy = CLEAN(dup(peer));
    shows_a(copy);
    CLEAN(close(copy));
    CLEAN(close(unused));
    CLEAN(close(unused_stream));
}

static int unused, unused_stream;
static struct sockaddr_in6 other;

/* A filter, and all that may be done behind it. */
static void *behind_a_filter(void *how) {
    self = &workers[0];
    filter(how);
    use("filtered");
    use_filtered(unused, unused_stream, other);
    return how;
}

int main(int count, char **words) {
    pthread_t thread;
    if (count != 4)
        return 64;
    const char *what = words[2];
    begin(2, words);
    watched(60);
    echo = with_port(served, ECHO);
    begin_anew();
    unused = udp(), unused_stream = tcp();
    other = unknown(ECHO);
    use("before");
    if (!strncmp(what, "filter-thread", 13)) {
        if (pthread_create(&thread, NULL, behind_a_filter, (void *)what))
            exit(1);
        pthread_join(thread, NULL);
    } else if (!strncmp(what, "filter", 6)) {
        behind_a_filter((void *)what);
    } else if (!strcmp(what, "vfork")) {
        for (volatile int way = 0; way < 8; way++)
            filtered_child(words, way);
    } else if (!strcmp(what, "others")) {
        filter_while_others_ask();
        use("filtered");
        use_filtered(unused, unused_stream, other);
    } else if (!strcmp(what, "privileges")) {
        drop_privileges();
        use_new();
    } else if (!strcmp(what, "chroot")) {
        MUST(chroot(words[3]));
        MUST(chdir("/"));
        use_new();
    } else {
        close_all(what);
    }
    use("after");
    CLEAN(write(1, "used\n", 5));
    return 0;
}
