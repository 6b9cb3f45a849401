/* Programs that ask a daemon in ways that few do: PROGRAM A PORT WAY. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(call)                                                                  \
    do {                                                                            \
        if ((call) < 0) {                                                           \
            perror(#call);                                                          \
            exit(1);                                                                \
        }                                                                           \
    } while (0)

static struct sockaddr_in6 served;
static atomic_int connected;

static void reach(void) {
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    MUST(fd);
    MUST(connect(fd, (struct sockaddr *)&served, sizeof served));
    close(fd);
}

static void *reaching(void *unused) {
    reach();
    connected = 1;
    return unused;
}

/* How many unix sockets this process has that are not the first three descriptors. */
static int unix_sockets(void) {
    int count = 0;
    for (int fd = 3; fd < 1024; fd++) {
        int domain = 0;
        socklen_t len = sizeof domain;
        /* Past the library, which has its own list. */
        if (syscall(SYS_getsockopt, fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0)
            count += domain == AF_UNIX;
    }
    return count;
}

/* How often the environment was asked where a user's own daemon is. */
static atomic_int asked_for_folder;

/* In the place of the C library's: the library calls this one. */
char *secure_getenv(const char *name) {
    asked_for_folder += strcmp(name, "XDG_RUNTIME_DIR") == 0;
    return getenv(name);
}

/* Asked once, with the configuration, and not by the calls behind it. */
static void by_environment(void) {
    reach();
    if (asked_for_folder != 1) {
        fprintf(stderr, "XDG_RUNTIME_DIR was asked for %d times\n", asked_for_folder);
        exit(1);
    }
    MUST(setenv("XDG_RUNTIME_DIR", "/nowhere", 1));
    for (int turn = 0; turn < 3; turn++)
        reach();
    if (asked_for_folder != 1) {
        fprintf(stderr, "the environment was asked behind the configuration\n");
        exit(1);
    }
}

/* The whole first question on a stack of 64 KiB. */
static void on_little_stack(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 * 1024);
    if (pthread_create(&thread, &attributes, reaching, NULL) != 0)
        exit(1);
    pthread_join(thread, NULL);
}

/* A child is made while another thread waits for the daemon: it has nothing of that. */
static void forked(void) {
    pthread_t thread;
    int status;
    if (pthread_create(&thread, NULL, reaching, NULL) != 0)
        exit(1);
    while (unix_sockets() == 0)
        if (connected) {
            fprintf(stderr, "nobody was asked\n");
            exit(1);
        }
    pid_t child = fork();
    MUST(child);
    if (child == 0) {
        if (unix_sockets() != 0) {
            fprintf(stderr, "the child has its parent's socket\n");
            exit(1);
        }
        reach();
        exit(unix_sockets() != 0);
    }
    MUST(waitpid(child, &status, 0));
    if (status != 0)
        exit(1);
    pthread_join(thread, NULL);
    if (unix_sockets() != 0)
        exit(1);
}

/* A filter that ends who makes a socket, once the program has its own. */
static void filtered(void) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    MUST(fd);
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
    MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
    MUST(connect(fd, (struct sockaddr *)&served, sizeof served));
}

static void handle(int signal) {
    (void)signal;
    reach();
}

/* On the 8 KiB that are usual for handlers; the configuration is read before. */
static void in_a_handler(void) {
    static char room[8192];
    struct sockaddr_in6 a = served;
    stack_t stack = {.ss_sp = room, .ss_size = sizeof room};
    struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK};
    /* No address that is asked about: the network of the services is another. */
    served.sin6_addr.s6_addr[5] = 0x51;
    served.sin6_addr.s6_addr[15] = 2;
    reach();
    served = a;
    MUST(sigaltstack(&stack, NULL));
    MUST(sigaction(SIGUSR1, &action, NULL));
    MUST(raise(SIGUSR1));
}

/* Its child has a network of its own, by a call that no hook sees, and is the one that
 * says what it has counted. */
static void elsewhere(void) {
    int status;
    reach();
    long child = syscall(SYS_clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0);
    MUST(child);
    if (child != 0) {
        MUST(waitpid(child, &status, 0));
        _exit(status != 0);
    }
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    MUST(fd);
    /* There is no way to anybody. */
    if (connect(fd, (struct sockaddr *)&served, sizeof served) == 0)
        exit(1);
}

int main(int count, char **words) {
    if (count != 4)
        return 2;
    served.sin6_family = AF_INET6;
    served.sin6_port = htons(atoi(words[2]));
    if (inet_pton(AF_INET6, words[1], &served.sin6_addr) != 1)
        return 2;
    if (strcmp(words[3], "little") == 0)
        on_little_stack();
    else if (strcmp(words[3], "forked") == 0)
        forked();
    else if (strcmp(words[3], "elsewhere") == 0)
        elsewhere();
    else if (strcmp(words[3], "handler") == 0)
        in_a_handler();
    else if (strcmp(words[3], "environment") == 0)
        by_environment();
    else
        filtered();
    return 0;
}
