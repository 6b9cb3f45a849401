//! The binding update list of a responder: one registration of an anycast address A,
//! with its own unicast address U, at one agent.
//!
//! # Who owns A
//!
//! An agent keeps one binding for each A and follows sequence numbers alone: what is
//! later replaces what is there. Several responders register the same A, so they
//! agree among themselves, by the numbers they use.
//!
//! [`Ownership::Last`]: an update that is refused with 135 is sent again at once with
//! the agent's number and a step. Whoever registered last owns A; two responders that
//! refresh alternate.
//!
//! [`Ownership::Standby`]: only a *claim*, the first registration, is sent again so. A
//! *refresh* that is refused with 135 means that somebody else has claimed A: the
//! responder stands by until that binding can have ended, and then tries.
//!
//! **The trial must not take A from a living owner.** So its number is one that any
//! living owner's refuses: [`TRIAL_SPAN`] before the last one that the agent named,
//! and one further with each retransmission, as RFC 6275 §11.8 demands, but never
//! beyond that last one. An agent without a binding accepts any number (§9.5.1).
//! Were the trials simply repeated with the agent's number, a lost acknowledgement
//! would be taken for a refusal: the responder would own A and not know it.
//!
//! The span is small, because the owner's number may have gone on since it was named.
//! A trial is refused as long as that is by at most 32768 less the span: by any one
//! update that an agent can accept, but for those that jump by the last few numbers of
//! the window. So a responder that has lost its number and begins with a random one
//! may, once in 8000 such claims, lose A again to a trial; whoever thinks to own A
//! learns better at its next refresh.
//!
//! A trial that is accepted leaves a low number at the agent, and other responders
//! that stand by may try with higher ones: each has heard another last number. So the
//! new owner *confirms* at once, [`REIGN_LEAP`] beyond the last number it has heard,
//! which is beyond what the others may have heard.
//!
//! # What a 135 means
//!
//! It names the last number that the agent accepted, and that may be one of ours: a
//! retransmission has a larger number than what it repeats, so a late duplicate of the
//! first is refused with the number of the second. In this order:
//!
//! 1. No update is waiting for an answer: ignored (RFC 6275 §11.7.3).
//! 2. The newest update that waits is after the named one: the agent will accept it,
//!    or has. The refusal is about an older one and is ignored. This is what becomes
//!    of duplicates of updates that were acknowledged.
//! 3. The named one is an update of ours that waits. Either the agent accepted ours,
//!    then saw a duplicate of it, and the acknowledgement is late or lost; or another
//!    responder used the same number. With timestamps the answer tells which update it
//!    is an answer to, and if that is the very one that is named, it is the other
//!    responder: a duplicate of ours would have failed with 144. Without timestamps:
//!    - a claim goes on with the agent's number and a step; right in both cases;
//!    - a refresh goes on waiting, and its retransmission leaps by a random number. If
//!      it was ours, all is well. If it was the other's, A comes back to us and the
//!      other learns at its next refresh, from a number that it cannot take for its
//!      own: without the leap the two could use equal numbers for ever and each take A
//!      from the other;
//!    - trials and confirmations, when others are likely to do the same at the same
//!      time, count as lost. If it was ours after all, its late acknowledgement makes
//!      us the owner; if that was lost, A stays with us until the binding ends, and
//!      the next trial gets it back.
//! 4. Otherwise somebody else owns A.

mod acknowledge;
mod peer;
mod state;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_wire::mobility::{Status, UpdateFlags};

pub use self::peer::Peer;
pub use self::state::{Action, Moment, Notice, Ownership, Settings, State};
use self::state::{Granted, Kind, Sent};
use super::lifetime::Lifetime;
use super::message::Update;
use super::sequence::Sequence;

/// First timeout of an update where the agent has no binding of ours.
//= https://www.rfc-editor.org/rfc/rfc6275#section-13
pub const INITIAL_TIMEOUT_FIRST_REGISTRATION: Duration = Duration::from_millis(1500);
/// First timeout of any other update.
//= https://www.rfc-editor.org/rfc/rfc6275#section-12
pub const INITIAL_TIMEOUT: Duration = Duration::from_secs(1);
/// The longest timeout.
//= https://www.rfc-editor.org/rfc/rfc6275#section-12
pub const MAX_TIMEOUT: Duration = Duration::from_secs(32);

/// How far before the last number of the owner a trial begins: the retransmissions of
/// three minutes. After those it begins anew.
pub const TRIAL_SPAN: u16 = 8;
/// How far beyond the last number heard of the owner before it a new owner begins.
/// Together with the span far less than the window of 32767.
pub const REIGN_LEAP: u16 = 4096;

