/* A program that has installed a seccomp filter, by one WAY or another: from then on
 * every system call but its own few ends it. */
#include "transcript.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>

#define ALLOW(call)                                                                 \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_##call, 0, 1),                          \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static void install(void) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        ALLOW(connect),
        ALLOW(write),
        ALLOW(close),
        ALLOW(getpeername),
        ALLOW(getsockopt),
        ALLOW(fcntl),
        ALLOW(dup),
        ALLOW(ioctl),
        ALLOW(exit_group),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    };
    struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
#if WAY == 0
    CALL(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), "filter");
#elif WAY == 1
    CALL(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "filter");
#else
    CALL(syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), "filter");
#endif
}

int main(int count, char **words) {
    begin(count, words);
    int before = connected(), after = tcp(), another = tcp();
    int hopeless = MUST(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
    int ended = MUST(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
    int waiting = MUST(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
    show_peer("before", before);
    CALL(connect(hopeless, SA(&refused), sizeof refused), "will be refused");
    CALL(connect(ended, SA(&served), sizeof served), "will be served");
    CALL(connect(waiting, SA(&silent), sizeof silent), "will wait");
    MUST(poll(&(struct pollfd){.fd = hopeless, .events = POLLOUT}, 1, 60000));
    MUST(poll(&(struct pollfd){.fd = ended, .events = POLLOUT}, 1, 60000));
    char *page = edge();
    install();

    CALL(connect(after, SA(&served), sizeof served), "after");
    show_peer("after", after);
    CALL(connect(another, NULL, sizeof served), "null");
    CALL(connect(another, SA(page + PAGE), sizeof served), "no access");
    CALL(connect(another, SA(&refused), sizeof refused), "refused");
    CALL(close(another), "close");
    int error = 0;
    socklen_t len = sizeof error;
    CALL(getsockopt(hopeless, SOL_SOCKET, SO_ERROR, &error, &len), "SO_ERROR");
    printf("error %s\n", strerrorname_np(error));
    CALL(close(hopeless), "close");
    CALL(connect(ended, SA(&served), sizeof served), "asked by connect");
    show_peer("asked by connect", ended);
    CALL(close(ended), "close");
    CALL(connect(waiting, SA(&silent), sizeof silent), "asked by connect");
    CALL(close(waiting), "close, on its way");

    show_peer("of before", before);
    int copy = dup(before);
    show_peer("copy", copy);
    CALL(fcntl(before, F_GETFL), "F_GETFL");
    struct sockaddr_in6 name;
    CALL(getpeername(before, SA(&name), NULL), "length at null");
    CALL(getpeername(before, SA(&name), (socklen_t *)(page + PAGE)), "length, no access");
    CALL(getpeername(before, SA(&name), (socklen_t *)(page + 2 * PAGE)), "length, read only");
    len = 28;
    CALL(getpeername(before, NULL, &len), "null");
    len = 28;
    CALL(getpeername(before, SA(page + PAGE), &len), "no access");
    for (int length = -1; length <= 32; length++) {
        memset(page, 0xa5, 64);
        *(socklen_t *)(page + 64) = length;
        CALL(getpeername(before, SA(page), (socklen_t *)(page + 64)), "room %d", length);
        for (int i = 0; i < 40; i++)
            printf("%02x", (unsigned char)page[i]);
        printf(" length %u\n", *(socklen_t *)(page + 64));
    }
    CALL(close(before), "close");
    show_peer("copy of a closed one", copy);
    return 0;
}
