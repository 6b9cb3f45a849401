//! One datagram to a closed port of the loopback address, as a proof that the method
//! `unreach` works: it needs a UDP socket, and the error that comes back.

use std::io::{self, ErrorKind};
use std::net::{Ipv6Addr, UdpSocket};
use std::time::{Duration, Instant};

/// How long the kernel may take to answer itself.
const PATIENCE: Duration = Duration::from_secs(2);

/// What became of the datagram, once the socket could be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// The port is unreachable, as it should be.
    Unreachable(Duration),
    /// Sent, and nothing came back in time: somebody listens there, or filters.
    Silent,
    /// There is no way to ::1, which says nothing about other addresses.
    NoLoopback(String),
}

impl std::fmt::Display for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(time) => write!(
                f,
                "a port-unreachable came back from ::1 in {} us",
                time.as_micros()
            ),
            Self::Silent => write!(f, "a datagram to ::1 was sent, but nothing came back"),
            Self::NoLoopback(error) => write!(f, "socket opened; no way to ::1 ({error})"),
        }
    }
}

/// Sends a datagram to `port` of ::1. An error means that the socket could not be
/// opened or that sending is forbidden.
pub(crate) fn to_loopback(port: u16) -> io::Result<Proof> {
    let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0))?;
    let start = Instant::now();
    // Connected, so that the error comes back to this socket.
    let sent = socket
        .connect((Ipv6Addr::LOCALHOST, port))
        .and_then(|()| socket.send(b"AARP"));
    match sent {
        Ok(_) => {}
        Err(error) => {
            return match error.kind() {
                ErrorKind::NetworkUnreachable
                | ErrorKind::HostUnreachable
                | ErrorKind::AddrNotAvailable => Ok(Proof::NoLoopback(error.to_string())),
                _ => Err(error),
            };
        }
    }
    loop {
        let left = PATIENCE.saturating_sub(start.elapsed());
        if left.is_zero() {
            return Ok(Proof::Silent);
        }
        socket.set_read_timeout(Some(left))?;
        match socket.recv(&mut [0; 64]) {
            Ok(_) => return Ok(Proof::Silent),
            Err(error) => match error.kind() {
                ErrorKind::ConnectionRefused => return Ok(Proof::Unreachable(start.elapsed())),
                ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                _ => return Err(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_is_open_is_no_proof() {
        let Ok(listener) = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)) else {
            println!("SKIPPED: a_port_that_is_open_is_no_proof: no loopback address");
            return;
        };
        let port = listener.local_addr().expect("a name").port();
        assert_eq!(to_loopback(port).expect("sent"), Proof::Silent);
        drop(listener);
        assert!(matches!(
            to_loopback(port).expect("sent"),
            Proof::Unreachable(_)
        ));
    }
}
