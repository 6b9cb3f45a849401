//! sendmsg(2).

use core::ffi::c_int;
use core::mem::transmute;

use aarp_sys::errno;
use aarp_sys::message::{DESCRIPTORS_MAX, descriptors_in, header, own_way};
use aarp_sys::user::is_known_readable;
use libc::{msghdr, sockaddr, ssize_t};

use super::behind;
use super::send::{
    course_at_once, destination, has_failed, may_be_moved, moved_name, send_to, send_to_peer,
};
use crate::datagram;
use crate::datagram::at_once::AtOnce;
use crate::symbols::Symbol;
use crate::{ops, passed, sockets};

/// sendmsg(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sendmsg(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    // SAFETY: the program's own arguments.
    unsafe {
        if !concerns(fd, message, flags) {
            return real_sendmsg()(fd, message, flags);
        }
        sendmsg_ipv6(fd, message, flags)
    }
}

/// Whether sockets that are connected to a U may be sent with a message: over one of IPv6
/// they cannot.
#[inline]
pub(super) fn may_pass_sockets(fd: c_int, message: &msghdr) -> bool {
    message.msg_controllen != 0 && sockets::is_any_pinned() && !sockets::is_known(fd)
}

/// Sockets may be sent with a message.
///
/// # Safety
/// As for sendmsg(2).
#[cold]
#[inline(never)]
pub(super) unsafe fn pass_sockets(message: &msghdr) {
    let mut descriptors = [0; DESCRIPTORS_MAX];
    // SAFETY: by the promise.
    let sent = unsafe { descriptors_in(message, &mut descriptors) };
    passed::sending(descriptors[..sent].iter().copied());
}

/// Whether a message may go elsewhere than to where the program sends it. Who is sent
/// sockets with it may ask the daemon whose they are, which then knows.
///
/// # Safety
/// As for sendmsg(2); the header is only looked at where it can be read.
#[inline]
unsafe fn concerns(fd: c_int, message: *const msghdr, flags: c_int) -> bool {
    // SAFETY: by the promise.
    unsafe {
        datagram::concerns(fd, flags)
            && (ops::is_barred()
                || header(message).is_some_and(|header| {
                    if may_pass_sockets(fd, &header) {
                        pass_sockets(&header);
                    }
                    may_be_moved(fd, header.msg_name.cast(), header.msg_namelen)
                }))
    }
}

/// The rest of [`sendmsg`], as with [`sendto_ipv6`].
///
/// # Safety
/// As for the function of this name.
#[inline(never)]
unsafe extern "C" fn sendmsg_ipv6(fd: c_int, message: *const msghdr, flags: c_int) -> ssize_t {
    let real = real_sendmsg();
    // SAFETY: the program's own arguments, or a copy of them with an address of ours.
    unsafe {
        let Some(copy) =
            header(message).filter(|header| header.msg_controllen == 0 && !ops::is_barred())
        else {
            return sendmsg_by_course::<0>(fd, message, flags);
        };
        let name: *const sockaddr = copy.msg_name.cast_const().cast();
        if name.is_null() || copy.msg_namelen == 0 {
            return send_to_peer(fd, || real(fd, message, flags));
        }
        match course_at_once(fd, name, copy.msg_namelen, flags) {
            Some(AtOnce::Own) => real(fd, message, flags),
            Some(AtOnce::Moved(u)) => {
                let mut moved = moved_name(name, u);
                let copy = msghdr {
                    msg_name: (&raw mut moved).cast(),
                    ..copy
                };
                let saved = errno::get();
                let sent = real(fd, &raw const copy, flags);
                if sent >= 0 || !has_failed(fd, name) {
                    return sent;
                }
                let sent = sendmsg_by_course::<1>(fd, message, flags);
                if sent >= 0 {
                    errno::set(saved);
                }
                sent
            }
            None => sendmsg_by_course::<0>(fd, message, flags),
        }
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
#[cold]
#[inline(never)]
unsafe extern "C" fn sendmsg_by_course<const MADE: usize>(
    fd: c_int,
    message: *const msghdr,
    flags: c_int,
) -> ssize_t {
    let real = real_sendmsg();
    // SAFETY: the program's own arguments, or a copy of them with a whole address of
    // ours.
    unsafe { by_course::<MADE>(fd, message, flags, |message| real(fd, message, flags)) }
}

/// Sends a message by `call`.
///
/// # Safety
/// As for sendmsg(2), which `call` must be.
pub(super) unsafe fn send_by(
    fd: c_int,
    message: *const msghdr,
    flags: c_int,
    call: impl Fn(*const msghdr) -> ssize_t,
) -> ssize_t {
    // SAFETY: the program's own arguments.
    unsafe {
        if concerns(fd, message, flags) {
            by_course::<0>(fd, message, flags, call)
        } else {
            call(message)
        }
    }
}

/// Sends a message where its course has to be looked up, or decided, when so many
/// tries have been `MADE`.
///
/// # Safety
/// As for [`send_by`].
#[inline]
unsafe fn by_course<const MADE: usize>(
    fd: c_int,
    message: *const msghdr,
    flags: c_int,
    call: impl Fn(*const msghdr) -> ssize_t,
) -> ssize_t {
    // SAFETY: the program's own arguments, or a copy of them with a whole address of
    // ours.
    unsafe {
        let Some(copy) = message_of(fd, message) else {
            return call(message);
        };
        let (name, len) = (copy.msg_name.cast_const().cast(), copy.msg_namelen);
        if goes_its_own_way(fd, &copy) {
            return call(message);
        }
        send_to::<MADE>(fd, name, len, flags, |moved, moved_len| {
            if moved == name {
                return call(message);
            }
            let mut copy = copy;
            copy.msg_name = moved.cast_mut().cast();
            copy.msg_namelen = moved_len;
            call(&raw const copy)
        })
    }
}

/// Whether a message says itself from where, or by which way, it is to be sent; that
/// is remembered.
///
/// # Safety
/// As for sendmsg(2).
pub(super) unsafe fn goes_its_own_way(fd: c_int, message: &msghdr) -> bool {
    if message.msg_controllen == 0 || ops::is_barred() || sockets::datagrams(fd).is_none() {
        return false;
    }
    // SAFETY: by the promise.
    unsafe {
        if !own_way(message) {
            return false;
        }
        let name = message.msg_name.cast_const().cast();
        if let Some(to) = destination(fd, name, message.msg_namelen) {
            datagram::own_way(fd, &to);
        }
    }
    true
}

/// A copy of a header; where no system call may be made to see whether it can be
/// read, that of a socket which has pins is.
///
/// # Safety
/// As for sendmsg(2).
pub(super) unsafe fn message_of(fd: c_int, message: *const msghdr) -> Option<msghdr> {
    // SAFETY: by the promise.
    unsafe {
        if ops::is_barred() {
            let known = datagram::may_have_pins(fd)
                && is_known_readable(message.cast(), size_of::<msghdr>());
            return known.then(|| message.read_unaligned());
        }
        header(message)
    }
}
