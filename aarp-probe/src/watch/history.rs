//! What was seen while watching, without I/O: who answered, from when to when, and
//! what changed.

use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::time::{Duration, SystemTime};

use crate::statistics::RoundTrips;
use crate::who::Who;

/// Rounds that the timeline goes back.
const STRIP: usize = 1024;
/// Events that are kept for the summary.
const EVENTS: usize = 256;

/// One round: what was sent to A, and to the unicast address of each responder that
/// is known, at the same time.
#[derive(Debug, Clone)]
pub(crate) struct Round {
    pub(crate) at: SystemTime,
    /// Who answered for A.
    pub(crate) who: Option<Who>,
    /// The round trip of that answer; an address that must not be used has none.
    pub(crate) rtt: Option<Duration>,
    /// What came back from unicast addresses that were asked themselves.
    pub(crate) own: Vec<(Ipv6Addr, Option<Duration>)>,
    /// Whether this user may not send echoes to unicast addresses.
    pub(crate) own_forbidden: bool,
    /// Why nobody answered, where that is known.
    pub(crate) reason: Option<String>,
}

/// Something that is worth a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The first answer.
    First(Who),
    /// Another than before answers.
    Changed(Who, Who),
    /// Nobody answers any more, or nobody did from the beginning.
    Silent(Option<Who>),
    /// The same as before answers again after so many rounds without an answer.
    Again(Who, u64),
}

/// A responder, as far as it was seen.
#[derive(Debug, Clone)]
pub(crate) struct Responder {
    pub(crate) who: Who,
    /// How often it answered for A.
    pub(crate) answers: u64,
    pub(crate) first: SystemTime,
    pub(crate) last: SystemTime,
    /// Its answers to probes that were sent to A.
    pub(crate) to_a: RoundTrips,
    /// Its answers to probes that were sent to itself.
    pub(crate) to_u: RoundTrips,
}

/// A round in the timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The number of the responder that answered.
    pub(crate) responder: Option<usize>,
    pub(crate) to_a: Option<Duration>,
    /// The round trip to the unicast address of the responder that answered, or that
    /// answered last; none when it was lost, or not sent.
    pub(crate) to_u: Option<Duration>,
    /// Whether something was sent to a unicast address.
    pub(crate) asked_u: bool,
}

/// Everything that was seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct History {
    pub(crate) rounds: u64,
    pub(crate) unanswered: u64,
    pub(crate) changes: u64,
    pub(crate) began: Option<SystemTime>,
    pub(crate) ended: Option<SystemTime>,
    pub(crate) responders: Vec<Responder>,
    pub(crate) to_a: RoundTrips,
    pub(crate) to_u: RoundTrips,
    pub(crate) strip: VecDeque<Mark>,
    pub(crate) events: VecDeque<(SystemTime, Event)>,
    /// Whether this user may not send echoes to unicast addresses.
    pub(crate) own_forbidden: bool,
    /// The number of who answered last.
    present: Option<usize>,
    /// How many rounds in a row nobody has answered.
    silent: u64,
}

impl History {
    /// Takes a round in, and says what it has brought.
    pub(crate) fn observe(&mut self, round: &Round) -> Option<Event> {
        self.rounds += 1;
        self.own_forbidden |= round.own_forbidden;
        self.began.get_or_insert(round.at);
        self.ended = Some(round.at);
        let before = self.present;
        let event = match round.who {
            None => {
                self.unanswered += 1;
                self.silent += 1;
                self.to_a.add(None);
                let before = before.map(|n| self.responders[n].who);
                (self.silent == 1).then_some(Event::Silent(before))
            }
            Some(who) => {
                let silent = std::mem::take(&mut self.silent);
                let number = self.number_of(who, round.at);
                self.present = Some(number);
                self.count_answer(number, round);
                match before {
                    None => Some(Event::First(who)),
                    Some(old) if old != number => {
                        self.changes += 1;
                        Some(Event::Changed(self.responders[old].who, who))
                    }
                    Some(_) if silent > 0 => Some(Event::Again(who, silent)),
                    Some(_) => None,
                }
            }
        };
        self.count_own(round);
        if let Some(event) = event {
            self.events.push_back((round.at, event));
            if self.events.len() > EVENTS {
                self.events.pop_front();
            }
        }
        event
    }

    fn number_of(&mut self, who: Who, at: SystemTime) -> usize {
        let known = self.responders.iter().position(|known| known.who == who);
        known.unwrap_or_else(|| {
            self.responders.push(Responder {
                who,
                answers: 0,
                first: at,
                last: at,
                to_a: RoundTrips::default(),
                to_u: RoundTrips::default(),
            });
            self.responders.len() - 1
        })
    }

    fn count_answer(&mut self, number: usize, round: &Round) {
        let responder = &mut self.responders[number];
        responder.answers += 1;
        responder.last = round.at;
        // Only an answer whose round trip is known is one to count with.
        if round.rtt.is_some() {
            responder.to_a.add(round.rtt);
            self.to_a.add(round.rtt);
        }
    }

    fn count_own(&mut self, round: &Round) {
        let present = self.present.map(|n| self.responders[n].who);
        let mut mark = Mark {
            responder: round.who.and(self.present),
            to_a: round.rtt,
            to_u: None,
            asked_u: false,
        };
        for (u, rtt) in &round.own {
            if let Some(of) = self
                .responders
                .iter_mut()
                .find(|of| of.who == Who::Unicast(*u))
            {
                of.to_u.add(*rtt);
            }
            if present == Some(Who::Unicast(*u)) {
                self.to_u.add(*rtt);
                mark.to_u = *rtt;
                mark.asked_u = true;
            }
        }
        self.strip.push_back(mark);
        if self.strip.len() > STRIP {
            self.strip.pop_front();
        }
    }

