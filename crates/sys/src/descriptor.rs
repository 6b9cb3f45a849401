//! Sockets and their options, for the modules of the daemons.

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The answer of a function of the C library that returns -1 on failure.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Opens a socket that does not block and is closed on exec.
pub(crate) fn open(
    family: libc::c_int,
    kind: libc::c_int,
    protocol: libc::c_int,
) -> io::Result<OwnedFd> {
    let kind = kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: plain arguments.
    let socket = check(unsafe { libc::socket(family, kind, protocol) })?;
    // SAFETY: just made, owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(socket) })
}

/// Sets an option whose value is an int.
pub(crate) fn set(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: the kernel reads an int, which is alive.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    })
    .map(drop)
}

/// Reads an option whose value is an int.
pub(crate) fn get(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = size_of_val(&value) as libc::socklen_t;
    // SAFETY: room for an int, and its size.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw mut value).cast(),
            &raw mut length,
        )
    })?;
    Ok(value)
}

fn buffer(
    socket: BorrowedFd<'_>,
    forced: libc::c_int,
    limited: libc::c_int,
    octets: usize,
) -> io::Result<usize> {
    // The kernel doubles what it is given, for its own overhead, and so must not
    // be given more than half of what an int holds.
    let wanted =
        libc::c_int::try_from(octets).map_or(libc::c_int::MAX / 2, |n| n.min(i32::MAX / 2));
    // Past the limit of net.core.[rw]mem_max only with CAP_NET_ADMIN over the
    // machine, which root of a namespace does not have.
    match set(socket, libc::SOL_SOCKET, forced, wanted) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            set(socket, libc::SOL_SOCKET, limited, wanted)?;
        }
        result => result?,
    }
    Ok(get(socket, libc::SOL_SOCKET, limited)?.unsigned_abs() as usize / 2)
}

/// Sets the room for what waits to be received; returns what the kernel granted.
pub(crate) fn receive_buffer(socket: BorrowedFd<'_>, octets: usize) -> io::Result<usize> {
    buffer(socket, libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, octets)
}

/// Sets the room for what waits to be sent; returns what the kernel granted.
pub(crate) fn send_buffer(socket: BorrowedFd<'_>, octets: usize) -> io::Result<usize> {
    buffer(socket, libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, octets)
}

/// A socket address of `address`, with the port 0.
pub(crate) fn socket_address(address: Ipv6Addr) -> libc::sockaddr_in6 {
    // SAFETY: all zero is a valid sockaddr_in6.
    let mut name: libc::sockaddr_in6 = unsafe { core::mem::zeroed() };
    name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
    name.sin6_addr.s6_addr = address.octets();
    name
}

/// Gives the socket its own address.
pub(crate) fn bind(socket: BorrowedFd<'_>, address: Ipv6Addr) -> io::Result<()> {
    let name = socket_address(address);
    let length = size_of_val(&name) as libc::socklen_t;
    // SAFETY: a live sockaddr_in6 and its size.
    check(unsafe { libc::bind(socket.as_raw_fd(), (&raw const name).cast(), length) }).map(drop)
}

/// Gives the socket a peer.
pub(crate) fn connect(socket: BorrowedFd<'_>, address: Ipv6Addr) -> io::Result<()> {
    let name = socket_address(address);
    let length = size_of_val(&name) as libc::socklen_t;
    // SAFETY: a live sockaddr_in6 and its size.
    check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const name).cast(), length) }).map(drop)
}

/// Lets the socket receive nothing from now on.
pub(crate) fn receive_nothing(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut refuse = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: 0,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut refuse,
    };
    // SAFETY: the kernel reads a sock_fprog and the one instruction it points to,
    // both alive.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size_of_val(&program) as libc::socklen_t,
        )
    })
    .map(drop)
}
