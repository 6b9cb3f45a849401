//! What becomes of calls that receive, by whatever name: a U is shown as its A.

use core::ffi::{c_int, c_uint};
use core::mem::size_of;

use aarp_sys::errno;
use aarp_sys::message::{MESSAGES_MAX, OwnName, SIN6, offender, path_mtu, written_source};
use aarp_sys::user::{
    is_known_readable, is_known_readable_beside, is_readable, replace_address, room, show_address,
};
use libc::{iovec, mmsghdr, msghdr, sockaddr, socklen_t, ssize_t};

use super::sendmsg::message_of;
use crate::datagram::at_once::{self, Source};
use crate::datagram::{peer, receive as datagrams};
use crate::{ops, passed, sockets};

/// As many places of readv(2) as [`is_readable`] looks at.
const PARTS_LOOKED_AT: usize = 256 / size_of::<iovec>();

/// Receives, and does not ask from where. Nothing is left to be done behind the call
/// where it is none of our business, so that it is a jump: each return that comes
/// behind a system call costs more than all else here (docs/performance.md).
#[inline]
pub(super) fn receive_from_anyone(fd: c_int, flags: c_int, call: impl Fn() -> ssize_t) -> ssize_t {
    if !datagrams::is_watched(fd) && !sockets::is_observed(fd) {
        return call();
    }
    let received = call();
    noted(fd, flags, received);
    received
}

/// The same for a call that has no room for a source. On a socket with several
/// destinations `with_source` takes its place, by which it is noted who answers.
#[inline(always)]
pub(super) fn receive_unnamed(
    fd: c_int,
    flags: c_int,
    call: impl Fn() -> ssize_t,
    with_source: impl FnOnce() -> ssize_t,
) -> ssize_t {
    if !datagrams::is_watched(fd) && !sockets::is_observed(fd) {
        return call();
    }
    receive_watched(fd, flags, call, with_source)
}

/// Away from what is read and is no socket: without it the call behind is a jump.
#[inline(never)]
fn receive_watched(
    fd: c_int,
    flags: c_int,
    call: impl Fn() -> ssize_t,
    with_source: impl FnOnce() -> ssize_t,
) -> ssize_t {
    // A program that has a filter may be permitted no other call than its own.
    if datagrams::needs_source(fd) && !ops::is_barred() {
        return with_source_or_else(fd, with_source, call);
    }
    let received = call();
    noted(fd, flags, received);
    received
}

/// A number that is no socket's has been closed, and given again, where no hook has seen
/// it, or by a thread that has not forgotten it yet: then the program's own call is made.
#[cold]
#[inline(never)]
fn with_source_or_else(
    fd: c_int,
    with_source: impl FnOnce() -> ssize_t,
    call: impl Fn() -> ssize_t,
) -> ssize_t {
    let error = errno::get();
    let received = with_source();
    if received >= 0 || errno::get() != libc::ENOTSOCK {
        return received;
    }
    if !ops::belongs_to_another(fd) {
        sockets::clear(fd);
    }
    errno::set(error);
    call()
}

fn noted(fd: c_int, flags: c_int, received: ssize_t) {
    if !datagrams::is_watched(fd) {
        ops::transferred(fd, received, false);
    } else if flags & libc::MSG_ERRQUEUE != 0 {
        // What comes from there was sent, and is nobody's answer.
    } else if received >= 0 {
        datagrams::received_from_anyone(fd);
    } else {
        peer::error_read(fd, errno::get());
    }
}

/// Receives, and shows A in the place of U.
///
/// # Safety
/// As for recvfrom(2); `call` must write an address and its length as that does.
#[inline]
pub(super) unsafe fn receive_from(
    fd: c_int,
    flags: c_int,
    name: *mut sockaddr,
    len: *mut socklen_t,
    call: impl Fn(*mut sockaddr, *mut socklen_t) -> ssize_t,
) -> ssize_t {
    if name.is_null()
        || len.is_null()
        || !datagrams::is_watched(fd) && !passed::is_watched_from_now(fd)
    {
        return receive_from_anyone(fd, flags, || call(name, len));
    }
    // SAFETY: by the promise.
    unsafe { receive_named(fd, flags, name, len, call) }
}

