//! One ICMPv6 echo to the loopback address, as a proof that probes can be sent.

use std::io::{self, ErrorKind, Read};
use std::net::{Ipv6Addr, SocketAddrV6};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

/// How long the kernel may take to answer itself.
const PATIENCE: Duration = Duration::from_secs(2);

const ECHO_REQUEST: u8 = 128;
const ECHO_REPLY: u8 = 129;

/// Which socket to send with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Needs a group within ping_group_range.
    Ping,
    /// Needs CAP_NET_RAW.
    Raw,
}

/// What became of the echo, once the socket could be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Echo {
    /// The kernel answered.
    Answered(Duration),
    /// Sent, and nothing came back in time: somebody filters on loopback.
    Silent,
    /// There is no way to ::1, which says nothing about other addresses.
    NoLoopback(String),
}

impl std::fmt::Display for Echo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Answered(time) => {
                write!(f, "an echo to ::1 came back in {} us", time.as_micros())
            }
            Self::Silent => write!(f, "an echo to ::1 was sent, but nothing came back"),
            Self::NoLoopback(error) => write!(f, "socket opened; no way to ::1 ({error})"),
        }
    }
}

/// Opens a socket of this `kind` and sends an echo request to ::1. An error means
/// that the socket could not be opened or that sending is forbidden.
pub(crate) fn to_loopback(kind: Kind) -> io::Result<Echo> {
    let socket_type = match kind {
        Kind::Ping => Type::DGRAM,
        Kind::Raw => Type::RAW,
    };
    let mut socket = Socket::new(Domain::IPV6, socket_type, Some(Protocol::ICMPV6))?;
    // A ping socket puts its own identifier there, the checksum is the kernel's.
    let id = (std::process::id() as u16).to_be_bytes();
    let mut request = [ECHO_REQUEST, 0, 0, 0, id[0], id[1], 0, 1, 0, 0, 0, 0];
    request[8..].copy_from_slice(b"AARP");
    let start = Instant::now();
    let loopback = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0);
    match socket.send_to(&request, &loopback.into()) {
        Ok(_) => {}
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NetworkUnreachable
                    | ErrorKind::HostUnreachable
                    | ErrorKind::AddrNotAvailable
            ) =>
        {
            return Ok(Echo::NoLoopback(error.to_string()));
        }
        Err(error) => return Err(error),
    }
    loop {
        let left = PATIENCE.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(Echo::Silent);
        }
        socket.set_read_timeout(Some(left))?;
        let mut reply = [0u8; 64];
        match socket.read(&mut reply) {
            Ok(length) if is_reply(&request, &reply[..length], kind) => {
                return Ok(Echo::Answered(start.elapsed()));
            }
            // A raw socket gets everybody's ICMPv6, our own request included.
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error),
        }
    }
}

fn is_reply(request: &[u8], reply: &[u8], kind: Kind) -> bool {
    let same_id = kind == Kind::Ping || reply.get(4..6) == request.get(4..6);
    reply.first() == Some(&ECHO_REPLY) && same_id && reply.get(6..) == request.get(6..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_this_request() {
        let request = [128, 0, 0, 0, 1, 2, 0, 1, b'A', b'A', b'R', b'P'];
        let mut reply = request;
        assert!(!is_reply(&request, &reply, Kind::Raw));
        reply[0] = ECHO_REPLY;
        assert!(is_reply(&request, &reply, Kind::Raw));
        assert!(!is_reply(&request, &reply[..11], Kind::Raw));
        reply[4] = 9;
        assert!(is_reply(&request, &reply, Kind::Ping));
        assert!(!is_reply(&request, &reply, Kind::Raw));
        reply[7] = 2;
        assert!(!is_reply(&request, &reply, Kind::Ping));
    }
}
