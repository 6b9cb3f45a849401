//! Mappings from A to U: their states, for how long they hold, and the table of
//! one process.

use core::net::Ipv6Addr;
use core::time::Duration;

use aarp_wire::probe::Method;

use crate::bypass::Bypass;
use crate::settings::Times;
use crate::slot::Slot;

pub use aarp_wire::mapper::State;

/// What is known about a destination, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// Which of the states.
    pub state: State,
    /// U when pinned; the address that was refused when untrusted; otherwise A.
    pub u: Ipv6Addr,
    /// How it was asked.
    pub method: Method,
    /// The end of its time, by the clock of the caller.
    pub expiry: Duration,
    /// The round trip of the answer; without one, for how long it was awaited.
    pub rtt: Duration,
    /// How many times in a row nobody answered.
    pub failures: u8,
}

/// How a question ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// U answered.
    Pinned {
        /// The unicast address.
        u: Ipv6Addr,
        /// The round trip.
        rtt: Duration,
    },
    /// A itself answered.
    Direct {
        /// The round trip.
        rtt: Duration,
    },
    /// Only an address that must not be used answered.
    Untrusted {
        /// That address.
        u: Ipv6Addr,
    },
    /// Nobody answered in time.
    None {
        /// For how long an answer was awaited.
        waited: Duration,
    },
}

impl Mapping {
    /// What is known once a question has ended.
    #[must_use]
    pub fn after(
        answer: Answer,
        a: Ipv6Addr,
        method: Method,
        previous: Option<&Mapping>,
        times: &Times,
        now: Duration,
    ) -> Self {
        let unknown = |state| matches!(state, State::Unanswered | State::Untrusted);
        let failures = previous
            .filter(|mapping| unknown(mapping.state))
            .map_or(0, |m| m.failures);
        // 10 s, doubling to 1 h while it stays so.
        let pause = times
            .unanswered
            .saturating_mul(1 << failures.min(24))
            .min(times.unanswered_max);
        let failed = failures.saturating_add(1);
        let (state, u, rtt, lasts, failures) = match answer {
            Answer::Pinned { u, rtt } => (State::Pinned, u, rtt, times.ttl, 0),
            Answer::Direct { rtt } => (State::Direct, a, rtt, times.direct, 0),
            Answer::Untrusted { u } => (State::Untrusted, u, Duration::ZERO, pause, failed),
            Answer::None { waited } => (State::Unanswered, a, waited, pause, failed),
        };
        Self {
            state,
            u,
            method,
            expiry: now.saturating_add(lasts),
            rtt,
            failures,
        }
    }

    /// Whether it still holds.
    #[must_use]
    pub fn is_fresh(&self, now: Duration) -> bool {
        now < self.expiry
    }

    /// U, or why a communication is not moved. No answer within less than `full`,
    /// the budget that the configuration gives to `prefixes`, is one of
    /// [`Bypass::Budget`].
    ///
    /// # Errors
    /// The reason, by the state.
    #[inline]
    pub fn target(&self, full: Duration) -> Result<Ipv6Addr, Bypass> {
        match self.state {
            State::Pinned => Ok(self.u),
            State::Direct => Err(Bypass::Direct),
            State::Unanswered if self.rtt < full => Err(Bypass::Budget),
            State::Unanswered => Err(Bypass::NoAnswer),
            State::Untrusted => Err(Bypass::Untrusted),
        }
    }

    /// Whether a caller who may wait for `budget` has a chance that the caller of
    /// this question had not.
    #[must_use]
    pub fn is_worth_asking_again(&self, budget: Duration) -> bool {
        self.state == State::Unanswered && budget > self.rtt
    }
}

/// Words of an entry: A, U, expiry, and the rest.
const WORDS: usize = 6;
/// Entries that one A may stand in.
const REACH: usize = 8;
/// Entries of the table of a process.
pub const ENTRIES: usize = 1024;

/// The mappings of one process. All-zero memory is an empty table.
#[derive(Debug)]
pub struct MappingTable {
    slots: [Slot<WORDS>; ENTRIES],
}

/// The places where `a` may stand.
pub(crate) fn places(a: [u64; 2], reach: usize, entries: usize) -> impl Iterator<Item = usize> {
    let mixed = (a[0] ^ a[1].rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let start = (mixed ^ (mixed >> 32)) as usize;
    (0..reach).map(move |step| start.wrapping_add(step) % entries)
}

pub(crate) fn words_of(address: Ipv6Addr) -> [u64; 2] {
    let bits = u128::from(address);
    [(bits >> 64) as u64, bits as u64]
}

pub(crate) fn address_of(words: [u64; 2]) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(words[0]) << 64 | u128::from(words[1]))
}

pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// The state of a record, by its number.
pub(crate) fn state_of(number: u8) -> Option<State> {
    State::of(number)
}

/// The method of a record, by its number.
#[inline(always)]
pub(crate) fn method_of(number: u8) -> Option<Method> {
    Some(match number {
        1 => Method::Echo,
        2 => Method::Unreach,
        _ => return None,
    })
}

impl Mapping {
    fn to_words(self, a: [u64; 2]) -> [u64; WORDS] {
        let u = words_of(self.u);
        let rtt = u32::try_from(self.rtt.as_micros()).unwrap_or(u32::MAX);
        let rest = self.state as u64
            | (self.method as u64) << 8
            | u64::from(self.failures) << 16
            | u64::from(rtt) << 32;
        [a[0], a[1], u[0], u[1], nanos(self.expiry), rest]
    }

