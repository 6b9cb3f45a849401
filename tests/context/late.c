/* A program that ends in one way or another: PROGRAM WAY. Its own handlers connect. */
#define PROGRAM
#include "early.c"
#include <pthread.h>

static void of_main(void) { speak("atexit of main"); }

static void *end(void *unused) {
    (void)unused;
    exit(0);
}

int main(int count, char **words) {
    if (count != 2)
        return 64;
    atexit(of_main);
    speak("main");
    if (!strcmp(words[1], "exit"))
        exit(0);
    if (!strcmp(words[1], "thread")) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, end, NULL))
            return 1;
        pause();
    }
    if (!strcmp(words[1], "main-thread-ends")) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, end, NULL))
            return 1;
        pthread_exit(NULL);
    }
    return 0;
}
