//! A connection to aarpd.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aarp_sys::peer::credentials;
use aarp_wire::mapper::{Code, MESSAGE_MAX, Message};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType, connect, recv,
    send, socket_with,
};

use super::MapperError;

/// It answers at once, or is stuck.
const PATIENCE: Duration = Duration::from_secs(5);
/// For how long one that says it is busy is asked again: a user may read ten times a second,
/// and all users together 200 times.
const BUSY: Duration = Duration::from_secs(10);
/// How soon.
const PAUSE: Duration = Duration::from_millis(100);

/// A connection, which waits for nobody beyond its patience.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: OwnedFd,
    pub(crate) path: PathBuf,
    /// As whom the daemon began to listen.
    pub(crate) uid: u32,
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// Whole lines.
    Text(String),
    /// The end of an answer: how many.
    Done(u32),
    /// Nothing yet.
    Nothing,
}

impl Connection {
    pub(super) fn open(path: &Path) -> Result<Self, Errno> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        connect(&socket, &SocketAddrUnix::new(path)?)?;
        let owner = credentials(&socket);
        let uid = owner
            .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?
            .uid;
        let path = path.to_owned();
        Ok(Self { socket, path, uid })
    }

    /// For poll(2): readable when something came.
    pub(crate) fn poll_fd(&self) -> PollFd<'_> {
        PollFd::new(&self.socket, PollFlags::IN)
    }

    fn system(&self, call: &'static str) -> impl Fn(Errno) -> MapperError {
        let path = self.path.clone();
        move |errno| MapperError::System(path.clone(), call, errno.into())
    }

    /// Asks.
    ///
    /// # Errors
    /// When it cannot be told.
    pub(crate) fn ask(&self, question: &Message<'_>) -> Result<(), MapperError> {
        let mut buffer = [0; aarp_wire::mapper::FIXED_MAX];
        let Some(packet) = question.emit(1, &mut buffer) else {
            unreachable!("a question has no text");
        };
        match send(&self.socket, packet, SendFlags::NOSIGNAL) {
            Ok(_) => Ok(()),
            Err(Errno::AGAIN) => Err(MapperError::Silent(self.path.clone())),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(MapperError::Ended(self.path.clone())),
            Err(errno) => Err(self.system("send")(errno)),
        }
    }

    /// What came next, if something did.
    ///
    /// # Errors
    /// [`MapperError::Ended`], [`MapperError::Refused`], and what is no answer.
    pub(crate) fn hear(&self) -> Result<Told, MapperError> {
        let mut buffer = vec![0; MESSAGE_MAX];
        let length = match recv(&self.socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((_, length)) => length,
            Err(Errno::AGAIN | Errno::INTR) => return Ok(Told::Nothing),
            Err(Errno::CONNRESET) => 0,
            Err(errno) => return Err(self.system("recv")(errno)),
        };
        if length == 0 {
            return Err(MapperError::Ended(self.path.clone()));
        }
        let nonsense = |why: String| MapperError::Nonsense(self.path.clone(), why);
        match Message::parse(&buffer[..length]) {
            Ok((1, Message::Text(text))) => {
                // Nor anything that a terminal would obey.
                if text.chars().any(|c| c.is_control() && c != '\n') {
                    return Err(nonsense("a control character".to_owned()));
                }
                Ok(Told::Text(text.to_owned()))
            }
            Ok((1, Message::Done(count))) => Ok(Told::Done(count)),
            Ok((1, Message::Error(code, text))) => {
                let path = self.path.clone();
                Err(MapperError::Refused(path, code, super::plain(text)))
            }
            Ok((_, message)) => Err(nonsense(format!("an unexpected {:?}", message.kind()))),
            Err(error) => Err(nonsense(error.to_string())),
        }
    }

    /// All lines of the answer to a question, and the number at its end. One that is busy is
    /// asked again for a while.
    ///
    /// # Errors
    /// [`MapperError::Silent`] where nothing comes for a while, and as for
    /// [`Connection::hear`].
    pub(crate) fn lines(&self, question: &Message<'_>) -> Result<(String, u32), MapperError> {
        let until = Instant::now() + BUSY;
        loop {
            match self.lines_at_once(question) {
                Err(MapperError::Refused(_, Code::BUSY, _)) if Instant::now() < until => {
                    std::thread::sleep(PAUSE);
                }
                ended => return ended,
            }
        }
    }

    fn lines_at_once(&self, question: &Message<'_>) -> Result<(String, u32), MapperError> {
        self.ask(question)?;
        let mut text = String::new();
        let mut until = Instant::now() + PATIENCE;
        loop {
            match self.hear()? {
                Told::Text(more) => {
                    text.push_str(&more);
                    until = Instant::now() + PATIENCE;
                }
                Told::Done(count) => return Ok((text, count)),
                Told::Nothing => self.wait(until)?,
            }
        }
    }

    fn wait(&self, until: Instant) -> Result<(), MapperError> {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match poll(&mut [self.poll_fd()], Some(&left)) {
            Ok(0) => Err(MapperError::Silent(self.path.clone())),
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(self.system("poll")(errno)),
        }
    }
}
