"""Downloads http://HOST/PATH into FILE: a socket that blocks."""
import http.client
import sys

host, path, file = sys.argv[1:]
connection = http.client.HTTPConnection(host, 80)
connection.request("GET", path)
response = connection.getresponse()
if response.status != 200:
    sys.exit(f"HTTP {response.status}")
# The program must not learn where it has been moved.
if ":" in host and connection.sock.getpeername()[0] != host:
    sys.exit(f"the peer is {connection.sock.getpeername()}")
expected = int(response.headers["Content-Length"])
with open(file, "wb", buffering=0) as out:
    while data := response.read1(65536):
        out.write(data)
        expected -= len(data)
if expected:
    sys.exit(f"{expected} octets are missing")
