/* pthread_cancel: a thread that waits in connect(), and one that is cancelled before
 * it calls. Clean-up handlers run, and the process goes on. */
#include "transcript.h"
#include <pthread.h>

struct task {
    int fd;
    struct sockaddr_in6 to;
    int late, cleaned;
};

static void clean(void *data) {
    struct task *task = data;
    task->cleaned++;
    close(task->fd);
}

static void *work(void *data) {
    struct task *task = data;
    int state;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    pthread_cleanup_push(clean, task);
    if (task->late)
        pthread_cancel(pthread_self());
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &state);
    connect(task->fd, SA(&task->to), sizeof task->to);
    pthread_testcancel();
    pthread_cleanup_pop(0);
    return NULL;
}

/* Waits until a connection to the silent port has sent its SYN. */
static void wait_for_syn(void) {
    for (int tries = 0; tries < 6000; tries++) {
        char line[512];
        FILE *table = fopen("/proc/self/net/tcp6", "r");
        if (!table)
            exit(1);
        int found = 0;
        while (fgets(line, sizeof line, table))
            found |= strstr(line, ":0051 02 ") != NULL;
        fclose(table);
        if (found)
            return;
        usleep(10000);
    }
    fprintf(stderr, "no SYN\n");
    exit(1);
}

static void cancel(const char *label, struct sockaddr_in6 to, int late) {
    struct task task = {.fd = tcp(), .to = to, .late = late};
    pthread_t thread;
    void *result;
    if (pthread_create(&thread, NULL, work, &task))
        exit(1);
    if (!late) {
        wait_for_syn();
        pthread_cancel(thread);
    }
    pthread_join(thread, &result);
    printf("%s: cancelled %d, cleaned %d\n", label, result == PTHREAD_CANCELED, task.cleaned);
}

int main(int count, char **words) {
    begin(count, words);
    for (int round = 0; round < 3; round++) {
        cancel("while it waits", silent, 0);
        cancel("before it calls", served, 1);
        int fd = connected();
        show_peer("still at work", fd);
        close(fd);
    }
    return 0;
}
