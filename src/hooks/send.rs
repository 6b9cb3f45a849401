//! The calls that send.

use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::mem::transmute;
use core::net::Ipv6Addr;

use aarp_sys::errno;
use aarp_sys::message::{SIN6, address_and_port};
use aarp_sys::user::{SocketAddress, family, is_known_readable, is_readable, socket_address};
use libc::{iovec, size_t, sockaddr, socklen_t, ssize_t};

use super::behind;
use crate::connect::{closed, with_address};
use crate::datagram::at_once::{self, AtOnce};
use crate::datagram::{self, Course, peer};
use crate::symbols::Symbol;
use crate::{connect as life, limits, ops, sockets};

/// The times that a datagram is sent before the program hears of a failure: to two
/// Us, and to A itself.
pub(super) const TRIES: usize = 3;

pub(super) fn unreachable() -> ssize_t {
    errno::set(libc::EHOSTUNREACH);
    -1
}

/// Sends without a destination on a socket that is connected, or is not.
#[inline]
pub(super) fn send_to_peer(fd: c_int, call: impl Fn() -> ssize_t) -> ssize_t {
    if !at_once::sending(fd) {
        return send_by_course(fd, 0, call);
    }
    let saved = errno::get();
    let sent = call();
    if sent >= 0 || !peer::sending_failed(fd) {
        return sent;
    }
    let sent = send_by_course(fd, 1, call);
    if sent >= 0 {
        errno::set(saved);
    }
    sent
}

/// The rest of [`send_to_peer`], when so many tries have been made.
#[cold]
#[inline(never)]
fn send_by_course(fd: c_int, made: usize, call: impl Fn() -> ssize_t) -> ssize_t {
    if !peer::is_connected(fd) {
        limits::settle(fd);
        let sent = call();
        ops::transferred(fd, sent, true);
        return sent;
    }
    let saved = errno::get();
    for turn in 1 + made..TRIES {
        match peer::sending(fd) {
            Course::Refused => return unreachable(),
            Course::Closed => return closed() as ssize_t,
            Course::Own | Course::Moved(_) => {}
        }
        let sent = call();
        if sent >= 0 && turn > 1 {
            errno::set(saved);
        }
        if sent >= 0 || !peer::sending_failed(fd) {
            return sent;
        }
    }
    call()
}

/// The IPv6 address to which something is sent; `None` for every other one.
///
/// # Safety
/// As for sendto(2).
#[inline]
pub(super) unsafe fn destination(
    fd: c_int,
    name: *const sockaddr,
    len: socklen_t,
) -> Option<SocketAddress> {
    // SAFETY: the address is copied only as far as it can be read. Where no system
    // call may be made to find that out, only what is known to be readable is read.
    unsafe {
        if ops::is_barred() {
            let whole = datagram::may_have_pins(fd)
                && len >= SIN6
                && is_known_readable(name.cast(), SIN6 as usize);
            let address = whole.then(|| SocketAddress {
                raw: name.cast::<libc::sockaddr_in6>().read_unaligned(),
                len,
            });
            return address.filter(|to| i32::from(to.raw.sin6_family) == libc::AF_INET6);
        }
        if family(name, len) != Some(libc::AF_INET6 as u16) {
            return None;
        }
        socket_address(name, len)
    }
}

/// Sends to a destination, if there is one, when so many tries have been `MADE`.
///
/// # Safety
/// As for sendto(2); `call` must take an address.
#[inline]
pub(super) unsafe fn send_to<const MADE: usize>(
    fd: c_int,
    name: *const sockaddr,
    len: socklen_t,
    flags: c_int,
    call: impl Fn(*const sockaddr, socklen_t) -> ssize_t,
) -> ssize_t {
    if name.is_null() || len == 0 {
        return send_to_peer(fd, || call(name, len));
    }
    // SAFETY: by the promise.
    let Some(to) = (unsafe { destination(fd, name, len) }) else {
        return call(name, len);
    };
    if MADE == 0 && flags & libc::MSG_FASTOPEN != 0 && !ops::is_barred() && sockets::is_stream(fd) {
        return open_fast(fd, &to, call);
    }
    let saved = errno::get();
    let mut sent = -1;
    for turn in MADE..=TRIES {
        let mut moved = None;
        sent = match datagram::course(fd, &to, flags) {
            Course::Refused => return unreachable(),
            Course::Closed => return closed() as ssize_t,
            Course::Moved(pin) if turn < TRIES => {
                let to = with_address(&to, pin.u);
                moved = Some(pin);
                call(to.as_ptr(), to.len_of_copy())
            }
            _ => call(name, len),
        };
        if sent >= 0 && turn > 0 {
            errno::set(saved);
        }
        if sent >= 0 || !moved.is_some_and(|pin| datagram::sending_failed(fd, &pin)) {
            break;
        }
    }
    sent
}

