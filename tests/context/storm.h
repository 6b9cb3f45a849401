/* What the storms have in common: what each thread and child is doing, in memory that
 * all of them share, and a watchdog that says who is stuck. */
#include "transcript.h"
#include <dirent.h>
#include <netdb.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

/* Ports: of the datagram services one answers, one never does; from SILENT on a
 * thousand do not answer to a SYN. */
enum { ECHO = 7000, MUTE = 7001, SILENT = 20000 };

#define WORKERS 64

/* What somebody is doing, and how many times something else was begun. */
struct worker {
    const char *volatile doing;
    atomic_ulong beats;
    atomic_int pid;
};

static struct worker *workers;
static _Thread_local struct worker *self;
static long patience_ms;

static inline long now_ms(void) {
    struct timespec t;
    MUST(clock_gettime(CLOCK_MONOTONIC, &t));
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

#define AT(what)                                                                    \
    do {                                                                            \
        self->doing = (what);                                                       \
        atomic_fetch_add(&self->beats, 1);                                          \
    } while (0)

/* Said of whoever goes wrong; the whole program ends by it, its children too. */
#define WRONG(...)                                                                  \
    do {                                                                            \
        fprintf(stderr, "WRONG: %s: ", self ? self->doing : "-");                   \
        fprintf(stderr, __VA_ARGS__);                                               \
        fputc('\n', stderr);                                                        \
        _exit(2);                                                                   \
    } while (0)

/* In which system calls the threads of a process are, or that they run. */
static void tell_tasks(int pid) {
    char path[300], text[200];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/syscall", pid, entry->d_name);
        FILE *file = fopen(path, "r");
        if (file && fgets(text, sizeof text, file))
            fprintf(stderr, "task %.20s: %s", entry->d_name, text);
        if (file)
            fclose(file);
    }
}

/* Hooks may be what is stuck: nothing but system calls of glibc's own in here. */
static void stuck(int at) {
    char line[200];
    int pid = workers[at].pid;
    int length = snprintf(line, sizeof line, "STUCK: %s %d in %s for %ld ms\n",
                          pid ? "child" : "thread", pid ? pid : at, workers[at].doing,
                          patience_ms);
    fwrite(line, 1, length, stderr);
    tell_tasks(pid ? pid : getpid());
    fflush(stderr);
    for (int i = 0; i < WORKERS; i++)
        if (workers[i].pid)
            kill(workers[i].pid, SIGKILL);
    kill(getpid(), SIGKILL);
}

static void *watch(void *unused) {
    unsigned long seen[WORKERS] = {0};
    long since[WORKERS] = {0};
    for (;;) {
        struct timespec pause = {.tv_nsec = 50000000};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        for (int i = 0; i < WORKERS; i++) {
            unsigned long beats = workers[i].beats;
            if (beats != seen[i] || !workers[i].doing) {
                seen[i] = beats;
                since[i] = now_ms();
            } else if (now_ms() - since[i] > patience_ms) {
                stuck(i);
            }
        }
    }
    return unused;
}

/* Starts the watchdog, which takes no signals. Nobody may do one thing for longer than
 * so many seconds. */
static inline void watched(int seconds) {
    patience_ms = seconds * 1000L;
    workers = mmap(NULL, sizeof *workers * WORKERS, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (workers == MAP_FAILED)
        exit(1);
    sigset_t all, before;
    pthread_t thread;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&thread, NULL, watch, NULL))
        exit(1);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    self = &workers[0];
    AT("begin");
}

static inline int udp(void) { return MUST(socket(AF_INET6, SOCK_DGRAM, 0)); }

static inline struct sockaddr_in6 with_port(struct sockaddr_in6 name, int port) {
    name.sin6_port = htons(port);
    return name;
}

/* Another address of the network of A, of which nothing is known yet. */
static inline struct sockaddr_in6 unknown(int port) {
    static atomic_uint number;
    static _Thread_local unsigned state;
    struct sockaddr_in6 name = with_port(served, port);
    if (!state)
        state = getpid() * 2654435761u + ++number;
    state = state * 1664525 + 1013904223;
    name.sin6_addr.s6_addr[7] = 1;
    memcpy(&name.sin6_addr.s6_addr[8], &state, 4);
    return name;
}

static inline int is_a(const struct sockaddr_in6 *name) {
    return name->sin6_family == AF_INET6 &&
           !memcmp(&name->sin6_addr, &served.sin6_addr, sizeof name->sin6_addr);
}

