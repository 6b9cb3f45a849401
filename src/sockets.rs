//! What is known about each descriptor.
//!
//! A record is a hint that the kernel has the last word on: a U is shown as its A
//! only where the kernel says that the socket's peer is that U. So a record that
//! has outlived its socket (descriptors can be closed in ways that no hook sees)
//! does no harm.
//!
//! Records have no lock that a fork, a signal or a jump out of a handler could leave
//! locked: each carries a checksum, and one that two threads have written at the same
//! time is none.

use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use aarp_core::pins;
use aarp_sys::memory::leak_zeroed;
use once_cell::race::OnceRef;

/// Where a socket is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not connected.
    Open = 1,
    /// connect has been called with A itself, and has not come to an end yet.
    Passed = 4,
    /// connect has been called with U, and has not come to an end yet.
    Connecting = 2,
    /// Connected to U.
    Connected = 3,
}

/// What kind of IPv6 socket it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// TCP.
    Stream = 1,
    /// UDP.
    Datagram = 2,
    /// Neither: none of our business.
    Other = 3,
}

/// What is known about a socket over IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: Kind,
    pub(crate) phase: Phase,
    /// `O_NONBLOCK` is set.
    pub(crate) nonblocking: bool,
    /// Bound to a source address or device, or marked: its packets may take
    /// another way than those of other sockets.
    pub(crate) fixed_origin: bool,
    /// Another descriptor of this process is the same socket.
    pub(crate) duplicated: bool,
    /// connect() returns before the connection is made (`TCP_FASTOPEN_CONNECT`).
    pub(crate) deferred: bool,
    /// The anycast address that the program speaks to.
    pub(crate) a: Ipv6Addr,
    /// The unicast address that it is moved to.
    pub(crate) u: Ipv6Addr,
    /// The port, in host order.
    pub(crate) port: u16,
    /// The process that called connect, or sent the first datagram that was moved.
    pub(crate) process: i32,
    /// The number of the socket, which its duplicates share.
    pub(crate) socket: u32,
}

impl Record {
    /// A socket of which nothing is known but its flags.
    pub(crate) fn open(kind: Kind, nonblocking: bool, fixed_origin: bool) -> Self {
        Self {
            kind,
            phase: Phase::Open,
            nonblocking,
            fixed_origin,
            duplicated: false,
            deferred: false,
            a: Ipv6Addr::UNSPECIFIED,
            u: Ipv6Addr::UNSPECIFIED,
            port: 0,
            process: 0,
            socket: number(),
        }
    }

    /// The same socket, not connected any more.
    pub(crate) fn reopened(&self) -> Self {
        Self {
            duplicated: self.duplicated,
            deferred: self.deferred,
            phase: Phase::Open,
            a: Ipv6Addr::UNSPECIFIED,
            u: Ipv6Addr::UNSPECIFIED,
            port: 0,
            // A datagram socket keeps its pins, and whose they are.
            process: match self.kind {
                Kind::Datagram => self.process,
                Kind::Stream | Kind::Other => 0,
            },
            ..*self
        }
    }

    /// Whether the socket is, or is about to be, connected to a U.
    pub(crate) fn is_pinned(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Connected)
    }
}

/// A number for a socket that no other of this process has had, unless
/// there were four thousand million.
fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed).max(1)
}

/// A, U, the rest, the number, and a checksum.
const WORDS: usize = 7;
const REST: usize = 4;
const NUMBER: usize = 5;
const CHECKSUM: usize = 6;
/// Beside the record, each word for itself: which pins the socket has, and with whom
/// else it has spoken.
const PINS: usize = 7;
const SPOKEN: usize = 8;
const SPOKEN_WORDS: usize = 4;
const PLACE: usize = SPOKEN + SPOKEN_WORDS;

const CHUNK: usize = 1024;
const CHUNKS: usize = 1024;

type Words = [u64; WORDS];
type Place = [AtomicU64; PLACE];
type Chunk = [Place; CHUNK];

