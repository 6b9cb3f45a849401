"""Connects sockets, and gives them to other programs. Arguments: address, port, UDP port,
the path of a unix socket where another takes them."""

import os
import socket
import subprocess
import sys

SHOW = "import socket; s = socket.socket(fileno={}); print(s.getpeername()[:2], {!r}, flush=True)"


def connected(address, port, kind=socket.SOCK_STREAM):
    made = socket.socket(socket.AF_INET6, kind)
    made.connect((address, port))
    return made


def show(fd, *words):
    return [sys.executable, "-c", SHOW.format(fd, words)]


def inherit(address, port, kind):
    made = connected(address, port, kind)
    subprocess.run(show(made.fileno(), "pass_fds"), pass_fds=[made.fileno()], check=True)
    subprocess.run(show(0, "stdin"), stdin=made, check=True)
    # Not by vfork.
    subprocess.run(show(0, "preexec_fn"), stdin=made, preexec_fn=os.getpid, check=True)
    again = connected(address, port, kind)
    action = (os.POSIX_SPAWN_DUP2, again.fileno(), 0)
    child = os.posix_spawn(sys.executable, show(0, "spawn"), os.environ, file_actions=[action])
    assert os.waitpid(child, 0)[1] == 0
    child = os.fork()
    if not child:
        os.set_inheritable(again.fileno(), True)
        os.execv(sys.executable, show(again.fileno(), "exec"))
    assert os.waitpid(child, 0)[1] == 0


def main():
    address, port, datagrams, path = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    for number, kind in [(port, socket.SOCK_STREAM), (datagrams, socket.SOCK_DGRAM)]:
        inherit(address, number, kind)
    several = [connected(address, port) for _ in range(3)]
    several.append(connected(address, datagrams, socket.SOCK_DGRAM))
    through = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    through.connect(path)
    socket.send_fds(through, [b"x"], [one.fileno() for one in several])
    print(through.recv(4096).decode(), end="")


main()
