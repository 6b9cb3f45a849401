

# --- appended by tests/suites/cpython: an address of IPv6 as a pair ---------------
# Most tests unpack an address as one of IPv4, into host and port.

def _in_pairs(name):
    inherited = getattr(_socket.socket, name)

    def method(self, *arguments):
        found = inherited(self, *arguments)
        if name in ("getsockname", "getpeername"):
            return _pair(found)
        return (*found[:-1], _pair(found[-1]))

    method.__name__ = method.__qualname__ = name
    method.__doc__ = inherited.__doc__
    setattr(socket, name, method)


def _pair(address):
    plain = isinstance(address, tuple) and len(address) == 4 and address[2:] == (0, 0)
    return address[:2] if plain else address


for _name in ("getsockname", "getpeername", "_accept", "recvfrom", "recvfrom_into",
              "recvmsg", "recvmsg_into"):
    _in_pairs(_name)
