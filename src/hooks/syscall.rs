//! syscall(2), used as a function for the calls that have a hook by name.

use core::ffi::{c_int, c_long, c_uint, c_ulong};
use core::mem::transmute;

use libc::{mmsghdr, sockaddr, socklen_t, ssize_t};

use super::{
    alternate_stack_by, behind, connections, descriptors, receiving, send, sendmmsg, sendmsg,
};
use crate::datagram::receive as datagrams;
use crate::symbols::Symbol;
use crate::{namespace, ops, passed, sockets};

type Call = unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;

#[inline]
fn real_syscall() -> Call {
    behind!(
        c"syscall",
        fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long
    )
}

/// syscall(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    // SAFETY: the program's own arguments.
    unsafe {
        if !is_hooked(number) {
            return real_syscall()(number, a, b, c, d, e, f);
        }
        hooked(number, a, b, c, d, e, f)
    }
}

/// The calls that are looked at, each a bit by its number.
static HOOKED: [u64; WORDS] = {
    let numbers = [
        libc::SYS_bind,
        libc::SYS_accept,
        libc::SYS_accept4,
        libc::SYS_chroot,
        libc::SYS_close,
        libc::SYS_close_range,
        libc::SYS_connect,
        libc::SYS_dup,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_dup2,
        libc::SYS_dup3,
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_fcntl,
        libc::SYS_getpeername,
        libc::SYS_getsockopt,
        libc::SYS_ioctl,
        libc::SYS_pivot_root,
        libc::SYS_prctl,
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_recvfrom,
        libc::SYS_recvmmsg,
        libc::SYS_recvmsg,
        libc::SYS_seccomp,
        libc::SYS_sendmmsg,
        libc::SYS_sendmsg,
        libc::SYS_sendto,
        libc::SYS_setns,
        libc::SYS_setsockopt,
        libc::SYS_sigaltstack,
        libc::SYS_socket,
        libc::SYS_unshare,
        libc::SYS_write,
        libc::SYS_writev,
    ];
    let mut words = [0; WORDS];
    let mut at = 0;
    while at < numbers.len() {
        let number = numbers[at] as usize;
        words[number / 64] |= 1 << (number % 64);
        at += 1;
    }
    words
};
const WORDS: usize = 7;

#[inline]
fn is_hooked(number: c_long) -> bool {
    let number = number as usize;
    HOOKED
        .get(number / 64)
        .is_some_and(|word| word >> (number % 64) & 1 != 0)
}

/// The rest of [`syscall`], as with the others: without it the call behind is a jump.
///
/// # Safety
/// As for the function of this name.
#[inline(never)]
unsafe extern "C" fn hooked(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    let real = real_syscall();
    let fd = a as c_int;
    let (pointer, flags) = (b as *mut sockaddr, d as c_int);
    // SAFETY: the program's own arguments, which are those of the call with this number;
    // or an address or messages of ours in their place.
    unsafe {
        let call = || real(number, a, b, c, d, e, f);
        let short = || call() as c_int;
        match number {
            libc::SYS_connect => {
                connections::connect_by(fd, pointer, c as socklen_t, |name, len| {
                    real(number, a, name as c_long, len.into(), d, e, f) as c_int
                })
                .into()
            }
            libc::SYS_getpeername => {
                connections::peer_by(fd, pointer, c as *mut socklen_t, |name, len| {
                    real(number, a, name as c_long, len as c_long, d, e, f) as c_int
                })
                .into()
            }
            libc::SYS_getsockopt => {
                let (value, len) = (d as *mut _, e as *mut socklen_t);
                connections::option_by(fd, b as c_int, c as c_int, value, len, short).into()
            }
            libc::SYS_sendto => {
                let (name, len) = (e as *const sockaddr, f as socklen_t);
                if !send::may_be_moved(fd, name, len) {
                    return call();
                }
                send::send_to::<0>(fd, name, len, flags, |name, len| {
                    real(number, a, b, c, d, name as c_long, len.into()) as ssize_t
                }) as c_long
            }
            libc::SYS_sendmsg => sendmsg::send_by(fd, b as *const _, c as c_int, |message| {
                real(number, a, message as c_long, c, d, e, f) as ssize_t
            }) as c_long,
            libc::SYS_sendmmsg => sendmmsg::send_many(
                fd,
                b as *mut mmsghdr,
                c as c_uint,
                flags,
                |messages, count| {
                    real(number, a, messages as c_long, count.into(), d, e, f) as c_int
                },
            )
            .into(),
            libc::SYS_write | libc::SYS_writev if sockets::is_observed(fd) => {
                send::send_to_peer(fd, || call() as ssize_t) as c_long
            }
            libc::SYS_read => {
                let from = |name: *mut sockaddr, len: *mut socklen_t| {
                    let (name, len) = (name as c_long, len as c_long);
                    real(libc::SYS_recvfrom, a, b, c, 0, name, len) as ssize_t
                };
                let call = || call() as ssize_t;
                receiving::receive_unnamed(fd, 0, call, || match c {
                    0 => call(),
                    _ => receiving::with_source(fd, 0, from),
                }) as c_long
            }
            libc::SYS_readv => receiving::receive_unnamed(
                fd,
                0,
                || call() as ssize_t,
                || {
                    let received =
                        receiving::parts_with_source(fd, b as *const _, c as c_int, |m| {
                            real(libc::SYS_recvmsg, a, m as c_long, 0, 0, 0, 0) as ssize_t
                        });
                    received.unwrap_or_else(|| call() as ssize_t)
                },
            ) as c_long,
            libc::SYS_recvfrom => {
                let (name, len) = (e as *mut sockaddr, f as *mut socklen_t);
                let from = |name: *mut sockaddr, len: *mut socklen_t| {
                    real(number, a, b, c, d, name as c_long, len as c_long) as ssize_t
                };
                if name.is_null() && datagrams::needs_source(fd) {
                    return receiving::with_source(fd, flags, from) as c_long;
                }
                receiving::receive_from(fd, flags, name, len, from) as c_long
            }
            libc::SYS_recvmsg => {
                receiving::receive_message(fd, b as *mut _, c as c_int, |message| {
                    real(number, a, message as c_long, c, d, e, f) as ssize_t
                }) as c_long
            }
            libc::SYS_recvmmsg => {
                receiving::receive_many(fd, b as *mut mmsghdr, c as c_uint, flags, short).into()
            }
            _ => descriptor_hooked(number, [a, b, c], call),
        }
    }
}

