/*
 * Connects to a service on an anycast host as aarp_resolve() finds it, and copies what it
 * says to standard output.
 *
 *     cc -o connect connect.c $(pkg-config --cflags --libs aarp)
 *     ./connect www.any.example 80
 *
 * Exit status: 0 done, 1 no connection, 64 usage.
 */
#include <aarp.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The longest that a connection is held up by asking. */
enum { BUDGET_MS = 500 };

/* A socket that is connected to the port of an address, or -1. */
static int dial(const struct sockaddr_in6 *name, const struct in6_addr *to)
{
    struct sockaddr_in6 target = *name;
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    target.sin6_addr = *to;
    if (fd >= 0 && connect(fd, (struct sockaddr *)&target, sizeof target) != 0) {
        int error = errno;

        close(fd);
        errno = error;
        fd = -1;
    }
    return fd;
}

/* The same by the unicast address behind an anycast address, or by that itself. */
static int dial_anycast(const struct sockaddr_in6 *name)
{
    const struct in6_addr *a = &name->sin6_addr;
    struct aarp_mapping mapping;
    char text[INET6_ADDRSTRLEN];
    int result = aarp_resolve(a, BUDGET_MS, &mapping);
    int fd = dial(name, &mapping.unicast);
    int error = errno;

    if (result != 0)
        fprintf(stderr, "connect: %s\n", aarp_strerror(result));
    else
        fprintf(stderr, "connect: to %s, source %u\n",
                inet_ntop(AF_INET6, &mapping.unicast, text, sizeof text), mapping.source);
    if (fd < 0 && memcmp(a, &mapping.unicast, sizeof *a) != 0) {
        aarp_failed(a, &mapping.unicast, IPPROTO_TCP, ntohs(name->sin6_port), error);
        fprintf(stderr, "connect: %s: %s\n", text, strerror(error));
        fd = dial(name, a);
    }
    return fd;
}

int main(int argc, char **argv)
{
    struct addrinfo hints = { .ai_family = AF_INET6, .ai_socktype = SOCK_STREAM };
    struct addrinfo *found, *at;
    char buffer[4096];
    ssize_t length;
    int fd = -1;
    int problem;

    if (argc != 3) {
        fprintf(stderr, "usage: %s HOST PORT\n", argv[0]);
        return 64;
    }
    problem = getaddrinfo(argv[1], argv[2], &hints, &found);
    if (problem != 0) {
        fprintf(stderr, "connect: %s: %s\n", argv[1], gai_strerror(problem));
        return 1;
    }
    for (at = found; at != NULL && fd < 0; at = at->ai_next)
        fd = dial_anycast((struct sockaddr_in6 *)at->ai_addr);
    freeaddrinfo(found);
    if (fd < 0) {
        fprintf(stderr, "connect: %s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    while ((length = read(fd, buffer, sizeof buffer)) > 0)
        fwrite(buffer, 1, (size_t)length, stdout);
    close(fd);
    return length == 0 ? 0 : 1;
}
