//! What is decided about one datagram, where its pin does not say it already.

use core::ffi::c_int;
use core::net::Ipv6Addr;
use core::time::Duration;

use aarp_core::bypass::Bypass;
use aarp_core::pins::{Pin, PinTable, Remote};
use aarp_core::policy::{Patience, possible};
use aarp_core::refutation::Cause;
use aarp_core::settings::{OnFailure, Settings};
use aarp_sys::clock::{boottime, wall_coarse_ms};
use aarp_sys::errno;
use aarp_sys::user::SocketAddress;

use super::{Course, UDP, gives_up, idle_seconds, peer, pins, receive, refute, speaks};
use crate::connect::origin;
use crate::names::interest;
use crate::resolve::{Asker, Unresolved};
use crate::sockets::{self, Datagrams};
use crate::{report, resolve, settings, state};

/// A datagram whose course has to be decided.
pub(super) struct Sending<'c> {
    fd: c_int,
    datagrams: &'c Datagrams,
    remote: Remote,
    to: &'c SocketAddress,
    flags: c_int,
}

/// The program has closed the descriptor while somebody was asked.
struct Closed;

/// Whom a datagram is sent to.
pub(super) enum Decision {
    /// To U.
    U(crate::resolve::Target),
    /// To A itself.
    Own(Bypass),
    /// Nowhere.
    Refused,
    /// Nowhere: the program has closed the descriptor meanwhile.
    Closed,
}

impl<'c> Sending<'c> {
    pub(super) fn new(
        fd: c_int,
        datagrams: &'c Datagrams,
        remote: Remote,
        to: &'c SocketAddress,
        flags: c_int,
    ) -> Self {
        Self {
            fd,
            datagrams,
            remote,
            to,
            flags,
        }
    }

    /// The first datagram to a destination.
    #[cold]
    pub(super) fn begun(&self) -> Course {
        let saved = errno::get();
        let course = self.begin();
        errno::set(saved);
        course
    }

    fn begin(&self) -> Course {
        let a = self.remote.address;
        let own = |reason| {
            speaks(self.fd, self.datagrams, &self.remote);
            report::bypass("send", self.fd, self.to, reason);
            Course::Own
        };
        let settings = match possible(a).and_then(|()| settings::get()) {
            Ok(settings) => settings,
            Err(reason) => return own(reason),
        };
        match interest(settings, a) {
            Ok(_) => {}
            Err(reason) if reason.is_failure() && settings.on_failure == OnFailure::Refuse => {
                report::refused("send", self.fd, self.to, reason);
                return Course::Refused;
            }
            Err(reason) => return own(reason),
        }
        let Some(pins) = pins() else {
            return self.failing(settings, Bypass::Busy);
        };
        let decision = self.decide(settings, pins);
        let idle = idle_seconds(settings, a);
        let now = wall_coarse_ms();
        match decision {
            Decision::U(target) => match pins.insert(&self.remote, target.u, idle, now) {
                Some(pin) => {
                    report::pinned("send", self.fd, self.to, &target);
                    self.goes(pins, &pin, now)
                }
                None => self.failing(settings, Bypass::Busy),
            },
            Decision::Own(reason) => {
                report::bypass("send", self.fd, self.to, reason);
                gives_up(self.fd, self.datagrams, &self.remote);
                match pins.insert(&self.remote, a, idle, now) {
                    Some(pin) => self.goes(pins, &pin, now),
                    None => {
                        self.datagrams.speaks(a, self.remote.port);
                        Course::Own
                    }
                }
            }
            Decision::Refused => Course::Refused,
            Decision::Closed => Course::Closed,
        }
    }

    /// A pin that has lain unused for too long, or whose U is doubted.
    #[cold]
    pub(super) fn renewed(&self, pins: &PinTable, pin: &Pin, now: u64) -> Course {
        let saved = errno::get();
        let course = self.renew(pins, pin, now);
        errno::set(saved);
        course
    }

    fn renew(&self, pins: &PinTable, pin: &Pin, now: u64) -> Course {
        let Ok(settings) = settings::get() else {
            return self.goes(pins, pin, now);
        };
        let silence = pins.silence(pin.place);
        let doubted = pin.is_moved() && silence.is_suspicious(now);
        if doubted {
            // What failed with an error was refuted by it.
            if !silence.has_failed() {
                let cause = if silence.is_proven() {
                    self.held_against(settings, pins, pin, now)
                } else {
                    Ok(Some(Cause::Silent))
                };
                let cause = match cause {
                    Ok(Some(cause)) => cause,
                    Ok(None) => {
                        pins.excused(pin.place, now);
                        return self.goes(pins, pin, now);
                    }
                    Err(Closed) => return Course::Closed,
                };
                refute(self.fd, pin, cause);
            }
        }
        let now = wall_coarse_ms();
        let u = match self.decide(settings, pins) {
            // Where nothing is remembered for others, it may be the same again.
            Decision::U(target) if doubted && target.u == pin.u => {
                report::bypass("send", self.fd, self.to, Bypass::Refuted);
                pin.a
            }
            Decision::U(target) => {
                report::pinned("send", self.fd, self.to, &target);
                target.u
            }
            Decision::Own(reason) => {
                report::bypass("send", self.fd, self.to, reason);
                pin.a
            }
            Decision::Refused => return Course::Refused,
            Decision::Closed => return Course::Closed,
        };
        if u == pin.u {
            return self.goes(pins, pin, now);
        }
        let Some(moved) = pins.replace(&self.remote, pin, u, now) else {
            report::bypass("send", self.fd, self.to, Bypass::Busy);
            speaks(self.fd, self.datagrams, &self.remote);
            return Course::Own;
        };
        if self.datagrams.connected {
            peer::connect_again(self.fd, self.to, pin, u);
        }
        self.goes(pins, &moved, now)
    }

