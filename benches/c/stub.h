/* Between calls.c, which says what the stub is to do, and stub.c, which does it. */
#include <netinet/in.h>

enum mode {
    PASS,   /* hand every call on: to the system */
    ANSWER, /* answer at once */
    NOTE,   /* answer, and keep the address that was given to a call */
};

/* What accept() and dup() give. */
enum { OTHER = 900 };

struct stub {
    enum mode mode;
    int fd;     /* what socket() gives */
    int result; /* what connect() gives */
    int error;  /* the errno it sets, when that is -1 */
    struct sockaddr_in6 seen;
    struct sockaddr_storage source; /* from where a datagram is received */
    socklen_t source_len;
};
