//! The header of a table.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use super::{SLOT_WORDS, SLOTS_MAX};
use crate::mapping::nanos;
use crate::slot::Word;

/// `AARPTAB1`, as it lies in the file.
const MAGIC: u64 = u64::from_le_bytes(*b"AARPTAB1");
/// The one version there is.
const VERSION: u32 = 1;
/// `CLOCK_BOOTTIME`, by its number on Linux: it goes on while the host is suspended.
const CLOCK: u64 = 7;
/// Octets of a slot.
const ENTRY_SIZE: u64 = 8 * SLOT_WORDS as u64;

/// Words of the header that have a meaning; the rest of the page is zero.
pub(super) const FIELDS: usize = 24;

/// Where in the file of a table of any version the eight octets stand that are zero until it
/// is retired: so one daemon retires what another version of it has left.
pub const RETIRED_AT: u64 = 8 * field::RETIRED as u64;

/// Where in the file the number of the process stands that writes the table.
pub const WRITER_AT: u64 = 8 * field::WRITER_PID as u64;

/// Whether a file that begins with these octets is a table, of whatever version: the last of
/// them may change.
#[must_use]
pub fn is_of_any_version(magic: [u8; 8]) -> bool {
    magic[..7] == MAGIC.to_le_bytes()[..7]
}

/// Words of the header. Those of the first line of the cache never change, those of the
/// second seldom, and the third is no reader's of mappings.
mod field {
    /// Its place, and those of the version and of what retires it, are the same in all
    /// versions there will be.
    pub(super) const MAGIC: usize = 0;
    /// Version in the lower half, octets of a slot in the upper.
    pub(super) const VERSION: usize = 1;
    pub(super) const SLOTS: usize = 2;
    pub(super) const CAPACITY: usize = 3;
    pub(super) const KEY: [usize; 2] = [4, 5];
    pub(super) const NAMESPACE_DEVICE: usize = 6;
    pub(super) const NAMESPACE_INODE: usize = 7;
    pub(super) const EPOCH: usize = 8;
    pub(super) const RETIRED: usize = 9;
    pub(super) const WRITER_PID: usize = 10;
    pub(super) const WRITER_START: usize = 11;
    pub(super) const BOOT: [usize; 2] = [12, 13];
    pub(super) const CLOCK: usize = 14;
    pub(super) const HEARTBEAT: usize = 16;
    pub(super) const MAPPINGS: usize = 17;
}

/// A network namespace, as stat(2) of its file tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Namespace {
    /// The device of the file.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
}

/// What a table is told when it is made, and what it is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// How many mappings it may hold.
    pub capacity: usize,
    /// The random key of its hash.
    pub key: [u64; 2],
    /// Whose mappings: catchment belongs to a network namespace.
    pub namespace: Namespace,
    /// The boot of the host, which its times are of.
    pub boot: [u64; 2],
    /// The process that writes it.
    pub pid: u32,
    /// When that process was started, in clock ticks since boot (proc(5), field 22 of
    /// stat).
    pub started: u64,
}

/// Why a region of memory is no table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// So many words have no place for a header and a power of two of slots.
    Length(usize),
    /// It does not begin as a table does.
    Magic,
    /// A version that is not known here.
    Version(u32),
    /// Slots of another size.
    EntrySize(u32),
    /// The header tells of so many slots; there are others.
    Slots(u64),
    /// Times by another clock.
    Clock(u64),
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length(words) => write!(
                f,
                "{} octets are not a header and a power of two of slots",
                8 * *words as u64
            ),
            Self::Magic => f.write_str("does not begin as a mapping table does"),
            Self::Version(version) => write!(f, "version {version}; expected {VERSION}"),
            Self::EntrySize(size) => {
                write!(f, "entries of {size} octets; expected {ENTRY_SIZE}")
            }
            Self::Slots(slots) => {
                write!(f, "the header tells of {slots} slots; the file has others")
            }
            Self::Clock(clock) => write!(f, "times by clock {clock}; expected {CLOCK}"),
        }
    }
}

impl core::error::Error for Invalid {}

/// The header, as it is at the moment.
#[derive(Debug)]
pub struct Header<'m, T: Word = AtomicU64>(&'m [T; FIELDS]);

