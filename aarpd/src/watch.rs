//! What the daemon hears of without having asked: changes of routes, and that the host
//! was suspended.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use aarp_core::prefix::Prefix;
use aarp_host::failure::Failure;
use aarp_wire::route_change::{Change, Changes};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use rustix::time::{ClockId, clock_gettime};

/// RTMGRP_IPV6_ROUTE; RTNLGRP_IPV6_RULE, which is group 19; RTNLGRP_NEXTHOP, which is
/// group 32 (linux/rtnetlink.h).
const GROUPS: u32 = 0x400 | 1 << (19 - 1) | 1 << (32 - 1);
/// Changes that come together are judged together …
const SETTLE: Duration = Duration::from_millis(50);
/// … and a host whose routes change all the time is not looked at all the time.
const AGAIN: Duration = Duration::from_millis(500);
/// More than so many at once are as good as all.
const PREFIXES: usize = 256;
/// The clocks are read one after the other; between them this program may have to wait.
const JUMP: Duration = Duration::from_secs(1);

/// The changes of routes since they were last judged.
#[derive(Debug)]
pub(crate) struct Routes {
    socket: OwnedFd,
    prefixes: Vec<Prefix>,
    /// It is not known which have changed.
    any: bool,
    /// When they are to be judged.
    due: Option<Duration>,
    judged: Duration,
}

impl Routes {
    /// Listens from now on.
    pub(crate) fn open() -> Result<Self, Failure> {
        let listen = || -> Result<OwnedFd, Errno> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
            bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
            Ok(socket)
        };
        Ok(Self {
            socket: listen()
                .map_err(|error| Failure::system("listen to changes of routes", error))?,
            prefixes: Vec::new(),
            any: false,
            due: None,
            judged: Duration::ZERO,
        })
    }

    /// Hears what has come.
    pub(crate) fn hear(&mut self, now: Duration) -> Result<(), Failure> {
        let mut buffer = [0; 8192];
        // Bounded: a flood must not keep us from anything else.
        for _ in 0..64 {
            match recv(&self.socket, &mut buffer[..], RecvFlags::TRUNC) {
                Ok((_, length)) => self.note(&buffer, length, now),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // Something was lost.
                Err(error) => {
                    self.note(&[], 1, now);
                    if error != Errno::NOBUFS {
                        return Err(Failure::system("read changes of routes", error));
                    }
                }
            }
        }
        Ok(())
    }

    fn note(&mut self, buffer: &[u8], length: usize, now: Duration) {
        let whole = buffer.get(..length);
        let changes = whole.map(Changes::of).into_iter().flatten();
        let mut heard = whole.is_none();
        self.any |= heard;
        for change in changes {
            match change {
                Ok(Change::Nothing) => continue,
                Ok(Change::Route(to, length)) if self.prefixes.len() < PREFIXES => {
                    match Prefix::new(to, length) {
                        // One that comes and goes is one.
                        Ok(prefix) if self.prefixes.contains(&prefix) => {}
                        Ok(prefix) => self.prefixes.push(prefix),
                        Err(_) => self.any = true,
                    }
                }
                Ok(Change::Route(..) | Change::Any) | Err(_) => self.any = true,
            }
            heard = true;
        }
        if heard {
            let due = (now + SETTLE).max(self.judged + AGAIN);
            self.due.get_or_insert(due);
        }
    }

    /// When there is something to judge.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.due
    }

    /// What has changed, when it is time: which routes, or `Err` where nobody knows.
    pub(crate) fn take(&mut self, now: Duration) -> Option<Result<Vec<Prefix>, ()>> {
        self.due.filter(|due| *due <= now)?;
        self.due = None;
        self.judged = now;
        let prefixes = std::mem::take(&mut self.prefixes);
        let any = std::mem::take(&mut self.any);
        Some(if any { Err(()) } else { Ok(prefixes) })
    }
}

impl AsFd for Routes {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Finds out that the host was suspended: one clock has gone on, and the other has not.
#[derive(Debug)]
pub(crate) struct Sleep {
    asleep: Duration,
}

impl Sleep {
    pub(crate) fn new() -> Self {
        Self { asleep: asleep() }
    }

    /// Whether it was suspended since it was asked last.
    pub(crate) fn is_over(&mut self) -> bool {
        self.has_grown(asleep())
    }

    fn has_grown(&mut self, asleep: Duration) -> bool {
        let grown = asleep.saturating_sub(self.asleep) >= JUMP;
        if grown {
            self.asleep = asleep;
        } else {
            // The least is nearest to the truth: the clocks are read in this order.
            self.asleep = self.asleep.min(asleep);
        }
        grown
    }
}

/// For how long the host was suspended since it was started, or a little more.
fn asleep() -> Duration {
    let awake = clock_gettime(ClockId::Monotonic);
    let awake = Duration::new(
        u64::try_from(awake.tv_sec).unwrap_or(0),
        u32::try_from(awake.tv_nsec).unwrap_or(0),
    );
    aarp_sys::clock::boottime().saturating_sub(awake)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_jump_is_a_sleep() {
        let ms = Duration::from_millis;
        let mut sleep = Sleep { asleep: ms(5000) };
        for (asleep, over) in [
            (5001, false),
            (5999, false),
            (5000, false),
            (6000, true),
            (6000, false),
            (6500, false),
            (90_000, true),
            (90_001, false),
        ] {
            assert_eq!(sleep.has_grown(ms(asleep)), over, "{asleep}");
        }
    }

    #[test]
    fn changes_are_judged_together_and_not_all_the_time() {
        let mut routes = Routes::open().unwrap();
        let ms = |ms: u64| Duration::from_millis(10_000 + ms);
        assert_eq!(routes.take(ms(0)), None);
        // Something was lost.
        routes.note(&[], 1, ms(0));
        assert_eq!((routes.take(ms(49)), routes.due()), (None, Some(ms(50))));
        routes.note(&[], 1, ms(40));
        assert_eq!(routes.take(ms(50)), Some(Err(())));
        assert_eq!(routes.take(ms(50)), None);
        routes.note(&[], 1, ms(60));
        assert_eq!(routes.due(), Some(ms(550)));
        // A message of no matter: the end of a list.
        let mut done = [0; 16];
        done[0] = 16;
        done[4] = 3;
        let mut routes = Routes::open().unwrap();
        routes.note(&done, 16, ms(0));
        assert_eq!(routes.due(), None);
    }
}