    /// Who answered last.
    pub(crate) fn present(&self) -> Option<Who> {
        self.present.map(|n| self.responders[n].who)
    }

    /// The share of answers that a responder gave.
    pub(crate) fn share(&self, responder: &Responder) -> Option<f64> {
        let answers = self.rounds - self.unanswered;
        (answers > 0).then(|| responder.answers as f64 / answers as f64)
    }

    /// For how long it was watched, from the first round to the last.
    pub(crate) fn duration(&self) -> Duration {
        match (self.began, self.ended) {
            (Some(began), Some(ended)) => ended.duration_since(began).unwrap_or_default(),
            _ => Duration::ZERO,
        }
    }
}

/// The letter of a responder in the timeline.
pub(crate) fn letter(number: usize) -> char {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    LETTERS
        .get(number)
        .map_or('*', |letter| char::from(*letter))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) const MS: Duration = Duration::from_millis(1);

    pub(crate) fn u(n: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0x50 + n, 0, 0, 0, 0, 2)
    }

    /// A round at that second, answered by that one.
    pub(crate) fn round(second: u64, who: Option<Who>, own: &[(u16, Option<u64>)]) -> Round {
        Round {
            at: SystemTime::UNIX_EPOCH + Duration::from_secs(second),
            who,
            rtt: who.map(|_| 10 * MS),
            own: own
                .iter()
                .map(|(n, ms)| (u(*n), ms.map(Duration::from_millis)))
                .collect(),
            own_forbidden: false,
            reason: None,
        }
    }

    #[test]
    fn a_route_moves() {
        let (one, two) = (Who::Unicast(u(1)), Who::Unicast(u(2)));
        let mut history = History::default();
        let seen: Vec<Option<Event>> = [
            round(0, Some(one), &[(1, Some(9))]),
            round(1, Some(one), &[(1, Some(11))]),
            // While routing converges A is lost and U is not.
            round(2, None, &[(1, Some(10))]),
            round(3, None, &[(1, Some(10))]),
            round(4, Some(two), &[(1, Some(10)), (2, Some(20))]),
            round(5, Some(two), &[(1, None), (2, Some(20))]),
            round(6, None, &[]),
            round(7, Some(two), &[(2, Some(20))]),
        ]
        .iter()
        .map(|round| history.observe(round))
        .collect();
        assert_eq!(
            seen,
            [
                Some(Event::First(one)),
                None,
                Some(Event::Silent(Some(one))),
                None,
                Some(Event::Changed(one, two)),
                None,
                Some(Event::Silent(Some(two))),
                Some(Event::Again(two, 1)),
            ]
        );
        assert_eq!(
            (history.rounds, history.unanswered, history.changes),
            (8, 3, 1)
        );
        assert_eq!(history.duration(), Duration::from_secs(7));
        let [first, second] = history.responders.as_slice() else {
            panic!("{:?}", history.responders)
        };
        assert_eq!(history.share(first), Some(0.4));
        assert_eq!(first.last, SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        assert_eq!((first.to_u.sent(), first.to_u.answered()), (6, 5));
        assert_eq!(first.to_u.mean(), Some(10 * MS));
        assert_eq!(second.to_u.loss(), Some(0.0));
        // To the one that is present: four to the first, three to the second.
        assert_eq!((history.to_u.sent(), history.to_u.answered()), (7, 7));
        assert_eq!(history.to_a.loss(), Some(3.0 / 8.0));
        let letters: String = history
            .strip
            .iter()
            .map(|mark| mark.responder.map_or('.', letter))
            .collect();
        assert_eq!(letters, "AA..BB.B");
    }

    #[test]
    fn silence_from_the_beginning_is_said_once() {
        let mut history = History::default();
        assert_eq!(
            history.observe(&round(0, None, &[])),
            Some(Event::Silent(None))
        );
        assert_eq!(history.observe(&round(1, None, &[])), None);
        let first = Event::First(Who::Itself);
        assert_eq!(
            history.observe(&round(2, Some(Who::Itself), &[])),
            Some(first)
        );
        assert_eq!(history.changes, 0);
    }

    proptest! {
        #[test]
        fn memory_is_bounded_and_counts_add_up(
            answers in proptest::collection::vec(proptest::option::of(0u16..3), 1..3000),
        ) {
            let mut history = History::default();
            let mut changes = 0;
            let mut last = None;
            for (second, answer) in answers.iter().enumerate() {
                let who = answer.map(|n| Who::Unicast(u(n)));
                history.observe(&round(second as u64, who, &[]));
                if let Some(n) = answer {
                    changes += u64::from(last.is_some_and(|last| last != n));
                    last = Some(n);
                }
            }
            prop_assert_eq!(history.changes, changes);
            prop_assert!(history.strip.len() <= STRIP && history.events.len() <= EVENTS);
            let answered: u64 = history.responders.iter().map(|r| r.answers).sum();
            prop_assert_eq!(answered + history.unanswered, history.rounds);
            let shares: f64 = history.responders.iter().filter_map(|r| history.share(r)).sum();
            prop_assert!(answered == 0 || (shares - 1.0).abs() < 1e-9);
        }
    }
}
