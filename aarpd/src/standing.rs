//! What the daemon says of itself.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::Range;
use std::time::Duration;

use aarp_core::mapping::State;
use aarp_mapper::User;
use aarp_sys::clock::boottime;

use crate::report::{Standing, UserRecord};
use crate::serve::Daemon;

/// For how long mappings are not counted again.
const CENSUS: Duration = Duration::from_millis(10);
/// Places of the table that are counted in one go.
const PLACES: usize = 8192;
/// Users of whom is told how much they ask.
const USERS: usize = 32;

/// How many mappings hold, by state.
type States = [u64; State::ALL.len()];

/// How many mappings hold, as of a moment ago: a large table takes its time to count, and
/// anybody may ask.
#[derive(Debug, Default)]
pub(crate) struct Census {
    states: States,
    /// When it is counted again.
    until: Duration,
    counting: Counting,
}

/// A count that is not at its end.
#[derive(Debug, Default)]
struct Counting {
    place: usize,
    states: States,
    took: Duration,
}

impl Census {
    /// Goes on with the count, a part of the table of so many `slots`; whether there is one.
    fn go_on(
        &mut self,
        slots: usize,
        now: Duration,
        count: impl FnOnce(Range<usize>) -> States,
    ) -> bool {
        if now < self.until {
            return true;
        }
        let counting = &mut self.counting;
        let began = boottime();
        let to = slots.min(counting.place + PLACES);
        let counted = count(counting.place..to);
        for (sum, more) in counting.states.iter_mut().zip(counted) {
            *sum += more;
        }
        counting.place = to;
        counting.took += boottime().saturating_sub(began);
        if to < slots {
            return false;
        }
        // Where it takes long it is done seldom.
        let Counting { states, took, .. } = std::mem::take(counting);
        (self.states, self.until) = (states, now + CENSUS + took * 20);
        true
    }
}

impl Daemon<'_> {
    /// Counts the mappings on, a part of the table, so that nobody who asks waits for the end;
    /// whether there is a count.
    pub(crate) fn count_on(&mut self, now: Duration) -> bool {
        let slots = self.mapper.table().view().slots();
        let count = |places| self.mapper.census(places, now);
        self.census.go_on(slots, now, count)
    }

    /// How much users who are neither root nor the daemon's own have asked, most first: all
    /// of them for root and the daemon's own, and each other for itself.
    pub(crate) fn users(&self, user: User) -> Vec<UserRecord> {
        let mut users: HashMap<u32, UserRecord> = HashMap::new();
        let of = |uid| {
            let connections = self.clients.of_user(uid);
            UserRecord {
                uid,
                connections,
                ..UserRecord::default()
            }
        };
        if let User::Other(uid) = user {
            let share = self.mapper.shares().of(uid).copied().unwrap_or_default();
            let (heard, refused) = (share.heard, share.refused);
            return vec![UserRecord {
                heard,
                refused,
                ..of(uid)
            }];
        }
        for (uid, share) in self.mapper.shares().iter() {
            let UserRecord { heard, refused, .. } = users.entry(uid).or_insert_with(|| of(uid));
            (*heard, *refused) = (share.heard, share.refused);
        }
        for uid in self.clients.users() {
            users.entry(uid).or_insert_with(|| of(uid));
        }
        let mut users: Vec<_> = users.into_values().collect();
        let weight =
            |record: &UserRecord| record.heard + record.refused + record.connections as u64;
        users.sort_by_key(|record| (Reverse(weight(record)), record.uid));
        users.truncate(USERS);
        users
    }

    /// How the daemon is.
    pub(crate) fn with_standing<T>(&self, show: impl FnOnce(&Standing<'_>) -> T) -> T {
        let table = self.mapper.table();
        let (open, waiters) = self.mapper.open();
        let socket = self.configuration.socket.display().to_string();
        let path = self.configuration.table.display().to_string();
        let mut served = self.served;
        served.displaced = self.clients.displaced;
        served.turned_away = self.clients.refused;
        show(&Standing {
            since: self.started,
            table: &path,
            socket: &socket,
            namespace: self.namespace.clone(),
            sockets: self
                .prober
                .sockets()
                .map(|(_, s)| s.kind().name())
                .collect(),
            epoch: table.view().header().epoch(),
            capacity: table.capacity(),
            stored: table.len(),
            census: self.census.states,
            open,
            waiters,
            clients: self.clients.len(),
            followers: self.clients.followers(),
            served,
            counters: self.mapper.counters(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_table_is_counted_a_little_at_a_time() {
        let mut census = Census::default();
        let now = Duration::from_secs(100);
        let slots = 128 * PLACES;
        for turn in 1..=128 {
            let count = |places: Range<usize>| {
                assert!(places.len() <= PLACES, "{places:?}");
                [places.len() as u64, 1, 0, 0]
            };
            let is_counted = census.go_on(slots, now, count);
            assert_eq!(is_counted, turn == 128);
        }
        assert_eq!(census.states, [slots as u64, 128, 0, 0]);
        // For a moment that serves all who ask.
        assert!(census.go_on(slots, now, |_| unreachable!("it was counted just now")));
        let later = now + Duration::from_secs(3600);
        assert!(!census.go_on(slots, later, |_| [0; 4]));
        assert_eq!(census.states, [slots as u64, 128, 0, 0]);
    }
}
