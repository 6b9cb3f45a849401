//! What comes back on datagram sockets, and what does not.

use core::ffi::c_int;
use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicU64, Ordering};

use aarp_core::pins::{Pin, PinTable, Remote};
use aarp_core::refutation::Cause;
use aarp_core::silence::Silence;
use aarp_sys::clock::wall_coarse_ms;

use super::{PINS, claim, peer};
use crate::sockets::{self, Datagrams, Record, Used};
use crate::{resolve, settings, state};

/// Whether a descriptor is a socket whose datagrams are looked at as they come in.
#[inline]
pub(crate) fn is_watched(fd: c_int) -> bool {
    sockets::datagrams(fd).is_some()
}

/// Whether only the source of a datagram tells which pin it is for.
#[inline]
pub(crate) fn needs_source(fd: c_int) -> bool {
    sockets::datagrams(fd)
        .is_some_and(|datagrams| !datagrams.connected && datagrams.may_have_many_pins())
}

/// A datagram was received from there: the address to show in the place of that.
#[inline]
pub(crate) fn received(fd: c_int, source: Ipv6Addr, port: u16, flags: c_int) -> Option<Ipv6Addr> {
    let datagrams = sockets::datagrams(fd)?;
    let remote = Remote {
        socket: datagrams.socket,
        address: source,
        port,
    };
    // From the error queue comes what was sent, and to where.
    let from_there = flags & libc::MSG_ERRQUEUE == 0;
    if datagrams.may_have_pins()
        && let Some(pins) = PINS.get()
        && let Some(pin) = pins.from(&remote)
    {
        if from_there {
            pins.heard(pin.place, wall_coarse_ms());
        }
        return pin.is_moved().then_some(pin.a);
    }
    if datagrams.connected {
        let record = sockets::get(fd)?;
        return (record.u == source && record.port == port).then_some(record.a);
    }
    if !from_there || datagrams.has_spoken(source, port) {
        return None;
    }
    received_unasked(&datagrams, &remote)
}

/// From somewhere where nothing was sent: another port of U, as TFTP answers (RFC 1350,
/// section 4), or somebody who speaks first.
#[cold]
fn received_unasked(datagrams: &Datagrams, remote: &Remote) -> Option<Ipv6Addr> {
    if let Some(pins) = PINS.get()
        && let Some(pin) = datagrams
            .last_pin()
            .and_then(|place| pins.at(datagrams.socket, place))
        && pin.is_moved()
        && pin.u == remote.address
    {
        let now = wall_coarse_ms();
        let a = Remote {
            address: pin.a,
            ..*remote
        };
        let other = pins.insert(&a, pin.u, pin.idle, now)?;
        datagrams.uses(other.place);
        pins.heard(other.place, now);
        return Some(pin.a);
    }
    // Whom this socket speaks to does not speak first: another process that has the
    // socket too has asked it itself.
    if PINS.get().is_some_and(|pins| pins.to(remote).is_some()) {
        return None;
    }
    datagrams.speaks(remote.address, remote.port);
    hear(remote.address);
    None
}

/// Who has spoken to this process first, on any socket: a Bloom filter of 4096 bits. A
/// server may answer from another socket than the one it was asked on.
static HEARD: [AtomicU64; 64] = [const { AtomicU64::new(0) }; 64];

