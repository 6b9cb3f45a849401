//! Who answered which flow, without I/O.

use std::net::Ipv6Addr;
use std::time::Duration;

use crate::statistics::{RoundTrips, unseen_share};
use crate::who::Who;

/// What tells a flow from another, for the routers on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flow {
    /// The source address; none where the kernel chooses.
    pub(crate) source: Ipv6Addr,
    /// The flow label, 20 bits; none where it could not be set.
    pub(crate) label: Option<u32>,
    /// The identifier of the echo.
    pub(crate) ident: u16,
}

/// A flow, and what came back on it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    pub(crate) flow: Flow,
    /// The answer to each of its probes.
    pub(crate) answers: Vec<Option<(Who, Duration)>>,
}

/// A responder, as far as it was seen.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) who: Who,
    /// Flows whose first answer it gave.
    pub(crate) flows: u64,
    /// The flow that it was first seen in, from 1.
    pub(crate) first: u64,
    pub(crate) trips: RoundTrips,
    /// The source addresses from which it was reached.
    pub(crate) sources: Vec<Ipv6Addr>,
}

/// The result of a census.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    pub(crate) flows: u64,
    /// Flows that had an answer.
    pub(crate) answered: u64,
    pub(crate) probes: u64,
    pub(crate) lost: u64,
    /// Flows that had answers from more than one responder.
    pub(crate) split: u64,
    /// Flows that had more than one answer, and so could tell.
    pub(crate) repeated: u64,
    /// By their share, the largest first.
    pub(crate) responders: Vec<Seen>,
    /// Answered flows since the last new responder was seen.
    pub(crate) since_new: u64,
    /// For each source address: its flows, and those that had an answer.
    pub(crate) sources: Vec<(Ipv6Addr, u64, u64)>,
    /// Whether a signal ended it before all flows were asked.
    pub(crate) interrupted: bool,
}

impl Tally {
    /// Counts.
    pub(crate) fn of(asked: &[Asked]) -> Self {
        let mut tally = Tally::default();
        for asked in asked {
            tally.count(asked);
        }
        // Among equals the one that was seen first.
        tally
            .responders
            .sort_by_key(|seen| (std::cmp::Reverse(seen.flows), seen.first));
        tally
    }

    fn count(&mut self, asked: &Asked) {
        self.flows += 1;
        self.probes += asked.answers.len() as u64;
        let source = asked.flow.source;
        let place = self.sources.iter().position(|(known, ..)| *known == source);
        let place = place.unwrap_or_else(|| {
            self.sources.push((source, 0, 0));
            self.sources.len() - 1
        });
        self.sources[place].1 += 1;
        let answers: Vec<(Who, Duration)> = asked.answers.iter().flatten().copied().collect();
        self.lost += (asked.answers.len() - answers.len()) as u64;
        let Some((first, _)) = answers.first().copied() else {
            return;
        };
        self.answered += 1;
        self.since_new += 1;
        self.sources[place].2 += 1;
        self.repeated += u64::from(answers.len() > 1);
        self.split += u64::from(answers.iter().any(|(who, _)| *who != first));
        for (number, (who, rtt)) in answers.iter().enumerate() {
            let seen = self.seen(*who);
            seen.trips.add(Some(*rtt));
            seen.flows += u64::from(number == 0);
            if !seen.sources.contains(&source) {
                seen.sources.push(source);
            }
        }
    }

    fn seen(&mut self, who: Who) -> &mut Seen {
        let known = self.responders.iter().position(|seen| seen.who == who);
        let place = known.unwrap_or_else(|| {
            self.since_new = 0;
            self.responders.push(Seen {
                who,
                flows: 0,
                first: self.flows,
                trips: RoundTrips::default(),
                sources: Vec::new(),
            });
            self.responders.len() - 1
        });
        &mut self.responders[place]
    }

    /// The share of the answered flows that a responder has.
    pub(crate) fn share(&self, seen: &Seen) -> f64 {
        match self.answered {
            0 => 0.0,
            answered => seen.flows as f64 / answered as f64,
        }
    }

    /// The share of flows that one more responder may have at the most, and still
    /// have been missed; at 95 % confidence.
    pub(crate) fn unseen_share(&self) -> f64 {
        unseen_share(self.answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ip(n: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, n, 0, 0, 0, 0, 2)
    }

    fn asked(source: u16, answers: &[Option<u16>]) -> Asked {
        let ms = Duration::from_millis(1);
        Asked {
            flow: Flow {
                source: ip(source),
                label: None,
                ident: 0,
            },
            answers: answers
                .iter()
                .map(|answer| answer.map(|n| (Who::Unicast(ip(n)), u32::from(n) * ms)))
                .collect(),
        }
    }

    #[test]
    fn flows_are_counted_by_their_first_answer() {
        let tally = Tally::of(&[
            asked(1, &[Some(7), Some(7)]),
            asked(1, &[None, None]),
            asked(2, &[None, Some(8)]),
            asked(2, &[Some(8), Some(9)]),
            asked(2, &[Some(8), Some(8)]),
        ]);
        let seen: Vec<_> = tally
            .responders
            .iter()
            .map(|seen| (seen.who, seen.flows, seen.first, seen.trips.answered()))
            .collect();
        assert_eq!(
            seen,
            [
                (Who::Unicast(ip(8)), 3, 3, 4),
                (Who::Unicast(ip(7)), 1, 1, 2),
                (Who::Unicast(ip(9)), 0, 4, 1),
            ]
        );
        assert_eq!((tally.flows, tally.answered), (5, 4));
        assert_eq!((tally.probes, tally.lost), (10, 3));
        assert_eq!((tally.split, tally.repeated), (1, 3));
        assert_eq!(tally.since_new, 1);
        assert_eq!(tally.sources, [(ip(1), 2, 1), (ip(2), 3, 3)]);
        assert_eq!(tally.responders[0].sources, [ip(2)]);
        assert_eq!(tally.share(&tally.responders[0]), 0.75);
    }

    #[test]
    fn nobody_is_certain_of_nothing() {
        let tally = Tally::of(&[asked(1, &[None])]);
        assert!(tally.responders.is_empty());
        assert_eq!((tally.unseen_share(), tally.since_new), (1.0, 0));
    }

    proptest! {
        #[test]
        fn shares_add_up(
            flows in proptest::collection::vec(
                (0u16..3, proptest::collection::vec(proptest::option::of(0u16..5), 1..4)), 0..100),
        ) {
            let asked: Vec<Asked> = flows.iter().map(|(s, answers)| asked(*s, answers)).collect();
            let tally = Tally::of(&asked);
            let flows: u64 = tally.responders.iter().map(|seen| seen.flows).sum();
            prop_assert_eq!(flows, tally.answered);
            let answers: u64 = tally.responders.iter().map(|seen| seen.trips.answered()).sum();
            prop_assert_eq!(answers + tally.lost, tally.probes);
            let shares: f64 = tally.responders.iter().map(|seen| tally.share(seen)).sum();
            prop_assert!(tally.answered == 0 || (shares - 1.0).abs() < 1e-9);
            prop_assert!(tally.since_new <= tally.answered);
            prop_assert!(tally.split <= tally.repeated && tally.repeated <= tally.answered);
        }
    }
}
