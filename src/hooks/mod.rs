//! One table of C functions, no logic: each hands its arguments to the module that
//! knows what the call means, together with the function behind it.
//!
//! The hooks are `extern "C"` and have nothing to drop, so that a forced unwind
//! (pthread_cancel in the function behind) passes through their frames as through
//! those of C; docs/adr/0001.
#![allow(unsafe_code)]
// They are exported by their names, whatever this module is to others.
#![allow(unreachable_pub, non_upper_case_globals)]

mod names;
mod receive;
mod send;
mod sendmmsg;
mod sendmsg;

use core::ffi::{c_char, c_int, c_long, c_uint, c_ulong, c_void};
use core::mem::transmute;

use aarp_sys::message::SIN6;
use aarp_sys::user::{family, replace_address, room, room_by, socket_address};
use libc::{sockaddr, socklen_t};

use crate::ops::RawCall;
use crate::symbols::Symbol;
use crate::{connect as life, ops, report, sockets};

/// Declares the symbol behind a hook, and its type.
macro_rules! behind {
    ($name:literal, fn($($argument:ty),*) -> $result:ty) => {{
        static SYMBOL: Symbol = Symbol::new($name);
        // SAFETY: the function with this name has this type.
        #[allow(unused_unsafe)]
        unsafe { transmute::<usize, unsafe extern "C" fn($($argument),*) -> $result>(SYMBOL.address()) }
    }};
}

use behind;

/// connect(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn connect(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    let real = real_connect();
    // SAFETY: the address is copied only as far as it can be read; the call
    // behind gets either the program's own arguments or a whole address of ours.
    unsafe {
        if ops::is_barred() {
            ops::barred_connect(len);
            return connect_elsewhere(fd, address, len);
        }
        if family(address, len) != Some(libc::AF_INET6 as u16) {
            if sockets::is_observed(fd) {
                return connect_elsewhere(fd, address, len);
            }
            return real(fd, address, len);
        }
        connect_ipv6(fd, address, len)
    }
}

#[inline]
fn real_connect() -> unsafe extern "C" fn(c_int, *const sockaddr, socklen_t) -> c_int {
    behind!(c"connect", fn(c_int, *const sockaddr, socklen_t) -> c_int)
}

/// connect() past us, on a socket of which something is known.
///
/// # Safety
/// As for the function of this name.
#[cold]
unsafe extern "C" fn connect_elsewhere(
    fd: c_int,
    address: *const sockaddr,
    len: socklen_t,
) -> c_int {
    let real = real_connect();
    // SAFETY: the program's own arguments.
    let result = unsafe { real(fd, address, len) };
    if result == 0 {
        ops::connected_elsewhere(fd);
    }
    result
}

/// The rest of [`connect`], for which there is room on the stack: without it the call
/// behind is a jump.
///
/// # Safety
/// As for the function of this name.
#[inline(never)]
unsafe extern "C" fn connect_ipv6(fd: c_int, address: *const sockaddr, len: socklen_t) -> c_int {
    let real = real_connect();
    // SAFETY: as above.
    unsafe {
        match socket_address(address, len) {
            Some(to) => life::connect(fd, &to, |to| {
                real(fd, (&raw const to.raw).cast(), to.len.min(28))
            }),
            None => real(fd, address, len),
        }
    }
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

/// close(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    let real = behind!(c"close", fn(c_int) -> c_int);
    ops::closing(fd);
    // SAFETY: no pointers.
    unsafe { real(fd) }
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
    let Some((u, a)) = ops::hidden_peer(fd) else {
        // SAFETY: the program's own arguments.
        return unsafe { real(fd, address, len) };
    };
    // SAFETY: the program's own arguments; what is changed lies where the call
    // behind has just written.
    unsafe {
        let room = if ops::is_barred() {
            room_by(len, |name, len| real(fd, name, len))
        } else {
            room(len)
        };
        let result = real(fd, address, len);
        if let (0, Some(room)) = (result, room) {
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
    let call = || unsafe { real(fd, level, name, value, len) };
    if level != libc::SOL_SOCKET || name != libc::SO_ERROR || !ops::may_have_failed(fd) {
        return call();
    }
    let result = call();
    if result == 0 {
        // SAFETY: the call behind has just written there.
        unsafe {
            if *len as usize == size_of::<c_int>() {
                ops::socket_error(fd, value.cast::<c_int>().read_unaligned());
            }
        }
    }
    result
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

/// dup(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup(fd: c_int) -> c_int {
    let real = behind!(c"dup", fn(c_int) -> c_int);
    // SAFETY: no pointers.
    let copy = unsafe { real(fd) };
    ops::duplicated(fd, copy);
    copy
}

/// dup2(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup2(fd: c_int, to: c_int) -> c_int {
    let real = behind!(c"dup2", fn(c_int, c_int) -> c_int);
    ops::replacing(fd, to);
    // SAFETY: no pointers.
    let copy = unsafe { real(fd, to) };
    ops::duplicated(fd, copy);
    copy
}

/// dup3(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup3(fd: c_int, to: c_int, flags: c_int) -> c_int {
    let real = behind!(c"dup3", fn(c_int, c_int, c_int) -> c_int);
    ops::replacing(fd, to);
    // SAFETY: no pointers.
    let copy = unsafe { real(fd, to, flags) };
    ops::duplicated(fd, copy);
    copy
}

