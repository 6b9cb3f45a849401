//! The life of one connect(): the contract's steps for TCP.

use core::ffi::c_int;
use core::net::Ipv6Addr;
use core::time::Duration;

use aarp_core::bypass::Bypass;
use aarp_core::policy::{Patience, interest};
use aarp_core::settings::{OnFailure, Settings};
use aarp_sys::clock::boottime;
use aarp_sys::route::Origin;
use aarp_sys::socket::Progress;
use aarp_sys::user::SocketAddress;
use aarp_sys::{errno, process, socket};

use crate::limits::Limits;
use crate::resolve::{Asker, Unresolved};
use crate::sockets::{self, Phase, Record};
use crate::{report, settings, state};

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
    let asked_about = settings::get()
        .and_then(|settings| interest(settings, a).map(|interest| (settings, interest)));
    let (settings, interest) = match asked_about {
        Ok(asked_about) => asked_about,
        Err(reason) => return unpinned(fd, None, reason, to, &real),
    };
    let Some(state) = state::get() else {
        return unpinned(fd, Some(settings), Bypass::Busy, to, &real);
    };
    let mut record = match sockets::get(fd) {
        Some(record) => record,
        None => match record_of_inherited(fd) {
            Ok(record) => record,
            Err(reason) => return unpinned(fd, None, reason, to, &real),
        },
    };
    if record.is_pinned() {
        if is_same_communication(fd, &record, a, to) {
            return again(fd, record, to, &real);
        }
        record = Record::open(record.nonblocking, record.fixed_origin);
    }
    let origin = match record.fixed_origin.then(|| socket::origin(fd)).transpose() {
        // Bound to a port alone: as any other.
        Ok(origin) => origin.filter(|origin| *origin != Origin::default()),
        Err(_) => return unpinned(fd, None, Bypass::Policy, to, &real),
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
    match asker.resolve(now) {
        Ok(u) if record.nonblocking => attempt.nonblocking(u),
        Ok(u) => attempt.blocking(u, now),
        Err(Unresolved::Bypass(reason)) => unpinned(fd, Some(settings), reason, to, &real),
        Err(Unresolved::Interrupted) => interrupted(fd, to, &real),
    }
}

/// A socket that no hook has seen being made.
#[cold]
fn record_of_inherited(fd: c_int) -> Result<Record, Bypass> {
    if !socket::is_tcp6(fd) {
        return Err(Bypass::Policy);
    }
    let nonblocking = socket::is_nonblocking(fd).map_err(|_| Bypass::Policy)?;
    let origin = socket::origin(fd).map_err(|_| Bypass::Policy)?;
    let record = Record::open(nonblocking, origin != Origin::default());
    sockets::set(fd, &record);
    Ok(record)
}

/// The program goes to A, as if we were not there; or hears that it cannot, where
/// it is configured so.
fn unpinned(
    fd: c_int,
    settings: Option<&Settings>,
    reason: Bypass,
    to: &SocketAddress,
    real: impl Fn(&SocketAddress) -> c_int,
) -> c_int {
    report::bypass(fd, to, reason);
    if reason.is_failure()
        && settings.is_some_and(|settings| settings.on_failure == OnFailure::Refuse)
    {
        errno::set(libc::EHOSTUNREACH);
        return -1;
    }
    if sockets::get(fd).is_some_and(|record| record.is_pinned()) {
        sockets::change(fd, |record| {
            *record = Record::open(record.nonblocking, record.fixed_origin)
        });
    }
    real(to)
}