/// After how many updates in a row without an answer that is told.
const SILENCE: u32 = 3;

/// Updates whose answers are recognised.
const REMEMBERED: usize = 16;
/// For how long an answer to an update may come.
const ANSWERABLE: Duration = Duration::from_secs(64);

/// One registration.
#[derive(Debug)]
pub struct Registration {
    anycast: Ipv6Addr,
    settings: Settings,
    /// U, while A is to be registered.
    wanted: Option<Ipv6Addr>,
    /// The U that the agent is asked to delete.
    leaving: Option<Ipv6Addr>,
    state: State,
    /// The number of the next update.
    upcoming: Sequence,
    /// The last number named by the agent while it has another's binding.
    rival: Option<Sequence>,
    /// What the agent has of ours, as far as we know.
    granted: Option<Granted>,
    /// The next transmission.
    due: Option<(Duration, Kind)>,
    /// Transmissions of the present update that were not answered.
    attempts: u32,
    /// The timeout of the present one.
    timeout: Duration,
    /// Refusals in a row that only a person can do something about.
    refusals: u32,
    /// The last refusal.
    refusal: Option<Status>,
    /// Refusals with 135 in a row that were answered with the next number.
    contests: u32,
    /// Whether a timestamp was refused and the next one was not answered yet.
    restamped: bool,
    /// Whether the next retransmission leaps.
    leap: bool,
    sent: VecDeque<Sent>,
}

impl Registration {
    /// Nothing is registered yet. `upcoming` is what [`Registration::upcoming`] of an
    /// earlier life was, or any number.
    #[must_use]
    pub fn new(anycast: Ipv6Addr, settings: Settings, upcoming: Sequence) -> Self {
        Self {
            anycast,
            settings,
            wanted: None,
            leaving: None,
            state: State::Idle,
            upcoming,
            rival: None,
            granted: None,
            due: None,
            attempts: 0,
            timeout: INITIAL_TIMEOUT,
            refusals: 0,
            refusal: None,
            contests: 0,
            restamped: false,
            leap: false,
            sent: VecDeque::with_capacity(REMEMBERED),
        }
    }

    /// A.
    #[must_use]
    pub const fn anycast(&self) -> Ipv6Addr {
        self.anycast
    }

    /// Where it stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// The U that is to be registered.
    #[must_use]
    pub const fn care_of(&self) -> Option<Ipv6Addr> {
        self.wanted
    }

    /// Until when the agent has our binding, as far as we know.
    #[must_use]
    pub fn expiry(&self) -> Option<Duration> {
        self.granted.map(|granted| granted.expiry)
    }

    /// The number of the next update: to be kept over a restart. It changes with every
    /// update; one that is out of date costs a refusal with 135 and nothing more.
    #[must_use]
    pub const fn upcoming(&self) -> Sequence {
        self.upcoming
    }

    /// How many updates in a row the agent has not answered; one that was sent just now
    /// is among them.
    #[must_use]
    pub const fn unanswered(&self) -> u32 {
        self.attempts
    }

    /// Why the agent refused, while it does.
    #[must_use]
    pub fn refusal(&self) -> Option<Status> {
        self.refusal.filter(|_| self.state == State::Refused)
    }

    /// When the next update is sent, if nothing is heard before.
    #[must_use]
    pub fn next_update(&self) -> Option<Duration> {
        self.due.map(|(at, _)| at)
    }

