/* What is sent and received on streams. */

CASES("stream/echo of what is sent by", SEND) {
    int fd = stream_to(ECHO);
    CALL(send_by(variant, fd, "0123456789", 10, 0), "send");
    char data[16] = "";
    CALL(recv(fd, data, 10, MSG_WAITALL), "recv");
    text("data", data, 10);
    CALL(send_by(variant, fd, "", 0, 0), "send nothing");
    CALL(recv(fd, data, 10, MSG_DONTWAIT), "recv");
    close(fd);
}

CASES("stream/received by", RECEIVE) {
    int fd = stream_to(GREETING);
    wait_for_octets(fd, 8);
    receive_by(variant, fd, 0, 0);
    receive_by(variant, fd, 3, 0);
    receive_by(variant, fd, 100, 0);
    receive_by(variant, fd, 100, 0);
    show_stream(fd);
    close(fd);
}

CASES("stream/MSG_PEEK with", RECEIVE_FLAGS) {
    int fd = stream_to(GREETING);
    wait_for_octets(fd, 8);
    receive_by(variant, fd, 3, MSG_PEEK);
    receive_by(variant, fd, 100, MSG_PEEK);
    receive_by(variant, fd, 2, 0);
    receive_by(variant, fd, 100, MSG_PEEK | MSG_DONTWAIT);
    receive_by(variant, fd, 100, MSG_WAITALL | MSG_PEEK);
    close(fd);
}

CASES("stream/MSG_TRUNC with", RECEIVE_FLAGS) {
    int fd = stream_to(GREETING);
    wait_for_octets(fd, 8);
    receive_by(variant, fd, 3, MSG_TRUNC);
    receive_by(variant, fd, 3, 0);
    close(fd);
}

CASES("stream/MSG_WAITALL with", RECEIVE_FLAGS) {
    int fd = stream_to(ECHO);
    MUST(send(fd, "abc", 3, 0));
    wait_for_octets(fd, 3);
    MUST(send(fd, "def", 3, 0));
    receive_by(variant, fd, 6, MSG_WAITALL);
    MUST(send(fd, "gh", 2, 0));
    MUST(shutdown(fd, SHUT_WR));
    receive_by(variant, fd, 6, MSG_WAITALL);
    receive_by(variant, fd, 6, MSG_WAITALL);
    close(fd);
}

CASES("stream/nothing there, MSG_DONTWAIT with", RECEIVE_FLAGS) {
    int fd = stream_to(ECHO);
    receive_by(variant, fd, 6, MSG_DONTWAIT);
    show_stream(fd);
    close(fd);
}

