//! All who have connected: a bounded number in total and for each user.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::os::fd::OwnedFd;
use std::time::Duration;

use aarp_mapper::User;
use rustix::event::epoll::{self, EventData};

use crate::client::Client;

/// Connections in total; of which a quarter is left to root and the daemon's own.
const TOTAL: usize = 2048;
/// Connections of one user who is neither root nor the daemon's own.
const PER_USER: usize = 256;
/// Who may follow what happens, at the same time: in total, of those who are neither root
/// nor the daemon's own, and of one of these.
const FOLLOWERS: [usize; 3] = [64, 48, 8];
/// The number of the first: those below are of other sources.
pub(crate) const FIRST: u64 = 64;

/// All of them.
#[derive(Debug)]
pub(crate) struct Clients {
    all: HashMap<u64, Client>,
    next: u64,
    /// How many each user has who is neither root nor the daemon's own, and all of these.
    of_user: HashMap<u32, usize>,
    others: usize,
    /// When one is let go that does not read.
    deaf: Option<Duration>,
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
            of_user: HashMap::new(),
            others: 0,
            deaf: None,
            displaced: 0,
            refused: 0,
            most: most.clamp(1, TOTAL),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// How many a user has who is neither root nor the daemon's own.
    pub(crate) fn of_user(&self, uid: u32) -> usize {
        self.of_user.get(&uid).copied().unwrap_or(0)
    }

    /// The users who have any and are neither root nor the daemon's own.
    pub(crate) fn users(&self) -> impl Iterator<Item = u32> {
        self.of_user.keys().copied()
    }

    pub(crate) fn followers(&self) -> usize {
        let follow = self.all.values().filter(|client| client.follows.is_some());
        follow.count()
    }

    /// Whether one more may follow what happens.
    pub(crate) fn may_follow(&self, number: u64) -> bool {
        let Some(client) = self.all.get(&number) else {
            return false;
        };
        let [total, others, own] = FOLLOWERS;
        let count = |among: &dyn Fn(&Client) -> bool| {
            let follow = self.all.values().filter(|client| client.follows.is_some());
            follow.filter(|client| among(client)).count()
        };
        let is_within = client.user == User::Own
            || count(&|other| other.user != User::Own) < others
                && count(&|other| other.user == client.user) < own;
        is_within && self.followers() < total
    }

    pub(crate) fn get_mut(&mut self, number: u64) -> Option<&mut Client> {
        self.all.get_mut(&number)
    }

