/* Between any two instructions of the library something else happens, in a handler or
 * in a forked child: PROGRAM ADDRESS STRIDE FIRST signal|fork. The processor traps
 * behind each instruction of a hook. Of those in the library the FIRST of each call
 * count, and one in STRIDE of the others.
 *
 * Where a child is forked, what the hook was at is never finished in it: as if another
 * thread had been there at the fork. */
#include "storm.h"
#include <link.h>
#include <ucontext.h>

#define TRAP_FLAG 0x100UL

/* What takes longer looks through a table. */
#define MOST 10000

static uintptr_t library, library_end;
static struct sockaddr_in6 echo;
static int stream, peer, plain, current = -1, streaming = -1;
static int forks;
static unsigned long first, stride, steps, taken, children;
static const char *call;
static char where[128];

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

/* The sockets that are connected: of one that is on its way the kernel says when. */
static void connected_show_a(void) {
    shows_a(stream);
    shows_a(peer);
    if (streaming >= 0 && is_moved(streaming))
        shows_a(streaming);
}

/* What must go well at every moment. */
static void anything(void) {
    struct sockaddr_in6 from;
    socklen_t len = sizeof from;
    char text[8];
    connected_show_a();
    if (current >= 0)
        sendto(current, "question", 8, MSG_DONTWAIT | MSG_NOSIGNAL, SA(&echo), sizeof echo);
    if (sendto(plain, "question", 8, 0, SA(&echo), sizeof echo) != 8)
        WRONG("sendto: %s", strerrorname_np(errno));
    if (recvfrom(plain, text, 8, MSG_DONTWAIT, SA(&from), &len) == 8 && !is_a(&from))
        WRONG("an answer from another");
    int fd = udp(), copy = dup(fd);
    if (connect(copy, SA(&echo), sizeof echo))
        WRONG("connect: %s", strerrorname_np(errno));
    shows_a(fd);
    shows_a(copy);
    close(copy);
    close(fd);
}

static void in_child(void) {
    struct sockaddr_in6 mute = with_port(served, MUTE);
    connected_show_a();
    /* Not what is answered: the parent has these sockets too. */
    if (current >= 0)
        sendto(current, "question", 8, MSG_DONTWAIT | MSG_NOSIGNAL, SA(&mute), sizeof mute);
    sendto(plain, "question", 8, 0, SA(&mute), sizeof mute);
    int fd = udp();
    if (connect(fd, SA(&echo), sizeof echo) || close(dup(fd)))
        WRONG("connect: %s", strerrorname_np(errno));
    shows_a(fd);
    int moved = is_moved(fd);
    close(current);
    close(plain);
    close(fd);
    _exit(moved ? 0 : 77);
}

static void step(int signal, siginfo_t *info, void *context) {
    uintptr_t at = ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] - library;
    (void)signal, (void)info;
    if (steps > MOST)
        ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
    if (at >= library_end - library || (++steps > first && steps % stride))
        return;
    int error = errno;
    snprintf(where, sizeof where, "%s, at libaarp.so + %#lx", call, at);
    AT(where);
    taken++;
    if (forks) {
        int status;
        pid_t child = fork();
        if (child == 0)
            in_child();
        MUST(waitpid(child, &status, 0));
        if (status && status != 77 << 8)
            WRONG("a child: %#x", status);
        children += status == 0;
    } else {
        anything();
    }
    errno = error;
}

static inline void trap(int on) {
    unsigned long flags;
    __asm__ volatile("pushfq; pop %0" : "=r"(flags)::"memory");
    flags = on ? flags | TRAP_FLAG : flags & ~TRAP_FLAG;
    __asm__ volatile("push %0; popfq" ::"r"(flags) : "memory", "cc");
}

#define STEPPED(statement)                                                          \
    do {                                                                            \
        steps = 0;                                                                  \
        call = #statement;                                                          \
        trap(1);                                                                    \
        statement;                                                                  \
        trap(0);                                                                    \
        AT("between");                                                              \
        printf("%s: %lu\n", #statement, steps);                           \
    } while (0)

int main(int count, char **words) {
    if (count != 5)
        return 64;
    begin(2, words);
    watched(60);
    stride = atol(words[2]);
    first = atol(words[3]);
    forks = !strcmp(words[4], "fork");
    echo = with_port(served, ECHO);
    dl_iterate_phdr(find, NULL);
    struct sigaction action = {.sa_sigaction = step, .sa_flags = SA_SIGINFO};
    MUST(sigaction(SIGTRAP, &action, NULL));
    stream = kept_stream(), peer = udp(), plain = udp();
    CLEAN(connect(peer, SA(&echo), sizeof echo));
    CLEAN(sendto(plain, "question", 8, 0, SA(&echo), sizeof echo));

    struct sockaddr_in6 other = unknown(9), name;
    char text[8];
    socklen_t len = sizeof name;
    int copy, fd = tcp();
    STEPPED(connect(fd, SA(&other), sizeof other));
    close(fd);
    streaming = tcp();
    STEPPED(connect(streaming, SA(&served), sizeof served));
    shows_a(streaming);
    fd = streaming;
    streaming = -1;
    close(fd);
    STEPPED(current = socket(AF_INET6, SOCK_DGRAM, 0));
    STEPPED(sendto(current, "question", 8, 0, SA(&echo), sizeof echo));
    STEPPED(sendto(current, "question", 8, 0, SA(&echo), sizeof echo));
    STEPPED(recvfrom(current, text, 8, 0, SA(&name), &len));
    if (!is_a(&name))
        WRONG("an answer from another");
    STEPPED(connect(current, SA(&echo), sizeof echo));
    STEPPED(send(current, "question", 8, 0));
    STEPPED(getpeername(current, SA(&name), &len));
    /* What handlers and children look at, while it is being changed. */
    STEPPED(copy = dup(stream));
    STEPPED(dup2(peer, copy));
    STEPPED(dup2(stream, copy));
    STEPPED(fcntl(stream, F_SETFL, O_NONBLOCK));
    STEPPED(fcntl(peer, F_SETFL, O_NONBLOCK));
    STEPPED(fcntl(peer, F_SETFL, 0));
    STEPPED(close(copy));
    STEPPED(connect(peer, SA(&echo), sizeof echo));
    copy = dup(current);
    STEPPED(close(copy));
    fd = current;
    current = -1;
    STEPPED(close(fd));
    shows_a(stream);
    shows_a(peer);
    printf("taken=%lu children=%lu\n", taken, children);
    return 0;
}
