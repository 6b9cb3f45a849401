"""Answers as TFTP does (RFC 1350, section 4): each dialogue has a port of its own, at the
address that was asked. Argument: the port that is asked."""
import socket
import sys

service = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
service.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
service.bind(("::", int(sys.argv[1])))
while True:
    _, [(_, _, pktinfo)], _, client = service.recvmsg(2000, socket.CMSG_SPACE(20))
    dialogue = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    dialogue.bind((socket.inet_ntop(socket.AF_INET6, pktinfo[:16]), 0))
    dialogue.sendto(b"DATA 1", client)
    for number in (2, 3):
        text, client = dialogue.recvfrom(2000)
        dialogue.sendto(b"DATA %d after %s" % (number, text), client)
    dialogue.close()
