//! What every datagram of a socket needs.

use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicU64, Ordering};

use aarp_core::pins;

use super::store::{COPY, Flag, KIND, NUMBER, PINS, Place, SPOKEN, SPOKEN_WORDS, halves, place};
use super::{Kind, Phase, ring, store};

/// What is known about a datagram socket, as far as every datagram needs it.
#[derive(Clone, Copy)]
pub(crate) struct Datagrams {
    place: &'static Place,
    /// The number of the socket.
    pub(crate) socket: u32,
    /// connect() has been called, and led to what a pin says.
    pub(crate) connected: bool,
    /// Another descriptor of this process is the same socket.
    duplicated: bool,
}

/// A datagram socket over IPv6; `None` for every other descriptor. Reads three words, each
/// of which is whole in itself.
#[inline]
pub(crate) fn datagrams(fd: i32) -> Option<Datagrams> {
    let place = place(fd)?;
    let rest = store::rest(place)?;
    if rest >> KIND & 3 != Kind::Datagram as u64 {
        return None;
    }
    Some(Datagrams {
        place,
        socket: place[NUMBER].load(Ordering::Relaxed) as u32,
        connected: rest as u8 == Phase::Connected as u8,
        duplicated: Flag::Duplicated.is_in(rest),
    })
}

/// More than one pin.
const MANY: u64 = 1 << 32;

/// Which pins a datagram socket has, as far as its descriptor tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Used {
    /// At most this one.
    One(Option<pins::Place>),
    /// Several, or its duplicates may.
    Several,
}

impl Datagrams {
    /// Which pins it has.
    pub(crate) fn used(&self) -> Used {
        if self.may_have_many_pins() {
            Used::Several
        } else {
            Used::One(self.last_pin())
        }
    }

    /// Whether the socket may have pins.
    #[inline]
    pub(crate) fn may_have_pins(&self) -> bool {
        self.duplicated || self.place[PINS].load(Ordering::Relaxed) != 0
    }

    /// The pin that was used last for sending, if it is known.
    #[inline]
    pub(crate) fn last_pin(&self) -> Option<pins::Place> {
        let last = self.place[PINS].load(Ordering::Relaxed) as u32;
        (last != 0).then(|| pins::Place((last - 1) as u16))
    }

    /// Whether the socket has more than one pin, or its duplicates may.
    pub(crate) fn may_have_many_pins(&self) -> bool {
        self.duplicated || self.place[PINS].load(Ordering::Relaxed) & MANY != 0
    }

    /// Notes which pin is used for sending.
    #[inline]
    pub(crate) fn uses(&self, pin: pins::Place) {
        let was = self.place[PINS].load(Ordering::Relaxed);
        let this = u64::from(pin.0) + 1;
        if was & u64::from(u32::MAX) != this {
            let many = if was == 0 { 0 } else { MANY };
            self.place[PINS].store(this | many, Ordering::Relaxed);
        }
    }

    fn spoken(&self, address: Ipv6Addr, port: u16) -> [(&'static AtomicU64, u64); 2] {
        let [high, low] = halves(address);
        let mixed = (high ^ low.rotate_left(31) ^ u64::from(port) << 48)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        [mixed >> 56, mixed >> 40].map(|bit| {
            let bit = bit as usize % (64 * SPOKEN_WORDS);
            (&self.place[SPOKEN + bit / 64], 1 << (bit % 64))
        })
    }

    /// Whether this socket has spoken with that address itself, or most likely has:
    /// what is kept is a Bloom filter of 256 bits. A socket that speaks with hundreds
    /// is a server, or the like, and its peers are not asked about.
    #[inline]
    pub(crate) fn has_spoken(&self, address: Ipv6Addr, port: u16) -> bool {
        let bits = self.spoken(address, port);
        bits.into_iter()
            .all(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
    }

    /// Notes that this socket has spoken with that address itself.
    #[inline]
    pub(crate) fn speaks(&self, address: Ipv6Addr, port: u16) {
        for (word, bit) in self.spoken(address, port) {
            if word.load(Ordering::Relaxed) & bit == 0 {
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
        if self.duplicated {
            self.speaks_on_duplicates(address, port);
        }
    }

    #[cold]
    fn speaks_on_duplicates(&self, address: Ipv6Addr, port: u16) {
        ring::for_others(self.place, self.socket, |_, place| {
            let other = Datagrams { place, ..*self };
            for (word, bit) in other.spoken(address, port) {
                word.fetch_or(bit, Ordering::Relaxed);
            }
        });
    }

    /// Forgets what the descriptor had before, or takes it over from another.
    pub(crate) fn begin(&self, from: Option<&Datagrams>) {
        for at in PINS..COPY {
            let value = from.map_or(0, |from| from.place[at].load(Ordering::Relaxed));
            self.place[at].store(value, Ordering::Relaxed);
        }
    }
}
