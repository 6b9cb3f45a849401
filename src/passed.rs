//! Sockets that another program will have, over exec or a unix socket, and those that have
//! come from one. What is known of a socket is in the memory of the program that has
//! connected it: so the daemon is told of it there, by what names the socket for good
//! (`SO_COOKIE`), and asked here by who has no record of it.
//!
//! Whoever is told wrong, or nothing, shows what the kernel does: a U is replaced only
//! where that is the peer.

use core::ffi::c_int;
use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicU8, Ordering};

use aarp_core::policy::possible;
use aarp_core::settings::{DaemonUse, Settings};
use aarp_core::state::ProcessState;
use aarp_sys::process::{self, has_stack_for_a_question};
use aarp_sys::syscall::Errno;
use aarp_sys::{errno, socket};
use aarp_wire::mapper::Peer;

use crate::connect::TCP;
use crate::datagram::UDP;
use crate::mapper::passed::{self as daemon, Whose};
use crate::ops::is_barred;
use crate::sockets::{self, Kind, Phase, Record};
use crate::{datagram, flight, settings, state};

/// So many are looked at for that: each takes a system call at least.
const LOOKED_AT: usize = 1024;

/// Who will have a socket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Heir {
    /// The program that this process becomes: what is closed at exec is nobody's then.
    Itself,
    /// Another process, that may be given it by another number.
    Another,
}

/// This process is about to become another program.
#[inline]
pub(crate) fn before_exec() {
    if sockets::is_any_pinned() {
        tell_of_all(Heir::Itself);
    }
}

/// It is about to start one.
#[inline]
pub(crate) fn before_spawn() {
    if sockets::is_any_pinned() {
        tell_of_all(Heir::Another);
    }
}

/// A vfork child has copied a socket of its parent's, of which it has no record: before
/// it becomes another program it may close the number that it knows.
#[cold]
pub(crate) fn copied_by_child() {
    tell_of_all(Heir::Another);
}

/// Descriptors are about to be sent to somebody.
#[cold]
pub(crate) fn sending(descriptors: impl Iterator<Item = c_int>) {
    tell(Heir::Another, descriptors);
}

#[cold]
fn tell_of_all(heir: Heir) {
    tell(heir, sockets::known(0, u32::MAX));
}

fn tell(heir: Heir, descriptors: impl Iterator<Item = c_int>) {
    let error = errno::get();
    if let (Some(settings), Some(state), false) = (settings::known(), state::known(), is_barred())
        && daemon::is_heard(settings, state)
    {
        tell_some(settings, state, heir, descriptors);
    }
    errno::set(error);
}

fn tell_some(
    settings: &Settings,
    state: &ProcessState,
    heir: Heir,
    descriptors: impl Iterator<Item = c_int>,
) {
    // A vfork child is alone with its descriptors, and goes before anybody is waited for.
    let is_child = !state::is_owned_by(process::id());
    let heir = if is_child { Heir::Another } else { heir };
    let to = daemon::daemon();
    let mut sockets = descriptors
        .filter_map(|fd| {
            // As it was before: what it may have become meanwhile nobody is told of here.
            let telling = sockets::telling(fd, to)?;
            let record = sockets::get(fd).filter(|record| record.is_pinned())?;
            let is_theirs = record.u != record.a && !sockets::is_told(fd, to);
            is_theirs.then_some((fd, telling, record))
        })
        .take(LOOKED_AT)
        .filter_map(|(fd, telling, record)| Some((telling, peer_of(fd, &record, heir)?)))
        .peekable();
    if sockets.peek().is_none() || !has_stack_for_a_question() {
        return;
    }
    let mut tell = || daemon::tell(settings, state, &mut sockets, &sockets::mark_told);
    if is_child {
        tell();
    } else {
        // Nobody is told where no system call of ours may be made.
        let _ = flight::question(state, tell);
    }
}

/// What there is to say of a socket to who will have it.
fn peer_of(fd: c_int, record: &Record, heir: Heir) -> Option<Peer> {
    if heir == Heir::Itself && socket::is_closed_at_exec(fd) != Ok(false) {
        return None;
    }
    let is_peer = match socket::peer_address(fd) {
        Ok(peer) => (record.u, record.port) == named(&peer),
        // It is on its way there.
        Err(Errno(libc::ENOTCONN)) => record.phase == Phase::Connecting,
        Err(_) => false,
    };
    Some(Peer {
        cookie: is_peer.then(|| socket::cookie(fd).ok()).flatten()?,
        a: record.a,
        u: record.u,
        port: record.port,
        protocol: match record.kind {
            Kind::Stream => TCP,
            Kind::Datagram => UDP,
            Kind::Other => return None,
        },
    })
}

