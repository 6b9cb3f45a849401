//! The states of a responder's services, told as they change: aarp-responder serves them
//! on a socket (`/run/aarp/responder.sock`), aarp-binding follows them there.
//!
//! Whoever connects gets a JSON record a line for each anycast address, and another
//! whenever one of them changes, for as long as it stays connected.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with, sockopt,
};
use rustix::process::{geteuid, test_kill_process};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version of the records.
const SCHEMA: u32 = 1;
/// Followers at the same time; more have to come again.
const FOLLOWERS: usize = 16;
/// The longest line that is taken for a record, in octets.
const LINE_MAX: usize = 4096;
/// Characters of a reason: each may be twelve octets of JSON.
const REASON_MAX: usize = 256;
/// How long what was said last holds when nobody says anything any more. A responder
/// that is restarted is back long before.
pub const HOLD: Duration = Duration::from_secs(30);
/// How soon after a failure somebody is looked for again.
const RETRY: Duration = Duration::from_secs(1);

/// What a responder says of the service behind an anycast address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It is served here.
    Up,
    /// Its present clients are served, new ones are to go elsewhere.
    Draining,
    /// It is not served.
    Down,
    /// It is taken out by the operator.
    Maintenance,
    /// Nothing is known yet; or it is a word of a later version.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Up => "up",
            Self::Draining => "draining",
            Self::Down => "down",
            Self::Maintenance => "maintenance",
            Self::Unknown => "unknown",
        })
    }
}

/// One anycast address, as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// How.
    pub condition: Condition,
    /// Why, in words.
    pub reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Record {
    ResponderState {
        schema: u32,
        /// The network namespace: the same address may be served in several.
        namespace: String,
        anycast: Ipv6Addr,
        state: Condition,
        reason: String,
    },
}

/// The network namespace of this process: device and inode.
///
/// # Errors
/// Without /proc.
pub fn namespace() -> io::Result<String> {
    let namespace = std::fs::metadata("/proc/self/ns/net")?;
    Ok(format!("{}-{}", namespace.dev(), namespace.ino()))
}

/// A socket that cannot be served.
#[derive(Debug, Error)]
pub enum FeedError {
    /// Another process serves it.
    #[error("{}: another process serves it", .0.display())]
    Busy(PathBuf),
    /// Something else.
    #[error("{}: {operation}: {error}", .path.display())]
    Failed {
        /// The socket.
        path: PathBuf,
        /// What was done.
        operation: &'static str,
        /// Why it failed.
        error: io::Error,
    },
}

/// A socket where states are told. It goes away with this value.
#[derive(Debug)]
pub struct Feed {
    listener: UnixListener,
    path: PathBuf,
    namespace: String,
    followers: Vec<UnixStream>,
    statements: BTreeMap<Ipv6Addr, Statement>,
}