/// The same where there is room for a name.
///
/// # Safety
/// As for [`receive_from`].
#[inline]
unsafe fn receive_named(
    fd: c_int,
    flags: c_int,
    name: *mut sockaddr,
    len: *mut socklen_t,
    call: impl Fn(*mut sockaddr, *mut socklen_t) -> ssize_t,
) -> ssize_t {
    // SAFETY: what is changed lies where the kernel has just written.
    unsafe {
        // Where nobody may look before the call, a whole name is looked for.
        let is_hidden = ops::is_barred() && !is_known_readable(len.cast(), size_of::<socklen_t>());
        let space = if is_hidden { None } else { room(len) };
        let received = call(name, len);
        if received < 0 || is_hidden && !is_whole_name(name, len.cast()) {
            noted(fd, flags, received);
        } else {
            show(fd, flags, name, space, len.read_unaligned());
        }
        received
    }
}

/// Whether a name can be read of which nobody knows for how much of it there was room, by
/// what is readable `beside`.
fn is_whole_name(name: *const sockaddr, beside: *const u8) -> bool {
    is_known_readable_beside(name.cast(), SIN6 as usize, beside)
}

/// Shows A in the place of a U that the kernel has just written.
///
/// # Safety
/// The kernel must have written a socket address of `len` octets there, or as many of
/// them as there is room for.
#[inline]
unsafe fn show(fd: c_int, flags: c_int, name: *mut sockaddr, room: Option<usize>, len: socklen_t) {
    // SAFETY: by the promise.
    unsafe {
        match room {
            Some(room) if room < SIN6 as usize => {
                datagrams::received_in_part(fd, |u, a| {
                    room > 8 && replace_address(name, room, u, a)
                });
            }
            _ => {
                let Some((source, port)) = written_source(name, len) else {
                    return;
                };
                // From the error queue comes what was sent.
                let at_once = if flags & libc::MSG_ERRQUEUE == 0 {
                    at_once::received(fd, source, port)
                } else {
                    None
                };
                let shown = match at_once {
                    Some(Source::AsItIs) => return,
                    Some(Source::Shown(a)) => Some(a),
                    None => datagrams::received(fd, source, port, flags),
                };
                if let Some(a) = shown {
                    show_address(name, SIN6 as usize, a);
                }
            }
        }
    }
}

/// Receives a message by `call`, and shows A in the place of U.
///
/// # Safety
/// As for recvmsg(2), which `call` must be.
#[inline]
pub(super) unsafe fn receive_message(
    fd: c_int,
    message: *mut msghdr,
    flags: c_int,
    call: impl Fn(*mut msghdr) -> ssize_t,
) -> ssize_t {
    // SAFETY: what is changed lies where the kernel has just written.
    unsafe {
        if !datagrams::is_watched(fd) && !passed::is_watched_from_now(fd) {
            return receive_from_anyone(fd, flags, || call(message));
        }
        if flags & libc::MSG_ERRQUEUE != 0 {
            return receive_error(fd, message, flags, || call(message));
        }
        let Some(copy) = message_of(fd, message) else {
            return receive_unseen(fd, message, flags, call);
        };
        let (name, space) = (copy.msg_name.cast::<sockaddr>(), copy.msg_namelen as usize);
        if name.is_null() && datagrams::needs_source(fd) && !ops::is_barred() {
            return message_with_source(fd, message, flags, call);
        }
        let received = call(message);
        if received == 0 && copy.msg_controllen != 0 && shown_path_mtu(fd, &*message, space) {
        } else if received < 0 || name.is_null() || space == 0 {
            noted(fd, flags, received);
        } else {
            show(fd, flags, name, Some(space), (*message).msg_namelen);
        }
        received
    }
}