static inline void shows_a(int fd) {
    struct sockaddr_in6 name = {0};
    socklen_t len = sizeof name;
    char text[INET6_ADDRSTRLEN];
    if (getpeername(fd, SA(&name), &len))
        WRONG("getpeername %d: %s", fd, strerrorname_np(errno));
    if (!is_a(&name))
        WRONG("descriptor %d shows %s", fd,
              inet_ntop(AF_INET6, &name.sin6_addr, text, sizeof text));
}

/* Whether the kernel knows the peer as another than the program does: past the
 * hooks. */
static inline int is_moved(int fd) {
    struct sockaddr_in6 name = {0};
    socklen_t len = sizeof name;
    return kernel_peer(fd, &name, &len) == 0 && !is_a(&name);
}

/* errno is as it was before a call that succeeds. */
#define CLEAN(call)                                                                 \
    ({                                                                              \
        errno = UNTOUCHED;                                                          \
        long clean_ = (long)(call);                                                 \
        if (clean_ >= 0 && errno != UNTOUCHED)                                      \
            WRONG("%s has left %s", #call, strerrorname_np(errno));                 \
        if (clean_ < 0)                                                             \
            WRONG("%s: %s", #call, strerrorname_np(errno));                         \
        clean_;                                                                     \
    })

/* A connection to A that nobody ends: the program is its own server, which keeps what
 * it accepts. */
static inline int kept_stream(void) {
    struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_port = htons(MUTE)};
    struct sockaddr_in6 to = with_port(served, MUTE);
    int listening = tcp(), fd = tcp(), on = 1;
    MUST(setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on));
    MUST(bind(listening, SA(&here), sizeof here));
    MUST(listen(listening, 8));
    MUST(connect(fd, SA(&to), sizeof to));
    MUST(accept(listening, NULL, NULL));
    MUST(close(listening));
    return fd;
}

/* Waits until a thread is in a system call, or in connect(), where nothing was asked:
 * a thread is held for one budget a second. Whether it is in the one. */
static inline int is_in(int thread, int number) {
    char path[64], text[64];
    snprintf(path, sizeof path, "/proc/self/task/%d/syscall", thread);
    for (;;) {
        int fd = open(path, O_RDONLY);
        ssize_t length = fd < 0 ? -1 : syscall(SYS_read, fd, text, sizeof text - 1);
        if (fd >= 0)
            close(fd);
        if (length > 0) {
            text[length] = 0;
            if (text[0] != 'r' && (atoi(text) == number || atoi(text) == SYS_connect))
                return atoi(text) == number;
        }
        sched_yield();
    }
}

/* An option as the kernel has it, past the hooks, in milliseconds. */
static inline long kernel_limit(int fd, int level, int name) {
    struct timeval time = {0};
    unsigned millis = 0;
    void *value = level == SOL_SOCKET ? (void *)&time : &millis;
    socklen_t len = level == SOL_SOCKET ? sizeof time : sizeof millis;
    long result;
#if defined __x86_64__
    register void *fourth asm("r10") = value;
    register socklen_t *fifth asm("r8") = &len;
    asm volatile("syscall"
                 : "=a"(result)
                 : "0"((long)SYS_getsockopt), "D"((long)fd), "S"((long)level),
                   "d"((long)name), "r"(fourth), "r"(fifth)
                 : "rcx", "r11", "memory");
#else
    register long number asm("x8") = SYS_getsockopt;
    register long first asm("x0") = fd, second asm("x1") = level, third asm("x2") = name;
    register void *fourth asm("x3") = value;
    register socklen_t *fifth asm("x4") = &len;
    asm volatile("svc 0"
                 : "+r"(first)
                 : "r"(number), "r"(second), "r"(third), "r"(fourth), "r"(fifth)
                 : "memory");
    result = first;
#endif
    if (result)
        WRONG("getsockopt: %ld", result);
    return level == SOL_SOCKET ? time.tv_sec * 1000 + time.tv_usec / 1000 : millis;
}

static inline int open_descriptors(void) {
    DIR *folder = opendir("/proc/self/fd");
    int count = -1;
    if (!folder)
        WRONG("/proc/self/fd: %s", strerrorname_np(errno));
    while (readdir(folder))
        count++;
    closedir(folder);
    return count - 2;
}

/* PROGRAM ADDRESS COUNT SECONDS */
static inline long storm(int count, char **words) {
    if (count != 4)
        exit(64);
    begin(2, words);
    watched(atoi(words[3]));
    return atol(words[2]);
}