    /// When to call [`Registration::wake`] at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let due = self.due.map(|(at, _)| at);
        let end = self.granted.map(|granted| granted.expiry);
        let end = end.filter(|_| self.state == State::Registered);
        [due, end].into_iter().flatten().min()
    }

    /// A is to be registered with `care_of`. A first registration claims A; another U
    /// is registered at once; the same U again changes nothing.
    pub fn register(&mut self, at: Moment, care_of: Ipv6Addr, peer: &mut Peer) -> Vec<Action> {
        let mut actions = Vec::new();
        let before = self.wanted.replace(care_of);
        if before == Some(care_of) {
            return actions;
        }
        match (before, self.state, self.due) {
            (None, ..) => {
                self.refusals = 0;
                self.contests = 0;
                // After trials, which count from below.
                if let Some(rival) = self.rival.take()
                    && !self.upcoming.is_after(rival)
                {
                    self.upcoming = rival.advance(1);
                }
                self.begin();
                self.enter(State::Registering, &mut actions);
                self.transmit(at, Kind::Claim, peer, &mut actions);
            }
            // The trial will name the new one.
            (Some(_), State::Standby, _) => {}
            (Some(_), state, due) => {
                let kind = due.map_or(Kind::Refresh, |(_, kind)| kind);
                self.begin();
                if state == State::Refused {
                    let asked = match kind {
                        Kind::Trial => State::Standby,
                        _ => State::Registering,
                    };
                    self.enter(asked, &mut actions);
                }
                self.transmit(at, kind, peer, &mut actions);
            }
        }
        actions
    }

    /// A is not to be registered any more. What the agent may have of ours is deleted.
    pub fn deregister(&mut self, at: Moment, peer: &mut Peer) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.wanted.take().is_some() {
            self.delete(at, peer, &mut actions);
        }
        actions
    }

    fn delete(&mut self, at: Moment, peer: &mut Peer, actions: &mut Vec<Action>) {
        // What was not answered may have been accepted: the last one, or else what is
        // known to have been.
        let possible = |sent: &&Sent| !sent.closed && at.now < sent.at + sent.lifetime.duration();
        let last = self.sent.iter().rev().find(possible);
        let granted = self.granted.map(|granted| granted.care_of);
        self.leaving = last.map(|sent| sent.care_of).or(granted);
        if self.leaving.is_none() {
            self.finish(actions);
            return;
        }
        self.begin();
        self.enter(State::Deregistering, actions);
        self.transmit(at, Kind::Deregistration, peer, actions);
    }

    fn finish(&mut self, actions: &mut Vec<Action>) {
        self.due = None;
        self.granted = None;
        self.enter(State::Idle, actions);
    }

    /// What is due by now.
    pub fn wake(&mut self, at: Moment, peer: &mut Peer) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.granted.is_some_and(|granted| granted.expiry <= at.now) {
            self.granted = None;
            if self.state == State::Registered {
                self.enter(State::Registering, &mut actions);
            }
        }
        if let Some((due, kind)) = self.due
            && due <= at.now
        {
            if kind == Kind::Deregistration && self.attempts >= self.settings.deregistration_tries {
                actions.push(Action::Notice(Notice::NotDeregistered));
                self.finish(&mut actions);
            } else {
                if self.attempts == SILENCE && kind != Kind::Deregistration {
                    actions.push(Action::Notice(Notice::Silent { updates: SILENCE }));
                }
                self.transmit(at, kind, peer, &mut actions);
            }
        }
        actions
    }

    /// Begins an update of its own, with a back-off of its own (RFC 6275 §11.8).
    fn begin(&mut self) {
        self.attempts = 0;
        self.leap = false;
        self.timeout = match self.granted {
            None => INITIAL_TIMEOUT_FIRST_REGISTRATION,
            Some(_) => INITIAL_TIMEOUT,
        };
    }

    /// Sends an update, or puts it off to when the peer may be sent one.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-11.8
    fn transmit(&mut self, at: Moment, kind: Kind, peer: &mut Peer, actions: &mut Vec<Action>) {
        if let Err(later) = peer.admit(at.now) {
            self.due = Some((later, kind));
            return;
        }
        if std::mem::take(&mut self.leap) {
            self.upcoming = self.upcoming.advance((at.random >> 32) as u16 & 0x3f);
        }
        if kind == Kind::Trial
            && let Some(rival) = self.rival.filter(|rival| self.upcoming.is_after(*rival))
        {
            self.upcoming = rival.back(TRIAL_SPAN);
        }
        let care_of = match kind {
            Kind::Deregistration => self.leaving,
            _ => self.wanted,
        };
        let Some(care_of) = care_of else {
            self.due = None;
            return;
        };
        let update = Update {
            anycast: self.anycast,
            care_of,
            sequence: self.upcoming,
            lifetime: match kind {
                Kind::Deregistration => Lifetime::ZERO,
                _ => self.settings.lifetime,
            },
            flags: UpdateFlags::ACKNOWLEDGE.union(UpdateFlags::HOME_REGISTRATION),
            timestamp: peer.stamp(at.wall),
        };
        self.upcoming = self.upcoming.advance(1);
        if self.sent.len() == REMEMBERED {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent::new(&update, kind, at.now));
        if self.attempts > 0 {
            self.timeout = (self.timeout * 2).min(MAX_TIMEOUT);
        }
        self.attempts = self.attempts.saturating_add(1);
        self.due = Some((at.now + self.timeout, kind));
        actions.push(Action::Send(update));
    }

    fn enter(&mut self, to: State, actions: &mut Vec<Action>) {
        let from = std::mem::replace(&mut self.state, to);
        if from != to {
            actions.push(Action::StateChanged { from, to });
        }
    }
}
