"""Does on datagram sockets what the lines of standard input say, and prints one line
for each: what came of it, and from where it is shown to have come. Arguments: address,
port. A socket has a name; `open NAME` makes one."""
import errno
import os
import socket
import sys

peer = (sys.argv[1], int(sys.argv[2]))
sockets = {}


def answer(question):
    """What is received, until it is the answer to this."""
    while True:
        text, source = this.recvfrom(2000)
        if text.decode().endswith(" " + question):
            return f"{source[0]} {text.decode()}"


for line in sys.stdin:
    name, what, *rest = line.split()
    this = sockets.get(name)
    text = " ".join(rest)
    try:
        if what == "open":
            sockets[name] = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
            said = "opened"
        elif what == "timeout":
            seconds = float(text)
            limit = int(seconds).to_bytes(8, "little") + int(seconds % 1 * 1e6).to_bytes(8, "little")
            this.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
            said = "set"
        elif what == "connect":
            this.connect(peer)
            said = "connected to " + this.getpeername()[0]
        elif what == "close":
            this.close()
            said = "closed"
        elif what == "send":
            this.sendto(text.encode(), peer)
            said = "sent"
        elif what == "write":
            os.write(this.fileno(), text.encode())
            said = "sent"
        elif what == "receive":
            said = answer(text)
        elif what == "ask":
            this.sendto(text.encode(), peer)
            said = answer(text)
        elif what == "ask-connected":
            this.send(text.encode())
            said = answer(text)
        else:
            sys.exit(64)
    except OSError as error:
        said = "error " + errno.errorcode[error.errno]
    print(said, flush=True)
