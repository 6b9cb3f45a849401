"""Answers every datagram, and every line of a connection, from the address that it
was sent to: `NODE ADDRESS TEXT`. Arguments: NODE PORT."""
import socket
import sys
import threading

node, port = sys.argv[1], int(sys.argv[2])


def answer(address, text):
    return f"{node} {address} {text.decode()}".encode()


def connection(stream):
    address = stream.getsockname()[0]
    with stream, stream.makefile("rb") as lines:
        for line in lines:
            stream.sendall(answer(address, line))


def connections(listener):
    while True:
        stream, _ = listener.accept()
        threading.Thread(target=connection, args=[stream], daemon=True).start()


listener = socket.create_server(("::", port), family=socket.AF_INET6)
threading.Thread(target=connections, args=[listener], daemon=True).start()

datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
datagrams.bind(("::", port))
while True:
    text, control, _, client = datagrams.recvmsg(4096, socket.CMSG_SPACE(20))
    [(level, kind, pktinfo)] = control
    assert (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO)
    address = socket.inet_ntop(socket.AF_INET6, pktinfo[:16])
    datagrams.sendmsg([answer(address, text)], control, 0, client)
