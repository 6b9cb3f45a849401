//! What is measured: the rows of the tables, and what `calls` knows them by.

/// The tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Group {
    /// The hook alone: behind it a stub answers at once.
    Stub,
    /// The hook and the system call behind it.
    System,
    /// The start of a process.
    Start,
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) group: Group,
    /// Its name in `calls`.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// Also with the libraries of proxies.
    pub(crate) proxies: bool,
}

const fn row(group: Group, name: &'static str, title: &'static str, proxies: bool) -> Row {
    Row {
        group,
        name,
        title,
        proxies,
    }
}

use Group::{Start, Stub, System};

pub(crate) const ROWS: &[Row] = &[
    row(
        Stub,
        "stub_connect_unix",
        "connect, AF_UNIX, address on the stack",
        false,
    ),
    row(
        Stub,
        "stub_connect_unix_heap",
        "connect, AF_UNIX, on the heap",
        false,
    ),
    row(
        Stub,
        "stub_connect_inet",
        "connect, AF_INET, on the stack",
        false,
    ),
    row(
        Stub,
        "stub_connect_inet_heap",
        "connect, AF_INET, on the heap",
        false,
    ),
    row(
        Stub,
        "stub_connect_loopback",
        "connect, ::1, on the stack",
        false,
    ),
    row(
        Stub,
        "stub_connect_elsewhere",
        "connect, IPv6 outside `prefixes`, on the stack",
        false,
    ),
    row(
        Stub,
        "stub_connect_elsewhere_heap",
        "connect, IPv6 outside `prefixes`, on the heap",
        false,
    ),
    row(
        Stub,
        "stub_direct",
        "connect, known to be `direct`, new socket, on the stack",
        false,
    ),
    row(
        Stub,
        "stub_hit_nonblocking",
        "connect, hit, non-blocking, new socket, on the stack",
        false,
    ),
    row(
        Stub,
        "stub_hit_nonblocking_heap",
        "connect, hit, non-blocking, new socket, on the heap",
        false,
    ),
    row(
        Stub,
        "stub_hit_blocking",
        "connect, hit, blocking, new socket, on the stack",
        false,
    ),
    row(Stub, "stub_socket", "socket, IPv6 TCP", false),
    row(Stub, "stub_socket_unix", "socket, AF_UNIX", false),
    row(
        Stub,
        "stub_socket_close",
        "socket and close, IPv6 TCP",
        false,
    ),
    row(Stub, "stub_close_unknown", "close, not a socket", true),
    row(Stub, "stub_getpeername", "getpeername, not moved", true),
    row(Stub, "stub_getsockopt", "getsockopt, SO_ERROR", false),
    row(Stub, "stub_getsockopt_other", "getsockopt, another", false),
    row(Stub, "stub_fcntl", "fcntl, F_GETFL", false),
    row(System, "sys_connect_unix", "connect(-1), AF_UNIX", true),
    row(System, "sys_connect_inet", "connect(-1), AF_INET", true),
    row(System, "sys_connect_loopback", "connect(-1), ::1", true),
    row(
        System,
        "sys_connect_elsewhere",
        "connect(-1), IPv6 outside `prefixes`",
        true,
    ),
    row(
        System,
        "sys_connect_asked",
        "connect(-1), IPv6 inside `prefixes`",
        true,
    ),
    row(System, "sys_close", "close(-1)", true),
    row(System, "sys_getpeername", "getpeername(-1)", true),
    row(System, "sys_getsockopt", "getsockopt(-1), SO_ERROR", true),
    row(System, "sys_fcntl", "fcntl(-1), F_GETFL", true),
    row(
        System,
        "sys_socket_close",
        "socket and close, IPv6 TCP",
        false,
    ),
    row(
        System,
        "sys_getpeername_connected",
        "getpeername, connected; with us, moved",
        false,
    ),
    row(
        System,
        "sys_connection_nonblocking",
        "connect over loopback, non-blocking; with us, a hit",
        false,
    ),
    row(
        System,
        "sys_connection_blocking",
        "connect over loopback, blocking; with us, a hit",
        false,
    ),
    row(Start, "spawn", "posix_spawn of true(1) until its end", true),
];
