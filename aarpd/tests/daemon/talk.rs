//! A program that asks the daemon.

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use aarp_wire::mapper::{Answer, Asked, Code, MESSAGE_MAX, Message};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};
use serde_json::Value;

use crate::site::PATIENCE;

/// What came.
#[derive(Debug, Clone, PartialEq)]
pub enum Told {
    Mapping(Answer),
    Error(Code, String),
    Text(String),
    Done(u32),
    Peer(aarp_wire::mapper::Peer),
    /// The daemon has closed the connection.
    End,
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client(OwnedFd);

impl Client {
    pub fn connect(path: &Path) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        Ok(Self(socket))
    }

    pub fn send(&self, id: u32, message: &Message<'_>) {
        let mut buffer = vec![0; MESSAGE_MAX];
        self.send_octets(message.emit(id, &mut buffer).unwrap())
            .unwrap();
    }

    pub fn send_octets(&self, octets: &[u8]) -> io::Result<()> {
        send(&self.0, octets, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Sends without waiting; whether there was room.
    pub fn try_send(&self, octets: &[u8]) -> bool {
        send(&self.0, octets, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).is_ok()
    }

    /// The next message, if one comes in that time.
    pub fn within(&self, time: Duration) -> Option<(u32, Told)> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let left = Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            };
            match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&left)) {
                Ok(0) => return None,
                Ok(_) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => panic!("{error}"),
            }
        }
        let mut buffer = vec![0; MESSAGE_MAX];
        let length = match recv(&self.0, &mut buffer[..], RecvFlags::empty()) {
            Ok((_, length)) => length,
            Err(rustix::io::Errno::CONNRESET) => 0,
            Err(error) => panic!("{error}"),
        };
        if length == 0 {
            return Some((0, Told::End));
        }
        let (id, message) = Message::parse(&buffer[..length]).expect("a message");
        let told = match message {
            Message::Mapping(answer) => Told::Mapping(answer),
            Message::Error(code, text) => Told::Error(code, text.to_owned()),
            Message::Text(text) => Told::Text(text.to_owned()),
            Message::Done(count) => Told::Done(count),
            Message::Peer(peer) => Told::Peer(peer),
            other => panic!("{other:?}"),
        };
        Some((id, told))
    }

    /// The next message.
    pub fn next(&self) -> (u32, Told) {
        self.within(PATIENCE).expect("the daemon answers")
    }

    /// Asks, and does not wait.
    pub fn ask(&self, id: u32, a: Ipv6Addr, flags: u32) {
        let budget = 1000;
        self.send(id, &Message::Resolve(Asked { a, budget, flags }));
    }

    /// Asks, and waits.
    pub fn resolve(&self, a: &str) -> Told {
        self.ask(7, a.parse().unwrap(), 0);
        let (id, told) = self.next();
        assert_eq!(id, 7);
        told
    }

    /// The U of an A, which has one.
    pub fn u(&self, a: &str) -> String {
        match self.resolve(a) {
            Told::Mapping(answer) => answer.u.to_string(),
            other => panic!("{a}: {other:?}"),
        }
    }

    /// The lines of an answer that has some, and the number at its end.
    pub fn lines(&self, question: &Message<'_>) -> (String, u32) {
        self.send(9, question);
        let mut text = String::new();
        loop {
            match self.next() {
                (9, Told::Text(more)) => text.push_str(&more),
                (9, Told::Done(count)) => return (text, count),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The records of such an answer.
    pub fn records(&self, question: &Message<'_>) -> Vec<Value> {
        let (text, _) = self.lines(question);
        text.lines().map(record).collect()
    }

    /// What the daemon says of itself.
    pub fn status(&self) -> Value {
        self.records(&Message::Status).remove(0)
    }

    /// Follows what happens from now on.
    pub fn follow(&self) {
        self.send(5, &Message::Events);
        assert_eq!(self.event()["event"], "started");
    }

    /// The next that happens.
    pub fn event(&self) -> Value {
        match self.next() {
            (5, Told::Text(line)) => record(&line),
            other => panic!("{other:?}"),
        }
    }

    /// The next of that kind.
    pub fn event_of(&self, kind: &str) -> Value {
        loop {
            let event = self.event();
            if event["event"] == kind {
                return event;
            }
        }
    }
}

fn record(line: &str) -> Value {
    let record: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    assert_eq!(record["schema"], 1, "{line}");
    record
}
