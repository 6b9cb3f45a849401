//! The calls that receive.

use core::ffi::{c_int, c_uint, c_void};
use core::mem::transmute;

use libc::{iovec, mmsghdr, msghdr, size_t, sockaddr, socklen_t, ssize_t, timespec};

use super::behind;
use super::receiving::{
    parts_with_source, receive_from, receive_many, receive_message, receive_unnamed, with_source,
};
use crate::datagram::receive as datagrams;
use crate::symbols::Symbol;

/// recvfrom(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recvfrom(
    fd: c_int,
    data: *mut c_void,
    count: size_t,
    flags: c_int,
    name: *mut sockaddr,
    len: *mut socklen_t,
) -> ssize_t {
    let real = behind!(
        c"recvfrom",
        fn(c_int, *mut c_void, size_t, c_int, *mut sockaddr, *mut socklen_t) -> ssize_t
    );
    // SAFETY: the program's own arguments, or room of ours for an address.
    unsafe {
        if name.is_null() && datagrams::needs_source(fd) {
            return receive_with_source(fd, data, count, flags);
        }
        receive_from(fd, flags, name, len, |name, len| {
            real(fd, data, count, flags, name, len)
        })
    }
}

/// recvfrom(2) as programs call it that were compiled with `_FORTIFY_SOURCE`.
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __recvfrom_chk(
    fd: c_int,
    data: *mut c_void,
    count: size_t,
    size: size_t,
    flags: c_int,
    name: *mut sockaddr,
    len: *mut socklen_t,
) -> ssize_t {
    let real = behind!(
        c"__recvfrom_chk",
        fn(c_int, *mut c_void, size_t, size_t, c_int, *mut sockaddr, *mut socklen_t) -> ssize_t
    );
    // SAFETY: as for recvfrom. The function behind ends a program that has less room than
    // it says.
    unsafe {
        if name.is_null() && count <= size && datagrams::needs_source(fd) {
            return receive_with_source(fd, data, count, flags);
        }
        receive_from(fd, flags, name, len, |name, len| {
            real(fd, data, count, size, flags, name, len)
        })
    }
}

/// recvmsg(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recvmsg(fd: c_int, message: *mut msghdr, flags: c_int) -> ssize_t {
    let real = behind!(c"recvmsg", fn(c_int, *mut msghdr, c_int) -> ssize_t);
    // SAFETY: the program's own arguments, or a header of ours.
    unsafe { receive_message(fd, message, flags, |message| real(fd, message, flags)) }
}

/// recvmmsg(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recvmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
    timeout: *mut timespec,
) -> c_int {
    let real = behind!(
        c"recvmmsg",
        fn(c_int, *mut mmsghdr, c_uint, c_int, *mut timespec) -> c_int
    );
    // SAFETY: the program's own arguments.
    unsafe {
        receive_many(fd, messages, count, flags, || {
            real(fd, messages, count, flags, timeout)
        })
    }
}

/// recv(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn recv(
    fd: c_int,
    data: *mut c_void,
    count: size_t,
    flags: c_int,
) -> ssize_t {
    let real = behind!(c"recv", fn(c_int, *mut c_void, size_t, c_int) -> ssize_t);
    // SAFETY: the program's own arguments.
    let call = move || unsafe { real(fd, data, count, flags) };
    // SAFETY: as for recv.
    receive_unnamed(fd, flags, call, move || unsafe {
        receive_with_source(fd, data, count, flags)
    })
}

/// Receives with room of ours for the source.
///
/// # Safety
/// As for recv(2).
#[cold]
#[inline(never)]
unsafe fn receive_with_source(
    fd: c_int,
    data: *mut c_void,
    count: size_t,
    flags: c_int,
) -> ssize_t {
    let real = behind!(
        c"recvfrom",
        fn(c_int, *mut c_void, size_t, c_int, *mut sockaddr, *mut socklen_t) -> ssize_t
    );
    // SAFETY: the program's own arguments, or room of ours for an address.
    unsafe {
        with_source(fd, flags, |name, len| {
            real(fd, data, count, flags, name, len)
        })
    }
}

/// recv(2) as programs call it that were compiled with `_FORTIFY_SOURCE`.
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __recv_chk(
    fd: c_int,
    data: *mut c_void,
    count: size_t,
    size: size_t,
    flags: c_int,
) -> ssize_t {
    let real = behind!(
        c"__recv_chk",
        fn(c_int, *mut c_void, size_t, size_t, c_int) -> ssize_t
    );
    // SAFETY: the program's own arguments.
    let call = move || unsafe { real(fd, data, count, size, flags) };
    // The function behind ends a program that has less room than it says.
    receive_unnamed(fd, flags, call, move || match count <= size {
        // SAFETY: as for recv.
        true => unsafe { receive_with_source(fd, data, count, flags) },
        false => call(),
    })
}

/// read(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn read(fd: c_int, data: *mut c_void, count: size_t) -> ssize_t {
    let real = behind!(c"read", fn(c_int, *mut c_void, size_t) -> ssize_t);
    // SAFETY: the program's own arguments.
    let call = move || unsafe { real(fd, data, count) };
    // read(2) of nothing takes nothing, and recv(2) would take a datagram.
    receive_unnamed(fd, 0, call, move || match count {
        0 => call(),
        // SAFETY: as for recv.
        _ => unsafe { receive_with_source(fd, data, count, 0) },
    })
}

/// read(2) by another of its names.
///
/// # Safety
/// As for read(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __read(fd: c_int, data: *mut c_void, count: size_t) -> ssize_t {
    // SAFETY: the program's own arguments.
    unsafe { read(fd, data, count) }
}

/// read(2) as programs call it that were compiled with `_FORTIFY_SOURCE`.
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __read_chk(
    fd: c_int,
    data: *mut c_void,
    count: size_t,
    size: size_t,
) -> ssize_t {
    let real = behind!(
        c"__read_chk",
        fn(c_int, *mut c_void, size_t, size_t) -> ssize_t
    );
    // SAFETY: the program's own arguments.
    let call = move || unsafe { real(fd, data, count, size) };
    receive_unnamed(fd, 0, call, move || match count {
        0 => call(),
        // SAFETY: as for recv.
        _ if count <= size => unsafe { receive_with_source(fd, data, count, 0) },
        _ => call(),
    })
}

/// readv(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn readv(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    let real = behind!(c"readv", fn(c_int, *const iovec, c_int) -> ssize_t);
    // SAFETY: the program's own arguments.
    let call = move || unsafe { real(fd, parts, count) };
    receive_unnamed(fd, 0, call, move || {
        let real = behind!(c"recvmsg", fn(c_int, *mut msghdr, c_int) -> ssize_t);
        // SAFETY: what can be read is read, and the program's own arguments.
        unsafe { parts_with_source(fd, parts, count, |message| real(fd, message, 0)) }
            .unwrap_or_else(call)
    })
}