fn named(name: &libc::sockaddr_in6) -> (Ipv6Addr, u16) {
    let address = Ipv6Addr::from(name.sin6_addr.s6_addr);
    (address, u16::from_be(name.sin6_port))
}

/// What is to be known of a descriptor that this program has not made: the daemon is asked
/// until it has said.
#[cold]
pub(crate) fn received(fd: c_int) -> Option<Record> {
    let error = errno::get();
    let record = find(fd);
    errno::set(error);
    record
}

/// Whether a descriptor of which nothing is known, and from which something is about to be
/// received, is one that a U may send datagrams to.
#[inline]
pub(crate) fn is_watched_from_now(fd: c_int) -> bool {
    sockets::may_be_received(fd) && is_connected_datagram(fd)
}

#[cold]
fn is_connected_datagram(fd: c_int) -> bool {
    received(fd).is_some_and(|record| record.kind == Kind::Datagram)
}

/// Whether this program may be permitted less than to ask. Where it has asked the network
/// before, it has been permitted that. One that does not speak to anybody by sockets of its
/// own may have been started with a filter that ends it for the attempt.
fn is_restricted() -> bool {
    const UNKNOWN: u8 = 0;
    const NOT: u8 = 1;
    const RESTRICTED: u8 = 2;
    static FOUND: AtomicU8 = AtomicU8::new(UNKNOWN);
    if is_barred() {
        return true;
    }
    if state::known().is_some() {
        return false;
    }
    if FOUND.load(Ordering::Relaxed) == UNKNOWN {
        let found = if process::is_filtered() {
            RESTRICTED
        } else {
            NOT
        };
        FOUND.store(found, Ordering::Relaxed);
    }
    FOUND.load(Ordering::Relaxed) == RESTRICTED
}

fn find(fd: c_int) -> Option<Record> {
    if is_restricted() {
        return None;
    }
    // A vfork child's numbers are not those of this memory.
    if !state::is_owned_by(process::id()) || !has_stack_for_a_question() {
        return None;
    }
    if daemon::is_paused(settings::known(), state::known()) {
        return None;
    }
    // Whatever comes of it, nobody asks again, unless there is more to hear later.
    sockets::settle(fd);
    let (u, port) = named(&socket::peer_address(fd).ok()?);
    possible(u).ok()?;
    let kind = if socket::is_tcp6(fd) {
        Kind::Stream
    } else if socket::is_udp6(fd) {
        Kind::Datagram
    } else {
        return None;
    };
    let settings = settings::get().ok()?;
    if settings.daemon.usage == DaemonUse::Off {
        return None;
    }
    let state = state::get()?;
    let cookie = socket::cookie(fd).ok()?;
    let peer = match daemon::whose(settings, state, cookie) {
        Whose::Known(peer) => peer,
        Whose::Unknown => return None,
        Whose::NotNow => {
            sockets::unsettle(fd, || true);
            return None;
        }
    };
    let protocol = if kind == Kind::Stream { TCP } else { UDP };
    let is_this = (peer.u, peer.port, peer.protocol) == (u, port, protocol);
    // Closed meanwhile, and the number given again?
    let is_still = is_this && possible(peer.a).is_ok() && socket::cookie(fd) == Ok(cookie);
    is_still.then(|| adopt(fd, settings, state, kind, &peer))?
}

/// Writes down whose a socket is.
fn adopt(
    fd: c_int,
    settings: &Settings,
    state: &ProcessState,
    kind: Kind,
    peer: &Peer,
) -> Option<Record> {
    let nonblocking = socket::is_nonblocking(fd).ok()?;
    let record = Record {
        phase: Phase::Connected,
        a: peer.a,
        u: peer.u,
        port: peer.port,
        process: state::process_of(state),
        // Whether its source was chosen nobody knows any more.
        ..Record::open(kind, nonblocking, true)
    };
    sockets::pins_one();
    sockets::unsettle(fd, || true);
    if sockets::begin(fd, &record) && kind == Kind::Datagram {
        datagram::adopt(fd, settings, &record);
    }
    Some(record)
}
