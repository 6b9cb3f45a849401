//! What is known about each descriptor.
//!
//! A record is a hint that the kernel has the last word on: a U is shown as its A
//! only where the kernel says that the socket's peer is that U. So a record that
//! has outlived its socket (descriptors can be closed in ways that no hook sees)
//! does no harm.

use core::net::Ipv6Addr;

use aarp_core::slot::Slot;
use aarp_sys::memory::leak_zeroed;
use once_cell::race::OnceRef;

/// Where a socket is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not connected.
    Open = 1,
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
            a: Ipv6Addr::UNSPECIFIED,
            u: Ipv6Addr::UNSPECIFIED,
            port: 0,
            process: 0,
        }
    }

    /// Whether the socket is, or is about to be, connected to a U.
    pub(crate) fn is_pinned(&self) -> bool {
        self.phase != Phase::Open
    }
}

const WORDS: usize = 5;
const CHUNK: usize = 1024;
const CHUNKS: usize = 1024;

type Chunk = [Slot<WORDS>; CHUNK];

/// Chunks of records, by descriptor; made when the first record is. About a
/// million descriptors have a place; a socket with a higher number is not pinned.
static CHUNKS_OF_RECORDS: [OnceRef<'static, Chunk>; CHUNKS] = [const { OnceRef::new() }; CHUNKS];

fn halves(address: Ipv6Addr) -> [u64; 2] {
    let bits = u128::from(address);
    [(bits >> 64) as u64, bits as u64]
}

fn whole(halves: [u64; 2]) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(halves[0]) << 64 | u128::from(halves[1]))
}

fn encode(record: &Record) -> [u64; WORDS] {
    let (a, u) = (halves(record.a), halves(record.u));
    let rest = record.phase as u64
        | u64::from(record.nonblocking) << 8
        | u64::from(record.fixed_origin) << 9
        | u64::from(record.port) << 16
        | u64::from(record.process as u32) << 32;
    [a[0], a[1], u[0], u[1], rest]
}

fn decode(words: [u64; WORDS]) -> Option<Record> {
    let phase = match words[4] as u8 {
        1 => Phase::Open,
        2 => Phase::Connecting,
        3 => Phase::Connected,
        _ => return None,
    };
    Some(Record {
        phase,
        nonblocking: words[4] >> 8 & 1 != 0,
        fixed_origin: words[4] >> 9 & 1 != 0,
        a: whole([words[0], words[1]]),
        u: whole([words[2], words[3]]),
        port: (words[4] >> 16) as u16,
        process: (words[4] >> 32) as i32,
    })
}

#[inline]
fn slot(fd: i32) -> Option<&'static Slot<WORDS>> {
    let fd = usize::try_from(fd).ok()?;
    let chunk = CHUNKS_OF_RECORDS.get(fd / CHUNK)?.get()?;
    chunk.get(fd % CHUNK)
}

/// What is known about a descriptor.
#[inline]
pub(crate) fn get(fd: i32) -> Option<Record> {
    decode(slot(fd)?.read()?)
}

/// Remembers what is known about a descriptor. Whether that was possible.
pub(crate) fn set(fd: i32, record: &Record) -> bool {
    let words = encode(record);
    if let Some(slot) = slot(fd) {
        return slot.update(|_| Some(words));
    }
    let number = usize::try_from(fd).unwrap_or(usize::MAX);
    let Some(chunk) = CHUNKS_OF_RECORDS.get(number / CHUNK) else {
        return false;
    };
    let Ok(fresh) = leak_zeroed(false) else {
        return false;
    };
    // As for the state of the process: the loser's pages were never touched.
    chunk.get_or_init(|| fresh)[number % CHUNK].update(|_| Some(words))
}

/// Forgets a descriptor.
#[inline]
pub(crate) fn clear(fd: i32) {
    if let Some(slot) = slot(fd) {
        slot.update(|words| (words[4] != 0).then_some([0; WORDS]));
    }
}

/// Changes what is known about a descriptor, if anything is.
#[inline]
pub(crate) fn change(fd: i32, change: impl FnOnce(&mut Record)) {
    if let Some(slot) = slot(fd) {
        slot.update(|words| {
            let mut record = decode(words)?;
            change(&mut record);
            Some(encode(&record))
        });
    }
}
