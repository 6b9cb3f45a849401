"""Takes sockets from a unix socket, and says with whom they speak. Arguments: its path."""

import socket
import sys

with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
    listening.bind(sys.argv[1])
    listening.listen()
    print("listens", flush=True)
    through, _ = listening.accept()
    # The numbers that the others will have were this one's own before.
    for made in [socket.socket(socket.AF_INET) for _ in range(8)]:
        made.close()
    _, numbers, _, _ = socket.recv_fds(through, 1, 16)
    taken = [socket.socket(fileno=number) for number in numbers]
    told = [f"{one.getpeername()[:2]} taken\n" for one in taken]
    through.sendall("".join(told).encode())
