//! What a running daemon waits for: signals, and changes of the host's
//! addresses, interfaces, switches and nft rules.

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};

use crate::HostError;
use crate::signals::{Signals, Wanted};

/// RTMGRP_LINK | RTMGRP_IPV6_IFADDR (linux/rtnetlink.h).
const ADDRESS_GROUPS: u32 = 0x1 | 0x100;
/// RTMGRP_IPV6_ROUTE; RTNLGRP_IPV6_RULE, which is group 19; and RTNLGRP_IPV6_NETCONF,
/// which is group 25 and tells of `forwarding` and `proxy_ndp`.
const ROUTE_GROUPS: u32 = 0x400 | 1 << (19 - 1) | 1 << (25 - 1);
/// NFNLGRP_NFTABLES is group 7 (linux/netfilter/nfnetlink.h).
const NFT_GROUPS: u32 = 1 << (7 - 1);
/// Changes that come together are looked at together; a host that changes its
/// rules all the time must not keep us busy.
const SETTLE: Duration = Duration::from_millis(500);
/// After a failure it is tried again even if nothing happens.
const RETRY: Duration = Duration::from_secs(2);

/// Why `Watch::wait` came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// One of the signals that end the program.
    Signal(usize),
    /// SIGHUP: what can be read again is to be.
    Reload,
    /// Something changed, or a retry is due.
    Changed,
}

/// The sources of events. Opened before the host is looked at, so that no
/// change can fall between looking and listening.
pub struct Watch {
    signals: Signals,
    route: OwnedFd,
    nft: OwnedFd,
    earliest: Instant,
    retry_at: Option<Instant>,
    /// How often the host is looked at even if nothing is heard of.
    every: Option<Duration>,
    changed: bool,
}

impl Watch {
    /// Listens from now on; the signals that end a program no longer end this one, nor
    /// does SIGHUP, as of a terminal that is closed.
    ///
    /// # Errors
    /// [`HostError::System`].
    pub fn open() -> Result<Self, HostError> {
        Self::listen(ADDRESS_GROUPS)
    }

    /// The same, and also of IPv6 routes, routing rules and switches.
    ///
    /// # Errors
    /// [`HostError::System`].
    pub fn open_with_routes() -> Result<Self, HostError> {
        Self::listen(ADDRESS_GROUPS | ROUTE_GROUPS)
    }

    fn listen(route_groups: u32) -> Result<Self, HostError> {
        let listen = |protocol, groups| -> Result<OwnedFd, Errno> {
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?;
            bind(&socket, &SocketAddrNetlink::new(0, groups))?;
            Ok(socket)
        };
        Ok(Self {
            signals: Signals::open()?,
            route: listen(None, route_groups)
                .map_err(|e| HostError::system("listen to address changes", e))?,
            nft: listen(Some(NETFILTER), NFT_GROUPS)
                .map_err(|e| HostError::system("listen to nft changes", e))?,
            earliest: Instant::now(),
            retry_at: None,
            every: None,
            // What happened while we were starting is looked at once.
            changed: true,
        })
    }

    /// Asks for another look even if nothing changes.
    pub fn retry(&mut self) {
        self.retry_at = Some(Instant::now() + RETRY);
    }

    /// Has the host looked at as often as that, for what nothing tells of.
    pub fn look_every(&mut self, time: Duration) {
        self.every = Some(time);
    }

    /// A signal that ends the program and came already, without waiting.
    pub fn pending_signal(&mut self) -> Option<usize> {
        self.signals.ending()
    }

    /// Waits for the next event.
    ///
    /// # Errors
    /// [`HostError::System`].
    pub fn wait(&mut self) -> Result<Event, HostError> {
        loop {
            if let Some(event) = self.take()? {
                return Ok(event);
            }
            self.sleep(self.due_in())?;
        }
    }

    /// What has happened already, without waiting: for programs that wait for more
    /// than this, for [`sources`](Self::sources) and [`due_in`](Self::due_in) among it.
    ///
    /// # Errors
    /// [`HostError::System`].
    pub fn take(&mut self) -> Result<Option<Event>, HostError> {
        for socket in [&self.route, &self.nft] {
            self.changed |= drain(socket)?;
        }
        match self.signals.take() {
            Some(Wanted::End(signal)) => return Ok(Some(Event::Signal(signal))),
            Some(Wanted::Reload) => return Ok(Some(Event::Reload)),
            None => {}
        }
        let now = Instant::now();
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            self.changed = true;
        }
        if self.changed && self.earliest <= now {
            self.changed = false;
            self.earliest = now + SETTLE;
            self.retry_at = self.every.map(|every| now + every);
            return Ok(Some(Event::Changed));
        }
        Ok(None)
    }

    /// After what time there is something to take even if no source is readable.
    #[must_use]
    pub fn due_in(&self) -> Option<Duration> {
        let until = if self.changed {
            Some(self.earliest)
        } else {
            self.retry_at
        };
        until.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// What becomes readable when there is something to take.
    #[must_use]
    pub fn sources(&self) -> [BorrowedFd<'_>; 3] {
        [self.signals.as_fd(), self.route.as_fd(), self.nft.as_fd()]
    }

    fn sleep(&self, timeout: Option<Duration>) -> Result<(), HostError> {
        let timeout = timeout.map(|t| Timespec {
            tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(t.subsec_nanos()),
        });
        let mut descriptors = self
            .sources()
            .map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN));
        match poll(&mut descriptors, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(HostError::system("poll", error)),
        }
    }
}

/// Empties the socket; whether there was anything. What it was does not matter,
/// the host is looked at anew: so an overrun (ENOBUFS) is just another change.
fn drain(socket: &OwnedFd) -> Result<bool, HostError> {
    let mut buffer = [0; 8192];
    let mut any = false;
    // Bounded: a flood must not keep us from the signals.
    for _ in 0..256 {
        match recv(socket, &mut buffer[..], RecvFlags::empty()) {
            Ok(_) | Err(Errno::NOBUFS) => any = true,
            Err(Errno::INTR) => {}
            Err(error) if std::io::Error::from(error).kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(HostError::system("read netlink", error)),
        }
    }
    Ok(any)
}
