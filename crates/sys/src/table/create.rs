//! Making the file of a mapping table, and taking the place of an old one.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aarp_core::table::{Identity, Invalid, TableWriter, size_of_slots};

use super::claim::Judge;
use super::lock::{Tenure, hold, is_at};
use super::old::Old;
use super::{AttachError, Mapping, boot, namespace};
use crate::clock::boottime;
use crate::process::random;
use crate::syscall::Errno;

/// What a table is to be.
#[derive(Debug, Clone, Copy)]
pub struct Options<'a> {
    /// Its file. Beside it stand the lock, `.lock`, and the file in the making, `.new`.
    pub path: &'a Path,
    /// How many mappings it may hold, up to [`aarp_core::table::CAPACITY_MAX`].
    pub capacity: usize,
    /// The file's mode, whatever the umask: 0o644, or 0o600 for one user's alone.
    pub mode: u32,
    /// Whose table is taken over.
    pub trusted: &'a [u32],
    /// For how long a mapping may hold at the most, by the configuration: what is to
    /// hold for longer is not taken over.
    pub longest: Duration,
}

/// Why there is no new table. Nothing was left behind, and an old one stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Another process writes the table.
    #[error("{}: another process writes this table{}", path.display(), of(*pid))]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The process, as far as the file tells.
        pid: Option<u32>,
    },
    /// No table can be made for so many mappings.
    #[error("a table for {0} mappings: expected 1 to {max}", max = aarp_core::table::CAPACITY_MAX)]
    Capacity(usize),
    /// The file system has no room.
    #[error("{}: no room for the table's {octets} octets: {source}", path.display())]
    Room {
        /// The file.
        path: PathBuf,
        /// Its size.
        octets: usize,
        /// What the kernel says.
        source: io::Error,
    },
    /// A call about a file has failed.
    #[error("{operation} {}: {source}", path.display())]
    Call {
        /// What was to be done.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel says.
        source: io::Error,
    },
}

fn of(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(": process {pid}"))
}

impl CreateError {
    pub(super) fn call(operation: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Call {
            operation,
            path: path.to_owned(),
            source,
        }
    }
}

/// What became of the table that was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Previous {
    /// There was none.
    None,
    /// So many mappings of it are in the new one: those that were fresh, as far as there
    /// is room.
    Taken(usize),
    /// Nothing of it was used.
    Refused(AttachError),
}

/// A new table.
#[derive(Debug)]
pub struct Created {
    /// The table.
    pub table: OwnTable,
    /// What became of the old one.
    pub previous: Previous,
}

/// The table that this process writes. Where it is dropped without [`OwnTable::end`],
/// and after a kill, the file serves on until its mappings expire.
#[derive(Debug)]
pub struct OwnTable {
    writer: TableWriter<'static>,
    mapping: Mapping,
    file: File,
    path: PathBuf,
    /// Which nobody else has for as long as this writes.
    pub(super) tenure: Tenure,
}

impl Deref for OwnTable {
    type Target = TableWriter<'static>;

    fn deref(&self) -> &Self::Target {
        &self.writer
    }
}

impl DerefMut for OwnTable {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.writer
    }
}

/// A file in the making, which is removed unless it becomes the table.
struct Unfinished<'a>(Option<&'a Path>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(path) = self.0 {
            // Where it cannot be removed the next writer does it.
            let _ = std::fs::remove_file(path);
        }
    }
}

pub(super) fn make(
    options: &Options<'_>,
    slots: usize,
    judge: Judge<'_>,
) -> Result<(OwnTable, Previous), CreateError> {
    let unfinished = beside(options.path, ".new");
    let failed = |operation, source| CreateError::call(operation, &unfinished, source);
    // What a writer has left that was killed before it was done.
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(failed("remove", error));
        }
        _ => {}
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&unfinished)
        .map_err(|error| failed("make", error))?;
    let mut guard = Unfinished(Some(&unfinished));
    hold(&file).map_err(|error| failed("lock", error))?;
    reserve(&file, &unfinished, size_of_slots(slots))?;
    let mapping = map_own(&file).map_err(|error| failed("map", error))?;
    collapse(&mapping);
    let made = fill(options, mapping, judge).and_then(|(writer, previous, old)| {
        let mode = std::fs::Permissions::from_mode(options.mode);
        file.set_permissions(mode)
            .map_err(|error| failed("set the mode of", error))?;
        std::fs::rename(&unfinished, options.path)
            .map_err(|error| CreateError::call("put in place", options.path, error))?;
        Ok((writer, previous, old))
    });
    let (writer, previous, old) = match made {
        Ok(made) => made,
        Err(error) => {
            mapping.unmap();
            return Err(error);
        }
    };
    guard.0 = None;
    // Who sees that it is retired finds the new one.
    if let Some(old) = old {
        // It was one when it was opened; what it is by now is no matter.
        old.retire();
    }
    let table = OwnTable {
        writer,
        mapping,
        file,
        path: options.path.to_owned(),
        tenure: Tenure::of(None),
    };
    Ok((table, previous))
}

