//! Whose a socket is: what a process has told of one that another will have, over exec or
//! a unix socket, so that its program goes on hearing of A.

use std::num::NonZeroUsize;

use aarp_wire::mapper::Peer;
use lru::LruCache;

/// Sockets of root's programs; the share of each other user.
const ROOTS: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
const OTHERS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// Other users whose sockets are remembered.
const USERS: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// What was told, by cookie. Each user is believed by itself alone, and told of its own
/// alone: to whom another's program is connected is nobody's business, and who may say of
/// root's sockets what it likes would have root's programs hear of an A of its choice.
#[derive(Debug)]
pub struct Sockets {
    roots: LruCache<u64, Peer>,
    others: LruCache<u32, LruCache<u64, Peer>>,
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
    /// A program of that user tells whose a socket is.
    pub fn tell(&mut self, uid: u32, peer: Peer) {
        let told = match uid {
            0 => &mut self.roots,
            uid => self.others.get_or_insert_mut(uid, || LruCache::new(OTHERS)),
        };
        told.put(peer.cookie, peer);
    }

    /// Whose a socket is, for a program of that user.
    pub fn whose(&mut self, uid: u32, cookie: u64) -> Option<Peer> {
        let told = match uid {
            0 => &mut self.roots,
            uid => self.others.get_mut(&uid)?,
        };
        told.get(&cookie).copied()
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

    #[test]
    fn everybody_is_told_of_its_own_alone() {
        let mut sockets = Sockets::default();
        sockets.tell(1, peer(7, 1));
        sockets.tell(0, peer(8, 2));
        for (uid, cookie, told) in [
            (1, 7, Some(peer(7, 1))),
            (0, 8, Some(peer(8, 2))),
            (0, 7, None),
            (1, 8, None),
            (2, 7, None),
            (2, 8, None),
        ] {
            assert_eq!(sockets.whose(uid, cookie), told, "{uid} {cookie}");
        }
        // Nor does another's word count about the same one.
        sockets.tell(2, peer(8, 3));
        assert_eq!(sockets.whose(0, 8), Some(peer(8, 2)));
    }

    #[test]
    fn nobody_takes_the_room_of_others() {
        let mut sockets = Sockets::default();
        sockets.tell(1, peer(1, 1));
        sockets.tell(0, peer(2, 1));
        for cookie in 10..100_000 {
            sockets.tell(2, peer(cookie, 1));
        }
        assert!(sockets.whose(1, 1).is_some());
        assert!(sockets.whose(0, 2).is_some());
        let kept = sockets.others.peek(&2).unwrap().len();
        assert_eq!(kept, OTHERS.get());
    }
}
