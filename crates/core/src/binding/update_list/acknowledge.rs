//! What comes of Binding Acknowledgements.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_wire::mobility::Status;

use super::state::{Action, Granted, Kind, Moment, Notice, Ownership, Sent, State};
use super::{Peer, REIGN_LEAP, Registration, TRIAL_SPAN};
use crate::binding::lifetime::Lifetime;
use crate::binding::message::Acknowledgement;
use crate::binding::sequence::Sequence;

/// The first and the longest pause after a refusal that only a person can do
/// something about.
const PAUSE: Duration = Duration::from_secs(60);
const MAX_PAUSE: Duration = Duration::from_secs(3600);
/// How often in a row a 135 is answered at once.
const CONTESTS: u32 = 8;
/// The most that a trial waits beyond the end of the owner's binding, so that those
/// who stand by do not all try at once.
const TRIAL_JITTER: Duration = Duration::from_secs(1);

/// `longest` times a random number from 0 to 1.
fn part(longest: Duration, random: u64) -> Duration {
    longest.mul_f64((random >> 11) as f64 / (1u64 << 53) as f64)
}

impl Registration {
    /// The agent's answer, which the caller has authenticated. `None`: it answers
    /// nothing that waits for an answer, and is ignored.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-11.7.3
    pub fn acknowledge(
        &mut self,
        at: Moment,
        ack: &Acknowledgement,
        peer: &mut Peer,
    ) -> Option<Vec<Action>> {
        let mut actions = Vec::new();
        let answered = self.answered(at.now, ack)?;
        let sent = self.sent[answered];
        if ack.status == Status::SEQUENCE_OUT_OF_WINDOW {
            self.out_of_window(at, ack, &sent, peer, &mut actions);
            return Some(actions);
        }
        if ack.status == Status::ID_MISMATCH {
            self.mismatched(at, ack, answered, peer, &mut actions);
            return Some(actions);
        }
        // What was sent before it will change nothing any more: the agent refuses it.
        // After a deletion it would accept it, as there is nothing to compare with.
        let settled = match sent.kind {
            Kind::Deregistration => answered..answered + 1,
            _ => 0..answered + 1,
        };
        for sent in self.sent.range_mut(settled) {
            sent.closed = true;
        }
        let lifetime = ack.lifetime.min(sent.lifetime);
        if !ack.status.is_accepted() {
            self.refused(at, ack, &sent, &mut actions);
        } else if sent.kind == Kind::Deregistration {
            if self.wanted.is_none() {
                self.finish(&mut actions);
            }
        } else if lifetime.is_zero() {
            // Accepted for no time at all.
            let refusal = Acknowledgement {
                status: Status::UNSPECIFIED,
                ..*ack
            };
            self.refused(at, &refusal, &sent, &mut actions);
        } else {
            self.accepted(at, ack, &sent, lifetime, peer, &mut actions);
        }
        Some(actions)
    }

    /// Which of the updates that wait for an answer it answers. A 135 has no number
    /// to tell by; without a timestamp it counts for the newest.
    //= https://www.rfc-editor.org/rfc/rfc4285#section-6
    fn answered(&self, now: Duration, ack: &Acknowledgement) -> Option<usize> {
        self.sent.iter().rposition(|sent| {
            let numbered = sent.sequence == ack.sequence;
            let stamped = sent.timestamp == ack.timestamp;
            sent.is_open(now)
                && match ack.status {
                    Status::SEQUENCE_OUT_OF_WINDOW => stamped,
                    Status::ID_MISMATCH => {
                        let both = sent.timestamp.zip(ack.timestamp);
                        numbered && both.is_some_and(|(ours, its)| its.has_fraction_of(ours))
                    }
                    _ => numbered && stamped,
                }
        })
    }

    fn accepted(
        &mut self,
        at: Moment,
        ack: &Acknowledgement,
        sent: &Sent,
        lifetime: Lifetime,
        peer: &mut Peer,
        actions: &mut Vec<Action>,
    ) {
        let granted = Granted {
            sequence: sent.sequence,
            care_of: sent.care_of,
            expiry: sent.at + lifetime.duration(),
        };
        if granted.expiry <= at.now {
            return;
        }
        let Some(wanted) = self.wanted else {
            // The deletion overtook it: there is something to delete now.
            if self.state == State::Idle {
                self.granted = Some(granted);
                self.delete(at, peer, actions);
            }
            return;
        };
        if self
            .granted
            .is_none_or(|known| sent.sequence.is_after(known.sequence))
        {
            self.granted = Some(granted);
        }
        if !self.has(wanted) {
            return;
        }
        self.refusals = 0;
        self.contests = 0;
        self.restamped = false;
        if ack.status == Status::PREFIX_DISCOVERY {
            actions.push(Action::Notice(Notice::PrefixDiscovery));
        }
        self.enter(State::Registered, actions);
        if sent.kind == Kind::Trial {
            // One acceptance of several retransmissions is enough.
            if self.due.is_some_and(|(_, kind)| kind == Kind::Trial) {
                let last = self.rival.take().unwrap_or(self.upcoming);
                self.upcoming = last.advance(REIGN_LEAP);
                self.begin();
                self.transmit(at, Kind::Confirmation, peer, actions);
            }
            return;
        }
        // Not from where a trial would have begun, had it stayed a refusal.
        self.rival = None;
        if !self.upcoming.is_after(sent.sequence) {
            self.upcoming = sent.sequence.advance(1);
        }
        self.begin();
        let interval = refresh_interval(lifetime, ack.refresh_advice);
        let early = part(interval / 8, at.random);
        self.due = Some((sent.at + interval - early, Kind::Refresh));
    }

    fn has(&self, care_of: Ipv6Addr) -> bool {
        self.granted
            .is_some_and(|granted| granted.care_of == care_of)
    }

