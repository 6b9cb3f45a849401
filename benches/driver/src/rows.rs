//! What is measured: the rows of the tables, and what `calls` knows them by.

use crate::variant::Peer;

/// The tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Group {
    /// The hook alone: behind it a stub answers at once.
    Stub,
    /// The same, of the calls that send and receive.
    #[serde(rename = "stub-data")]
    StubData,
    /// The hook and the system call behind it.
    System,
    /// The same, of the calls that send and receive.
    #[serde(rename = "system-data")]
    SystemData,
    /// The start of a process.
    Start,
}

impl Group {
    /// In the order of the document.
    pub(crate) const ALL: [Self; 5] = [Stub, StubData, System, SystemData, Start];

    /// Its section of the document.
    pub(crate) fn section(self) -> &'static str {
        match self {
            Self::Stub => "stub",
            Self::StubData => "stub-data",
            Self::System => "system",
            Self::SystemData => "system-data",
            Self::Start => "start",
        }
    }

    /// Whether the stub stands behind the library.
    pub(crate) fn has_stub(self) -> bool {
        matches!(self, Self::Stub | Self::StubData)
    }
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) group: Group,
    /// Its name in `calls`.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// The peers with which it can be measured.
    pub(crate) peers: &'static [Peer],
}

const fn row(group: Group, name: &'static str, title: &'static str, peers: &'static [Peer]) -> Row {
    Row {
        group,
        name,
        title,
        peers,
    }
}

use Group::{Start, Stub, StubData, System, SystemData};

const NONE: &[Peer] = &[];
const PROXIES: &[Peer] = &[Peer::Torsocks, Peer::Proxychains];
/// torsocks opens no UDP socket.
const UDP: &[Peer] = &[Peer::Proxychains];
const ALL: &[Peer] = &[Peer::Torsocks, Peer::Proxychains, Peer::Wrapper];

