/* Asks about an address while a handler of SIGUSR1 does not return: it jumps out of the
 * question. Prints whether it did, how many descriptors are left open, and who tells when
 * it is asked again. */
#include <aarp.h>
#include <arpa/inet.h>
#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static sigjmp_buf out;

static void jump(int number)
{
    siglongjmp(out, number);
}

static int descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;

    while (folder && readdir(folder))
        count++;
    if (folder)
        closedir(folder);
    return count;
}

int main(int argc, char **argv)
{
    struct aarp_mapping mapping;
    struct sigaction action;
    struct in6_addr a;
    int before = descriptors();
    volatile int jumped = 0;

    if (argc != 2 || inet_pton(AF_INET6, argv[1], &a) != 1)
        return 64;
    memset(&action, 0, sizeof action);
    action.sa_handler = jump;
    if (sigaction(SIGUSR1, &action, NULL) != 0)
        return 71;
    if (sigsetjmp(out, 1) == 0)
        aarp_resolve(&a, 10000, &mapping);
    else
        jumped = 1;
    printf("jumped %d, left %d", jumped, descriptors() - before);
    aarp_resolve(&a, 0, &mapping);
    printf(", told by %u\n", mapping.source);
    return 0;
}
