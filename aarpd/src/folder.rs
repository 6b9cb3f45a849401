//! The folder of the socket and the table: whoever may write there can put anything in their
//! place.

use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use aarp_host::failure::{Failure, code};
use aarp_sys::daemon::is_trusted;
use rustix::fs::Mode;
use rustix::process::umask;

/// Makes the folder of a file, but not those above it: for everybody to look into, or, if
/// `private`, for its own user alone. One that is there has to belong to one of the `trusted`
/// users, as has what stands in it, and be for nobody else to write: but for a group where the
/// sticky bit keeps what is there from being replaced, as the service of systemd has it.
pub(crate) fn make(path: &Path, private: bool, trusted: &[u32]) -> Result<(), Failure> {
    let Some(folder) = path.parent() else {
        return Ok(());
    };
    // A name without a folder is in this one.
    let folder = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let mode = if private { 0o700 } else { 0o755 };
    let make = || std::fs::DirBuilder::new().mode(mode).create(folder);
    match with_umask(!mode & 0o777, make) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let operation = format!("make the folder {}", folder.display());
            return Err(Failure::system(&operation, error));
        }
        _ => {}
    }
    let found = std::fs::metadata(folder)
        .map_err(|error| Failure::system(&format!("look at {}", folder.display()), error))?;
    match problem(&found, trusted) {
        None => Ok(()),
        Some(problem) => {
            let message = format!("the folder {}: {problem}", folder.display());
            Err(Failure::new(code::CONFIGURATION, message))
        }
    }
}

/// Why nothing that programs are to trust may stand in it.
fn problem(folder: &std::fs::Metadata, trusted: &[u32]) -> Option<String> {
    let (owner, mode) = (folder.uid(), folder.mode() & 0o7777);
    if !folder.is_dir() {
        return Some("is none".to_owned());
    }
    if !is_trusted(owner, trusted) {
        return Some(format!(
            "belongs to user {owner}, who could replace the table and the socket; expected root, \
             or the user whose daemon this is"
        ));
    }
    let others = match mode & 0o1000 {
        0 => 0o022,
        _ => 0o002,
    };
    (mode & others != 0).then(|| {
        format!(
            "others may write there (mode {mode:04o}), who could replace the table and the \
             socket; expected 0755 or less"
        )
    })
}

/// Does something with another umask: what it makes has its mode from the beginning. There is
/// one thread, which makes nothing else meanwhile.
pub(crate) fn with_umask<T>(mask: u32, make: impl FnOnce() -> T) -> T {
    let before = umask(Mode::from_raw_mode(mask));
    let made = make();
    umask(before);
    made
}
