//! Unicast addresses that failed: for one A, one U, one protocol and one port.

use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use crate::mapping::{places, words_of};
use crate::slot::Slot;

/// What failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The anycast address.
    pub a: Ipv6Addr,
    /// The unicast address that failed.
    pub u: Ipv6Addr,
    /// The transport protocol, by its IANA number.
    pub protocol: u8,
    /// The destination port.
    pub port: u16,
}

/// In which way it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It said that nobody serves there.
    Refused,
    /// It has answered nothing, or not in time. For datagrams that may be a service
    /// which takes them and says nothing.
    Silent,
    /// It has answered nothing, nor a probe.
    Dead,
    /// There is no way to it, as the network or this host says.
    Unreachable,
    /// Something on the way, or on this host, does not let it pass.
    Prohibited,
    /// A connection failed, and the program has not asked why.
    Unknown,
}

const WORDS: usize = 6;
const REACH: usize = 8;
const ENTRIES: usize = 256;
/// Addresses of which it is known when they were asked about again.
const ASKED: usize = 32;

/// The refutations of one process. All-zero memory is an empty table.
#[derive(Debug)]
pub struct RefutationTable {
    /// The latest end of any refutation, so that the common case, in which there
    /// is none, costs one load.
    latest: AtomicU64,
    slots: [Slot<WORDS>; ENTRIES],
    /// A, and when it was asked about last, whoever answered.
    asked: [Slot<3>; ASKED],
}

impl Claim {
    fn words(&self) -> [u64; 5] {
        let (a, u) = (words_of(self.a), words_of(self.u));
        [
            a[0],
            a[1],
            u[0],
            u[1],
            u64::from(self.protocol) << 16 | u64::from(self.port),
        ]
    }

    /// 64 bits of it.
    pub(crate) fn mark(&self) -> u64 {
        self.words().into_iter().fold(0, |mark: u64, word| {
            (mark.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        })
    }

    fn places(&self) -> impl Iterator<Item = usize> {
        let words = self.words();
        places(
            [words[0] ^ words[2], words[1] ^ words[3] ^ words[4] << 40],
            REACH,
            ENTRIES,
        )
    }
}

impl RefutationTable {
    /// An empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            latest: AtomicU64::new(0),
            slots: [const { Slot::new() }; ENTRIES],
            asked: [const { Slot::new() }; ASKED],
        }
    }

    /// A has been asked about, and there was an answer at `now`.
    pub fn was_asked(&self, a: Ipv6Addr, now: Duration) {
        let [high, low] = words_of(a);
        let mut at = places([high, low], 1, ASKED);
        if let Some(slot) = at.next().and_then(|at| self.asked.get(at)) {
            slot.update(|_| Some([high, low, now.as_nanos() as u64]));
        }
    }

    /// Whether A has been asked about since then: what has failed before is not made
    /// better by asking again. It may be forgotten; then A is asked once more.
    #[must_use]
    pub fn was_asked_since(&self, a: Ipv6Addr, since: Duration) -> bool {
        let [high, low] = words_of(a);
        let mut at = places([high, low], 1, ASKED);
        let found = at.next().and_then(|at| self.asked[at].read());
        found.is_some_and(|[a, b, when]| [a, b] == [high, low] && when > since.as_nanos() as u64)
    }

    /// Until when this is to be avoided, because it has failed; `None` when it is
    /// not.
    #[must_use]
    #[inline]
    pub fn refuted_until(&self, claim: &Claim, now: Duration) -> Option<Duration> {
        let now = now.as_nanos() as u64;
        if now >= self.latest.load(Ordering::Relaxed) {
            return None;
        }
        let words = claim.words();
        let found = claim.places().filter_map(|place| self.slots[place].read());
        let mut valid = found.filter(|found| found[..5] == words && now < found[5]);
        valid.next().map(|found| Duration::from_nanos(found[5]))
    }

    /// Remembers that this has failed, until `until`.
    pub fn refute(&self, claim: &Claim, until: Duration) {
        let words = claim.words();
        let until = until.as_nanos() as u64;
        let mut best: Option<(u64, usize)> = None;
        for place in claim.places() {
            let Some(found) = self.slots[place].read() else {
                continue;
            };
            // Its own place first, then one that expired first, or never was used.
            let rank = if found[..5] == words {
                0
            } else {
                found[5].saturating_add(1)
            };
            if best.is_none_or(|(other, _)| rank < other) {
                best = Some((rank, place));
            }
        }
        if let Some((_, place)) = best {
            let record = [words[0], words[1], words[2], words[3], words[4], until];
            self.slots[place].update(|_| Some(record));
            self.latest.fetch_max(until, Ordering::Relaxed);
        }
    }
}

impl Default for RefutationTable {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn claim(port: u16) -> Claim {
        let [a, u] = ["2001:db8:a::53", "2001:db8:1::1"].map(|text| text.parse().unwrap());
        Claim {
            a,
            u,
            protocol: 6,
            port,
        }
    }

    #[test]
    fn only_what_failed_is_refuted_and_only_for_its_time() {
        let table = RefutationTable::new();
        assert!(table.refuted_until(&claim(80), SECOND).is_none());
        table.refute(&claim(80), 60 * SECOND);
        assert!(table.refuted_until(&claim(80), SECOND).is_some());
        assert!(table.refuted_until(&claim(80), 59 * SECOND).is_some());
        assert_eq!(table.refuted_until(&claim(80), 60 * SECOND), None);
        for other in [
            claim(81),
            Claim {
                protocol: 17,
                ..claim(80)
            },
            Claim {
                u: "2001:db8:2::1".parse().unwrap(),
                ..claim(80)
            },
            Claim {
                a: "2001:db8:a::54".parse().unwrap(),
                ..claim(80)
            },
        ] {
            assert_eq!(table.refuted_until(&other, SECOND), None, "{other:?}");
        }
        table.refute(&claim(80), 90 * SECOND);
        assert!(table.refuted_until(&claim(80), 80 * SECOND).is_some());
    }

    #[test]
    fn it_is_known_when_an_address_was_asked_about() {
        let table = RefutationTable::new();
        let (a, other) = (claim(80).a, "2001:db8:a::54".parse().unwrap());
        assert!(!table.was_asked_since(a, Duration::ZERO));
        table.was_asked(a, 10 * SECOND);
        assert!(table.was_asked_since(a, 9 * SECOND));
        assert!(!table.was_asked_since(a, 10 * SECOND));
        assert!(!table.was_asked_since(other, Duration::ZERO));
        table.was_asked(a, 20 * SECOND);
        assert!(table.was_asked_since(a, 19 * SECOND));
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes minutes under Miri")]
    fn many_refutations_leave_the_newest() {
        let table = RefutationTable::new();
        for port in 1..=5000 {
            table.refute(&claim(port), u32::from(port) * SECOND);
            assert!(table.refuted_until(&claim(port), Duration::ZERO).is_some());
        }
    }
}
