#!/usr/bin/env python3
"""Collects real messages as first inputs for the fuzz targets.

Run as root, with a stage (PREFIX=$PWD/target/stage ./install.sh). What the kernel
and the tools say is asked for in network namespaces of this program's own. Writes
to the folder given (default fuzz/corpus); libFuzzer's -merge=1 then drops what adds
nothing. See docs/fuzzing.md.
"""
import ctypes
import glob
import hashlib
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
STAGE = os.environ.get("AARP_STAGE", os.path.join(ROOT, "target/stage"))
CORPUS = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "fuzz/corpus")
CLONE_NEWNET = 0x40000000
A, U = "2001:db8:f::1", "2001:db8:1::2"


def keep(target, octets):
    if isinstance(octets, str):
        octets = octets.encode()
    folder = os.path.join(CORPUS, target)
    os.makedirs(folder, exist_ok=True)
    name = hashlib.sha1(octets).hexdigest()
    with open(os.path.join(folder, name), "wb") as file:
        file.write(octets)


def run(*command, **options):
    done = subprocess.run(command, check=True, capture_output=True, timeout=60, **options)
    return done.stdout


# --- packets of the demo --------------------------------------------------------


def frames(pcap):
    order = "<" if pcap[:4] in (b"\x4d\x3c\xb2\xa1", b"\xd4\xc3\xb2\xa1") else ">"
    at = 24
    while at + 16 <= len(pcap):
        kept = struct.unpack(order + "I", pcap[at + 8 : at + 12])[0]
        yield at, pcap[at + 16 : at + 16 + kept]
        at += 16 + kept


def captured():
    with tempfile.TemporaryDirectory() as folder:
        for scenario in "basic", "demo":
            run(f"{STAGE}/bin/aarp-lab", "run", scenario, "--stage", STAGE,
                "--keep-captures", folder)
        for path in sorted(glob.glob(f"{folder}/**/*.pcap", recursive=True)):
            with open(path, "rb") as file:
                pcap = file.read()
            seen = set()
            end = 24
            for count, (at, frame) in enumerate(frames(pcap)):
                if count < 8:
                    end = at + 16 + len(frame)
                kind = frame[12:14] + frame[20:21]
                flags = frame[54 + 13 : 54 + 14] if frame[20:21] == b"\x06" else frame[54:55]
                if kind + flags not in seen:
                    seen.add(kind + flags)
                    keep("frame", frame)
                if kind == b"\x86\xdd\x3a":
                    icmp(frame[54:])
            keep("capture", pcap[:end])


def icmp(message):
    if message[0] not in (128, 129) or len(message) > 200:
        return
    keep("echo", message)
    if message[8:12] == b"AARP":
        keep("payload", message[8:])
        ident, sequence, nonce = message[4:6], message[6:8], message[16:32]
        # As it came, to a question with and without an identifier of its own.
        keep("question", b"\x83" + ident + sequence + nonce + message)
        keep("question", b"\x82" + sequence + nonce + message)
        # A right reply, and one with changes.
        keep("question", b"\x87" + ident + sequence + nonce + message)
        keep("question", b"\x07" + ident + sequence + nonce + b"\x01")
        keep("question", b"\x06" + sequence + nonce + b"\x00" + ident + b"\x00\x09\x01")


# --- Mobile IPv6 ----------------------------------------------------------------