/// Whether a record that says so is right in that this socket is on its way to, or
/// connected to, the U of this A: a descriptor may have been closed and used again
/// unseen, or the socket disconnected.
#[cold]
fn is_same_communication(fd: c_int, record: &Record, a: Ipv6Addr, to: &SocketAddress) -> bool {
    if record.phase == Phase::Connected {
        return is_peer(fd, record);
    }
    let same = record.a == a && record.port == u16::from_be(to.raw.sin6_port);
    same && match socket::progress(fd) {
        Ok(Progress::Established) => is_peer(fd, record),
        // The kernel tells no peer yet, or none any more.
        Ok(Progress::SynSent | Progress::Failed) => true,
        Err(_) => false,
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
    record: Record,
    to: &SocketAddress,
    real: &impl Fn(&SocketAddress) -> c_int,
) -> c_int {
    let result = real(&with_address(to, record.u));
    if result == 0 {
        sockets::set(
            fd,
            &Record {
                phase: Phase::Connected,
                ..record
            },
        );
        return 0;
    }
    let error = errno::get();
    if refutes(error) {
        failed(fd, &record);
    }
    errno::set(error);
    result
}

/// The connection of a record has failed: its U is refuted, and the socket open
/// for another attempt.
#[cold]
pub(crate) fn failed(fd: c_int, record: &Record) {
    sockets::set(fd, &Record::open(record.nonblocking, record.fixed_origin));
    if let (Some(settings), Some(state)) = (settings::known(), state::known()) {
        let Record { a, u, port, .. } = *record;
        let claim = aarp_core::refutation::Claim {
            a,
            u,
            protocol: TCP,
            port,
        };
        crate::resolve::refute(settings, state, &claim);
    }
}

/// Errors of connect() that say that this U does not serve this port now.
pub(crate) fn refutes(error: i32) -> bool {
    matches!(
        error,
        libc::ECONNREFUSED
            | libc::ECONNRESET
            | libc::ECONNABORTED
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENETDOWN
            | libc::ETIMEDOUT
            | libc::EACCES
            | libc::EPERM
            | libc::EPROTO
            | libc::EADDRNOTAVAIL
    )
}

fn with_address(to: &SocketAddress, address: Ipv6Addr) -> SocketAddress {
    let mut to = *to;
    to.raw.sin6_addr.s6_addr = address.octets();
    to
}

/// A signal came while A was being asked. The kernel would have left a connection
/// under way, and `EINTR`.
#[cold]
fn interrupted(fd: c_int, to: &SocketAddress, real: &impl Fn(&SocketAddress) -> c_int) -> c_int {
    report::interrupted();
    let Ok(timeout) = socket::send_timeout(fd) else {
        return real(to);
    };
    // The shortest time that the kernel waits: connect() then is begun, and
    // returns at once.
    if socket::set_send_timeout(fd, Duration::from_micros(1)).is_err() {
        return real(to);
    }
    let result = real(to);
    let error = errno::get();
    // The option was set a moment ago, and is set again.
    let _ = socket::set_send_timeout(fd, timeout);
    errno::set(if error == libc::EINPROGRESS {
        libc::EINTR
    } else {
        error
    });
    result
}

/// One connect() that goes to a U.
struct Attempt<'c, 's, R> {
    fd: c_int,
    to: &'c SocketAddress,
    record: Record,
    asker: Asker<'s>,
    real: &'c R,
    /// As the program left it: untouched in the end, when its call succeeds.
    errno: i32,
}

/// What came of connect() with a U.
enum Outcome {
    /// The program is told what the call behind has returned.
    Told(c_int),
    /// This U does not serve.
    Failed(i32),
}

impl<R: Fn(&SocketAddress) -> c_int> Attempt<'_, '_, R> {
    /// A non-blocking program hears of a failure from the kernel, as ever. Only an
    /// immediate one costs no time, so that A can take its place.
    fn nonblocking(&self, u: Ipv6Addr) -> c_int {
        match self.connect_to(u) {
            Outcome::Told(result) => result,
            Outcome::Failed(_) => self.at_last_a(),
        }
    }

    /// A blocking program hears of no failure before A was asked again, another U
    /// tried, and A itself; all within the time of one connect() of the kernel's.
    fn blocking(&self, first: Ipv6Addr, began: Duration) -> c_int {
        let Ok(limits) = Limits::of(self.fd, began) else {
            return match self.connect_to(first) {
                Outcome::Told(result) => result,
                Outcome::Failed(_) => self.at_last_a(),
            };
        };
        let mut u = first;
        for attempt in 1.. {
            let outcome = limits.guarded(self.fd, || self.connect_to(u));
            let Outcome::Failed(error) = outcome else {
                let Outcome::Told(result) = outcome else {
                    unreachable!()
                };
                return result;
            };
            let now = boottime();
            if limits.is_over(now) {
                errno::set(error);
                return -1;
            }
            if attempt == TRIES {
                break;
            }
            match self.asker.resolve_anew(now, limits.left(now) / 2) {
                Ok(another) => u = another,
                Err(Unresolved::Bypass(_)) => break,
                Err(Unresolved::Interrupted) => return interrupted(self.fd, self.to, self.real),
            }
        }
        limits.within_what_is_left(self.fd, || self.at_last_a())
    }

    /// connect() with a U, and what is remembered of it.
    fn connect_to(&self, u: Ipv6Addr) -> Outcome {
        let to = with_address(self.to, u);
        let record = Record {
            phase: Phase::Connecting,
            a: self.asker.a,
            u,
            port: self.asker.port,
            process: self.asker.state.process(process::id),
            ..self.record
        };
        // Without a record the program would learn of U.
        if !sockets::set(self.fd, &record) {
            return Outcome::Told(unpinned(self.fd, None, Bypass::Busy, self.to, self.real));
        }
        let result = (self.real)(&to);
        if result == 0 {
            sockets::set(
                self.fd,
                &Record {
                    phase: Phase::Connected,
                    ..record
                },
            );
            report::pinned(self.fd, self.to, u);
            errno::set(self.errno);
            return Outcome::Told(result);
        }
        let error = errno::get();
        match error {
            libc::EINPROGRESS | libc::EINTR => {
                report::pinned(self.fd, self.to, u);
                errno::set(error);
                Outcome::Told(result)
            }
            _ if refutes(error) => {
                sockets::set(self.fd, &self.record);
                self.asker.refute(u);
                errno::set(error);
                Outcome::Failed(error)
            }
            // Nothing that U has to do with: the socket is connected already, or
            // no socket at all.
            _ => {
                sockets::set(self.fd, &self.record);
                errno::set(error);
                Outcome::Told(result)
            }
        }
    }

    fn at_last_a(&self) -> c_int {
        let settings = Some(self.asker.settings);
        let result = unpinned(self.fd, settings, Bypass::Refuted, self.to, self.real);
        if result == 0 {
            errno::set(self.errno);
        }
        result
    }
}
