/* The first caller is a signal handler on a stack of its own: PROGRAM ADDRESS BYTES HOW.
 * Then the program itself calls. */
#include "storm.h"

static int fd, sending, result = -2;
static ssize_t sent = -2;

static void handle(int signal) {
    struct sockaddr_in6 echo = with_port(served, ECHO);
    (void)signal;
    result = connect(fd, SA(&served), sizeof served);
    sent = sendto(sending, "question", 8, 0, SA(&echo), sizeof echo);
}

int main(int count, char **words) {
    enum { WHOLE = 64 * 1024 };
    if (count != 4)
        return 64;
    begin(2, words);
    long size = atol(words[2]);
    /* Nothing below it can be touched. */
    char *stack = mmap(NULL, size + WHOLE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack + WHOLE, size, PROT_READ | PROT_WRITE))
        return 1;
    stack_t alternate = {.ss_sp = stack + WHOLE, .ss_size = size};
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK};
    /* SS_AUTODISARM: while it is in use the kernel does not show it. */
    if (strcmp(words[3], "shown"))
        alternate.ss_flags = 1U << 31;
    if (!strcmp(words[3], "by-syscall"))
        MUST(syscall(SYS_sigaltstack, &alternate, NULL));
    else
        MUST(sigaltstack(&alternate, NULL));
    MUST(sigaction(SIGUSR1, &action, NULL));
    fd = tcp(), sending = udp();
    MUST(raise(SIGUSR1));
    printf("connect=%d sendto=%zd moved=%d", result, sent, is_moved(fd));
    fd = connected();
    printf(" later=%d\n", is_moved(fd));
    return 0;
}
