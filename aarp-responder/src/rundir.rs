//! The run directory: who runs which A in this network namespace, on disk.
//!
//! `RUN_DIR/responder/NETNS/A.lock` is held (flock) by the instance that runs A,
//! so that the kernel itself lets go of it when the process dies; `A.json` is its
//! record. NETNS keeps apart namespaces that share /run, as `ip netns exec` does.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Seek, Write};
use std::net::Ipv6Addr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::say;
use crate::state::{Process, Record, start_time};
use aarp_host::failure::{Failure, code};

/// How long a lock may be held by somebody who is only tidying up.
const PATIENCE: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_millis(20);

/// The directory of this network namespace.
#[derive(Clone, Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
}

/// A lock held on one file; the file goes away with it.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
    path: PathBuf,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is still locked: whoever waits for it sees that it is gone.
        if let Err(failure) = remove_file(&self.path) {
            say(&failure.to_string());
        }
    }
}

impl RunDir {
    /// Names the directory without making it.
    pub(crate) fn locate(base: &Path) -> Result<Self, Failure> {
        let namespace = std::fs::metadata("/proc/self/ns/net")
            .map_err(|e| Failure::system("read /proc/self/ns/net", e))?;
        let name = format!("{}-{}", namespace.dev(), namespace.ino());
        Ok(Self {
            path: base.join("responder").join(name),
        })
    }

    /// Makes the directory; only root may look into it, or anybody could hold
    /// a lock in it and so keep a responder from starting. The one above it may be
    /// shared: what somebody else has made there is not used.
    pub(crate) fn create(&self) -> Result<(), Failure> {
        let private = self.path.parent().unwrap_or(&self.path);
        let base = private.parent().unwrap_or(private);
        let make = |path: &Path, mode| {
            DirBuilder::new()
                .recursive(true)
                .mode(mode)
                .create(path)
                .map_err(|e| Failure::system(&format!("create {}", path.display()), e))
        };
        make(base, 0o755)?;
        make(private, 0o700)?;
        require_own(private)?;
        make(&self.path, 0o700)
    }

    fn file(&self, anycast: Ipv6Addr, extension: &str) -> PathBuf {
        self.path.join(format!("{anycast}.{extension}"))
    }

    /// Takes the lock of `anycast`, or says which process runs it.
    pub(crate) fn claim(&self, anycast: Ipv6Addr, me: Process) -> Result<Lock, Failure> {
        let path = self.file(anycast, "lock");
        let deadline = Instant::now() + PATIENCE;
        loop {
            // The last responder to leave removes the directory.
            self.create()?;
            match try_lock(&path)? {
                Ok(mut lock) => {
                    lock.write_owner(me)?;
                    return Ok(lock);
                }
                // A holder that has not signed yet, or is no more, is about to
                // sign or to let go: wait for that, within limits.
                Err(owner) => {
                    let alive = owner.filter(|p| is_alive(*p));
                    if alive.is_some() || Instant::now() >= deadline {
                        let who = alive.map_or_else(
                            || "another process".to_owned(),
                            |p| format!("process {}", p.pid),
                        );
                        return Err(Failure::new(
                            code::UNAVAILABLE,
                            format!("{anycast} is run by {who} already; stop that one first"),
                        ));
                    }
                    std::thread::sleep(RETRY);
                }
            }
        }
    }

    /// Takes the lock of `anycast` if nobody holds it.
    pub(crate) fn claim_if_free(&self, anycast: Ipv6Addr) -> Result<Option<Lock>, Failure> {
        Ok(try_lock(&self.file(anycast, "lock"))?.ok())
    }

