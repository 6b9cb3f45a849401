//! The calls that make and connect sockets, and those that ask about them.

use core::ffi::{c_int, c_void};
use core::mem::transmute;
use core::time::Duration;

use aarp_sys::message::SIN6;
use aarp_sys::user::{family, replace_address, room, room_by, socket_address};
use libc::{sockaddr, socklen_t};

use super::behind;
use crate::sockets::Limit;
use crate::symbols::Symbol;
use crate::{connect as life, limits, ops, sockets};

/// connect(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    // SAFETY: the program's own arguments; the family is only looked at where it can
    // be read.
    unsafe {
        if !ops::is_barred()
            && family(address, len) != Some(libc::AF_INET6 as u16)
            && !sockets::is_observed(fd)
        {
            return real_connect()(fd, address, len);
        }
        connect_ipv6(fd, address, len)
    }
}

/// connect(2) by another of its names.
///
/// # Safety
/// As for connect(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    // SAFETY: the program's own arguments.
    unsafe { connect(fd, address, len) }
}

#[inline]
fn real_connect() -> unsafe extern "C" fn(c_int, *const sockaddr, socklen_t) -> c_int {
    behind!(c"connect", fn(c_int, *const sockaddr, socklen_t) -> c_int)
}

/// The rest of [`connect`], for which there is room on the stack: without it the call
/// behind is a jump.
///
/// # Safety
/// As for the function of this name.
#[inline(never)]
unsafe extern "C" fn connect_ipv6(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    let real = real_connect();
    // SAFETY: the program's own arguments, or a whole address of ours.
    unsafe { connect_by(fd, address, len, |name, len| real(fd, name, len)) }
}

/// Connects by `call`.
///
/// # Safety
/// As for connect(2), which `call` must be.
#[inline]
pub(super) unsafe fn connect_by(
    fd: c_int,
    address: *const sockaddr,
    len: socklen_t,
    call: impl Fn(*const sockaddr, socklen_t) -> c_int,
) -> c_int {
    // SAFETY: the address is copied only as far as it can be read; the call behind gets
    // either the program's own arguments or a whole address of ours.
    unsafe {
        if ops::is_barred() {
            ops::barred_connect(len);
        } else if family(address, len) == Some(libc::AF_INET6 as u16) {
            return match socket_address(address, len) {
                Some(to) => life::connect(fd, &to, |to| call(to.as_ptr(), to.len_of_copy())),
                None => call(address, len),
            };
        }
    }
    let result = call(address, len);
    if result == 0 && sockets::is_observed(fd) {
        ops::connected_elsewhere(fd);
    }
    result
}

/// socket(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    let real = behind!(c"socket", fn(c_int, c_int, c_int) -> c_int);
    // SAFETY: no pointers.
    let fd = unsafe { real(domain, kind, protocol) };
    ops::opened(fd, domain, kind, protocol);
    fd
}

/// accept(2), which gives a number anew that may have been closed unseen.
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept(fd: c_int, address: *mut sockaddr, len: *mut socklen_t) -> c_int {
    let real = behind!(c"accept", fn(c_int, *mut sockaddr, *mut socklen_t) -> c_int);
    // SAFETY: the program's own arguments.
    let accepted = unsafe { real(fd, address, len) };
    ops::accepted(accepted);
    accepted
}

/// accept4(2); as for [`accept`].
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn accept4(
    fd: c_int,
    address: *mut sockaddr,
    len: *mut socklen_t,
    flags: c_int,
) -> c_int {
    let real = behind!(
        c"accept4",
        fn(c_int, *mut sockaddr, *mut socklen_t, c_int) -> c_int
    );
    // SAFETY: the program's own arguments.
    let accepted = unsafe { real(fd, address, len, flags) };
    ops::accepted(accepted);
    accepted
}

/// bind(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn bind(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    let real = behind!(c"bind", fn(c_int, *const sockaddr, socklen_t) -> c_int);
    // SAFETY: the program's own arguments.
    let result = unsafe { real(fd, address, len) };
    if result == 0 {
        ops::bound(fd);
    }
    result
}

/// getpeername(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getpeername(
    fd: c_int,
    address: *mut sockaddr,
    len: *mut socklen_t,
) -> c_int {
    let real = behind!(
        c"getpeername",
        fn(c_int, *mut sockaddr, *mut socklen_t) -> c_int
    );
    // SAFETY: the program's own arguments.
    unsafe { peer_by(fd, address, len, |name, len| real(fd, name, len)) }
}