def mobile():
    """Packets of the captures, and their parts."""
    for path in sorted(glob.glob(f"{ROOT}/tests/mip6/captures/*.pcap")):
        with open(path, "rb") as file:
            pcap = file.read()
        link = {1: 14, 101: 0, 229: 0, 276: 20}[struct.unpack("<I", pcap[20:24])[0] & 0xFFFF]
        for _, frame in frames(pcap):
            packet = frame[link:]
            keep("ipv6", packet)
            for message_type, code, parameter in (1, 3, 0), (2, 0, 1400), (3, 0, 0), (4, 2, 46):
                if packet[6] in (41, message_type):
                    keep("icmpv6_error", struct.pack(">BBHI", message_type, code, 0, parameter) + packet)
            upper(packet[6], packet[40:])
    # Parameter Problems that answer a Mobility Header, an error and an echo request.
    to = bytes(8) + socket.inet_pton(socket.AF_INET6, A)
    for next_header, data in (135, b"\x3b\1\5" + bytes(13)), (58, b"\1" + bytes(7)), (58, b"\x80" + bytes(7)):
        head = struct.pack(">IHBB", 6 << 28, len(data), next_header, 64)
        keep("icmpv6_error", struct.pack(">BBHI", 4, 0, 0, 40) + head + to[8:] + to[8:] + data)
    # One that quotes more than fits.
    head = struct.pack(">IHBB", 6 << 28, 1260, 17, 64) + to[8:] + to[8:]
    keep("icmpv6_error", struct.pack(">BBHI", 2, 0, 0, 1280) + head + bytes(1260))
    # A message with each option, by their order in the target: options have a number,
    # what has a length has it before.
    for kind in range(9):
        for option in range(9):
            body = bytes([1, option, 11]) if option in (4, 5) else bytes([1, option])
            keep("mobility_options", bytes([kind]) + bytes(range(18)) + bytes([1 + 64 * (kind % 4)])
                 + body + bytes(range(60)))
    for last in 3, 6:
        keep("mobility_options", b"\5" + bytes(18) + b"\x84" + b"\1\1" + bytes(16) + b"\1\4\5ar1@e\1"
             + b"\1\7" + bytes(8) + bytes([1, last]) + bytes(range(52)))


def upper(next_header, octets):
    if next_header in (135, 62):
        keep("mobility", octets)
    elif next_header in (41, 60, 43) and len(octets) > 40:
        if next_header == 41:
            keep("ipv6", octets)
            upper(octets[6], octets[40:])
        else:
            upper(octets[0], octets[8 + 8 * octets[1] :])


# --- the kernel's and the tools' answers ----------------------------------------

NETWORK = f"""
ip link set lo up
ip link add e0 type veth peer name e1
ip addr add {U}/64 dev e0 nodad
ip addr add 2001:db8:2::2/64 dev e1 nodad
ip link set e0 up; ip link set e1 up
ip -6 route add default via 2001:db8:1::1 dev e0
ip -6 route add 2001:db8:3::/48 nexthop via 2001:db8:1::1 dev e0 nexthop via 2001:db8:2::1 dev e1
ip -6 route add anycast 2001:db8:1::a dev e0
ip -6 route add unreachable 2001:db8:4::/48
ip -6 route add prohibit 2001:db8:5::/48
ip -6 route add 2001:db8:6::/64 dev e1
"""


def in_network():
    for line in NETWORK.strip().splitlines():
        run("sh", "-c", line)
    routes()
    errors()
    before = [run("ip", "-j", "addr", "show"), run("ip", "-j", "-6", "route", "show", "default")]
    keep("inventory", b"\n---\n".join(before))
    listening = [socket.socket(socket.AF_INET6, kind) for kind in
                 (socket.SOCK_STREAM, socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_DGRAM)]
    for sock, address in zip(listening, (("::", 8080), (U, 80), ("::", 53), (U, 5353))):
        sock.bind(address)
        if sock.type == socket.SOCK_STREAM:
            sock.listen()
    for table in "tcp6", "udp6":
        with open(f"/proc/net/{table}", "rb") as file:
            keep("listeners", file.read())
    with open("/proc/self/stat", "rb") as file:
        keep("record", file.read())
    with tempfile.TemporaryDirectory() as folder:
        for answer in "probes", "all":
            responder(folder, answer)


def responder(folder, answer):
    program = f"{STAGE}/bin/aarp-responder"
    settings = ["--run-dir", folder, "--anycast", A]
    process = subprocess.Popen(
        [program, "run", *settings, "--unicast", U, "--answer", answer],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        rules = address = records = b""
        deadline = time.monotonic() + 30
        while not (rules and A.encode() in address and records):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"aarp-responder: {process.stderr.read() if process.poll() else 'late'}")
            rules = subprocess.run(["nft", "-j", "list", "table", "inet", "aarp_responder"],
                                   capture_output=True, timeout=60).stdout
            address = run("ip", "-j", "addr", "show")
            records = glob.glob(f"{folder}/responder/*/*.json")
        with open(records[0], "rb") as file:
            keep("record", file.read())
        keep("nft", run("nft", "-j", "list", "table", "inet", "aarp_responder"))
        if answer == "all":
            # With what others put there.
            run("nft", "add set inet aarp_responder s { type ipv6_addr; };"
                "add chain inet aarp_responder c { type filter hook input priority 0; };"
                "add rule inet aarp_responder c icmpv6 type echo-reply counter drop")
            keep("nft", run("nft", "-j", "list", "table", "inet", "aarp_responder"))
        keep("inventory", run("ip", "-j", "addr", "show"))
    finally:
        process.terminate()
        process.wait(timeout=30)


