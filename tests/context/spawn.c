/* Children by vfork and by posix_spawn, of a program with pinned sockets:
 * PROGRAM ADDRESS WHAT. */
#include "storm.h"
#include <spawn.h>

extern char **environ;

static struct sockaddr_in6 echo;
static int stream, peer, plain;

static void ask(int fd, int has_peer) {
    struct sockaddr_in6 from;
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    socklen_t len = sizeof from;
    char text[8];
    if (has_peer)
        CLEAN(send(fd, "question", 8, 0));
    else
        CLEAN(sendto(fd, "question", 8, 0, SA(&echo), sizeof echo));
    if (poll(&entry, 1, 30000) != 1 || recvfrom(fd, text, 8, 0, SA(&from), &len) != 8 ||
        !is_a(&from))
        WRONG("no answer from A");
}

static void begin_sockets(void) {
    stream = kept_stream();
    peer = udp();
    plain = udp();
    CLEAN(connect(peer, SA(&echo), sizeof echo));
    CLEAN(sendto(plain, "question", 8, 0, SA(&echo), sizeof echo));
    recv(plain, (char[8]){0}, 8, 0);
}

/* All is as it was: shown as A, and pinned. */
static void still(const char *what) {
    AT(what);
    shows_a(stream);
    shows_a(peer);
    if (!is_moved(stream) || !is_moved(peer))
        WRONG("not pinned any more");
    ask(peer, 1);
    ask(plain, 0);
}

static int is_a_peer(int fd) {
    struct sockaddr_in6 name = {0};
    socklen_t len = sizeof name;
    return getpeername(fd, SA(&name), &len) == 0 && is_a(&name);
}

/* What a vfork child does before it ends: no line of this may return. */
static void in_vfork_child(int way, char **arguments) {
    int fd = socket(AF_INET6, SOCK_DGRAM, 0), other = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 strange = echo;
    strange.sin6_addr.s6_addr[7] = 1;
    if (connect(fd, SA(&echo), sizeof echo) || !is_a_peer(fd) || !is_moved(fd))
        _exit(10);
    if (connect(other, SA(&served), sizeof served) || !is_a_peer(other))
        _exit(11);
    if (sendto(plain, "question", 8, 0, SA(&echo), sizeof echo) != 8 ||
        recv(plain, (char[8]){0}, 8, 0) != 8)
        _exit(12);
    if (connect(fd, SA(&strange), sizeof strange))
        _exit(13);
    /* Its own descriptors, by numbers that mean something to its parent. */
    if (way % 4 == 0 && (dup2(fd, peer) != peer || dup2(other, stream) != stream))
        _exit(14);
    if (way % 4 == 1 && (close(peer) || close(stream) || close(plain)))
        _exit(15);
    if (way % 4 == 2 && close_range(3, ~0U, 0))
        _exit(16);
    /* The same numbers, for what has nothing to do with them. */
    if (way % 4 == 3) {
        int pair[2];
        close(peer), close(stream);
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) || close(pair[0]) || close(pair[1]))
            _exit(17);
        if (socket(AF_UNIX, SOCK_STREAM, 0) < 0 || socket(AF_INET6, SOCK_DGRAM, 0) < 0)
            _exit(18);
        if (fcntl(peer, F_GETFD) < 0 || fcntl(stream, F_GETFD) < 0)
            _exit(19);
        close(stream);
        int third = socket(AF_INET6, SOCK_STREAM, 0);
        if (connect(third, SA(&strange), sizeof strange) == 0 || errno != ECONNREFUSED)
            _exit(20);
        close(stream);
        if (dup(0) < 0)
            _exit(21);
    }
    if (way % 8 < 4)
        execv("/proc/self/exe", arguments);
    _exit(0);
}

