//! How long the parts of one connect() may take, together no longer than the
//! kernel's would have.

use core::ffi::c_int;
use core::time::Duration;

use aarp_sys::clock::boottime;
use aarp_sys::{errno, socket};

/// For how long U may leave SYNs unanswered before A is asked again: three of
/// them, on every kernel. What took longer would take longer than A itself.
const PATIENCE_WITH_U: Duration = Duration::from_secs(3);

/// The time that one connect() of the kernel's would have taken, and the options
/// of the socket by which it is kept.
pub(crate) struct Limits {
    began: Duration,
    /// The whole of it.
    total: Duration,
    /// `TCP_USER_TIMEOUT` as the program has it. It ends a connect() that is not
    /// answered with `ETIMEDOUT`, and leaves the way signals interrupt it alone.
    user_timeout: Duration,
    /// `SO_SNDTIMEO` as the program has it; zero is none.
    send_timeout: Duration,
}

impl Limits {
    pub(crate) fn of(fd: c_int, began: Duration) -> Result<Self, aarp_sys::syscall::Errno> {
        let user_timeout = socket::user_timeout(fd)?;
        let send_timeout = socket::send_timeout(fd)?;
        let mut total = socket::kernel_connect_time(fd)?;
        for timeout in [user_timeout, send_timeout] {
            if !timeout.is_zero() {
                total = total.min(timeout);
            }
        }
        Ok(Self {
            began,
            total,
            user_timeout,
            send_timeout,
        })
    }

    pub(crate) fn left(&self, now: Duration) -> Duration {
        (self.began + self.total).saturating_sub(now)
    }

    pub(crate) fn is_over(&self, now: Duration) -> bool {
        self.left(now).is_zero()
    }

    /// Runs `call`, which an unresponsive U ends soon enough to try another.
    pub(crate) fn guarded<T>(&self, fd: c_int, call: impl FnOnce() -> T) -> T {
        let guard = PATIENCE_WITH_U.min(self.left(boottime()) / 2);
        self.with(fd, guard, self.send_timeout, call)
    }

    /// Runs `call`, which ends when one connect() of the kernel's would have.
    pub(crate) fn within_what_is_left(&self, fd: c_int, call: impl FnOnce() -> c_int) -> c_int {
        let left = self.left(boottime()).max(Duration::from_millis(1));
        let send_timeout = if self.send_timeout.is_zero() {
            Duration::ZERO
        } else {
            left
        };
        self.with(fd, left, send_timeout, call)
    }

    fn with<T>(
        &self,
        fd: c_int,
        user_timeout: Duration,
        send_timeout: Duration,
        call: impl FnOnce() -> T,
    ) -> T {
        // An option that cannot be set leaves the kernel's own time.
        let _ = socket::set_user_timeout(fd, user_timeout);
        if send_timeout != self.send_timeout {
            let _ = socket::set_send_timeout(fd, send_timeout);
        }
        let result = call();
        let error = errno::get();
        let _ = socket::set_user_timeout(fd, self.user_timeout);
        if send_timeout != self.send_timeout {
            let _ = socket::set_send_timeout(fd, self.send_timeout);
        }
        errno::set(error);
        result
    }
}
