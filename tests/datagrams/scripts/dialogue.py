"""Sends each line of standard input to HOST's PORT, and prints who answered, and what.
Arguments: HOST PORT connected|unconnected|messages"""
import socket
import sys

host, port, kind = sys.argv[1], int(sys.argv[2]), sys.argv[3]
# By name too; then the address is looked up once.
address = socket.getaddrinfo(host, port, socket.AF_INET6, socket.SOCK_DGRAM)[0][4]
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as datagrams:
    if kind == "connected":
        datagrams.connect(address)
    for line in sys.stdin:
        text = line.rstrip("\n").encode()
        if kind == "connected":
            datagrams.send(text)
            answer, peer = datagrams.recv(4096), datagrams.getpeername()
        elif kind == "unconnected":
            datagrams.sendto(text, address)
            answer, peer = datagrams.recvfrom(4096)
        else:
            datagrams.sendmsg([text[:1], text[1:]], [], 0, address)
            answer, _, _, peer = datagrams.recvmsg(4096, 64)
        print(peer[0], answer.decode(), flush=True)