/// Asks for the peer by `call`, and shows A in the place of U.
///
/// # Safety
/// As for getpeername(2), which `call` must be.
#[inline]
pub(super) unsafe fn peer_by(
    fd: c_int,
    address: *mut sockaddr,
    len: *mut socklen_t,
    call: impl Fn(*mut sockaddr, *mut socklen_t) -> c_int,
) -> c_int {
    let hidden = ops::hidden_peer(fd);
    // Who may make no call of ours asks nobody.
    if hidden.is_none() && (!sockets::may_be_received(fd) || ops::is_barred()) {
        return call(address, len);
    }
    // SAFETY: the program's own arguments; what is changed lies where the call
    // behind has just written.
    unsafe {
        let room = if ops::is_barred() {
            room_by(len, &call)
        } else {
            room(len)
        };
        let result = call(address, len);
        if result != 0 {
            return result;
        }
        let hidden = hidden.or_else(|| ops::hidden_peer_of_received(fd));
        if let (Some((u, a)), Some(room)) = (hidden, room) {
            replace_address(address, room.min(SIN6 as usize), u, a);
        }
        result
    }
}

/// getsockopt(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn getsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
) -> c_int {
    let real = behind!(
        c"getsockopt",
        fn(c_int, c_int, c_int, *mut c_void, *mut socklen_t) -> c_int
    );
    // SAFETY: the program's own arguments.
    unsafe {
        option_by(fd, level, name, value, len, || {
            real(fd, level, name, value, len)
        })
    }
}

/// Asks for an option by `call`.
///
/// # Safety
/// As for getsockopt(2), which `call` must be.
#[inline]
pub(super) unsafe fn option_by(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *mut c_void,
    len: *mut socklen_t,
    call: impl Fn() -> c_int,
) -> c_int {
    if let Some(limit) = ops::limit(level, name) {
        let own = limits::asked_for(fd, limit);
        let result = call();
        if let (0, Some(own)) = (result, own) {
            // SAFETY: the call behind has just written there, as much as `len` says.
            unsafe { show_limit(value, len.read_unaligned() as usize, limit, own) };
        }
        return result;
    }
    if level != libc::SOL_SOCKET {
        return call();
    }
    match name {
        libc::SO_ERROR if ops::may_have_failed(fd) => {}
        libc::SO_PEERNAME => {}
        _ => return call(),
    }
    let result = call();
    if result == 0 {
        // SAFETY: the call behind has just written there, as much as `len` says.
        unsafe {
            let written = len.read_unaligned() as usize;
            if name == libc::SO_PEERNAME {
                let hidden = match ops::hidden_peer(fd) {
                    None if sockets::may_be_received(fd) => ops::hidden_peer_of_received(fd),
                    hidden => hidden,
                };
                if let Some((u, a)) = hidden {
                    replace_address(value.cast(), written.min(SIN6 as usize), u, a);
                }
            } else if written == size_of::<c_int>() {
                ops::socket_error(fd, value.cast::<c_int>().read_unaligned());
            }
        }
    }
    result
}

/// Writes a limit as the program has set it.
///
/// # Safety
/// So many octets must be writable.
#[cold]
unsafe fn show_limit(value: *mut c_void, room: usize, limit: Limit, own: Duration) {
    let millis = own.as_millis() as u32;
    let time = libc::timeval {
        tv_sec: own.as_secs() as libc::time_t,
        tv_usec: libc::suseconds_t::from(own.subsec_micros()),
    };
    let (from, size) = match limit {
        Limit::UserTimeout => ((&raw const millis).cast::<u8>(), size_of_val(&millis)),
        Limit::SendTimeout => ((&raw const time).cast::<u8>(), size_of_val(&time)),
    };
    // SAFETY: no more than either has.
    unsafe { from.copy_to_nonoverlapping(value.cast(), room.min(size)) };
}

/// setsockopt(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn setsockopt(
    fd: c_int,
    level: c_int,
    name: c_int,
    value: *const c_void,
    len: socklen_t,
) -> c_int {
    let real = behind!(
        c"setsockopt",
        fn(c_int, c_int, c_int, *const c_void, socklen_t) -> c_int
    );
    // SAFETY: the program's own arguments.
    let result = unsafe { real(fd, level, name, value, len) };
    if result == 0 {
        ops::option_set(fd, level, name);
    }
    result
}
