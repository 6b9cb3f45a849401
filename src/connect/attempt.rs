//! One connect() that goes to a U.

use core::ffi::c_int;

use aarp_core::bypass::Bypass;
use aarp_sys::clock::boottime;
use aarp_sys::user::SocketAddress;
use aarp_sys::{errno, socket};

use super::{TRIES, cause, closed, interrupted, is_doubtful, refutes, unpinned, with_address};
use crate::limits::Limits;
use crate::ops::is_barred;
use crate::resolve::{Asker, Target, Unresolved};
use crate::sockets::{self, Phase, Record};
use crate::{report, state};

/// One connect() that goes to a U.
pub(super) struct Attempt<'c, 's, R> {
    pub(super) fd: c_int,
    pub(super) to: &'c SocketAddress,
    pub(super) record: Record,
    pub(super) asker: Asker<'s>,
    pub(super) real: &'c R,
    /// As the program left it: untouched in the end, when its call succeeds.
    pub(super) errno: i32,
}

/// What came of connect() with a U.
enum Outcome {
    /// The program is told what the call behind has returned.
    Told(c_int),
    /// This U does not serve.
    Failed(i32),
}

impl<R: Fn(&SocketAddress) -> c_int> Attempt<'_, '_, R> {
    /// A non-blocking program hears of a failure from the kernel, as ever. Only an
    /// immediate one costs no time, so that A can take its place.
    pub(super) fn nonblocking(&self, target: &Target) -> c_int {
        match self.connect_to(target, false) {
            Outcome::Told(result) => result,
            Outcome::Failed(_) => self.at_last_a(Bypass::Refuted),
        }
    }

    /// A blocking program hears of no failure before A was asked again, another U
    /// tried, and A itself; all within the time of one connect() of the kernel's.
    pub(super) fn blocking(&self, first: Target, limits: &Limits) -> c_int {
        let mut target = first;
        let mut reason = Bypass::Refuted;
        for attempt in 1..=TRIES {
            let now = boottime();
            let Some(share) = limits.for_u(now, target.rtt) else {
                reason = Bypass::Budget;
                break;
            };
            let limited = limits.ends_by_send_timeout();
            let outcome = limits.within(self.fd, share, || self.connect_to(&target, limited));
            let error = match outcome {
                Outcome::Told(result) => return result,
                Outcome::Failed(error) => error,
            };
            // Closed meanwhile: what has the number now is none of ours, and this is
            // what a connect() under way says that has failed.
            if !self.is_still() {
                errno::set(error);
                return -1;
            }
            let now = boottime();
            if limits.is_over(now) {
                // Of a connect() that `SO_SNDTIMEO` has ended the program expects that
                // it goes on.
                if limited {
                    break;
                }
                errno::set(error);
                return -1;
            }
            if attempt == TRIES {
                break;
            }
            match self.asker.resolve_anew(now, limits.for_the_question(now)) {
                Ok(another) => target = another,
                Err(Unresolved::Bypass(_)) => break,
                Err(Unresolved::Interrupted) => return interrupted(self.fd, self.to, self.real),
                Err(Unresolved::Closed) => return closed(),
            }
        }
        limits.within_what_is_left(self.fd, || self.at_last_a(reason))
    }

    fn is_still(&self) -> bool {
        sockets::is_still(self.fd, self.record.socket)
    }

    /// Changes the record, if it still is that of this socket. What others have changed
    /// while it was waited for stays.
    fn change(&self, apply: impl FnOnce(&mut Record)) -> bool {
        sockets::change_of(self.fd, self.record.socket, apply)
    }

    /// connect() with a U, and what is remembered of it. With `limited`, a connection
    /// that is not made in time is given up.
    fn connect_to(&self, target: &Target, limited: bool) -> Outcome {
        let u = target.u;
        let to = with_address(self.to, u);
        let process = state::process_of(self.asker.state);
        let connecting = |record: &Record| Record {
            phase: Phase::Connecting,
            a: self.asker.a,
            u,
            port: self.asker.port,
            process,
            ..*record
        };
        sockets::pins_one();
        // Where nobody was waited for, the record is what it was a moment ago.
        let known = !target.remembered && self.change(|record| *record = connecting(record));
        // Without a record the program would learn of U.
        if !known && !sockets::set(self.fd, &connecting(&self.record)) {
            let settings = Some(self.asker.settings);
            return Outcome::Told(unpinned(
                self.fd,
                settings,
                Bypass::Busy,
                self.to,
                self.real,
            ));
        }
        let result = (self.real)(&to);
        if result == 0 {
            // A connection that is made with the first data is not made yet.
            self.change(|record| {
                if !record.deferred {
                    record.phase = Phase::Connected;
                }
            });
            report::pinned("connect", self.fd, self.to, target);
            errno::set(self.errno);
            return Outcome::Told(result);
        }
        let error = errno::get();
        let late = limited && error == libc::EINPROGRESS && self.is_still() && !is_barred();
        let outcome = if late && socket::disconnect(self.fd).is_ok() || refutes(error) {
            self.change(|record| *record = record.reopened());
            if self.asker.origin.is_none() {
                self.asker.refute(u, cause(error));
            }
            Outcome::Failed(error)
        } else if is_doubtful(error) {
            self.change(|record| *record = record.reopened());
            Outcome::Failed(error)
        } else if matches!(error, libc::EINPROGRESS | libc::EINTR) {
            report::pinned("connect", self.fd, self.to, target);
            Outcome::Told(result)
        } else {
            // Nothing that U has to do with: the socket is connected already, or no
            // socket at all.
            self.change(|record| *record = record.reopened());
            Outcome::Told(result)
        };
        errno::set(error);
        outcome
    }

    fn at_last_a(&self, reason: Bypass) -> c_int {
        let settings = Some(self.asker.settings);
        let result = unpinned(self.fd, settings, reason, self.to, self.real);
        if result == 0 {
            errno::set(self.errno);
        }
        result
    }
}