def routes():
    netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
    netlink.settimeout(10)
    for number, address in enumerate(
            (U, "2001:db8:1::9", "2001:db8:9::1", "2001:db8:3::1", "2001:db8:1::a", "2001:db8:4::1",
             "2001:db8:5::1", "2001:db8:6::1", "::1", "ff02::1", "fe80::1"), 7):
        for flags in 0x2000, 0:
            body = struct.pack("=BBBBBBBBI", 10, 128, 0, 0, 0, 0, 0, 0, flags)
            body += struct.pack("=HH", 20, 1) + socket.inet_pton(socket.AF_INET6, address)
            netlink.send(struct.pack("=IHHII", 16 + len(body), 26, 1, number, 0) + body)
            keep("route", netlink.recv(65536))


def errors():
    """ICMPv6 errors on the queue of a socket, alone and among what else may be told."""
    nonce = bytes(range(16))
    for number, options in enumerate(((), ((41, 49),), ((1, 35), (41, 51)))):
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.settimeout(10)
        # IPV6_RECVERR, and then IPV6_RECVPKTINFO, SO_TIMESTAMPNS, IPV6_RECVHOPLIMIT.
        for level, option in ((41, 25), *options):
            sock.setsockopt(level, option, 1)
        probe = b"AARP\1\2\0\0" + nonce + struct.pack(">I4x", number)
        for address in "::1", U:
            sock.sendto(probe, (address, 33999))
            # The error makes this fail, once.
            try:
                sock.recv(1)
            except ConnectionRefusedError:
                pass
            quote, control, _, name = sock.recvmsg(200, 500, socket.MSG_ERRQUEUE)
            packed = b""
            for level, kind, data in control:
                packed += struct.pack("=QII", 16 + len(data), level, kind) + data
                packed += bytes(-len(packed) % 8)
            keep("errqueue", packed)
        port = struct.pack(">H", name[1])
        # As it was quoted; made up; another type, destination and port.
        keep("unreachable", b"\x96" + port + nonce + quote)
        keep("unreachable", b"\x16" + port + nonce + bytes([number]))
        keep("unreachable", b"\x06" + port + nonce + bytes([1, number, 0]))
        keep("unreachable", b"\x06" + port + nonce + bytes([2 + number, 0, 0]))
        keep("unreachable", b"\x56" + port + nonce + bytes(16) + bytes([number]))
        keep("unreachable", b"\x17" + port + nonce + b"\0\x35" + bytes([number]))
        keep("unreachable", b"\x16" + port + nonce + bytes([number, 0, 9 + number, 1]))


# --- aarpd's socket ---------------------------------------------------------------


def mapper():
    """A message of each type, and some that are not."""
    a, u = (socket.inet_pton(socket.AF_INET6, address) for address in (A, U))
    peer = struct.pack("<Q16s16sHB5x", 1 << 40 | 7, a, u, 443, 6)
    bodies = {
        1: (struct.pack("<16sII", a, 1000, 0), struct.pack("<16sII", a, 50, 3)),
        2: [struct.pack("<16s16sBBBxII", a, u, state, 1 + state % 2, state, 60000, 1234)
            for state in (1, 2, 3, 4, 5)],
        3: (struct.pack("<16s16sHBxI", a, u, 443, 6, 111),),
        4: (a,), 5: (b"",), 6: (a, bytes(16)),
        7: (a + b"\x80\0\0\0", bytes(20), a + b"\x40\0\0\0"),
        8: (b"",), 9: (b"",), 10: (b'{"schema":1}\n', b"\xff"), 11: (struct.pack("<I", 3),),
        12: (struct.pack("<I", 2) + b"not permitted",), 13: (peer,), 14: (peer[:8],), 15: (peer,),
        16: (b"",),
    }
    for number, several in bodies.items():
        for body in several:
            keep("mapper", struct.pack("<4sBBHI", b"AARP", 1, number, 12 + len(body), 7) + body)


# --- files ----------------------------------------------------------------------


