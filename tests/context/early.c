/* A library that connects and sends before main and after it. */
#include "transcript.h"

static int udp_socket(void) { return MUST(socket(AF_INET6, SOCK_DGRAM, 0)); }

static void speak(const char *when) {
    const char *text = getenv("CONTEXT_ADDRESS");
    struct sockaddr_in6 kernel, shown, name = address(text ? text : "::", 80);
    struct sockaddr_in6 echo = name;
    socklen_t len = sizeof kernel, shown_len = sizeof shown;
    char line[200], reply[8];
    echo.sin6_port = htons(7000);
    int fd = tcp(), datagrams = udp_socket();
    int connected = connect(fd, SA(&name), sizeof name), error = connected ? errno : 0;
    int asked = kernel_peer(fd, &kernel, &len);
    int told = getpeername(fd, SA(&shown), &shown_len);
    int sent = sendto(datagrams, "question", 8, 0, SA(&echo), sizeof echo);
    struct sockaddr_in6 from = {0};
    socklen_t from_len = sizeof from;
    int received = recvfrom(datagrams, reply, 8, 0, SA(&from), &from_len);
    int moved = asked == 0 && memcmp(&kernel.sin6_addr, &name.sin6_addr, 16);
    int is_a = told == 0 && !memcmp(&shown.sin6_addr, &name.sin6_addr, 16) &&
               !memcmp(&from.sin6_addr, &name.sin6_addr, 16);
    close(fd);
    close(datagrams);
    int length = snprintf(line, sizeof line, "%s: error=%d sent=%d received=%d moved=%d a=%d\n",
                          when, error, sent, received, moved, is_a);
    if (write(1, line, length) != length)
        abort();
}

#ifndef PROGRAM
static void at_exit(void) { speak("atexit of a library"); }

__attribute__((constructor)) static void construct(void) {
    speak("constructor");
    atexit(at_exit);
}

__attribute__((destructor)) static void destruct(void) { speak("destructor"); }
#endif
