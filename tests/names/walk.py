"""Connects to what getaddrinfo finds, one after the other. Arguments: how, and the name.

blocking     with sockets that block
nonblocking  with sockets that do not
fork         the same in a child of the process that has looked the name up
silent       the last one without blocking, which nobody answers
datagram     sends a datagram to the first, and waits for the answer
"""
import errno
import os
import socket
import sys


def walk(found, blocking):
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as connection:
            connection.settimeout(None if blocking else 30)
            try:
                connection.connect(address)
            except OSError as error:
                print(errno.errorcode[error.errno], address[0])
                continue
            print("connected", connection.getpeername()[0])
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            if not connection.recv(100).startswith(b"HTTP/1.0 200"):
                sys.exit("no answer")
            return
    print("nobody serves")


how, name = sys.argv[1:]
if how == "datagram":
    found = socket.getaddrinfo(name, 7000, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as datagrams:
        datagrams.settimeout(30)
        datagrams.sendto(b"hello", address)
        print("answered", datagrams.recvfrom(100)[1][0])
elif how == "silent":
    found = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    silent = max(address for _, _, _, _, address in found)
    print("silent", silent[0])
    with socket.socket(socket.AF_INET6) as connection:
        connection.setblocking(False)
        if not connection.connect_ex(silent):
            sys.exit("it is connected")
else:
    found = socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    child = os.fork() if how == "fork" else 0
    if child:
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    walk(found, how == "blocking")
