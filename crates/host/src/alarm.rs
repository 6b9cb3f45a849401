//! A timer by CLOCK_BOOTTIME: a host that was suspended finds out at once what is due,
//! which a timeout of poll(2), by a clock that stands still meanwhile, does not.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A timer that can be waited on.
#[derive(Debug)]
pub struct Alarm(OwnedFd);

impl Alarm {
    /// One that is not set.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        Ok(Self(timerfd_create(TimerfdClockId::Boottime, flags)?))
    }

    /// Is readable after `time`, until it is set again.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set(&self, time: Duration) -> io::Result<()> {
        // Zero would unset it.
        let time = time.max(Duration::from_nanos(1));
        let never = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let value = Itimerspec {
            it_interval: never,
            it_value: Timespec {
                tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(time.subsec_nanos()),
            },
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &value)?;
        Ok(())
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use rustix::event::{PollFd, PollFlags, poll};

    use super::*;

    fn is_due(alarm: &Alarm, within: Duration) -> bool {
        let within = Timespec {
            tv_sec: within.as_secs() as i64,
            tv_nsec: i64::from(within.subsec_nanos()),
        };
        poll(&mut [PollFd::new(alarm, PollFlags::IN)], Some(&within)) == Ok(1)
    }

    /// `CLOCK_BOOTTIME`, which goes on while the host sleeps (linux/time.h).
    const BOOTTIME: &str = "7";

    #[test]
    fn it_goes_on_while_the_host_sleeps() {
        let alarm = Alarm::new().unwrap();
        let number = alarm.0.as_raw_fd();
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
        let mut lines = info.lines();
        let clock = lines.find_map(|line| line.strip_prefix("clockid:"));
        assert_eq!(clock.map(str::trim), Some(BOOTTIME), "{info}");
    }

    #[test]
    fn it_is_due_when_it_was_set_to_be() {
        let alarm = Alarm::new().unwrap();
        assert!(!is_due(&alarm, Duration::ZERO), "never set");
        alarm.set(Duration::from_secs(3600)).unwrap();
        assert!(!is_due(&alarm, Duration::ZERO));
        alarm.set(Duration::ZERO).unwrap();
        assert!(is_due(&alarm, Duration::from_secs(10)));
        alarm.set(Duration::from_secs(3600)).unwrap();
        assert!(!is_due(&alarm, Duration::ZERO), "set anew");
    }
}
