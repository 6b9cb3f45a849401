//! One writer for one table: a lock file beside it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::create::CreateError;

/// How often a lock file that somebody removes is made anew.
const ATTEMPTS: usize = 8;

/// The lock of a table, held for as long as this lives.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    /// Takes the lock, and writes this process's id into it.
    pub(super) fn take(path: PathBuf) -> Result<Self, CreateError> {
        let failed = |source| CreateError::call("lock", &path, source);
        for _ in 0..ATTEMPTS {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
                .open(&path)
                .map_err(failed)?;
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
            let lock = Self { path, _file: file };
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
            "it is removed again and again by somebody else",
        )))
    }

    /// Removes the file, and lets others take the lock.
    pub(super) fn remove(self) {
        // Where it cannot be removed it stays, and is no obstacle.
        let _ = std::fs::remove_file(&self.path);
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

/// Who holds the lock, as far as the file tells.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(16).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
