//! One table of C functions, no logic: each hands its arguments to the module that
//! knows what the call means, together with the function behind it.
//!
//! The hooks are `extern "C"` and have nothing to drop, so that a forced unwind
//! (pthread_cancel in the function behind) passes through their frames as through
//! those of C; docs/adr/0001.
#![allow(unsafe_code)]
// They are exported by their names, whatever this module is to others.
#![allow(unreachable_pub, non_upper_case_globals)]

mod connections;
mod descriptors;
mod exec;
mod names;
mod receive;
mod receiving;
mod send;
mod sendmmsg;
mod sendmsg;
mod syscall;

use core::ffi::{c_char, c_int, c_ulong};
use core::mem::transmute;

use libc::stack_t;

use crate::symbols::Symbol;
use crate::{flight, namespace, ops, report};

/// Declares the symbol behind a hook, and its type.
macro_rules! behind {
    ($name:literal, fn($($argument:ty),* $(,)?) -> $result:ty) => {{
        #[unsafe(link_section = "aarp_symbols")]
        static SYMBOL: Symbol = Symbol::new($name);
        // SAFETY: the function with this name has this type.
        #[allow(unused_unsafe)]
        unsafe { transmute::<usize, unsafe extern "C" fn($($argument),*) -> $result>(SYMBOL.address()) }
    }};
}

use behind;

/// setns(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn setns(fd: c_int, kind: c_int) -> c_int {
    let real = behind!(c"setns", fn(c_int, c_int) -> c_int);
    // SAFETY: no pointers.
    let result = unsafe { real(fd, kind) };
    if result == 0 {
        namespace::entered(kind);
    }
    result
}

/// unshare(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn unshare(kinds: c_int) -> c_int {
    let real = behind!(c"unshare", fn(c_int) -> c_int);
    // SAFETY: no pointers.
    let result = unsafe { real(kinds) };
    if result == 0 {
        namespace::left(kinds);
    }
    result
}

/// sigaltstack(2)
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigaltstack(new: *const stack_t, old: *mut stack_t) -> c_int {
    let real = behind!(c"sigaltstack", fn(*const stack_t, *mut stack_t) -> c_int);
    // SAFETY: the program's own arguments.
    unsafe { alternate_stack_by(new, || real(new, old)) }
}

/// sigaltstack(2) by `call`.
///
/// # Safety
/// As for sigaltstack(2), which `call` must be.
unsafe fn alternate_stack_by(new: *const stack_t, call: impl Fn() -> c_int) -> c_int {
    let result = call();
    if result == 0 && !new.is_null() {
        // SAFETY: the kernel has just read it.
        aarp_sys::process::alternate_stack_set(unsafe {
            (&raw const (*new).ss_flags).read_unaligned()
        });
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

/// fork(2), whose child has what other threads have open to ask.
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fork() -> libc::pid_t {
    let real = behind!(c"fork", fn() -> libc::pid_t);
    // SAFETY: no arguments.
    let child = unsafe { real() };
    if child == 0 {
        flight::forked();
    }
    child
}

/// fork(2) by another of its names.
///
/// # Safety
/// As for fork(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __fork() -> libc::pid_t {
    // SAFETY: no arguments.
    unsafe { fork() }
}

/// fork(2) without what others have registered for it.
///
/// # Safety
/// As for the function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn _Fork() -> libc::pid_t {
    let real = behind!(c"_Fork", fn() -> libc::pid_t);
    // SAFETY: no arguments.
    let child = unsafe { real() };
    if child == 0 {
        flight::forked();
    }
    child
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
