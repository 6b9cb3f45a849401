//! A descriptor of our own, which never outlives the call that opened it.

use crate::syscall::{Errno, syscall};

/// An open descriptor; closed when dropped.
#[derive(Debug)]
pub struct Fd(i32);

impl Fd {
    /// Takes over the descriptor that a system call has returned.
    ///
    /// The first three numbers are left to the program, which may have closed its
    /// standard streams and look for them at any moment.
    pub(crate) fn adopt(number: usize) -> Result<Self, Errno> {
        let fd = Fd(number as i32);
        if fd.0 > 2 {
            return Ok(fd);
        }
        let duplicate = libc::F_DUPFD_CLOEXEC as usize;
        // SAFETY: no pointers.
        let above = unsafe { syscall(libc::SYS_fcntl, [fd.0 as usize, duplicate, 3, 0, 0, 0]) }?;
        Ok(Fd(above as i32))
    }

    /// The number.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.0
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        // SAFETY: no pointers; the number is ours.
        let _ = unsafe { syscall(libc::SYS_close, [self.0 as usize, 0, 0, 0, 0, 0]) };
    }
}
