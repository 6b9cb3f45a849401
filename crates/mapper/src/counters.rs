//! What a mapper has counted since it began.

use std::time::Duration;

use aarp_core::probing::Ignored;
use aarp_core::resolution::METHODS;

/// The upper bounds of the classes of round trips, in microseconds; the last class has
/// none.
pub const RTT_BOUNDS: [u64; 11] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
];

/// How many round trips were how long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// By class, each without those of the classes below.
    pub classes: [u64; RTT_BOUNDS.len() + 1],
    /// All together.
    pub sum: Duration,
}

impl Histogram {
    /// Counts one.
    pub fn count(&mut self, rtt: Duration) {
        let us = rtt.as_micros();
        let class = RTT_BOUNDS.iter().position(|bound| us <= u128::from(*bound));
        self.classes[class.unwrap_or(RTT_BOUNDS.len())] += 1;
        self.sum += rtt;
    }
}

/// What a mapper has counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that were answered from the table.
    pub hits: u64,
    /// Requests for which a question was begun.
    pub misses: u64,
    /// Requests that joined a question that was open.
    pub joined: u64,
    /// Requests that were refused, by [`crate::Unasked`].
    pub refused: [u64; crate::Unasked::COUNT],
    /// Mappings that somebody has told to be used shortly before their end.
    pub used: u64,
    /// Failures that were told.
    pub failures: u64,
    /// Those that have made A be asked again.
    pub doubts: u64,
    /// Questions begun, by [`crate::Why`].
    pub questions: [u64; crate::Why::COUNT],
    /// Probes sent, by the rank of the method.
    pub sent: [u64; METHODS],
    /// Questions answered by U.
    pub pinned: u64,
    /// Questions answered by A itself.
    pub direct: u64,
    /// Questions that only an address answered that must not be used.
    pub untrusted: u64,
    /// Questions that nobody answered in time.
    pub unanswered: u64,
    /// Answers that came after that, and serve the next.
    pub late: u64,
    /// What came in and answers no question, by [`Ignored`].
    pub ignored: [u64; Ignored::ALL.len()],
    /// Answers that were told and not kept, for want of a place in the table.
    pub unkept: u64,
    /// Times that another U answered than before.
    pub changes: u64,
    /// Mappings to a U that stopped answering.
    pub gone: u64,
    /// Times that all mappings were put in doubt.
    pub epochs: u64,
    /// Round trips of the answers.
    pub round_trips: Histogram,
}

impl Counters {
    /// What pretended to be an answer: what had our identifier and not our nonce, and
    /// what had that and came from where no answer may come from. An honest answer counts
    /// too where its nonce is forgotten: of a question that a new epoch has ended, doubled
    /// on its way, or later than any is waited for.
    #[must_use]
    pub fn forged(&self) -> u64 {
        let of = |ignored: Ignored| self.ignored[ignored as usize];
        of(Ignored::Sequence) + of(Ignored::Payload) + of(Ignored::Source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_trip_is_in_one_class() {
        let mut histogram = Histogram::default();
        for us in [0, 500, 501, 1_000_000, 1_000_001, 90_000_000] {
            histogram.count(Duration::from_micros(us));
        }
        assert_eq!(histogram.classes, [2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(histogram.sum, Duration::from_micros(92_001_002));
    }
}
