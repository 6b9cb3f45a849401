"""The same as dialogue.py with asyncio. Arguments: HOST PORT connected|unconnected"""
import asyncio
import sys


class Client(asyncio.DatagramProtocol):
    def __init__(self):
        self.answers = asyncio.Queue()

    def datagram_received(self, data, peer):
        self.answers.put_nowait((peer, data))

    def error_received(self, error):
        sys.exit(str(error))


async def main(host, port, kind):
    loop = asyncio.get_running_loop()
    if kind == "connected":
        ends = {"remote_addr": (host, int(port))}
    else:
        ends = {"local_addr": ("::", 0)}
    transport, client = await loop.create_datagram_endpoint(Client, **ends)
    lines = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        to = None if kind == "connected" else (host, int(port))
        transport.sendto(line.rstrip(b"\n"), to)
        peer, answer = await client.answers.get()
        print(peer[0], answer.decode(), flush=True)
        told = transport.get_extra_info("peername")
        if kind == "connected" and told[0] != peer[0]:
            sys.exit(f"peername is {told}")
    transport.close()


asyncio.run(main(*sys.argv[1:]))
