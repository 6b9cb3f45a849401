"""Does what the lines of standard input say, each an expression or statements of Python,
and prints one line for each: its value, `done`, or `error` and the name of the error.
Arguments: addresses as NAME=ADDRESS, and the port of the service."""
import ctypes
import errno
import os
import select
import socket
import struct
import subprocess
import sys

PORT = int(sys.argv[-1])
globals().update(argument.split("=") for argument in sys.argv[1:-1])
libc = ctypes.CDLL(None, use_errno=True)
number = 0

# The socket module has no names for these.
IPV6_RECVERR, IPV6_UNICAST_IF = 25, 76


def limit(s, seconds):
    """How long a call waits; the socket itself stays a blocking one."""
    value = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)


def udp(port=None):
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    limit(s, 20)
    if port is not None:
        s.bind(("::", port))
    return s


def answer(s):
    """What is received, until it is the answer to the last question; and from where."""
    while True:
        text, source = s.recvfrom(2000)
        node, address, text = text.decode().split()
        if text == str(number):
            return f"{source[0]} {node} {address}"


def question():
    global number
    number += 1
    return str(number).encode()


def ask(s, to=None, control=[]):
    """By send() where there is no destination, by sendmsg() with control messages."""
    if control:
        s.sendmsg([question()], control, 0, (to, PORT))
    elif to:
        s.sendto(question(), (to, PORT))
    else:
        s.send(question())
    return answer(s)


def name(address, port):
    """A sockaddr_in6."""
    octets = socket.inet_pton(socket.AF_INET6, address)
    return struct.pack("=HHI16sI", socket.AF_INET6, socket.htons(port), 0, octets, 0)


def name4(address, port):
    """A sockaddr_in."""
    octets = socket.inet_aton(address)
    return struct.pack("=HH4s8x", socket.AF_INET, socket.htons(port), octets)


def call(function, *arguments):
    """The result of a function of the C library, and what it did to errno."""
    ctypes.set_errno(1234)
    result = getattr(libc, function)(*arguments)
    error = ctypes.get_errno()
    return f"{result} {'untouched' if error == 1234 else errno.errorcode[error]}"


def messages(*destinations):
    """A vector for sendmmsg(), of one question that goes to each of them."""
    text, vector, kept = question(), b"", []
    for to in destinations:
        buffer = ctypes.create_string_buffer(text, len(text))
        where = ctypes.create_string_buffer(name(to, PORT), 28)
        part = struct.pack("PN", ctypes.addressof(buffer), len(text))
        part = ctypes.create_string_buffer(part, len(part))
        header = (ctypes.addressof(where), 28, ctypes.addressof(part), 1, 0, 0, 0, 0)
        vector += struct.pack("PIPNPNixxxxIxxxx", *header)
        kept += [buffer, where, part]
    vector = ctypes.create_string_buffer(vector, len(vector))
    vector.kept = kept
    return vector


def filtered():
    """The process bars nothing, by a seccomp filter of its own."""
    PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
    allow = ctypes.create_string_buffer(struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000), 8)
    program = ctypes.create_string_buffer(struct.pack("HP", 1, ctypes.addressof(allow)), 16)
    zero = ctypes.c_ulong(0)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero):
        return "no_new_privs"
    return libc.prctl(PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), program, zero, zero)


def has_error(s):
    """Waits for an error that is at hand."""
    poll = select.poll()
    poll.register(s, 0)
    return bool(poll.poll(20000))


def has_datagram(s):
    """Waits for a datagram that is at hand."""
    return bool(select.select([s], [], [], 20)[0])


def becomes_another_program(s):
    """Which inherits the socket."""
    s.set_inheritable(True)
    image = [sys.executable, "-u", __file__, f"INHERITED={s.fileno()}", *sys.argv[1:]]
    os.execv(sys.executable, image)


print("ready", flush=True)
for line in sys.stdin:
    try:
        try:
            step = compile(line.strip(), "step", "eval")
        except SyntaxError:
            step = compile(line.strip(), "step", "exec")
        said = eval(step)
        said = "done" if said is None else said
    except OSError as error:
        said = "error " + errno.errorcode[error.errno]
    print(said, flush=True)