/// Receives a message whose header may not be looked at before: there is none, or nobody
/// may find that out. What the kernel has filled in can be read, and a whole name is
/// looked for.
///
/// # Safety
/// As for [`receive_message`].
#[cold]
#[inline(never)]
unsafe fn receive_unseen(
    fd: c_int,
    message: *mut msghdr,
    flags: c_int,
    call: impl Fn(*mut msghdr) -> ssize_t,
) -> ssize_t {
    // SAFETY: what is changed lies where the kernel has just written.
    unsafe {
        let received = call(message);
        if received < 0 {
            noted(fd, flags, received);
        } else {
            show_unseen(fd, message, flags);
        }
        received
    }
}

/// # Safety
/// The kernel must just have written this header, and the name.
#[cold]
unsafe fn show_unseen(fd: c_int, header: *const msghdr, flags: c_int) {
    // SAFETY: by the promise.
    unsafe {
        let message = header.read_unaligned();
        let name = message.msg_name.cast::<sockaddr>();
        if name.is_null() || message.msg_namelen == 0 || !is_whole_name(name, header.cast()) {
            noted(fd, flags, 0);
        } else {
            show(fd, flags, name, None, message.msg_namelen);
        }
    }
}

/// Receives a message by a copy of its header, in which there is room of ours for the
/// source.
///
/// # Safety
/// As for [`receive_message`].
#[cold]
#[inline(never)]
unsafe fn message_with_source(
    fd: c_int,
    message: *mut msghdr,
    flags: c_int,
    call: impl Fn(*mut msghdr) -> ssize_t,
) -> ssize_t {
    let mut name = OwnName::new();
    // SAFETY: what is changed lies where the kernel would have written.
    unsafe {
        let Some(mut copy) = message_of(fd, message) else {
            return call(message);
        };
        copy.msg_name = name.as_mut_ptr().cast();
        copy.msg_namelen = name.len;
        let received = receive_message(fd, &raw mut copy, flags, call);
        if received >= 0 {
            (&raw mut (*message).msg_controllen).write_unaligned(copy.msg_controllen);
            (&raw mut (*message).msg_flags).write_unaligned(copy.msg_flags);
        }
        received
    }
}

/// Receives what has become of a datagram that was sent, and shows A in the place of U:
/// of where it was sent, and of who says so.
///
/// # Safety
/// As for [`receive_message`].
#[cold]
unsafe fn receive_error(
    fd: c_int,
    message: *mut msghdr,
    flags: c_int,
    call: impl Fn() -> ssize_t,
) -> ssize_t {
    // SAFETY: what is changed lies where the kernel has just written.
    unsafe {
        let before = message_of(fd, message);
        let received = call();
        if let (Some(before), 0..) = (before, received) {
            let name = before.msg_name.cast::<sockaddr>();
            if !name.is_null() && before.msg_namelen > 0 {
                let room = before.msg_namelen as usize;
                show(fd, flags, name, Some(room), (*message).msg_namelen);
            }
            show_offender(fd, &*message);
        } else if received >= 0 {
            show_unseen(fd, message, flags);
            show_offender(fd, &*message);
        }
        received
    }
}

/// Shows A in the place of a U that has sent an error.
///
/// # Safety
/// The kernel must just have written the control messages of this header.
#[cold]
unsafe fn show_offender(fd: c_int, message: &msghdr) {
    // SAFETY: by the promise. An offender has no port.
    unsafe {
        if let Some((name, room)) = offender(message) {
            datagrams::told_of_error(fd, |u, a| {
                room > 8 && replace_address(name, room, (u, 0), a)
            });
        }
    }
}

