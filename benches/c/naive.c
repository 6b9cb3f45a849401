/*
 * The hooks as anybody would write them first: look the function up once, call it.
 * They look at nothing and so do nothing for the program.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/socket.h>

#define BEHIND(name) \
    static __typeof__(&name) real; \
    if (!real) \
        real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

extern int close(int fd);
extern int fcntl(int fd, int command, long argument);

int connect(int fd, const struct sockaddr *address, socklen_t len)
{
    BEHIND(connect);
    return real(fd, address, len);
}

int socket(int domain, int type, int protocol)
{
    BEHIND(socket);
    return real(domain, type, protocol);
}

int close(int fd)
{
    BEHIND(close);
    return real(fd);
}

int getpeername(int fd, struct sockaddr *address, socklen_t *len)
{
    BEHIND(getpeername);
    return real(fd, address, len);
}

int getsockopt(int fd, int level, int name, void *value, socklen_t *len)
{
    BEHIND(getsockopt);
    return real(fd, level, name, value, len);
}

/* Variadic in C; on x86-64 and AArch64 the argument travels as a fixed one does. */
int fcntl(int fd, int command, long argument)
{
    BEHIND(fcntl);
    return real(fd, command, argument);
}
