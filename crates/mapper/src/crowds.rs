//! How many new mappings a user may add to one part of the table.
//!
//! The key of the table's hash is there for all who read the table, so that whoever likes
//! can find addresses that meet in one place. Chance gives a user who asks about three
//! thousand in a minute less than one in a part of a table for 100,000.

use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

use crate::pace::{Pace, Rate};

/// For one user: an eighth of a reach at once, and as much in a minute.
const USER: Rate = Rate {
    interval: Duration::from_secs(15),
    burst: 4,
};
/// For all together: a user namespace gives its maker thousands of numbers.
const TOGETHER: Rate = Rate {
    interval: Duration::from_millis(7500),
    burst: 8,
};
/// Users and parts that are remembered; who makes them be forgotten is held up by what
/// all have together.
const PLACES: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// What users have added to the parts of a table.
#[derive(Debug)]
pub(crate) struct Crowds {
    together: Vec<Pace>,
    of_user: LruCache<(u32, usize), Pace>,
}

impl Crowds {
    /// None yet, for a table of so many parts.
    pub(crate) fn new(parts: usize) -> Self {
        Self {
            together: vec![Pace::default(); parts],
            of_user: LruCache::new(PLACES),
        }
    }

    /// Whether a user may add one more, which is then counted.
    pub(crate) fn permits(&mut self, uid: u32, part: usize, now: Duration) -> bool {
        let Some(together) = self.together.get_mut(part) else {
            return false;
        };
        let own = self.of_user.get_or_insert_mut((uid, part), Pace::default);
        let permitted = own.next(&USER, now) <= now && together.next(&TOGETHER, now) <= now;
        if permitted {
            own.take(&USER, now);
            together.take(&TOGETHER, now);
        }
        permitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_user_nor_many_fill_a_part() {
        let mut crowds = Crowds::new(2);
        let now = Duration::from_secs(100);
        let mut count = |uids: std::ops::Range<u32>, part, now| {
            let mut permitted = 0;
            for uid in uids {
                permitted += (0..100).filter(|_| crowds.permits(uid, part, now)).count();
            }
            permitted
        };
        assert_eq!(count(1..2, 0, now), 4);
        assert_eq!(count(2..50_000, 0, now), 4);
        assert_eq!(count(1..2, 1, now), 4);
        assert_eq!(count(1..60_000, 0, now + Duration::from_secs(60)), 8);
        assert_eq!(count(1..2, 2, now), 0);
    }
}
