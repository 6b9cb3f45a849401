//! What clients want, and what they are told.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::prefix::Prefix;
use aarp_mapper::{Asker, Failed, Reply, Unasked, User};
use aarp_wire::Error;
use aarp_wire::mapper::{Answer, Asked, Code, FIXED_MAX, Header, Message};
use rustix::event::epoll::EventFlags;

use crate::client::{Gone, Heard, Job, piece};
use crate::metrics;
use crate::report;
use crate::serve::Daemon;

/// Messages of one client before others have their turn.
const BATCH: usize = 16;
/// So much that means nothing is answered; then it is not listened to any more.
const MALFORMED_MAX: u32 = 16;
/// Places of the table for one piece of a list.
const PLACES: usize = 4096;
/// Octets from which a piece of a list is long enough.
const PIECE: usize = 8 * 1024;

impl Daemon<'_> {
    /// Hears a client, and goes on with what is being told to it.
    pub(crate) fn serve_client(&mut self, number: u64, flags: EventFlags, now: Duration) {
        let gone = self.converse(number, flags, now).err();
        if let Some(gone) = gone {
            self.let_go(number, gone);
        } else if let Err(error) = self.clients.arm(&self.epoll, number) {
            self.clients.remove(number);
            self.complain(&format!("wait for a client: {error}"));
        }
    }

    fn let_go(&mut self, number: u64, gone: Gone) {
        self.clients.remove(number);
        self.served.deaf += u64::from(gone == Gone::Deaf);
    }

    fn converse(&mut self, number: u64, flags: EventFlags, now: Duration) -> Result<(), Gone> {
        let Some(client) = self.clients.get_mut(number) else {
            return Ok(());
        };
        if client.flush()? {
            self.advance(number, now)?;
        }
        let mut buffer = [0; FIXED_MAX];
        for _ in 0..BATCH {
            let Some(client) = self.clients.get_mut(number) else {
                return Ok(());
            };
            if !client.is_heard() {
                // Who has hung up is not told anything any more.
                let is_gone = flags.intersects(EventFlags::HUP | EventFlags::ERR);
                return if is_gone { Err(Gone::Closed) } else { Ok(()) };
            }
            match client.hear(&mut buffer)? {
                Heard::Nothing => return Ok(()),
                Heard::TooLong => self.malformed(number, 0)?,
                Heard::Packet(packet) => {
                    client.heard = now;
                    match Message::parse(packet) {
                        Ok((id, message)) => {
                            self.request(number, id, &message, now)?;
                            // Others have their turn before it has another.
                            if is_text(&message) {
                                return Ok(());
                            }
                        }
                        Err(error) => {
                            let id = Header::parse(packet).map_or(0, |header| header.id);
                            let known = error != Error::Magic;
                            self.malformed(number, if known { id } else { 0 })?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// It has said what means nothing.
    fn malformed(&mut self, number: u64, id: u32) -> Result<(), Gone> {
        self.served.malformed += 1;
        let Some(client) = self.clients.get_mut(number) else {
            return Ok(());
        };
        client.malformed += 1;
        let uid = client.uid;
        let told = client.tell(id, &Message::Error(Code::MALFORMED, "not a question"));
        if client.malformed < MALFORMED_MAX {
            return told;
        }
        self.complain(&format!(
            "a program of user {uid} sends what means nothing; it is let go"
        ));
        Err(Gone::Closed)
    }

    fn request(
        &mut self,
        number: u64,
        id: u32,
        message: &Message<'_>,
        now: Duration,
    ) -> Result<(), Gone> {
        let Some(client) = self.clients.get_mut(number) else {
            return Ok(());
        };
        if client.is_foreign {
            // What is known here is not right there, and nobody there may change it.
            self.served.foreign += 1;
            let why = "this daemon serves another network namespace";
            client.tell(id, &Message::Error(Code::NOT_PERMITTED, why))?;
            return Err(Gone::Closed);
        }
        let (user, uid) = (client.user, client.uid);
        if is_text(message) && !self.mapper.permits_text(user, now) {
            let why = "this user, or all others together, read too much";
            return client.tell(id, &Message::Error(Code::BUSY, why));
        }
        let is_of_socket = matches!(message, Message::Socket(_) | Message::Whose(_));
        if is_of_socket && !self.mapper.permits_socket(user, now) {
            let why = "this user, or all others together, say and ask too much of sockets";
            return client.tell(id, &Message::Error(Code::BUSY, why));
        }
        match message {
            Message::Resolve(Asked { a, flags, .. }) => {
                client.pending += 1;
                let asker = Asker {
                    client: number,
                    request: id,
                };
                let anew = flags & Asked::ANEW != 0;
                self.mapper.resolve(asker, user, *a, anew, now);
                Ok(())
            }
            Message::Used(a) => {
                self.mapper.used(user, *a, now);
                Ok(())
            }
            Message::Failed(failure) => {
                let failed = Failed {
                    a: failure.a,
                    u: failure.u,
                    protocol: failure.protocol,
                    port: failure.port,
                    errno: i32::try_from(failure.errno).unwrap_or(i32::MAX),
                };
                self.mapper.failed(user, &failed, now);
                Ok(())
            }
            Message::Status | Message::Metrics => {
                let is_metrics = matches!(message, Message::Metrics);
                client.job = Some(Job::Standing { id, is_metrics });
                self.advance(number, now)
            }
            Message::List(a) => self.list(number, id, *a, now),
            Message::Flush(prefix, length) => self.flush(number, id, (*prefix, *length)),
            Message::Events => self.follow(number, id),
            Message::Socket(peer) => {
                self.served.sockets_told += 1;
                if self.sockets.tell(uid, *peer, now) {
                    return client.tell(id, &Message::Done(1));
                }
                let why = "the sockets of as many users are known already";
                client.tell(id, &Message::Error(Code::BUSY, why))
            }
            Message::Whose(cookie) => {
                self.served.sockets_asked += 1;
                match self.sockets.whose(uid, *cookie, now) {
                    Some(peer) => client.tell(id, &Message::Peer(peer)),
                    None => client.tell(id, &Message::Error(Code::UNKNOWN, "nobody has said so")),
                }
            }
            Message::Mapping(_)
            | Message::Text(_)
            | Message::Done(_)
            | Message::Error(..)
            | Message::Peer(_) => self.malformed(number, id),
        }
    }

    fn follow(&mut self, number: u64, id: u32) -> Result<(), Gone> {
        let may_follow = self.clients.may_follow(number);
        let Some(client) = self.clients.get_mut(number) else {
            return Ok(());
        };
        if !may_follow && client.follows.is_none() {
            return client.tell(id, &Message::Error(Code::BUSY, "too many follow already"));
        }
        client.follows = Some(id);
        client.tell(id, &Message::Text(&report::started()))
    }

    fn flush(&mut self, number: u64, id: u32, of: (Ipv6Addr, u8)) -> Result<(), Gone> {
        let Some(client) = self.clients.get_mut(number) else {
            return Ok(());
        };
        if client.user != User::Own {
            let why = "only root, or the user whose daemon it is, may have it forget";
            return client.tell(id, &Message::Error(Code::NOT_PERMITTED, why));
        }
        let Ok(prefix) = Prefix::new(of.0, of.1) else {
            return self.malformed(number, id);
        };
        client.pending += 1;
        let asker = Asker {
            client: number,
            request: id,
        };
        self.mapper.flush(asker, prefix);
        Ok(())
    }

    /// Tells who has had mappings forgotten how many there were.
    pub(crate) fn tell_flushed(&mut self, asker: Asker, count: usize) {
        let Some(client) = self.clients.get_mut(asker.client) else {
            return;
        };
        client.pending = client.pending.saturating_sub(1);
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let told = client.tell(asker.request, &Message::Done(count));
        self.settle(asker.client, told);
    }

    fn list(&mut self, number: u64, id: u32, a: Ipv6Addr, now: Duration) -> Result<(), Gone> {
        let table = self.mapper.table().view();
        let Some(client) = self.clients.get_mut(number) else {
            return Ok(());
        };
        if !a.is_unspecified() {
            let known = table.get(a);
            let known = known.filter(|known| known.is_fresh(table.header().epoch(), now));
            if let Some(known) = &known {
                client.tell(id, &Message::Text(&report::mapping(known, now)))?;
            }
            return client.tell(id, &Message::Done(u32::from(known.is_some())));
        }
        client.job = Some(Job::List {
            id,
            place: 0,
            count: 0,
        });
        self.advance(number, now)
    }

    /// Goes on with what a client is being told, one piece of it.
    fn advance(&mut self, number: u64, now: Duration) -> Result<(), Gone> {
        let table = self.mapper.table().view();
        let Some(client) = self.clients.get_mut(number).filter(|client| client.reads()) else {
            return Ok(());
        };
        match client.job.take() {
            None => {}
            Some(Job::Standing { id, is_metrics }) => {
                let user = client.user;
                let job = match (self.count_on(now), is_metrics) {
                    // Others have their turn before it is counted on.
                    (false, _) => Job::Standing { id, is_metrics },
                    (true, true) => Job::lines(id, self.with_standing(metrics::text)),
                    (true, false) => {
                        let users = self.users(user);
                        let text = self.with_standing(|standing| report::daemon(standing, &users));
                        Job::lines(id, text)
                    }
                };
                let is_made = matches!(job, Job::Lines { .. });
                if let Some(client) = self.clients.get_mut(number) {
                    client.job = Some(job);
                }
                if is_made {
                    return self.advance(number, now);
                }
            }
            Some(Job::Lines { id, text, sent }) => {
                let next = piece(&text[sent..]);
                client.tell(id, &Message::Text(next))?;
                let sent = sent + next.len();
                if sent == text.len() {
                    let lines = u32::try_from(text.lines().count()).unwrap_or(u32::MAX);
                    return client.tell(id, &Message::Done(lines));
                }
                client.job = Some(Job::Lines { id, text, sent });
            }
            Some(Job::List { id, place, count }) => {
                let epoch = table.header().epoch();
                let (mut text, mut count, mut place) = (String::new(), count, place);
                let end = (place + PLACES).min(table.slots());
                while place < end && text.len() < PIECE {
                    for entry in table.entries(place..place + 1) {
                        if entry.is_fresh(epoch, now) {
                            text.push_str(&report::mapping(&entry, now));
                            count += 1;
                        }
                    }
                    place += 1;
                }
                if !text.is_empty() {
                    client.tell(id, &Message::Text(&text))?;
                }
                if place >= table.slots() {
                    return client.tell(id, &Message::Done(count));
                }
                client.job = Some(Job::List { id, place, count });
            }
        }
        Ok(())
    }

    /// Tells an asker what it waits for; who has left misses nothing.
    pub(crate) fn answer(&mut self, asker: Asker, reply: &Reply, now: Duration) {
        let Some(client) = self.clients.get_mut(asker.client) else {
            return;
        };
        client.pending = client.pending.saturating_sub(1);
        let told = match reply {
            Reply::Mapping(a, mapping) => {
                let whole = |number: u128| u32::try_from(number).unwrap_or(u32::MAX);
                let answer = Answer {
                    a: *a,
                    u: mapping.u,
                    state: mapping.state,
                    method: mapping.method,
                    failures: mapping.failures,
                    ttl: whole(mapping.expiry.saturating_sub(now).as_millis()),
                    rtt: whole(mapping.rtt.as_micros()),
                };
                client.tell(asker.request, &Message::Mapping(answer))
            }
            Reply::Unasked(_, unasked) => {
                let (code, text) = unasked_in_words(*unasked);
                client.tell(asker.request, &Message::Error(code, text))
            }
        };
        self.settle(asker.client, told);
    }

    /// Tells everybody who follows.
    pub(crate) fn tell_followers(&mut self, line: impl FnOnce() -> String) {
        let following = self.clients.following();
        if following.is_empty() {
            return;
        }
        let line = line();
        for number in following {
            let Some(client) = self.clients.get_mut(number) else {
                continue;
            };
            let id = client.follows.unwrap_or_default();
            let told = client.tell(id, &Message::Text(&line));
            self.settle(number, told);
        }
    }

    fn settle(&mut self, number: u64, told: Result<(), Gone>) {
        match told {
            Err(gone) => self.let_go(number, gone),
            Ok(()) => {
                if let Err(error) = self.clients.arm(&self.epoll, number) {
                    self.clients.remove(number);
                    self.complain(&format!("wait for a client: {error}"));
                }
            }
        }
    }
}

/// Whether it is answered with lines, which take longer to make than anything else.
fn is_text(message: &Message<'_>) -> bool {
    matches!(
        message,
        Message::Status | Message::Metrics | Message::List(_) | Message::Events
    )
}

fn unasked_in_words(unasked: Unasked) -> (Code, &'static str) {
    match unasked {
        Unasked::Policy => (
            Code::POLICY,
            "the daemon's configuration does not ask about it",
        ),
        Unasked::NotForUser => (
            Code::NOT_PERMITTED,
            "users other than root may ask about prefixes only",
        ),
        Unasked::UserLimit => (Code::BUSY, "this user asks too much"),
        Unasked::Busy => (Code::BUSY, "too much is being asked already"),
        Unasked::Local => (Code::LOCAL, "it is an address of this host"),
        Unasked::NoRoute => (Code::NO_ROUTE, "there is no route to it"),
        Unasked::NotPermitted => (
            Code::NO_PERMISSION,
            "the daemon has no socket for the methods that are wanted",
        ),
        Unasked::System => (Code::SYSTEM, "the daemon could not ask"),
    }
}
