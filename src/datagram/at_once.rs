//! What is known at once about most datagrams: they go to where the last one went, and
//! come from there, or their socket has no pins. Small enough to be part of the hooks, so
//! that addresses stay in registers; all else is for the rest of [`crate::datagram`].

use core::ffi::c_int;
use core::net::Ipv6Addr;

use aarp_core::pins::{Pin, Remote};
use aarp_sys::clock::wall_coarse_ms;

use super::PINS;
use crate::sockets;

/// The course of most datagrams, found without a search; `None` where it takes more.
#[inline(always)]
pub(crate) fn course(fd: c_int, a: Ipv6Addr, port: u16) -> Option<AtOnce> {
    let datagrams = sockets::datagrams(fd)?;
    let remote = Remote {
        socket: datagrams.socket,
        address: a,
        port,
    };
    if !datagrams.may_have_pins() {
        return datagrams.has_spoken(a, port).then_some(AtOnce::Own);
    }
    let (pins, place) = (PINS.get()?, datagrams.last_pin()?);
    let pin = pins.to_in(place, &remote).filter(Pin::is_moved)?;
    let now = wall_coarse_ms();
    if pins.is_idle(&pin, now) || pins.silence(place).is_suspicious(now) {
        return None;
    }
    pins.sent(place, now);
    Some(AtOnce::Moved(pin.u))
}

/// As [`super::Course`], small enough to stay in registers.
pub(crate) enum AtOnce {
    /// To where the program sends it.
    Own,
    /// To this U.
    Moved(Ipv6Addr),
}

/// Whether a datagram may be sent on a connected socket, found without a search; it is
/// counted as sent then. Where not, [`super::peer::sending`] knows.
#[inline(always)]
pub(crate) fn sending(fd: c_int) -> bool {
    let Some(datagrams) = sockets::datagrams(fd) else {
        return false;
    };
    if !datagrams.connected || datagrams.may_have_many_pins() {
        return false;
    }
    let (Some(pins), Some(place)) = (PINS.get(), datagrams.last_pin()) else {
        return false;
    };
    let moved = pins.at(datagrams.socket, place).filter(Pin::is_moved);
    let now = wall_coarse_ms();
    if moved.is_none() || pins.silence(place).is_suspicious(now) {
        return false;
    }
    pins.sent(place, now);
    true
}

/// What most datagrams that come in are, found without a search; `None` where it takes
/// more.
#[inline(always)]
pub(crate) fn received(fd: c_int, source: Ipv6Addr, port: u16) -> Option<Source> {
    let datagrams = sockets::datagrams(fd)?;
    let remote = Remote {
        socket: datagrams.socket,
        address: source,
        port,
    };
    if !datagrams.may_have_pins() && !datagrams.connected {
        return datagrams.has_spoken(source, port).then_some(Source::AsItIs);
    }
    let (pins, place) = (PINS.get()?, datagrams.last_pin()?);
    let pin = pins.from_in(place, &remote).filter(Pin::is_moved)?;
    pins.heard(place, wall_coarse_ms());
    Some(Source::Shown(pin.a))
}

/// The source of a datagram, as the program is to see it.
pub(crate) enum Source {
    /// As the kernel has written it.
    AsItIs,
    /// This A.
    Shown(Ipv6Addr),
}