/// The commands of fcntl(2) that mean something to us.
///
/// # Safety
/// As for fcntl(2), which `real` must be.
#[inline(never)]
unsafe fn control(
    fd: c_int,
    command: c_int,
    argument: c_long,
    real: unsafe extern "C" fn(c_int, c_int, c_long) -> c_int,
) -> c_int {
    // SAFETY: the program's own arguments.
    let result = unsafe { real(fd, command, argument) };
    ops::controlled(fd, command, argument, result);
    result
}

/// fcntl(2). Its third argument is variadic in C; on x86-64 and AArch64 it travels
/// as a fixed one does.
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcntl(fd: c_int, command: c_int, argument: c_long) -> c_int {
    let real = behind!(c"fcntl", fn(c_int, c_int, c_long) -> c_int);
    if ops::is_command_of_interest(command) {
        // SAFETY: by the promise.
        return unsafe { control(fd, command, argument, real) };
    }
    // SAFETY: the program's own arguments.
    unsafe { real(fd, command, argument) }
}

/// fcntl64, which programs built with 64-bit file offsets call.
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fcntl64(fd: c_int, command: c_int, argument: c_long) -> c_int {
    let real = behind!(c"fcntl64", fn(c_int, c_int, c_long) -> c_int);
    if ops::is_command_of_interest(command) {
        // SAFETY: by the promise.
        return unsafe { control(fd, command, argument, real) };
    }
    // SAFETY: the program's own arguments.
    unsafe { real(fd, command, argument) }
}

/// ioctl(2); as for [`fcntl`].
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ioctl(fd: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    let real = behind!(c"ioctl", fn(c_int, c_ulong, *mut c_void) -> c_int);
    // SAFETY: the program's own arguments.
    let result = unsafe { real(fd, request, argument) };
    if result == 0 && request == libc::FIONBIO as c_ulong {
        // SAFETY: the call behind has just read an integer there.
        ops::nonblocking_set(
            fd,
            unsafe { argument.cast::<c_int>().read_unaligned() } != 0,
        );
    }
    result
}

/// prctl(2), by which a program may install a seccomp filter.
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn prctl(
    option: c_int,
    a: c_ulong,
    b: c_ulong,
    c: c_ulong,
    d: c_ulong,
) -> c_int {
    let real = behind!(
        c"prctl",
        fn(c_int, c_ulong, c_ulong, c_ulong, c_ulong) -> c_int
    );
    // SAFETY: the program's own arguments.
    let call = || unsafe { real(option, a, b, c, d) };
    if option == libc::PR_SET_SECCOMP {
        return ops::install_filter(call);
    }
    call()
}

/// syscall(2), by which a program may install a seccomp filter.
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
    let real = behind!(
        c"syscall",
        fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long
    );
    // SAFETY: the program's own arguments.
    let call = || unsafe { real(number, a, b, c, d, e, f) };
    match ops::raw_call(number, a, b, c) {
        RawCall::Other => {}
        RawCall::Filter => return ops::install_filter(call),
        RawCall::Close(fd) => ops::closing(fd),
        RawCall::CloseRange(first, last) => ops::closing_range(first, last),
        RawCall::Root => ops::changing_root(),
        RawCall::Connect(fd) => ops::connecting_past_us(fd),
        RawCall::SendMany | RawCall::ReceiveMany => {
            let (fd, messages) = (a as c_int, b as *mut libc::mmsghdr);
            let (count, flags) = (c as c_uint, d as c_int);
            // SAFETY: the program's own arguments, or messages of ours.
            let result = unsafe {
                if number == libc::SYS_recvmmsg {
                    receive::receive_many(fd, messages, count, flags, || call() as c_int)
                } else {
                    sendmmsg::send_many(fd, messages, count, flags, |messages, count| {
                        real(number, a, messages as c_long, count.into(), d, e, f) as c_int
                    })
                }
            };
            return result.into();
        }
    }
    call()
}

/// close_range(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    let real = behind!(c"close_range", fn(c_uint, c_uint, c_int) -> c_int);
    if flags as c_uint & libc::CLOSE_RANGE_CLOEXEC == 0 {
        ops::closing_range(first, last);
    }
    // SAFETY: no pointers.
    unsafe { real(first, last, flags) }
}

/// closefrom(3)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn closefrom(first: c_int) {
    let real = behind!(c"closefrom", fn(c_int) -> ());
    ops::closing_range(first.max(0) as c_uint, c_uint::MAX);
    // SAFETY: no pointers.
    unsafe { real(first) }
}

/// chroot(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn chroot(path: *const c_char) -> c_int {
    let real = behind!(c"chroot", fn(*const c_char) -> c_int);
    ops::changing_root();
    // SAFETY: the program's own argument.
    unsafe { real(path) }
}

/// The version of this library; what `aarp-run --check` looks for.
#[unsafe(no_mangle)]
pub static aarp_version: [u8; VERSION.len()] = *VERSION.first_chunk().unwrap();

const VERSION: &[u8] = concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes();

extern "C" fn at_exit() {
    report::at_exit();
}

/// Run when the process ends by exit(3) or by returning from main.
#[used]
#[unsafe(link_section = ".fini_array")]
static AT_EXIT: extern "C" fn() = at_exit;
