"""Downloads http://HOST/PATH into FILE: a socket that does not block."""
import asyncio
import sys


async def main(host, path, file):
    reader, writer = await asyncio.open_connection(host, 80)
    # The program must not learn where it has been moved.
    peer = writer.get_extra_info("peername")
    if ":" in host and peer[0] != host:
        sys.exit(f"the peer is {peer}")
    writer.write(f"GET {path} HTTP/1.0\r\nHost: any.test\r\n\r\n".encode())
    head = await reader.readuntil(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    if " 200 " not in status:
        sys.exit(status)
    fields = dict(field.lower().split(": ", 1) for field in fields if field)
    expected = int(fields["content-length"])
    with open(file, "wb", buffering=0) as out:
        while data := await reader.read(65536):
            out.write(data)
            expected -= len(data)
    if expected:
        sys.exit(f"{expected} octets are missing")
    writer.close()
    await writer.wait_closed()


asyncio.run(main(*sys.argv[1:]))
