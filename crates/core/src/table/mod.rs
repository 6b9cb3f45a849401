//! The mapping table that all processes of a host read and one daemon writes: seed
//! 002's Anycast Address Mapper, the caching agent of seed 003 §4.2.
//!
//! It is a region of words that is as long as a file; who maps the file is not of
//! concern here. A reader takes no lock, makes no system call, and never sees half a
//! mapping; that is what `model.rs` has a model checker prove. What it meets may be
//! foreign or corrupted: then it finds nothing, or what is written there, within the
//! same bounds.
//!
//! ```text
//! header   4096 octets: words, as in header.rs
//! slots    a power of two of 64 octets each
//!            0  sequence   odd while the slot is written; never goes back
//!            8  A          16 octets in network order; all zero: nothing is here
//!           24  U          16 octets in network order
//!           40  expiry     nanoseconds of CLOCK_BOOTTIME
//!           48  state u8, method u8, flags u16, round trip in microseconds u32
//!                flags: 8 bits of the epoch, 6 of the failures in a row, whether it is
//!                used, and whether only others than root have asked about it
//!           56  last use in seconds u32, due in milliseconds before the expiry u32, of
//!                which the highest bit says that it is being asked again
//! ```
//!
//! A mapping stands in the slot that a keyed hash of A says or in one behind it,
//! [`REACH`] in all, and no slot between is empty: so an empty one ends a search. To
//! remove one the writer moves others back.

mod entry;
mod header;
mod view;
mod writer;

pub use entry::Entry;
pub use header::{Header, Identity, Invalid, Namespace, RETIRED_AT, WRITER_AT, is_of_any_version};
pub use view::{Hit, TableView};
pub use writer::{Stored, TableWriter, retire};

use core::net::Ipv6Addr;

#[cfg(not(target_endian = "little"))]
compile_error!("the mapping table is little-endian, and read as it lies in memory");

/// Words of the header.
pub const HEADER_WORDS: usize = 512;
/// Words of a slot: its sequence and the record.
pub const SLOT_WORDS: usize = 8;
/// Words of a record.
const WORDS: usize = SLOT_WORDS - 1;
/// Slots that one A may stand in.
pub const REACH: usize = 32;
/// The most mappings that a table can be made for.
pub const CAPACITY_MAX: usize = 1 << 23;
/// The most slots that a table can have.
pub const SLOTS_MAX: usize = 1 << 24;

/// The slots of a table for `capacity` mappings: a fifth of them, or more, stays empty.
/// `None` for no mapping, and for more than [`CAPACITY_MAX`].
#[must_use]
pub fn slots_for(capacity: usize) -> Option<usize> {
    (1..=CAPACITY_MAX)
        .contains(&capacity)
        .then(|| (capacity + capacity.div_ceil(4)).next_power_of_two())
}

/// The octets of a table with so many slots.
#[must_use]
pub const fn size_of_slots(slots: usize) -> usize {
    8 * (HEADER_WORDS + SLOT_WORDS * slots)
}

/// An address as it lies in the table.
#[inline(always)]
fn words_of(address: Ipv6Addr) -> [u64; 2] {
    let bits = u128::from_le_bytes(address.octets());
    [bits as u64, (bits >> 64) as u64]
}

#[inline(always)]
fn address_of(words: [u64; 2]) -> Ipv6Addr {
    Ipv6Addr::from((u128::from(words[1]) << 64 | u128::from(words[0])).to_le_bytes())
}

/// Both halves of a product: each bit of the factors reaches most of the result's.
#[inline(always)]
fn folded(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Where `a` is looked for first, before it is cut to the size of the table. The key is
/// there for all who read the table: it keeps addresses that are regular from meeting,
/// not those that somebody chooses. What holds against these is in `writer.rs`.
#[inline(always)]
fn start(key: [u64; 2], a: [u64; 2]) -> usize {
    let high = folded(a[0] ^ key[0], 0x9e37_79b9_7f4a_7c15);
    folded(a[1] ^ key[1] ^ high, 0xd6e8_feb8_6659_fd93) as usize
}

#[cfg(test)]
mod tests;

#[cfg(all(test, loom))]
mod model;
