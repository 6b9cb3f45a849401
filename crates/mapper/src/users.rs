//! Who asks, and each user's share of the questions.

use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

use crate::mapper::Limits;
use crate::pace::{Lane, Pace, Rate};

/// Who asks, by the credentials of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum User {
    /// Root, or the user whose daemon it is: no limit but the pace.
    Own,
    /// Another, by number: asks about `prefixes` alone, at a limited rate.
    Other(u32),
}

impl User {
    /// The share of the pace that its questions have.
    pub(crate) fn lane(self) -> Lane {
        match self {
            User::Own => Lane::Own,
            User::Other(_) => Lane::Others,
        }
    }
}

/// How many users are remembered; one that was not heard of for long has its whole share.
const USERS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// What one user has used of its share, and what was refused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    pace: Pace,
    texts: Pace,
    sockets: Pace,
    /// Questions that it has caused, and what it has told that counted.
    pub heard: u64,
    /// What was refused, or not listened to.
    pub refused: u64,
}

/// What each user has used of its share.
#[derive(Debug)]
pub struct Shares {
    of_user: LruCache<u32, Share>,
    /// What all of them have read together: one who may make user namespaces has thousands
    /// of numbers.
    texts: Pace,
    /// What all of them have told and asked of sockets.
    sockets: Pace,
}

impl Default for Shares {
    fn default() -> Self {
        Self {
            of_user: LruCache::new(USERS),
            texts: Pace::default(),
            sockets: Pace::default(),
        }
    }
}

impl Shares {
    /// Whether the user may cause one more question now, which is then counted.
    pub fn permits(&mut self, rate: &Rate, user: User, now: Duration) -> bool {
        let User::Other(number) = user else {
            return true;
        };
        let share = self.of_user.get_or_insert_mut(number, Share::default);
        let permitted = share.pace.next(rate, now) <= now;
        if permitted {
            share.pace.take(rate, now);
            share.heard += 1;
        }
        permitted
    }

    /// Whether the user may have one more text made for it now, which is then counted.
    pub(crate) fn permits_text(&mut self, limits: &Limits, user: User, now: Duration) -> bool {
        let User::Other(number) = user else {
            return true;
        };
        let share = self.of_user.get_or_insert_mut(number, Share::default);
        let permitted = share.texts.next(&limits.user_texts, now) <= now
            && self.texts.next(&limits.texts, now) <= now;
        if permitted {
            share.texts.take(&limits.user_texts, now);
            self.texts.take(&limits.texts, now);
        }
        permitted
    }

    /// Whether the user may say or ask now whose a socket is, which is then counted.
    pub(crate) fn permits_socket(&mut self, limits: &Limits, user: User, now: Duration) -> bool {
        let User::Other(number) = user else {
            return true;
        };
        let share = self.of_user.get_or_insert_mut(number, Share::default);
        let permitted = share.sockets.next(&limits.user_sockets, now) <= now
            && self.sockets.next(&limits.sockets, now) <= now;
        if permitted {
            share.sockets.take(&limits.user_sockets, now);
            self.sockets.take(&limits.sockets, now);
        }
        permitted
    }

    /// What is remembered of one user.
    #[must_use]
    pub fn of(&self, uid: u32) -> Option<&Share> {
        self.of_user.peek(&uid)
    }

    /// Counts what was refused.
    pub(crate) fn count_refused(&mut self, user: User) {
        if let User::Other(number) = user {
            self.of_user
                .get_or_insert_mut(number, Share::default)
                .refused += 1;
        }
    }

    /// What is remembered of each user, who was heard of last first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Share)> {
        self.of_user.iter().map(|(number, share)| (*number, share))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_share_of_its_own() {
        let rate = Rate::new(1, 3);
        let mut shares = Shares::default();
        let now = Duration::from_secs(100);
        let mut count = |user, now| {
            let asked = (0..100).filter(|_| shares.permits(&rate, user, now));
            asked.count()
        };
        assert_eq!(count(User::Other(1), now), 3);
        assert_eq!(count(User::Other(2), now), 3);
        assert_eq!(count(User::Own, now), 100);
        assert_eq!(count(User::Other(1), now + Duration::from_secs(2)), 2);
    }

    #[test]
    fn neither_a_user_nor_many_have_texts_made_all_the_time() {
        let limits = Limits::default();
        let mut shares = Shares::default();
        let now = Duration::from_secs(100);
        let mut count = |users: std::ops::Range<u32>, now| {
            let mut permitted = 0;
            for uid in users {
                let user = User::Other(uid);
                permitted += (0..100)
                    .filter(|_| shares.permits_text(&limits, user, now))
                    .count();
            }
            permitted
        };
        assert_eq!(count(1..2, now), 20);
        assert_eq!(count(2..1000, now), 200 - 20);
        let later = now + Duration::from_secs(1);
        assert_eq!(count(1..2, later), 10);
        assert_eq!(count(2..1000, later), 200 - 10);
        let root = |_: &i32| shares.permits_text(&limits, User::Own, later);
        assert_eq!((0..1000).filter(root).count(), 1000);
        // Questions are counted by themselves.
        assert!(shares.permits(&limits.user, User::Other(1), later));
    }

    #[test]
    fn neither_a_user_nor_many_speak_of_sockets_all_the_time() {
        let limits = Limits::default();
        let mut shares = Shares::default();
        let now = Duration::from_secs(100);
        let mut count = |users: std::ops::Range<u32>, now| {
            let mut permitted = 0;
            for uid in users {
                let user = User::Other(uid);
                let said = (0..5000).filter(|_| shares.permits_socket(&limits, user, now));
                permitted += said.count();
            }
            permitted
        };
        assert_eq!(count(1..2, now), 4096);
        assert_eq!(count(2..100, now), 16_384 - 4096);
        let later = now + Duration::from_secs(1);
        assert_eq!(count(1..2, later), 1000);
        assert_eq!(count(2..100, later), 4000 - 1000);
        let root = |_: &i32| shares.permits_socket(&limits, User::Own, later);
        assert_eq!((0..20_000).filter(root).count(), 20_000);
    }

    #[test]
    fn the_number_of_users_is_bounded() {
        let rate = Rate::new(1, 1);
        let mut shares = Shares::default();
        for user in 0..100_000 {
            assert!(shares.permits(&rate, User::Other(user), Duration::from_secs(1)));
        }
        assert_eq!(shares.of_user.len(), USERS.get());
    }
}
