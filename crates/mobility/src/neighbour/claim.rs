//! One address on one link: from the first probe to the last objection.
//!
//! **When the address is taken.** RFC 6275 §10.3.1 has the home agent look for another
//! owner before it answers the first Binding Update; RFC 4862 lets that take
//! RetransTimer, a second. It is done when the agent starts, for all its addresses at
//! once, and not when an update comes: so no responder waits for it but those that
//! register within the agent's first second, and those no longer than it. Until then
//! the address is *tentative*: nothing is answered for it. From then on the agent holds
//! it, with bindings or without, and answers other nodes' probes: nobody can come by it
//! who looks first.
//!
//! **When somebody has it.** It is *contested*: the agent does not answer for it, and
//! refuses registrations with status 134. It is probed again from time to time, and
//! taken when nobody answers any more.
//!
//! **When somebody claims it later**, without having looked or listened, it is probed
//! once more, so that one stray advertisement is not enough; who then says it again has
//! it. An address that is answered for by two reaches neither reliably, and the other's
//! advertisements override the agent's (RFC 4861 §7.2.8): the agent gives way.

use std::time::Duration;

/// Advertisements when an address was taken.
//= https://www.rfc-editor.org/rfc/rfc4861#section-10
const MAX_NEIGHBOR_ADVERTISEMENT: u32 = 3;
/// After this time it is looked whether a contested address is free, and one that could
/// not be probed is probed.
const AGAIN: Duration = Duration::from_secs(5);

/// How duplicate address detection is done on a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Probes (`DupAddrDetectTransmits`); none: it is not done.
    pub transmits: u32,
    /// The time between two, and after the last (`RetransTimer`).
    pub retransmit: Duration,
}

impl Timing {
    /// One probe; a second.
    //= https://www.rfc-editor.org/rfc/rfc4862#section-5.1
    //= https://www.rfc-editor.org/rfc/rfc4861#section-10
    pub const DEFAULT: Self = Self {
        transmits: 1,
        retransmit: Duration::from_secs(1),
    };
}

/// How it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is being found out whether anybody has it.
    Tentative,
    /// It is ours on this link.
    Held,
    /// Another node has it.
    Contested,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask whether anybody has it.
    Probe,
    /// Answer for it from now on.
    Take,
    /// Tell all nodes where it is.
    Announce,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Search {
    /// Nothing to find out until then, if ever.
    Quiet(Option<Duration>),
    /// So many probes are left; the next, or the end, is then.
    Probing { left: u32, next: Duration },
}

/// A claim to an address on a link.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    timing: Timing,
    standing: Standing,
    search: Search,
    /// Announcements that are left, and when the next is due.
    announcements: u32,
    announce_at: Duration,
    /// Whether a probe of this search could not be sent.
    unheard: bool,
}

impl Claim {
    /// A claim that begins at `now`.
    #[must_use]
    pub fn new(timing: Timing, now: Duration) -> Self {
        Self {
            timing,
            standing: Standing::Tentative,
            search: Search::Probing {
                left: timing.transmits,
                next: now,
            },
            announcements: 0,
            announce_at: now,
            unheard: false,
        }
    }

    /// How it stands.
    #[must_use]
    pub const fn standing(&self) -> Standing {
        self.standing
    }