def files():
    for path in glob.glob(f"{ROOT}/crates/lab/scenarios/*.toml"):
        with open(path, "rb") as file:
            keep("scenario", file.read())
    for name in "document", "variable", "prefix", "env", "shebang", "responder_config", "scenario":
        for text in TEXTS[name]:
            keep(name, text)
    for path in "/bin/true", "/lib64/ld-linux-x86-64.so.2", f"{STAGE}/lib/aarp/libaarp.so":
        with open(path, "rb") as file:
            head = file.read(2048)
        keep("elf", head[:1024])
    with tempfile.TemporaryDirectory() as folder:
        source = f"{folder}/x.c"
        with open(source, "w") as file:
            file.write("void _start(void) { for (;;) ; }\n")
        for number, flags in enumerate((["-static", "-no-pie"], ["-static-pie", "-fPIE"], ["-c"])):
            out = f"{folder}/{number}"
            run("cc", "-nostdlib", "-s", *flags, source, "-o", out)
            with open(out, "rb") as file:
                keep("elf", file.read(640))
        # The least that has an interpreter, in every class and byte order.
        for bits in 32, 64:
            for order in "<", ">":
                keep("elf", least_elf(bits, order))
        file = f"{folder}/caps"
        open(file, "w").close()
        for rights in "cap_net_raw+ep", "cap_net_raw,cap_bpf+p", "cap_net_admin+ei":
            run("setcap", rights, file)
            keep("capabilities", os.getxattr(file, "security.capability"))
        keep("capabilities", struct.pack("<6I", 0x03000001, 1 << 13, 0, 0, 0, 0))
        keep("capabilities", struct.pack("<6I", 0x03000001, 1 << 13, 0, 0, 0, 1000))
        keep("capabilities", struct.pack("<3I", 0x01000001, 1 << 13, 0))
    for number in range(4):
        keep("route_request", bytes([number]) + bytes(range(1, 45 + number)))


