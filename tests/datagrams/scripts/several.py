"""One socket, several destinations. Each line of standard input is `ADDRESS TEXT`, or
several of those with ` | ` between them: all are sent, then as many answers awaited.
Prints who answered, and what, in the order of arrival. Argument: PORT"""
import socket
import sys

port = int(sys.argv[1])
with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as datagrams:
    for line in sys.stdin:
        questions = [part.split(" ", 1) for part in line.rstrip("\n").split(" | ")]
        for address, text in questions:
            datagrams.sendto(text.encode(), (address, port))
        for _ in questions:
            answer, peer = datagrams.recvfrom(4096)
            print(peer[0], answer.decode(), flush=True)
