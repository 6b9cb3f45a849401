//! One who has connected: what it has to say, and what it has not yet read.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use aarp_mapper::User;
use aarp_sys::clock::boottime;
use aarp_wire::mapper::{FIXED_MAX, MESSAGE_MAX, Message, TEXT_MAX};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::listen::Caller;

/// Octets that wait for a client that does not read; of one that lets more come together
/// nothing is kept.
const UNREAD_MAX: usize = 256 * 1024;
/// For how long a client may read nothing of what waits for it.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// Questions of one client that are open. It is not listened to before it has an answer.
const PENDING_MAX: u32 = 64;

/// It is gone, or as good as that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gone {
    /// It has closed.
    Closed,
    /// It does not read.
    Deaf,
}

/// What a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard<'b> {
    /// A packet.
    Packet(&'b [u8]),
    /// One that is longer than any that could mean something.
    TooLong,
    /// Nothing more.
    Nothing,
}

/// An answer that takes more than one message.
#[derive(Debug)]
pub(crate) enum Job {
    /// Mappings, from a place of the table on; and how many there were.
    List {
        /// The id of the question.
        id: u32,
        place: usize,
        count: u32,
    },
    /// Lines about the daemon, which are made when the mappings are counted.
    Standing {
        /// The id of the question.
        id: u32,
        /// For Prometheus.
        is_metrics: bool,
    },
    /// Lines.
    Lines {
        id: u32,
        text: String,
        /// What was sent of it.
        sent: usize,
    },
}

impl Job {
    /// Lines of which nothing was sent.
    pub(crate) fn lines(id: u32, text: String) -> Self {
        let sent = 0;
        Self::Lines { id, text, sent }
    }
}

/// One who has connected.
#[derive(Debug)]
pub(crate) struct Client {
    socket: OwnedFd,
    pub(crate) uid: u32,
    pub(crate) user: User,
    /// Its questions that are open.
    pub(crate) pending: u32,
    /// What it said that means nothing.
    pub(crate) malformed: u32,
    /// What is being told to it.
    pub(crate) job: Option<Job>,
    /// The id of its question for all that happens.
    pub(crate) follows: Option<u32>,
    /// When it said something last.
    pub(crate) heard: Duration,
    unread: VecDeque<Vec<u8>>,
    unread_octets: usize,
    /// Since when it has read nothing of that.
    silent: Option<Duration>,
    /// It is of another network namespace, where others may answer.
    pub(crate) is_foreign: bool,
    /// What it is waited for.
    pub(crate) flags: EventFlags,
}

impl Client {
    pub(crate) fn new(caller: Caller, user: User, now: Duration) -> Self {
        Self {
            socket: caller.socket,
            uid: caller.uid,
            user,
            pending: 0,
            malformed: 0,
            job: None,
            follows: None,
            heard: now,
            unread: VecDeque::new(),
            unread_octets: 0,
            silent: None,
            is_foreign: caller.is_foreign,
            flags: EventFlags::empty(),
        }
    }

    /// Takes a packet.
    pub(crate) fn hear<'b>(&self, buffer: &'b mut [u8; FIXED_MAX]) -> Result<Heard<'b>, Gone> {
        match recv(
            &self.socket,
            &mut buffer[..],
            RecvFlags::DONTWAIT | RecvFlags::TRUNC,
        ) {
            Ok((_, 0)) => Err(Gone::Closed),
            Ok((_, length)) => Ok(match buffer.get(..length) {
                Some(packet) => Heard::Packet(packet),
                None => Heard::TooLong,
            }),
            Err(Errno::AGAIN | Errno::INTR) => Ok(Heard::Nothing),
            Err(_) => Err(Gone::Closed),
        }
    }

    /// Sends a message, or keeps it until the client reads.
    pub(crate) fn tell(&mut self, id: u32, message: &Message<'_>) -> Result<(), Gone> {
        let mut small = [0; FIXED_MAX];
        if let Some(packet) = message.emit(id, &mut small) {
            return self.send(packet);
        }
        let mut large = vec![0; MESSAGE_MAX];
        // Text was cut to what has room.
        match message.emit(id, &mut large) {
            Some(packet) => self.send(packet),
            None => Ok(()),
        }
    }

    fn send(&mut self, packet: &[u8]) -> Result<(), Gone> {
        if self.unread.is_empty() {
            match self.push(packet) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(gone) => return Err(gone),
            }
        }
        self.unread_octets += packet.len();
        if self.unread_octets > UNREAD_MAX {
            return Err(Gone::Deaf);
        }
        self.silent.get_or_insert_with(boottime);
        self.unread.push_back(packet.to_vec());
        Ok(())
    }

    /// Whether there was room for it.
    fn push(&self, packet: &[u8]) -> Result<bool, Gone> {
        match send(
            &self.socket,
            packet,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        ) {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS) => Ok(false),
            Err(_) => Err(Gone::Closed),
        }
    }

    /// Sends what was kept, as far as the client reads; whether that was all.
    pub(crate) fn flush(&mut self) -> Result<bool, Gone> {
        while let Some(packet) = self.unread.front() {
            if !self.push(packet)? {
                return Ok(false);
            }
            self.unread_octets -= packet.len();
            self.unread.pop_front();
            self.silent = (!self.unread.is_empty()).then(boottime);
        }
        Ok(true)
    }

    /// Whether it reads what it is told.
    pub(crate) fn reads(&self) -> bool {
        self.unread.is_empty()
    }

    /// When it is let go unless it reads.
    pub(crate) fn ends(&self) -> Option<Duration> {
        self.silent.map(|since| since + SILENCE_MAX)
    }

    /// Whether it is listened to.
    pub(crate) fn is_heard(&self) -> bool {
        self.reads() && self.job.is_none() && self.pending < PENDING_MAX
    }

    /// Whether nothing would be lost with it.
    pub(crate) fn is_idle(&self) -> bool {
        self.is_heard() && self.pending == 0 && self.follows.is_none()
    }

    /// What it is to be waited for.
    pub(crate) fn wanted(&self) -> EventFlags {
        let mut wanted = EventFlags::empty();
        if self.is_heard() {
            wanted |= EventFlags::IN;
        }
        if !self.reads() || self.job.is_some() {
            wanted |= EventFlags::OUT;
        }
        wanted
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The next piece of lines that has room in a message, whole lines where there are any.
pub(crate) fn piece(text: &str) -> &str {
    if text.len() <= TEXT_MAX {
        return text;
    }
    let mut end = TEXT_MAX;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let end = text[..end].rfind('\n').map_or(end, |line| line + 1);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_whole_lines() {
        let line = format!("{}\n", "x".repeat(99));
        let text = line.repeat(1000);
        let mut rest = text.as_str();
        let mut pieces = Vec::new();
        while !rest.is_empty() {
            let next = piece(rest);
            assert!(next.len() <= TEXT_MAX && next.ends_with('\n'));
            pieces.push(next);
            rest = &rest[next.len()..];
        }
        assert_eq!(pieces.concat(), text);
        assert_eq!(pieces.len(), 100_000usize.div_ceil(TEXT_MAX / 100 * 100));
        let long = "ä".repeat(TEXT_MAX);
        assert!(!piece(&long).is_empty());
    }
}
