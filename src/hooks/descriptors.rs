//! The calls that close, copy and control descriptors.

use core::ffi::{c_int, c_long, c_uint, c_ulong, c_void};
use core::mem::transmute;

use aarp_sys::errno;
use libc::FILE;

use super::behind;
use crate::symbols::Symbol;
use crate::{flight, ops, sockets};

/// close(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close(fd: c_int) -> c_int {
    // SAFETY: no pointers.
    unsafe {
        if !sockets::is_known(fd) && !sockets::has_mark(fd) && !flight::is_any_open() {
            return real_close()(fd);
        }
        close_known(fd)
    }
}

#[inline]
fn real_close() -> unsafe extern "C" fn(c_int) -> c_int {
    behind!(c"close", fn(c_int) -> c_int)
}

/// The rest of [`close`], of a descriptor of which something is known, or that may be
/// ours: without it the call behind is a jump.
///
/// # Safety
/// As for the function of this name.
#[inline(never)]
unsafe extern "C" fn close_known(fd: c_int) -> c_int {
    let real = real_close();
    // SAFETY: no pointers.
    ops::close_by(fd, || unsafe { real(fd) })
}

/// close(2) by another of its names.
///
/// # Safety
/// As for close(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __close(fd: c_int) -> c_int {
    // SAFETY: no pointers.
    unsafe { close(fd) }
}

/// fclose(3): the C library closes the descriptor of a stream by a call of its own.
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fclose(stream: *mut FILE) -> c_int {
    let real = behind!(c"fclose", fn(*mut FILE) -> c_int);
    // SAFETY: the program's own argument, which has to be an open stream. One without
    // a descriptor has -1.
    unsafe {
        let saved = errno::get();
        let fd = libc::fileno(stream);
        errno::set(saved);
        ops::close_by(fd, || real(stream))
    }
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
    let replaced = ops::replacing(fd, to);
    // SAFETY: no pointers.
    let copy = unsafe { real(fd, to) };
    ops::replaced(fd, copy, replaced);
    copy
}

/// dup2(2) by another of its names.
///
/// # Safety
/// As for dup2(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __dup2(fd: c_int, to: c_int) -> c_int {
    // SAFETY: no pointers.
    unsafe { dup2(fd, to) }
}

/// dup3(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup3(fd: c_int, to: c_int, flags: c_int) -> c_int {
    let real = behind!(c"dup3", fn(c_int, c_int, c_int) -> c_int);
    let replaced = ops::replacing(fd, to);
    // SAFETY: no pointers.
    let copy = unsafe { real(fd, to, flags) };
    ops::replaced(fd, copy, replaced);
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

/// fcntl(2) by another of its names.
///
/// # Safety
/// As for fcntl(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __fcntl(fd: c_int, command: c_int, argument: c_long) -> c_int {
    // SAFETY: the program's own arguments.
    unsafe { fcntl(fd, command, argument) }
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
    unsafe { ioctl_by(fd, request, argument, || real(fd, request, argument)) }
}

/// ioctl(2) by `call`.
///
/// # Safety
/// As for ioctl(2), which `call` must be.
#[inline]
pub(super) unsafe fn ioctl_by(
    fd: c_int,
    request: c_ulong,
    argument: *mut c_void,
    call: impl Fn() -> c_int,
) -> c_int {
    let result = call();
    if result == 0 && request == libc::FIONBIO as c_ulong {
        // SAFETY: the call behind has just read an integer there.
        let nonblocking = unsafe { argument.cast::<c_int>().read_unaligned() } != 0;
        ops::nonblocking_set(fd, nonblocking);
    }
    result
}

/// close_range(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int {
    let real = behind!(c"close_range", fn(c_uint, c_uint, c_int) -> c_int);
    if ops::closes_range(flags as c_uint) {
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
