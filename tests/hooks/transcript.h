/* What the programs here have in common: one line for each call, with its result and
 * what it did to errno. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/* No call leaves this behind unless it leaves errno alone. */
#define UNTOUCHED 1234

#define CALL(call, ...)                                                             \
    do {                                                                            \
        errno = UNTOUCHED;                                                          \
        long result_ = (long)(call);                                                \
        int error_ = errno;                                                         \
        printf(__VA_ARGS__);                                                        \
        printf(": %ld %s\n", result_, error_ == UNTOUCHED ? "-" : strerrorname_np(error_)); \
    } while (0)

#define MUST(call)                                                                  \
    ({                                                                              \
        long result_ = (long)(call);                                                \
        if (result_ < 0) {                                                          \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call,           \
                    strerrorname_np(errno));                                        \
            exit(1);                                                                \
        }                                                                           \
        result_;                                                                    \
    })

#define PAGE 4096

/* The anycast address, and ports: served, refused, silent. */
static struct sockaddr_in6 served, refused, silent;

static struct sockaddr_in6 address(const char *text, int port) {
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (inet_pton(AF_INET6, text, &name.sin6_addr) != 1)
        exit(64);
    return name;
}

/* A page to write, one that is only for reading, and nothing behind them. */
static char *edge(void) {
    char *start = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED)
        exit(1);
    MUST(mprotect(start + PAGE, PAGE, PROT_NONE));
    MUST(mprotect(start + 2 * PAGE, PAGE, PROT_READ));
    MUST(munmap(start + 3 * PAGE, PAGE));
    return start;
}

#define SA(name) ((struct sockaddr *)(name))

static inline int tcp(void) { return MUST(socket(AF_INET6, SOCK_STREAM, 0)); }

static inline int connected(void) {
    int fd = tcp();
    MUST(connect(fd, SA(&served), sizeof served));
    return fd;
}

/* getpeername(2), past everybody who could have a hand in it. */
static inline long kernel_peer(int fd, void *peer, socklen_t *len) {
#if defined __x86_64__
    long result;
    asm volatile("syscall"
                 : "=a"(result)
                 : "0"((long)SYS_getpeername), "D"((long)fd), "S"(peer), "d"(len)
                 : "rcx", "r11", "memory");
    return result;
#elif defined __aarch64__
    register long number asm("x8") = SYS_getpeername;
    register long first asm("x0") = fd;
    register void *second asm("x1") = peer, *third asm("x2") = len;
    asm volatile("svc 0" : "+r"(first) : "r"(number), "r"(second), "r"(third) : "memory");
    return first;
#else
#error "another machine"
#endif
}

/* Whom getpeername shows. */
static inline void show_peer(const char *label, int fd) {
    struct sockaddr_storage peer = {0};
    socklen_t len = sizeof peer;
    char text[INET6_ADDRSTRLEN] = "";
    int port = 0;
    errno = UNTOUCHED;
    int result = getpeername(fd, SA(&peer), &len), error = errno;
    if (!result && peer.ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&peer)->sin6_addr, text, sizeof text);
        port = ntohs(((struct sockaddr_in6 *)&peer)->sin6_port);
    }
    printf("%s: %d %s family %d length %u [%s]:%d\n", label, result,
           error == UNTOUCHED ? "-" : strerrorname_np(error), peer.ss_family, len, text,
           /* Accepted ones have another port each time. */
           port < 1024 ? port : -1);
}

static inline void begin(int count, char **words) {
    if (count != 2)
        exit(64);
    setvbuf(stdout, NULL, _IOLBF, 0);
    served = address(words[1], 80);
    refused = address(words[1], 9);
    silent = address(words[1], 81);
}
