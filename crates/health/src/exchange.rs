//! Checks over a socket.

use std::net::{Ipv6Addr, SocketAddrV6};
use std::num::NonZeroU16;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::Errno;
use rustix::net::sockopt::socket_error;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, connect,
    getpeername, getsockname, recv, send, socket_with,
};

use crate::dns::Query;
use crate::http::{self, Malformed, Response};
use crate::patience::{Halt, Patience};
use crate::reason;
use crate::settings::{Dns, Http, Udp, UdpAnswer};

fn target(address: Ipv6Addr, port: NonZeroU16) -> SocketAddrV6 {
    SocketAddrV6::new(address, port.get(), 0, 0)
}

fn open(kind: SocketType) -> Result<OwnedFd, Halt> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::INET6, kind, flags, None)
        .map_err(|error| Halt::failed(format!("no socket: {}", reason::error(error))))
}

/// A socket on this host may be given the very port that it asks as its own, where
/// nobody listens there, and is then connected to itself.
fn refuse_itself(socket: &OwnedFd) -> Result<(), Halt> {
    let own = SocketAddrV6::try_from(getsockname(socket)?);
    let peer = getpeername(socket)?.map(SocketAddrAny::try_into);
    if peer.is_some_and(|peer: Result<SocketAddrV6, _>| peer == own) {
        return Err(Errno::CONNREFUSED.into());
    }
    Ok(())
}

fn connected(to: SocketAddrV6, patience: &Patience<'_>) -> Result<OwnedFd, Halt> {
    let socket = open(SocketType::STREAM)?;
    match connect(&socket, &to) {
        Ok(()) => {}
        // Interrupted or not, it goes on by itself.
        Err(Errno::INPROGRESS | Errno::INTR) => {
            patience
                .wait(socket.as_fd(), PollFlags::OUT)
                .map_err(|halt| halt.while_waiting(|| no("connection", patience)))?;
            socket_error(&socket)??;
        }
        Err(error) => return Err(error.into()),
    }
    refuse_itself(&socket)?;
    Ok(socket)
}

/// "no answer within 1 s".
fn no(what: &str, patience: &Patience<'_>) -> String {
    format!("no {what} {}", patience.within())
}

/// A connection is accepted.
pub(crate) fn tcp(
    address: Ipv6Addr,
    port: NonZeroU16,
    patience: &Patience<'_>,
) -> Result<(), Halt> {
    connected(target(address, port), patience).map(drop)
}

/// A GET is answered as expected.
pub(crate) fn http(http: &Http, address: Ipv6Addr, patience: &Patience<'_>) -> Result<(), Halt> {
    let to = target(address, http.port);
    let socket = connected(to, patience)?;
    let request = http::request(&http.path, &http.host(to));
    write(&socket, request.as_bytes(), patience)?;
    let mut response = Response::new();
    let mut buffer = [0; 4096];
    let (mut any, mut searched) = (false, 0);
    loop {
        let count = read(&socket, &mut buffer, patience).map_err(|halt| {
            halt.while_waiting(|| match (any, response.status()) {
                (false, _) => no("response", patience),
                (true, None) => format!("no complete HTTP head {}", patience.within()),
                (true, Some(_)) => format!("no complete body {}", patience.within()),
            })
        })?;
        any |= count > 0;
        response
            .push(&buffer[..count])
            .map_err(|malformed| Halt::Failed(bad_response(malformed)))?;
        if let Some(verdict) = judge(http, &response, &mut searched, count == 0) {
            return verdict;
        }
        if count == 0 {
            let when = if any { "within" } else { "before" };
            return Err(Halt::failed(format!(
                "connection closed {when} the response"
            )));
        }
    }
}

fn bad_response(malformed: Malformed) -> String {
    format!("no HTTP: {malformed}")
}

/// What can be said of a response so far; `None`: more of it is needed. So much of
/// its body was `searched` before.
fn judge(
    http: &Http,
    response: &Response,
    searched: &mut usize,
    closed: bool,
) -> Option<Result<(), Halt>> {
    let status = response.status()?;
    if !http.statuses.iter().any(|range| range.contains(status)) {
        let expected = reason::statuses(&http.statuses);
        return Some(Err(Halt::failed(format!(
            "HTTP {status}, expected {expected}"
        ))));
    }
    let Some(text) = &http.body else {
        return Some(Ok(()));
    };
    let body = response.body();
    let fresh = &body[searched.saturating_sub(text.len())..];
    *searched = body.len();
    if fresh
        .windows(text.len())
        .any(|part| part == text.as_bytes())
    {
        return Some(Ok(()));
    }
    let is_whole = response.is_complete() || closed && response.may_end();
    if !is_whole {
        return None;
    }
    let place = if response.is_cut() {
        "the first 64 KiB of the body"
    } else {
        "the body"
    };
    Some(Err(Halt::failed(format!(
        "HTTP {status}, but not {text:?} in {place}"
    ))))
}

