//! The folder of a lab's files, and those that dead labs left behind.
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use tempfile::TempDir;

use crate::error::Context;
use crate::{Error, Result};

const PREFIX: &str = "aarp-lab.";

/// Locked as long as the lab lives; its last name only once it is locked.
const LOCK: &str = ".lock";

/// A folder that is removed with its lab; after a SIGKILL, by the next one.
#[derive(Debug)]
pub(crate) struct Folder {
    dir: TempDir,
    // Held, not read.
    _lock: File,
}

impl Folder {
    pub(crate) fn make() -> Result<Self> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        let what = || format!("make a folder in {}", parent.display());
        let dir = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&parent)
            .context(what)?;
        if dir.path().starts_with("/run") {
            let error = std::io::Error::other("every host has a /run of its own");
            return Err(Error::Io {
                what: format!("use {}", dir.path().display()),
                reason: error,
            });
        }
        // Other users of the lab's hosts may look.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).context(what)?;
        let unlocked = dir.path().join(".unlocked");
        let lock = File::create(&unlocked).context(what)?;
        lock.lock().context(what)?;
        fs::rename(&unlocked, dir.path().join(LOCK)).context(what)?;
        Ok(Self { dir, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Removes this user's folders whose labs are gone. What cannot be removed now is
/// left for another time.
fn sweep(parent: &Path) {
    let user = rustix::process::geteuid().as_raw();
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(PREFIX)
            && entry
                .metadata()
                .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == user);
        if !ours {
            continue;
        }
        if let Ok(lock) = File::open(entry.path().join(LOCK))
            && lock.try_lock().is_ok()
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
