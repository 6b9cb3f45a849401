"""Is a daemon that knows of no socket and takes its time to say so, and runs a program.
Arguments: where its socket is to be, how many milliseconds it takes, an address and a port
to which so many sockets are connected that the program inherits, how many, and the program
with its words, which the numbers of the sockets follow. What it hears of sockets first, as
often as REFUSES says, it refuses for now. Writes how often it was asked whose
a socket is, how many packets told it of one, how often it was asked about an address, and
what the program has written."""

import os
import socket
import struct
import subprocess
import sys
import threading

LAST, RESOLVE, DONE, ERROR, SOCKET, WHOSE = 0, 1, 11, 12, 13, 14
UNKNOWN, BUSY = 8, 3
REFUSES = int(os.environ.get("REFUSES", 0))


def packet(kind, number, body):
    return b"AARP" + struct.pack("<BBHI", 1, kind, 12 + len(body), number) + body


def answer(client, kind, number, refuses):
    try:
        if refuses:
            client.send(packet(ERROR, number, struct.pack("<I", BUSY)))
        elif kind == SOCKET:
            client.send(packet(DONE, number, struct.pack("<I", 1)))
        else:
            client.send(packet(ERROR, number, struct.pack("<I", UNKNOWN)))
    except OSError:
        # It has not waited for the answer.
        pass


def hear(client, delay, heard):
    with client:
        while question := client.recv(16384):
            kind, number = question[5], struct.unpack("<I", question[8:12])[0]
            heard.append(kind)
            of_sockets = heard.count(SOCKET) + heard.count(WHOSE)
            refuses = kind in (SOCKET, WHOSE) and of_sockets <= REFUSES
            if kind == LAST or not delay:
                answer(client, kind, number, refuses)
                continue
            later = threading.Timer(delay, answer, (client, kind, number, refuses))
            later.daemon = True
            later.start()


def serve(listening, delay, heard, clients):
    while True:
        client, _ = listening.accept()
        words = (client, delay, heard)
        clients.append(threading.Thread(target=hear, args=words, daemon=True))
        clients[-1].start()


def has_heard_all(path, clients):
    """Who comes last is heard after all others have gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as last:
        last.connect(path)
        last.send(packet(LAST, 1, b""))
        last.recv(4096)
    for one in clients:
        one.join()


def main():
    path, delay, address, port, count = sys.argv[1:6]
    heard, clients = [], []
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(path)
    listening.listen(64)
    words = (listening, int(delay) / 1000, heard, clients)
    threading.Thread(target=serve, args=words, daemon=True).start()
    made = [socket.create_connection((address, int(port))) for _ in range(int(count))]
    numbers = [one.fileno() for one in made]
    command = sys.argv[6:] + [str(number) for number in numbers]
    done = subprocess.run(command, pass_fds=numbers, stdout=subprocess.PIPE, check=True)
    has_heard_all(path, clients)
    counts = [heard.count(kind) for kind in (WHOSE, SOCKET, RESOLVE)]
    print(*counts, done.stdout.decode().strip())
    os.unlink(path)


main()