/// What is left: calls of which something follows for a descriptor, and those that
/// change what the process may do.
///
/// # Safety
/// As for syscall(2); `call` must be it, with these arguments at its beginning.
#[inline]
unsafe fn descriptor_hooked(
    number: c_long,
    [a, b, c]: [c_long; 3],
    call: impl Fn() -> c_long,
) -> c_long {
    let fd = a as c_int;
    let mut replaced = None;
    match number {
        libc::SYS_ioctl => {
            let short = || call() as c_int;
            // SAFETY: by the promise.
            return unsafe { descriptors::ioctl_by(fd, b as c_ulong, c as *mut _, short) }.into();
        }
        libc::SYS_prctl if a == c_long::from(libc::PR_SET_SECCOMP) => {
            return ops::install_filter(call);
        }
        libc::SYS_sigaltstack => {
            let short = || call() as c_int;
            // SAFETY: by the promise.
            return unsafe { alternate_stack_by(a as *const _, short) }.into();
        }
        // The operations that only ask have higher numbers.
        libc::SYS_seccomp if (0..=1).contains(&a) => return ops::install_filter(call),
        libc::SYS_chroot | libc::SYS_pivot_root => ops::changing_root(),
        libc::SYS_execve | libc::SYS_execveat => passed::before_exec(),
        libc::SYS_close => return ops::close_by(fd, call),
        libc::SYS_close_range if ops::closes_range(c as u32) => {
            ops::closing_range(a as u32, b as u32);
        }
        libc::SYS_dup3 => replaced = ops::replacing(fd, b as c_int),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_dup2 => replaced = ops::replacing(fd, b as c_int),
        _ => {}
    }
    let result = call();
    let short = result as c_int;
    match number {
        libc::SYS_socket => ops::opened(short, a as c_int, b as c_int, c as c_int),
        libc::SYS_accept | libc::SYS_accept4 => ops::accepted(short),
        libc::SYS_bind if short == 0 => ops::bound(fd),
        libc::SYS_setsockopt if short == 0 => ops::option_set(fd, b as c_int, c as c_int),
        libc::SYS_dup | libc::SYS_dup3 => ops::replaced(fd, short, replaced),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_dup2 => ops::replaced(fd, short, replaced),
        libc::SYS_setns if short == 0 => namespace::entered(b as c_int),
        libc::SYS_unshare if short == 0 => namespace::left(a as c_int),
        libc::SYS_fcntl => ops::controlled(fd, b as c_int, c, short),
        _ => {}
    }
    result
}
