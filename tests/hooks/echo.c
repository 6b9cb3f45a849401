/* Answers every datagram with the same octets, from the address that it was sent to,
   and reads another port without ever answering. Arguments: port, silent port. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

static int listening(int port) {
    struct sockaddr_in6 name = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int fd = socket(AF_INET6, SOCK_DGRAM, 0), on = 1;
    if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) ||
        bind(fd, (struct sockaddr *)&name, sizeof name)) {
        perror("listen");
        exit(71);
    }
    return fd;
}

int main(int argc, char **argv) {
    if (argc != 3)
        return 64;
    struct pollfd fds[] = {{listening(atoi(argv[1])), POLLIN, 0},
                           {listening(atoi(argv[2])), POLLIN, 0}};
    for (;;) {
        if (poll(fds, 2, -1) < 0)
            return 71;
        for (int at = 0; at < 2; at++) {
            if (!fds[at].revents)
                continue;
            char data[65536], control[256];
            struct sockaddr_in6 name;
            struct iovec part = {data, sizeof data};
            struct msghdr message = {&name, sizeof name, &part, 1, control, sizeof control, 0};
            ssize_t count = recvmsg(fds[at].fd, &message, 0);
            if (count < 0 || at == 1)
                continue;
            /* The interface is the kernel's to choose. */
            struct cmsghdr *header = CMSG_FIRSTHDR(&message);
            ((struct in6_pktinfo *)CMSG_DATA(header))->ipi6_ifindex = 0;
            part.iov_len = count;
            message.msg_controllen = CMSG_SPACE(sizeof(struct in6_pktinfo));
            sendmsg(fds[at].fd, &message, 0);
        }
    }
}
