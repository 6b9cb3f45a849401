/* What the parts of the measured program share. */
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "stub.h"

/* The stub, where it is loaded. */
extern struct stub *stub;
/* The addresses that the driver has named. */
extern struct sockaddr_in6 anycast, unicast, direct, elsewhere, loopback;
extern struct sockaddr_in inet;
extern struct sockaddr_un local;
/* The argument of the row: "hooked" where our library is loaded. */
extern const char *argument;

/* The time of day in nanoseconds, of no epoch. */
long now(void);

/* Keeps the reason why a row cannot be measured, and is -1. */
long failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The name of the row. */
extern const char *row_name;

/* Under callgrind the instructions of the rounds alone are counted, and written down
 * with the name of the row; elsewhere that is a handful of instructions before the
 * rounds and after them, which do nothing. */
#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_ZERO_STATS (void)0
#define CALLGRIND_DUMP_STATS_AT(name) (void)(name)
#endif

/* The time that COUNT rounds of a statement take. */
#define TIMED(count, statement) \
    ({ \
        CALLGRIND_ZERO_STATS; \
        long start = now(); \
        for (long round = 0; round < (count); round++) { \
            statement; \
        } \
        long took = now() - start; \
        CALLGRIND_DUMP_STATS_AT(row_name); \
        took; \
    })

#define ADDRESS(name) (const struct sockaddr *)&name, sizeof name

/* Calls with a descriptor that there is not: the shortest way through the kernel. */
#define BAD_FD(name, call) \
    static long name(long count) \
    { \
        if ((call) != -1 || errno != EBADF) \
            return failed("%s: not EBADF", #call); \
        return TIMED(count, call); \
    }

/* An address is on the stack, or on the heap, where getaddrinfo() leaves it: a library
 * that must not crash over a bad pointer has less to do for the one than for the other. */
enum place { STACK, HEAP };

/* From here the stub answers; before that it must be there, and a socket too. */
int stub_answers(int result, int error);

/* Where the program goes to so that it ends at U: to A with our library. */
const struct sockaddr_in6 *destination(void);

/* Where the program ends that goes to A. */
const struct sockaddr_in6 *moved(void);

/* A row: the name by which the driver asks for it, and what it does. */
struct row {
    const char *name;
    /* The nanoseconds that COUNT rounds take; or what failed() gives. */
    long (*run)(long count);
};
#define ROW(name) { #name, name }

/* The rows of datagrams.c and of exchanges.c; the last has no name. */
extern const struct row datagram_rows[], exchange_rows[];

/* Answers datagrams to U until it is killed. */
int respond(void);