impl<T: Word> Clone for Header<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Word> Copy for Header<'_, T> {}

impl<'m, T: Word> Header<'m, T> {
    /// Over the words at the beginning of a table.
    pub(super) fn over(words: &'m [T]) -> Option<Self> {
        words.first_chunk().map(Self)
    }

    #[inline(always)]
    fn word(&self, field: usize) -> u64 {
        self.0[field].load(Ordering::Relaxed)
    }

    fn set(&self, field: usize, value: u64) {
        self.0[field].store(value, Ordering::Relaxed);
    }

    /// Writes the header of a new table.
    pub(super) fn format(&self, identity: &Identity, slots: usize, now: Duration) {
        self.set(field::VERSION, u64::from(VERSION) | ENTRY_SIZE << 32);
        self.set(field::SLOTS, slots as u64);
        self.set(field::CAPACITY, identity.capacity as u64);
        for half in 0..2 {
            self.set(field::KEY[half], identity.key[half]);
            self.set(field::BOOT[half], identity.boot[half]);
        }
        self.set(field::NAMESPACE_DEVICE, identity.namespace.device);
        self.set(field::NAMESPACE_INODE, identity.namespace.inode);
        self.set(field::WRITER_PID, u64::from(identity.pid));
        self.set(field::WRITER_START, identity.started);
        self.set(field::CLOCK, CLOCK);
        self.set(field::EPOCH, 1);
        self.set(field::HEARTBEAT, nanos(now));
        self.0[field::MAGIC].store(MAGIC, Ordering::Release);
    }

    /// Whether this is the header of a table with so many slots.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(super) fn check(&self, slots: usize) -> Result<(), Invalid> {
        if self.0[field::MAGIC].load(Ordering::Acquire) != MAGIC {
            return Err(Invalid::Magic);
        }
        let version = self.word(field::VERSION);
        if version as u32 != VERSION {
            return Err(Invalid::Version(version as u32));
        }
        if version >> 32 != ENTRY_SIZE {
            return Err(Invalid::EntrySize((version >> 32) as u32));
        }
        let told = self.word(field::SLOTS);
        if told != slots as u64 || slots > SLOTS_MAX {
            return Err(Invalid::Slots(told));
        }
        match self.word(field::CLOCK) {
            CLOCK => Ok(()),
            other => Err(Invalid::Clock(other)),
        }
    }

    /// What it was told when it was made.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            capacity: usize::try_from(self.word(field::CAPACITY)).unwrap_or(usize::MAX),
            key: self.key(),
            namespace: Namespace {
                device: self.word(field::NAMESPACE_DEVICE),
                inode: self.word(field::NAMESPACE_INODE),
            },
            boot: field::BOOT.map(|half| self.word(half)),
            pid: self.word(field::WRITER_PID) as u32,
            started: self.word(field::WRITER_START),
        }
    }

    #[inline(always)]
    pub(super) fn key(&self) -> [u64; 2] {
        field::KEY.map(|half| self.word(half))
    }

    /// How often the routes have changed, or the host resumed: what was stored before
    /// is not fresh. Begins at 1.
    #[must_use]
    #[inline(always)]
    pub fn epoch(&self) -> u64 {
        self.word(field::EPOCH)
    }

    pub(super) fn set_epoch(&self, epoch: u64) {
        self.set(field::EPOCH, epoch);
    }

    /// Whether another table has taken its place, or nobody writes it any more by
    /// intent.
    #[must_use]
    #[inline(always)]
    pub fn is_retired(&self) -> bool {
        self.word(field::RETIRED) != 0
    }

    pub(super) fn retire(&self) {
        self.set(field::RETIRED, 1);
    }

    /// The writer's last sign of life.
    #[must_use]
    pub fn heartbeat(&self) -> Duration {
        Duration::from_nanos(self.word(field::HEARTBEAT))
    }

    pub(super) fn beat(&self, now: Duration) {
        self.set(field::HEARTBEAT, nanos(now));
    }

    /// How many mappings it holds, fresh or not, as the writer says.
    #[must_use]
    pub fn mappings(&self) -> u64 {
        self.word(field::MAPPINGS)
    }

    pub(super) fn set_mappings(&self, mappings: usize) {
        self.set(field::MAPPINGS, mappings as u64);
    }
}