    fn goes(&self, pins: &PinTable, pin: &Pin, now: u64) -> Course {
        pins.sent(pin.place, now);
        self.datagrams.uses(pin.place);
        if !pin.is_moved() {
            return Course::Own;
        }
        Course::Moved(*pin)
    }

    fn failing(&self, settings: &Settings, reason: Bypass) -> Course {
        if settings.on_failure == OnFailure::Refuse {
            report::refused("send", self.fd, self.to, reason);
            return Course::Refused;
        }
        report::bypass("send", self.fd, self.to, reason);
        // Else who answers would be taken for a client that speaks first, and no socket
        // of this process would be moved to its U any more.
        speaks(self.fd, self.datagrams, &self.remote);
        Course::Own
    }

    /// Whom to send to, by what is remembered or by asking.
    pub(super) fn decide(&self, settings: &Settings, pins: &PinTable) -> Decision {
        // Who speaks first is a client, and answers for itself.
        if receive::has_been_heard(self.remote.address) {
            return Decision::Own(Bypass::Policy);
        }
        match self.resolve(settings) {
            Ok(target) if self.is_ambiguous(pins, target.u) => Decision::Own(Bypass::Ambiguous),
            Ok(target) => Decision::U(target),
            Err(Unresolved::Bypass(reason)) => {
                if reason.is_failure() && settings.on_failure == OnFailure::Refuse {
                    report::refused("send", self.fd, self.to, reason);
                    return Decision::Refused;
                }
                Decision::Own(reason)
            }
            // Sending does not wait, so that no signal interrupts it.
            Err(Unresolved::Interrupted) => Decision::Own(Bypass::Budget),
            Err(Unresolved::Closed) => Decision::Closed,
        }
    }

    /// Whether this U stands for another A on this socket already, or for itself.
    fn is_ambiguous(&self, pins: &PinTable, u: Ipv6Addr) -> bool {
        let Remote {
            address: a, port, ..
        } = self.remote;
        let known = pins.from(&Remote {
            address: u,
            ..self.remote
        });
        known.is_some_and(|pin| pin.a != a) || self.datagrams.has_spoken(u, port)
    }

    fn asker<'s>(&self, settings: &'s Settings) -> Result<Asker<'s>, Bypass> {
        let record = sockets::get(self.fd).ok_or(Bypass::Busy)?;
        let nonblocking = record.nonblocking || self.flags & libc::MSG_DONTWAIT != 0;
        let state = state::get().ok_or(Bypass::Busy)?;
        // A vfork child, which has this memory too, is told by it.
        let _ = state::process_of(state);
        Ok(Asker {
            fd: self.fd,
            settings,
            state,
            interest: interest(settings, self.remote.address)?,
            patience: if nonblocking {
                Patience::NonBlocking
            } else {
                Patience::Blocking
            },
            a: self.remote.address,
            scope: self.to.raw.sin6_scope_id,
            origin: origin(self.fd, &record)?,
            protocol: UDP,
            port: self.remote.port,
        })
    }

    fn resolve(&self, settings: &Settings) -> Result<resolve::Target, Unresolved> {
        let asker = self.asker(settings).map_err(Unresolved::Bypass)?;
        asker.resolve(boottime(), || Duration::MAX)
    }

    /// What is held against a U that has served this socket, and is silent; `None` is
    /// nothing, and it is kept: where A still leads to it, the program would be no better off with A. Where A
    /// leads elsewhere, one that is alive is kept for a while: the silence may be
    /// that of a stream that goes one way.
    fn held_against(
        &self,
        settings: &Settings,
        pins: &PinTable,
        pin: &Pin,
        now: u64,
    ) -> Result<Option<Cause>, Closed> {
        let Ok(asker) = self.asker(settings) else {
            return Ok(Some(Cause::Silent));
        };
        // What is remembered may be what has failed by now.
        match asker.resolve_anew(boottime(), Duration::MAX) {
            Ok(target) if target.u == pin.u => return Ok(None),
            Err(Unresolved::Closed) => return Err(Closed),
            _ => {}
        }
        if pins.silence(pin.place).lasts(now) >= u64::from(pin.idle) * 1000 {
            return Ok(Some(Cause::Silent));
        }
        match asker.is_alive(pin.u, boottime()) {
            Ok(true) => {}
            Ok(false) => return Ok(Some(Cause::Dead)),
            Err(_) => return Err(Closed),
        }
        report::excused(self.fd, self.to, pin.u);
        Ok(None)
    }
}
