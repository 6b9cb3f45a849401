/* Sockets that are opened, connected and closed: PROGRAM ADDRESS COUNT SECONDS. The
 * memory of the process is what it was. */
#include "storm.h"
#include <sys/resource.h>

enum { HIGH = 64 };

static struct sockaddr_in6 echo;
static int highest;
static long pinned;

/* The pages that this process has in memory, exactly: VmRSS is an estimate that the
 * processors add to by the dozen. */
static long pages(void) {
    static char text[2048];
    long kilobytes = -1;
    int fd = MUST(open("/proc/self/smaps_rollup", O_RDONLY));
    ssize_t length = read(fd, text, sizeof text - 1);
    const char *rss = length > 0 ? strstr(text, "\nRss:") : NULL;
    close(fd);
    if (!rss || sscanf(rss + 5, "%ld", &kilobytes) != 1)
        WRONG("smaps_rollup: %s", text);
    return kilobytes * 1024 / getpagesize();
}

static void once(long turn) {
    struct linger reset = {1, 0};
    int fd, copy = -1;
    if (turn % 16 == 0) {
        fd = tcp();
        CLEAN(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
        CLEAN(connect(fd, SA(&served), sizeof served));
        pinned += is_moved(fd);
    } else {
        fd = udp();
        if (turn % 4 == 1) {
            CLEAN(sendto(fd, "question", 8, 0, SA(&echo), sizeof echo));
        } else {
            CLEAN(connect(fd, SA(&echo), sizeof echo));
            pinned += is_moved(fd);
        }
    }
    if (turn % 8 == 2) {
        /* Another number, as high as there are. */
        copy = highest - turn / 8 % HIGH;
        CLEAN(turn % 16 == 2 ? dup2(fd, copy) : dup3(fd, copy, O_CLOEXEC));
    } else if (turn % 8 == 3) {
        copy = CLEAN(fcntl(fd, F_DUPFD, 100));
    }
    if (copy >= 0 && turn % 2)
        CLEAN(close(copy));
    if (turn % 32 == 4)
        CLEAN(close_range(fd, fd, 0));
    else
        CLEAN(close(fd));
    if (copy >= 0 && turn % 2 == 0)
        CLEAN(close(copy));
}

int main(int count, char **words) {
    long sockets = storm(count, words), before, after;
    struct rlimit limit;
    echo = with_port(served, ECHO);
    MUST(getrlimit(RLIMIT_NOFILE, &limit));
    limit.rlim_cur = limit.rlim_max;
    MUST(setrlimit(RLIMIT_NOFILE, &limit));
    highest = limit.rlim_max - 1 < 1000000 ? limit.rlim_max - 1 : 1000000;
    int descriptors = open_descriptors();
    for (long turn = 0; turn < 20000; turn++) {
        AT("warming up");
        once(turn);
    }
    AT("counting pages");
    pages();
    before = pages();
    pinned = 0;
    for (long turn = 0; turn < sockets; turn++) {
        AT("opening and closing");
        once(turn);
    }
    after = pages();
    printf("sockets=%ld pinned=%ld highest=%d before=%ld after=%ld descriptors=%d\n", sockets,
           pinned, highest, before, after, open_descriptors() - descriptors);
    return 0;
}
