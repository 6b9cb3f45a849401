/* Asks about each pair of an address and a budget in milliseconds; one line for each:
 * the result, where to go, who told it, and whether errno stayed as it was. In the place
 * of an address may be `leave`, for a new network namespace, and `return`, to the first;
 * and `wait`, for a line of standard input. */
#include <aarp.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    struct aarp_mapping mapping;
    struct in6_addr a = IN6ADDR_ANY_INIT;
    char text[INET6_ADDRSTRLEN], line[8];
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int at;

    if (aarp_resolve(NULL, 0, &mapping) != EFAULT || aarp_resolve(&a, 0, NULL) != EFAULT ||
        aarp_failed(NULL, &a, IPPROTO_TCP, 80, 0) != EFAULT ||
        aarp_failed(&a, NULL, IPPROTO_TCP, 80, 0) != EFAULT ||
        aarp_failed(&a, &a, 256, 80, 0) != EINVAL)
        return 1;
    /* The address may be the one that is written over. */
    memset(&mapping, 0, sizeof mapping);
    if (aarp_resolve(&mapping.unicast, 0, &mapping) == 0 ||
        memcmp(&mapping.unicast, &a, sizeof a) != 0)
        return 1;
    for (at = 1; at + 1 < argc; at += 2) {
        int result;

        if (strcmp(argv[at], "leave") == 0 && unshare(CLONE_NEWNET) == 0)
            continue;
        if (strcmp(argv[at], "return") == 0 && setns(home, CLONE_NEWNET) == 0)
            continue;
        if (strcmp(argv[at], "wait") == 0 && fflush(stdout) == 0 && fgets(line, sizeof line, stdin))
            continue;
        if (inet_pton(AF_INET6, argv[at], &a) != 1)
            return 64;
        /* What is not filled in shows. */
        memset(&mapping, 0xa5, sizeof mapping);
        errno = EDOM;
        result = aarp_resolve(&a, (unsigned)strtoul(argv[at + 1], NULL, 10), &mapping);
        printf("%s, %s, %u, %s\n", result ? strerrorname_np(result) : "0",
               inet_ntop(AF_INET6, &mapping.unicast, text, sizeof text), mapping.source,
               errno == EDOM && mapping.reserved == 0 && aarp_strerror(result)[0] ? "fine" : "no");
    }
    return 0;
}
