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
extern ssize_t read(int fd, void *data, size_t count);
extern ssize_t write(int fd, const void *data, size_t count);
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

ssize_t sendto(int fd, const void *data, size_t count, int flags, const struct sockaddr *to,
    socklen_t len)
{
    BEHIND(sendto);
    return real(fd, data, count, flags, to, len);
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    BEHIND(sendmsg);
    return real(fd, message, flags);
}

ssize_t send(int fd, const void *data, size_t count, int flags)
{
    BEHIND(send);
    return real(fd, data, count, flags);
}

ssize_t write(int fd, const void *data, size_t count)
{
    BEHIND(write);
    return real(fd, data, count);
}

ssize_t recvfrom(int fd, void *data, size_t count, int flags, struct sockaddr *from,
    socklen_t *len)
{
    BEHIND(recvfrom);
    return real(fd, data, count, flags, from, len);
}

ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
    BEHIND(recvmsg);
    return real(fd, message, flags);
}

ssize_t recv(int fd, void *data, size_t count, int flags)
{
    BEHIND(recv);
    return real(fd, data, count, flags);
}

ssize_t read(int fd, void *data, size_t count)
{
    BEHIND(read);
    return real(fd, data, count);
}