impl Feed {
    /// Serves `path`, in a folder that is there. What a dead process left is replaced.
    ///
    /// # Errors
    /// [`FeedError::Busy`] when another process serves it.
    pub fn bind(path: &Path) -> Result<Self, FeedError> {
        let failed = |operation| {
            move |error| FeedError::Failed {
                path: path.to_owned(),
                operation,
                error,
            }
        };
        match dial(path) {
            Ok(stream) if is_held(&stream) => return Err(FeedError::Busy(path.to_owned())),
            Ok(_) => std::fs::remove_file(path).map_err(failed("remove what was left there"))?,
            // So many wait that there is no room for one more.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(FeedError::Busy(path.to_owned()));
            }
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(failed("remove what was left there"))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed("look whether it is served")(error)),
        }
        let listener = UnixListener::bind(path).map_err(failed("bind"))?;
        let private = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(path, private).map_err(failed("set its mode"))?;
        listener
            .set_nonblocking(true)
            .map_err(failed("make it non-blocking"))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            namespace: namespace().map_err(failed("name the network namespace"))?,
            followers: Vec::new(),
            statements: BTreeMap::new(),
        })
    }

    /// Says how an address stands, to all who follow, if it is not as it was.
    pub fn tell(&mut self, anycast: Ipv6Addr, statement: Statement) {
        if self.statements.get(&anycast) == Some(&statement) {
            return;
        }
        let line = self.line(anycast, &statement);
        self.statements.insert(anycast, statement);
        // One that does not read is let go: when it comes again it hears it all.
        self.followers.retain_mut(|f| f.write_all(&line).is_ok());
    }

    /// Lets those in who wait, and says to them how everything stands. Nobody is
    /// waited for.
    ///
    /// # Errors
    /// When somebody could not be let in, as for want of descriptors: a thing to be told,
    /// and no reason to end.
    pub fn admit(&mut self) -> io::Result<()> {
        loop {
            let mut stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Who came is gone again.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            self.followers.retain_mut(is_there);
            if self.followers.len() >= FOLLOWERS {
                continue;
            }
            let statements = self.statements.iter();
            let lines: Vec<u8> = statements
                .flat_map(|(anycast, statement)| self.line(*anycast, statement))
                .collect();
            if stream.set_nonblocking(true).is_ok() && stream.write_all(&lines).is_ok() {
                self.followers.push(stream);
            }
        }
    }

    fn line(&self, anycast: Ipv6Addr, statement: &Statement) -> Vec<u8> {
        let record = Record::ResponderState {
            schema: SCHEMA,
            namespace: self.namespace.clone(),
            anycast,
            state: statement.condition,
            // A line that is too long would not be taken.
            reason: statement.reason.chars().take(REASON_MAX).collect(),
        };
        // Strings, numbers and addresses: none of them can fail.
        let mut line = serde_json::to_vec(&record).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// Whether a follower is still there. Followers say nothing.
fn is_there(follower: &mut UnixStream) -> bool {
    match follower.read(&mut [0; 16]) {
        Ok(said) => said > 0,
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    }
}

impl AsFd for Feed {
    /// Readable when somebody waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        // Somebody else may have removed it.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Whether who listens at the other end is alive. A process that was killed may have left
/// its socket to a child, for as long as that takes to become the program that it is to be.
fn is_held(stream: &UnixStream) -> bool {
    // Of whoever began to listen. One that is not known is not known to be dead.
    match sockopt::socket_peercred(stream) {
        Ok(peer) => test_kill_process(peer.pid) != Err(Errno::SRCH),
        Err(_) => true,
    }
}

/// Connects without waiting, and reads without waiting.
fn dial(path: &Path) -> io::Result<UnixStream> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    connect(&socket, &SocketAddrUnix::new(path)?)?;
    Ok(socket.into())
}

/// What has come of following.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// There is a responder to follow.
    Found,
    /// It is gone; what it said last holds for [`HOLD`].
    Lost,
    /// An address stands otherwise than was known.
    Changed(Ipv6Addr, Statement),
}

#[derive(Debug)]
struct Said {
    statement: Statement,
    /// When the one who said it was lost.
    lost: Option<Duration>,
    /// What one who has come since has to say, which does not count before the end of
    /// [`HOLD`]: that it does not know yet.
    then: Option<Statement>,
}

impl Said {
    /// Said a moment ago.
    const fn now(statement: Statement) -> Self {
        Self {
            statement,
            lost: None,
            then: None,
        }
    }
}

#[derive(Debug)]
struct Link {
    stream: UnixStream,
    /// The beginning of a line.
    begun: Vec<u8>,
    /// Since when, until something was heard.
    silent_since: Option<Duration>,
}

/// Follows what a responder says, for as long as there is one; times are of
/// `CLOCK_BOOTTIME`.
#[derive(Debug)]
pub struct Follower {
    path: PathBuf,
    namespace: String,
    link: Option<Link>,
    said: BTreeMap<Ipv6Addr, Said>,
    /// When one is looked for again.
    next: Duration,
}

