/* Programs at the edges of what connect() meets:
 *
 *   program ADDRESS WHAT [WORD]
 *
 * Each prints lines of `key=value`. */
#include "transcript.h"
#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>

static long now(void) {
    struct timespec t;
    MUST(clock_gettime(CLOCK_MONOTONIC, &t));
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static const char *name_of(int error) { return error ? strerrorname_np(error) : "OK"; }

static const char *text_of(const struct sockaddr_in6 *peer, char *text) {
    return inet_ntop(AF_INET6, &peer->sin6_addr, text, INET6_ADDRSTRLEN);
}

/* Whom the kernel has as its peer, and whom the program is shown. */
static void show(int fd) {
    struct sockaddr_in6 peer;
    socklen_t len = sizeof peer;
    char text[INET6_ADDRSTRLEN];
    long result = kernel_peer(fd, &peer, &len);
    printf(" kernel=%s", result ? name_of(-result) : text_of(&peer, text));
    len = sizeof peer;
    result = getpeername(fd, SA(&peer), &len);
    printf(" peer=%s", result ? name_of(errno) : text_of(&peer, text));
}

static void show_connect(int fd) {
    long began = now();
    int result = connect(fd, SA(&served), sizeof served), error = errno;
    printf("result=%s elapsed=%ld", name_of(result ? error : 0), now() - began);
    show(fd);
}

static int nonblocking(void) {
    return MUST(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
}

static short wait_for(int fd, short events) {
    struct pollfd entry = {.fd = fd, .events = events};
    if (MUST(poll(&entry, 1, 60000)) == 0)
        exit(2);
    return entry.revents;
}

/* --- limits ---------------------------------------------------------------- */

static void limits(const char *which) {
    int fd = tcp(), user = 0, count = 0;
    struct timeval send = {0};
    socklen_t len;
    if (!strcmp(which, "sndtimeo")) {
        send.tv_usec = 900000;
        MUST(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &send, sizeof send));
    } else if (!strcmp(which, "usertimeo")) {
        user = 900;
        MUST(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user, sizeof user));
    } else {
        count = 1;
        MUST(setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &count, sizeof count));
    }
    show_connect(fd);
    len = sizeof send;
    MUST(getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &send, &len));
    len = sizeof user;
    MUST(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user, &len));
    len = sizeof count;
    MUST(getsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &count, &len));
    printf(" sndtimeo=%ld usertimeo=%d syncnt=%d\n",
           (long)send.tv_sec * 1000 + send.tv_usec / 1000, user, count);
}

/* Asks by connect() what became of it, so seldom that a thread may be held each time. */
static void polling(const char *source) {
    int fd = nonblocking();
    if (*source) {
        struct sockaddr_in6 here = address(source, 0);
        MUST(bind(fd, SA(&here), sizeof here));
    }
    for (int i = 0; i < 4; i++) {
        show_connect(fd);
        puts("");
        MUST(poll(NULL, 0, 1200));
    }
}

/* --- trust ----------------------------------------------------------------- */

static void plain(const char *unused) {
    (void)unused;
    show_connect(tcp());
    puts("");
}

static void chrooted(const char *folder) {
    MUST(chroot(folder));
    MUST(chdir("/"));
    plain("");
}

static void syscall_chrooted(const char *folder) {
    MUST(syscall(SYS_chroot, folder));
    MUST(chdir("/"));
    plain("");
}

static pthread_barrier_t barrier;
static int sockets[8];
static int results[8];

static void *one_of_many(void *index) {
    int i = (int)(long)index;
    sockets[i] = tcp();
    pthread_barrier_wait(&barrier);
    results[i] = connect(sockets[i], SA(&served), sizeof served) ? errno : 0;
    return NULL;
}

/* The first connects of several threads at once. */
static void together(const char *unused) {
    (void)unused;
    pthread_t threads[8];
    pthread_barrier_init(&barrier, NULL, 8);
    for (long i = 0; i < 8; i++)
        if (pthread_create(&threads[i], NULL, one_of_many, (void *)i))
            exit(1);
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
        printf("result=%s", name_of(results[i]));
        show(sockets[i]);
        puts("");
    }
}

/* --- refutation ------------------------------------------------------------ */