/// Shows A in the place of a U to which a packet was too large (`IPV6_RECVPATHMTU`,
/// RFC 3542, section 11.3): in the control message, and in the name of so many octets,
/// which then has no port. Whether it was told that.
///
/// # Safety
/// The kernel must just have written this header, its name and its control messages.
#[cold]
unsafe fn shown_path_mtu(fd: c_int, message: &msghdr, space: usize) -> bool {
    // SAFETY: by the promise.
    unsafe {
        let Some((told, room)) = path_mtu(message) else {
            return false;
        };
        let name = message.msg_name.cast::<sockaddr>();
        datagrams::told_of_error(fd, |u, a| {
            if !name.is_null() && space > 8 {
                replace_address(name, space, (u, 0), a);
            }
            room > 8 && replace_address(told, room, (u, 0), a)
        });
        true
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
    if !datagrams::is_watched(fd) && !passed::is_watched_from_now(fd) {
        return call();
    }
    /// Nobody may look.
    const UNSEEN: u8 = u8::MAX;
    // The room that each has for a name: none is more than the longest.
    let mut rooms = [0u8; MESSAGES_MAX];
    let seen = (count as usize).min(MESSAGES_MAX);
    for (at, room) in rooms.iter_mut().enumerate().take(seen) {
        // SAFETY: by the promise.
        let message = unsafe { message_of(fd, messages.wrapping_add(at).cast()) };
        let Some(message) = message else {
            if !ops::is_barred() {
                break;
            }
            *room = UNSEEN;
            continue;
        };
        if !message.msg_name.is_null() {
            *room = message.msg_namelen.min(SIN6) as u8;
        }
    }
    let received = call();
    if received < 0 {
        noted(fd, flags, -1);
    }
    for (at, room) in rooms.iter().enumerate().take(received.max(0) as usize) {
        if flags & libc::MSG_ERRQUEUE != 0 {
            // SAFETY: the kernel has just written this message.
            unsafe { show_offender(fd, &(*messages.wrapping_add(at)).msg_hdr) };
        }
        if *room == 0 {
            noted(fd, flags, 0);
            continue;
        }
        // SAFETY: the kernel has just written this header, and the address.
        unsafe {
            if *room == UNSEEN {
                show_unseen(fd, messages.wrapping_add(at).cast(), flags);
                continue;
            }
            let message = (*messages.wrapping_add(at)).msg_hdr;
            let (name, len) = (message.msg_name.cast(), message.msg_namelen);
            show(fd, flags, name, Some((*room).into()), len);
        }
    }
    received
}

/// Receives by a call that gets room of ours for the source.
///
/// # Safety
/// As for [`receive_from`].
#[cold]
#[inline(never)]
pub(super) unsafe fn with_source(
    fd: c_int,
    flags: c_int,
    call: impl Fn(*mut sockaddr, *mut socklen_t) -> ssize_t,
) -> ssize_t {
    let mut name = OwnName::new();
    let mut len = name.len;
    // SAFETY: room of ours for an address.
    unsafe { receive_named(fd, flags, name.as_mut_ptr(), &raw mut len, call) }
}

/// Receives to several places, with room of ours for the source; `None` where readv(2)
/// is something else than recvmsg(2): for none at all, and for places that nobody can
/// read.
///
/// # Safety
/// As for readv(2); `call` must be recvmsg(2).
#[cold]
pub(super) unsafe fn parts_with_source(
    fd: c_int,
    parts: *const iovec,
    count: c_int,
    call: impl Fn(*mut msghdr) -> ssize_t,
) -> Option<ssize_t> {
    let count = usize::try_from(count).ok().filter(|count| *count > 0)?;
    if !is_readable(parts.cast(), count.checked_mul(size_of::<iovec>())?) {
        return None;
    }
    // SAFETY: readable, as was just seen, for as many as are looked at.
    let has_room = |at: usize| unsafe { parts.add(at).read_unaligned() }.iov_len > 0;
    if !(0..count.min(PARTS_LOOKED_AT)).any(has_room) {
        return None;
    }
    let mut name = OwnName::new();
    // SAFETY: zeros are an empty header; the program's own arguments, and room of ours.
    unsafe {
        let mut message: msghdr = core::mem::zeroed();
        message.msg_name = name.as_mut_ptr().cast();
        message.msg_namelen = name.len;
        message.msg_iov = parts.cast_mut();
        message.msg_iovlen = count as _;
        let message = &raw mut message;
        Some(receive_message(fd, message, 0, call))
    }
}