fn write(socket: &OwnedFd, mut octets: &[u8], patience: &Patience<'_>) -> Result<(), Halt> {
    while !octets.is_empty() {
        match send(socket, octets, SendFlags::NOSIGNAL) {
            Ok(count) => octets = &octets[count..],
            Err(Errno::AGAIN) => patience
                .wait(socket.as_fd(), PollFlags::OUT)
                .map_err(|halt| halt.while_waiting(|| no("response", patience)))?,
            Err(Errno::INTR) => {}
            // Who answers without having read all of it may still be heard.
            Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits for octets; 0 at the end. Always waits first, so that a flood has its end.
fn read(socket: &OwnedFd, buffer: &mut [u8], patience: &Patience<'_>) -> Result<usize, Halt> {
    loop {
        patience.wait(socket.as_fd(), PollFlags::IN)?;
        match recv(socket, &mut *buffer, RecvFlags::empty()) {
            Ok((count, _)) => return Ok(count),
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Sends a datagram from a socket that hears nobody but `to`, and gives what comes
/// back to `judge` until that has a verdict; what it says of other datagrams is told
/// when the time is over.
fn ask(
    to: SocketAddrV6,
    datagram: &[u8],
    patience: &Patience<'_>,
    mut judge: impl FnMut(&[u8]) -> Result<Result<(), Halt>, String>,
) -> Result<(), Halt> {
    let refused = |error| match error {
        Errno::CONNREFUSED => Halt::failed("port unreachable"),
        error => error.into(),
    };
    let socket = open(SocketType::DGRAM)?;
    connect(&socket, &to)?;
    refuse_itself(&socket)?;
    send(&socket, datagram, SendFlags::NOSIGNAL).map_err(refused)?;
    let mut buffer = vec![0; usize::from(u16::MAX)];
    let mut other = None;
    loop {
        patience
            .wait(socket.as_fd(), PollFlags::IN)
            .map_err(|halt| {
                halt.while_waiting(|| match &other {
                    None => no("answer", patience),
                    Some(other) => format!("{}, only {other}", no("answer", patience)),
                })
            })?;
        match recv(&socket, &mut buffer[..], RecvFlags::empty()) {
            Ok((count, _)) => match judge(&buffer[..count]) {
                Ok(verdict) => return verdict,
                Err(why) => other = Some(why),
            },
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(refused(error)),
        }
    }
}

/// A datagram is answered. The first answer decides.
pub(crate) fn udp(udp: &Udp, address: Ipv6Addr, patience: &Patience<'_>) -> Result<(), Halt> {
    ask(target(address, udp.port), &udp.send, patience, |answer| {
        let good = match &udp.expect {
            UdpAnswer::Any => true,
            UdpAnswer::Equal(expected) => answer == expected,
            UdpAnswer::Prefix(expected) => answer.starts_with(expected),
        };
        Ok(if good {
            Ok(())
        } else {
            let count = answer.len();
            Err(Halt::failed(format!("another answer ({count} octets)")))
        })
    })
}

/// A DNS query is answered. What does not answer this very query is passed over, as a
/// resolver would.
pub(crate) fn dns(dns: &Dns, address: Ipv6Addr, patience: &Patience<'_>) -> Result<(), Halt> {
    let query = Query {
        id: fastrand::u16(..),
        name: &dns.name,
        record_type: dns.record_type,
    };
    ask(
        target(address, dns.port),
        &query.emit(),
        patience,
        |octets| {
            let rcode = query
                .answer(octets)
                .map_err(|why| format!("a datagram that is no answer: {why}"))?;
            Ok(if dns.rcodes.contains(&rcode) {
                Ok(())
            } else {
                let expected: Vec<String> = dns.rcodes.iter().map(ToString::to_string).collect();
                let expected = expected.join(", ");
                Err(Halt::failed(format!("DNS {rcode}, expected {expected}")))
            })
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_comes_in_pieces_is_found() {
        let http = Http {
            body: Some("all well".into()),
            ..Http::new(NonZeroU16::MIN)
        };
        let (mut response, mut searched) = (Response::new(), 0);
        for piece in ["HTTP/1.1 200 OK\r\n\r\nit is al", "l w", "el"] {
            assert_eq!(response.push(piece.as_bytes()), Ok(()));
            assert_eq!(
                judge(&http, &response, &mut searched, false),
                None,
                "{piece}"
            );
        }
        assert_eq!(response.push(b"l here"), Ok(()));
        assert_eq!(judge(&http, &response, &mut searched, false), Some(Ok(())));
    }
}
