"""Connects again and again without blocking, and without a time limit of its own: what
becomes of a connection, the kernel says.

patient.py ADDRESS PORT PACE: until standard input ends. Writes `began N TIME` and
`ended N STATUS TIME BY`, as the curls of attempts.rs do.
"""

import os
import selectors
import socket
import sys
import time

ANSWERS = 1.0  # seconds that connections have, at the end, for an answer
CONNECTS = 10.0  # seconds that they have, at the end, to be connected; the kernel has minutes


class Connection:
    def __init__(self, number, address):
        self.number, self.text, self.is_connected = number, b"", False
        say("began", number, time.time())
        self.socket = socket.socket(socket.AF_INET6)
        self.socket.setblocking(False)
        try:
            self.socket.connect(address)
        except BlockingIOError:
            pass

    def go_on(self):
        """Whether it is to be heard of again."""
        if not self.is_connected:
            error = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, os.strerror(error))
            self.is_connected = True
            self.socket.sendall(b"GET /who HTTP/1.0\r\n\r\n")
            return True
        part = self.socket.recv(4096)
        self.text += part
        return bool(part)

    def end(self, status, by=""):
        self.socket.close()
        say("ended", self.number, status, time.time(), by)


def say(word, *values):
    values = [f"{v:.6f}" if isinstance(v, float) else str(v) for v in values]
    print(word, *values, flush=True)


def main(address, port, pace):
    selector, is_asked, number = selectors.DefaultSelector(), True, 0
    selector.register(sys.stdin, selectors.EVENT_READ)
    connections, due, ended = set(), time.monotonic(), 0.0
    while is_asked or connections:
        now = time.monotonic()
        if is_asked and now >= due:
            number, due = number + 1, max(due + pace, now)
            try:
                connection = Connection(number, (address, port))
            except OSError as error:
                say("ended", number, error.errno, time.time(), "")
            else:
                connections.add(connection)
                selector.register(connection.socket, selectors.EVENT_WRITE, connection)
        if not is_asked:
            connecting = any(not each.is_connected for each in connections)
            if now > ended + (CONNECTS if connecting else ANSWERS):
                break
        until = due - time.monotonic() if is_asked else 0.1
        for key, _ in selector.select(max(until, 0)):
            connection = key.data
            if connection is None:
                if not os.read(0, 4096):
                    is_asked, ended = False, time.monotonic()
                    selector.unregister(sys.stdin)
                continue
            try:
                if connection.go_on():
                    selector.modify(connection.socket, selectors.EVENT_READ, connection)
                    continue
                words, status = connection.text.split(), 0
            except OSError as error:
                words, status = [], error.errno
            selector.unregister(connection.socket)
            connections.remove(connection)
            connection.end(status if words else status or 1, words[-1].decode() if words else "")
    for connection in connections:
        connection.end(1)


main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
