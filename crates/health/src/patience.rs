//! Waiting with an end: until a descriptor is ready, the time is over, or the check
//! is called off.

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::reason;

/// Why a check ended without success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Halt {
    /// It failed, and why.
    Failed(String),
    /// The time is over.
    TimeOver,
    /// Nothing is to be concluded: the monitor stops, or U is another one.
    CalledOff,
}

impl Halt {
    pub(crate) fn failed(why: impl Into<String>) -> Self {
        Halt::Failed(why.into())
    }

    /// Says what was waited for when the time was over.
    pub(crate) fn while_waiting(self, what: impl FnOnce() -> String) -> Self {
        match self {
            Halt::TimeOver => Halt::Failed(what()),
            other => other,
        }
    }
}

impl From<Errno> for Halt {
    fn from(error: Errno) -> Self {
        Halt::Failed(reason::error(error))
    }
}

/// How long one check may take, and what calls it off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience<'a> {
    timeout: Duration,
    deadline: Instant,
    /// Readable when the check is called off.
    call: Option<BorrowedFd<'a>>,
}

impl<'a> Patience<'a> {
    /// `timeout` from now on.
    pub(crate) fn new(timeout: Duration, call: Option<BorrowedFd<'a>>) -> Self {
        Self {
            timeout,
            deadline: Instant::now() + timeout,
            call,
        }
    }

    /// "within 1 s".
    pub(crate) fn within(&self) -> String {
        format!("within {}", reason::duration(self.timeout))
    }

    /// Waits until one of the descriptors is ready; their events are in them.
    pub(crate) fn poll<'fd>(&self, descriptors: &mut Vec<PollFd<'fd>>) -> Result<(), Halt>
    where
        'a: 'fd,
    {
        let own = descriptors.len();
        let call = self.call;
        descriptors.extend(call.map(|call| PollFd::from_borrowed_fd(call, PollFlags::IN)));
        let result = self.poll_all(descriptors, own);
        descriptors.truncate(own);
        result
    }

    fn poll_all(&self, descriptors: &mut [PollFd<'_>], own: usize) -> Result<(), Halt> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let time = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
            let ready = match poll(descriptors, Some(&time)) {
                Ok(count) => count > 0,
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            if ready && descriptors[own..].iter().any(|fd| !fd.revents().is_empty()) {
                return Err(Halt::CalledOff);
            }
            // Also for what never stops being ready.
            if left.is_zero() {
                return Err(Halt::TimeOver);
            }
            if ready {
                return Ok(());
            }
        }
    }

    /// Waits until `fd` is ready for one of `events`, or has failed.
    pub(crate) fn wait(&self, fd: BorrowedFd<'_>, events: PollFlags) -> Result<(), Halt> {
        self.poll(&mut vec![PollFd::from_borrowed_fd(fd, events)])
    }
}
