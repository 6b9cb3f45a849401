/* A library whose constructor starts a thread that connects, and waits for it. */
#include "transcript.h"
#include <pthread.h>

static void *work(void *unused) {
    struct sockaddr_in6 name = {.sin6_family = AF_INET6};
    connect(-1, SA(&name), sizeof name);
    (void)!read(-1, &name, 1);
    return unused;
}

__attribute__((constructor)) static void construct(void) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, NULL))
        abort();
    pthread_join(thread, NULL);
}