    /// Lets somebody in, where there is no room in the place of another: of who has been
    /// idle for longest of the user who has most, or of any of a user who has more than
    /// who comes. One who comes again loses nothing: its question goes on.
    pub(crate) fn admit(&mut self, epoll: &OwnedFd, client: Client) -> rustix::io::Result<()> {
        let is_own = client.user == User::Own;
        // Root of another network namespace has the same number, and not the same place.
        let own = if is_own { 0 } else { self.of_user(client.uid) };
        let is_other = |other: &Client| other.user != User::Own;
        let place = if !is_own && own >= PER_USER {
            self.idlest(|other| other.user == client.user)
        } else if !is_own && self.others >= self.most - self.most / 4 {
            self.place_for(own)
        } else if self.all.len() >= self.most {
            self.place_for(own)
                .or_else(|| self.idlest(|other| !is_other(other)))
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

    /// The place of one who is neither root's nor the daemon's own, for a user who has
    /// `own`.
    fn place_for(&self, own: usize) -> Option<u64> {
        let others = self
            .all
            .iter()
            .filter(|(_, client)| client.user != User::Own);
        let (number, client) = others.max_by_key(|(number, client)| {
            let oldest = (Reverse(client.heard), Reverse(**number));
            (client.is_idle(), self.of_user(client.uid), oldest)
        })?;
        (client.is_idle() || self.of_user(client.uid) > own).then_some(*number)
    }

    fn enter(&mut self, epoll: &OwnedFd, mut client: Client) -> rustix::io::Result<()> {
        let number = self.next;
        self.next += 1;
        client.flags = client.wanted();
        epoll::add(epoll, &client, EventData::new_u64(number), client.flags)?;
        if client.user != User::Own {
            self.others += 1;
            *self.of_user.entry(client.uid).or_default() += 1;
        }
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

    /// When one is let go that does not read.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.deaf
    }

    /// Lets those go that have not read for too long; how many.
    pub(crate) fn let_deaf_go(&mut self, now: Duration) -> u64 {
        if self.deaf.is_none_or(|at| now < at) {
            return 0;
        }
        let is_over = |client: &Client| client.ends().is_some_and(|at| at <= now);
        let deaf = self.all.iter().filter(|(_, client)| is_over(client));
        let deaf: Vec<u64> = deaf.map(|(number, _)| *number).collect();
        for number in &deaf {
            self.remove(*number);
        }
        self.deaf = self.all.values().filter_map(Client::ends).min();
        deaf.len() as u64
    }

    /// Lets the idlest go; whether there was one.
    pub(crate) fn displace_one(&mut self) -> bool {
        let others = self.idlest(|client| client.user != User::Own);
        let Some(number) = others.or_else(|| self.idlest(|_| true)) else {
            return false;
        };
        self.remove(number);
        self.displaced += 1;
        true
    }

    /// Closing it ends its registration as well: nobody else has its socket.
    pub(crate) fn remove(&mut self, number: u64) {
        if let Some(Client {
            user: User::Other(_),
            uid,
            ..
        }) = self.all.remove(&number)
        {
            self.others -= 1;
            if let Entry::Occupied(mut count) = self.of_user.entry(uid) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
    }

    /// Has a client waited for what it is to be waited for now.
    pub(crate) fn arm(&mut self, epoll: &OwnedFd, number: u64) -> rustix::io::Result<()> {
        let Some(client) = self.all.get_mut(&number) else {
            return Ok(());
        };
        if let Some(ends) = client.ends() {
            self.deaf = Some(self.deaf.map_or(ends, |at| at.min(ends)));
        }
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
        let caller = Caller {
            socket,
            uid,
            is_foreign: false,
        };
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
        // Root is let in before all others, and displaces none of its own that is busy.
        for round in 0..5 {
            for client in clients.all.values_mut() {
                client.pending = 1;
            }
            let (client, end) = connect(0, 12);
            clients.admit(&epoll, client).unwrap();
            ends.push(end);
            let refused = u64::from(round == 3) + 2 * u64::from(round == 4);
            assert_eq!((clients.len(), clients.refused), (5, refused));
        }
        assert_eq!(clients.others, 0);
        assert!(!clients.displace_one());
    }

    /// Somebody with as many user numbers as it likes, all of whose connections wait for
    /// something.
    #[test]
    fn a_crowd_of_users_keeps_nobody_out() {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut clients = Clients::new(64);
        let mut ends = Vec::new();
        for uid in 0..200 {
            let (client, end) = connect(1000 + uid / 8, 1);
            clients.admit(&epoll, client).unwrap();
            ends.push(end);
            for client in clients.all.values_mut() {
                client.pending = 1;
            }
        }
        // A quarter of the room is left to root.
        assert_eq!((clients.len(), clients.others), (24, 24));
        for _ in 0..8 {
            let (client, end) = connect(0, 2);
            clients.admit(&epoll, client).unwrap();
            ends.push(end);
        }
        assert_eq!(clients.len(), 32);
        // A user who has none finds room all the same, for one of a user who has more.
        let refused = clients.refused;
        let (client, end) = connect(7, 3);
        clients.admit(&epoll, client).unwrap();
        ends.push(end);
        assert_eq!(
            (clients.of_user(7), clients.others, clients.refused),
            (1, 24, refused)
        );
        assert!(clients.of_user.values().all(|count| *count <= 8));
        assert_eq!(clients.of_user.values().sum::<usize>(), 24);
    }

    #[test]
    fn an_idle_connection_of_who_has_most_goes_first() {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut clients = Clients::new(16);
        let mut ends = Vec::new();
        for (uid, at) in [(7, 1), (8, 2), (8, 3), (9, 4), (9, 5), (9, 6)] {
            let (client, end) = connect(uid, at);
            clients.admit(&epoll, client).unwrap();
            ends.push(end);
        }
        for (uid, counts) in [(10, [1, 2, 2]), (11, [1, 1, 2]), (12, [1, 1, 1])] {
            let (client, end) = connect(uid, 7);
            clients.admit(&epoll, client).unwrap();
            ends.push(end);
            assert_eq!([7, 8, 9].map(|uid| clients.of_user(uid)), counts);
        }
    }

    #[test]
    fn places_of_those_who_follow_are_shared() {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut clients = Clients::new(4096);
        let mut ends = Vec::new();
        let mut follow = |uid| {
            let (client, end) = connect(uid, 1);
            ends.push(end);
            clients.admit(&epoll, client).unwrap();
            let number = clients.next - 1;
            let may = clients.may_follow(number);
            if may {
                clients.get_mut(number).unwrap().follows = Some(1);
            }
            may
        };
        assert_eq!((0..20).filter(|_| follow(7)).count(), 8);
        assert_eq!((0..200).filter(|n| follow(1000 + n)).count(), 40);
        assert_eq!((0..20).filter(|_| follow(0)).count(), 16);
    }

    #[test]
    fn who_does_not_read_is_let_go() {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let mut clients = Clients::new(4096);
        let ((deaf, _end), (reader, other)) = (connect(7, 1), connect(7, 1));
        clients.admit(&epoll, deaf).unwrap();
        clients.admit(&epoll, reader).unwrap();
        let text = "x".repeat(8000);
        let message = aarp_wire::mapper::Message::Text(&text);
        for number in [FIRST, FIRST + 1] {
            let client = clients.get_mut(number).unwrap();
            while client.reads() {
                client.tell(1, &message).unwrap();
            }
            clients.arm(&epoll, number).unwrap();
        }
        let at = clients.due().unwrap();
        assert_eq!(clients.let_deaf_go(at - Duration::from_nanos(1)), 0);
        // One of them reads all of it.
        let mut room = vec![0; 16_384];
        while rustix::net::recv(&other, &mut room[..], rustix::net::RecvFlags::empty()).is_ok() {}
        assert!(clients.get_mut(FIRST + 1).unwrap().flush().unwrap());
        assert_eq!(clients.let_deaf_go(at), 1);
        assert_eq!((clients.len(), clients.due()), (1, None));
        assert!(clients.get_mut(FIRST + 1).is_some());
    }

    #[test]
    fn root_of_another_namespace_is_not_root() {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        let foreign = |at| {
            let (mut client, end) = connect(0, at);
            client.user = User::Other(0);
            client.is_foreign = true;
            (client, end)
        };
        let mut clients = Clients::new(4096);
        let (client, _root) = connect(0, 0);
        clients.admit(&epoll, client).unwrap();
        let mut ends = Vec::new();
        for at in 0..=PER_USER as u64 {
            let (client, end) = foreign(1 + at);
            clients.admit(&epoll, client).unwrap();
            ends.push(end);
        }
        assert!(
            clients.all.contains_key(&FIRST),
            "root has said nothing for longest"
        );
        assert_eq!((clients.len(), clients.displaced), (1 + PER_USER, 1));
        // Nor does root have what that one has: its first connection finds room.
        let mut clients = Clients::new(16);
        for (uid, count) in [(0, 3), (7, 2), (8, 1)] {
            for _ in 0..count {
                let (mut client, end) = if uid == 0 {
                    foreign(1)
                } else {
                    connect(uid, 1)
                };
                client.pending = 1;
                clients.admit(&epoll, client).unwrap();
                ends.push(end);
            }
        }
        for at in 0..5 {
            let (mut client, end) = connect(0, 2 + at);
            client.pending = 1;
            clients.admit(&epoll, client).unwrap();
            ends.push(end);
        }
        assert_eq!((clients.refused, clients.others), (0, 3));
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
