//! The file of the mapping table: mapped for reading by every process, and made by
//! the one that writes it.
//!
//! A reader makes eight system calls, once (mmap and munmap before, where the table is large):
//! openat, fstat, mmap, close; newfstatat of the network namespace; openat, read, close
//! of the boot's identity. What is mapped stays
//! mapped, so that nobody who reads it meets memory that is gone. A table that was
//! retired is replaced by a new one at another place, and pages of zeros take over its
//! own: its memory goes back to the kernel, and only addresses are spent.

#[cfg(feature = "std")]
mod claim;
#[cfg(feature = "std")]
mod create;
#[cfg(feature = "std")]
mod lock;
#[cfg(feature = "std")]
mod old;

#[cfg(feature = "std")]
pub use claim::{Claim, create};
#[cfg(feature = "std")]
pub use create::{CreateError, Created, Options, OwnTable, Previous};
#[cfg(feature = "std")]
pub use lock::{Renewed, Tenure};

use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};
use core::slice;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use core::time::Duration;

use aarp_core::table::{
    HEADER_WORDS, Invalid, Namespace, SLOT_WORDS, SLOTS_MAX, TableView, size_of_slots,
};

use crate::clock::boottime;
use crate::daemon::is_trusted;
use crate::fd::Fd;
use crate::syscall::{Errno, syscall};

/// The longest path that is opened, with its terminator.
const PATH: usize = 512;
/// Of the address of a mapping these bits are zero: they tell how many slots it has.
const PAGE: usize = 4096;

/// Why a file is not read as this process's mapping table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachError {
    /// There is none.
    Absent,
    /// It cannot be opened; `ENAMETOOLONG` when the path is longer than 511 octets.
    Open(Errno),
    /// It is a symbolic link.
    Link,
    /// It is no regular file.
    Kind,
    /// It belongs to this user, who is not trusted.
    Owner(u32),
    /// Its mode lets others write it.
    Writable(u32),
    /// Not all of its octets have their place on the device or in memory.
    Sparse,
    /// It cannot be looked at or mapped.
    Map(Errno),
    /// It is no table that is known here.
    Invalid(Invalid),
    /// Its writer has retired it.
    Retired,
    /// It is of another network namespace.
    Namespace,
    /// It was written before this boot of the host.
    Boot,
    /// Its writer has given a sign of life in the future: another clock.
    Clock,
    /// Its writer has given no sign of life for so long.
    Silent(Duration),
    /// This process cannot tell in which network namespace it is, or which boot of the
    /// host this is.
    Unknown(Errno),
}

impl fmt::Display for AttachError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is no mapping table"),
            Self::Open(errno) => write!(f, "cannot be opened: {errno}"),
            Self::Link => f.write_str("is a symbolic link"),
            Self::Kind => f.write_str("is no regular file"),
            Self::Owner(uid) => write!(f, "belongs to user {uid}, who is not trusted"),
            Self::Writable(mode) => write!(f, "others may write it (mode {mode:04o})"),
            Self::Sparse => f.write_str("is not allocated in full"),
            Self::Map(errno) => write!(f, "cannot be mapped: {errno}"),
            Self::Invalid(invalid) => write!(f, "is no mapping table: {invalid}"),
            Self::Retired => f.write_str("was retired"),
            Self::Namespace => f.write_str("is of another network namespace"),
            Self::Boot => f.write_str("was left by an earlier boot of this host"),
            Self::Clock => f.write_str("is written by another clock"),
            Self::Silent(time) => {
                write!(f, "no sign of life of its writer for {} s", time.as_secs())
            }
            Self::Unknown(errno) => {
                write!(f, "this process's network namespace or boot: {errno}")
            }
        }
    }
}

impl core::error::Error for AttachError {}

/// The mapping table that this process reads, or none; for a `static`. All zero is none.
#[derive(Debug)]
pub struct Attachment {
    /// Where the mapping begins, and in the last bits the logarithm of its slots: one
    /// word, so that no reader sees a mapping with the size of another.
    mapping: AtomicPtr<AtomicU64>,
}

// SAFETY: a null pointer; the rest of the time it is shared as an atomic.
unsafe impl crate::memory::Zeroed for Attachment {}