/* Accepts two connections, and resets them once they have data. */
static void resetting_server(const char *unused) {
    (void)unused;
    int fd = tcp(), one = 1;
    struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons(81)};
    struct linger linger = {1, 0};
    MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
    MUST(bind(fd, SA(&here), sizeof here));
    MUST(listen(fd, 8));
    for (int i = 0; i < 2; i++) {
        char octet;
        int connection = MUST(accept(fd, NULL, NULL));
        MUST(read(connection, &octet, 1));
        MUST(setsockopt(connection, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
        MUST(close(connection));
    }
}

/* A connection that was made is reset; the program asks SO_ERROR before or only after. */
static void reset_later(const char *when) {
    for (int i = 0; i < 2; i++) {
        int fd = nonblocking(), error = 0;
        socklen_t len = sizeof error;
        connect(fd, SA(&silent), sizeof silent);
        wait_for(fd, POLLOUT);
        if (!strcmp(when, "before"))
            MUST(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len));
        printf("first=%s", name_of(error));
        show(fd);
        MUST(write(fd, "x", 1));
        wait_for(fd, POLLIN);
        MUST(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len));
        printf(" later=%s\n", name_of(error));
        MUST(close(fd));
    }
}

/* Gives up a connection whose SYN is not answered, and connects anew. */
static void give_up(const char *how) {
    int fd = nonblocking();
    if (connect(fd, SA(&served), sizeof served) == 0 || errno != EINPROGRESS)
        exit(2);
    if (!strcmp(how, "close"))
        MUST(close(fd));
    else if (!strcmp(how, "syscall"))
        MUST(syscall(SYS_close, fd));
    else if (!strcmp(how, "dup2"))
        MUST(dup2(1, fd));
    else if (!strcmp(how, "dup3"))
        MUST(dup3(1, fd, O_CLOEXEC));
    else if (!strcmp(how, "close_range"))
        MUST(close_range(fd, fd, 0));
    else if (!strcmp(how, "syscall_close_range"))
        MUST(syscall(SYS_close_range, fd, ~0U, 0));
    else if (!strcmp(how, "closefrom"))
        closefrom(fd);
    else
        exit(64);
    plain("");
}

/* More connections than there are ports. */
static void ports(const char *unused) {
    (void)unused;
    for (int i = 0; i < 12; i++)
        plain("");
}

/* --- descriptors ----------------------------------------------------------- */

static int open_descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;
    if (!folder)
        exit(1);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count;
}

static sigjmp_buf back;
static void jump(int signal) { (void)signal; siglongjmp(back, 1); }

/* A handler that jumps out of connect(), as wget's does. */
static void jumping(const char *unused) {
    (void)unused;
    struct sigaction action = {.sa_handler = jump};
    struct itimerval soon = {.it_value = {.tv_usec = 300000}};
    MUST(sigaction(SIGALRM, &action, NULL));
    for (volatile int i = 0; i < 3; i++) {
        volatile int fd = tcp(), before = open_descriptors(), jumped = 1;
        volatile long began = now();
        if (!sigsetjmp(back, 1)) {
            MUST(setitimer(ITIMER_REAL, &soon, NULL));
            connect(fd, SA(&served), sizeof served);
            jumped = 0;
        }
        printf("jumped=%d elapsed=%ld more=%d\n", jumped, now() - began,
               open_descriptors() - before);
        MUST(close(fd));
    }
}

/* What a child with the same memory does to its own descriptors. */
static void vforking(const char *how) {
    int fd = connected();
    pid_t child = vfork();
    if (child == 0) {
        if (!strcmp(how, "dup2"))
            dup2(1, fd);
        else if (!strcmp(how, "close"))
            close(fd);
        else
            close_range(3, ~0U, 0);
        _exit(0);
    }
    int status;
    MUST(waitpid(child, &status, 0));
    printf("status=%d", status);
    show(fd);
    puts("");
}

static int original;
static volatile int stop;

static void *duplicating(void *unused) {
    while (!stop) {
        MUST(dup2(original, 100));
        MUST(dup2(1, 100));
    }
    return unused;
}