    /// Takes the lock under which the shared nft table is changed.
    pub(crate) fn lock_table(&self) -> Result<Lock, Failure> {
        let path = self.path.join("table.lock");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Ok(lock) = try_lock(&path)? {
                return Ok(lock);
            }
            if Instant::now() >= deadline {
                return Err(Failure::system(
                    "lock",
                    format!("{} is held too long", path.display()),
                ));
            }
            std::thread::sleep(RETRY);
        }
    }

    /// Replaces the record of its A; a reader sees the old or the new one.
    pub(crate) fn write(&self, record: &Record) -> Result<(), Failure> {
        let path = self.file(record.anycast, "json");
        let new = self.file(record.anycast, "json.new");
        let mut text =
            serde_json::to_string(record).map_err(|e| Failure::system("encode the record", e))?;
        text.push('\n');
        std::fs::write(&new, text)
            .and_then(|()| std::fs::rename(&new, &path))
            .map_err(|e| Failure::system(&format!("write {}", path.display()), e))
    }

    /// Removes the record of `anycast`.
    pub(crate) fn forget(&self, anycast: Ipv6Addr) -> Result<(), Failure> {
        for extension in ["json.new", "json"] {
            remove_file(&self.file(anycast, extension))?;
        }
        Ok(())
    }

    /// All records, of live and of dead processes; one that cannot be read
    /// still names its A.
    pub(crate) fn records(&self) -> Result<Vec<(Ipv6Addr, Option<Record>)>, Failure> {
        let failed = |e| Failure::system(&format!("read {}", self.path.display()), e);
        let entries = match std::fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(failed(e)),
        };
        let mut records = Vec::new();
        for entry in entries {
            let name = entry.map_err(failed)?.file_name();
            let anycast = name
                .to_str()
                .and_then(|n| n.strip_suffix(".json"))
                .and_then(|n| n.parse::<Ipv6Addr>().ok());
            let Some(anycast) = anycast else { continue };
            let record = match std::fs::read_to_string(self.path.join(&name)) {
                Ok(text) => serde_json::from_str(&text).ok(),
                // Its responder has just gone.
                Err(e) if e.kind() == ErrorKind::NotFound => continue,
                Err(e) => return Err(failed(e)),
            };
            records.push((anycast, record));
        }
        records.sort_by_key(|(anycast, _)| *anycast);
        Ok(records)
    }

    /// Removes the directory when nothing of any responder is left in it.
    pub(crate) fn remove_if_idle(&self) -> Result<(), Failure> {
        match std::fs::remove_dir(&self.path) {
            Err(e) if !matches!(e.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::NotFound) => {
                Err(Failure::system(
                    &format!("remove {}", self.path.display()),
                    e,
                ))
            }
            _ => Ok(()),
        }
    }
}

impl Lock {
    fn write_owner(&mut self, owner: Process) -> Result<(), Failure> {
        let text =
            serde_json::to_string(&owner).map_err(|e| Failure::system("encode the owner", e))?;
        self.file
            .set_len(0)
            .and_then(|()| self.file.rewind())
            .and_then(|()| self.file.write_all(text.as_bytes()))
            .map_err(|e| Failure::system(&format!("write {}", self.path.display()), e))
    }
}

/// Refuses a directory in which somebody else may put or hold something.
fn require_own(path: &Path) -> Result<(), Failure> {
    let refused = |why: &dyn std::fmt::Display| {
        Failure::system(&format!("keep records in {}", path.display()), why)
    };
    let of = std::fs::symlink_metadata(path).map_err(|e| refused(&e))?;
    if !of.is_dir() {
        return Err(refused(&"no directory"));
    }
    if of.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused(&format!("belongs to user {}", of.uid())));
    }
    if of.mode() & 0o022 != 0 {
        return Err(refused(&"others may write to it"));
    }
    Ok(())
}

fn remove_file(path: &Path) -> Result<(), Failure> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => {
            Err(Failure::system(&format!("remove {}", path.display()), e))
        }
        _ => Ok(()),
    }
}

/// The lock, or who holds it (if they have signed).
fn try_lock(path: &Path) -> Result<Result<Lock, Option<Process>>, Failure> {
    let failed = |e: std::io::Error| Failure::system(&format!("lock {}", path.display()), e);
    loop {
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut text = String::new();
                file.read_to_string(&mut text).map_err(failed)?;
                return Ok(Err(serde_json::from_str(&text).ok()));
            }
            Err(TryLockError::Error(e)) => return Err(failed(e)),
        }
        // The holder before us may have removed the file between our open and
        // our lock: then the name is free for others, and the lock worthless.
        let same = match std::fs::metadata(path) {
            Ok(now) => {
                let ours = file.metadata().map_err(failed)?;
                (now.dev(), now.ino()) == (ours.dev(), ours.ino())
            }
            Err(e) if e.kind() == ErrorKind::NotFound => false,
            Err(e) => return Err(failed(e)),
        };
        if same {
            return Ok(Ok(Lock {
                file,
                path: path.to_owned(),
            }));
        }
    }
}

/// This process.
pub(crate) fn this_process() -> Result<Process, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")
        .map_err(|e| Failure::system("read /proc/self/stat", e))?;
    let started = start_time(&stat)
        .ok_or_else(|| Failure::system("read /proc/self/stat", "no start time"))?;
    Ok(Process {
        pid: std::process::id(),
        started,
    })
}

/// Whether that very process still runs.
pub(crate) fn is_alive(process: Process) -> bool {
    std::fs::read_to_string(format!("/proc/{}/stat", process.pid))
        .ok()
        .and_then(|stat| start_time(&stat))
        == Some(process.started)
}
