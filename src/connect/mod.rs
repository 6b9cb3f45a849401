//! The life of one connect(): the contract's steps for TCP.

use core::cell::OnceCell;
use core::ffi::c_int;
use core::net::Ipv6Addr;
use core::time::Duration;

use aarp_core::bypass::Bypass;
use aarp_core::policy::{Patience, possible};
use aarp_core::refutation::{Cause, Claim};
use aarp_core::settings::{OnFailure, Settings};
use aarp_sys::clock::boottime;
use aarp_sys::route::Origin;
use aarp_sys::socket::Progress;
use aarp_sys::user::SocketAddress;
use aarp_sys::{errno, process, socket};

use self::attempt::Attempt;
use crate::limits::{self, Limits};
use crate::names::interest;
use crate::ops::is_barred;
use crate::resolve::{Asker, Unresolved};
use crate::sockets::{self, Kind, Limit, Phase, Record};
use crate::{datagram, namespace, ops, report, settings, state};

mod attempt;

/// TCP, by its IANA number.
pub(crate) const TCP: u8 = libc::IPPROTO_TCP as u8;

/// With how many Us a blocking connect is tried before A itself is.
const TRIES: usize = 2;

/// connect() with an IPv6 address. `real` is the function behind the hook.
#[inline]
pub(crate) fn connect(
    fd: c_int,
    to: &SocketAddress,
    real: impl Fn(&SocketAddress) -> c_int,
) -> c_int {
    let a = Ipv6Addr::from(to.raw.sin6_addr.s6_addr);
    // What is never asked about does not need the configuration either.
    let asked_about = possible(a).and_then(|()| settings::get());
    let settings = match asked_about {
        Ok(settings) => settings,
        Err(reason) => return unpinned(fd, None, reason, to, &real),
    };
    let interest = match interest(settings, a) {
        Ok(interest) => interest,
        Err(reason) => return unpinned(fd, Some(settings), reason, to, &real),
    };
    let Some(state) = state::get() else {
        return unpinned(fd, Some(settings), Bypass::Busy, to, &real);
    };
    limits::settle(fd);
    let record = match sockets::get(fd) {
        Some(record) if record.kind == Kind::Other => Err(Bypass::Policy),
        Some(record) if ops::may_be_of_another_socket(&record) => Err(Bypass::Busy),
        Some(record) if record.kind == Kind::Datagram || record.phase == Phase::Open => Ok(record),
        Some(record) if is_same_communication(fd, &record, a, to) => {
            return again(fd, &record, to, &real);
        }
        _ => record_of_inherited(fd),
    };
    let record = match record {
        Ok(record) => record,
        Err(reason) => return unpinned(fd, None, reason, to, &real),
    };
    if record.kind == Kind::Datagram {
        return datagram::peer::connect(fd, &record, to, settings, &real);
    }
    let origin = match origin(fd, &record) {
        Ok(origin) => origin,
        Err(reason) => return unpinned(fd, None, reason, to, &real),
    };
    let patience = if record.nonblocking {
        Patience::NonBlocking
    } else {
        Patience::Blocking
    };
    let asker = Asker {
        fd,
        settings,
        state,
        interest,
        patience,
        a,
        scope: to.raw.sin6_scope_id,
        origin,
        protocol: TCP,
        port: u16::from_be(to.raw.sin6_port),
    };
    let attempt = Attempt {
        fd,
        to,
        record,
        asker,
        real: &real,
        errno: errno::get(),
    };
    let now = boottime();
    if record.nonblocking {
        return match asker.resolve(now, || Duration::MAX) {
            Ok(target) => attempt.nonblocking(&target),
            Err(Unresolved::Bypass(reason)) => unpinned(fd, Some(settings), reason, to, &real),
            Err(Unresolved::Interrupted) => interrupted(fd, to, &real),
            Err(Unresolved::Closed) => closed(),
        };
    }
    // Three system calls, which a program that goes to A by what is remembered is spared.
    let limits = OnceCell::new();
    let limits_of = || *limits.get_or_init(|| Limits::of(fd, now));
    let most = || limits_of().map_or(Duration::MAX, |limits| limits.for_the_question(now));
    let reason = match asker.resolve(now, most) {
        Ok(target) => {
            return match limits_of() {
                Some(limits) => attempt.blocking(target, &limits),
                // A socket that tells no limits keeps its own.
                None => attempt.nonblocking(&target),
            };
        }
        Err(Unresolved::Interrupted) => return interrupted(fd, to, &real),
        Err(Unresolved::Closed) => return closed(),
        Err(Unresolved::Bypass(reason)) => reason,
    };
    let to_a = || unpinned(fd, Some(settings), reason, to, &real);
    match limits.get() {
        Some(Some(limits)) if limits.is_in_use(boottime()) => limits.within_what_is_left(fd, to_a),
        _ => to_a(),
    }
}

