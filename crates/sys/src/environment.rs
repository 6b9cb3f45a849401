//! The environment of the host program, without allocation.

use core::ffi::{CStr, c_char};

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// Whether the program runs with privileges that its caller has not: then nothing
/// of the environment is believed.
#[must_use]
pub fn is_secure() -> bool {
    // SAFETY: reads the auxiliary vector.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// The value of a variable, when the environment may be believed and the value is
/// UTF-8. `Some(Err(()))` is a value that is not.
///
/// The value is copied out by `read` before anybody else can run on this thread.
pub fn variable<T>(name: &str, read: impl FnOnce(Result<&str, ()>) -> T) -> Option<T> {
    if is_secure() {
        return None;
    }
    // SAFETY: `environ` is what the C library has; it is null or a list that ends
    // with a null pointer. A program that changes its environment in one thread
    // while another makes calls is broken natively too (setenv(3), MT-Unsafe).
    let mut entry = unsafe { environ };
    if entry.is_null() {
        return None;
    }
    loop {
        // SAFETY: the list ends with a null pointer, and the loop there.
        let text = unsafe { *entry };
        if text.is_null() {
            return None;
        }
        // SAFETY: entries are strings.
        let octets = unsafe { CStr::from_ptr(text) }.to_bytes();
        let value = octets
            .strip_prefix(name.as_bytes())
            .and_then(|rest| rest.strip_prefix(b"="));
        if let Some(value) = value {
            return Some(read(core::str::from_utf8(value).map_err(|_| ())));
        }
        // SAFETY: not beyond the null pointer.
        entry = unsafe { entry.add(1) };
    }
}
