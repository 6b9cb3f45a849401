//! The calls that send and receive.

use core::cell::Cell;
use core::ffi::{c_int, c_uint, c_void};
use core::mem::transmute;

use aarp_sys::errno;
use aarp_sys::message::{MESSAGES_MAX, OwnName, SIN6, header, written_source};
use aarp_sys::user::{SocketAddress, family, is_readable, room, show_address, socket_address};
use libc::{iovec, mmsghdr, msghdr, size_t, sockaddr, socklen_t, ssize_t, timespec};

use super::behind;
use crate::connect::with_address;
use crate::datagram::{self, Course};
use crate::symbols::Symbol;
use crate::{connect as life, ops, sockets};

/// The times that a datagram is sent before the program hears of a failure: to two
/// Us, and to A itself.
const TRIES: usize = 3;

fn unreachable() -> ssize_t {
    errno::set(libc::EHOSTUNREACH);
    -1
}

/// Sends without a destination: to what the socket is connected to, if it is.
#[inline]
fn send_to_peer(fd: c_int, call: impl Fn() -> ssize_t) -> ssize_t {
    if !sockets::is_observed(fd) {
        return call();
    }
    if !datagram::is_connected(fd) {
        let sent = call();
        ops::transferred(fd, sent, true);
        return sent;
    }
    for _ in 1..TRIES {
        if !datagram::sending_connected(fd) {
            return unreachable();
        }
        let sent = call();
        if sent >= 0 || !datagram::sending_failed(fd) {
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
unsafe fn destination(fd: c_int, name: *const sockaddr, len: socklen_t) -> Option<SocketAddress> {
    // SAFETY: the address is copied only as far as it can be read. Where no system
    // call may be made to find that out, only what is needed is read: the address of
    // a program that has sent to it before.
    unsafe {
        if ops::is_barred() {
            let whole = datagram::may_have_pins(fd) && len == SIN6;
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

/// Sends to a destination, if there is one.
///
/// # Safety
/// As for sendto(2); `call` must take an address.
#[inline]
unsafe fn send_to(
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
    if flags & libc::MSG_FASTOPEN != 0 && !ops::is_barred() && sockets::is_stream(fd) {
        return open_fast(fd, &to, call);
    }
    for _ in 0..TRIES {
        match datagram::course(fd, &to, flags) {
            Course::Own => break,
            Course::Refused => return unreachable(),
            Course::Moved(pin) => {
                let moved = with_address(&to, pin.u);
                let sent = call(moved.as_ptr(), moved.len_of_copy());
                if sent >= 0 || !datagram::sending_failed(fd) {
                    return sent;
                }
            }
        }
    }
    call(name, len)
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
unsafe fn may_be_moved(fd: c_int, name: *const sockaddr, len: socklen_t) -> bool {
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
        sendto_by_course(fd, data, count, flags, name, len)
    }
}

/// The rest of [`sendto`], for which there is room on the stack: without it the call
/// behind is a jump.
///
/// # Safety
/// As for the function of this name.
#[inline(never)]
unsafe extern "C" fn sendto_by_course(
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
        send_to(fd, name, len, flags, |name, len| {
            real(fd, data, count, flags, name, len)
        })
    }
}

/// sendmsg(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    let real = real_sendmsg();
    // SAFETY: the program's own arguments; the header is only looked at where it can
    // be read.
    unsafe {
        let concerns = datagram::concerns(fd, flags)
            && (ops::is_barred()
                || header(message).is_some_and(|header| {
                    may_be_moved(fd, header.msg_name.cast(), header.msg_namelen)
                }));
        if !concerns {
            return real(fd, message, flags);
        }
        sendmsg_by_course(fd, message, flags)
    }
}

#[inline]
fn real_sendmsg() -> unsafe extern "C" fn(c_int, *const msghdr, c_int) -> ssize_t {
    behind!(c"sendmsg", fn(c_int, *const msghdr, c_int) -> ssize_t)
}

/// The rest of [`sendmsg`], as with [`sendto_by_course`].
///
/// # Safety
/// As for the function of this name.
#[inline(never)]
unsafe extern "C" fn sendmsg_by_course(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    let real = real_sendmsg();
    // SAFETY: the program's own arguments, or a copy of them with a whole address of
    // ours.
    unsafe {
        let Some(copy) = message_of(fd, message) else {
            return real(fd, message, flags);
        };
        let (name, len) = (copy.msg_name.cast_const().cast(), copy.msg_namelen);
        send_to(fd, name, len, flags, |moved, moved_len| {
            if moved == name {
                return real(fd, message, flags);
            }
            let mut copy = copy;
            copy.msg_name = moved.cast_mut().cast();
            copy.msg_namelen = moved_len;
            real(fd, &raw const copy, flags)
        })
    }
}

/// A copy of a header; where no system call may be made to see whether it can be
/// read, that of a socket which has pins is.
///
/// # Safety
/// As for sendmsg(2).
unsafe fn message_of(fd: c_int, message: *const msghdr) -> Option<msghdr> {
    // SAFETY: by the promise.
    unsafe {
        if ops::is_barred() {
            let known = datagram::may_have_pins(fd) && !message.is_null();
            return known.then(|| message.read_unaligned());
        }
        header(message)
    }
}

/// How many messages are looked at before they are sent together.
const TOGETHER: usize = 16;

/// sendmmsg(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendmmsg(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
) -> c_int {
    let real = behind!(c"sendmmsg", fn(c_int, *mut mmsghdr, c_uint, c_int) -> c_int);
    // SAFETY: the program's own arguments.
    unsafe {
        send_many(fd, messages, count, flags, |messages, count| {
            real(fd, messages, count, flags)
        })
    }
}

/// Sends many messages.
///
/// # Safety
/// As for sendmmsg(2); `call` must be it.
pub(super) unsafe fn send_many(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
    call: impl Fn(*mut mmsghdr, c_uint) -> c_int,
) -> c_int {
    if count == 0 || !datagram::concerns(fd, flags) {
        return call(messages, count);
    }
    let mut sent: c_uint = 0;
    while sent < count {
        let part = (count - sent).min(TOGETHER as c_uint);
        // SAFETY: by the promise.
        let result =
            unsafe { send_some(fd, messages.wrapping_add(sent as usize), part, flags, &call) };
        if result < 0 {
            return if sent == 0 { result } else { sent as c_int };
        }
        sent += result as c_uint;
        if (result as c_uint) < part {
            break;
        }
    }
    sent as c_int
}

/// Sends up to [`TOGETHER`] messages by one call.
///
/// # Safety
/// As for sendmmsg(2).
unsafe fn send_some(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
    call: &impl Fn(*mut mmsghdr, c_uint) -> c_int,
) -> c_int {
    for _ in 0..TRIES {
        // SAFETY: zeros are empty messages and addresses.
        let (mut copies, mut names): ([mmsghdr; TOGETHER], [libc::sockaddr_in6; TOGETHER]) =
            unsafe { (core::mem::zeroed(), core::mem::zeroed()) };
        let (mut whole, mut moved) = (count, false);
        for at in 0..count as usize {
            let message = messages.wrapping_add(at);
            // SAFETY: by the promise.
            let Some(copy) = (unsafe { message_of(fd, message.cast()) }) else {
                // The kernel comes to it, and says so.
                return call(messages, count);
            };
            copies[at].msg_hdr = copy;
            // SAFETY: by the promise.
            match unsafe { course_of(fd, &copy, flags) } {
                Course::Own => {}
                Course::Refused if at == 0 => return unreachable() as c_int,
                Course::Refused => {
                    whole = at as c_uint;
                    break;
                }
                Course::Moved(pin) => {
                    // SAFETY: it has an address, or it would not be moved.
                    unsafe {
                        names[at] = copy.msg_name.cast::<libc::sockaddr_in6>().read_unaligned()
                    };
                    names[at].sin6_addr.s6_addr = pin.u.octets();
                    copies[at].msg_hdr.msg_name = (&raw mut names[at]).cast();
                    moved = true;
                }
            }
        }
        if !moved {
            let sent = call(messages, whole);
            if sent >= 0 || !datagram::is_connected(fd) || !datagram::sending_failed(fd) {
                return sent;
            }
            continue;
        }
        let sent = call(copies.as_mut_ptr(), whole);
        for (at, copy) in copies.iter().enumerate().take(sent.max(0) as usize) {
            // SAFETY: the kernel would have written there.
            unsafe { (*messages.wrapping_add(at)).msg_len = copy.msg_len };
        }
        if sent >= 0 || !datagram::sending_failed(fd) {
            return sent;
        }
    }
    call(messages, count)
}

/// Where one of many messages goes.
///
/// # Safety
/// As for sendmmsg(2).
unsafe fn course_of(fd: c_int, message: &msghdr, flags: c_int) -> Course {
    if message.msg_name.is_null() || message.msg_namelen == 0 {
        return if datagram::sending_connected(fd) {
            Course::Own
        } else {
            Course::Refused
        };
    }
    // A whole address: a shorter one is left as it is.
    // SAFETY: by the promise.
    let to = unsafe {
        destination(
            fd,
            message.msg_name.cast_const().cast(),
            message.msg_namelen,
        )
    };
    match to.filter(|to| to.len >= SIN6) {
        Some(to) => datagram::course(fd, &to, flags),
        None => Course::Own,
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
    let real = behind!(c"send", fn(c_int, *const c_void, size_t, c_int) -> ssize_t);
    // SAFETY: the program's own arguments.
    send_to_peer(fd, || unsafe { real(fd, data, count, flags) })
}

/// write(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(fd: c_int, data: *const c_void, count: size_t) -> ssize_t {
    let real = behind!(c"write", fn(c_int, *const c_void, size_t) -> ssize_t);
    // SAFETY: the program's own arguments.
    send_to_peer(fd, || unsafe { real(fd, data, count) })
}

/// writev(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn writev(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    let real = behind!(c"writev", fn(c_int, *const iovec, c_int) -> ssize_t);
    // SAFETY: the program's own arguments.
    send_to_peer(fd, || unsafe { real(fd, parts, count) })
}

/// Receives, and does not ask from where. Nothing is left to be done behind the call
/// where it is none of our business, so that it is a jump: each return that comes
/// behind a system call costs more than all else here (docs/performance.md).
#[inline]
fn receive_from_anyone(fd: c_int, call: impl Fn() -> ssize_t) -> ssize_t {
    if !datagram::is_watched(fd) && !sockets::is_observed(fd) {
        return call();
    }
    let received = call();
    noted(fd, received);
    received
}

fn noted(fd: c_int, received: ssize_t) {
    if !datagram::is_watched(fd) {
        ops::transferred(fd, received, false);
    } else if received >= 0 {
        datagram::received_from_anyone(fd);
    } else {
        datagram::error_read(fd, errno::get());
    }
}

/// Receives, and shows A in the place of U.
///
/// # Safety
/// As for recvfrom(2); `call` must write an address and its length as that does.
#[inline]
unsafe fn receive_from(
    fd: c_int,
    flags: c_int,
    name: *mut sockaddr,
    len: *mut socklen_t,
    call: impl Fn(*mut sockaddr, *mut socklen_t) -> ssize_t,
) -> ssize_t {
    if !datagram::is_watched(fd) {
        return receive_from_anyone(fd, || call(name, len));
    }
    if name.is_null() || len.is_null() {
        return receive_from_anyone(fd, || call(name, len));
    }
    // SAFETY: what is changed lies where the kernel has just written.
    unsafe {
        let barred = ops::is_barred();
        let space = if barred {
            Some(SIN6 as usize)
        } else {
            room(len)
        };
        match space {
            Some(space) if space < SIN6 as usize => {
                let mut own = OwnName::new();
                let mut own_len = own.len;
                let received = call(own.as_mut_ptr(), &raw mut own_len);
                own.len = own_len;
                if received >= 0 {
                    show(fd, flags, own.as_mut_ptr(), own.len);
                    if is_readable(name.cast(), space) {
                        own.copy_to(name, space);
                    }
                    len.write_unaligned(own.len);
                } else {
                    noted(fd, received);
                }
                received
            }
            _ => {
                let received = call(name, len);
                if received < 0 {
                    noted(fd, received);
                } else {
                    show(fd, flags, name, len.read_unaligned());
                }
                received
            }
        }
    }
}

/// Shows A in the place of a U that the kernel has just written.
///
/// # Safety
/// The kernel must have written a socket address of `len` octets there.
#[inline]
unsafe fn show(fd: c_int, flags: c_int, name: *mut sockaddr, len: socklen_t) {
    // SAFETY: by the promise.
    unsafe {
        if let Some((source, port)) = written_source(name, len)
            && let Some(a) = datagram::received(fd, source, port, flags)
        {
            show_address(name, SIN6 as usize, a);
        }
    }
}

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
    // SAFETY: as for recvfrom.
    unsafe {
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
    // SAFETY: the program's own arguments, or a copy with room of ours for an address;
    // what is changed lies where the kernel has just written.
    unsafe {
        if !datagram::is_watched(fd) {
            return receive_from_anyone(fd, || real(fd, message, flags));
        }
        let Some(mut copy) = message_of(fd, message) else {
            return real(fd, message, flags);
        };
        let (name, space) = (copy.msg_name.cast::<sockaddr>(), copy.msg_namelen);
        if name.is_null() || space == 0 {
            return receive_from_anyone(fd, || real(fd, message, flags));
        }
        if space >= SIN6 {
            let received = real(fd, message, flags);
            if received < 0 {
                noted(fd, received);
            } else {
                show(fd, flags, name, (*message).msg_namelen);
            }
            return received;
        }
        let mut own = OwnName::new();
        copy.msg_name = own.as_mut_ptr().cast();
        copy.msg_namelen = own.len;
        let received = real(fd, &raw mut copy, flags);
        if received < 0 {
            noted(fd, received);
            return received;
        }
        own.len = copy.msg_namelen;
        show(fd, flags, own.as_mut_ptr(), own.len);
        if ops::is_barred() || is_readable(name.cast(), space as usize) {
            own.copy_to(name, space as usize);
        }
        (*message).msg_namelen = copy.msg_namelen;
        (*message).msg_controllen = copy.msg_controllen;
        (*message).msg_flags = copy.msg_flags;
        received
    }
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

/// Receives many messages.
///
/// # Safety
/// As for recvmmsg(2); `call` must be it.
pub(super) unsafe fn receive_many(
    fd: c_int,
    messages: *mut mmsghdr,
    count: c_uint,
    flags: c_int,
    call: impl Fn() -> c_int,
) -> c_int {
    if !datagram::is_watched(fd) {
        return call();
    }
    // Those with room for a whole address.
    let mut rooms = [0u64; MESSAGES_MAX / 64];
    let seen = (count as usize).min(MESSAGES_MAX);
    for at in 0..seen {
        // SAFETY: by the promise.
        let Some(message) = (unsafe { message_of(fd, messages.wrapping_add(at).cast()) }) else {
            break;
        };
        if !message.msg_name.is_null() && message.msg_namelen >= SIN6 {
            rooms[at / 64] |= 1 << (at % 64);
        }
    }
    let received = call();
    if received <= 0 {
        if received < 0 {
            noted(fd, -1);
        }
        return received;
    }
    for at in 0..(received as usize).min(seen) {
        if rooms[at / 64] >> (at % 64) & 1 != 0 {
            // SAFETY: the kernel has just written this header, and the address.
            unsafe {
                let message = (*messages.wrapping_add(at)).msg_hdr;
                show(fd, flags, message.msg_name.cast(), message.msg_namelen);
            }
        } else {
            datagram::received_from_anyone(fd);
        }
    }
    received
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
    receive_from_anyone(fd, || unsafe { real(fd, data, count, flags) })
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
    receive_from_anyone(fd, || unsafe { real(fd, data, count, size, flags) })
}

/// read(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn read(fd: c_int, data: *mut c_void, count: size_t) -> ssize_t {
    let real = behind!(c"read", fn(c_int, *mut c_void, size_t) -> ssize_t);
    // SAFETY: the program's own arguments.
    receive_from_anyone(fd, || unsafe { real(fd, data, count) })
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
    receive_from_anyone(fd, || unsafe { real(fd, data, count, size) })
}

/// readv(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn readv(fd: c_int, parts: *const iovec, count: c_int) -> ssize_t {
    let real = behind!(c"readv", fn(c_int, *const iovec, c_int) -> ssize_t);
    // SAFETY: the program's own arguments.
    receive_from_anyone(fd, || unsafe { real(fd, parts, count) })
}
