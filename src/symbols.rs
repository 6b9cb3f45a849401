//! The functions behind the hooks: what the program would have called.
#![allow(unsafe_code)]

use core::ffi::{CStr, c_long, c_void};
use core::num::NonZeroUsize;

use once_cell::race::OnceNonZeroUsize;

/// A function of the C library, or of another preload library, found at its first
/// use.
///
/// The cell is a race cell: threads that come at the same time all look the
/// function up and find the same, and a signal handler that interrupts the look-up
/// waits for nobody.
pub(crate) struct Symbol {
    name: &'static CStr,
    address: OnceNonZeroUsize,
}

impl Symbol {
    pub(crate) const fn new(name: &'static CStr) -> Self {
        Self {
            name,
            address: OnceNonZeroUsize::new(),
        }
    }

    /// The address of the function, or of one that fails with `ENOSYS` where there
    /// is none.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        match self.address.get() {
            Some(address) => address.get(),
            None => self.look_up(),
        }
    }

    #[cold]
    fn look_up(&self) -> usize {
        let errno = aarp_sys::errno::get();
        // SAFETY: the name ends with a zero.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        aarp_sys::errno::set(errno);
        let found = if found.is_null() {
            missing as *mut c_void
        } else {
            found
        };
        match NonZeroUsize::new(found as usize) {
            Some(address) => self.address.get_or_init(|| address).get(),
            None => missing as *const () as usize,
        }
    }
}

/// In the place of a function that there is not. The widest result that any of them
/// has.
extern "C" fn missing() -> c_long {
    aarp_sys::errno::set(libc::ENOSYS);
    -1
}

#[cfg(panic = "abort")]
pub(crate) fn abort() -> ! {
    // SAFETY: ends the process.
    unsafe { libc::abort() }
}
