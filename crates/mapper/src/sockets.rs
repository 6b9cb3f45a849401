//! Whose a socket is: what a process has told of one that another will have, over exec or
//! a unix socket, so that its program goes on hearing of A.

use std::num::NonZeroUsize;

use aarp_wire::mapper::Peer;
use lru::LruCache;

use crate::users::User;

/// Sockets that root's and the daemon's own programs have told of; the others' share.
const OWN: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();
const OTHERS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// Users whose sockets are remembered.
const USERS: NonZeroUsize = NonZeroUsize::new(64).unwrap();

/// What was told, by cookie. Each user is believed by itself; root by everybody.
#[derive(Debug)]
pub struct Sockets {
    own: LruCache<u64, Peer>,
    others: LruCache<u32, LruCache<u64, Peer>>,
}

impl Default for Sockets {
    fn default() -> Self {
        Self {
            own: LruCache::new(OWN),
            others: LruCache::new(USERS),
        }
    }
}

impl Sockets {
    /// Somebody tells whose a socket is.
    pub fn tell(&mut self, user: User, peer: Peer) {
        let told = match user {
            User::Own => &mut self.own,
            User::Other(number) => {
                let room = || LruCache::new(OTHERS);
                self.others.get_or_insert_mut(number, room)
            }
        };
        told.put(peer.cookie, peer);
    }

    /// Whose a socket is, for a user. Its own programs are asked first: a cookie is not
    /// used twice, so that they know better than anybody.
    pub fn whose(&mut self, user: User, cookie: u64) -> Option<Peer> {
        let own = match user {
            User::Own => None,
            User::Other(number) => self
                .others
                .get_mut(&number)
                .and_then(|told| told.get(&cookie))
                .copied(),
        };
        own.or_else(|| self.own.get(&cookie).copied())
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
    fn nobody_is_believed_by_others_but_root() {
        let mut sockets = Sockets::default();
        sockets.tell(User::Other(1), peer(7, 1));
        assert_eq!(sockets.whose(User::Other(1), 7), Some(peer(7, 1)));
        assert_eq!(sockets.whose(User::Other(2), 7), None);
        assert_eq!(sockets.whose(User::Own, 7), None);
        sockets.tell(User::Own, peer(8, 2));
        for user in [User::Own, User::Other(1), User::Other(2)] {
            assert_eq!(sockets.whose(user, 8), Some(peer(8, 2)));
        }
    }

    #[test]
    fn nobody_takes_the_room_of_others() {
        let mut sockets = Sockets::default();
        sockets.tell(User::Other(1), peer(1, 1));
        sockets.tell(User::Own, peer(2, 1));
        for cookie in 10..100_000 {
            sockets.tell(User::Other(2), peer(cookie, 1));
        }
        assert!(sockets.whose(User::Other(1), 1).is_some());
        assert!(sockets.whose(User::Own, 2).is_some());
        let kept = sockets.others.peek(&2).unwrap().len();
        assert_eq!(kept, OTHERS.get());
    }
}
