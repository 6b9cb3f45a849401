//! Time.

use core::time::Duration;

/// The time since boot, with the time spent suspended (`CLOCK_BOOTTIME`).
#[must_use]
#[inline]
pub fn boottime() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the pointer is valid. This clock exists since Linux 2.6.39, and is
    // read in the vDSO; were it to fail, time would stand still at zero.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &mut time) };
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