/// connect() and the first data in one.
#[cold]
fn open_fast(
    fd: c_int,
    to: &SocketAddress,
    call: impl Fn(*const sockaddr, socklen_t) -> ssize_t,
) -> ssize_t {
    ops::opening_fast(fd);
    let sent = Cell::new(-1);
    let result = life::connect(fd, to, |to| {
        sent.set(call(to.as_ptr(), to.len_of_copy()));
        if sent.get() < 0 { -1 } else { 0 }
    });
    if result == 0 { sent.get() } else { -1 }
}

type SendTo = unsafe extern "C" fn(
    c_int,
    *const c_void,
    size_t,
    c_int,
    *const sockaddr,
    socklen_t,
) -> ssize_t;

#[inline]
fn real_sendto() -> SendTo {
    behind!(
        c"sendto",
        fn(c_int, *const c_void, size_t, c_int, *const sockaddr, socklen_t) -> ssize_t
    )
}

/// Whether what is sent may go elsewhere than to where the program sends it.
///
/// # Safety
/// As for sendto(2).
#[inline]
pub(super) unsafe fn may_be_moved(fd: c_int, name: *const sockaddr, len: socklen_t) -> bool {
    if name.is_null() || len == 0 {
        return sockets::is_observed(fd);
    }
    // SAFETY: only looked at where it can be read.
    ops::is_barred() || unsafe { family(name, len) } == Some(libc::AF_INET6 as u16)
}

/// sendto(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendto(
    fd: c_int,
    data: *const c_void,
    count: size_t,
    flags: c_int,
    name: *const sockaddr,
    len: socklen_t,
) -> ssize_t {
    let real = real_sendto();
    // SAFETY: the program's own arguments, but for a whole address of ours.
    unsafe {
        if !may_be_moved(fd, name, len) {
            return real(fd, data, count, flags, name, len);
        }
        sendto_ipv6(fd, data, count, flags, name, len)
    }
}

/// The rest of [`sendto`], for which there is room on the stack: without it the call
/// behind is a jump.
///
/// # Safety
/// As for the function of this name.
#[inline(never)]
unsafe extern "C" fn sendto_ipv6(
    fd: c_int,
    data: *const c_void,
    count: size_t,
    flags: c_int,
    name: *const sockaddr,
    len: socklen_t,
) -> ssize_t {
    let real = real_sendto();
    // SAFETY: the program's own arguments, or a copy of its address with another in it.
    unsafe {
        match course_at_once(fd, name, len, flags) {
            Some(AtOnce::Own) => real(fd, data, count, flags, name, len),
            Some(AtOnce::Moved(u)) => {
                let (moved, saved) = (moved_name(name, u), errno::get());
                let sent = real(fd, data, count, flags, (&raw const moved).cast(), SIN6);
                if sent >= 0 || !has_failed(fd, name) {
                    return sent;
                }
                let sent = sendto_by_course::<1>(fd, data, count, flags, name, len);
                if sent >= 0 {
                    errno::set(saved);
                }
                sent
            }
            None => sendto_by_course::<0>(fd, data, count, flags, name, len),
        }
    }
}

/// What is known at once about the course of a datagram to an IPv6 address.
///
/// # Safety
/// As for sendto(2).
#[inline(always)]
pub(super) unsafe fn course_at_once(
    fd: c_int,
    name: *const sockaddr,
    len: socklen_t,
    flags: c_int,
) -> Option<AtOnce> {
    if len != SIN6
        || flags & libc::MSG_FASTOPEN != 0
        || ops::is_barred()
        || !is_readable(name.cast(), SIN6 as usize)
    {
        return None;
    }
    // SAFETY: readable, as was just seen.
    let (a, port) = unsafe { address_and_port(name) };
    at_once::course(fd, a, port)
}

/// Whether what was sent to this address failed, and is to be sent again.
///
/// # Safety
/// It must be readable as a whole.
#[cold]
pub(super) unsafe fn has_failed(fd: c_int, name: *const sockaddr) -> bool {
    // SAFETY: by the promise.
    let (a, port) = unsafe { address_and_port(name) };
    datagram::sending_to_failed(fd, a, port)
}

