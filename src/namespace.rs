//! Threads that enter another network namespace. Who answers for A belongs to one: what
//! was learned in another says nothing, and a question is asked in that of the thread,
//! while a socket stays in that in which it was made.

use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, Ordering};

use aarp_sys::socket;

/// Whether a thread of this process has ever entered another.
static CHANGED: AtomicBool = AtomicBool::new(false);

/// Whether that is so: then nothing is remembered, and for each socket it is asked anew.
#[inline]
pub(crate) fn has_changed() -> bool {
    CHANGED.load(Ordering::Relaxed)
}

/// setns() has succeeded: it has not said of which kind, where that is 0.
pub(crate) fn entered(kind: c_int) {
    if kind == 0 || kind & libc::CLONE_NEWNET != 0 {
        CHANGED.store(true, Ordering::Relaxed);
    }
}

/// unshare() has succeeded.
pub(crate) fn left(kinds: c_int) {
    if kinds & libc::CLONE_NEWNET != 0 {
        CHANGED.store(true, Ordering::Relaxed);
    }
}

/// Whether a socket is in the namespace of this thread, as far as the kernel tells (since
/// Linux 5.14).
#[cold]
pub(crate) fn is_that_of(fd: c_int) -> bool {
    match (socket::namespace(fd), socket::namespace_of_thread()) {
        (Ok(of_socket), Ok(of_thread)) => of_socket == of_thread,
        _ => false,
    }
}
