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
pub(super) const PLACE: usize = NEXT + 1;

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
pub(super) fn read(place: &Place) -> Option<Record> {
    if place[CHECKSUM].load(Ordering::Relaxed) == 0 {
        return None;
    }
    whole_record(&place[..WORDS]).or_else(|| whole_record(&place[COPY..]))
}

#[inline]
fn whole_record(place: &[AtomicU64]) -> Option<Record> {
    let mut words = [0; WORDS];
    for (to, from) in words.iter_mut().zip(place) {
        *to = from.load(Ordering::Relaxed);
    }
    (words[CHECKSUM] == checksum(&words)).then(|| decode(&words))?
}

#[inline]
pub(super) fn write(place: &Place, record: &Record) {
    let words = encode(record);
    // For what runs in this very thread the order is enough, and for its children.
    for at in [COPY, 0] {
        for (to, from) in place[at..].iter().zip(words) {
            to.store(from, Ordering::Relaxed);
        }
        compiler_fence(Ordering::SeqCst);
    }
}

pub(super) fn halves(address: Ipv6Addr) -> [u64; 2] {
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
        | u64::from(record.duplicated) << DUPLICATED
        | u64::from(record.deferred) << 11
        | (record.kind as u64) << KIND
        | u64::from(record.port) << 16
        | u64::from(record.process as u32) << PROCESS;
    let mut words = [a[0], a[1], u[0], u[1], rest, u64::from(record.socket), 0];
    words[CHECKSUM] = checksum(&words);
    words
}

/// Where the kind stands in the rest.
pub(super) const KIND: u32 = 12;
/// Whether there is another descriptor of the socket, or was.
pub(super) const DUPLICATED: u32 = 10;
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
        nonblocking: words[REST] >> 8 & 1 != 0,
        fixed_origin: words[REST] >> 9 & 1 != 0,
        duplicated: words[REST] >> DUPLICATED & 1 != 0,
        deferred: words[REST] >> 11 & 1 != 0,
        a: whole([words[0], words[1]]),
        u: whole([words[2], words[3]]),
        port: (words[REST] >> 16) as u16,
        process: (words[REST] >> PROCESS) as i32,
        socket: words[NUMBER] as u32,
    })
}

#[inline]
pub(super) fn place(fd: i32) -> Option<&'static Place> {
    let fd = usize::try_from(fd).ok()?;
    let chunk = CHUNKS_OF_RECORDS.get(fd / CHUNK)?.get()?;
    chunk.get(fd % CHUNK)
}
