//! Where records stand: words of their own, by descriptor.

use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicU64, Ordering, compiler_fence};

use once_cell::race::OnceRef;

use super::{Kind, Phase, Record};

/// A, U, the rest, the number, and a checksum.
const WORDS: usize = 7;
pub(super) const REST: usize = 4;
pub(super) const NUMBER: usize = 5;
pub(super) const CHECKSUM: usize = 6;
/// Which option of the socket is not as the program has set it, and how it has.
pub(super) const HELD: usize = WORDS;
/// Beside the record, each word for itself: which pins the socket has, and with whom
/// else it has spoken.
pub(super) const PINS: usize = HELD + 1;
pub(super) const SPOKEN: usize = PINS + 1;
pub(super) const SPOKEN_WORDS: usize = 4;
/// The record once more: written first, and read where a handler, or a child that was
/// forked meanwhile, finds the other half written.
pub(super) const COPY: usize = SPOKEN + SPOKEN_WORDS;
/// How the option is meanwhile, and by whom.
pub(super) const OURS: usize = COPY + WORDS;
pub(super) const HOLDER: usize = OURS + 1;
/// The next descriptor of the same socket.
pub(super) const NEXT: usize = HOLDER + 1;
/// As what record the daemon was told of it.
pub(super) const TOLD: usize = NEXT + 1;
pub(super) const PLACE: usize = TOLD + 1;

pub(super) const CHUNK: usize = 1024;
const CHUNKS: usize = 1024;

type Words = [u64; WORDS];
pub(super) type Place = [AtomicU64; PLACE];
pub(super) type Chunk = [Place; CHUNK];

/// Chunks of records, by descriptor; made when the first record is. About a
/// million descriptors have a place; a socket with a higher number is not pinned.
pub(super) static CHUNKS_OF_RECORDS: [OnceRef<'static, Chunk>; CHUNKS] =
    [const { OnceRef::new() }; CHUNKS];

/// What the last word must be: products of the others by odd numbers, which do not
/// wait for one another. Not zero for any record, so that memory full of zeros is
/// none. Flags are left out: threads set each for itself.
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
    let mut words = *words;
    words[REST] &= !FLAGS;
    let products = words
        .iter()
        .zip(FACTORS)
        .map(|(word, factor)| word.wrapping_mul(factor));
    products.fold(0, u64::wrapping_add) | 1
}

/// Whether there is a record in a place: without a checksum the other words are what is
/// left of one.
#[inline]
pub(super) fn has_record(place: &Place) -> bool {
    place[CHECKSUM].load(Ordering::Relaxed) != 0
}

/// The phase, the flags, the kind, the port and the process of a record, if there is one.
#[inline]
pub(super) fn rest(place: &Place) -> Option<u64> {
    has_record(place).then(|| place[REST].load(Ordering::Relaxed))
}

#[inline]
pub(super) fn read(place: &Place) -> Option<Record> {
    let flags = rest(place)? & FLAGS;
    whole_record(&place[..WORDS], flags).or_else(|| whole_record(&place[COPY..], flags))
}

#[inline]
fn whole_record(place: &[AtomicU64], flags: u64) -> Option<Record> {
    let mut words = [0; WORDS];
    for (to, from) in words.iter_mut().zip(place) {
        *to = from.load(Ordering::Relaxed);
    }
    if words[CHECKSUM] != checksum(&words) {
        return None;
    }
    words[REST] = words[REST] & !FLAGS | flags;
    decode(&words)
}

#[inline]
pub(super) fn write(place: &Place, record: &Record) {
    let words = encode(record);
    write_words(&place[COPY..], &words, |to| {
        to.store(words[REST], Ordering::Relaxed)
    });
    write_words(place, &words, |to| to.store(words[REST], Ordering::Relaxed));
}

/// The same for a socket that has a record: its flags stay as they are, or are set by
/// another thread at the same moment.
#[inline]
pub(super) fn update(place: &Place, record: &Record) {
    let words = encode(record);
    let own = words[REST] & !FLAGS;
    write_words(&place[COPY..], &words, |to| {
        to.store(own, Ordering::Relaxed)
    });
    write_words(place, &words, |to| {
        let change = |flags| Some(own | flags & FLAGS);
        let _ = to.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
    });
}

/// Writes one half; the word with the flags by `rest`.
#[inline]
fn write_words(half: &[AtomicU64], words: &Words, rest: impl FnOnce(&AtomicU64)) {
    // For what runs in this very thread the order is enough, and for its children.
    for at in 0..REST {
        half[at].store(words[at], Ordering::Relaxed);
    }
    rest(&half[REST]);
    half[NUMBER].store(words[NUMBER], Ordering::Relaxed);
    // Who sees the checksum sees whose it is.
    half[CHECKSUM].store(words[CHECKSUM], Ordering::Release);
    compiler_fence(Ordering::SeqCst);
}

pub(super) fn halves(address: Ipv6Addr) -> [u64; 2] {
    let bits = u128::from(address);
    [(bits >> 64) as u64, bits as u64]
}

fn whole(halves: [u64; 2]) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(halves[0]) << 64 | u128::from(halves[1]))
}

/// Which descriptor of which socket it is.
pub(super) fn number(record: &Record) -> u64 {
    u64::from(record.duplicate) << 32 | u64::from(record.socket)
}

fn encode(record: &Record) -> Words {
    let (a, u) = (halves(record.a), halves(record.u));
    let rest = record.phase as u64
        | Flag::Nonblocking.bit(record.nonblocking)
        | Flag::FixedOrigin.bit(record.fixed_origin)
        | Flag::Duplicated.bit(record.duplicated)
        | Flag::Deferred.bit(record.deferred)
        | (record.kind as u64) << KIND
        | u64::from(record.port) << 16
        | u64::from(record.process as u32) << PROCESS;
    let mut words = [a[0], a[1], u[0], u[1], rest, number(record), 0];
    words[CHECKSUM] = checksum(&words);
    words
}

/// Where the kind stands in the rest.
pub(super) const KIND: u32 = 12;
/// Where the flags do.
const FLAGS: u64 = 0xf << 8;

/// What is set, or cleared, each for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flag {
    Nonblocking = 8,
    FixedOrigin = 9,
    Duplicated = 10,
    Deferred = 11,
}

impl Flag {
    #[inline]
    pub(super) fn bit(self, on: bool) -> u64 {
        u64::from(on) << self as u32
    }

    #[inline]
    pub(super) fn is_in(self, rest: u64) -> bool {
        rest & self.bit(true) != 0
    }
}

/// And the process.
pub(super) const PROCESS: u32 = 32;

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
        nonblocking: Flag::Nonblocking.is_in(words[REST]),
        fixed_origin: Flag::FixedOrigin.is_in(words[REST]),
        duplicated: Flag::Duplicated.is_in(words[REST]),
        deferred: Flag::Deferred.is_in(words[REST]),
        a: whole([words[0], words[1]]),
        u: whole([words[2], words[3]]),
        port: (words[REST] >> 16) as u16,
        process: (words[REST] >> PROCESS) as i32,
        socket: words[NUMBER] as u32,
        duplicate: (words[NUMBER] >> 32) as u32,
    })
}

#[inline]
pub(super) fn place(fd: i32) -> Option<&'static Place> {
    let fd = usize::try_from(fd).ok()?;
    let chunk = CHUNKS_OF_RECORDS.get(fd / CHUNK)?.get()?;
    chunk.get(fd % CHUNK)
}