static void vforks(char **words, int ways) {
    char *arguments[] = {words[0], words[1], "true", NULL};
    for (volatile int way = 0; way < ways; way++) {
        int status;
        AT("vfork");
        pid_t child = vfork();
        if (child == 0)
            in_vfork_child(way, arguments);
        MUST(child);
        AT("waitpid");
        MUST(waitpid(child, &status, 0));
        if (status)
            WRONG("a child of way %d: %#x", way, status);
        still("behind a vfork");
        /* The numbers that the child has used are new here. */
        int fd = udp(), other = tcp();
        if (is_a_peer(fd) || is_a_peer(other))
            WRONG("a new socket has a peer");
        ask(fd, 0);
        CLEAN(connect(other, SA(&served), sizeof served));
        shows_a(other);
        CLEAN(close(fd));
        CLEAN(close(other));
    }
}

/* A child that has made nothing of its own yet starts such children itself, as a worker
 * of a server does; and one of which the first thing is that its child connects. */
static void forked(char **words) {
    for (int turn = 0; turn < 20; turn++) {
        int status;
        AT("fork");
        pid_t child = MUST(fork());
        if (child == 0) {
            if (turn % 4 == 1)
                still("in a forked child");
            vforks(words, 1 + turn % 8);
            _exit(0);
        }
        AT("waitpid");
        MUST(waitpid(child, &status, 0));
        if (status)
            WRONG("a forked child: %#x", status);
        still("behind a fork");
    }
}

static void spawns(char **words) {
    char number[3][12];
    char *arguments[] = {words[0], words[1], "spawned", number[0], number[1], number[2], NULL};
    for (int way = 0; way < 100; way++) {
        posix_spawn_file_actions_t actions;
        posix_spawnattr_t attributes;
        int status, error;
        pid_t child;
        AT("posix_spawn");
        posix_spawn_file_actions_init(&actions);
        posix_spawnattr_init(&attributes);
        posix_spawn_file_actions_adddup2(&actions, plain, 100);
        posix_spawn_file_actions_adddup2(&actions, stream, peer);
        posix_spawn_file_actions_addclose(&actions, stream);
        posix_spawn_file_actions_addopen(&actions, 101, "/dev/null", O_RDWR, 0);
        if (way % 2)
            posix_spawn_file_actions_addclosefrom_np(&actions, 102);
        snprintf(number[0], sizeof number[0], "%d", peer);
        snprintf(number[1], sizeof number[1], "%d", stream);
        snprintf(number[2], sizeof number[2], "%d", 100);
        error = posix_spawn(&child, "/proc/self/exe", &actions, &attributes, arguments, environ);
        if (error)
            WRONG("posix_spawn: %s", strerrorname_np(error));
        AT("waitpid");
        MUST(waitpid(child, &status, 0));
        if (status)
            WRONG("a spawned child: %#x", status);
        posix_spawn_file_actions_destroy(&actions);
        still("behind a posix_spawn");
    }
}

/* The child: what it has inherited is what it was told. Of whom a socket is connected
 * to, U may be shown (docs/adr/0002). */
static void spawned(char **words) {
    struct sockaddr_in6 name;
    socklen_t len = sizeof name;
    int type = 0;
    socklen_t type_len = sizeof type;
    AT("spawned");
    CLEAN(getpeername(atoi(words[3]), SA(&name), &len));
    CLEAN(getsockopt(atoi(words[3]), SOL_SOCKET, SO_TYPE, &type, &type_len));
    if (type != SOCK_STREAM || fcntl(atoi(words[4]), F_GETFD) != -1)
        WRONG("other descriptors than it was told");
    ask(atoi(words[5]), 0);
    int fd = tcp();
    CLEAN(connect(fd, SA(&served), sizeof served));
    shows_a(fd);
    if (!is_moved(fd))
        WRONG("a child is not pinned");
}

int main(int count, char **words) {
    if (count < 3)
        return 64;
    begin(2, words);
    if (!strcmp(words[2], "true"))
        return 0;
    watched(60);
    echo = with_port(served, ECHO);
    if (!strcmp(words[2], "spawned")) {
        spawned(words);
        return 0;
    }
    begin_sockets();
    still("before");
    if (!strcmp(words[2], "vfork"))
        vforks(words, 200);
    else if (!strcmp(words[2], "fork"))
        forked(words);
    else
        spawns(words);
    puts("done");
    return 0;
}
