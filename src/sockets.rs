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
use core::sync::atomic::{AtomicU64, Ordering};

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

/// What is known about a TCP socket over IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record {
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
    /// The process that called connect.
    pub(crate) process: i32,
}

impl Record {
    /// A socket of which nothing is known but its flags.
    pub(crate) fn open(nonblocking: bool, fixed_origin: bool) -> Self {
        Self {
            phase: Phase::Open,
            nonblocking,
            fixed_origin,
            duplicated: false,
            deferred: false,
            a: Ipv6Addr::UNSPECIFIED,
            u: Ipv6Addr::UNSPECIFIED,
            port: 0,
            process: 0,
        }
    }

    /// The same socket, not connected any more.
    pub(crate) fn reopened(&self) -> Self {
        Self {
            duplicated: self.duplicated,
            deferred: self.deferred,
            ..Self::open(self.nonblocking, self.fixed_origin)
        }
    }

    /// Whether the socket is, or is about to be, connected to a U.
    pub(crate) fn is_pinned(&self) -> bool {
        matches!(self.phase, Phase::Connecting | Phase::Connected)
    }
}

/// A, U, the rest, and a checksum.
const WORDS: usize = 6;
const CHUNK: usize = 1024;
const CHUNKS: usize = 1024;

type Words = [u64; WORDS];
type Place = [AtomicU64; WORDS];
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
    ];
    let products = words
        .iter()
        .zip(FACTORS)
        .map(|(word, factor)| word.wrapping_mul(factor));
    products.fold(0, u64::wrapping_add) | 1
}

#[inline]
fn read(place: &Place) -> Option<Record> {
    if place[WORDS - 1].load(Ordering::Relaxed) == 0 {
        return None;
    }
    let mut words = [0; WORDS];
    for (to, from) in words.iter_mut().zip(place) {
        *to = from.load(Ordering::Relaxed);
    }
    (words[WORDS - 1] == checksum(&words)).then(|| decode(&words))?
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
        | u64::from(record.port) << 16
        | u64::from(record.process as u32) << 32;
    let mut words = [a[0], a[1], u[0], u[1], rest, 0];
    words[WORDS - 1] = checksum(&words);
    words
}

fn decode(words: &Words) -> Option<Record> {
    let phase = match words[4] as u8 {
        1 => Phase::Open,
        2 => Phase::Connecting,
        3 => Phase::Connected,
        4 => Phase::Passed,
        _ => return None,
    };
    Some(Record {
        phase,
        nonblocking: words[4] >> 8 & 1 != 0,
        fixed_origin: words[4] >> 9 & 1 != 0,
        duplicated: words[4] >> 10 & 1 != 0,
        deferred: words[4] >> 11 & 1 != 0,
        a: whole([words[0], words[1]]),
        u: whole([words[2], words[3]]),
        port: (words[4] >> 16) as u16,
        process: (words[4] >> 32) as i32,
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
    place(fd).is_some_and(|place| place[4].load(Ordering::Relaxed) as u8 > Phase::Open as u8)
}

/// Remembers what is known about a descriptor. Whether that was possible.
pub(crate) fn set(fd: i32, record: &Record) -> bool {
    if let Some(place) = place(fd) {
        write(place, record);
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

/// Forgets a descriptor.
#[inline]
pub(crate) fn clear(fd: i32) {
    if let Some(place) = place(fd) {
        place[WORDS - 1].store(0, Ordering::Relaxed);
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
    }
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
