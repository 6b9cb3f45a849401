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
///
/// With the first all others are looked up as well: dlsym() waits for a thread that is
/// in dlopen(), and that may be in a constructor, which waits for a thread of its own
/// that connects. Few programs load a library before they have called any hook.
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
        for symbol in all() {
            if symbol.address.get().is_none() {
                symbol.find();
            }
        }
        self.find()
    }

    fn find(&self) -> usize {
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

unsafe extern "C" {
    /// Where the symbols of the hooks begin, and where they end: the linker says.
    #[link_name = "__start_aarp_symbols"]
    static FIRST: usize;
    #[link_name = "__stop_aarp_symbols"]
    static BEHIND_THE_LAST: usize;
}

/// The symbols of all hooks.
fn all() -> &'static [Symbol] {
    let (first, end) = (&raw const FIRST, &raw const BEHIND_THE_LAST);
    let count = (end as usize - first as usize) / size_of::<Symbol>();
    // SAFETY: the section has nothing in it but symbols, side by side.
    unsafe { core::slice::from_raw_parts(first.cast(), count) }
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
