/* Calls that a signal interrupts. */

static volatile sig_atomic_t caught;
static void catch(__attribute__((unused)) int number) { caught++; }

NAMES(RESTART, "without SA_RESTART", "with SA_RESTART");

/* A signal every few milliseconds, until something has been interrupted and the
 * program says so: a single one may come before the call has begun. */
static void signals_begin(int restart) {
    struct sigaction action = {.sa_handler = catch, .sa_flags = restart ? SA_RESTART : 0};
    MUST(sigaction(SIGUSR1, &action, NULL));
    caught = 0;
}

static pthread_t interrupted_thread;
static volatile int interrupting;
static int answered = -1; /* where data is sent after the first signal */
static void *interrupt(__attribute__((unused)) void *nothing) {
    struct timespec moment = {0, 10000000};
    nanosleep(&moment, NULL);
    while (interrupting) {
        pthread_kill(interrupted_thread, SIGUSR1);
        nanosleep(&moment, NULL);
        if (answered >= 0) {
            MUST(send(answered, "answer", 6, 0));
            break;
        }
    }
    return NULL;
}

#define WHILE_INTERRUPTED(restart, body)                                     \
    do {                                                                     \
        pthread_t thread_;                                                   \
        signals_begin(restart);                                              \
        interrupted_thread = pthread_self();                                 \
        interrupting = 1;                                                    \
        MUST(-pthread_create(&thread_, NULL, interrupt, NULL));              \
        body;                                                                \
        while (!caught)                                                      \
            sched_yield();                                                   \
        interrupting = 0;                                                    \
        pthread_join(thread_, NULL);                                         \
        printf("caught %d\n", caught > 0);                                   \
    } while (0)

CASES("signals/a stream, received with", RECEIVE) {
    int fd = stream_to(ECHO);
    struct timeval none = {0, 0};
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none));
    WHILE_INTERRUPTED(0, receive_by(variant, fd, 8, 0));
    show_stream(fd);
    close(fd);
}

CASES("signals/datagrams, received with", RECEIVE) {
    int fd = datagram(0);
    struct timeval none = {0, 0};
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none));
    ask_with(fd, "question", UDP_MUTE);
    WHILE_INTERRUPTED(0, receive_by(variant, fd, 8, 0));
    close(fd);
}

CASES("signals/SO_RCVTIMEO is not restarted", RECEIVE) {
    int fd = datagram_to(UDP_MUTE);
    WHILE_INTERRUPTED(1, receive_by(variant, fd, 8, 0));
    close(fd);
}

CASES("signals/restarted until data comes", RECEIVE) {
    int fd = stream_to(ECHO), flags = MUST(fcntl(fd, F_GETFL));
    struct timeval none = {0, 0};
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none));
    answered = fd;
    WHILE_INTERRUPTED(1, receive_by(variant, fd, 6, 0));
    answered = -1;
    printf("flags as before %d\n", fcntl(fd, F_GETFL) == flags);
    close(fd);
}

CASES("signals/connect to a silent port, interrupted, by", CONNECT) {
    int fd = stream(0), port = silent_port();
    struct sockaddr_in6 to = at_port(port);
    WHILE_INTERRUPTED(0, CALL(connect_by(variant, fd, &to, sizeof to), "connect"));
    show_stream(fd);
    MUST(fcntl(fd, F_SETFL, O_NONBLOCK));
    CALL(connect_by(variant, fd, &to, sizeof to), "again");
    show_stream(fd);
    close(fd);
}

CASES("signals/connect to a silent port with SO_SNDTIMEO, by", CONNECT) {
    int fd = stream(0), port = silent_port();
    struct sockaddr_in6 to = at_port(port);
    struct timeval limit = {10, 0};
    MUST(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
    /* Where there is a limit, it is not restarted. */
    WHILE_INTERRUPTED(1, CALL(connect_by(variant, fd, &to, sizeof to), "connect"));
    show_stream(fd);
    close(fd);
}

CASE("signals/connect to a silent port, restarted") {
    int fd = stream(0), port = silent_port();
    struct sockaddr_in6 to = at_port(port);
    unsigned limit = 900;
    MUST(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit, sizeof limit));
    WHILE_INTERRUPTED(1, CALL(connect(fd, SA(&to), sizeof to), "connect"));
    show_stream(fd);
    close(fd);
}

