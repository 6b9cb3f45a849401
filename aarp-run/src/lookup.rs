//! Which file a command name stands for, as execvp() finds it.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};

use crate::refusal::{Reason, Refusal};

/// glibc's path for a process without PATH.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// Finds the file that execvp() would start for `name`, given the value of PATH.
pub(crate) fn find(name: &OsStr, path: Option<&OsStr>) -> Result<PathBuf, Refusal> {
    let refuse = |path: PathBuf, reason| Refusal {
        path,
        via: Vec::new(),
        reason,
    };
    if name.as_bytes().contains(&b'/') {
        let file = PathBuf::from(name);
        return match executable(&file) {
            Ok(()) => Ok(file),
            Err(reason) => Err(refuse(file, reason)),
        };
    }
    let mut denied = None;
    if !name.is_empty() {
        for folder in path
            .unwrap_or(OsStr::new(DEFAULT_PATH))
            .as_bytes()
            .split(|&octet| octet == b':')
        {
            let file = in_folder(folder, name);
            match executable(&file) {
                Ok(()) => return Ok(file),
                // Searching goes on past these, and only the kind that hides a
                // file of that name is worth telling.
                Err(Reason::NotFound) => {}
                // In a folder that this user may not search there may be anything.
                Err(Reason::NotExecutable) if is_hidden(&file) => {}
                Err(reason) => {
                    denied.get_or_insert((file, reason));
                }
            }
        }
    }
    Err(match denied {
        Some((file, reason)) => refuse(file, reason),
        None => refuse(PathBuf::from(name), Reason::CommandNotFound),
    })
}

/// Whether the folder does not let this user see what it has.
fn is_hidden(file: &Path) -> bool {
    let seen = file.symlink_metadata();
    seen.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

/// An empty element of PATH is the current folder; "./" keeps the name from being
/// looked up a second time.
fn in_folder(folder: &[u8], name: &OsStr) -> PathBuf {
    let folder = if folder.is_empty() { b"." } else { folder };
    let mut file = OsString::from(OsStr::from_bytes(folder));
    file.push("/");
    file.push(name);
    PathBuf::from(file)
}

/// Whether execve() would get past the permissions of `file`.
pub(crate) fn executable(file: &Path) -> Result<(), Reason> {
    let metadata = match file.metadata() {
        Ok(metadata) => metadata,
        Err(error) => {
            return Err(match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => Reason::NotFound,
                ErrorKind::PermissionDenied => Reason::NotExecutable,
                _ => Reason::Io(error),
            });
        }
    };
    if metadata.is_dir() {
        return Err(Reason::Directory);
    }
    if !metadata.is_file() {
        return Err(Reason::NotRegular);
    }
    rustix::fs::accessat(CWD, file, Access::EXEC_OK, AtFlags::EACCESS)
        .map_err(|_| Reason::NotExecutable)
}
