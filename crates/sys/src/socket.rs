//! What the kernel knows about a socket of the program's.

use core::mem::{MaybeUninit, size_of};
use core::net::Ipv6Addr;
use core::time::Duration;

use crate::fd::Fd;
use crate::route::Origin;
use crate::syscall::{Errno, syscall};

/// As in <asm-generic/socket.h>; the libc crate has it for some targets only.
const SO_BINDTOIFINDEX: i32 = 62;

fn option<T: Copy>(fd: i32, level: i32, name: i32) -> Result<T, Errno> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut len = size_of::<T>() as libc::socklen_t;
    let (to, len) = (value.as_mut_ptr() as usize, (&raw mut len) as usize);
    let arguments = [fd as usize, level as usize, name as usize, to, len, 0];
    // SAFETY: there is room for as many octets as the length says; what the kernel
    // does not write stays zero, which every `T` here may be.
    unsafe {
        syscall(libc::SYS_getsockopt, arguments)?;
        Ok(value.assume_init())
    }
}

fn set_option<T: Copy>(fd: i32, level: i32, name: i32, value: &T) -> Result<(), Errno> {
    let from = core::ptr::from_ref(value) as usize;
    let arguments = [
        fd as usize,
        level as usize,
        name as usize,
        from,
        size_of::<T>(),
        0,
    ];
    // SAFETY: the pointer and the length are those of a value.
    unsafe { syscall(libc::SYS_setsockopt, arguments) }.map(drop)
}

/// What names a socket for as long as the host runs (`SO_COOKIE`), by whatever number
/// it is known.
///
/// # Errors
/// What getsockopt(2) says.
pub fn cookie(fd: i32) -> Result<u64, Errno> {
    option(fd, libc::SOL_SOCKET, libc::SO_COOKIE)
}

/// Whether this is a TCP socket over IPv6.
#[must_use]
pub fn is_tcp6(fd: i32) -> bool {
    option::<i32>(fd, libc::SOL_SOCKET, libc::SO_DOMAIN) == Ok(libc::AF_INET6)
        && option::<i32>(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL) == Ok(libc::IPPROTO_TCP)
}

/// Whether this is a UDP socket over IPv6.
#[must_use]
pub fn is_udp6(fd: i32) -> bool {
    option::<i32>(fd, libc::SOL_SOCKET, libc::SO_DOMAIN) == Ok(libc::AF_INET6)
        && option::<i32>(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL) == Ok(libc::IPPROTO_UDP)
}

/// Whether a descriptor is open, whatever it is.
#[must_use]
pub fn is_open(fd: i32) -> bool {
    let arguments = [fd as usize, libc::F_GETFD as usize, 0, 0, 0, 0];
    // SAFETY: no pointers.
    unsafe { syscall(libc::SYS_fcntl, arguments) }.is_ok()
}

/// Whether a descriptor is closed when its process becomes another program
/// (`FD_CLOEXEC`).
///
/// # Errors
/// What fcntl(2) says.
pub fn is_closed_at_exec(fd: i32) -> Result<bool, Errno> {
    let arguments = [fd as usize, libc::F_GETFD as usize, 0, 0, 0, 0];
    // SAFETY: no pointers.
    let flags = unsafe { syscall(libc::SYS_fcntl, arguments) }?;
    Ok(flags as i32 & libc::FD_CLOEXEC != 0)
}

/// Whether `O_NONBLOCK` is set.
///
/// # Errors
/// What fcntl(2) says.
pub fn is_nonblocking(fd: i32) -> Result<bool, Errno> {
    // SAFETY: no pointers.
    let flags = unsafe {
        syscall(
            libc::SYS_fcntl,
            [fd as usize, libc::F_GETFL as usize, 0, 0, 0, 0],
        )
    }?;
    Ok(flags as i32 & libc::O_NONBLOCK != 0)
}