impl Attachment {
    /// No table.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            mapping: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The table that is read. It is good for ever; but who keeps it finds nothing any
    /// more in it once another one was attached.
    #[must_use]
    #[inline]
    pub fn table(&self) -> Option<TableView<'static>> {
        let mapping = self.mapping.load(Ordering::Acquire);
        if mapping.is_null() {
            return None;
        }
        let start = mapping.map_addr(|address| address & !(PAGE - 1));
        let slots = 1 << (mapping.addr() & (PAGE - 1));
        // SAFETY: the pointer was made by `store` of a mapping of that size, which is
        // never unmapped; the words are atomic.
        let words = unsafe { slice::from_raw_parts(start, HEADER_WORDS + SLOT_WORDS * slots) };
        TableView::over(words)
    }

    /// Reads the table at `path` from now on, if it is one of this process's network
    /// namespace and belongs to one of the `trusted` users. Otherwise nothing changes:
    /// what was read before is read on.
    ///
    /// # Errors
    /// Why not.
    pub fn attach(&self, path: &str, trusted: &[u32]) -> Result<(), AttachError> {
        self.attach_living(path, trusted, Duration::MAX)
    }

    /// The same, if its writer has given a sign of life within `silence`.
    ///
    /// # Errors
    /// Why not.
    pub fn attach_living(
        &self,
        path: &str,
        trusted: &[u32],
        silence: Duration,
    ) -> Result<(), AttachError> {
        let fd = open(path)?;
        // The program may take the number meanwhile.
        let mapped = fd.using(|number| Ok(Mapping::of(number, trusted, libc::PROT_READ)));
        let mapping = mapped.map_err(AttachError::Map)??;
        drop(fd);
        let usable = mapping.open().and_then(|table| {
            is_living(&table, silence)?;
            // Each replacement costs addresses for ever.
            let is_read = self.table().is_some_and(|read| is_same(&read, &table));
            if is_read {
                return Ok(false);
            }
            is_ours(&table).map(|()| true)
        });
        match usable {
            Ok(true) => self.replace(mapping.tagged()),
            Ok(false) => mapping.unmap(),
            Err(error) => {
                mapping.unmap();
                return Err(error);
            }
        }
        Ok(())
    }

    /// Whether the table that is read is one of the network namespace of the calling
    /// thread; where the kernel does not tell, it is not.
    #[must_use]
    pub fn is_of_this_network(&self) -> bool {
        let table = self.table();
        table.is_some_and(|table| Ok(table.header().identity().namespace) == namespace())
    }

    /// Whether there is one.
    #[must_use]
    #[inline]
    pub fn is_any(&self) -> bool {
        !self.mapping.load(Ordering::Relaxed).is_null()
    }

    /// Reads no table any more.
    pub fn detach(&self) {
        self.replace(ptr::null_mut());
    }

    fn replace(&self, new: *mut AtomicU64) {
        let old = self.mapping.swap(new, Ordering::AcqRel);
        let start = old.map_addr(|address| address & !(PAGE - 1));
        if let Some(start) = NonNull::new(start) {
            let slots = 1 << (old.addr() & (PAGE - 1));
            Mapping { start, slots }.blank(libc::PROT_READ);
        }
    }
}

impl Default for Attachment {
    fn default() -> Self {
        Self::none()
    }
}

/// Opens a file for reading, and no symbolic link.
fn open(path: &str) -> Result<Fd, AttachError> {
    let flags = libc::O_RDONLY
        | libc::O_CLOEXEC
        | libc::O_NOFOLLOW
        // A pipe would wait for its writer.
        | libc::O_NONBLOCK
        | libc::O_NOCTTY;
    let mut name = [0u8; PATH];
    let room = name[..PATH - 1].get_mut(..path.len());
    room.ok_or(AttachError::Open(Errno(libc::ENAMETOOLONG)))?
        .copy_from_slice(path.as_bytes());
    let (here, name) = (libc::AT_FDCWD as usize, name.as_ptr() as usize);
    let arguments = [here, name, flags as usize, 0, 0, 0];
    // SAFETY: the name ends with a zero.
    let opened = Fd::open(|| unsafe { syscall(libc::SYS_openat, arguments) });
    opened.map_err(|errno| match errno.0 {
        libc::ENOENT | libc::ENOTDIR => AttachError::Absent,
        libc::ELOOP => AttachError::Link,
        _ => AttachError::Open(errno),
    })
}

