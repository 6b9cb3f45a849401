//! Who is calling.

use crate::syscall::{Errno, syscall};

/// The process's id, asked of the kernel: right also after vfork.
#[must_use]
pub fn id() -> i32 {
    // SAFETY: no arguments; cannot fail.
    unsafe { syscall(libc::SYS_getpid, [0; 6]) }.map_or(0, |id| id as i32)
}

/// A number that no other live thread of this process has.
#[must_use]
#[inline]
pub fn thread() -> u64 {
    // SAFETY: reads a register.
    (unsafe { libc::pthread_self() }) as u64
}

/// Fills `buffer` with random octets.
///
/// # Errors
/// `ENOSYS` before Linux 3.17, `EAGAIN` early at boot.
pub fn random(buffer: &mut [u8]) -> Result<(), Errno> {
    let mut filled = 0;
    while filled < buffer.len() {
        let rest = &mut buffer[filled..];
        let arguments = [
            rest.as_mut_ptr() as usize,
            rest.len(),
            libc::GRND_NONBLOCK as usize,
            0,
            0,
            0,
        ];
        // SAFETY: the pointer and the length are those of a slice.
        match unsafe { syscall(libc::SYS_getrandom, arguments) } {
            Ok(count) => filled += count,
            Err(Errno(libc::EINTR)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Writes a line to a descriptor of the program's, if it takes it at once.
pub fn write(fd: i32, text: &[u8]) {
    let arguments = [fd as usize, text.as_ptr() as usize, text.len(), 0, 0, 0];
    // SAFETY: the pointer and the length are those of a slice. A log line that
    // cannot be written is lost: nobody could be told.
    let _ = unsafe { syscall(libc::SYS_write, arguments) };
}
