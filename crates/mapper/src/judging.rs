//! Whether changes of routes matter: a table of a million mappings is looked through for
//! those that they concern, a little at a time.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::prefix::Prefix;
use aarp_core::table::REACH;

use crate::mapper::Mapper;
use crate::sweep::{Cause, PLACES};

/// The default route, or one of the few that stand in for it together.
const DEFAULT_BITS: u8 = 3;
/// More than so many that wait to be judged are as good as all.
const WAITING: usize = 1024;

/// What routes have changed.
#[derive(Debug, Clone, Copy)]
pub enum Changed<'p> {
    /// Those to these prefixes.
    Prefixes(&'p [Prefix]),
    /// Nobody knows: too many at once.
    Unknown,
}

/// Prefixes of which none is in another, by their addresses.
#[derive(Debug)]
struct Disjoint(Vec<Prefix>);

impl Disjoint {
    fn of(mut prefixes: Vec<Prefix>) -> Self {
        prefixes.sort_by_key(|prefix| (prefix.address(), prefix.len_bits()));
        prefixes.dedup_by(|next, kept| kept.contains(next.address()));
        Self(prefixes)
    }

    fn contains(&self, address: Ipv6Addr) -> bool {
        let behind = self.0.partition_point(|prefix| prefix.address() <= address);
        let before = behind.checked_sub(1).and_then(|at| self.0.get(at));
        before.is_some_and(|prefix| prefix.contains(address))
    }
}

/// Looking for what a change concerns.
#[derive(Debug)]
pub(crate) struct Judging {
    prefixes: Disjoint,
    /// What was looked through.
    place: usize,
    /// How often something had been removed from the table by then.
    vacated: u64,
    /// How many times more it is looked on.
    turns: usize,
    /// What has changed since.
    waiting: Vec<Prefix>,
}

impl Mapper<'_> {
    /// Routes have changed. Where that matters a new epoch begins: now, or when what it
    /// concerns was found in the table.
    pub fn routes_changed(&mut self, changed: Changed<'_>, now: Duration) {
        let Changed::Prefixes(prefixes) = changed else {
            return self.begin_epoch(Cause::Routes, now);
        };
        let is_default = |prefix: &Prefix| prefix.len_bits() <= DEFAULT_BITS;
        if prefixes.iter().any(is_default) {
            return self.begin_epoch(Cause::Routes, now);
        }
        if let Some(Judging { waiting, .. }) = &mut self.judging {
            waiting.extend_from_slice(prefixes);
            // The same ones come again and again.
            if waiting.len() > WAITING {
                *waiting = Disjoint::of(std::mem::take(waiting)).0;
                if waiting.len() > WAITING / 2 {
                    self.begin_epoch(Cause::Routes, now);
                }
            }
            return;
        }
        self.judge_changes(prefixes.to_vec(), now);
    }

    fn judge_changes(&mut self, prefixes: Vec<Prefix>, now: Duration) {
        let prefixes = Disjoint::of(prefixes);
        if self.questions.addresses().any(|a| prefixes.contains(a)) {
            return self.begin_epoch(Cause::Routes, now);
        }
        self.judging = Some(Judging {
            prefixes,
            place: 0,
            vacated: self.table.vacated(),
            turns: 2 * self.table.view().slots().div_ceil(PLACES) + 1,
            waiting: Vec::new(),
        });
    }

    /// Looks through a part of the table.
    pub(crate) fn judge(&mut self, now: Duration) {
        let Some(judging) = &mut self.judging else {
            return;
        };
        let table = self.table.view();
        // What has moved since may have come to where was looked before.
        let vacated = self.table.vacated();
        let moved = usize::try_from(vacated - judging.vacated).unwrap_or(usize::MAX);
        let from = judging.place.saturating_sub(moved.saturating_mul(REACH));
        (judging.place, judging.vacated) = (from + PLACES, vacated);
        let Some(turns) = judging.turns.checked_sub(1) else {
            // It changes faster than it can be looked through.
            return self.begin_epoch(Cause::Routes, now);
        };
        judging.turns = turns;
        let epoch = table.header().epoch();
        let mut found = table.entries(from..from + PLACES);
        let matters = found.any(|entry| {
            let is_within = |address| judging.prefixes.contains(address);
            entry.is_fresh(epoch, now) && (is_within(entry.a) || is_within(entry.mapping.u))
        });
        if matters {
            return self.begin_epoch(Cause::Routes, now);
        }
        if judging.place >= table.slots() {
            let waiting = std::mem::take(&mut judging.waiting);
            self.judging = None;
            if !waiting.is_empty() {
                self.routes_changed(Changed::Prefixes(&waiting), now);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix() -> impl Strategy<Value = Prefix> {
        // A few addresses, so that some are in others.
        let bits = prop_oneof![Just(0u128), Just(1), Just(u128::MAX), any::<u128>()];
        (bits, 0u8..=128).prop_filter_map("a prefix", |(bits, length)| {
            let kept = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            Prefix::new(Ipv6Addr::from(bits & kept), length).ok()
        })
    }

    proptest! {
        #[test]
        fn the_same_as_each_of_them(
            prefixes in proptest::collection::vec(prefix(), 0..20),
            others in proptest::collection::vec(any::<u128>(), 1..20),
        ) {
            let disjoint = Disjoint::of(prefixes.clone());
            let near = prefixes.iter().flat_map(|prefix| {
                let bits = u128::from(prefix.address());
                [bits, bits.wrapping_sub(1), bits.wrapping_add(1), !bits]
            });
            for bits in others.into_iter().chain(near) {
                let address = Ipv6Addr::from(bits);
                let expected = prefixes.iter().any(|prefix| prefix.contains(address));
                prop_assert_eq!(disjoint.contains(address), expected, "{}", address);
            }
        }
    }
}