/// Chunks of records, by descriptor; made when the first record is. About a
/// million descriptors have a place; a socket with a higher number is not pinned.
static CHUNKS_OF_RECORDS: [OnceRef<'static, Chunk>; CHUNKS] = [const { OnceRef::new() }; CHUNKS];

/// What the last word must be: products of the others by odd numbers, which do not
/// wait for one another. Not zero for any record, so that memory full of zeros is
/// none.
#[inline]
fn checksum(words: &Words) -> u64 {
    const FACTORS: [u64; WORDS - 1] = [
        0x9e37_79b9_7f4a_7c15,
        0xbf58_476d_1ce4_e5b9,
        0x94d0_49bb_1331_11eb,
        0xd6e8_feb8_6659_fd93,
        0xa076_1d64_78bd_642f,
        0xe703_7ed1_a0b4_28db,
    ];
    let products = words
        .iter()
        .zip(FACTORS)
        .map(|(word, factor)| word.wrapping_mul(factor));
    products.fold(0, u64::wrapping_add) | 1
}

#[inline]
fn read(place: &Place) -> Option<Record> {
    if place[CHECKSUM].load(Ordering::Relaxed) == 0 {
        return None;
    }
    let mut words = [0; WORDS];
    for (to, from) in words.iter_mut().zip(place) {
        *to = from.load(Ordering::Relaxed);
    }
    (words[CHECKSUM] == checksum(&words)).then(|| decode(&words))?
}

#[inline]
fn write(place: &Place, record: &Record) {
    for (to, from) in place.iter().zip(encode(record)) {
        to.store(from, Ordering::Relaxed);
    }
}

fn halves(address: Ipv6Addr) -> [u64; 2] {
    let bits = u128::from(address);
    [(bits >> 64) as u64, bits as u64]
}

fn whole(halves: [u64; 2]) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(halves[0]) << 64 | u128::from(halves[1]))
}

fn encode(record: &Record) -> Words {
    let (a, u) = (halves(record.a), halves(record.u));
    let rest = record.phase as u64
        | u64::from(record.nonblocking) << 8
        | u64::from(record.fixed_origin) << 9
        | u64::from(record.duplicated) << 10
        | u64::from(record.deferred) << 11
        | (record.kind as u64) << KIND
        | u64::from(record.port) << 16
        | u64::from(record.process as u32) << 32;
    let mut words = [a[0], a[1], u[0], u[1], rest, u64::from(record.socket), 0];
    words[CHECKSUM] = checksum(&words);
    words
}

/// Where the kind stands in the rest.
const KIND: u32 = 12;

fn decode(words: &Words) -> Option<Record> {
    let kind = match words[REST] >> KIND & 3 {
        1 => Kind::Stream,
        2 => Kind::Datagram,
        3 => Kind::Other,
        _ => return None,
    };
    let phase = match words[REST] as u8 {
        1 => Phase::Open,
        2 => Phase::Connecting,
        3 => Phase::Connected,
        4 => Phase::Passed,
        _ => return None,
    };
    Some(Record {
        kind,
        phase,
        nonblocking: words[REST] >> 8 & 1 != 0,
        fixed_origin: words[REST] >> 9 & 1 != 0,
        duplicated: words[REST] >> 10 & 1 != 0,
        deferred: words[REST] >> 11 & 1 != 0,
        a: whole([words[0], words[1]]),
        u: whole([words[2], words[3]]),
        port: (words[REST] >> 16) as u16,
        process: (words[REST] >> 32) as i32,
        socket: words[NUMBER] as u32,
    })
}

#[inline]
fn place(fd: i32) -> Option<&'static Place> {
    let fd = usize::try_from(fd).ok()?;
    let chunk = CHUNKS_OF_RECORDS.get(fd / CHUNK)?.get()?;
    chunk.get(fd % CHUNK)
}

/// What is known about a descriptor.
#[inline]
pub(crate) fn get(fd: i32) -> Option<Record> {
    read(place(fd)?)
}

/// Whether something may be known about a connection of a descriptor's. Costs less
/// than [`get`], which is right.
#[inline]
pub(crate) fn may_be_under_way(fd: i32) -> bool {
    place(fd).is_some_and(|place| place[REST].load(Ordering::Relaxed) as u8 > Phase::Open as u8)
}

/// Remembers what is known about a descriptor. Whether that was possible.
pub(crate) fn set(fd: i32, record: &Record) -> bool {
    if let Some(place) = place(fd) {
        write(place, record);
        if record.duplicated {
            share(fd, record);
        }
        return true;
    }
    let number = usize::try_from(fd).unwrap_or(usize::MAX);
    let Some(chunk) = CHUNKS_OF_RECORDS.get(number / CHUNK) else {
        return false;
    };
    // The memory is mapped by a system call.
    if crate::ops::is_barred() {
        return false;
    }
    let Ok(fresh) = leak_zeroed(false) else {
        return false;
    };
    // As for the state of the process: the loser's pages were never touched.
    write(&chunk.get_or_init(|| fresh)[number % CHUNK], record);
    true
}

