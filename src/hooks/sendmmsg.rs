//! The call that sends many messages.

use core::ffi::{c_int, c_uint};
use core::mem::transmute;

use aarp_sys::message::{MESSAGES_MAX, SIN6, header};
use aarp_sys::user::is_readable;
use aarp_sys::{errno, socket};
use libc::{mmsghdr, msghdr};

use super::behind;
use super::send::{TRIES, destination, unreachable};
use super::sendmsg::{goes_its_own_way, may_pass_sockets, message_of, pass_sockets};
use crate::connect::closed;
use crate::datagram::{self, Course, peer};
use crate::symbols::Symbol;
use crate::{ops, sockets};

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
    // SAFETY: by the promise.
    let concerns = count > 0
        && datagram::concerns(fd, flags)
        && (sockets::datagrams(fd).is_some() || unsafe { begins_with_ipv6(fd, messages, count) });
    if !concerns {
        return call(messages, count);
    }
    // It takes no more at a time; several calls of ours are to be one of the program's.
    let count = count.min(MESSAGES_MAX as c_uint);
    let mut sent: c_uint = 0;
    while sent < count {
        let part = (count - sent).min(TOGETHER as c_uint);
        let rest = messages.wrapping_add(sent as usize);
        let saved = errno::get();
        // SAFETY: by the promise.
        let result = unsafe { send_some(fd, rest, part, flags, &call) };
        if result < 0 {
            if sent > 0 {
                errno::set(saved);
                break;
            }
            return result;
        }
        sent += result as c_uint;
        if (result as c_uint) < part {
            break;
        }
    }
    sent as c_int
}

/// Whether the first message has an IPv6 address: then it is looked at what the socket
/// is.
///
/// # Safety
/// As for sendmmsg(2).
unsafe fn begins_with_ipv6(fd: c_int, messages: *mut mmsghdr, count: c_uint) -> bool {
    // SAFETY: by the promise.
    unsafe {
        let first = message_of(fd, messages.cast());
        first.is_some_and(|first| {
            if may_pass_sockets(fd, &first) {
                pass_sockets_of_all(messages, count);
            }
            destination(fd, first.msg_name.cast_const().cast(), first.msg_namelen).is_some()
        })
    }
}

/// Sockets may be sent with the first message, and with others.
///
/// # Safety
/// As for sendmmsg(2).
#[cold]
unsafe fn pass_sockets_of_all(messages: *mut mmsghdr, count: c_uint) {
    for at in 0..(count as usize).min(TOGETHER) {
        // SAFETY: by the promise.
        unsafe {
            if let Some(message) = header(messages.wrapping_add(at).cast()) {
                pass_sockets(&message);
            }
        }
    }
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
    let saved = errno::get();
    for turn in 0..TRIES {
        // SAFETY: zeros are empty messages and addresses.
        let (mut copies, mut names): ([mmsghdr; TOGETHER], [libc::sockaddr_in6; TOGETHER]) =
            unsafe { (core::mem::zeroed(), core::mem::zeroed()) };
        let (mut whole, mut moved, mut first) = (count, false, None);
        for at in 0..count as usize {
            let message = messages.wrapping_add(at);
            // SAFETY: by the promise.
            let course = unsafe {
                message_of(fd, message.cast()).map(|copy| (course_of(fd, &copy, flags), copy))
            };
            let course = match course {
                Some((course, copy)) => {
                    copies[at].msg_hdr = copy;
                    course
                }
                // The kernel comes to it, and says so.
                None if at == 0 => return call(messages, count),
                None => Course::Refused,
            };
            match course {
                Course::Own => {}
                Course::Refused if at == 0 => return unreachable() as c_int,
                // Those before it have no socket to go by either.
                Course::Closed => return closed(),
                Course::Refused => {
                    whole = at as c_uint;
                    break;
                }
                Course::Moved(pin) => {
                    let name = copies[at].msg_hdr.msg_name.cast::<libc::sockaddr_in6>();
                    // SAFETY: a whole address, or it would not be moved.
                    names[at] = unsafe { name.read_unaligned() };
                    names[at].sin6_addr.s6_addr = pin.u.octets();
                    copies[at].msg_hdr.msg_name = (&raw mut names[at]).cast();
                    moved = true;
                    if at == 0 {
                        first = Some(pin);
                    }
                }
            }
        }
        let sent = if !moved {
            call(messages, whole)
        } else if are_writable(fd, messages, whole) {
            let sent = call(copies.as_mut_ptr(), whole);
            for (at, copy) in copies.iter().enumerate().take(sent.max(0) as usize) {
                // SAFETY: it can be written to, as was just seen.
                unsafe { (*messages.wrapping_add(at)).msg_len = copy.msg_len };
            }
            sent
        } else {
            // As the kernel does it: a message is sent before it is noted how much of it.
            let sent = call(copies.as_mut_ptr(), 1);
            if sent == 1 && !are_writable(fd, messages, 1) {
                errno::set(libc::EFAULT);
                return -1;
            }
            if sent == 1 {
                // SAFETY: it can be written to, as was just seen.
                unsafe { (*messages).msg_len = copies[0].msg_len };
            }
            sent
        };
        if sent >= 0 && turn > 0 {
            errno::set(saved);
        }
        // What is said where nothing was sent concerns the first.
        let again = match first {
            Some(pin) => sent < 0 && datagram::sending_failed(fd, &pin),
            None => sent < 0 && peer::is_connected(fd) && peer::sending_failed(fd),
        };
        if !again {
            return sent;
        }
    }
    call(messages, 1)
}

/// Whether the kernel could write down how much of each message was sent.
fn are_writable(fd: c_int, messages: *mut mmsghdr, count: c_uint) -> bool {
    let is_writable = |at: c_uint| {
        let message = messages.wrapping_add(at as usize).cast::<u8>();
        let length = message
            .wrapping_add(core::mem::offset_of!(mmsghdr, msg_len))
            .cast::<u32>();
        if !is_readable(length.cast(), size_of::<u32>()) {
            return false;
        }
        // SAFETY: readable, and then also writable, as was just seen.
        unsafe {
            let before = length.read_unaligned();
            let writable = socket::is_writable(fd, length);
            if writable {
                length.write_unaligned(before);
            }
            writable
        }
    };
    ops::is_barred() || is_writable(0) && is_writable(count.saturating_sub(1))
}

/// Where one of many messages goes.
///
/// # Safety
/// As for sendmmsg(2).
unsafe fn course_of(fd: c_int, message: &msghdr, flags: c_int) -> Course {
    if message.msg_name.is_null() || message.msg_namelen == 0 {
        return peer::sending(fd);
    }
    // A whole address: a shorter one is left as it is.
    // SAFETY: by the promise.
    unsafe {
        if goes_its_own_way(fd, message) {
            return Course::Own;
        }
        let to = destination(
            fd,
            message.msg_name.cast_const().cast(),
            message.msg_namelen,
        );
        match to.filter(|to| to.len >= SIN6) {
            Some(to) => datagram::course(fd, &to, flags),
            None => Course::Own,
        }
    }
}