/// A table's file in this process's memory.
#[derive(Debug, Clone, Copy)]
struct Mapping {
    start: NonNull<AtomicU64>,
    slots: usize,
}

impl Mapping {
    /// Maps the file of a trusted user, if it has the size of a table.
    fn of(fd: i32, trusted: &[u32], protection: i32) -> Result<Self, AttachError> {
        let mut stat = MaybeUninit::<libc::stat>::zeroed();
        let arguments = [fd as usize, stat.as_mut_ptr() as usize, 0, 0, 0, 0];
        // SAFETY: the kernel's structure is that of the C library on 64 bits.
        unsafe { syscall(libc::SYS_fstat, arguments) }.map_err(AttachError::Map)?;
        // SAFETY: filled, and all zero before.
        let stat = unsafe { stat.assume_init() };
        if stat.st_mode & libc::S_IFMT != libc::S_IFREG {
            return Err(AttachError::Kind);
        }
        if !is_trusted(stat.st_uid, trusted) {
            return Err(AttachError::Owner(stat.st_uid));
        }
        if stat.st_mode & 0o022 != 0 {
            return Err(AttachError::Writable(stat.st_mode & 0o7777));
        }
        let octets = usize::try_from(stat.st_size).unwrap_or(0);
        let slots = octets.saturating_sub(size_of_slots(0)) / size_of_slots_alone(1);
        if !slots.is_power_of_two() || slots > SLOTS_MAX || octets != size_of_slots(slots) {
            return Err(AttachError::Invalid(Invalid::Length(octets / 8)));
        }
        // To read a hole may need memory that is not there: SIGBUS.
        if stat.st_blocks.saturating_mul(512) < stat.st_size {
            return Err(AttachError::Sparse);
        }
        let flags = libc::MAP_SHARED as usize;
        let place = place_for(octets);
        let arguments = [place, octets, protection as usize, flags, fd as usize, 0];
        // SAFETY: a new mapping, at a place that the kernel chooses: ours if it is free.
        let start = unsafe { syscall(libc::SYS_mmap, arguments) }.map_err(AttachError::Map)?;
        let start = NonNull::new(ptr::with_exposed_provenance_mut(start));
        let start = start.ok_or(AttachError::Map(Errno(libc::ENOMEM)))?;
        Ok(Self { start, slots })
    }

    fn octets(&self) -> usize {
        size_of_slots(self.slots)
    }

    /// The words; for as long as it is not unmapped.
    fn words(&self) -> &'static [AtomicU64] {
        let words = self.octets() / 8;
        // SAFETY: inside the mapping, which is aligned to a page. Only `unmap` ends it,
        // and its callers keep no words.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), words) }
    }

    fn open(&self) -> Result<TableView<'static>, AttachError> {
        TableView::open(self.words()).map_err(AttachError::Invalid)
    }

    fn tagged(&self) -> *mut AtomicU64 {
        let slots = self.slots.trailing_zeros() as usize;
        self.start.as_ptr().map_addr(|address| address | slots)
    }

    /// Ends a mapping that nobody knows of.
    fn unmap(self) {
        let arguments = [self.start.as_ptr().addr(), self.octets(), 0, 0, 0, 0];
        // SAFETY: the mapping is one of ours, and nobody uses it any more.
        let _ = unsafe { syscall(libc::SYS_munmap, arguments) };
    }

    /// Puts zeros in the place of a mapping that others may be reading. Of a record they
    /// see that it was one no longer, because its sequence is 0. Where that cannot be
    /// done the file stays.
    fn blank(self, protection: i32) {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED;
        let arguments = [
            self.start.as_ptr().addr(),
            self.octets(),
            protection as usize,
            flags as usize,
            usize::MAX,
            0,
        ];
        // SAFETY: the range is a mapping of ours, which stays mapped.
        let _ = unsafe { syscall(libc::SYS_mmap, arguments) };
    }
}

/// Octets of a huge page.
const HUGE: usize = 2 << 20;
/// Of a table of so many octets a lookup waits for the page tables more than for the table.
const LARGE: usize = 32 << 20;