fn places_of(address: Ipv6Addr) -> [(&'static AtomicU64, u64); 2] {
    let bits = u128::from(address);
    let mixed =
        ((bits >> 64) as u64 ^ (bits as u64).rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    [mixed >> 52, mixed >> 32].map(|bit| {
        let bit = bit as usize % (64 * HEARD.len());
        (&HEARD[bit / 64], 1 << (bit % 64))
    })
}

fn hear(address: Ipv6Addr) {
    for (word, bit) in places_of(address) {
        word.fetch_or(bit, Ordering::Relaxed);
    }
}

/// Whether that address has spoken to this process first, or most likely has.
pub(super) fn has_been_heard(address: Ipv6Addr) -> bool {
    let places = places_of(address);
    places
        .into_iter()
        .all(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
}

/// A datagram was received, and nobody has asked from where: from whom the program has
/// sent to, as far as anyone can tell.
#[inline]
pub(crate) fn received_from_anyone(fd: c_int) {
    let Some(datagrams) = sockets::datagrams(fd) else {
        return;
    };
    if datagrams.connected {
        if let Some((pins, pin)) = peer::pin(fd, &datagrams) {
            pins.heard(pin.place, wall_coarse_ms());
        }
    } else if datagrams.may_have_many_pins() {
        received_from_any_of_many(&datagrams);
    } else if let Some(place) = datagrams.last_pin()
        && let Some(pins) = PINS.get()
        && pins.at(datagrams.socket, place).is_some()
    {
        pins.heard(place, wall_coarse_ms());
    }
}

/// Rather a silent U is kept than one that answers given up.
#[cold]
fn received_from_any_of_many(datagrams: &Datagrams) {
    if let Some(pins) = PINS.get() {
        let now = wall_coarse_ms();
        for pin in pins.of(datagrams.socket) {
            pins.heard(pin.place, now);
        }
    }
}

/// A datagram was received by a program that has room for a part of the source only.
/// `shown` puts one address, with its port, in the place of another, if that is what
/// was written.
#[cold]
pub(crate) fn received_in_part(fd: c_int, shown: impl Fn((Ipv6Addr, u16), Ipv6Addr) -> bool) {
    let Some(datagrams) = sockets::datagrams(fd) else {
        return;
    };
    let show = |pin: &Pin| pin.is_moved() && shown((pin.u, pin.port), pin.a);
    if let Some(pins) = PINS.get().filter(|_| datagrams.may_have_pins()) {
        let pin = if datagrams.connected {
            peer::pin(fd, &datagrams).map(|(_, pin)| pin).filter(show)
        } else {
            pins.of(datagrams.socket).find(show)
        };
        if let Some(pin) = pin {
            return pins.heard(pin.place, wall_coarse_ms());
        }
    }
    received_from_anyone(fd);
}

/// An error has come out of the queue of a socket. `shown` puts one address in the place
/// of another, if that is the one which has sent it.
#[cold]
pub(crate) fn told_of_error(fd: c_int, shown: impl Fn(Ipv6Addr, Ipv6Addr) -> bool) {
    let (Some(datagrams), Some(pins)) = (sockets::datagrams(fd), PINS.get()) else {
        return;
    };
    let mut moved = pins.of(datagrams.socket).filter(Pin::is_moved);
    let _ = moved.any(|pin| shown(pin.u, pin.a));
}

/// A descriptor was closed that had these pins. Its number may be another's by now: what
/// is forgotten is the socket's, whatever stands there.
pub(crate) fn closed(fd: c_int, record: &Record, used: Used) {
    let Some(pins) = PINS.get() else {
        return;
    };
    if sockets::has_duplicates(fd, record) {
        return;
    }
    match used {
        Used::Several => {
            for pin in pins.of(record.socket).filter(Pin::is_moved) {
                forget(record, pins, &pin);
            }
            pins.release(record.socket);
        }
        Used::One(Some(place)) => match pins.at(record.socket, place) {
            Some(pin) if pin.is_moved() => forget(record, pins, &pin),
            _ => {
                let _ = pins.clear(record.socket, place);
            }
        },
        Used::One(None) => {}
    }
}

/// Forgets a pin, and notes what it has left unanswered: once, where two threads close the
/// last descriptors of a socket.
fn forget(record: &Record, pins: &PinTable, pin: &Pin) {
    let silence = pins.silence(pin.place);
    if pins.clear(record.socket, pin.place) {
        left_unanswered(record, silence, pin);
    }
}

/// Programs that open a socket for each question, and close it when no answer has
/// come for a while, never send three datagrams on one.
fn left_unanswered(record: &Record, silence: Silence, pin: &Pin) {
    let (Some(settings), Some(state)) = (settings::known(), state::known()) else {
        return;
    };
    if silence.is_proven() {
        return state.silences.ended(&claim(pin));
    }
    if silence.count() == 0 || record.fixed_origin {
        return;
    }
    if state.silences.add(&claim(pin), silence, wall_coarse_ms()) {
        resolve::refute(settings, state, &claim(pin), Cause::Silent);
    }
}
