//! What is said to aarpd, the Anycast Address Mapper of a host (seed 002), and by it.
//!
//! Over `AF_UNIX`, `SOCK_SEQPACKET`: one message a packet. Numbers are little-endian, for
//! both ends are on one host; addresses stand in network order, as everywhere.
//!
//! | octets | content |
//! |---|---|
//! | 0..4 | `AARP` |
//! | 4 | version, 1 |
//! | 5 | type, see [`Type`] |
//! | 6..8 | octets of the whole message |
//! | 8..12 | id: an answer has that of what it answers |
//! | 12.. | as the type has it |

use core::net::Ipv6Addr;

use crate::Error;
use crate::probe::Method;

mod body;

pub use body::{Answer, Asked, Code, Failure, Peer};

/// What every message begins with.
pub const MAGIC: [u8; 4] = *b"AARP";
/// The one version there is.
pub const VERSION: u8 = 1;
/// Octets before what a type has of its own.
pub const HEADER: usize = 12;
/// Octets of the longest message: one with text. All others are shorter than
/// [`FIXED_MAX`].
pub const MESSAGE_MAX: usize = 16 * 1024;
/// Octets of the longest message without text.
pub const FIXED_MAX: usize = 64;
/// Octets of the longest text in one message.
pub const TEXT_MAX: usize = MESSAGE_MAX - HEADER - 4;

mod field {
    use core::ops::Range;
    pub(super) const MAGIC: Range<usize> = 0..4;
    pub(super) const VERSION: usize = 4;
    pub(super) const TYPE: usize = 5;
    pub(super) const LENGTH: Range<usize> = 6..8;
    pub(super) const ID: Range<usize> = 8..12;
}

/// The types of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Type {
    /// Who answers for A? Answered by [`Type::Mapping`] or [`Type::Error`].
    Resolve = 1,
    /// What is known about A.
    Mapping = 2,
    /// A U has failed. Not answered.
    Failed = 3,
    /// A mapping that is to be refreshed soon is in use. Not answered.
    Used = 4,
    /// How the daemon is: answered by [`Type::Text`] and [`Type::Done`].
    Status = 5,
    /// What is known, about A or everything: answered likewise.
    List = 6,
    /// Forget what is known: answered by [`Type::Done`], with how many were forgotten.
    Flush = 7,
    /// Tell what happens from now on: answered by [`Type::Text`] without end.
    Events = 8,
    /// The counters as Prometheus reads them: answered by [`Type::Text`] and
    /// [`Type::Done`].
    Metrics = 9,
    /// Whole lines of text.
    Text = 10,
    /// The end of an answer.
    Done = 11,
    /// Why there is no answer.
    Error = 12,
    /// Whose a socket is that another process will have. Answered by [`Type::Done`], so
    /// that who tells it knows that it is known.
    Socket = 13,
    /// Whose is a socket? Answered by [`Type::Peer`] or [`Type::Error`].
    Whose = 14,
    /// With whom the program of a socket speaks.
    Peer = 15,
}

impl Type {
    /// Every type, in the order of their numbers, from 1.
    pub const ALL: [Type; 15] = [
        Type::Resolve,
        Type::Mapping,
        Type::Failed,
        Type::Used,
        Type::Status,
        Type::List,
        Type::Flush,
        Type::Events,
        Type::Metrics,
        Type::Text,
        Type::Done,
        Type::Error,
        Type::Socket,
        Type::Whose,
        Type::Peer,
    ];

    fn of(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number).checked_sub(1)?).copied()
    }
}

/// What is known about a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// U answered for A.
    Pinned = 1,
    /// A itself answered.
    Direct = 2,
    /// Nobody answered.
    Unanswered = 3,
    /// An answer came from an address that must not be used.
    Untrusted = 4,
}

impl State {
    /// Every state, in the order of their numbers, from 1.
    pub const ALL: [State; 4] = [
        State::Pinned,
        State::Direct,
        State::Unanswered,
        State::Untrusted,
    ];

    /// The state with this number.
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        match number {
            1 => Some(State::Pinned),
            2 => Some(State::Direct),
            3 => Some(State::Unanswered),
            4 => Some(State::Untrusted),
            _ => None,
        }
    }

    /// The name in logs, JSON and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Pinned => "pinned",
            State::Direct => "direct",
            State::Unanswered => "unanswered",
            State::Untrusted => "untrusted",
        }
    }
}

/// What the header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The number of the type, known or not.
    pub number: u8,
    /// The id.
    pub id: u32,
}

impl Header {
    /// Reads the header of a packet, which must be one whole message.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Magic`], [`Error::Version`], and [`Error::Length`]
    /// where the message is not as long as the packet.
    pub fn parse(octets: &[u8]) -> Result<Self, Error> {
        if octets.len() < HEADER {
            return Err(Error::Truncated);
        }
        if octets[field::MAGIC] != MAGIC {
            return Err(Error::Magic);
        }
        if octets[field::VERSION] != VERSION {
            return Err(Error::Version);
        }
        let length = u16::from_le_bytes([octets[field::LENGTH.start], octets[7]]);
        if usize::from(length) != octets.len() {
            return Err(Error::Length);
        }
        let mut id = [0; 4];
        id.copy_from_slice(&octets[field::ID]);
        Ok(Self {
            number: octets[field::TYPE],
            id: u32::from_le_bytes(id),
        })
    }
}

