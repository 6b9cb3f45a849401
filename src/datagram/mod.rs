//! The life of datagrams: the contract's steps for UDP. Here, what is sent; in
//! [`peer`], on sockets that are connected; in [`receive`], what comes back.
//!
//! What was decided for a destination on a socket is a pin ([`aarp_core::pins`]), and
//! holds as long as the socket uses it and U answers. Sending finds it by A,
//! receiving by U.

use core::ffi::c_int;
use core::net::Ipv6Addr;

use aarp_core::bypass::Bypass;
use aarp_core::pins::{Pin, PinTable, Remote};
use aarp_core::policy::possible;
use aarp_core::refutation::{Cause, Claim};
use aarp_core::settings::Settings;
use aarp_sys::clock::wall_coarse_ms;
use aarp_sys::memory::leak_zeroed;
use aarp_sys::user::SocketAddress;
use aarp_sys::{errno, socket};
use once_cell::race::OnceRef;

use self::sending::Sending;
use crate::connect::{cause, record_of_inherited};
use crate::names::interest;
use crate::ops::is_barred;
use crate::sockets::{self, Datagrams, Kind, Record};
use crate::{report, resolve, settings, state};

pub(crate) mod at_once;
pub(crate) mod peer;
pub(crate) mod receive;
mod sending;

/// UDP, by its IANA number.
pub(crate) const UDP: u8 = libc::IPPROTO_UDP as u8;

/// The pins of this process. A forked child has its parent's sockets, and keeps them.
static PINS: OnceRef<'static, PinTable> = OnceRef::new();

fn pins() -> Option<&'static PinTable> {
    if let Some(pins) = PINS.get() {
        return Some(pins);
    }
    // As for the state of the process: the loser's pages were never touched.
    let fresh = leak_zeroed(false).ok()?;
    Some(PINS.get_or_init(|| fresh))
}

/// Where a datagram goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Course {
    /// To where the program sends it.
    Own,
    /// To the U of a pin.
    Moved(Pin),
    /// Nowhere: `EHOSTUNREACH`, as it is configured.
    Refused,
    /// Nowhere: the program has closed the descriptor while somebody was asked, and its
    /// number may be another's by now. `EBADF`.
    Closed,
}

fn remote_of(socket: u32, to: &SocketAddress) -> Remote {
    Remote {
        socket,
        address: Ipv6Addr::from(to.raw.sin6_addr.s6_addr),
        port: u16::from_be(to.raw.sin6_port),
    }
}

/// Where a datagram with the destination `to` goes; it is counted as sent.
#[inline]
pub(crate) fn course(fd: c_int, to: &SocketAddress, flags: c_int) -> Course {
    let Some(datagrams) = sockets::datagrams(fd) else {
        return course_of_unknown(fd, to, flags);
    };
    let remote = remote_of(datagrams.socket, to);
    if datagrams.may_have_pins()
        && let Some(pins) = PINS.get()
        && let Some(pin) = pins.to(&remote)
    {
        let now = wall_coarse_ms();
        let idle = pins.is_idle(&pin, now) && !datagrams.connected;
        let doubted = pin.is_moved() && pins.silence(pin.place).is_suspicious(now);
        if !(idle || doubted) || is_barred() {
            pins.sent(pin.place, now);
            datagrams.uses(pin.place);
            return if pin.is_moved() {
                Course::Moved(pin)
            } else {
                Course::Own
            };
        }
        return Sending::new(fd, &datagrams, remote, to, flags).renewed(pins, &pin, now);
    }
    if datagrams.has_spoken(remote.address, remote.port) || is_barred() {
        return Course::Own;
    }
    Sending::new(fd, &datagrams, remote, to, flags).begun()
}

/// A datagram goes another way than those of other sockets, by what the program says
/// with it: it goes to where the program sends it, and so do those after it.
#[cold]
pub(crate) fn own_way(fd: c_int, to: &SocketAddress) {
    let Some(datagrams) = sockets::datagrams(fd) else {
        return;
    };
    let remote = remote_of(datagrams.socket, to);
    if let Some(pins) = PINS.get()
        && let Some(pin) = pins.to(&remote).filter(Pin::is_moved)
    {
        let now = wall_coarse_ms();
        if let Some(pin) = pins.replace(&remote, &pin, pin.a, now) {
            datagrams.uses(pin.place);
        }
        report::bypass("send", fd, to, Bypass::Policy);
    } else if !datagrams.has_spoken(remote.address, remote.port) {
        speaks(fd, &datagrams, &remote);
        report::bypass("send", fd, to, Bypass::Policy);
    }
}

