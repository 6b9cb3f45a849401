//! What is known about each descriptor.
//!
//! A record is a hint that the kernel has the last word on: a U is shown as its A
//! only where the kernel says that the socket's peer is that U. So a record that
//! has outlived its socket (descriptors can be closed in ways that no hook sees)
//! does no harm.
//!
//! Records have no lock that a fork, a signal or a jump out of a handler could leave
//! locked: each stands there twice and carries a checksum, and one that two threads have
//! written at the same time is none.

use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use aarp_sys::memory::leak_zeroed;

use self::store::{
    CHECKSUM, CHUNK, CHUNKS_OF_RECORDS, HELD, KIND, NUMBER, PROCESS, Place, REST, TOLD, place,
    read, update, write,
};

mod datagrams;
mod held;
mod ring;
mod settled;
mod store;

pub(crate) use datagrams::{Datagrams, Used, datagrams};
pub(crate) use held::{Held, Limit, held, hold, release};
pub(crate) use settled::{has_mark, is_settled, may_be_received, settle, unsettle, unsettle_range};
pub(crate) use store::Flag;

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
    /// The number of this one of them: a descriptor may be closed by one thread and
    /// given again, for the same socket, to another.
    pub(crate) duplicate: u32,
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
            duplicate: 0,
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

/// What is known about a descriptor.
#[inline]
pub(crate) fn get(fd: i32) -> Option<Record> {
    read(place(fd)?)
}

/// The word with what every call looks at, if anything is known about a descriptor.
#[inline]
fn rest(fd: i32) -> Option<u64> {
    store::rest(place(fd)?)
}

/// Whether something may be known about a connection of a descriptor's. Costs less
/// than [`get`], which is right.
#[inline]
pub(crate) fn may_be_under_way(fd: i32) -> bool {
    rest(fd).is_some_and(|rest| rest as u8 > Phase::Open as u8)
}

/// Whether a record says whose it is, as those of pinned sockets do: all others may be
/// overwritten by anybody.
#[inline]
pub(crate) fn has_process(fd: i32) -> bool {
    rest(fd).is_some_and(|rest| rest >> PROCESS != 0)
}

/// Remembers what is known about a descriptor. Whether that was possible.
pub(crate) fn set(fd: i32, record: &Record) -> bool {
    let possible = set_alone(fd, record);
    if record.duplicated {
        share(fd, record);
    }
    possible
}