impl Follower {
    /// Will follow who serves `path`.
    ///
    /// # Errors
    /// As [`namespace`].
    pub fn new(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            namespace: namespace()?,
            link: None,
            said: BTreeMap::new(),
            next: Duration::ZERO,
        })
    }

    /// Hears what was said meanwhile, or looks for somebody to follow. Never waits.
    pub fn follow(&mut self, now: Duration) -> Vec<News> {
        let mut news = Vec::new();
        if self.link.is_none() && self.next <= now {
            self.next = now + RETRY;
            if let Ok(stream) = dial(&self.path)
                && is_trusted(&stream)
            {
                self.link = Some(Link {
                    stream,
                    begun: Vec::new(),
                    silent_since: Some(now),
                });
                news.push(News::Found);
            }
        }
        if let Some(mut link) = self.link.take() {
            match self.hear(&mut link, &mut news) {
                Ok(()) => {
                    let is_silent = |since: &Duration| now < *since + RETRY;
                    link.silent_since = link.silent_since.filter(is_silent);
                    self.link = Some(link);
                }
                Err(_) => {
                    for said in self.said.values_mut() {
                        said.lost.get_or_insert(now);
                        said.then = None;
                    }
                    self.next = now + RETRY;
                    news.push(News::Lost);
                }
            }
        }
        let holds = |said: &Said| said.lost.is_none_or(|lost| now < lost + HOLD);
        self.said.retain(|anycast, said| {
            if holds(said) {
                return true;
            }
            let Some(statement) = said.then.take() else {
                return false;
            };
            news.push(News::Changed(*anycast, statement.clone()));
            *said = Said::now(statement);
            true
        });
        news
    }

    /// Reads all that is there; an error when nothing more will come.
    fn hear(&mut self, link: &mut Link, news: &mut Vec<News>) -> io::Result<()> {
        let mut room = [0; LINE_MAX];
        loop {
            let octets = match link.stream.read(&mut room) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) => {
                    link.silent_since = None;
                    &room[..length]
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            for part in octets.split_inclusive(|octet| *octet == b'\n') {
                link.begun.extend_from_slice(part);
                if link.begun.len() > LINE_MAX {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                if part.ends_with(b"\n") {
                    self.take(&link.begun, news);
                    link.begun.clear();
                }
            }
        }
    }

    fn take(&mut self, line: &[u8], news: &mut Vec<News>) {
        // What is not understood is for others, or of a later version.
        let Ok(Record::ResponderState {
            schema: SCHEMA,
            namespace,
            anycast,
            state,
            reason,
        }) = serde_json::from_slice(line)
        else {
            return;
        };
        if namespace != self.namespace {
            return;
        }
        let condition = state;
        let statement = Statement { condition, reason };
        // One that was restarted has to find out first.
        if state == Condition::Unknown
            && let Some(said) = self.said.get_mut(&anycast)
            && said.lost.is_some()
        {
            said.then = Some(statement);
            return;
        }
        let now = statement.clone();
        let before = self.said.insert(anycast, Said::now(statement));
        if before.is_none_or(|before| before.statement != now) {
            news.push(News::Changed(anycast, now));
        }
    }

    /// How an address stands, by who is followed or was until a moment ago.
    #[must_use]
    pub fn statement(&self, anycast: Ipv6Addr) -> Option<&Statement> {
        self.said.get(&anycast).map(|said| &said.statement)
    }

    /// Whether there is somebody who is about to say how things stand, and has not yet.
    #[must_use]
    pub fn is_about_to_hear(&self) -> bool {
        let since = self.link.as_ref().and_then(|link| link.silent_since);
        since.is_some()
    }

    /// When [`follow`](Self::follow) is due even if nothing is heard.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let ends = self.said.values().filter_map(|said| said.lost);
        let next = self.link.is_none().then_some(self.next);
        let silent = self.link.as_ref().and_then(|link| link.silent_since);
        let silent = silent.map(|since| since + RETRY);
        ends.map(|lost| lost + HOLD).chain(next).chain(silent).min()
    }

    /// What becomes readable when something is said.
    #[must_use]
    pub fn source(&self) -> Option<BorrowedFd<'_>> {
        self.link.as_ref().map(|link| link.stream.as_fd())
    }
}

/// Only root, or who we are, says how services stand.
fn is_trusted(stream: &UnixStream) -> bool {
    let peer = sockopt::socket_peercred(stream);
    peer.is_ok_and(|peer| peer.uid.is_root() || peer.uid == geteuid())
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
