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

/// The time of day in milliseconds, as of the last tick of the kernel's clock
/// (`CLOCK_REALTIME_COARSE`): a fifth of the cost of [`boottime`], and it too goes on
/// while the host sleeps. It can be set; what is measured with it must bear that.
#[must_use]
#[inline(always)]
pub fn wall_coarse_ms() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: as above; this clock exists since Linux 2.6.32.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &mut time) };
    time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000
}