/// A socket that no hook has seen being made, or of which an old record is wrong.
#[cold]
pub(crate) fn record_of_inherited(fd: c_int) -> Result<Record, Bypass> {
    if ops::belongs_to_another(fd) {
        return Err(Bypass::Busy);
    }
    sockets::clear(fd);
    let kind = if socket::is_tcp6(fd) {
        Kind::Stream
    } else if socket::is_udp6(fd) {
        Kind::Datagram
    } else {
        return Err(Bypass::Policy);
    };
    let nonblocking = socket::is_nonblocking(fd).map_err(|_| Bypass::Policy)?;
    let origin = socket::origin(fd).map_err(|_| Bypass::Policy)?;
    // A socket that is bound was handed over to serve, and one that is connected is in
    // the middle of something.
    let bound = socket::local_address(fd).is_ok_and(|name| name.sin6_port != 0);
    if kind == Kind::Datagram && bound {
        sockets::begin(fd, &Record::open(Kind::Other, nonblocking, false));
        return Err(Bypass::Policy);
    }
    let mut record = Record::open(kind, nonblocking, origin != Origin::default());
    if kind == Kind::Datagram {
        record.process = process::id();
    }
    if !sockets::begin(fd, &record) && kind == Kind::Datagram {
        return Err(Bypass::Busy);
    }
    Ok(record)
}

/// What the socket's packets are sent with, where the program has fixed it; or where
/// nothing that is remembered counts.
pub(crate) fn origin(fd: c_int, record: &Record) -> Result<Option<Origin>, Bypass> {
    let elsewhere = namespace::has_changed();
    if !record.fixed_origin && !elsewhere {
        return Ok(None);
    }
    if elsewhere && !namespace::is_that_of(fd) {
        return Err(Bypass::Policy);
    }
    match socket::origin(fd) {
        // Bound to a port alone: as any other.
        Ok(origin) => Ok(Some(origin).filter(|origin| elsewhere || *origin != Origin::default())),
        Err(_) => Err(Bypass::Policy),
    }
}

/// The program goes to A, as if we were not there; or hears that it cannot, where
/// it is configured so.
pub(crate) fn unpinned(
    fd: c_int,
    settings: Option<&Settings>,
    reason: Bypass,
    to: &SocketAddress,
    real: impl Fn(&SocketAddress) -> c_int,
) -> c_int {
    let refuses = |settings: &Settings| settings.on_failure == OnFailure::Refuse;
    if reason.is_failure() && settings.is_some_and(refuses) {
        report::refused("connect", fd, to, reason);
        errno::set(libc::EHOSTUNREACH);
        return -1;
    }
    report::bypass("connect", fd, to, reason);
    if sockets::may_be_under_way(fd) && !ops::belongs_to_another(fd) {
        sockets::change(fd, |record| *record = record.reopened());
    }
    if let Some(datagrams) = sockets::datagrams(fd) {
        datagram::speaks_with(fd, &datagrams, to);
    }
    let socket = sockets::socket_of(fd);
    let result = real(to);
    if result != 0 {
        passed(fd, socket, to);
    }
    result
}

/// The program has closed the descriptor while it waited for us, and its number may be
/// another socket's by now: as if it had done so before the call.
#[cold]
pub(crate) fn closed() -> c_int {
    errno::set(libc::EBADF);
    -1
}

/// A connection to A itself may be under way: the program asks about it by further
/// calls of connect(), which are not new ones.
#[cold]
fn passed(fd: c_int, socket: Option<u32>, to: &SocketAddress) {
    if let (Some(socket), libc::EINPROGRESS | libc::EINTR) = (socket, errno::get())
        && !ops::belongs_to_another(fd)
    {
        sockets::change_of(fd, socket, |record| {
            if record.kind != Kind::Stream {
                return;
            }
            record.phase = Phase::Passed;
            record.a = Ipv6Addr::from(to.raw.sin6_addr.s6_addr);
            record.port = u16::from_be(to.raw.sin6_port);
        });
    }
}

/// Whether a record that says so is right in that this socket is on its way to, or
/// connected to, the U of this A, or A itself: a descriptor may have been closed and
/// used again unseen, or the socket disconnected.
#[cold]
fn is_same_communication(fd: c_int, record: &Record, a: Ipv6Addr, to: &SocketAddress) -> bool {
    if record.phase == Phase::Connected {
        return is_peer(fd, record);
    }
    let same = record.a == a && record.port == u16::from_be(to.raw.sin6_port);
    same && match socket::progress(fd) {
        Ok(Progress::Established) => record.phase == Phase::Passed || is_peer(fd, record),
        // The kernel tells no peer yet, or none any more.
        Ok(Progress::SynSent | Progress::Failed) => true,
        Ok(Progress::NotBegun) | Err(_) => false,
    }
}