    /// RFC 6275 §11.7.3: retransmission MUST stop; the cause MAY be corrected and the
    /// update sent again with a new number.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-11.7.3
    fn refused(
        &mut self,
        at: Moment,
        ack: &Acknowledgement,
        sent: &Sent,
        actions: &mut Vec<Action>,
    ) {
        let deletes = sent.kind == Kind::Deregistration;
        if deletes != self.wanted.is_none() {
            // About what is not wanted any more.
            return;
        }
        let status = ack.status;
        if deletes {
            // Either there is nothing to delete, or another try may help.
            if status == Status::NOT_HOME_AGENT {
                self.finish(actions);
            }
            return;
        }
        let again = match status {
            // What may be otherwise soon: the back-off goes on. Of an address that another
            // node has, the agent asks again itself every few seconds.
            Status::UNSPECIFIED
            | Status::RESOURCES
            | Status::DUPLICATE_ADDRESS
            | Status::ID_MISMATCH => at.now + self.timeout,
            _ => {
                let pause = PAUSE.saturating_mul(1 << self.refusals.min(16));
                self.refusals = self.refusals.saturating_add(1);
                self.begin();
                at.now + pause.min(MAX_PAUSE)
            }
        };
        let kind = self.due.map_or(sent.kind, |(_, kind)| kind);
        self.due = Some((again, kind));
        self.refusal = Some(status);
        self.enter(State::Refused, actions);
        actions.push(Action::Notice(Notice::Refused { status, again }));
    }

    /// Status 144. Timestamps that are beyond the skew are by the agent's clock from
    /// now on, and the update is sent again at once, but only once.
    ///
    /// Within the skew the agent has seen that timestamp or a later one: a duplicate
    /// of what it has answered or will answer, or one that was overtaken. Then the
    /// answer that counts may yet come, and a retransmission has a later timestamp.
    //= https://www.rfc-editor.org/rfc/rfc4285#section-6
    fn mismatched(
        &mut self,
        at: Moment,
        ack: &Acknowledgement,
        answered: usize,
        peer: &mut Peer,
        actions: &mut Vec<Action>,
    ) {
        let sent = self.sent[answered];
        let stamps = sent.timestamp.zip(ack.timestamp);
        let Some(ahead) = stamps.and_then(|(ours, its)| peer.adjust(ours, its)) else {
            return;
        };
        self.sent[answered].closed = true;
        actions.push(Action::Notice(Notice::ClockDiffers { ahead }));
        match self.due {
            Some((_, kind)) if !std::mem::replace(&mut self.restamped, true) => {
                self.transmit(at, kind, peer, actions);
            }
            _ => self.refused(at, ack, &sent, actions),
        }
    }

    /// Status 135: the cases are those at the head of the module.
    fn out_of_window(
        &mut self,
        at: Moment,
        ack: &Acknowledgement,
        sent: &Sent,
        peer: &mut Peer,
        actions: &mut Vec<Action>,
    ) {
        let named = ack.sequence;
        let open = |sent: &&Sent| sent.is_open(at.now);
        let newest = self.sent.iter().rev().find(open).copied();
        if newest.is_none_or(|newest| newest.sequence.is_after(named)) {
            return;
        }
        let ours = self
            .sent
            .iter()
            .filter(open)
            .any(|sent| sent.sequence == named);
        let foreign = sent.timestamp.is_some() && sent.sequence == named;
        let ambiguous = ours && !foreign;
        let kind = newest.map_or(sent.kind, |newest| newest.kind);
        if self.wanted.is_none() != (kind == Kind::Deregistration) {
            return;
        }
        if ambiguous && matches!(kind, Kind::Refresh | Kind::Deregistration) {
            self.leap = true;
            return;
        }
        // What the agent has is beyond them.
        for sent in &mut self.sent {
            sent.closed |= named.is_after(sent.sequence) || (foreign && sent.sequence == named);
        }
        match (kind, self.settings.ownership) {
            // It is not ours to delete.
            (Kind::Deregistration, _) => self.finish(actions),
            (Kind::Claim, _) | (_, Ownership::Last) => {
                self.granted = None;
                self.upcoming = named.advance(self.settings.sequence_step.max(1));
                self.enter(State::Registering, actions);
                self.contests = self.contests.saturating_add(1);
                if self.contests <= CONTESTS {
                    self.begin();
                    self.transmit(at, kind, peer, actions);
                }
            }
            (_, Ownership::Standby) => self.stand_by(at, named, ack.lifetime, actions),
        }
    }

    /// Waits for the end of the binding of the responder that has the number `last`.
    fn stand_by(&mut self, at: Moment, last: Sequence, left: Lifetime, actions: &mut Vec<Action>) {
        self.rival = Some(last);
        self.upcoming = last.back(TRIAL_SPAN);
        self.granted = None;
        self.begin();
        // RFC 6275 §6.1.8 leaves the field undefined in a refusal.
        let told = !left.is_zero() && left <= self.settings.lifetime;
        let wait = if told { left } else { self.settings.lifetime };
        let wait = wait.duration() + part(TRIAL_JITTER, at.random);
        self.due = Some((at.now + wait, Kind::Trial));
        self.enter(State::Standby, actions);
    }
}

/// After how long a binding is refreshed: as advised, if that is less than what was
/// granted, else at three quarters of it, which leaves time for retransmissions.
//= https://www.rfc-editor.org/rfc/rfc6275#section-6.2.4
fn refresh_interval(granted: Lifetime, advice: Option<Lifetime>) -> Duration {
    match advice {
        Some(advice) if !advice.is_zero() && advice < granted => advice.duration(),
        _ => granted.duration() * 3 / 4,
    }
}
