//! The environment of the host program, without allocation.

use core::ffi::{CStr, c_char};

/// Octets of the longest name that is looked up.
const NAME: usize = 64;

unsafe extern "C" {
    /// secure_getenv(3): getenv(3), but for programs that run with privileges which
    /// their caller has not; for those nothing is set.
    fn secure_getenv(name: *const c_char) -> *const c_char;
}

/// Calls `read` with the value of a variable that is set, where the environment may
/// be believed; with an error where it is not UTF-8.
///
/// # Panics
/// When the name is longer than 63 octets: all of them are constants.
pub fn variable<T>(name: &str, read: impl FnOnce(Result<&str, ()>) -> T) -> Option<T> {
    let mut terminated = [0u8; NAME];
    terminated[..NAME - 1][..name.len()].copy_from_slice(name.as_bytes());
    // SAFETY: the name ends with a zero. That another thread does not change the
    // environment meanwhile is for the program to see to, as with every function of
    // the C library that reads it (getaddrinfo, localtime); glibc from 2.41 on sees
    // to it itself.
    let value = unsafe { secure_getenv(terminated.as_ptr().cast()) };
    if value.is_null() {
        return None;
    }
    // SAFETY: values are strings, read before anybody else runs on this thread.
    let octets = unsafe { CStr::from_ptr(value) }.to_bytes();
    Some(read(core::str::from_utf8(octets).map_err(|_| ())))
}
