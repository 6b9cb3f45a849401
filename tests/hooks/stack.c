/* The first caller is a thread with a stack of 64 KiB; the second one of 16 KiB. */
#include "transcript.h"
#include <limits.h>
#include <pthread.h>

static void *work(void *data) {
    int fd = tcp();
    *(int *)data = fd;
    CALL(connect(fd, SA(&served), sizeof served), "connect");
    show_peer("peer", fd);
    close(fd);
    fd = tcp();
    CALL(connect(fd, SA(&refused), sizeof refused), "refused");
    close(fd);
    return NULL;
}

int main(int count, char **words) {
    begin(count, words);
    size_t sizes[] = {64 * 1024, 16 * 1024};
    for (int i = 0; i < 2; i++) {
        pthread_attr_t attributes;
        pthread_t thread;
        int fd;
        pthread_attr_init(&attributes);
        if (pthread_attr_setstacksize(&attributes, sizes[i]) ||
            pthread_create(&thread, &attributes, work, &fd))
            exit(1);
        pthread_join(thread, NULL);
        printf("joined, descriptor %d\n", fd);
    }
    return 0;
}