    /// When something is due.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        let search = match self.search {
            Search::Quiet(until) => until,
            Search::Probing { next, .. } => Some(next),
        };
        let announcement = (self.announcements > 0).then_some(self.announce_at);
        search.into_iter().chain(announcement).min()
    }

    /// What is due by `now`, one after the other until there is nothing.
    //= https://www.rfc-editor.org/rfc/rfc4862#section-5.4.2
    //= https://www.rfc-editor.org/rfc/rfc6275#section-10.4.1
    pub fn wake(&mut self, now: Duration) -> Option<Action> {
        match self.search {
            Search::Quiet(Some(until)) if until <= now => self.search(now),
            _ => {}
        }
        if let Search::Probing { left, next } = self.search
            && next <= now
        {
            if let Some(left) = left.checked_sub(1) {
                let next = now + self.timing.retransmit;
                self.search = Search::Probing { left, next };
                return Some(Action::Probe);
            }
            // Whom a probe did not reach is asked again.
            let again = std::mem::take(&mut self.unheard).then(|| now + AGAIN);
            self.search = Search::Quiet(again);
            let before = std::mem::replace(&mut self.standing, Standing::Held);
            self.announce(now);
            if before != Standing::Held {
                return Some(Action::Take);
            }
        }
        if self.announcements > 0 && self.announce_at <= now {
            self.announcements -= 1;
            self.announce_at = now + self.timing.retransmit;
            return Some(Action::Announce);
        }
        None
    }

    fn search(&mut self, now: Duration) {
        self.unheard = false;
        self.search = Search::Probing {
            left: self.timing.transmits,
            next: now,
        };
    }

    /// A probe could not be sent.
    pub fn missed(&mut self) {
        self.unheard = true;
    }

    /// Tells all nodes anew, if it is ours: as when it gets its first binding.
    pub fn announce(&mut self, now: Duration) {
        if self.standing == Standing::Held {
            self.announcements = MAX_NEIGHBOR_ADVERTISEMENT;
            self.announce_at = now;
        }
    }

    /// It was answered for no more for a while, though it is ours: who knows who has
    /// taken it.
    pub fn doubt(&mut self, now: Duration) {
        if self.standing == Standing::Held && self.timing.transmits > 0 {
            self.search(now);
        }
    }

    /// Another node has said that it has it, or is about to.
    //= https://www.rfc-editor.org/rfc/rfc4862#section-5.4.3
    //= https://www.rfc-editor.org/rfc/rfc4862#section-5.4.4
    pub fn object(&mut self, now: Duration) {
        let held = self.standing == Standing::Held;
        match self.search {
            // Where nothing is to be detected nothing is.
            _ if self.timing.transmits == 0 => {}
            Search::Quiet(_) if held => self.search(now),
            Search::Quiet(_) => {}
            // Said before the first probe of a search, it is no answer to one.
            Search::Probing { left, .. } if held && left == self.timing.transmits => {}
            Search::Probing { .. } => {
                self.search = Search::Quiet(Some(now + AGAIN));
                self.announcements = 0;
                self.standing = Standing::Contested;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(1_000_000 + ms)
    }

    /// All that is due at a time.
    fn all(claim: &mut Claim, now: Duration) -> Vec<Action> {
        std::iter::from_fn(|| claim.wake(now)).collect()
    }

    /// A claim that was taken, and announced as often as it is.
    fn held() -> Claim {
        let mut claim = Claim::new(Timing::DEFAULT, at(0));
        all(&mut claim, at(0));
        for second in 1..4 {
            all(&mut claim, at(second * 1000));
        }
        assert_eq!(claim.due(), None);
        claim
    }

    /// RFC 4862 §5.4: unique when nobody has said otherwise RetransTimer after the last
    /// probe; RFC 6275 §10.4.1: then announced, up to three times.
    #[test]
    fn an_address_that_nobody_has() {
        let mut claim = Claim::new(Timing::DEFAULT, at(0));
        assert_eq!(all(&mut claim, at(0)), [Action::Probe]);
        assert_eq!(claim.standing(), Standing::Tentative);
        assert_eq!(claim.due(), Some(at(1000)));
        assert_eq!(all(&mut claim, at(999)), []);
        assert_eq!(all(&mut claim, at(1000)), [Action::Take, Action::Announce]);
        assert_eq!(claim.standing(), Standing::Held);
        assert_eq!(all(&mut claim, at(2000)), [Action::Announce]);
        assert_eq!(all(&mut claim, at(3000)), [Action::Announce]);
        assert_eq!(claim.due(), None);
        claim.announce(at(9000));
        assert_eq!(claim.due(), Some(at(9000)), "its first binding");
    }

    #[test]
    fn as_many_probes_as_the_link_asks_for() {
        let timing = Timing {
            transmits: 2,
            retransmit: Duration::from_millis(300),
        };
        let mut claim = Claim::new(timing, at(0));
        assert_eq!(all(&mut claim, at(0)), [Action::Probe]);
        assert_eq!(all(&mut claim, at(300)), [Action::Probe]);
        assert_eq!(all(&mut claim, at(600)), [Action::Take, Action::Announce]);
        let none = Timing {
            transmits: 0,
            ..timing
        };
        let mut claim = Claim::new(none, at(0));
        assert_eq!(all(&mut claim, at(0)), [Action::Take, Action::Announce]);
        claim.object(at(1));
        claim.object(at(2));
        assert_eq!(claim.standing(), Standing::Held, "none is detected");
    }

    /// RFC 4862 §5.4.3 and §5.4.4: whoever says so within that time has it; it is taken
    /// when nobody does any more.
    #[test]
    fn an_address_that_another_has() {
        let mut claim = Claim::new(Timing::DEFAULT, at(0));
        assert_eq!(all(&mut claim, at(0)), [Action::Probe]);
        claim.object(at(500));
        assert_eq!(claim.standing(), Standing::Contested);
        assert_eq!(all(&mut claim, at(1000)), []);
        claim.announce(at(1000));
        assert_eq!(claim.due(), Some(at(5500)), "not ours to announce");
        assert_eq!(all(&mut claim, at(5500)), [Action::Probe]);
        assert_eq!(claim.standing(), Standing::Contested, "while it is probed");
        claim.object(at(5600));
        assert_eq!(all(&mut claim, at(10_600)), [Action::Probe]);
        assert_eq!(
            all(&mut claim, at(11_600)),
            [Action::Take, Action::Announce]
        );
    }

    #[test]
    fn a_claim_to_what_is_held_is_looked_into() {
        let mut claim = held();
        claim.object(at(9000));
        // Said twice before it was asked.
        claim.object(at(9000));
        assert_eq!(all(&mut claim, at(9000)), [Action::Probe]);
        assert_eq!(claim.standing(), Standing::Held);
        // It was a stray one: neighbours are told who has it.
        assert_eq!(all(&mut claim, at(10_000)), [Action::Announce]);
        let mut claim = held();
        claim.object(at(9000));
        assert_eq!(all(&mut claim, at(9000)), [Action::Probe]);
        claim.object(at(9100));
        assert_eq!(claim.standing(), Standing::Contested);
        assert_eq!(all(&mut claim, at(12_000)), []);
    }

    #[test]
    fn what_was_not_answered_for_or_not_probed_is_probed() {
        let mut claim = held();
        claim.doubt(at(9000));
        assert_eq!(all(&mut claim, at(9000)), [Action::Probe]);
        assert_eq!(claim.standing(), Standing::Held);
        let mut claim = Claim::new(Timing::DEFAULT, at(0));
        assert_eq!(all(&mut claim, at(0)), [Action::Probe]);
        claim.missed();
        assert_eq!(all(&mut claim, at(1000)), [Action::Take, Action::Announce]);
        assert_eq!(all(&mut claim, at(6000)).first(), Some(&Action::Probe));
    }
}
