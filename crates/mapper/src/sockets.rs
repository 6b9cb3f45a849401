//! Whose a socket is: what a process has told of one that another will have, over exec or
//! a unix socket, so that its program goes on hearing of A.

use std::num::NonZeroUsize;
use std::time::Duration;

use aarp_wire::mapper::Peer;
use lru::LruCache;

/// Sockets of root's programs; the share of each other user.
const ROOTS: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
const OTHERS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// Other users whose sockets are remembered.
const USERS: NonZeroUsize = NonZeroUsize::new(64).unwrap();
/// How long a user has to be silent before its place may be another's: one who may make user
/// namespaces has thousands of numbers, and would have all others forgotten at once.
const SILENT: Duration = Duration::from_secs(60);

/// What one user has told, and when it said or asked something last.
#[derive(Debug)]
struct Told {
    sockets: LruCache<u64, Peer>,
    heard: Duration,
}

/// What was told, by cookie. Each user is believed by itself alone, and told of its own
/// alone: to whom another's program is connected is nobody's business, and who may say of
/// root's sockets what it likes would have root's programs hear of an A of its choice.
#[derive(Debug)]
pub struct Sockets {
    roots: LruCache<u64, Peer>,
    others: LruCache<u32, Told>,
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            roots: LruCache::new(ROOTS),
            others: LruCache::new(USERS),
        }
    }
}

impl Sockets {
    /// A program of that user tells whose a socket is. Whether there is a place for it: there
    /// is none for a user more while all others have been heard of lately.
    #[must_use]
    pub fn tell(&mut self, uid: u32, peer: Peer, now: Duration) -> bool {
        if uid == 0 {
            self.roots.put(peer.cookie, peer);
            return true;
        }
        let is_full = self.others.len() >= USERS.get() && !self.others.contains(&uid);
        let eldest = self.others.peek_lru().filter(|_| is_full);
        if eldest.is_some_and(|(_, told)| now.saturating_sub(told.heard) < SILENT) {
            return false;
        }
        let told = self.others.get_or_insert_mut(uid, || Told {
            sockets: LruCache::new(OTHERS),
            heard: now,
        });
        told.heard = now;
        told.sockets.put(peer.cookie, peer);
        true
    }

    /// Whose a socket is, for a program of that user.
    pub fn whose(&mut self, uid: u32, cookie: u64, now: Duration) -> Option<Peer> {
        if uid == 0 {
            return self.roots.get(&cookie).copied();
        }
        let told = self.others.get_mut(&uid)?;
        told.heard = now;
        told.sockets.get(&cookie).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(cookie: u64, n: u16) -> Peer {
        Peer {
            cookie,
            a: "2001:db8:a::53".parse().unwrap(),
            u: "2001:db8:1::1".parse().unwrap(),
            port: n,
            protocol: 6,
        }
    }

    const NOW: Duration = Duration::from_secs(1000);

    #[test]
    fn everybody_is_told_of_its_own_alone() {
        let mut sockets = Sockets::default();
        assert!(sockets.tell(1, peer(7, 1), NOW));
        assert!(sockets.tell(0, peer(8, 2), NOW));
        for (uid, cookie, told) in [
            (1, 7, Some(peer(7, 1))),
            (0, 8, Some(peer(8, 2))),
            (0, 7, None),
            (1, 8, None),
            (2, 7, None),
            (2, 8, None),
        ] {
            assert_eq!(sockets.whose(uid, cookie, NOW), told, "{uid} {cookie}");
        }
        // Nor does another's word count about the same one.
        assert!(sockets.tell(2, peer(8, 3), NOW));
        assert_eq!(sockets.whose(0, 8, NOW), Some(peer(8, 2)));
    }

    #[test]
    fn nobody_takes_the_room_of_others() {
        let mut sockets = Sockets::default();
        assert!(sockets.tell(1, peer(1, 1), NOW));
        assert!(sockets.tell(0, peer(2, 1), NOW));
        for cookie in 10..100_000 {
            assert!(sockets.tell(2, peer(cookie, 1), NOW));
        }
        assert!(sockets.whose(1, 1, NOW).is_some());
        assert!(sockets.whose(0, 2, NOW).is_some());
        let kept = sockets.others.peek(&2).unwrap().sockets.len();
        assert_eq!(kept, OTHERS.get());
    }

    #[test]
    fn a_crowd_of_users_has_nobody_forgotten_who_is_there() {
        let mut sockets = Sockets::default();
        let users = 1..=USERS.get() as u32;
        for uid in users.clone() {
            assert!(sockets.tell(uid, peer(uid.into(), 1), NOW));
        }
        let crowd = 100_000..110_000;
        let soon = NOW + SILENT - Duration::from_millis(1);
        for uid in crowd.clone() {
            assert!(!sockets.tell(uid, peer(1, 1), soon), "{uid}");
        }
        // Who asks is there as well; and root has a place of its own.
        assert!(sockets.whose(1, 1, soon).is_some());
        assert!(sockets.tell(2, peer(2, 2), soon));
        assert!(sockets.tell(0, peer(1, 1), soon));
        let later = NOW + SILENT;
        let told = crowd.filter(|uid| sockets.tell(*uid, peer(1, 1), later));
        assert_eq!(told.count(), USERS.get() - 2);
        let known = users.filter(|uid| sockets.whose(*uid, (*uid).into(), later).is_some());
        assert_eq!(known.collect::<Vec<_>>(), [1, 2]);
    }
}
