"""Prints what Scapy reads in each packet of a capture, a line of JSON a packet, and the
checksums that it computes itself."""
import json
import struct
import sys
import warnings

warnings.simplefilter("ignore")
from scapy.layers.inet6 import HAO, IPv6, IPv6ExtHdrDestOpt, in6_chksum  # noqa: E402
from scapy.packet import Packet  # noqa: E402
from scapy.utils import RawPcapReader  # noqa: E402

UPPER = {"MIP6MH": (135, 4), "ICMPv6": (58, 2)}


def plain(value):
    if isinstance(value, Packet):
        return fields(value)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str):
        return value
    number = None if value is None else int(value)
    # Larger ones have no place in JSON.
    return str(number) if number is not None and number >> 64 else number


def fields(layer):
    found = {desc.name: plain(layer.getfieldval(desc.name)) for desc in layer.fields_desc}
    return {"layer": type(layer).__name__, **found}


for octets, _ in RawPcapReader(sys.argv[1]):
    packet = IPv6(octets)
    layers, checksums, layer = [], [], packet
    while layer:
        layers.append(fields(layer))
        kind = UPPER.get(type(layer).__name__[:6])
        # A quoted one may be cut off before its checksum.
        if kind and len(layer.original) >= kind[1] + 2:
            number, at = kind
            # It heeds a home address only where it is the one option, without padding.
            if isinstance(layer.underlayer, IPv6ExtHdrDestOpt):
                options = layer.underlayer.options
                layer.underlayer.options = [o for o in options if isinstance(o, HAO)]
            upper = bytearray(layer.original)
            found = struct.unpack_from(">H", upper, at)[0]
            struct.pack_into(">H", upper, at, 0)
            checksums.append([found, in6_chksum(number, layer.underlayer, bytes(upper))])
        layer = layer.payload
    print(json.dumps({"layers": layers, "checksums": checksums}))