    fn from_words(words: [u64; WORDS]) -> Option<Self> {
        let rest = words[5];
        Some(Self {
            state: state_of(rest as u8)?,
            u: address_of([words[2], words[3]]),
            method: method_of((rest >> 8) as u8)?,
            expiry: Duration::from_nanos(words[4]),
            rtt: Duration::from_micros(rest >> 32),
            failures: (rest >> 16) as u8,
        })
    }
}

impl MappingTable {
    /// An empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            slots: [const { Slot::new() }; ENTRIES],
        }
    }

    /// What is known about `a`, fresh or not.
    #[must_use]
    #[inline]
    pub fn lookup(&self, a: Ipv6Addr) -> Option<Mapping> {
        let key = words_of(a);
        for place in places(key, REACH, ENTRIES) {
            // An entry that is being written is passed over: a miss is never wrong.
            if let Some(words) = self.slots[place].read()
                && words[..2] == key
            {
                return Mapping::from_words(words);
            }
        }
        None
    }

    /// Remembers what is known about `a`, in the place of what was known, of
    /// nothing, or of what expires first. Whether there was a place.
    pub fn store(&self, a: Ipv6Addr, mapping: Mapping) -> bool {
        let key = words_of(a);
        let words = mapping.to_words(key);
        let mut best: Option<(u64, usize)> = None;
        for place in places(key, REACH, ENTRIES) {
            let Some(found) = self.slots[place].read() else {
                continue;
            };
            if found[..2] == key {
                return self.slots[place].update(|_| Some(words));
            }
            // An empty entry expired at zero.
            if best.is_none_or(|(expiry, _)| found[4] < expiry) {
                best = Some((found[4], place));
            }
        }
        best.is_some_and(|(_, place)| self.slots[place].update(|_| Some(words)))
    }
}

impl Default for MappingTable {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    #[test]
    fn times_of_the_contract() {
        let a = ip("2001:db8:a::53");
        let u = ip("2001:db8:1::1");
        let now = 1000 * SECOND;
        let after = |answer, previous: Option<&Mapping>| {
            Mapping::after(answer, a, Method::Echo, previous, &Times::DEFAULT, now)
        };
        let pinned = after(Answer::Pinned { u, rtt: SECOND }, None);
        assert_eq!(
            (pinned.target(SECOND), pinned.expiry),
            (Ok(u), now + 60 * SECOND)
        );
        assert!(pinned.is_fresh(now + 59 * SECOND) && !pinned.is_fresh(now + 60 * SECOND));
        let direct = after(Answer::Direct { rtt: SECOND }, Some(&pinned));
        assert_eq!(
            (direct.target(SECOND), direct.expiry),
            (Err(Bypass::Direct), now + 300 * SECOND)
        );
        let mut last = after(Answer::None { waited: SECOND }, Some(&direct));
        let mut pauses = Vec::new();
        for _ in 0..40 {
            pauses.push((last.expiry - now).as_secs());
            last = after(Answer::None { waited: SECOND }, Some(&last));
        }
        assert_eq!(
            pauses[..10],
            [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600]
        );
        assert!(pauses[10..].iter().all(|pause| *pause == 3600));
        assert_eq!(last.target(SECOND), Err(Bypass::NoAnswer));
        assert_eq!(last.target(2 * SECOND), Err(Bypass::Budget));
        assert!(last.is_worth_asking_again(2 * SECOND) && !last.is_worth_asking_again(SECOND));
        let untrusted = after(Answer::Untrusted { u }, None);
        assert_eq!(
            (untrusted.target(SECOND), untrusted.u),
            (Err(Bypass::Untrusted), u)
        );
        let again = after(Answer::Pinned { u, rtt: SECOND }, Some(&last));
        assert_eq!(
            after(Answer::None { waited: SECOND }, Some(&again)).expiry,
            now + 10 * SECOND
        );
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes minutes under Miri")]
    fn a_full_table_forgets_what_expires_first() {
        let table = MappingTable::new();
        let mapping = |n: u32| {
            let times = Times {
                ttl: Duration::from_secs(u64::from(n) + 1),
                ..Times::DEFAULT
            };
            let answer = Answer::Pinned {
                u: ip("2001:db8::1"),
                rtt: SECOND,
            };
            Mapping::after(
                answer,
                ip("::2"),
                Method::Echo,
                None,
                &times,
                Duration::ZERO,
            )
        };
        let a = |n: u32| Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(n));
        for n in 0..20_000 {
            assert!(table.store(a(n), mapping(n)));
            assert_eq!(table.lookup(a(n)), Some(mapping(n)));
        }
        let kept: Vec<u32> = (0..20_000)
            .filter(|n| table.lookup(a(*n)).is_some())
            .collect();
        assert!(
            kept.len() <= ENTRIES && kept.len() > ENTRIES / 2,
            "{}",
            kept.len()
        );
        assert!(kept.iter().all(|n| *n > 15_000), "{kept:?}");
    }

    proptest! {
        #[test]
        fn what_is_stored_is_found(
            a in 1u128.., u: u128, state in 1..=4u8, echo: bool, expiry: u64, rtt: u32, failures: u8,
        ) {
            let mapping = Mapping {
                state: [State::Pinned, State::Direct, State::Unanswered, State::Untrusted]
                    [usize::from(state) - 1],
                u: Ipv6Addr::from(u),
                method: if echo { Method::Echo } else { Method::Unreach },
                expiry: Duration::from_nanos(expiry),
                rtt: Duration::from_micros(u64::from(rtt)),
                failures,
            };
            let table = MappingTable::new();
            prop_assert!(table.store(a.into(), mapping));
            prop_assert_eq!(table.lookup(a.into()), Some(mapping));
            prop_assert_eq!(table.lookup((a ^ 1 << 77).into()), None);
        }
    }
}
