//! What the daemon says of itself.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Duration;

use aarp_core::mapping::State;
use aarp_mapper::User;
use aarp_sys::clock::boottime;

use crate::report::{Standing, UserRecord};
use crate::serve::Daemon;

/// For how long mappings are not counted again.
const CENSUS: Duration = Duration::from_millis(10);
/// Users of whom is told how much they ask.
const USERS: usize = 32;

impl Daemon<'_> {
    /// How many mappings hold, by state; as of a moment ago, for a large table takes its
    /// time to count and anybody may ask.
    fn census(&self, now: Duration) -> [u64; State::ALL.len()] {
        let (counted, census) = self.census.get();
        if counted + CENSUS > now {
            return census;
        }
        let started = boottime();
        let census = self.mapper.census(now);
        // Where it takes long it is done seldom.
        let took = boottime().saturating_sub(started);
        self.census.set((now + took * 20, census));
        census
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
        let now = boottime();
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
            census: self.census(now),
            open,
            waiters,
            clients: self.clients.len(),
            followers: self.clients.followers(),
            served,
            counters: self.mapper.counters(),
        })
    }
}
