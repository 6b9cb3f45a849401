//! One writer for one table: a lock file beside it, which nobody else may open; and a
//! lock on the table's own file, for the case that somebody removes the other.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aarp_core::table::WRITER_AT;

use super::create::CreateError;

/// How often a lock file that somebody removes is made anew.
const ATTEMPTS: usize = 8;

/// The lock of a table, held for as long as this lives.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Takes the lock, and writes this process's id into it.
    pub(super) fn take(path: PathBuf) -> Result<Self, CreateError> {
        let failed = |source| CreateError::call("lock", &path, source);
        for _ in 0..ATTEMPTS {
            let Some(mut file) = open(&path).map_err(failed)? else {
                continue;
            };
            // SAFETY: no pointers.
            if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::WouldBlock {
                    return Err(failed(error));
                }
                let pid = holder(&mut file);
                return Err(CreateError::Held { path, pid });
            }
            // Who held it may have removed the file before it was locked here.
            if !is_at(&file, &path).map_err(failed)? {
                continue;
            }
            let written = file
                .set_len(0)
                .and_then(|()| writeln!(file, "{}", std::process::id()));
            let lock = Self { path, file };
            return match written {
                Ok(()) => Ok(lock),
                Err(source) => {
                    let error = CreateError::call("write", &lock.path, source);
                    lock.remove();
                    Err(error)
                }
            };
        }
        Err(failed(io::Error::other(
            "it is made and removed again and again by somebody else",
        )))
    }

    /// Whether it is the one that others find.
    fn is_there(&self) -> io::Result<bool> {
        is_at(&self.file, &self.path)
    }

    /// Removes the file, unless it is another's by now, and lets others take the lock.
    pub(super) fn remove(self) {
        // Where it cannot be removed it stays, and is no obstacle.
        if self.is_there().unwrap_or(false) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// The right to write a table, for as long as this lives.
#[derive(Debug)]
pub struct Tenure(Option<Lock>);

/// What became of the lock file of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// Nothing.
    Unchanged,
    /// Somebody had removed it, and it was made anew.
    Anew,
}

impl Tenure {
    pub(super) fn of(lock: Option<Lock>) -> Self {
        Self(lock)
    }

    /// Looks whether the lock file is still there, and makes it anew where somebody has
    /// removed it.
    ///
    /// # Errors
    /// [`CreateError::Held`] where another process has taken the lock meanwhile, or a file of
    /// another user's is at its place that this one may not open: the table is no longer for
    /// it to write; and what else is in the way.
    pub fn renew(&mut self) -> Result<Renewed, CreateError> {
        let Some(lock) = &self.0 else {
            return Ok(Renewed::Unchanged);
        };
        let path = lock.path.clone();
        let is_there = lock.is_there();
        if is_there.map_err(|source| CreateError::call("look for", &path, source))? {
            return Ok(Renewed::Unchanged);
        }
        match Lock::take(path) {
            Ok(lock) => self.0 = Some(lock),
            // Who has made it has the folder, and will not be asked to give way.
            Err(CreateError::Call { path, source, .. })
                if source.kind() == io::ErrorKind::PermissionDenied && is_of_another(&path) =>
            {
                return Err(CreateError::Held { path, pid: None });
            }
            Err(error) => return Err(error),
        }
        Ok(Renewed::Anew)
    }

    pub(super) fn end(&mut self) {
        if let Some(lock) = self.0.take() {
            lock.remove();
        }
    }
}

fn whole(kind: i32) -> libc::flock {
    // SAFETY: numbers, of which zero stands for the whole file, and for no process.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = kind as libc::c_short;
    lock.l_whence = libc::SEEK_SET as libc::c_short;
    lock
}

/// Locks the file of a table that nobody has seen yet, until it is closed. Whoever may only
/// read it cannot have that lock, nor be in its way.
pub(super) fn hold(file: &File) -> io::Result<()> {
    let lock = whole(libc::F_WRLCK);
    // SAFETY: the structure is read.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether another process writes the table at `path`, by the lock on its file; and which,
/// as the table tells.
pub(super) fn writer_of(path: &Path) -> Option<Option<u32>> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .ok()?;
    // In the way of a lock for reading is one for writing alone.
    let mut lock = whole(libc::F_RDLCK);
    // SAFETY: the structure is read and written.
    let asked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
    if asked != 0 || lock.l_type == libc::F_UNLCK as libc::c_short {
        return None;
    }
    let mut pid = [0; 4];
    let is_told = file.read_exact_at(&mut pid, WRITER_AT).is_ok();
    Some(is_told.then(|| u32::from_ne_bytes(pid)))
}

/// Opens the lock file, or makes it; `None` where somebody else has just made one.
///
/// One that is there is opened as such: where files of other users in sticky folders are
/// protected (`fs.protected_regular`), not even root may open them to be made if need be.
fn open(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    let options = options
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened.map(Some),
    }
    match options.create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        made => made.map(Some),
    }
}

/// Whether `path` still names the file that is open.
pub(super) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether there is a file of another user's at `path`.
fn is_of_another(path: &Path) -> bool {
    // SAFETY: no arguments; cannot fail.
    let own = unsafe { libc::geteuid() };
    std::fs::symlink_metadata(path).is_ok_and(|named| named.uid() != own)
}

/// Who holds the lock, as far as the file tells.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
