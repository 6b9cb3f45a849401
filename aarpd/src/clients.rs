//! All who have connected: a bounded number in total and for each user.

use std::collections::HashMap;
use std::os::fd::OwnedFd;

use aarp_mapper::User;
use rustix::event::epoll::{self, EventData};

use crate::client::Client;

/// Connections in total.
const TOTAL: usize = 2048;
/// Connections of one user who is neither root nor the daemon's own.
const PER_USER: usize = 256;
/// The number of the first: those below are of other sources.
pub(crate) const FIRST: u64 = 64;

/// All of them.
#[derive(Debug)]
pub(crate) struct Clients {
    all: HashMap<u64, Client>,
    next: u64,
    /// How many were let go to make room for others.
    pub(crate) displaced: u64,
    /// How many were not let in.
    pub(crate) refused: u64,
    most: usize,
}

impl Clients {
    /// Room for as many as there are descriptors for.
    pub(crate) fn new(descriptors: u64) -> Self {
        let most = usize::try_from(descriptors / 2).unwrap_or(TOTAL);
        Self {
            all: HashMap::new(),
            next: FIRST,
            displaced: 0,
            refused: 0,
            most: most.clamp(1, TOTAL),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    pub(crate) fn followers(&self) -> usize {
        let follow = self.all.values().filter(|client| client.follows.is_some());
        follow.count()
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Client> {
        self.all.get_mut(&number)
    }

    /// Lets somebody in, in the place of who has been idle for longest where there is no
    /// room; without anybody idle, not.
    pub(crate) fn admit(&mut self, epoll: &OwnedFd, client: Client) -> rustix::io::Result<()> {
        let of_user = |other: &Client| other.uid == client.uid;
        let is_full = client.user != User::Own
            && self.all.values().filter(|other| of_user(other)).count() >= PER_USER;
        let place = if is_full {
            self.idlest(of_user)
        } else if self.all.len() >= self.most {
            let others = self.idlest(|other| other.user != User::Own);
            others.or_else(|| self.idlest(|_| true))
        } else {
            return self.enter(epoll, client);
        };
        let Some(place) = place else {
            self.refused += 1;
            return Ok(());
        };
        self.remove(place);
        self.displaced += 1;
        self.enter(epoll, client)
    }

    fn enter(&mut self, epoll: &OwnedFd, mut client: Client) -> rustix::io::Result<()> {
        let number = self.next;
        self.next += 1;
        client.flags = client.wanted();
        epoll::add(epoll, &client, EventData::new_u64(number), client.flags)?;
        self.all.insert(number, client);
        Ok(())
    }

    /// Who of these has said nothing for longest and waits for nothing.
    fn idlest(&self, among: impl Fn(&Client) -> bool) -> Option<u64> {
        let idle = self
            .all
            .iter()
            .filter(|(_, client)| client.is_idle() && among(client));
        let oldest = idle.min_by_key(|(number, client)| (client.heard, **number));
        oldest.map(|(number, _)| *number)
    }

    /// Lets the idlest go; whether there was one.
    pub(crate) fn displace_one(&mut self) -> bool {
        let Some(number) = self.idlest(|_| true) else {
            return false;
        };
        self.remove(number);
        self.displaced += 1;
        true
    }

    /// Closing it ends its registration as well: nobody else has its socket.
    pub(crate) fn remove(&mut self, number: u64) {
        self.all.remove(&number);
    }

    /// Has a client waited for what it is to be waited for now.
    pub(crate) fn arm(&mut self, epoll: &OwnedFd, number: u64) -> rustix::io::Result<()> {
        let Some(client) = self.all.get_mut(&number) else {
            return Ok(());
        };
        let wanted = client.wanted();
        if wanted != client.flags {
            epoll::modify(epoll, &*client, EventData::new_u64(number), wanted)?;
            client.flags = wanted;
        }
        Ok(())
    }

    /// The numbers of those who follow what happens.
    pub(crate) fn following(&self) -> Vec<u64> {
        let follow = self
            .all
            .iter()
            .filter(|(_, client)| client.follows.is_some());
        follow.map(|(number, _)| *number).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::listen::Caller;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn connect(uid: u32, at: u64) -> (Client, OwnedFd) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let pair = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None);
        let (socket, other) = pair.unwrap();
        let user = if uid == 0 {
            User::Own
        } else {
            User::Other(uid)
        };
        let caller = Caller { socket, uid };
        (Client::new(caller, user, Duration::from_secs(at)), other)
    }

    #[test]
    fn the_idlest_makes_room_for_who_comes() {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut clients = Clients::new(10);
        let mut ends = Vec::new();
        for (uid, at) in [(0, 1), (7, 9), (7, 5), (8, 6), (0, 0)] {
            let (client, end) = connect(uid, at);
            clients.admit(&epoll, client).unwrap();
            ends.push(end);
        }
        let is_there = |clients: &Clients, n: u64| clients.all.contains_key(&(FIRST + n));
        // Not root's, though it is older.
        let (client, _end) = connect(9, 10);
        clients.admit(&epoll, client).unwrap();
        assert!(!is_there(&clients, 2) && is_there(&clients, 4));
        // Nor who waits for an answer.
        clients.get_mut(FIRST + 3).unwrap().pending = 1;
        let (client, _end) = connect(9, 11);
        clients.admit(&epoll, client).unwrap();
        assert!(is_there(&clients, 3) && !is_there(&clients, 1));
        assert_eq!(
            (clients.len(), clients.displaced, clients.refused),
            (5, 2, 0)
        );
        for client in clients.all.values_mut() {
            client.pending = 1;
        }
        let (client, _end) = connect(0, 12);
        clients.admit(&epoll, client).unwrap();
        assert_eq!((clients.len(), clients.refused), (5, 1));
        assert!(!clients.displace_one());
    }

    #[test]
    fn one_user_displaces_nobody_else() {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut clients = Clients::new(4096);
        let (client, _end) = connect(8, 0);
        clients.admit(&epoll, client).unwrap();
        let mut ends = std::collections::VecDeque::new();
        for at in 0..1000 {
            let (client, end) = connect(7, 1 + at);
            clients.admit(&epoll, client).unwrap();
            ends.push_back(end);
            if ends.len() > PER_USER {
                ends.pop_front();
            }
        }
        assert_eq!(clients.len(), 1 + PER_USER);
        assert_eq!(clients.displaced, 1000 - PER_USER as u64);
        assert!(clients.all.contains_key(&FIRST));
    }
}