/// A message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'m> {
    /// See [`Type::Resolve`].
    Resolve(Asked),
    /// See [`Type::Mapping`].
    Mapping(Answer),
    /// See [`Type::Failed`].
    Failed(Failure),
    /// See [`Type::Used`].
    Used(Ipv6Addr),
    /// See [`Type::Status`].
    Status,
    /// See [`Type::List`]: the unspecified address is everything.
    List(Ipv6Addr),
    /// See [`Type::Flush`]: all A of a prefix, by its length.
    Flush(Ipv6Addr, u8),
    /// See [`Type::Events`].
    Events,
    /// See [`Type::Metrics`].
    Metrics,
    /// See [`Type::Text`].
    Text(&'m str),
    /// See [`Type::Done`]: how many.
    Done(u32),
    /// See [`Type::Error`]: why, by number and in words.
    Error(Code, &'m str),
    /// See [`Type::Socket`].
    Socket(Peer),
    /// See [`Type::Whose`]: the socket's cookie.
    Whose(u64),
    /// See [`Type::Peer`].
    Peer(Peer),
}

impl<'m> Message<'m> {
    /// Its type.
    #[must_use]
    pub fn kind(&self) -> Type {
        match self {
            Message::Resolve(_) => Type::Resolve,
            Message::Mapping(_) => Type::Mapping,
            Message::Failed(_) => Type::Failed,
            Message::Used(_) => Type::Used,
            Message::Status => Type::Status,
            Message::List(_) => Type::List,
            Message::Flush(..) => Type::Flush,
            Message::Events => Type::Events,
            Message::Metrics => Type::Metrics,
            Message::Text(_) => Type::Text,
            Message::Done(_) => Type::Done,
            Message::Error(..) => Type::Error,
            Message::Socket(_) => Type::Socket,
            Message::Whose(_) => Type::Whose,
            Message::Peer(_) => Type::Peer,
        }
    }

    /// Reads one packet: the id, and the message. It must be exactly as
    /// [`Message::emit`] writes it.
    ///
    /// # Errors
    /// As [`Header::parse`]; [`Error::Type`] for an unknown type, [`Error::Length`]
    /// where the body is not as long as its type has it, and [`Error::Value`] for a
    /// field with an undefined value, or text that is not UTF-8.
    pub fn parse(octets: &'m [u8]) -> Result<(u32, Self), Error> {
        let Header { number, id } = Header::parse(octets)?;
        let kind = Type::of(number).ok_or(Error::Type)?;
        let mut body = body::Reader::new(&octets[HEADER..]);
        let message = match kind {
            Type::Resolve => Message::Resolve(Asked::read(&mut body)?),
            Type::Mapping => Message::Mapping(Answer::read(&mut body)?),
            Type::Failed => Message::Failed(Failure::read(&mut body)?),
            Type::Used => Message::Used(body.address()?),
            Type::Status => Message::Status,
            Type::List => Message::List(body.address()?),
            Type::Flush => {
                let (prefix, length) = (body.address()?, body.u8()?);
                body.zeros(3)?;
                let host = u128::MAX.checked_shr(length.into()).unwrap_or(0);
                if length > 128 || u128::from(prefix) & host != 0 {
                    return Err(Error::Value);
                }
                Message::Flush(prefix, length)
            }
            Type::Events => Message::Events,
            Type::Metrics => Message::Metrics,
            Type::Text => Message::Text(body.text()?),
            Type::Done => Message::Done(body.u32()?),
            Type::Error => Message::Error(Code(body.u32()?), body.text()?),
            Type::Socket => Message::Socket(Peer::read(&mut body)?),
            Type::Whose => Message::Whose(body.u64()?),
            Type::Peer => Message::Peer(Peer::read(&mut body)?),
        };
        body.end()?;
        Ok((id, message))
    }

    /// Writes it, with an id, to the beginning of `buffer`, and returns the packet.
    /// `None` where there is no room, or text is longer than [`TEXT_MAX`].
    #[must_use]
    pub fn emit<'b>(&self, id: u32, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
        let mut to = body::Writer::new(buffer);
        to.octets(&MAGIC)?;
        to.octets(&[VERSION, self.kind() as u8, 0, 0])?;
        to.octets(&id.to_le_bytes())?;
        match self {
            Message::Resolve(asked) => asked.write(&mut to)?,
            Message::Mapping(answer) => answer.write(&mut to)?,
            Message::Failed(failure) => failure.write(&mut to)?,
            Message::Used(a) | Message::List(a) => to.octets(&a.octets())?,
            Message::Status | Message::Events | Message::Metrics => {}
            Message::Flush(prefix, length) => {
                to.octets(&prefix.octets())?;
                to.octets(&[*length, 0, 0, 0])?;
            }
            Message::Text(text) => to.text(text)?,
            Message::Done(count) => to.octets(&count.to_le_bytes())?,
            Message::Error(code, text) => {
                to.octets(&code.0.to_le_bytes())?;
                to.text(text)?;
            }
            Message::Socket(peer) | Message::Peer(peer) => peer.write(&mut to)?,
            Message::Whose(cookie) => to.octets(&cookie.to_le_bytes())?,
        }
        let packet = to.written();
        let length = u16::try_from(packet.len()).ok()?;
        packet[field::LENGTH].copy_from_slice(&length.to_le_bytes());
        Some(packet)
    }
}

/// The method with this number.
fn method_of(number: u8) -> Option<Method> {
    match number {
        1 => Some(Method::Echo),
        2 => Some(Method::Unreach),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
