//! The caller's `errno`.

/// The value of `errno` of this thread.
#[must_use]
pub fn get() -> i32 {
    // SAFETY: glibc returns a valid pointer to a variable of this thread.
    unsafe { *libc::__errno_location() }
}

/// Sets `errno` of this thread.
pub fn set(value: i32) {
    // SAFETY: as above.
    unsafe { *libc::__errno_location() = value }
}
