/* Looks a name up in many ways and prints all that getaddrinfo says. Arguments: what
   to do, the name. */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

/* Every field of every entry, in order, and what errno was left at. */
static void show(const char *what, const char *node, const char *service,
                 const struct addrinfo *hints) {
    struct addrinfo *found = (void *)1;
    errno = 4711;
    int result = getaddrinfo(node, service, hints, &found);
    printf("%s: %d errno %d\n", what, result, errno);
    if (result)
        return;
    for (struct addrinfo *a = found; a; a = a->ai_next) {
        char text[INET6_ADDRSTRLEN] = "?";
        const struct sockaddr_in6 *six = (void *)a->ai_addr;
        const struct sockaddr_in *four = (void *)a->ai_addr;
        if (a->ai_family == AF_INET6)
            inet_ntop(AF_INET6, &six->sin6_addr, text, sizeof text);
        else
            inet_ntop(AF_INET, &four->sin_addr, text, sizeof text);
        printf("  flags %x family %d type %d protocol %d length %d port %d scope %d "
               "flow %d address %s canonical %s\n",
               a->ai_flags, a->ai_family, a->ai_socktype, a->ai_protocol, (int)a->ai_addrlen,
               ntohs(four->sin_port), a->ai_family == AF_INET6 ? (int)six->sin6_scope_id : 0,
               a->ai_family == AF_INET6 ? (int)six->sin6_flowinfo : 0, text,
               a->ai_canonname ? a->ai_canonname : "-");
    }
    freeaddrinfo(found);
}

static void everything(const char *name) {
    struct addrinfo hints = {0};
    show("no hints", name, NULL, NULL);
    show("a service", name, "http", NULL);
    show("a number", name, "7000", NULL);
    int families[] = {AF_UNSPEC, AF_INET, AF_INET6};
    int types[] = {0, SOCK_STREAM, SOCK_DGRAM, SOCK_RAW};
    int flags[] = {0, AI_CANONNAME, AI_PASSIVE, AI_NUMERICHOST, AI_NUMERICSERV, AI_V4MAPPED,
                   AI_V4MAPPED | AI_ALL, AI_ADDRCONFIG};
    for (int f = 0; f < 3; f++)
        for (int t = 0; t < 4; t++)
            for (int g = 0; g < 8; g++) {
                char what[80];
                hints.ai_family = families[f];
                hints.ai_socktype = types[t];
                hints.ai_flags = flags[g];
                snprintf(what, sizeof what, "family %d type %d flags %x", families[f], types[t],
                         flags[g]);
                show(what, name, "80", &hints);
            }
    hints = (struct addrinfo){.ai_flags = AI_NUMERICHOST};
    show("a literal", "2001:db8:a::1", "80", &hints);
    show("a literal as a name", "2001:db8:a::1", "80", NULL);
    show("nothing", NULL, "80", NULL);
    hints = (struct addrinfo){.ai_flags = AI_PASSIVE};
    show("to listen", NULL, "80", &hints);
    show("neither", NULL, NULL, NULL);
    show("unknown", "no.such.name.test", NULL, NULL);
    show("bad service", name, "no-such-service", NULL);
    show("too long a number", name, "99999999", NULL);
    hints = (struct addrinfo){.ai_family = 12345};
    show("bad family", name, NULL, &hints);
    hints = (struct addrinfo){.ai_flags = 1 << 30};
    show("bad flags", name, NULL, &hints);
}

static void *on_a_small_stack(void *name) {
    everything(name);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 64;
    if (!strcmp(argv[1], "everything")) {
        everything(argv[2]);
    } else if (!strcmp(argv[1], "small-stack")) {
        pthread_attr_t attributes;
        pthread_t thread;
        pthread_attr_init(&attributes);
        if (pthread_attr_setstacksize(&attributes, 64 * 1024) ||
            pthread_create(&thread, &attributes, on_a_small_stack, argv[2]))
            return 71;
        pthread_join(thread, NULL);
    } else if (!strcmp(argv[1], "time")) {
        struct addrinfo hints = {.ai_family = AF_INET6, .ai_socktype = SOCK_STREAM};
        double began = now();
        show("timed", argv[2], "80", &hints);
        printf("seconds %.6f\n", now() - began);
    } else {
        return 64;
    }
    return 0;
}