/// What the socket's packets are sent with, where the program has fixed it.
///
/// # Errors
/// What the kernel says.
pub fn origin(fd: i32) -> Result<Origin, Errno> {
    let name = local_address(fd)?;
    let source = Ipv6Addr::from(name.sin6_addr.s6_addr);
    Ok(Origin {
        source: Some(source).filter(|source| !source.is_unspecified()),
        interface: option::<i32>(fd, libc::SOL_SOCKET, SO_BINDTOIFINDEX)? as u32,
        mark: option(fd, libc::SOL_SOCKET, libc::SO_MARK)?,
        flow_label: 0,
    })
}

/// The network namespace of a socket, by a number that no other has.
///
/// # Errors
/// What the kernel says; `ENOPROTOOPT` before Linux 5.14.
pub fn namespace(fd: i32) -> Result<u64, Errno> {
    const SO_NETNS_COOKIE: i32 = 71;
    option(fd, libc::SOL_SOCKET, SO_NETNS_COOKIE)
}

/// The network namespace in which this thread makes sockets.
///
/// # Errors
/// As [`namespace`].
pub fn namespace_of_thread() -> Result<u64, Errno> {
    let kind = (libc::SOCK_DGRAM | libc::SOCK_CLOEXEC) as usize;
    let arguments = [libc::AF_INET6 as usize, kind, 0, 0, 0, 0];
    // SAFETY: no pointers.
    let fd = Fd::open(|| unsafe { syscall(libc::SYS_socket, arguments) })?;
    fd.using(namespace)
}

type Name = libc::sockaddr_in6;

fn named(call: libc::c_long, fd: i32) -> Result<Name, Errno> {
    let mut name = MaybeUninit::<Name>::zeroed();
    let mut len = size_of::<Name>() as libc::socklen_t;
    let arguments = [
        fd as usize,
        name.as_mut_ptr() as usize,
        (&raw mut len) as usize,
        0,
        0,
        0,
    ];
    // SAFETY: there is room for as many octets as the length says, and what is not
    // written stays zero.
    let name = unsafe {
        syscall(call, arguments)?;
        name.assume_init()
    };
    if i32::from(name.sin6_family) != libc::AF_INET6 {
        return Err(Errno(libc::EAFNOSUPPORT));
    }
    Ok(name)
}

/// The socket's own address.
///
/// # Errors
/// What getsockname(2) says; `EAFNOSUPPORT` for a socket that is not IPv6.
pub fn local_address(fd: i32) -> Result<Name, Errno> {
    named(libc::SYS_getsockname, fd)
}

/// The address that the socket is connected to.
///
/// # Errors
/// What getpeername(2) says; `EAFNOSUPPORT` for a socket that is not IPv6.
pub fn peer_address(fd: i32) -> Result<Name, Errno> {
    named(libc::SYS_getpeername, fd)
}

/// How far a TCP connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing has been sent: connect was cut short before it began.
    NotBegun,
    /// SYN sent, no answer yet.
    SynSent,
    /// It is established, or was.
    Established,
    /// It never was established, and is over.
    Failed,
}

/// How far the connection of a TCP socket, for which connect has been called, has
/// come.
///
/// # Errors
/// What getsockopt(2) says.
pub fn progress(fd: i32) -> Result<Progress, Errno> {
    const SYN_SENT: u8 = 2;
    const CLOSE: u8 = 7;
    let info: libc::tcp_info = option(fd, libc::IPPROTO_TCP, libc::TCP_INFO)?;
    Ok(match info.tcpi_state {
        SYN_SENT => Progress::SynSent,
        CLOSE if info.tcpi_segs_out == 0 => Progress::NotBegun,
        // The handshake measures the round trip; without it there is none.
        CLOSE if info.tcpi_rtt == 0 => Progress::Failed,
        _ => Progress::Established,
    })
}

