//! How long the parts of one connect() may take, together no longer than the
//! kernel's would have.

use core::ffi::c_int;
use core::time::Duration;

use aarp_sys::clock::boottime;
use aarp_sys::{errno, socket};

/// For how long U may leave SYNs unanswered before A is asked again: two or three of
/// them, by the kernel. What took longer would take longer than A itself.
const PATIENCE_WITH_U: Duration = Duration::from_secs(3);

/// The kernel looks at `TCP_USER_TIMEOUT` when a SYN is due again, at first after so
/// long.
const FIRST_RETRANSMISSION: Duration = Duration::from_secs(1);

/// What part of its time a program may be held for the question who A is, so that A
/// itself could still serve it: one in so many.
const PART_FOR_THE_QUESTION: u32 = 8;

/// The time that one connect() of the kernel's would have taken, and the options
/// of the socket by which it is kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    began: Duration,
    /// The whole of it.
    total: Duration,
    /// `TCP_USER_TIMEOUT` as the program has it. It ends a connect() that is not
    /// answered with `ETIMEDOUT`, and leaves the way signals interrupt it alone.
    user_timeout: Duration,
    /// `SO_SNDTIMEO` as the program has it; zero is none. It ends a connect() with
    /// `EINPROGRESS`.
    send_timeout: Duration,
}

impl Limits {
    pub(crate) fn of(fd: c_int, began: Duration) -> Option<Self> {
        let user_timeout = socket::user_timeout(fd).ok()?;
        let send_timeout = socket::send_timeout(fd).ok()?;
        let mut total = socket::kernel_connect_time(fd).ok()?;
        for timeout in [user_timeout, send_timeout] {
            if !timeout.is_zero() {
                total = total.min(timeout);
            }
        }
        Some(Self {
            began,
            total,
            user_timeout,
            send_timeout,
        })
    }

    fn left(&self, now: Duration) -> Duration {
        (self.began + self.total).saturating_sub(now)
    }

    pub(crate) fn is_over(&self, now: Duration) -> bool {
        self.left(now).is_zero()
    }

    /// For how long the network may be asked.
    pub(crate) fn for_the_question(&self, now: Duration) -> Duration {
        self.left(now) / PART_FOR_THE_QUESTION
    }

    /// For how long a U at this distance may be tried: half of what is left, and the
    /// other half is for A. `None` when that is too little to tell a dead U from a
    /// far one.
    pub(crate) fn for_u(&self, now: Duration, rtt: Duration) -> Option<Duration> {
        let share = PATIENCE_WITH_U.min(self.left(now) / 2);
        let least = if self.ends_by_send_timeout() {
            rtt * 2
        } else {
            FIRST_RETRANSMISSION
        };
        (share >= least).then_some(share)
    }

    /// Whether it is `SO_SNDTIMEO` that ends a connect() which takes too long.
    pub(crate) fn ends_by_send_timeout(&self) -> bool {
        !self.send_timeout.is_zero()
    }

    /// Whether any of the time is gone.
    pub(crate) fn is_in_use(&self, now: Duration) -> bool {
        now.saturating_sub(self.began) >= Duration::from_millis(1)
    }

    /// Runs `call`, which connects, and ends after `share`.
    pub(crate) fn within<T>(&self, fd: c_int, share: Duration, call: impl FnOnce() -> T) -> T {
        // Zero would be no limit at all.
        let share = share.max(Duration::from_millis(1));
        let by_send_timeout = self.ends_by_send_timeout();
        // An option that cannot be set leaves the kernel's own time.
        if by_send_timeout {
            let _ = socket::set_send_timeout(fd, share);
        } else {
            let _ = socket::set_user_timeout(fd, share);
        }
        let result = call();
        let error = errno::get();
        if by_send_timeout {
            let _ = socket::set_send_timeout(fd, self.send_timeout);
        } else {
            let _ = socket::set_user_timeout(fd, self.user_timeout);
        }
        errno::set(error);
        result
    }

    /// Runs `call`, which ends when one connect() of the kernel's would have.
    pub(crate) fn within_what_is_left<T>(&self, fd: c_int, call: impl FnOnce() -> T) -> T {
        let mut left = self.left(boottime());
        if self.user_timeout > Duration::ZERO && !self.ends_by_send_timeout() {
            left = left.min(self.user_timeout);
        }
        self.within(fd, left, call)
    }
}
