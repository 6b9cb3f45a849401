//! System calls without a C library in between.

use core::arch::asm;
use core::fmt;

/// The kernel's answer to a system call that failed: a number of errno(3).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "errno {}", self.0),
        }
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Errno {}

impl Errno {
    /// The name, for the numbers that the calls made here can fail with.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            libc::EPERM => "EPERM",
            libc::ENOENT => "ENOENT",
            libc::EINTR => "EINTR",
            libc::EBADF => "EBADF",
            libc::EAGAIN => "EAGAIN",
            libc::ENOMEM => "ENOMEM",
            libc::EACCES => "EACCES",
            libc::EFAULT => "EFAULT",
            libc::ENODEV => "ENODEV",
            libc::EINVAL => "EINVAL",
            libc::ENFILE => "ENFILE",
            libc::EMFILE => "EMFILE",
            libc::ENOTSOCK => "ENOTSOCK",
            libc::EPROTONOSUPPORT => "EPROTONOSUPPORT",
            libc::EAFNOSUPPORT => "EAFNOSUPPORT",
            libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
            libc::ENETUNREACH => "ENETUNREACH",
            libc::ENOTCONN => "ENOTCONN",
            libc::ETIMEDOUT => "ETIMEDOUT",
            libc::ECONNREFUSED => "ECONNREFUSED",
            libc::EHOSTUNREACH => "EHOSTUNREACH",
            _ => return None,
        })
    }
}

/// Makes a system call.
///
/// # Errors
/// What the kernel says.
///
/// # Safety
/// The arguments must be what the call with this number wants; pointers among
/// them must be valid for what the kernel does with them.
#[inline]
pub unsafe fn syscall(number: libc::c_long, arguments: [usize; 6]) -> Result<usize, Errno> {
    // SAFETY: the caller vouches for the arguments.
    let result = unsafe { trap(number as usize, arguments) };
    match result as isize {
        error @ -4095..=-1 => Err(Errno(-error as i32)),
        _ => Ok(result),
    }
}

#[cfg(target_arch = "x86_64")]
#[inline]
unsafe fn trap(number: usize, a: [usize; 6]) -> usize {
    let result;
    // SAFETY: the calling convention of x86-64; rcx and r11 are overwritten by the
    // instruction, and memory may be by the call.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a[0], in("rsi") a[1], in("rdx") a[2],
            in("r10") a[3], in("r8") a[4], in("r9") a[5],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

#[cfg(target_arch = "aarch64")]
#[inline]
unsafe fn trap(number: usize, a: [usize; 6]) -> usize {
    let result;
    // SAFETY: the calling convention of AArch64; memory may be changed by the call.
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") a[0] => result,
            in("x1") a[1], in("x2") a[2], in("x3") a[3], in("x4") a[4], in("x5") a[5],
            options(nostack),
        );
    }
    result
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("AARP knows the system calls of x86-64 and AArch64 only");
