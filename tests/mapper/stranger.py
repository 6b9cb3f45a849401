"""Who listens where a daemon would: PATH WAY. Says `listens`, then a line for each
message, with its type; ends with its standard input."""
import os
import select
import socket
import struct
import sys

path, way = sys.argv[1:]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(path)
os.chmod(path, 0o777)
listener.listen(64)
waiting = []
while way == "busy":
    # Until there is no room for one more.
    waiting.append(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
    waiting[-1].setblocking(False)
    try:
        waiting[-1].connect(path)
    except BlockingIOError:
        break
print("listens", flush=True)
if way == "busy":
    sys.stdin.read()
    sys.exit()


def header(kind, length, number):
    return b"AARP" + bytes([1, kind]) + struct.pack("<HI", length, number)


def mapping(number, a, u):
    """MAPPING: pinned to u for a minute, by echo."""
    body = a + u + bytes([1, 1, 0, 0]) + struct.pack("<II", 60000, 1000)
    return header(2, 12 + len(body), number) + body


known = []
while True:
    ready, _, _ = select.select([listener, sys.stdin, *known], [], [])
    if sys.stdin in ready:
        break
    for one in ready:
        if one is listener:
            known.append(listener.accept()[0])
            continue
        said = one.recv(4096)
        if not said:
            known.remove(one)
            continue
        print("asked", said[5], flush=True)
        if said[5] != 1:
            continue
        number, a = struct.unpack("<I", said[8:12])[0], said[12:28]
        u = socket.inet_pton(socket.AF_INET6, "2001:db8:52::2")
        try:
            if way == "octets":
                one.send(bytes(range(64)))
            elif way == "half":
                one.send(mapping(number, a, u)[:30])
            elif way == "another id":
                one.send(mapping(number + 1, a, u))
            elif way == "another address":
                one.send(mapping(number, u, u))
            elif way == "zeros":
                one.send(mapping(number, a, u)[:12] + bytes(44))
            elif way == "on and on":
                for _ in range(1000):
                    one.send(mapping(number + 1, a, u))
            elif way == "hangs up":
                one.close()
                known.remove(one)
            elif way == "answers":
                one.send(mapping(number, a, u))
        except (BrokenPipeError, ConnectionResetError):
            pass
