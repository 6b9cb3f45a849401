//! One check: what is asked, of whom, how often, and what counts as an answer.

use std::fmt;
use std::net::{Ipv6Addr, SocketAddrV6};
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use thiserror::Error;

use crate::dns;

/// A check that cannot be used: the key, and what was expected; in one line.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{key}: expected {expected}{}", Found(.found))]
pub struct BadCheck {
    /// The key, such as `port`; `check` where it is the whole.
    pub key: String,
    /// What was expected.
    pub expected: String,
    /// What stands there; empty where nothing does.
    pub found: String,
}

impl BadCheck {
    pub(crate) fn new(key: &str, expected: impl Into<String>, found: &str) -> Self {
        Self {
            key: key.to_owned(),
            expected: expected.into(),
            found: found.to_owned(),
        }
    }
}

struct Found<'a>(&'a str);

impl fmt::Display for Found<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0, self.0.char_indices().nth(60)) {
            ("", _) => Ok(()),
            (text, None) => write!(f, ", found {text:?}"),
            (text, Some((end, _))) => write!(f, ", found {:?}…", &text[..end]),
        }
    }
}

/// A check.
///
/// It is read from a table or from a short form (`FromStr`):
///
/// ```
/// let check: aarp_health::Check = "http:80/health".parse()?;
/// assert_eq!(check.to_string(), "http:80/health");
/// let bad = "http:0".parse::<aarp_health::Check>().unwrap_err();
/// assert_eq!(bad.to_string(), "port: expected a port from 1 to 65535, found \"0\"");
/// # Ok::<(), aarp_health::BadCheck>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What is asked.
    pub kind: Kind,
    /// Of whom; `None`: of the unicast address U of the service.
    pub address: Option<Ipv6Addr>,
    /// From the start of one check to the start of the next.
    pub interval: Duration,
    /// For how long an answer is waited for, everything included.
    pub timeout: Duration,
    /// So many successes in a row bring it up.
    pub rise: NonZeroU32,
    /// So many failures in a row take it down.
    pub fall: NonZeroU32,
}

impl Check {
    /// `interval` unless set.
    pub const INTERVAL: Duration = Duration::from_secs(2);
    /// `timeout` unless set.
    pub const TIMEOUT: Duration = Duration::from_secs(1);
    /// `rise` unless set.
    pub const RISE: NonZeroU32 = NonZeroU32::new(2).unwrap();
    /// `fall` unless set.
    pub const FALL: NonZeroU32 = NonZeroU32::new(3).unwrap();

    /// A check with the default times.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        Self {
            kind,
            address: None,
            interval: Self::INTERVAL,
            timeout: Self::TIMEOUT,
            rise: Self::RISE,
            fall: Self::FALL,
        }
    }

    /// Whether what it asks changes with U. A command is told U.
    #[must_use]
    pub fn follows_unicast(&self) -> bool {
        self.address.is_none()
    }
}

/// The short form; without `address` and times.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Tcp { port } => write!(f, "tcp:{port}"),
            Kind::Http(http) => write!(f, "http:{}{}", http.port, http.path),
            Kind::Udp(udp) => write!(f, "udp:{}", udp.port),
            Kind::Dns(dns) => write!(f, "dns:{}/{}", dns.port, dns.name),
            Kind::Command(command) => {
                write!(f, "command:{}", command.program)?;
                command
                    .arguments
                    .iter()
                    .try_for_each(|argument| write!(f, " {argument}"))
            }
        }
    }
}

/// What is asked, and what counts as an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A connection is accepted.
    Tcp {
        /// Where.
        port: NonZeroU16,
    },
    /// A GET is answered as expected.
    Http(Http),
    /// A datagram is answered.
    Udp(Udp),
    /// A DNS query is answered.
    Dns(Dns),
    /// A program exits with 0.
    Command(Command),
}

impl Kind {
    /// As in `kind = "…"`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Kind::Tcp { .. } => "tcp",
            Kind::Http(_) => "http",
            Kind::Udp(_) => "udp",
            Kind::Dns(_) => "dns",
            Kind::Command(_) => "command",
        }
    }

    /// The port that is asked, where there is one.
    #[must_use]
    pub fn port(&self) -> Option<NonZeroU16> {
        match self {
            Kind::Tcp { port } => Some(*port),
            Kind::Http(http) => Some(http.port),
            Kind::Udp(udp) => Some(udp.port),
            Kind::Dns(dns) => Some(dns.port),
            Kind::Command(_) => None,
        }
    }
}

/// A GET in plain HTTP/1.1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// Where.
    pub port: NonZeroU16,
    /// Origin form: a path, and perhaps a query.
    pub path: String,
    /// The Host field; `None`: the address and the port.
    pub host: Option<String>,
    /// Statuses of which the answer must have one.
    pub statuses: Vec<StatusRange>,
    /// Text that must stand in the first [`BODY_MAX`](crate::http::BODY_MAX) octets
    /// of the body.
    pub body: Option<String>,
}

impl Http {
    /// GET / with the default statuses, 200-399.
    #[must_use]
    pub fn new(port: NonZeroU16) -> Self {
        let (first, last) = (200, 399);
        Self {
            port,
            path: "/".into(),
            host: None,
            statuses: vec![StatusRange { first, last }],
            body: None,
        }
    }

    pub(crate) fn host(&self, asked: SocketAddrV6) -> String {
        match &self.host {
            Some(host) => host.clone(),
            None if asked.port() == 80 => format!("[{}]", asked.ip()),
            None => format!("[{}]:{}", asked.ip(), asked.port()),
        }
    }
}

/// HTTP statuses from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatusRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl StatusRange {
    /// Whether `status` is one of them.
    #[must_use]
    pub fn contains(self, status: u16) -> bool {
        (self.first..=self.last).contains(&status)
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.last == self.first {
            return Ok(());
        }
        write!(f, "-{}", self.last)
    }
}

/// A datagram, and what is expected back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Udp {
    /// Where.
    pub port: NonZeroU16,
    /// What is sent; may be empty.
    pub send: Vec<u8>,
    /// What must come back.
    pub expect: UdpAnswer,
}

/// A datagram that counts as an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UdpAnswer {
    /// Any.
    Any,
    /// One with these octets.
    Equal(Vec<u8>),
    /// One that begins with these octets.
    Prefix(Vec<u8>),
}

/// A DNS query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dns {
    /// Where.
    pub port: NonZeroU16,
    /// What is asked for.
    pub name: dns::Name,
    /// Of which type.
    pub record_type: dns::RecordType,
    /// Response codes of which the answer must have one.
    pub rcodes: Vec<dns::Rcode>,
}

/// A program and its arguments; no shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// An absolute path.
    pub program: String,
    /// What it is given.
    pub arguments: Vec<String>,
}

/// How one check went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// `Err`: why it failed, in words.
    pub result: Result<(), String>,
    /// From its start to its result.
    pub latency: Duration,
}

impl Outcome {
    /// In words, either way.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.result.as_ref().err().map_or("it answers", |why| why)
    }
}