/* Forks while another thread duplicates. */
static void forking(const char *unused) {
    (void)unused;
    pthread_t thread;
    int wrong = 0;
    original = connected();
    if (pthread_create(&thread, NULL, duplicating, NULL))
        exit(1);
    for (int i = 0; i < 2000; i++) {
        pid_t child = MUST(fork());
        int status;
        if (child == 0) {
            struct sockaddr_in6 peer;
            socklen_t len = sizeof peer;
            if (dup2(original, 100) != 100)
                _exit(2);
            int result = getpeername(100, SA(&peer), &len);
            _exit(result || memcmp(&peer.sin6_addr, &served.sin6_addr, 16) ? 1 : 0);
        }
        MUST(waitpid(child, &status, 0));
        wrong += status != 0;
    }
    stop = 1;
    pthread_join(thread, NULL);
    printf("wrong=%d", wrong);
    show(original);
    puts("");
}

/* --- the log --------------------------------------------------------------- */

static void closed_log(const char *unused) {
    (void)unused;
    int ends[2];
    signal(SIGPIPE, SIG_DFL);
    MUST(pipe(ends));
    MUST(dup2(ends[1], 2));
    MUST(close(ends[0]));
    MUST(close(ends[1]));
    plain("");
}

static void full_log(const char *unused) {
    (void)unused;
    int ends[2];
    MUST(pipe(ends));
    MUST(fcntl(ends[1], F_SETFL, O_NONBLOCK));
    for (char page[PAGE] = {0}; write(ends[1], page, sizeof page) > 0;)
        ;
    while (write(ends[1], "", 1) > 0)
        ;
    MUST(fcntl(ends[1], F_SETFL, 0));
    MUST(dup2(ends[1], 2));
    plain("");
    fflush(stdout);
    _exit(0);
}

/* --- the first data with the SYN ------------------------------------------- */

static void fast_open(const char *how) {
    static char request[] = "GET /who HTTP/1.0\r\n\r\n";
    for (int turn = 0; turn < 3; turn++) {
        int fd = strcmp(how, "nonblocking") ? tcp() : nonblocking(), on = 1;
        struct iovec part = {request, strlen(request)};
        struct msghdr message = {&served, sizeof served, &part, 1, NULL, 0, 0};
        ssize_t sent;
        if (!strcmp(how, "option")) {
            MUST(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof on));
            printf("connect=%s ", name_of(connect(fd, SA(&served), sizeof served) ? errno : 0));
            sent = write(fd, request, part.iov_len);
        } else if (!strcmp(how, "sendmsg")) {
            sent = sendmsg(fd, &message, MSG_FASTOPEN | MSG_NOSIGNAL);
        } else {
            sent = sendto(fd, request, part.iov_len, MSG_FASTOPEN | MSG_NOSIGNAL, SA(&served),
                          sizeof served);
        }
        printf("sent=%s", sent == (ssize_t)part.iov_len ? "OK" : name_of(errno));
        if (sent < 0 && errno == EINPROGRESS) {
            wait_for(fd, POLLOUT);
            sent = send(fd, request, part.iov_len, MSG_NOSIGNAL);
            printf(" later=%s", name_of(sent < 0 ? errno : 0));
        }
        wait_for(fd, POLLIN);
        char reply[4096] = "";
        ssize_t got = 0, now;
        while ((now = recv(fd, reply + got, sizeof reply - 1 - got, 0)) > 0 ||
               (now < 0 && errno == EAGAIN && wait_for(fd, POLLIN)))
            got += now > 0 ? now : 0;
        printf(" received=%s", name_of(now < 0 ? errno : 0));
        if (got > 3 && reply[got - 1] == '\n')
            printf(" who=%.2s", reply + got - 3);
        show(fd);
        printf("\n");
        close(fd);
    }
}

static const struct {
    const char *name;
    void (*run)(const char *);
} ALL[] = {
    {"limits", limits},
    {"polling", polling},
    {"plain", plain},
    {"chroot", chrooted},
    {"syscall_chroot", syscall_chrooted},
    {"together", together},
    {"resetting_server", resetting_server},
    {"reset_later", reset_later},
    {"give_up", give_up},
    {"ports", ports},
    {"fast_open", fast_open},
    {"jumping", jumping},
    {"vforking", vforking},
    {"forking", forking},
    {"closed_log", closed_log},
    {"full_log", full_log},
};

int main(int count, char **words) {
    if (count != 4)
        return 64;
    begin(2, words);
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++)
        if (!strcmp(ALL[i].name, words[2])) {
            ALL[i].run(words[3]);
            return 0;
        }
    return 64;
}