/// The same for this descriptor alone.
fn set_alone(fd: i32, record: &Record) -> bool {
    if let Some(place) = place(fd) {
        if is(place, record.socket) {
            update(place, record);
        } else {
            write(place, record);
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
    // What was held of another socket with this number.
    release(fd);
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
        for at in [CHECKSUM, REST, HELD] {
            place[at].store(0, Ordering::Relaxed);
        }
    }
}

/// Forgets a descriptor that was this, unless another thread has been given the number
/// meanwhile: what it has written is another record, by its checksum. That alone is
/// cleared: every other word may be the same in both, and be the other's by now.
#[inline]
pub(crate) fn clear_closed(fd: i32, record: &Record) {
    let Some(place) = place(fd) else {
        return;
    };
    let closed = store::number(record);
    // Another descriptor of the socket may write what all of them know.
    for _ in 0..8 {
        // Who sees another's checksum sees its number.
        let checksum = place[CHECKSUM].load(Ordering::Acquire);
        let [rest, number] = [REST, NUMBER].map(|at| place[at].load(Ordering::Relaxed));
        if number != closed || checksum == 0 {
            return;
        }
        if Flag::Duplicated.is_in(rest) {
            ring::leave(fd, closed);
        }
        let order = Ordering::Relaxed;
        let cleared = place[CHECKSUM].compare_exchange(checksum, 0, order, order);
        if cleared.is_ok() {
            return;
        }
    }
}

/// Whether anything is known about a descriptor.
#[inline]
pub(crate) fn is_known(fd: i32) -> bool {
    place(fd).is_some_and(store::has_record)
}

/// Whether a place has the record of this socket.
#[inline]
fn is(place: &Place, socket: u32) -> bool {
    place[NUMBER].load(Ordering::Relaxed) as u32 == socket && store::has_record(place)
}

/// Whether this process has ever connected a socket to a U. A forked child has its
/// parent's sockets.
static ANY_PINNED: AtomicBool = AtomicBool::new(false);

/// A socket is about to be.
#[inline]
pub(crate) fn pins_one() {
    ANY_PINNED.store(true, Ordering::Relaxed);
}

/// Whether any descriptor may have the record of a socket that is connected to a U.
#[inline]
pub(crate) fn is_any_pinned() -> bool {
    ANY_PINNED.load(Ordering::Relaxed)
}

/// What stands in a place once this daemon was told of its record, as that is.
fn told_to(place: &Place, daemon: u64) -> u64 {
    place[CHECKSUM]
        .load(Ordering::Relaxed)
        .wrapping_add(daemon << 1)
}

/// Whether this daemon was told of the record of a descriptor, and nothing has changed.
pub(crate) fn is_told(fd: i32, daemon: u64) -> bool {
    place(fd).is_some_and(|place| place[TOLD].load(Ordering::Relaxed) == told_to(place, daemon))
}

/// A record as a daemon is told of it: by when that has heard of it, the number may be
/// another socket's.
#[derive(Clone, Copy)]
pub(crate) struct Telling {
    fd: i32,
    told: u64,
}

/// What stands by a descriptor, of which this daemon is about to be told.
pub(crate) fn telling(fd: i32, daemon: u64) -> Option<Telling> {
    let told = told_to(place(fd)?, daemon);
    Some(Telling { fd, told })
}

/// It was told. Also where a vfork child has told it, whose memory this is not.
pub(crate) fn mark_told(Telling { fd, told }: Telling) {
    if let Some(place) = place(fd) {
        place[TOLD].store(told, Ordering::Relaxed);
    }
}

/// Sets or clears a flag of a socket, if anything is known about the descriptor. Others
/// may change what is known at the same moment, and nothing of that is lost.
#[inline]
pub(crate) fn mark(fd: i32, flag: Flag, on: bool) {
    let Some(place) = place(fd) else {
        return;
    };
    if !store::has_record(place) {
        return;
    }
    let rest = mark_place(place, flag, on);
    if Flag::Duplicated.is_in(rest) {
        mark_others(place, flag, on);
    }
}

#[inline]
fn mark_place(place: &Place, flag: Flag, on: bool) -> u64 {
    if on {
        place[REST].fetch_or(flag.bit(true), Ordering::Relaxed)
    } else {
        place[REST].fetch_and(!flag.bit(true), Ordering::Relaxed)
    }
}

#[cold]
fn mark_others(place: &'static Place, flag: Flag, on: bool) {
    let socket = place[NUMBER].load(Ordering::Relaxed) as u32;
    ring::for_others(place, socket, |_, other| {
        mark_place(other, flag, on);
    });
}

/// Changes what is known about a descriptor but for flags, if anything is.
#[inline]
pub(crate) fn change(fd: i32, change: impl FnOnce(&mut Record)) {
    if let Some(place) = place(fd)
        && let Some(mut record) = read(place)
    {
        change(&mut record);
        update(place, &record);
        if record.duplicated {
            share(fd, &record);
        }
    }
}

/// The number of the socket that a descriptor is known to be.
#[inline]
pub(crate) fn socket_of(fd: i32) -> Option<u32> {
    let place = place(fd)?;
    store::has_record(place).then(|| place[NUMBER].load(Ordering::Relaxed) as u32)
}

/// Whether, as far as the hooks have seen, a descriptor still is this socket: it may
/// have been closed, and its number be another's, while a call of ours waited.
#[inline]
pub(crate) fn is_still(fd: i32, socket: u32) -> bool {
    // Where there is no room for a record nothing is ever seen.
    place(fd).is_none() || socket_of(fd) == Some(socket)
}

/// Changes what is known about a descriptor, if it still is this socket. Whether it is.
#[inline]
pub(crate) fn change_of(fd: i32, socket: u32, apply: impl FnOnce(&mut Record)) -> bool {
    let mut is_same = false;
    change(fd, |record| {
        is_same = record.socket == socket;
        if is_same {
            apply(record);
        }
    });
    is_same
}

/// What is known about a socket is known by all its descriptors.
#[cold]
fn share(fd: i32, record: &Record) {
    let Some(place) = place(fd) else {
        return;
    };
    ring::for_others(place, record.socket, |other, place| {
        if let Some(other) = get(other).filter(|other| other.socket == record.socket) {
            let duplicate = other.duplicate;
            update(
                place,
                &Record {
                    duplicate,
                    ..*record
                },
            );
        }
    });
}

/// A descriptor has become a duplicate of another, of which this is known.
pub(crate) fn duplicate(fd: i32, copy: i32, record: &Record) {
    let alone = !record.duplicated;
    let shared = Record {
        duplicated: true,
        duplicate: number(),
        ..*record
    };
    release(copy);
    if !set_alone(copy, &shared) {
        return;
    }
    ring::join(fd, copy, alone);
    mark(fd, Flag::Duplicated, true);
    // Another thread may have connected it meanwhile, and seen no duplicate to tell.
    if let Some(now) = get(fd).filter(|now| now.socket == record.socket) {
        let duplicate = shared.duplicate;
        let now = Record { duplicate, ..now };
        if now != shared {
            set_alone(copy, &now);
        }
    }
    if let (Some(from), Some(to)) = (datagrams(fd), datagrams(copy)) {
        to.begin(Some(&from));
    }
}

/// Whether the socket of a descriptor goes on when that is closed, or now that it was.
pub(crate) fn has_duplicates(fd: i32, record: &Record) -> bool {
    let number = store::number(record);
    record.duplicated && place(fd).is_some_and(|place| ring::has_others(place, number))
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

/// Whether what comes of a call that sends or receives says something: a connected
/// datagram socket, or a TCP socket of which it is not known yet whether its
/// connection was made; or whether an option has to be given back before.
#[inline]
pub(crate) fn is_observed(fd: i32) -> bool {
    let Some((place, rest)) = place(fd).and_then(|place| Some((place, store::rest(place)?))) else {
        return false;
    };
    let (kind, phase) = (rest >> KIND & 3, rest as u8);
    phase == Phase::Connecting as u8
        || place[HELD].load(Ordering::Relaxed) != 0
        || kind == Kind::Datagram as u64 && phase == Phase::Connected as u8
}

/// Whether a descriptor is known as a TCP socket.
pub(crate) fn is_stream(fd: i32) -> bool {
    get(fd).is_some_and(|record| record.kind == Kind::Stream)
}

/// Whether it is known that a descriptor is no datagram socket over IPv6.
#[inline]
pub(crate) fn is_of_another_kind(fd: i32) -> bool {
    rest(fd).is_some_and(|rest| {
        let kind = rest >> KIND & 3;
        kind == Kind::Stream as u64 || kind == Kind::Other as u64
    })
}