/// Whether the kernel says that the socket's peer is the U of the record.
pub(crate) fn is_peer(fd: c_int, record: &Record) -> bool {
    socket::peer_address(fd).is_ok_and(|peer| {
        Ipv6Addr::from(peer.sin6_addr.s6_addr) == record.u
            && u16::from_be(peer.sin6_port) == record.port
    })
}

/// connect() on a socket that is connecting or connected already: how programs
/// ask what became of it.
#[cold]
fn again(
    fd: c_int,
    record: &Record,
    to: &SocketAddress,
    real: &impl Fn(&SocketAddress) -> c_int,
) -> c_int {
    let passed = record.phase == Phase::Passed;
    let result = if passed {
        real(to)
    } else {
        real(&with_address(to, record.u))
    };
    let error = if result == 0 { 0 } else { errno::get() };
    let change = |apply: &dyn Fn(&mut Record)| {
        sockets::change_of(fd, record.socket, apply);
    };
    match error {
        0 if passed => change(&|record| *record = record.reopened()),
        0 => change(&|record| record.phase = Phase::Connected),
        libc::EALREADY | libc::EINPROGRESS | libc::EINTR | libc::EISCONN => {}
        _ if passed => change(&|record| *record = record.reopened()),
        _ if refutes(error) => failed(fd, record, cause(error)),
        _ => {}
    }
    if result != 0 {
        errno::set(error);
    }
    result
}

/// The connection of a record has failed: its U is refuted, and the socket open
/// for another attempt.
#[cold]
pub(crate) fn failed(fd: c_int, record: &Record, cause: Cause) {
    sockets::change_of(fd, record.socket, |record| *record = record.reopened());
    refuted(record, cause);
}

/// The U of a record has failed.
#[cold]
pub(crate) fn refuted(record: &Record, cause: Cause) {
    // What a socket with a source or a device of its own sees says nothing about
    // others.
    if record.fixed_origin {
        return;
    }
    if let (Some(settings), Some(state)) = (settings::known(), state::known()) {
        let Record { a, u, port, .. } = *record;
        let claim = Claim {
            a,
            u,
            protocol: TCP,
            port,
        };
        crate::resolve::refute(settings, state, &claim, cause);
    }
}

/// Errors of connect() that say that this U does not serve this port now.
pub(crate) fn refutes(error: i32) -> bool {
    matches!(
        error,
        libc::ECONNREFUSED
            | libc::ECONNRESET
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENETDOWN
            | libc::ETIMEDOUT
            | libc::EACCES
            | libc::EPERM
            | libc::EPROTO
    )
}

/// What such an error says about U.
pub(crate) fn cause(error: i32) -> Cause {
    match error {
        libc::ECONNREFUSED | libc::ECONNRESET | libc::EPROTO => Cause::Refused,
        libc::EACCES | libc::EPERM => Cause::Prohibited,
        // The second is how a limit of time for sending ends it.
        libc::ETIMEDOUT | libc::EINPROGRESS => Cause::Silent,
        _ => Cause::Unreachable,
    }
}

/// Errors of connect() that may have to do with U, or with the socket's own address: A
/// is tried, and nothing held against U. (`ECONNABORTED` is about an attempt that came
/// before, of which the program has read the error: it hears that from the kernel.)
fn is_doubtful(error: i32) -> bool {
    error == libc::EADDRNOTAVAIL
}

pub(crate) fn with_address(to: &SocketAddress, address: Ipv6Addr) -> SocketAddress {
    let mut to = *to;
    to.raw.sin6_addr.s6_addr = address.octets();
    to
}

/// A signal came while A was being asked. The kernel would have left a connection
/// under way, and `EINTR`.
#[cold]
fn interrupted(fd: c_int, to: &SocketAddress, real: &impl Fn(&SocketAddress) -> c_int) -> c_int {
    report::interrupted();
    if is_barred() {
        return real(to);
    }
    let Ok(timeout) = socket::send_timeout(fd) else {
        return real(to);
    };
    // The shortest time that the kernel waits: connect() then is begun, and
    // returns at once.
    let shortest = Duration::from_micros(1);
    let Some(limited) = limits::set_for_now(fd, Limit::SendTimeout, timeout, shortest) else {
        return real(to);
    };
    let result = real(to);
    if result != 0 {
        passed(fd, sockets::socket_of(fd), to);
    }
    let error = errno::get();
    // The option was set a moment ago, and is set again.
    limits::give_back(limited);
    let begun = result != 0 && error == libc::EINPROGRESS;
    errno::set(if begun { libc::EINTR } else { error });
    result
}