CASES("stream/nothing there, SO_RCVTIMEO with", RECEIVE) {
    int fd = stream_to(ECHO);
    struct timeval limit = {0, 5000};
    MUST(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
    receive_by(variant, fd, 6, 0);
    show_stream(fd);
    close(fd);
}

CASES("stream/MSG_OOB with", RECEIVE_FLAGS) {
    int fd = stream_to(URGENT);
    receive_by(variant, fd, 6, MSG_OOB);
    MUST(send(fd, "x", 1, 0));
    wait_for(fd, POLLPRI);
    wait_for_octets(fd, 2);
    show_ready(fd);
    CALL(sockatmark(fd), "at the mark");
    receive_by(variant, fd, 6, MSG_OOB | MSG_PEEK);
    receive_by(variant, fd, 6, MSG_OOB);
    receive_by(variant, fd, 6, MSG_OOB);
    receive_by(variant, fd, 2, 0);
    CALL(sockatmark(fd), "at the mark");
    receive_by(variant, fd, 2, MSG_WAITALL);
    close(fd);
}

CASES("stream/MSG_ERRQUEUE with", RECEIVE_FLAGS) {
    int fd = stream_to(ECHO);
    receive_by(variant, fd, 6, MSG_ERRQUEUE);
    close(fd);
}

CASES("stream/not connected, received with", RECEIVE) {
    int fd = stream(0);
    receive_by(variant, fd, 6, 0);
    close(fd);
}

CASES("stream/not connected, sent with", SEND) {
    signal(SIGPIPE, SIG_IGN);
    int fd = stream(0);
    CALL(send_by(variant, fd, "x", 1, 0), "send");
    close(fd);
}

CASES("stream/not connected, sent to A with", SEND_TO) {
    signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in6 to = at_port(ECHO);
    int fd = stream(0);
    CALL(send_to_by(variant, fd, "x", 1, 0, &to, sizeof to), "send");
    show_stream(fd);
    close(fd);
}

CASES("stream/connected, sent to A with", SEND_TO) {
    struct sockaddr_in6 to = at_port(DISCARD);
    int fd = stream_to(ECHO);
    char data[8] = "";
    /* The name is none of its business. */
    CALL(send_to_by(variant, fd, "abcd", 4, 0, &to, sizeof to), "send");
    CALL(recv(fd, data, 4, MSG_WAITALL), "recv");
    text("data", data, 4);
    ssize_t sent[2];
    CALL(sent[0] = send_to_by(variant, fd, "ef", 2, 0, wall(), sizeof to), "name nowhere");
    CALL(sent[1] = send_to_by(variant, fd, "gh", 2, 0, &to, 300), "name too long");
    for (int at = 0; at < 2; at++)
        if (sent[at] > 0) {
            CALL(recv(fd, data, 2, MSG_WAITALL), "recv");
            text("data", data, 2);
        }
    close(fd);
}

CASES("stream/listening, received with", RECEIVE) {
    int fd = stream(0);
    MUST(listen(fd, 1));
    receive_by(variant, fd, 6, 0);
    show_stream(fd);
    close(fd);
}

CASES("stream/reset, received with", RECEIVE) {
    int fd = stream_to(RESET);
    MUST(send(fd, "x", 1, 0));
    wait_for(fd, POLLRDHUP);
    receive_by(variant, fd, 6, 0);
    receive_by(variant, fd, 6, 0);
    show_stream(fd);
    close(fd);
}

CASES("stream/reset, sent with", SEND) {
    signal(SIGPIPE, SIG_IGN);
    int fd = stream_to(RESET);
    MUST(send(fd, "x", 1, 0));
    wait_for(fd, POLLRDHUP);
    CALL(send_by(variant, fd, "y", 1, 0), "send");
    CALL(send_by(variant, fd, "y", 1, 0), "send");
    show_stream(fd);
    close(fd);
}

static volatile sig_atomic_t pipes;
static void count_pipe(__attribute__((unused)) int number) { pipes++; }

CASES("stream/SIGPIPE of", SEND) {
    signal(SIGPIPE, count_pipe);
    pipes = 0;
    int fd = stream_to(ECHO);
    MUST(shutdown(fd, SHUT_WR));
    CALL(send_by(variant, fd, "y", 1, 0), "send");
    printf("signals %d\n", (int)pipes);
    close(fd);
}

CASES("stream/MSG_NOSIGNAL with", SEND_FLAGS) {
    signal(SIGPIPE, count_pipe);
    pipes = 0;
    int fd = stream_to(ECHO);
    MUST(shutdown(fd, SHUT_WR));
    CALL(send_by(variant, fd, "y", 1, MSG_NOSIGNAL), "send");
    printf("signals %d\n", (int)pipes);
    close(fd);
}

CASES("stream/shut down, then received with", RECEIVE) {
    int fd = stream_to(ECHO);
    MUST(send(fd, "abc", 3, 0));
    wait_for_octets(fd, 3);
    MUST(shutdown(fd, SHUT_RD));
    receive_by(variant, fd, 2, 0);
    receive_by(variant, fd, 2, 0);
    receive_by(variant, fd, 2, 0);
    show_ready(fd);
    close(fd);
}

CASES("stream/a buffer nowhere, sent with", SEND) {
    int fd = stream_to(ECHO);
    CALL(send_by(variant, fd, wall(), 8, 0), "nowhere");
    CALL(send_by(variant, fd, wall() - 4, 8, 0), "crossing");
    CALL(send_by(variant, fd, NULL, 8, 0), "null");
    show_stream(fd);
    close(fd);
}

CASES("stream/a buffer nowhere, received with", RECEIVE) {
    int fd = stream_to(GREETING);
    wait_for_octets(fd, 8);
    receive_into(variant, fd, wall(), 8, 0, NULL, 0);
    receive_into(variant, fd, read_only(), 8, 0, NULL, 0);
    receive_into(variant, fd, NULL, 8, 0, NULL, 0);
    receive_by(variant, fd, 8, 0);
    close(fd);
}

CASES("stream/the window is full, sent with", SEND_FLAGS) {
    int fd = stream(0), size = 4096;
    MUST(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
    MUST(connect_to(fd, DEAF));
    static char data[1 << 16];
    fill(fd);
    CALL(send_by(variant, fd, data, sizeof data, MSG_DONTWAIT), "send");
    show_ready(fd);
    struct timeval limit = {0, 5000};
    MUST(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
    CALL(send_by(variant, fd, data, sizeof data, 0), "send");
    close_at_once(fd);
}

CASE("stream/order of a long answer") {
    int fd = stream_to(BULK);
    unsigned total = 0, wrong = 0;
    for (;;) {
        unsigned char data[5000];
        ssize_t count = recv(fd, data, sizeof data, 0);
        if (count <= 0)
            break;
        for (ssize_t at = 0; at < count; at++)
            wrong += data[at] != (unsigned char)((total + at) * 31);
        total += count;
    }
    printf("octets %u wrong %u\n", total, wrong);
    show_stream(fd);
    close(fd);
}

CASE("stream/parts of many sizes") {
    int fd = stream_to(ECHO);
    char a[3], b[1], c[6];
    struct iovec out[] = {{"ab", 2}, {NULL, 0}, {"cdefg", 5}, {"hij", 3}};
    struct iovec in[] = {{a, 3}, {b, 1}, {NULL, 0}, {c, 6}};
    CALL(writev(fd, out, 4), "writev");
    wait_for_octets(fd, 10);
    CALL(readv(fd, in, 4), "readv");
    text("a", a, 3);
    text("b", b, 1);
    text("c", c, 6);
    CALL(writev(fd, out, -1), "writev of less than none");
    CALL(readv(fd, in, 1025), "readv of too many");
    CALL(writev(fd, (void *)wall(), 1), "writev of what is not there");
    struct msghdr message = {.msg_iov = out, .msg_iovlen = 1025};
    CALL(sendmsg(fd, &message, 0), "sendmsg of too many");
    CALL(recvmsg(fd, &message, MSG_DONTWAIT), "recvmsg of too many");
    close(fd);
}
