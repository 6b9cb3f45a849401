/* Forks, while eight threads are inside hooks: PROGRAM ADDRESS FORKS SECONDS. Children
 * call hooks too, on sockets of their own and on those that they have inherited. */
#include "storm.h"

#define THREADS 8
#define CHILDREN 4
/* The sockets that all threads and children use: a stream and a datagram socket that
 * are connected, one that is not, and one that threads change all the time. */
enum { STREAM, PEER, PLAIN, CHANGED, SHARED };

static int shared[SHARED];
/* What each thread is at. */
static atomic_int current[THREADS];
static atomic_int over;

/* What nobody else asks: the thread or child, and how many it has asked before. */
static _Thread_local struct {
    unsigned who, number;
} question;

/* Answers to what somebody else had asked, by a socket that had this one's port before:
 * most do not wait for theirs. Those come from where that one was pinned to. */
static atomic_ulong *late;
/* Answers of the threads' own. */
static atomic_ulong own;

static void speak(int fd, struct sockaddr_in6 to) {
    question.who = self - workers + (unsigned)getpid() * WORKERS;
    question.number++;
    CLEAN(sendto(fd, &question, sizeof question, MSG_DONTWAIT, SA(&to), sizeof to));
}

/* Listens, after the last of so many questions was asked, to what answers any. */
static void listen_to(int fd, unsigned questions) {
    __typeof__(question) answer;
    struct sockaddr_in6 from;
    socklen_t len = sizeof from;
    if (recvfrom(fd, &answer, sizeof answer, MSG_DONTWAIT, SA(&from), &len) != 8 ||
        from.sin6_port != htons(ECHO))
        return;
    int is_own = answer.who == question.who && question.number - answer.number < questions;
    if (is_a(&from))
        atomic_fetch_add(&own, is_own);
    else if (from.sin6_addr.s6_addr[7] == 0) {
        if (is_own || !questions)
            WRONG("an answer from another");
        atomic_fetch_add(late, 1);
    }
}

/* Until there is something to listen to, or most likely nothing comes. */
static void wait_for(int fd) {
    struct pollfd entry = {fd, POLLIN, 0};
    CLEAN(poll(&entry, 1, 100));
}

/* A connection that does not outlive the call by more than a reset. */
static void stream(struct sockaddr_in6 to) {
    struct linger reset = {1, 0};
    int fd = tcp();
    MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset));
    if (connect(fd, SA(&to), sizeof to) == 0 && is_a(&to))
        shows_a(fd);
    CLEAN(close(fd));
}

static void look_up(void) {
    struct addrinfo hints = {.ai_family = AF_INET6, .ai_socktype = SOCK_DGRAM}, *list;
    int error = getaddrinfo("www.any.test", "80", &hints, &list);
    if (error)
        WRONG("getaddrinfo: %s", gai_strerror(error));
    freeaddrinfo(list);
}

static void *work(void *place) {
    struct sockaddr_in6 echo = with_port(served, ECHO);
    self = place;
    for (unsigned turn = self - workers; !over; turn++) {
        AT("socket, connect, send, getpeername");
        int fd = udp();
        current[self - workers - 1] = fd;
        if (turn % 2) {
            CLEAN(connect(fd, SA(&echo), sizeof echo));
            shows_a(fd);
            question.who = self - workers + (unsigned)getpid() * WORKERS;
            question.number++;
            CLEAN(send(fd, &question, sizeof question, 0));
        } else {
            speak(fd, echo);
            speak(fd, with_port(served, MUTE));
        }
        AT("recvfrom");
        if (turn % 16 < 2)
            wait_for(fd);
        listen_to(fd, 2);
        AT("dup, close");
        int copy = CLEAN(dup(fd));
        CLEAN(close(fd));
        CLEAN(close(copy));
        AT("sendto, of a shared socket");
        speak(shared[PLAIN], echo);
        AT("recvfrom, of a shared socket");
        listen_to(shared[PLAIN], 0);
        AT("dup, fcntl, of a shared socket");
        copy = CLEAN(dup(shared[CHANGED]));
        CLEAN(fcntl(shared[CHANGED], F_SETFL, turn & 1 ? O_NONBLOCK : 0));
        AT("getpeername, of a shared socket");
        shows_a(shared[STREAM]);
        shows_a(shared[PEER]);
        CLEAN(close(copy));
        if (turn % 8 == 0) {
            AT("connect, a stream");
            stream(served);
        }
        if (turn % 16 == 1) {
            AT("sendto, to an unknown destination");
            fd = udp();
            speak(fd, unknown(ECHO));
            CLEAN(close(fd));
        }
        if (turn % 32 == 2) {
            AT("connect, to an unknown destination");
            stream(unknown(9));
        }
        if (turn % 64 == 3) {
            AT("getaddrinfo");
            look_up();
        }
    }
    self->doing = NULL;
    return NULL;
}

