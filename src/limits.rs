//! How long the parts of one connect() may take, together no longer than the
//! kernel's would have.

use core::ffi::c_int;
use core::time::Duration;

use aarp_sys::clock::boottime;
use aarp_sys::syscall::Errno;
use aarp_sys::{process, socket};

use crate::ops::is_barred;
use crate::sockets::{self, Held, Limit};

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
        settle(fd);
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
        if is_barred() {
            return call();
        }
        // Zero would be no limit at all.
        let share = share.max(Duration::from_millis(1));
        let (limit, own) = if self.ends_by_send_timeout() {
            (Limit::SendTimeout, self.send_timeout)
        } else {
            (Limit::UserTimeout, self.user_timeout)
        };
        // An option that cannot be set leaves the kernel's own time.
        let limited = set_for_now(fd, limit, own, share);
        let result = call();
        if let Some(limited) = limited {
            give_back(limited);
        }
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

fn option(fd: c_int, limit: Limit) -> Result<Duration, Errno> {
    match limit {
        Limit::UserTimeout => socket::user_timeout(fd),
        Limit::SendTimeout => socket::send_timeout(fd),
    }
}

fn set_option(fd: c_int, limit: Limit, time: Duration) -> Result<(), Errno> {
    match limit {
        Limit::UserTimeout => socket::set_user_timeout(fd, time),
        Limit::SendTimeout => socket::set_send_timeout(fd, time),
    }
}

/// A socket of which an option is set for now.
pub(crate) struct Limited {
    fd: c_int,
    /// The number of the socket, where it had one.
    socket: Option<u32>,
}

/// Sets an option that the program has as `own`, until [`give_back`]. `None` where it is
/// not set: also where it could not be given back.
pub(crate) fn set_for_now(
    fd: c_int,
    limit: Limit,
    own: Duration,
    ours: Duration,
) -> Option<Limited> {
    let holder = process::thread();
    let held = Held {
        limit,
        own,
        ours,
        holder,
    };
    let socket = sockets::socket_of(fd);
    if !sockets::hold(fd, &held) {
        return None;
    }
    if set_option(fd, limit, ours).is_err() {
        sockets::release(fd);
        return None;
    }
    Some(Limited { fd, socket })
}

/// Gives the program its option back, unless it is another socket's number by now, or
/// the program has set the option itself. Leaves errno.
pub(crate) fn give_back(Limited { fd, socket }: Limited) {
    if let Some(held) = sockets::held(fd).filter(|held| held.holder == process::thread())
        && !is_barred()
    {
        sockets::release(fd);
        // Not every way to be given a number passes a hook that lets go of what is held.
        if socket.is_none_or(|socket| sockets::is_still(fd, socket)) {
            let _ = set_option(fd, held.limit, held.own);
        }
    }
}

/// Gives back what a connect() has left that never came to its end, as the program is
/// about to use the socket. Where another thread is in that connect(), it ends later.
#[inline]
pub(crate) fn settle(fd: c_int) {
    if let Some(held) = sockets::held(fd) {
        settle_held(fd, &held);
    }
}

#[cold]
fn settle_held(fd: c_int, held: &Held) {
    if is_barred() {
        return;
    }
    sockets::release(fd);
    // What the program has set in a way that no hook has seen stays.
    if option(fd, held.limit).is_ok_and(|now| is_about(now, held.ours)) {
        let _ = set_option(fd, held.limit, held.own);
    }
}

/// Whether that is what was set: the kernel counts in steps of up to ten milliseconds.
fn is_about(now: Duration, set: Duration) -> bool {
    now.abs_diff(set) <= Duration::from_millis(11)
}

/// The program is about to close the descriptor: others may have the socket still.
#[cold]
pub(crate) fn closing(fd: c_int) {
    // Another thread may be in a connect() with it, of this process or of the one that
    // has forked this.
    if let Some(held) = sockets::held(fd).filter(|held| held.holder == process::thread()) {
        settle_held(fd, &held);
    }
}

/// The program has set an option itself.
#[inline]
pub(crate) fn set_by_program(fd: c_int, limit: Limit) {
    if sockets::held(fd).is_some_and(|held| held.limit == limit) {
        sockets::release(fd);
    }
}

/// The program is about to ask for an option: how it has set it, where that is not how
/// it is.
#[cold]
pub(crate) fn asked_for(fd: c_int, limit: Limit) -> Option<Duration> {
    // Of what is left of a socket with this number nobody is told.
    let is_known = sockets::is_known(fd);
    let held = sockets::held(fd).filter(|held| held.limit == limit && is_known)?;
    if held.holder == process::thread() {
        settle_held(fd, &held);
        return None;
    }
    // The thread that has set it may be in its connect().
    Some(held.own)
}