/// Remembers a socket that is new to us. Whether that was possible.
pub(crate) fn begin(fd: i32, record: &Record) -> bool {
    let possible = set(fd, record);
    if let Some(datagrams) = datagrams(fd) {
        datagrams.begin(None);
    }
    possible
}

/// Forgets a descriptor.
#[inline]
pub(crate) fn clear(fd: i32) {
    if let Some(place) = place(fd) {
        place[CHECKSUM].store(0, Ordering::Relaxed);
        place[REST].store(0, Ordering::Relaxed);
    }
}

/// Changes what is known about a descriptor, if anything is.
#[inline]
pub(crate) fn change(fd: i32, change: impl FnOnce(&mut Record)) {
    if let Some(place) = place(fd)
        && let Some(mut record) = read(place)
    {
        change(&mut record);
        write(place, &record);
        if record.duplicated {
            share(fd, &record);
        }
    }
}

/// What is known about a socket is known by all its descriptors.
#[cold]
fn share(fd: i32, record: &Record) {
    for (other, place) in duplicates(fd, record.socket) {
        if get(other).is_some_and(|other| other.socket == record.socket) {
            write(place, record);
        }
    }
}

/// The other descriptors of a socket.
fn duplicates(fd: i32, socket: u32) -> impl Iterator<Item = (i32, &'static Place)> {
    let places = known(0, u32::MAX).filter_map(|other| Some((other, place(other)?)));
    places.filter(move |(other, place)| {
        *other != fd && place[NUMBER].load(Ordering::Relaxed) == u64::from(socket)
    })
}

/// The descriptors from `first` to `last` of which something is known.
pub(crate) fn known(first: u32, last: u32) -> impl Iterator<Item = i32> {
    let (first, last) = (first as usize, last as usize);
    let chunks = CHUNKS_OF_RECORDS.iter().enumerate().skip(first / CHUNK);
    let made = chunks.filter_map(|(number, chunk)| Some((number, chunk.get()?)));
    let fds = made.flat_map(|(number, chunk)| {
        let within = chunk.iter().enumerate();
        within.filter_map(move |(at, place)| read(place).map(|_| number * CHUNK + at))
    });
    fds.filter(move |fd| (first..=last).contains(fd))
        .map(|fd| fd as i32)
}

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

/// A datagram socket over IPv6; `None` for every other descriptor. Reads three words,
/// each of which is whole in itself.
#[inline]
pub(crate) fn datagrams(fd: i32) -> Option<Datagrams> {
    let place = place(fd)?;
    let rest = place[REST].load(Ordering::Relaxed);
    if rest >> KIND & 3 != Kind::Datagram as u64 {
        return None;
    }
    Some(Datagrams {
        place,
        socket: place[NUMBER].load(Ordering::Relaxed) as u32,
        connected: rest as u8 == Phase::Connected as u8,
        duplicated: rest >> 10 & 1 != 0,
    })
}

/// Whether what comes of a call that sends or receives says something: a connected
/// datagram socket, or a TCP socket of which it is not known yet whether its
/// connection was made.
#[inline]
pub(crate) fn is_observed(fd: i32) -> bool {
    place(fd).is_some_and(|place| {
        let rest = place[REST].load(Ordering::Relaxed);
        let (kind, phase) = (rest >> KIND & 3, rest as u8);
        phase == Phase::Connecting as u8
            || kind == Kind::Datagram as u64 && phase == Phase::Connected as u8
    })
}

/// Whether a descriptor is known as a TCP socket.
pub(crate) fn is_stream(fd: i32) -> bool {
    get(fd).is_some_and(|record| record.kind == Kind::Stream)
}

/// Whether it is known that a descriptor is no datagram socket over IPv6.
#[inline]
pub(crate) fn is_of_another_kind(fd: i32) -> bool {
    place(fd).is_some_and(|place| {
        let kind = place[REST].load(Ordering::Relaxed) >> KIND & 3;
        kind == Kind::Stream as u64 || kind == Kind::Other as u64
    })
}

/// More than one pin.
const MANY: u64 = 1 << 32;

impl Datagrams {
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
        for (_, place) in duplicates(-1, self.socket) {
            let other = Datagrams { place, ..*self };
            for (word, bit) in other.spoken(address, port) {
                word.fetch_or(bit, Ordering::Relaxed);
            }
        }
    }

    /// Forgets what the descriptor had before, or takes it over from another.
    pub(crate) fn begin(&self, from: Option<&Datagrams>) {
        for at in PINS..PLACE {
            let value = from.map_or(0, |from| from.place[at].load(Ordering::Relaxed));
            self.place[at].store(value, Ordering::Relaxed);
        }
    }
}