def least_elf(bits, order):
    path = b"/lib/ld.so.1\0"
    ident = b"\x7fELF" + bytes([bits // 32, 1 if order == "<" else 2, 1]) + bytes(9)
    word = "I" if bits == 32 else "Q"
    header, entry = (52, 32) if bits == 32 else (64, 56)
    elf = ident + struct.pack(f"{order}HHI{word}{word}{word}IHHHHHH", 3, 8 if bits == 32 else 21, 1,
                              0, header, 0, 0, header, entry, 1, 0, 0, 0)
    start, size = header + entry, len(path)
    if bits == 32:
        segment = struct.pack(f"{order}8I", 3, start, 0, 0, size, size, 4, 1)
    else:
        segment = struct.pack(f"{order}IIQQQQQQ", 3, 4, start, 0, 0, size, size, 1)
    return elf + segment + path


TEXTS = {
    "document": [
        '[resolve]\nprefixes = ["2001:db8:a::/48", "2001:db8:b::1"]\nexclude = ["2001:db8:a:1::/64"]\n'
        'trusted = ["2001:db8::/32"]\nmethods = ["echo", "unreach"]\non_failure = "refuse"\n'
        'getaddrinfo = "off"\ninclude_local = true\nunreach_port = 34000\n',
        '[times]\nttl = "60s"\ndirect = "5m"\nunanswered = "10s"\nunanswered_max = "1h"\nrefuted = "1m"\n'
        'budget = "1s"\nbudget_unconfigured = "100ms"\nbudget_nonblocking = "250ms"\n'
        'retransmit = ["100ms", "300ms"]\n',
        '[log]\nlevel = "debug"\nfile = "/var/log/aarp"\nstats = false\n\n[daemon]\nuse = "auto"\n'
        'socket = "/run/aarp/aarpd.sock"\nentries = 4096\n',
        '[[prefix]]\nprefix = "2001:db8:a:2::/64"\nbudget = "2s"\nmethods = ["echo"]\n'
        'trusted = ["2001:db8:1::/48"]\n[[prefix]]\nprefix = "2001:db8:a:3::/64"\nretransmit = []\n',
        '[[responder]]\nanycast = "2001:db8:f::1"\n[[responder.checks]]\nx = 1\n[[binding]]\nagents = ["::1"]\n'
        '[agent]\nkeys = { a = [1, { b = "c" }] }\n',
        '[resolve] # a comment\n"prefixes" = [\n  \'2001:db8::/32\', # one\n]\non_failure = """pass"""\n',
        'resolve.prefixes = ["::/0"]\n',
        '[resolve]\ntrusted = ["::/0"]\nexclude = []\n',
        '[resolve]\nunknown = 1\n',
        '[resolve]\n"a\\nb" = 1\n',
        '[resolve]\nprefixes = "2001:db8::/32"\n',
        '[times]\nttl = "60s"\nttl = "61s"\n',
        '[resolve\n',
    ],
    "variable": [
        bytes([number]) + value
        for number, values in enumerate((
            [b"2001:db8::/32,2001:db8:a::1", b"nonsense"], [b"2001:db8:e:1::/64, ::/0"],
            [b"::/0"], [b"echo,unreach", b""], [b"pass", b"refuse"], [b"rewrite"], [b"true", b"0"],
            [b"33999", b"0"], [b"60s"], [b"5m"], [b"10s"], [b"720h"], [b"1us"], [b"1s"],
            [b"721h"], [b"99999999999999999999s"], [b"100ms,300ms,1s,2s", b"2s,1s"], [b"info"],
            [b"/var/log/aarp"], [b"1"]))
        for value in values
    ],
    "prefix": ["2001:db8::/32", "2001:db8::1", "::/0", "::1/128", "2001:db8::1/64",
               "2001:db8::/129", "::ffff:192.0.2.1", "64:ff9b::192.0.2.0/120", "192.0.2.0/24",
               "fe80::1%eth0", "2001:db8::/+8"],
    "env": ["prog\n./s", "-S prog -a 'b c' \"d\"\n./s", "-S\nA=1 prog\n./s", "-vS\nprog\nx",
            "--split-string=prog # note", "--\nprog\n-S", "PATH=/x\nB=2\nprog\nC=3", "-i\nprog",
            "LD_PRELOAD=\nprog", "-S\n'open", "-S\n${X} prog", "=\nx"],
    "shebang": ["#!/bin/sh\necho", "#! \t/bin/sh \t\n", "#!/bin/sh", "#!/usr/bin/env -S  prog  -x \nbody",
                "#!/bin/sh\r\n", b"#!/bin/a\0rest\n", "#!/" + 400 * "x", "#!/" + 97 * "x" + " " + 300 * "y",
                "#!\n", "#! \t \n", b"#!/bin/a \0b\n", b"#!\0\n"],
    "responder_config": [
        '[[responder]]\nanycast = "2001:db8:f::1"\nunicast = "2001:db8:1::2"\ninterface = "eth0"\n'
        'recipe = "nft"\nanswer = "all"\n[[responder]]\nanycast = "fd00:f::1"\n',
        '[resolve]\nprefixes = []\n[[responder]]\nanycast = "2001:db8:f::1"\nrecipe = "auto"\n',
        '[[responder]]\nanycast = "ff02::1"\n', '[[responder]]\nanycast = 1\n',
        'responder = 1\n', '[responder]\n', '[[responder]]\nanycast = "2001:db8::1"\nchecks = []\n',
        '[[responder]]\n"a\\nb" = 1\n', 'x = "\u00e9\n', '[[responder]]\nanycast = "a\\nb"\n',
        '[[responder]]\nanycast = "2001:db8:f::1"\ninterface = ["a\\nb"]\n',
    ],
    "scenario": [
        'description = "x"\n[vars]\nA = "::1"\nB = "[${A}]"\n[hosts.a]\nroutes = ["default via ${A}"]\n'
        '[[steps]]\nrun = { host = "a", command = ["true"], exit = "nonzero", within = "1s" }\n',
        'description = "x"\n[vars]\nA = "${B}"\nB = "${A}"\n[names]\nx = ["${A}"]\n',
        'description = "x"\n[hosts.a]\n[[captures]]\nname = "c"\nhost = "a"\ninterface = "lo"\n'
        '[[steps]]\nmark = "m"\n[[steps]]\nexpect = { capture = "c", packets = { proto = "tcp", flags = "Sa" }'
        ', since = "m", count = ">= 1" }\n[[files]]\npath = "f"\nsize = "1MiB"\n',
        'description = "x"\n[hosts.a]\n[hosts.b]\n[[links]]\nends = ["a:e ::1/64", "b:e"]\ndelay = "1.5ms"\n'
        'rate = "10mbit"\n[[services]]\nname = "s"\nhost = "b"\ncommand = ["x"]\nready = { tcp = 80 }\n',
    ],
}

if __name__ == "__main__":
    files()
    mapper()
    mobile()
    captured()
    # A network namespace for the rest of this process; Python 3.11 has no call for it.
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
        sys.exit(f"unshare: {os.strerror(ctypes.get_errno())}")
    in_network()
