/* The other calls that are hooked: options, flags, and what must pass untouched. */
#include "transcript.h"

static void flags(void) {
    int one = 1, zero = 0;
    for (int way = 0; way < 4; way++) {
        int fd = MUST(socket(AF_INET6, SOCK_STREAM | (way ? 0 : SOCK_NONBLOCK), 0));
        if (way == 1)
            CALL(fcntl(fd, F_SETFL, O_NONBLOCK), "F_SETFL");
        else if (way == 2)
            CALL(ioctl(fd, FIONBIO, &one), "FIONBIO");
        else if (way == 3)
            CALL(fcntl64(fd, F_SETFL, O_NONBLOCK), "F_SETFL 64");
        printf("flags %o\n", fcntl(fd, F_GETFL));
        CALL(connect(fd, SA(&served), sizeof served), "non-blocking");
        printf("flags %o\n", fcntl(fd, F_GETFL));
        struct pollfd entry = {.fd = fd, .events = POLLOUT};
        CALL(poll(&entry, 1, 60000), "poll");
        CALL(connect(fd, SA(&served), sizeof served), "asked how it went");
        CALL(connect(fd, SA(&served), sizeof served), "asked again");
        show_peer("peer", fd);
        close(fd);
        /* And back. */
        fd = MUST(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
        if (way & 1)
            CALL(fcntl(fd, F_SETFL, 0), "F_SETFL");
        else
            CALL(ioctl(fd, FIONBIO, &zero), "FIONBIO");
        CALL(connect(fd, SA(&served), sizeof served), "blocking");
        printf("flags %o\n", fcntl(fd, F_GETFL));
        close(fd);
    }
    int fd = tcp();
    CALL(ioctl(fd, FIONBIO, NULL), "FIONBIO at null");
    CALL(ioctl(fd, FIONBIO, (void *)1), "FIONBIO at one");
    CALL(ioctl(-1, FIONBIO, &one), "FIONBIO, bad descriptor");
    CALL(ioctl(fd, 0xffffffff, NULL), "unknown request");
    close(fd);
}

static void options(void) {
    char *page = edge();
    int fd = MUST(socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK, 0));
    struct pollfd entry = {.fd = fd, .events = POLLOUT};
    CALL(connect(fd, SA(&refused), sizeof refused), "to be refused");
    MUST(poll(&entry, 1, 60000));
    for (int length = -1; length <= 8; length++) {
        unsigned char octets[8];
        memset(octets, 0xa5, sizeof octets);
        socklen_t len = length;
        CALL(getsockopt(fd, SOL_SOCKET, SO_ERROR, octets, &len), "SO_ERROR, room %d", length);
        printf("  length %u: %02x%02x%02x%02x%02x\n", len, octets[0], octets[1], octets[2],
               octets[3], octets[4]);
    }
    socklen_t len = 4;
    CALL(getsockopt(fd, SOL_SOCKET, SO_ERROR, NULL, &len), "SO_ERROR at null");
    CALL(getsockopt(fd, SOL_SOCKET, SO_ERROR, page + PAGE - 2, &len), "SO_ERROR, crossing");
    CALL(getsockopt(fd, SOL_SOCKET, SO_ERROR, page, NULL), "SO_ERROR, length at null");
    CALL(getsockopt(fd, SOL_SOCKET, SO_ERROR, page + 1, &len), "SO_ERROR, misaligned");
    CALL(getsockopt(-1, SOL_SOCKET, SO_ERROR, page, &len), "SO_ERROR, bad descriptor");
    CALL(getsockopt(fd, 12345, SO_ERROR, page, &len), "unknown level");
    CALL(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, NULL, 4), "SO_KEEPALIVE at null");
    CALL(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, page, 4), "SO_KEEPALIVE");
    CALL(setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, page, 1), "SO_KEEPALIVE, short");
    CALL(setsockopt(fd, SOL_SOCKET, SO_MARK, page, 4), "SO_MARK");
    CALL(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5), "SO_BINDTODEVICE");
    close(fd);
    fd = tcp();
    struct timeval limit = {50, 0};
    unsigned user = 50000;
    MUST(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
    MUST(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user, sizeof user));
    CALL(connect(fd, SA(&served), sizeof served), "with time limits");
    len = sizeof limit;
    MUST(getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, &len));
    len = sizeof user;
    MUST(getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user, &len));
    printf("limits %ld %ld %u\n", (long)limit.tv_sec, (long)limit.tv_usec, user);
    close(fd);
}

static void files(void) {
    char path[] = "/tmp/aarp-hooks-XXXXXX";
    int fd = MUST(mkstemp(path));
    MUST(unlink(path));
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 3, .l_len = 4};
    CALL(fcntl(fd, F_SETLK, &lock), "F_SETLK");
    CALL(fcntl(fd, F_GETLK, &lock), "F_GETLK");
    printf("lock %d %ld\n", lock.l_type, (long)lock.l_len);
    CALL(fcntl(fd, F_GETLK, NULL), "F_GETLK at null");
    CALL(fcntl(fd, F_SETFD, FD_CLOEXEC), "F_SETFD");
    CALL(fcntl(fd, F_GETFD), "F_GETFD");
    CALL(fcntl(fd, 12345), "unknown command");
    CALL(fcntl(-1, F_GETFL), "F_GETFL, bad descriptor");
    CALL(close(fd), "close");
    CALL(close(fd), "close twice");
    CALL(close(-1), "close, bad descriptor");
    char name[16] = "";
    CALL(prctl(PR_SET_NAME, "transcript"), "PR_SET_NAME");
    CALL(prctl(PR_GET_NAME, name), "PR_GET_NAME");
    printf("name %s\n", name);
    CALL(prctl(12345, 0, 0, 0, 0), "unknown option");
    CALL(syscall(SYS_getpid) == getpid(), "SYS_getpid");
    CALL(syscall(-1), "no system call");
    fd = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDONLY, 0);
    char *map = (char *)syscall(SYS_mmap, NULL, 4096L, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS,
                                -1L, 0L);
    printf("mapped %d\n", map != MAP_FAILED && map[100] == 0);
    CALL(socket(12345, SOCK_STREAM, 0), "socket, unknown family");
    CALL(socket(AF_INET6, 12345, 0), "socket, unknown type");
    CALL(socket(AF_INET6, SOCK_STREAM, 12345), "socket, unknown protocol");
    CALL(bind(-1, SA(&served), sizeof served), "bind, bad descriptor");
    int tcp6 = tcp();
    CALL(bind(tcp6, NULL, sizeof served), "bind to null");
    CALL(bind(tcp6, SA(&served), sizeof served), "bind to a foreign address");
    close(tcp6);
}

int main(int count, char **words) {
    begin(count, words);
    flags();
    options();
    files();
    return 0;
}
