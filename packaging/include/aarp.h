/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Who answers for an IPv6 anycast address? For programs that want to know it
 * themselves; those that are not changed have libaarp.so (aarp-run(1)).
 *
 * Compile and link with `pkg-config --cflags --libs aarp`.
 */
#ifndef AARP_H
#define AARP_H

#include <netinet/in.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Who told it: values of aarp_mapping.source. */
#define AARP_TABLE 1   /* the mapping table of aarpd: nobody was asked */
#define AARP_MEMORY 2  /* this process remembers it */
#define AARP_DAEMON 3  /* aarpd was asked */
#define AARP_NETWORK 4 /* the network was asked */

struct aarp_mapping {
    /* Where to go: the unicast address of the node that answers; the anycast address
     * itself where that answers from its own address, and with every error. */
    struct in6_addr unicast;
    /* For how long it is good for new communications, in milliseconds. One that was
     * begun stays with its address for as long as it lasts. */
    uint32_t ttl_ms;
    /* The round trip of the answer, in microseconds. */
    uint32_t rtt_us;
    /* AARP_TABLE and so on; 0 with an error. A later version may know more. */
    uint32_t source;
    /* 0. */
    uint32_t reserved;
};

/*
 * Finds who answers for *a: in aarpd's mapping table, in what this process remembers, by
 * asking aarpd, or the network. Waits for no longer than budget_ms, nor than
 * `times.budget` of the configuration (aarp.toml). With 0 nobody is waited for: what is
 * known already is found, and aarpd, where it runs, begins to ask, so that a later call
 * finds what it has heard.
 *
 * Returns 0, or a number of <errno.h>; errno itself stays as it was. *out is filled in
 * either case, and its `unicast` is always an address to go to.
 *
 *   EINVAL           *a is IPv4 in IPv6 form, loopback, link-local, multicast, unspecified
 *                    or of this host
 *   EPERM            the configuration does not have *a asked about
 *   EHOSTUNREACH     nobody answers, now or a short while ago
 *   ETIMEDOUT        nobody has answered within budget_ms
 *   EBADMSG          only an address answered that must not be used
 *   EINTR            a signal came, as with connect(2)
 *   EACCES           there is no aarpd, and this process may not probe
 *   ECONNREFUSED     aarpd cannot be asked, and `daemon.use` is "require"
 *   ENOTRECOVERABLE  the configuration is wrong; the next call reads it again
 *   EFAULT           a null pointer: then *out is not filled in
 *   EMFILE ENFILE ENOMEM ENOBUFS EIO   of a system call
 *
 * May be called by any thread, also after fork(2); not by a signal handler. A thread that
 * has entered another network namespace than that of the first call has the network
 * asked there, each time.
 */
int aarp_resolve(const struct in6_addr *a, unsigned budget_ms, struct aarp_mapping *out);

/*
 * A communication with *u, which had been found for *a, has failed: aarpd asks again who
 * answers, and this process forgets it. protocol is IPPROTO_TCP and so on, port in host
 * order, error what the kernel said (ECONNREFUSED, ...), or 0 where nothing was heard.
 * Waits for nobody; whether aarpd was there to hear it is not told. Until it has an answer
 * aarp_resolve() may find *u again: go to *a itself.
 *
 * Returns 0, EFAULT, EINVAL (protocol) or ENOTRECOVERABLE.
 */
int aarp_failed(const struct in6_addr *a, const struct in6_addr *u, int protocol,
                uint16_t port, int error);

/* What a result of the functions above means, in English; never null, not to be freed. */
const char *aarp_strerror(int result);

#ifdef __cplusplus
}
#endif

#endif
