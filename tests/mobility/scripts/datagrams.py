"""A UDP service and its client.

datagrams.py serve PORT            answers "N ..." with N octets, from the address asked
datagrams.py ask ADDRESS PORT SENT WANTED
    sends SENT octets until WANTED octets come back, and prints how often it sent
"""
import socket
import struct
import sys

PKTINFO = 50  # IPV6_PKTINFO
RECVPKTINFO = 49


def body(length):
    return bytes(i % 251 for i in range(length))


def serve(port):
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IPV6, RECVPKTINFO, 1)
    s.bind(("::", port))
    while True:
        data, control, _, peer = s.recvmsg(65535, 256)
        wanted, sent = struct.unpack("!II", data[:8])
        if data[8:] != body(sent - 8):
            print("damaged", len(data), file=sys.stderr, flush=True)
            continue
        for level, kind, info in control:
            if (level, kind) == (socket.IPPROTO_IPV6, PKTINFO):
                source = struct.pack("16sI", info[:16], 0)
                back = [(socket.IPPROTO_IPV6, PKTINFO, source)]
                s.sendmsg([body(wanted)], back, 0, peer)


def ask(address, port, sent, wanted):
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.settimeout(1)
    s.connect((address, port))
    for number in range(1, 31):
        try:
            s.send(struct.pack("!II", wanted, sent) + body(sent - 8))
            answer = s.recv(65535)
        except (socket.timeout, OSError):
            continue
        if answer != body(wanted):
            sys.exit("damaged answer of %d octets" % len(answer))
        print(number)
        return
    sys.exit("no answer")


if sys.argv[1] == "serve":
    serve(int(sys.argv[2]))
else:
    ask(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
