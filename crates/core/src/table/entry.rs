//! One mapping of the table.

use core::net::Ipv6Addr;
use core::time::Duration;

use super::{WORDS, address_of, words_of};
use crate::mapping::{Mapping, State, method_of, nanos, state_of};

/// Failures in a row that have a place.
const FAILURES_MAX: u8 = 63;
/// Bits of the flags.
const USED: u64 = 1 << 14;
const OTHERS: u64 = 1 << 15;
/// The longest time before its expiry that a mapping is due, in milliseconds: 24 days.
pub(super) const DUE_MAX: u32 = u32::MAX >> 1;

/// Where what is in a record.
pub(super) mod word {
    pub(in super::super) const A: [usize; 2] = [0, 1];
    pub(in super::super) const U: [usize; 2] = [2, 3];
    pub(in super::super) const EXPIRY: usize = 4;
    pub(in super::super) const REST: usize = 5;
    pub(in super::super) const USE: usize = 6;
}

/// One mapping, fresh or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The anycast address.
    pub a: Ipv6Addr,
    /// What is known about it. The round trip is in whole microseconds and ends at
    /// 71 minutes; failures end at 63.
    pub mapping: Mapping,
    /// The last 8 bits of the epoch in which it was stored.
    pub epoch: u8,
    /// When it was last used as far as the writer knows, in seconds of the same clock.
    pub used: u32,
    /// For how long before its expiry it is due to be asked again, in milliseconds;
    /// 0 for never. It ends at 24 days.
    pub due: u32,
    /// Whether it is being asked again already: nobody needs to say that it is used.
    pub is_asked: bool,
    /// Whether a program has said that it uses it, since the one that had it asked.
    pub is_used: bool,
    /// Whether only users have asked about it who are neither root nor the daemon's own.
    pub is_others: bool,
}

/// What a mapping is worth to those who use the table: what is less goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Worth {
    /// Nothing: it has expired, or is of another epoch.
    Over,
    /// Nobody may be moved by it.
    Unanswered,
    /// It spares a question.
    Direct,
    /// One program has asked for it, and none has said that it uses it.
    Unused,
    /// It is used.
    Used,
}

impl Entry {
    pub(super) fn to_words(self) -> [u64; WORDS] {
        let (a, u) = (words_of(self.a), words_of(self.mapping.u));
        let rtt = u32::try_from(self.mapping.rtt.as_micros()).unwrap_or(u32::MAX);
        let flags = u64::from(self.epoch)
            | u64::from(self.mapping.failures.min(FAILURES_MAX)) << 8
            | if self.is_used { USED } else { 0 }
            | if self.is_others { OTHERS } else { 0 };
        let rest = self.mapping.state as u64
            | (self.mapping.method as u64) << 8
            | flags << 16
            | u64::from(rtt) << 32;
        [
            a[0],
            a[1],
            u[0],
            u[1],
            nanos(self.mapping.expiry),
            rest,
            use_word(self.used, self.due, self.is_asked),
        ]
    }

    /// Reads a record; `None` where it is none.
    #[inline]
    pub(super) fn from_words(words: [u64; WORDS]) -> Option<Self> {
        let rest = words[word::REST];
        let a = word::A.map(|half| words[half]);
        if a == [0, 0] {
            return None;
        }
        Some(Self {
            a: address_of(a),
            mapping: Mapping {
                state: state_of(rest as u8)?,
                u: address_of(word::U.map(|half| words[half])),
                method: method_of((rest >> 8) as u8)?,
                expiry: Duration::from_nanos(words[word::EXPIRY]),
                rtt: Duration::from_micros(rest >> 32),
                failures: (rest >> 24) as u8 & FAILURES_MAX,
            },
            epoch: epoch_of(rest),
            used: words[word::USE] as u32,
            due: (words[word::USE] >> 32) as u32 & DUE_MAX,
            is_asked: words[word::USE] >> 63 != 0,
            is_used: rest >> 16 & USED != 0,
            is_others: rest >> 16 & OTHERS != 0,
        })
    }

    /// What it is worth.
    pub(super) fn worth(&self, epoch: u64, now: Duration) -> Worth {
        if !self.is_fresh(epoch, now) {
            return Worth::Over;
        }
        match self.mapping.state {
            State::Unanswered | State::Untrusted => Worth::Unanswered,
            State::Direct => Worth::Direct,
            State::Pinned if self.is_used => Worth::Used,
            State::Pinned => Worth::Unused,
        }
    }

    /// Whether it still holds, in this epoch.
    #[must_use]
    pub fn is_fresh(&self, epoch: u64, now: Duration) -> bool {
        self.epoch == epoch as u8 && self.mapping.is_fresh(now)
    }
}

/// The last 8 bits of the epoch in which a record was stored.
#[inline(always)]
pub(super) fn epoch_of(rest: u64) -> u8 {
    (rest >> 16) as u8
}

/// The same rest, of a mapping that is used.
pub(super) fn used_rest(rest: u64) -> u64 {
    rest | USED << 16
}

pub(super) fn use_word(used: u32, due: u32, is_asked: bool) -> u64 {
    u64::from(used) | u64::from(due.min(DUE_MAX)) << 32 | u64::from(is_asked) << 63
}