/// A socket of which nothing is known: it was inherited.
#[cold]
fn course_of_unknown(fd: c_int, to: &SocketAddress, flags: c_int) -> Course {
    let a = Ipv6Addr::from(to.raw.sin6_addr.s6_addr);
    if is_barred() || sockets::is_of_another_kind(fd) || !is_asked_about(a) {
        return Course::Own;
    }
    let saved = errno::get();
    let record = record_of_inherited(fd);
    errno::set(saved);
    match (record, sockets::datagrams(fd)) {
        (
            Ok(Record {
                kind: Kind::Datagram,
                ..
            }),
            Some(_),
        ) => course(fd, to, flags),
        (Err(reason), _) => {
            report::bypass("send", fd, to, reason);
            Course::Own
        }
        _ => Course::Own,
    }
}

fn is_asked_about(a: Ipv6Addr) -> bool {
    possible(a).is_ok() && settings::get().is_ok_and(|settings| interest(settings, a).is_ok())
}

/// The program speaks with this address itself. Where it is the U of a pin, nobody
/// could tell any more whose answers are whose: what the pin stands for goes to A
/// from now on.
pub(crate) fn speaks_with(fd: c_int, datagrams: &Datagrams, to: &SocketAddress) {
    speaks(fd, datagrams, &remote_of(datagrams.socket, to));
}

fn speaks(fd: c_int, datagrams: &Datagrams, remote: &Remote) {
    gives_up(fd, datagrams, remote);
    datagrams.speaks(remote.address, remote.port);
}

/// Gives up the pin whose U this is.
fn gives_up(fd: c_int, datagrams: &Datagrams, remote: &Remote) {
    if datagrams.may_have_pins()
        && let Some(pins) = PINS.get()
        && let Some(pin) = pins.from(remote).filter(Pin::is_moved)
    {
        let _ = pins.clear(datagrams.socket, pin.place);
        let a = Remote {
            address: pin.a,
            ..*remote
        };
        if let Some(pin) = pins.insert(&a, pin.a, pin.idle, wall_coarse_ms()) {
            datagrams.uses(pin.place);
        }
        report::bypass_of("send", fd, pin.a, pin.port, Bypass::Ambiguous);
    }
}

/// The U of a pin has failed.
#[cold]
fn refute(fd: c_int, pin: &Pin, cause: Cause) {
    let fixed = sockets::get(fd).is_some_and(|record| record.fixed_origin);
    // What a socket with a source or a device of its own sees says nothing about
    // others.
    if let (Some(settings), Some(state), false) = (settings::known(), state::get(), fixed) {
        resolve::refute(settings, state, &claim(pin), cause);
    }
}

fn claim(pin: &Pin) -> Claim {
    Claim {
        a: pin.a,
        u: pin.u,
        protocol: UDP,
        port: pin.port,
    }
}

/// A connected socket has come from another program, with what that has known of it.
pub(crate) fn adopt(fd: c_int, settings: &Settings, record: &Record) {
    let remote = Remote {
        socket: record.socket,
        address: record.a,
        port: record.port,
    };
    let idle = idle_seconds(settings, record.a);
    if let (Some(datagrams), Some(pins)) = (sockets::datagrams(fd), pins())
        && let Some(pin) = pins.insert(&remote, record.u, idle, wall_coarse_ms())
    {
        datagrams.uses(pin.place);
    }
}

fn idle_seconds(settings: &Settings, a: Ipv6Addr) -> u16 {
    let rule = settings.rules.matching(a);
    let times = rule.map_or(settings.times, |rule| rule.times.over(&settings.times));
    times.ttl.as_secs().clamp(1, 0x7fff) as u16
}

/// Whether a descriptor is a datagram socket that may have pins.
pub(crate) fn may_have_pins(fd: c_int) -> bool {
    sockets::datagrams(fd).is_some_and(|datagrams| datagrams.may_have_pins())
}

/// Whether a message on this descriptor has to be looked at: not where it is known to
/// be of another kind, unless it opens a TCP connection.
#[inline]
pub(crate) fn concerns(fd: c_int, flags: c_int) -> bool {
    !sockets::is_of_another_kind(fd) || flags & libc::MSG_FASTOPEN != 0
}

/// A call that sends by this pin has failed. Whether it is to be made again, because
/// it was U that failed, and another takes its place.
#[cold]
pub(crate) fn sending_failed(fd: c_int, pin: &Pin) -> bool {
    let error = errno::get();
    let local = matches!(
        error,
        libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EPERM
    );
    // An error that has come for an earlier datagram says nothing about this one.
    let failed = local && !is_barred() && pin.is_moved() && !socket::reports_errors(fd);
    if failed && let Some(pins) = PINS.get() {
        pins.failed(pin.place);
        refute(fd, pin, cause(error));
    }
    errno::set(error);
    failed
}

/// The same, where only the destination is known.
#[cold]
pub(crate) fn sending_to_failed(fd: c_int, a: Ipv6Addr, port: u16) -> bool {
    let (Some(datagrams), Some(pins)) = (sockets::datagrams(fd), PINS.get()) else {
        return false;
    };
    let pin = pins.to(&Remote {
        socket: datagrams.socket,
        address: a,
        port,
    });
    pin.is_some_and(|pin| sending_failed(fd, &pin))
}
