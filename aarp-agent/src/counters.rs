//! What the agent has counted since it was started.

use std::sync::atomic::{AtomicU64, Ordering};

use aarp_core::relay::Dropped;

/// Counts of packets, written by the relay and read for the status.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Packets into the tunnels, and their octets.
    pub(crate) encapsulated: Count,
    pub(crate) encapsulated_octets: Count,
    /// Packets out of the tunnels, and their octets.
    pub(crate) decapsulated: Count,
    pub(crate) decapsulated_octets: Count,
    /// Errors that initiators were told of.
    pub(crate) errors_sent: Count,
    /// Errors that were not sent for there were too many.
    pub(crate) errors_limited: Count,
    /// Errors of nodes on the tunnels' paths.
    pub(crate) path_errors: Count,
    /// Packets that the kernel did not take.
    pub(crate) not_sent: Count,
    /// Packets that were dropped, by the reason.
    forward: [Count; Dropped::ALL.len()],
    reverse: [Count; Dropped::ALL.len()],
}

/// One count.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, number: u64) {
        // One thread writes: nothing is lost, and a reader may be one behind.
        let now = self.0.load(Ordering::Relaxed);
        self.0.store(now.wrapping_add(number), Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Which way a packet went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// To a responder.
    Forward,
    /// To an initiator.
    Reverse,
}

impl Counters {
    pub(crate) fn drop_one(&self, way: Way, why: Dropped) {
        self.of(way, why).add(1);
    }

    /// The dropped packets of one way and reason.
    pub(crate) fn of(&self, way: Way, why: Dropped) -> &Count {
        let counts = match way {
            Way::Forward => &self.forward,
            Way::Reverse => &self.reverse,
        };
        // `ALL` has the reasons in the order of their declaration.
        &counts[why as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_count_of_its_own() {
        let counters = Counters::default();
        for (number, why) in Dropped::ALL.into_iter().enumerate() {
            counters.of(Way::Forward, why).add(number as u64 + 1);
        }
        for (number, why) in Dropped::ALL.into_iter().enumerate() {
            assert_eq!(counters.of(Way::Forward, why).get(), number as u64 + 1);
            assert_eq!(counters.of(Way::Reverse, why).get(), 0);
        }
    }
}
