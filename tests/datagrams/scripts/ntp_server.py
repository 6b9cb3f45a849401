"""A time server (RFC 5905, section 7.3), with the clock of this machine, that answers
from the address that it was asked at. Argument: its stratum."""
import socket
import struct
import sys
import time

# From 1900 to 1970.
ERA = 2_208_988_800
HEADER = struct.Struct("!BBbbIII8s8s8s8s")


def timestamp():
    now = time.time_ns()
    seconds, rest = divmod(now, 1_000_000_000)
    return struct.pack("!II", seconds + ERA, (rest << 32) // 1_000_000_000)


stratum = int(sys.argv[1])
server = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
server.bind(("::", 123))
while True:
    question, control, _, client = server.recvmsg(512, socket.CMSG_SPACE(20))
    received = timestamp()
    first, _, poll, *_, transmitted = HEADER.unpack_from(question)
    version, mode = first >> 3 & 7, first & 7
    # A client asks in mode 3, and is answered in mode 4.
    assert mode == 3, question
    header = HEADER.pack(
        version << 3 | 4, stratum, poll, -20, 0, 0, 0x4C4F434C,
        received, transmitted, received, timestamp(),
    )
    server.sendmsg([header], control, 0, client)