/// Gives a file all of its octets, so that nobody who maps it meets one without memory.
fn reserve(file: &File, path: &Path, octets: usize) -> Result<(), CreateError> {
    let size = libc::off_t::try_from(octets).unwrap_or(libc::off_t::MAX);
    loop {
        // SAFETY: no pointers.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, size) } == 0 {
            return Ok(());
        }
        let source = io::Error::last_os_error();
        return Err(match source.raw_os_error() {
            Some(libc::EINTR) => continue,
            Some(libc::ENOSPC | libc::EDQUOT | libc::EFBIG) => CreateError::Room {
                path: path.to_owned(),
                octets,
                source,
            },
            _ => CreateError::call("allocate", path, source),
        });
    }
}

/// Maps a file of our own for writing.
fn map_own(file: &File) -> io::Result<Mapping> {
    // SAFETY: no arguments; cannot fail.
    let own = unsafe { libc::geteuid() };
    map(file, &[own]).map_err(io::Error::other)
}

/// Has the kernel put a file of our own into huge pages, as far as it can (Linux 6.1, a
/// file system in memory): in a table of a million mappings most of the time of a lookup
/// is that of the page tables. Readers need do nothing, and where there is none of it
/// nothing is lost.
fn collapse(mapping: &Mapping) {
    let (start, octets) = (mapping.start.as_ptr(), mapping.octets());
    // SAFETY: the range is a mapping of ours, whose contents stay.
    let _ = unsafe { libc::madvise(start.cast(), octets, libc::MADV_COLLAPSE) };
}

pub(super) fn map(file: &File, trusted: &[u32]) -> Result<Mapping, AttachError> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    Mapping::of(file.as_raw_fd(), trusted, protection)
}

/// Writes the header, and what is fresh in the old table; which is still mapped where it
/// is to be retired.
fn fill(
    options: &Options<'_>,
    mapping: Mapping,
    judge: Judge<'_>,
) -> Result<(TableWriter<'static>, Previous, Option<Old>), CreateError> {
    let unknown = |operation| {
        move |errno: Errno| {
            let source = io::Error::from_raw_os_error(errno.0);
            CreateError::call(operation, options.path, source)
        }
    };
    let mut key = [0; 16];
    random(&mut key).map_err(unknown("find a random key for"))?;
    let [low, high] = [0, 8].map(|at| {
        let half = key[at..].first_chunk().copied();
        u64::from_ne_bytes(half.unwrap_or_default())
    });
    let identity = Identity {
        capacity: options.capacity,
        key: [low, high],
        namespace: namespace().map_err(unknown("find the network namespace of"))?,
        boot: boot().map_err(unknown("find the boot of the host for"))?,
        pid: std::process::id(),
        started: started(),
    };
    let now = boottime();
    let invalid =
        |invalid: Invalid| CreateError::call("format", options.path, io::Error::other(invalid));
    let mut writer = TableWriter::format(mapping.words(), &identity, now).map_err(invalid)?;
    let (previous, old) = match Old::open(options) {
        Ok(old) => (old.take_over(&mut writer, (options, judge), now), Some(old)),
        Err(AttachError::Absent) => (Previous::None, None),
        Err(error) => (Previous::Refused(error), None),
    };
    Ok((writer, previous, old))
}

/// When this process was started, in clock ticks since boot; 0 where it cannot be told.
fn started() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name, in parentheses, may hold anything.
    let behind = stat.rsplit_once(')').map_or("", |(_, behind)| behind);
    // Field 22; the name is the second.
    let field = behind.split_ascii_whitespace().nth(19);
    field.and_then(|ticks| ticks.parse().ok()).unwrap_or(0)
}

pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

impl OwnTable {
    /// The table for its writer, and the right to write it.
    pub fn parts(&mut self) -> (&mut TableWriter<'static>, &mut Tenure) {
        (&mut self.writer, &mut self.tenure)
    }

    /// Ends the table: nobody is to use what nobody keeps fresh. Readers are told, and
    /// its files are removed, unless somebody has put another in its place.
    ///
    /// # Errors
    /// [`CreateError::Call`] when the file cannot be removed; readers were told.
    pub fn end(mut self) -> Result<(), CreateError> {
        self.writer.retire();
        let failed = |source| CreateError::call("remove", &self.path, source);
        if is_at(&self.file, &self.path).map_err(failed)? {
            std::fs::remove_file(&self.path).map_err(failed)?;
        }
        self.tenure.end();
        Ok(())
    }
}

impl Drop for OwnTable {
    fn drop(&mut self) {
        // Whoever still looks at it from this process finds nothing.
        self.mapping.blank(libc::PROT_READ | libc::PROT_WRITE);
    }
}

// SAFETY: the mapping is memory of the process, written by who owns the table alone.
unsafe impl Send for OwnTable {}