pub(crate) const ROWS: &[Row] = &[
    row(
        Stub,
        "stub_connect_unix",
        "connect, AF_UNIX, address on the stack",
        NONE,
    ),
    row(
        Stub,
        "stub_connect_unix_heap",
        "connect, AF_UNIX, on the heap",
        NONE,
    ),
    row(
        Stub,
        "stub_connect_inet",
        "connect, AF_INET, on the stack",
        NONE,
    ),
    row(
        Stub,
        "stub_connect_inet_heap",
        "connect, AF_INET, on the heap",
        NONE,
    ),
    row(
        Stub,
        "stub_connect_loopback",
        "connect, ::1, on the stack",
        NONE,
    ),
    row(
        Stub,
        "stub_connect_elsewhere",
        "connect, IPv6 outside `prefixes`, on the stack",
        NONE,
    ),
    row(
        Stub,
        "stub_connect_elsewhere_heap",
        "connect, IPv6 outside `prefixes`, on the heap",
        NONE,
    ),
    row(
        Stub,
        "stub_direct",
        "connect, known to be `direct`, new socket, on the stack",
        NONE,
    ),
    row(
        Stub,
        "stub_hit_nonblocking",
        "connect, hit, non-blocking, new socket, on the stack",
        NONE,
    ),
    row(
        Stub,
        "stub_hit_nonblocking_heap",
        "connect, hit, non-blocking, new socket, on the heap",
        NONE,
    ),
    row(
        Stub,
        "stub_hit_blocking",
        "connect, hit, blocking, new socket, on the stack",
        NONE,
    ),
    row(Stub, "stub_socket", "socket, IPv6 TCP", NONE),
    row(Stub, "stub_socket_unix", "socket, AF_UNIX", NONE),
    row(
        Stub,
        "stub_socket_close",
        "socket and close, IPv6 TCP",
        NONE,
    ),
    row(Stub, "stub_close_unknown", "close, not a socket", PROXIES),
    row(Stub, "stub_getpeername", "getpeername, not moved", PROXIES),
    row(Stub, "stub_getsockopt", "getsockopt, SO_ERROR", NONE),
    row(Stub, "stub_getsockopt_other", "getsockopt, another", NONE),
    row(Stub, "stub_fcntl", "fcntl, F_GETFL", NONE),
    row(Stub, "stub_fcntl_flags", "fcntl, F_SETFL", NONE),
    row(Stub, "stub_ioctl", "ioctl, FIONREAD", NONE),
    row(Stub, "stub_setsockopt", "setsockopt, SO_KEEPALIVE", NONE),
    row(Stub, "stub_bind", "bind, not known", NONE),
    row(Stub, "stub_accept", "accept", NONE),
    row(Stub, "stub_dup_close", "dup, close", NONE),
    row(Stub, "stub_dup2", "dup2, not known", NONE),
    row(Stub, "stub_readv", "readv, TCP over IPv6", NONE),
    row(Stub, "stub_writev", "writev, TCP over IPv6", NONE),
    row(Stub, "stub_sendmmsg", "sendmmsg, TCP over IPv6", NONE),
    row(Stub, "stub_recvmmsg", "recvmmsg, TCP over IPv6", NONE),
    row(Stub, "stub_syscall_gettid", "syscall(2), no hook", NONE),
    row(Stub, "stub_syscall_read", "syscall(2), read", NONE),
    row(StubData, "stub_sendto_inet", "sendto, AF_INET", UDP),
    row(StubData, "stub_sendto_unix", "sendto, AF_UNIX", PROXIES),
    row(
        StubData,
        "stub_sendto_unpinned",
        "sendto, IPv6 outside `prefixes`",
        UDP,
    ),
    row(StubData, "stub_sendto_pinned", "sendto, pinned", UDP),
    row(
        StubData,
        "stub_sendto_pinned_heap",
        "sendto, pinned, address on the heap",
        UDP,
    ),
    row(StubData, "stub_sendmsg_inet", "sendmsg, AF_INET", UDP),
    row(StubData, "stub_sendmsg_unix", "sendmsg, AF_UNIX", PROXIES),
    row(
        StubData,
        "stub_sendmsg_unpinned",
        "sendmsg, IPv6 outside `prefixes`",
        UDP,
    ),
    row(StubData, "stub_sendmsg_pinned", "sendmsg, pinned", UDP),
    row(
        StubData,
        "stub_sendmsg_connected",
        "sendmsg, pinned, connected",
        UDP,
    ),
    row(StubData, "stub_send_inet", "send, AF_INET", UDP),
    row(
        StubData,
        "stub_send_unpinned",
        "send, UDP over IPv6 without pins",
        UDP,
    ),
    row(
        StubData,
        "stub_send_connected",
        "send, pinned, connected",
        UDP,
    ),
    row(StubData, "stub_send_stream", "send, TCP over IPv6", NONE),
    row(StubData, "stub_write_regular", "write, a file", PROXIES),
    row(StubData, "stub_write_pipe", "write, a pipe", PROXIES),
    row(StubData, "stub_write_stream", "write, TCP over IPv6", NONE),
    row(
        StubData,
        "stub_write_connected",
        "write, pinned, connected",
        UDP,
    ),
    row(StubData, "stub_recvfrom_inet", "recvfrom, AF_INET", UDP),
    row(StubData, "stub_recvfrom_unix", "recvfrom, AF_UNIX", PROXIES),
    row(
        StubData,
        "stub_recvfrom_unpinned",
        "recvfrom, UDP over IPv6 without pins",
        UDP,
    ),
    row(StubData, "stub_recvfrom_pinned", "recvfrom, pinned", UDP),
    row(
        StubData,
        "stub_recvfrom_connected",
        "recvfrom, pinned, connected",
        UDP,
    ),
    row(StubData, "stub_recvmsg_inet", "recvmsg, AF_INET", UDP),
    row(StubData, "stub_recvmsg_unix", "recvmsg, AF_UNIX", PROXIES),
    row(
        StubData,
        "stub_recvmsg_unpinned",
        "recvmsg, UDP over IPv6 without pins",
        UDP,
    ),
    row(StubData, "stub_recvmsg_pinned", "recvmsg, pinned", UDP),
    row(
        StubData,
        "stub_recvmsg_connected",
        "recvmsg, pinned, connected",
        UDP,
    ),
    row(StubData, "stub_recv_inet", "recv, AF_INET", UDP),
    row(
        StubData,
        "stub_recv_unpinned",
        "recv, UDP over IPv6 without pins",
        UDP,
    ),
    row(
        StubData,
        "stub_recv_connected",
        "recv, pinned, connected",
        UDP,
    ),
    row(StubData, "stub_recv_stream", "recv, TCP over IPv6", NONE),
    row(StubData, "stub_read_regular", "read, a file", PROXIES),
    row(StubData, "stub_read_pipe", "read, a pipe", PROXIES),
    row(StubData, "stub_read_stream", "read, TCP over IPv6", NONE),
    row(
        StubData,
        "stub_read_connected",
        "read, pinned, connected",
        UDP,
    ),
    row(
        StubData,
        "stub_exchange_pinned",
        "sendto and recvfrom by turns, pinned",
        UDP,
    ),
    row(System, "sys_connect_unix", "connect(-1), AF_UNIX", ALL),
    row(System, "sys_connect_inet", "connect(-1), AF_INET", ALL),
    row(System, "sys_connect_loopback", "connect(-1), ::1", ALL),
    row(
        System,
        "sys_connect_elsewhere",
        "connect(-1), IPv6 outside `prefixes`",
        ALL,
    ),
    row(
        System,
        "sys_connect_asked",
        "connect(-1), IPv6 inside `prefixes`",
        ALL,
    ),
    row(System, "sys_close", "close(-1)", ALL),
    row(System, "sys_getpeername", "getpeername(-1)", ALL),
    row(System, "sys_getsockopt", "getsockopt(-1), SO_ERROR", ALL),
    row(System, "sys_fcntl", "fcntl(-1), F_GETFL", ALL),
    row(
        System,
        "sys_socket_close",
        "socket and close, IPv6 TCP",
        NONE,
    ),
    row(
        System,
        "sys_getpeername_connected",
        "getpeername, connected; with us, moved",
        NONE,
    ),
    row(
        System,
        "sys_connection_nonblocking",
        "connect over loopback, non-blocking; with us, a hit",
        NONE,
    ),
    row(
        System,
        "sys_connection_blocking",
        "connect over loopback, blocking; with us, a hit",
        NONE,
    ),
    row(SystemData, "sys_sendto_inet", "sendto(-1), AF_INET", ALL),
    row(SystemData, "sys_sendto_unix", "sendto(-1), AF_UNIX", ALL),
    row(
        SystemData,
        "sys_sendto_elsewhere",
        "sendto(-1), IPv6 outside `prefixes`",
        ALL,
    ),
    row(SystemData, "sys_sendmsg", "sendmsg(-1), AF_INET", ALL),
    row(SystemData, "sys_send", "send(-1)", ALL),
    row(SystemData, "sys_write", "write(-1)", ALL),
    row(SystemData, "sys_recvfrom", "recvfrom(-1)", ALL),
    row(SystemData, "sys_recvmsg", "recvmsg(-1)", ALL),
    row(SystemData, "sys_recv", "recv(-1)", ALL),
    row(SystemData, "sys_read", "read(-1)", ALL),
    row(SystemData, "sys_write_null", "write, /dev/null", ALL),
    row(SystemData, "sys_read_zero", "read, /dev/zero", ALL),
    row(SystemData, "sys_pipe", "write and read, a pipe", ALL),
    row(SystemData, "sys_unix", "sendmsg and recvmsg, AF_UNIX", ALL),
    row(
        SystemData,
        "sys_stream_write",
        "write and read, TCP over loopback",
        NONE,
    ),
    row(
        SystemData,
        "sys_stream_send",
        "send and recv, TCP over loopback",
        NONE,
    ),
    row(
        SystemData,
        "sys_itself_inet",
        "sendto and recvfrom, to itself, AF_INET",
        UDP,
    ),
    row(
        SystemData,
        "sys_itself_unpinned",
        "… IPv6 outside `prefixes`",
        UDP,
    ),
    row(SystemData, "sys_itself_addressed", "… with us, pinned", UDP),
    row(
        SystemData,
        "sys_itself_messages",
        "sendmsg and recvmsg, to itself; with us, pinned",
        UDP,
    ),
    row(
        SystemData,
        "sys_itself_connected",
        "send and recv, to itself, connected; with us, pinned",
        UDP,
    ),
    row(
        SystemData,
        "sys_server_addressed",
        "sendto and recvfrom, a server answers; with us, pinned",
        UDP,
    ),
    row(
        SystemData,
        "sys_server_messages",
        "sendmsg and recvmsg, …",
        UDP,
    ),
    row(
        SystemData,
        "sys_server_connected",
        "send and recv, connected, …",
        UDP,
    ),
    row(
        SystemData,
        "sys_server_question",
        "socket, sendto, recvfrom, close, …",
        UDP,
    ),
    row(Start, "spawn", "posix_spawn of true(1) until its end", ALL),
];
