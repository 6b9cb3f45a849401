/* Loads a library: PROGRAM LIBRARY. */
#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

int main(int count, char **words) {
    if (count != 2)
        return 64;
    alarm(60);
    close(-1);
    puts(dlopen(words[1], RTLD_NOW) ? "loaded" : dlerror());
    return 0;
}
