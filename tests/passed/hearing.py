"""Is a daemon that knows of no socket and takes its time to say so, and runs a program.
Arguments: where its socket is to be, how many milliseconds it takes, an address and a port
to which so many sockets are connected that the program inherits, how many, and the program
with its words, which the numbers of the sockets follow. Writes how often it was asked whose
a socket is, how many packets told it of one, and what the program has written."""

import os
import socket
import struct
import subprocess
import sys
import threading
import time

DONE, ERROR, SOCKET, WHOSE = 11, 12, 13, 14
UNKNOWN = 8


def packet(kind, number, body):
    return b"AARP" + struct.pack("<BBHI", 1, kind, 12 + len(body), number) + body


def answer(client, delay, heard):
    while True:
        question = client.recv(16384)
        if not question:
            return
        kind, number = question[5], struct.unpack("<I", question[8:12])[0]
        heard[kind] = heard.get(kind, 0) + 1
        if kind in (SOCKET, WHOSE):
            time.sleep(delay)
        if kind == SOCKET:
            client.send(packet(DONE, number, struct.pack("<I", 1)))
        else:
            client.send(packet(ERROR, number, struct.pack("<I", UNKNOWN)))


def serve(listening, delay, heard):
    while True:
        client, _ = listening.accept()
        with client:
            try:
                answer(client, delay, heard)
            except OSError:
                # It has not waited for the answer.
                pass


def main():
    path, delay, address, port, count = sys.argv[1:6]
    heard = {}
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(path)
    listening.listen(64)
    words = (listening, int(delay) / 1000, heard)
    threading.Thread(target=serve, args=words, daemon=True).start()
    made = [socket.create_connection((address, int(port))) for _ in range(int(count))]
    numbers = [one.fileno() for one in made]
    command = sys.argv[6:] + [str(number) for number in numbers]
    done = subprocess.run(command, pass_fds=numbers, stdout=subprocess.PIPE, check=True)
    print(heard.get(WHOSE, 0), heard.get(SOCKET, 0), done.stdout.decode().strip())
    os.unlink(path)


main()
