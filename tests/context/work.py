"""Four threads that ask a web server and a datagram service, and what is loaded:
work.py ADDRESS TURNS"""

import os
import socket
import sys
import threading

address, turns = sys.argv[1], int(sys.argv[2])
asked = []


def work():
    for _ in range(turns):
        with socket.create_connection((address, 80)) as stream:
            assert stream.getpeername()[0] == address
            stream.sendall(b"GET /who HTTP/1.0\r\n\r\n")
            answer = b""
            while part := stream.recv(4096):
                answer += part
            assert answer.endswith(b"s1\n"), answer
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as datagrams:
            datagrams.settimeout(60)
            datagrams.sendto(b"question", (address, 7000))
            data, who = datagrams.recvfrom(100)
            assert (data, who[0]) == (b"question", address), (data, who)
        asked.append(2)


threads = [threading.Thread(target=work) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
with open("/proc/self/maps") as maps:
    files = {os.path.basename(line.split()[-1]) for line in maps if ".so" in line}
print(f"asked={sum(asked)}", *sorted(files))