/* What a child of every kind does, and how it ends. */
static void child(long number) {
    struct sockaddr_in6 echo = with_port(served, ECHO), mute = with_port(served, MUTE);
    AT("child: getpeername, inherited");
    shows_a(shared[STREAM]);
    shows_a(shared[PEER]);
    shows_a(shared[CHANGED]);
    AT("child: sendto, inherited");
    /* Not what is answered: the parent, which has the socket too, could not tell whose
     * answer it is (docs/adr/0002). */
    speak(shared[PLAIN], mute);
    listen_to(shared[PLAIN], 0);
    AT("child: connect, of its own");
    int fd = udp();
    CLEAN(connect(fd, SA(&echo), sizeof echo));
    shows_a(fd);
    int moved = is_moved(fd);
    AT("child: sendto, of its own");
    int other = udp();
    speak(other, echo);
    speak(other, with_port(served, MUTE));
    listen_to(other, 2);
    AT("child: dup2, onto an inherited one");
    CLEAN(dup2(fd, shared[STREAM]));
    shows_a(shared[STREAM]);
    if (number % 16 == 0) {
        AT("child: sendto, to an unknown destination");
        speak(other, unknown(ECHO));
    }
    if (number % 16 == 1) {
        AT("child: connect, a stream");
        stream(served);
    }
    AT("child: sendto, close, inherited in the midst of a hook");
    for (int i = 0; i < THREADS; i++) {
        /* Open or not, and perhaps something else by now. */
        int fd = current[i];
        if (fd < 0)
            continue;
        sendto(fd, "question", 8, MSG_DONTWAIT | MSG_NOSIGNAL, SA(&mute), sizeof mute);
        close(fd);
    }
    AT("child: close, inherited");
    for (int i = 0; i < SHARED; i++)
        CLEAN(close(shared[i]));
    /* The numbers are used again, for what was never connected. */
    AT("child: socket, getpeername, of a number used again");
    struct sockaddr_in6 name;
    socklen_t len = sizeof name;
    int again = udp();
    if (getpeername(again, SA(&name), &len) == 0)
        WRONG("a new socket has a peer");
    AT("child: close_range");
    CLEAN(close_range(3, ~0U, 0));
    AT("child: end");
    if (number % 100 == 7)
        execl("/bin/true", "true", NULL);
    if (number % 100 == 8)
        exit(moved ? 0 : 77);
    _exit(moved ? 0 : 77);
}

int main(int count, char **words) {
    long forks = storm(count, words), moved = 0, unmoved = 0;
    late = mmap(NULL, sizeof *late, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (late == MAP_FAILED)
        return 1;
    struct sockaddr_in6 echo = with_port(served, ECHO);
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        current[i] = -1;
    AT("connect");
    shared[STREAM] = kept_stream();
    shared[CHANGED] = kept_stream();
    shared[PEER] = udp();
    shared[PLAIN] = udp();
    MUST(connect(shared[PEER], SA(&echo), sizeof echo));
    speak(shared[PLAIN], echo);
    look_up();
    for (int i = 0; i < SHARED; i++)
        if (i != PLAIN && !is_moved(shared[i]))
            WRONG("%d is not pinned", i);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, &workers[1 + i]))
            exit(1);
    struct worker *children = &workers[1 + THREADS];
    long begun = 0, ended = 0;
    while (ended < forks) {
        AT("fork");
        while (begun < forks && begun - ended < CHILDREN) {
            struct worker *place = children;
            while (place->doing)
                place++;
            place->doing = "child: begin";
            atomic_fetch_add(&place->beats, 1);
            pid_t pid = MUST(fork());
            if (pid == 0) {
                self = place;
                child(begun);
            }
            place->pid = pid;
            begun++;
        }
        AT("waitpid");
        int status;
        pid_t pid = MUST(waitpid(-1, &status, 0));
        for (struct worker *place = children; place < children + CHILDREN; place++)
            if (place->pid == pid) {
                if (status && status != 77 << 8)
                    WRONG("child %d, which was in %s: status %#x", pid, place->doing, status);
                moved += status == 0;
                unmoved += status != 0;
                place->pid = 0;
                place->doing = NULL;
            }
        ended++;
    }
    over = 1;
    for (int i = 0; i < THREADS; i++) {
        AT("pthread_join");
        pthread_join(threads[i], NULL);
    }
    printf("forks=%ld moved=%ld unmoved=%ld late=%lu own=%lu\n", ended, moved, unmoved, *late,
           own);
    return 0;
}
