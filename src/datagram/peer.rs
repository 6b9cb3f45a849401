//! Datagram sockets that are connected: their datagrams have no destination.

use core::ffi::c_int;

use aarp_core::bypass::Bypass;
use aarp_core::pins::{Pin, PinTable, Remote};
use aarp_core::settings::Settings;
use aarp_sys::clock::wall_coarse_ms;
use aarp_sys::user::SocketAddress;
use aarp_sys::{errno, socket};

use super::sending::{Decision, Sending};
use super::{Course, PINS, gives_up, idle_seconds, pins, refute, remote_of};
use crate::connect::{cause, closed, refutes, unpinned, with_address};
use crate::ops::is_barred;
use crate::report;
use crate::sockets::{self, Datagrams, Phase, Record};

/// connect() of a datagram socket.
pub(crate) fn connect(
    fd: c_int,
    record: &Record,
    to: &SocketAddress,
    settings: &Settings,
    real: &impl Fn(&SocketAddress) -> c_int,
) -> c_int {
    let saved = errno::get();
    let (Some(datagrams), Some(pins)) = (sockets::datagrams(fd), pins()) else {
        return unpinned(fd, Some(settings), Bypass::Busy, to, real);
    };
    let remote = remote_of(record.socket, to);
    let a = remote.address;
    let known = pins.to(&remote);
    let u = match &known {
        Some(pin) if !pins.is_idle(pin, wall_coarse_ms()) => pin.u,
        _ if datagrams.has_spoken(a, remote.port) => {
            report::bypass("connect", fd, to, Bypass::Policy);
            a
        }
        _ => match Sending::new(fd, &datagrams, remote, to, 0).decide(settings, pins) {
            Decision::U(target) => {
                report::pinned("connect", fd, to, &target);
                target.u
            }
            Decision::Own(reason) => {
                report::bypass("connect", fd, to, reason);
                gives_up(fd, &datagrams, &remote);
                a
            }
            Decision::Refused => {
                errno::set(libc::EHOSTUNREACH);
                return -1;
            }
            Decision::Closed => return closed(),
        },
    };
    let mut result = real(&with_address(to, u));
    let mut peer = u;
    let mut failure = 0;
    if result != 0 && u != a && refutes(errno::get()) {
        failure = errno::get();
        // It says so at once, and A may do better.
        result = real(to);
        peer = a;
    }
    if result != 0 {
        return result;
    }
    let (idle, now) = (idle_seconds(settings, a), wall_coarse_ms());
    let pin = match known {
        Some(known) if known.u != peer => pins.replace(&remote, &known, peer, now),
        _ => pins.insert(&remote, peer, idle, now),
    };
    if let Some(pin) = pin {
        datagrams.uses(pin.place);
        if peer != u {
            refute(fd, &Pin { u, ..pin }, cause(failure));
            report::bypass("connect", fd, to, Bypass::Refuted);
        }
    }
    sockets::pins_one();
    sockets::change(fd, |record| {
        *record = Record {
            phase: Phase::Connected,
            a,
            u: peer,
            port: remote.port,
            ..*record
        };
    });
    errno::set(saved);
    result
}

/// The socket is connected to what has failed: if that is so, it is connected anew.
pub(super) fn connect_again(fd: c_int, to: &SocketAddress, failed: &Pin, u: core::net::Ipv6Addr) {
    let is_failed = |name: libc::sockaddr_in6| {
        name.sin6_addr.s6_addr == failed.u.octets() && u16::from_be(name.sin6_port) == failed.port
    };
    // Where that fails, the next datagram tells the program so.
    if !is_barred()
        && socket::peer_address(fd).is_ok_and(is_failed)
        && socket::connect(fd, &with_address(to, u).raw).is_ok()
    {
        sockets::change(fd, |record| record.u = u);
    }
}

/// Whether a descriptor is a connected datagram socket.
#[inline]
pub(crate) fn is_connected(fd: c_int) -> bool {
    sockets::datagrams(fd).is_some_and(|datagrams| datagrams.connected)
}

/// A datagram is sent on a connected socket, without a destination. Its course, which
/// is its own also where U is the peer: that is what the kernel knows.
#[inline]
pub(crate) fn sending(fd: c_int) -> Course {
    match sockets::datagrams(fd) {
        Some(datagrams) if datagrams.connected => sending_to_peer(fd, &datagrams),
        _ => Course::Own,
    }
}

fn sending_to_peer(fd: c_int, datagrams: &Datagrams) -> Course {
    let Some((pins, pin)) = pin(fd, datagrams).filter(|(_, pin)| pin.is_moved()) else {
        return Course::Own;
    };
    let now = wall_coarse_ms();
    if !pins.silence(pin.place).is_suspicious(now) || is_barred() {
        pins.sent(pin.place, now);
        return Course::Own;
    }
    doubted(fd, datagrams, pins, &pin, now)
}

/// The pin by which the socket is connected.
#[inline]
pub(super) fn pin(fd: c_int, datagrams: &Datagrams) -> Option<(&'static PinTable, Pin)> {
    let pins = PINS.get()?;
    if !datagrams.may_have_many_pins() {
        return Some((pins, pins.at(datagrams.socket, datagrams.last_pin()?)?));
    }
    let record = sockets::get(fd)?;
    let remote = Remote {
        socket: record.socket,
        address: record.a,
        port: record.port,
    };
    Some((pins, pins.to(&remote)?))
}

#[cold]
fn doubted(fd: c_int, datagrams: &Datagrams, pins: &PinTable, pin: &Pin, now: u64) -> Course {
    let saved = errno::get();
    let name = socket::peer_address(fd);
    errno::set(saved);
    let mut name = match name {
        Ok(name) => name,
        Err(error) => {
            // The number stands for something else by now.
            if error.0 == libc::ENOTSOCK {
                sockets::clear(fd);
            }
            return Course::Own;
        }
    };
    name.sin6_addr.s6_addr = pin.a.octets();
    let to = SocketAddress {
        raw: name,
        len: size_of::<libc::sockaddr_in6>() as libc::socklen_t,
    };
    let remote = Remote {
        socket: datagrams.socket,
        address: pin.a,
        port: pin.port,
    };
    let sending = Sending::new(fd, datagrams, remote, &to, 0);
    match sending.renewed(pins, pin, now) {
        Course::Moved(_) => Course::Own,
        course => course,
    }
}

/// A call that sends to the peer has failed. Whether it is to be made again, because
/// it was U that failed, and another takes its place.
#[cold]
pub(crate) fn sending_failed(fd: c_int) -> bool {
    let error = errno::get();
    let failed = refutes(error) && has_failed(fd, error);
    errno::set(error);
    failed
}

/// A call that receives has failed, or the program has read `SO_ERROR`: the next
/// datagram asks again.
#[cold]
pub(crate) fn error_read(fd: c_int, error: i32) {
    // What else there is may come from anywhere on the way.
    if matches!(error, libc::ECONNREFUSED | libc::EACCES | libc::EPROTO) {
        let saved = errno::get();
        let _ = has_failed(fd, error);
        errno::set(saved);
    }
}

/// The U to which the socket is connected has failed. Whether there is one.
fn has_failed(fd: c_int, error: i32) -> bool {
    let connected = sockets::datagrams(fd).filter(|datagrams| datagrams.connected);
    let pin = connected.and_then(|datagrams| pin(fd, &datagrams));
    match pin {
        Some((pins, pin)) if pin.is_moved() && !is_barred() => {
            pins.failed(pin.place);
            refute(fd, &pin, cause(error));
            true
        }
        _ => false,
    }
}