/// Whether the kernel can write an integer there; one is written, and means nothing.
#[must_use]
pub fn is_writable(fd: i32, to: *mut u32) -> bool {
    let mut len = size_of::<u32>() as libc::socklen_t;
    let arguments = [
        fd as usize,
        libc::SOL_SOCKET as usize,
        libc::SO_TYPE as usize,
        to as usize,
        (&raw mut len) as usize,
        0,
    ];
    // SAFETY: the kernel checks the pointer, which is the purpose.
    unsafe { syscall(libc::SYS_getsockopt, arguments) }.is_ok()
}

/// Whether errors that come by ICMPv6 are reported for datagrams to anybody
/// (`IPV6_RECVERR`).
#[must_use]
pub fn reports_errors(fd: i32) -> bool {
    option::<i32>(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVERR).is_ok_and(|on| on != 0)
}

/// Connects a datagram socket, which does not block.
///
/// # Errors
/// What connect(2) says.
pub fn connect(fd: i32, to: &Name) -> Result<(), Errno> {
    let (from, len) = (core::ptr::from_ref(to) as usize, size_of::<Name>());
    // SAFETY: the pointer and the length are those of an address.
    unsafe { syscall(libc::SYS_connect, [fd as usize, from, len, 0, 0, 0]) }.map(drop)
}

/// Takes a TCP socket back to where it was before connect(), as connect() with
/// `AF_UNSPEC` does; an address that it was bound to stays.
///
/// # Errors
/// What connect(2) says.
pub fn disconnect(fd: i32) -> Result<(), Errno> {
    // SAFETY: zeros are an address of the family AF_UNSPEC.
    let nowhere: libc::sockaddr_in6 = unsafe { core::mem::zeroed() };
    let (from, len) = (
        (&raw const nowhere) as usize,
        size_of::<libc::sockaddr_in6>(),
    );
    // SAFETY: the pointer and the length are those of an address.
    unsafe { syscall(libc::SYS_connect, [fd as usize, from, len, 0, 0, 0]) }.map(drop)
}

/// For how long a connection may go without an answer (`TCP_USER_TIMEOUT`); zero
/// is as long as the kernel sends.
///
/// # Errors
/// What getsockopt(2) says.
pub fn user_timeout(fd: i32) -> Result<Duration, Errno> {
    let millis: u32 = option(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT)?;
    Ok(Duration::from_millis(u64::from(millis)))
}

/// Sets `TCP_USER_TIMEOUT`, in whole milliseconds.
///
/// # Errors
/// What setsockopt(2) says.
pub fn set_user_timeout(fd: i32, timeout: Duration) -> Result<(), Errno> {
    let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    set_option(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, &millis)
}

/// For how long connect(2) waits (`SO_SNDTIMEO`); zero is for ever.
///
/// # Errors
/// What getsockopt(2) says.
pub fn send_timeout(fd: i32) -> Result<Duration, Errno> {
    let time: libc::timeval = option(fd, libc::SOL_SOCKET, libc::SO_SNDTIMEO)?;
    Ok(Duration::new(
        time.tv_sec as u64,
        time.tv_usec as u32 * 1000,
    ))
}

/// Sets `SO_SNDTIMEO`.
///
/// # Errors
/// What setsockopt(2) says.
pub fn set_send_timeout(fd: i32, timeout: Duration) -> Result<(), Errno> {
    let time = libc::timeval {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_usec: libc::suseconds_t::from(timeout.subsec_micros()),
    };
    set_option(fd, libc::SOL_SOCKET, libc::SO_SNDTIMEO, &time)
}

/// For how long the kernel would try to connect this TCP socket, by the number of
/// its SYNs (`TCP_SYNCNT`): one second, doubling, at most two minutes each.
///
/// # Errors
/// What getsockopt(2) says.
pub fn kernel_connect_time(fd: i32) -> Result<Duration, Errno> {
    let retries: i32 = option(fd, libc::IPPROTO_TCP, libc::TCP_SYNCNT)?;
    let waits = (0..=retries.clamp(0, 127) as u32)
        .map(|n| 1u64 << n.min(7))
        .map(|s| s.min(120));
    Ok(Duration::from_secs(waits.sum()))
}