CASES("signals/sending into a full window with", SEND) {
    int fd = stream(0), size = 4096;
    static char data[1 << 16];
    MUST(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
    MUST(connect_to(fd, DEAF));
    fill(fd);
    WHILE_INTERRUPTED(0, CALL(send_by(variant, fd, data, sizeof data, 0), "send"));
    close_at_once(fd);
}

NAMES(WAITING, "poll", "ppoll", "select", "pselect", "epoll_wait");
CASES("signals/interrupted in", WAITING) {
    int fd = stream_to(ECHO);
    struct pollfd entry = {fd, POLLIN, 0};
    struct epoll_event event = {.events = EPOLLIN};
    struct timespec limit = {60, 0};
    struct timeval time = {60, 0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    int queue = MUST(epoll_create1(0));
    MUST(epoll_ctl(queue, EPOLL_CTL_ADD, fd, &event));
    /* None of these is ever restarted. */
    WHILE_INTERRUPTED(1, switch (variant) {
        case 0: CALL(poll(&entry, 1, 60000), "poll"); break;
        case 1: CALL(ppoll(&entry, 1, &limit, NULL), "ppoll"); break;
        case 2: CALL(select(fd + 1, &set, NULL, NULL, &time), "select"); break;
        case 3: CALL(pselect(fd + 1, &set, NULL, NULL, &limit, NULL), "pselect"); break;
        default: CALL(epoll_wait(queue, &event, 1, 60000), "epoll_wait"); break;
    });
    close(queue);
    close(fd);
}

CASES("signals/accept", RESTART) {
    int fd = stream(0);
    /* Where there is a limit, it is not restarted. */
    struct timeval limit = {variant ? 60 : 0, 0};
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    MUST(listen(fd, 1));
    WHILE_INTERRUPTED(variant, CALL(accept(fd, NULL, NULL), "accept"));
    close(fd);
}

/* Calls made by a handler that has interrupted another. */
static int handler_fd;
static void in_handler(__attribute__((unused)) int number) {
    int saved = errno;
    int stream_fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 to = at_port(ECHO), peer;
    socklen_t len = sizeof peer;
    if (connect(stream_fd, SA(&to), sizeof to) || send(stream_fd, "abc", 3, 0) != 3 ||
        getpeername(stream_fd, SA(&peer), &len) || memcmp(&peer.sin6_addr, &destination, 16))
        handler_fd = -1;
    close(stream_fd);
    to = at_port(UDP_MUTE);
    if (sendto(handler_fd, "abc", 3, 0, SA(&to), sizeof to) != 3)
        handler_fd = -1;
    caught++;
    errno = saved;
}

CASES("signals/a handler connects and sends while in", RECEIVE) {
    struct sigaction action = {.sa_handler = in_handler, .sa_flags = SA_RESTART};
    int fd = stream_to(ECHO);
    struct timeval limit = {0, 80000};
    handler_fd = datagram(0);
    caught = 0;
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    MUST(sigaction(SIGUSR2, &action, NULL));
    /* Sent to this thread: delivered before the call returns. */
    MUST(-pthread_kill(pthread_self(), SIGUSR2));
    receive_by(variant, fd, 8, 0);
    printf("caught %d, well %d\n", (int)caught, handler_fd >= 0);
    close(handler_fd);
    close(fd);
}

CASE("signals/SIGIO of a connection") {
    sigset_t set;
    int number;
    sigemptyset(&set);
    sigaddset(&set, SIGIO);
    MUST(-pthread_sigmask(SIG_BLOCK, &set, NULL));
    int fd = stream_to(ECHO);
    CALL(fcntl(fd, F_SETOWN, getpid()), "F_SETOWN");
    CALL(fcntl(fd, F_SETFL, O_ASYNC), "F_SETFL");
    MUST(send(fd, "abc", 3, 0));
    CALL(sigwait(&set, &number), "sigwait");
    printf("  %d\n", number == SIGIO);
    receive_by(0, fd, 3, 0);
    close(fd);
    struct timespec none = {0, 0};
    while (sigtimedwait(&set, NULL, &none) > 0)
        ;
    MUST(-pthread_sigmask(SIG_UNBLOCK, &set, NULL));
}
