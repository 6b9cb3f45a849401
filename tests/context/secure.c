/* What becomes of a stream and of a datagram, and whether ld.so treats this program as
 * one that must be secure: PROGRAM ADDRESS. */
#include "storm.h"
#include <sys/auxv.h>

int main(int count, char **words) {
    begin(count, words);
    struct sockaddr_in6 echo = with_port(served, ECHO);
    int fd = connected(), datagrams = udp();
    MUST(connect(datagrams, SA(&echo), sizeof echo));
    printf("secure=%lu stream=%d datagrams=%d\n", getauxval(AT_SECURE), is_moved(fd),
           is_moved(datagrams));
    return 0;
}
