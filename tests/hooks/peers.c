/* getpeername() and copies of descriptors. */
#include "transcript.h"

static void room(int fd, const char *label) {
    for (int length = -2; length <= 40; length++) {
        unsigned char octets[64];
        memset(octets, 0xa5, sizeof octets);
        socklen_t len = length;
        CALL(getpeername(fd, SA(octets), &len), "%s, room %d", label, length);
        printf("  length %u:", len);
        for (unsigned i = 0; i < sizeof octets; i++)
            printf("%02x", octets[i]);
        printf("\n");
    }
}

static void pointers(int fd, const char *label) {
    char *page = edge();
    struct { const char *name; char *at; } places[] = {
        {"null", NULL},
        {"one", (char *)1},
        {"no access", page + PAGE},
        {"read only", page + 2 * PAGE},
        {"not mapped", page + 3 * PAGE},
        {"kernel", (char *)0xffffffffffffff00},
        {"crosses after 1", page + PAGE - 1},
        {"crosses after 8", page + PAGE - 8},
        {"crosses after 24", page + PAGE - 24},
        {"fits", page + PAGE - 28},
        {"misaligned", page + 1},
    };
    for (unsigned p = 0; p < sizeof places / sizeof *places; p++) {
        for (int length = 0; length <= 28; length += 4) {
            socklen_t len = length;
            memset(page, 0xa5, PAGE);
            int result = -1;
            CALL(result = getpeername(fd, SA(places[p].at), &len), "%s, %s, room %d", label,
                 places[p].name, length);
            /* What the kernel leaves in a buffer that it could not fill is nobody's
             * business, and may be octets of U. */
            if (!result)
                printf("  length %u, %02x %02x\n", len, (unsigned char)page[PAGE - 1],
                       (unsigned char)page[PAGE - 20]);
        }
        struct sockaddr_in6 name;
        if (strcmp(places[p].name, "fits") && strcmp(places[p].name, "misaligned"))
            CALL(getpeername(fd, SA(&name), (socklen_t *)places[p].at), "%s, length at %s",
                 label, places[p].name);
    }
    munmap(page, 3 * PAGE);
}

static void copies(int fd, const char *label) {
    struct { const char *name; int fd; } copies[] = {
        {"dup", dup(fd)},
        {"dup2", dup2(fd, 200)},
        {"dup3", dup3(fd, 201, O_CLOEXEC)},
        {"F_DUPFD", fcntl(fd, F_DUPFD, 202)},
        {"F_DUPFD_CLOEXEC", fcntl(fd, F_DUPFD_CLOEXEC, 202)},
    };
    printf("%s\n", label);
    for (unsigned i = 0; i < sizeof copies / sizeof *copies; i++) {
        printf("%d close-on-exec %d ", copies[i].fd, fcntl(copies[i].fd, F_GETFD));
        show_peer(copies[i].name, copies[i].fd);
    }
    show_peer("same", dup2(fd, fd));
    CALL(dup3(fd, fd, 0), "dup3 to itself");
    CALL(dup2(fd, -1), "dup2 to none");
    CALL(dup2(9999, 203), "dup2 from none");
    CALL(fcntl(fd, F_DUPFD, -1), "F_DUPFD below 0");
    close(fd);
    for (unsigned i = 0; i < sizeof copies / sizeof *copies; i++)
        show_peer("after the original is closed", copies[i].fd);
    /* Over one of them something else is put. */
    int other = tcp();
    CALL(dup2(other, copies[1].fd), "dup2 over it");
    show_peer("another socket there", copies[1].fd);
    int file = MUST(open("/dev/null", O_RDONLY));
    CALL(dup3(file, copies[2].fd, 0), "dup3 over it");
    show_peer("a file there", copies[2].fd);
    close(file);
    close(other);
    for (unsigned i = 0; i < sizeof copies / sizeof *copies; i++)
        CALL(close(copies[i].fd), "closed");
    CALL(close(copies[0].fd), "closed twice");
}

/* How a number becomes free. */
static void leave(int way, int fd) {
    switch (way) {
    case 0: CALL(close(fd), "close"); break;
    case 1: CALL(syscall(SYS_close, fd), "system call"); break;
    case 2: CALL(close_range(fd, fd, 0), "close_range"); break;
    default: CALL(fclose(fdopen(fd, "r+")), "fclose"); break;
    }
}

static void reuse(void) {
    struct sockaddr_in6 own = address("::1", 0);
    socklen_t len = sizeof own;
    int listener = tcp();
    MUST(bind(listener, SA(&own), sizeof own));
    MUST(listen(listener, 8));
    MUST(getsockname(listener, SA(&own), &len));
    for (int way = 0; way < 4; way++) {
        int waiting = tcp();
        MUST(connect(waiting, SA(&own), sizeof own));
        int fd = connected();
        leave(way, fd);
        int again = MUST(accept(listener, NULL, NULL));
        printf("same number %d ", again == fd);
        show_peer("accepted", again);
        close(again);
        close(waiting);

        fd = connected();
        leave(way, fd);
        again = tcp();
        printf("same number %d ", again == fd);
        show_peer("new socket", again);
        CALL(connect(again, SA(&served), sizeof served), "connected");
        show_peer("connected", again);
        close(again);

        fd = connected();
        leave(way, fd);
        int pair[2];
        MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
        printf("same number %d ", pair[0] == fd);
        show_peer("unix", pair[0]);
        close(pair[0]);
        close(pair[1]);

        fd = connected();
        leave(way, fd);
        again = MUST(socket(AF_INET6, SOCK_DGRAM, 0));
        MUST(connect(again, SA(&own), sizeof own));
        printf("same number %d ", again == fd);
        show_peer("udp", again);
        close(again);
    }
    close(listener);
}

static void forks(void) {
    int fd = connected();
    fflush(stdout);
    pid_t child = MUST(fork());
    if (!child) {
        show_peer("child", fd);
        CALL(close(fd), "child closes");
        fd = connected();
        show_peer("child, new", fd);
        fflush(stdout);
        _exit(7);
    }
    int status;
    MUST(waitpid(child, &status, 0));
    printf("child ended %d\n", WEXITSTATUS(status));
    show_peer("parent", fd);
    child = vfork();
    if (!child) {
        close(fd);
        _exit(8);
    }
    MUST(waitpid(child, &status, 0));
    printf("vfork child ended %d\n", WEXITSTATUS(status));
    show_peer("parent after vfork", fd);
    close(fd);
}

int main(int count, char **words) {
    begin(count, words);
    int pair[2], fd = connected();
    room(fd, "connected");
    pointers(fd, "connected");
    copies(fd, "connected");
    fd = tcp();
    room(fd, "open");
    pointers(fd, "open");
    close(fd);
    fd = MUST(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
    CALL(connect(fd, SA(&silent), sizeof silent), "on its way");
    pointers(fd, "on its way");
    copies(fd, "on its way");
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    pointers(pair[0], "unix");
    pointers(-1, "bad descriptor");
    fd = MUST(open("/dev/null", O_RDONLY));
    pointers(fd, "file");
    reuse();
    forks();
    return 0;
}