/// A place at which the huge pages of a large file are huge for who maps it, too; zero for
/// any. Only a wish: another thread may take it first.
fn place_for(octets: usize) -> usize {
    if octets < LARGE {
        return 0;
    }
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let (size, protection) = (octets + HUGE, libc::PROT_NONE as usize);
    let arguments = [0, size, protection, flags as usize, usize::MAX, 0];
    // SAFETY: a new mapping, at a place that the kernel chooses.
    let Ok(free) = (unsafe { syscall(libc::SYS_mmap, arguments) }) else {
        return 0;
    };
    // SAFETY: the mapping of a line before, of which nobody knows.
    let _ = unsafe { syscall(libc::SYS_munmap, [free, size, 0, 0, 0, 0]) };
    free.next_multiple_of(HUGE)
}

const fn size_of_slots_alone(slots: usize) -> usize {
    size_of_slots(slots) - size_of_slots(0)
}

/// Whether two tables are one file: by the key of its hash, which is random.
fn is_same(one: &TableView<'_>, other: &TableView<'_>) -> bool {
    one.header().identity() == other.header().identity()
}

/// Whether the writer of a table has not retired it, and has given a sign of life within
/// `silence`.
fn is_living(table: &TableView<'_>, silence: Duration) -> Result<(), AttachError> {
    let header = table.header();
    if header.is_retired() {
        return Err(AttachError::Retired);
    }
    let since = boottime().saturating_sub(header.heartbeat());
    if since > silence {
        return Err(AttachError::Silent(since));
    }
    Ok(())
}

/// Whether a table is one that this process may use now.
fn is_ours(table: &TableView<'_>) -> Result<(), AttachError> {
    let (header, identity) = (table.header(), table.header().identity());
    if header.is_retired() {
        return Err(AttachError::Retired);
    }
    if identity.namespace != namespace().map_err(AttachError::Unknown)? {
        return Err(AttachError::Namespace);
    }
    if identity.boot != boot().map_err(AttachError::Unknown)? {
        return Err(AttachError::Boot);
    }
    // The writer may be at it: its sign of life first, and then the time.
    let heartbeat = header.heartbeat();
    if heartbeat > boottime() {
        return Err(AttachError::Clock);
    }
    Ok(())
}

/// The network namespace of the calling thread.
///
/// # Errors
/// What the kernel says, where /proc is not mounted for one.
pub fn namespace() -> Result<Namespace, Errno> {
    let name = c"/proc/thread-self/ns/net".as_ptr() as usize;
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    let arguments = [
        libc::AT_FDCWD as usize,
        name,
        stat.as_mut_ptr() as usize,
        0,
        0,
        0,
    ];
    // SAFETY: the name ends with a zero; the kernel's structure is that of the C library
    // on 64 bits.
    unsafe { syscall(libc::SYS_newfstatat, arguments) }?;
    // SAFETY: filled, and all zero before.
    let stat = unsafe { stat.assume_init() };
    Ok(Namespace {
        device: stat.st_dev,
        inode: stat.st_ino,
    })
}

/// The identity of this boot of the host, 128 random bits (random(4)).
///
/// # Errors
/// What the kernel says; `EINVAL` where it is no UUID.
pub fn boot() -> Result<[u64; 2], Errno> {
    let file = crate::file::open("/proc/sys/kernel/random/boot_id")?;
    let mut text = [0; 64];
    // The kernel gives it in one piece.
    let length = file.ok_or(Errno(libc::ENOENT))?.read_next(&mut text)?;
    uuid(&text[..length]).ok_or(Errno(libc::EINVAL))
}

/// A UUID (RFC 9562 §4) and the end of its line.
fn uuid(text: &[u8]) -> Option<[u64; 2]> {
    let mut bits = 0u128;
    let mut digits = 0;
    for character in text.trim_ascii_end() {
        if *character == b'-' {
            continue;
        }
        bits = bits << 4 | u128::from((*character as char).to_digit(16)?);
        digits += 1;
    }
    (digits == 32).then_some([(bits >> 64) as u64, bits as u64])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_has_an_identity() {
        assert_eq!(boot(), boot());
        assert_ne!(boot().unwrap(), [0, 0]);
        let text = b"01234567-89ab-cdef-0123-456789ABCDEF\n";
        assert_eq!(
            uuid(text),
            Some([0x0123_4567_89ab_cdef, 0x0123_4567_89ab_cdef])
        );
        for wrong in [&text[1..], b"", b"g", &[text, &text[..]].concat()] {
            assert_eq!(uuid(wrong), None);
        }
    }
}
