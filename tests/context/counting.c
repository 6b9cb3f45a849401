/* Another library that hooks the same calls, and writes at the end how many it has
 * seen, to the file that COUNTING names. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BEHIND(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static atomic_long connects, sends, closes;
/* The last IPv6 address that connect() was called with. */
static struct in6_addr last;

int connect(int fd, const struct sockaddr *name, socklen_t len) {
    connects++;
    if (name && len >= sizeof(struct sockaddr_in6) && name->sa_family == AF_INET6)
        memcpy(&last, &((const struct sockaddr_in6 *)name)->sin6_addr, sizeof last);
    return BEHIND(connect)(fd, name, len);
}

ssize_t sendto(int fd, const void *data, size_t count, int flags, const struct sockaddr *name,
               socklen_t len) {
    sends++;
    return BEHIND(sendto)(fd, data, count, flags, name, len);
}

int close(int fd) {
    closes++;
    return BEHIND(close)(fd);
}

__attribute__((destructor)) static void tell(void) {
    const char *file = getenv("COUNTING");
    FILE *out = file ? fopen(file, "w") : NULL;
    if (!out)
        return;
    fprintf(out, "connects=%ld sends=%ld closes=%ld last=", connects, sends, closes);
    for (int i = 0; i < 16; i++)
        fprintf(out, "%02x", last.s6_addr[i]);
    fprintf(out, "\n");
    fclose(out);
}