/// A copy of an IPv6 socket address of the program's with U in the place of A.
///
/// # Safety
/// It must be readable as a whole.
#[inline(always)]
pub(super) unsafe fn moved_name(name: *const sockaddr, u: Ipv6Addr) -> libc::sockaddr_in6 {
    // SAFETY: by the promise.
    let name = unsafe { name.cast::<libc::sockaddr_in6>().read_unaligned() };
    libc::sockaddr_in6 {
        sin6_addr: libc::in6_addr {
            s6_addr: u.octets(),
        },
        ..name
    }
}

/// The rest of [`sendto`] where its course has to be looked up, or decided.
///
/// # Safety
/// As for the function of this name.
#[cold]
#[inline(never)]
unsafe extern "C" fn sendto_by_course<const MADE: usize>(
    fd: c_int,
    data: *const c_void,
    count: size_t,
    flags: c_int,
    name: *const sockaddr,
    len: socklen_t,
) -> ssize_t {
    let real = real_sendto();
    // SAFETY: the program's own arguments, but for a whole address of ours.
    unsafe {
        send_to::<MADE>(fd, name, len, flags, |name, len| {
            real(fd, data, count, flags, name, len)
        })
    }
}

/// send(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn send(
    fd: c_int,
    data: *const c_void,
    count: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: the program's own arguments.
    unsafe {
        if !sockets::is_observed(fd) {
            return real_send()(fd, data, count, flags);
        }
        send_connected(fd, data, count, flags)
    }
}

#[inline]
fn real_send() -> unsafe extern "C" fn(c_int, *const c_void, size_t, c_int) -> ssize_t {
    behind!(c"send", fn(c_int, *const c_void, size_t, c_int) -> ssize_t)
}

/// The rest of [`send()`], as with [`sendto_ipv6`].
///
/// # Safety
/// As for the function of this name.
#[inline(never)]
unsafe extern "C" fn send_connected(
    fd: c_int,
    data: *const c_void,
    count: size_t,
    flags: c_int,
) -> ssize_t {
    let real = real_send();
    // SAFETY: the program's own arguments.
    send_to_peer(fd, || unsafe { real(fd, data, count, flags) })
}

/// send(2) by another of its names.
///
/// # Safety
/// As for send(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __send(
    fd: c_int,
    data: *const c_void,
    count: size_t,
    flags: c_int,
) -> ssize_t {
    // SAFETY: the program's own arguments.
    unsafe { send(fd, data, count, flags) }
}

/// write(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, data: *const c_void, count: size_t) -> ssize_t {
    // SAFETY: the program's own arguments.
    unsafe {
        if !sockets::is_observed(fd) {
            return real_write()(fd, data, count);
        }
        write_connected(fd, data, count)
    }
}

#[inline]
fn real_write() -> unsafe extern "C" fn(c_int, *const c_void, size_t) -> ssize_t {
    behind!(c"write", fn(c_int, *const c_void, size_t) -> ssize_t)
}

/// The rest of [`write()`], as with [`sendto_ipv6`].
///
/// # Safety
/// As for the function of this name.
#[inline(never)]
unsafe extern "C" fn write_connected(fd: c_int, data: *const c_void, count: size_t) -> ssize_t {
    let real = real_write();
    // SAFETY: the program's own arguments.
    send_to_peer(fd, || unsafe { real(fd, data, count) })
}

/// write(2) by another of its names.
///
/// # Safety
/// As for write(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __write(fd: c_int, data: *const c_void, count: size_t) -> ssize_t {
    // SAFETY: the program's own arguments.
    unsafe { write(fd, data, count) }
}

/// writev(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    // SAFETY: the program's own arguments.
    unsafe {
        if !sockets::is_observed(fd) {
            return real_writev()(fd, parts, count);
        }
        writev_connected(fd, parts, count)
    }
}

#[inline]
fn real_writev() -> unsafe extern "C" fn(c_int, *const iovec, c_int) -> ssize_t {
    behind!(c"writev", fn(c_int, *const iovec, c_int) -> ssize_t)
}

/// The rest of [`writev`], as with [`sendto_ipv6`].
///
/// # Safety
/// As for the function of this name.
#[inline(never)]
unsafe extern "C" fn writev_connected(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    let real = real_writev();
    // SAFETY: the program's own arguments.
    send_to_peer(fd, || unsafe { real(fd, parts, count) })
}
