//! Running labs, as other invocations of the tool find them.
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

use crate::error::Context;
use crate::{Error, Lab, Result};

/// What is known of a running lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// The process of the tool that runs it.
    pub pid: i32,
    /// When that process started, in clock ticks since boot.
    pub started: u64,
    /// Whether it is in a user namespace of its own.
    pub rootless: bool,
    /// The init process of each host, and when it started.
    pub hosts: BTreeMap<String, (i32, u64)>,
}

/// The folder of the state files; it must be asked for before a user namespace
/// makes everybody root.
#[derive(Clone, Debug)]
pub struct StateDir(PathBuf);

/// A lab's state file, locked as long as the lab runs.
#[derive(Debug)]
pub struct Registration {
    path: PathBuf,
    // Held, not read: the lock says that the lab runs.
    _file: File,
}

impl Drop for Registration {
    fn drop(&mut self) {
        // The lock, not the file, says that a lab runs: a file left is harmless.
        let _ = fs::remove_file(&self.path);
    }
}

impl StateDir {
    /// `$XDG_RUNTIME_DIR/aarp-lab`, `/run/aarp-lab` for root, else a folder of the
    /// user's own among the temporary files.
    pub fn open() -> Result<Self> {
        let user = geteuid().as_raw();
        if let Some(dir) = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()) {
            return Self::own(PathBuf::from(dir).join("aarp-lab"), user);
        }
        // The root of a user namespace is not the owner of /run.
        if user == 0
            && let Ok(states) = Self::own(PathBuf::from("/run/aarp-lab"), user)
        {
            return Ok(states);
        }
        Self::own(std::env::temp_dir().join(format!("aarp-lab-{user}")), user)
    }

    fn own(path: PathBuf, user: u32) -> Result<Self> {
        let what = || format!("use the folder {}", path.display());
        DirBuilder::new()
            .mode(0o700)
            .recursive(true)
            .create(&path)
            .context(what)?;
        let metadata = fs::symlink_metadata(&path).context(what)?;
        if !metadata.is_dir() || metadata.uid() != user || metadata.mode() & 0o022 != 0 {
            let error = std::io::Error::other("it is not a folder of this user alone");
            return Err(error).context(what);
        }
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        // A scenario's file is known by its last part.
        let name = name.rsplit('/').next().unwrap_or(name);
        self.0.join(format!("{name}.json"))
    }

    /// Makes a lab known under a name that no other running lab has.
    pub fn register(&self, name: &str, lab: &Lab, rootless: bool) -> Result<Registration> {
        let path = self.path(name);
        let what = || format!("write {}", path.display());
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .context(what)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let error = std::io::Error::other("a lab of this name is running");
                return Err(error).context(what);
            }
            Err(TryLockError::Error(error)) => return Err(error).context(what),
        }
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        let mut hosts = BTreeMap::new();
        for host in lab.hosts() {
            let init = host.init_pid().cast_signed();
            hosts.insert(host.name().to_owned(), (init, start_time(init)?));
        }
        let state = State {
            pid,
            started: start_time(pid)?,
            rootless,
            hosts,
        };
        let text = serde_json::to_string(&state)
            .map_err(std::io::Error::from)
            .context(what)?;
        file.set_len(0).context(what)?;
        file.rewind().context(what)?;
        file.write_all(text.as_bytes()).context(what)?;
        Ok(Registration { path, _file: file })
    }

    /// The running lab of this name, if there is one.
    pub fn find(&self, name: &str) -> Result<Option<State>> {
        let path = self.path(name);
        let what = || format!("read {}", path.display());
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).context(what),
        };
        // Nobody holds it: the lab is gone, however it ended.
        if file.try_lock_shared().is_ok() {
            return Ok(None);
        }
        let text = std::io::read_to_string(&file).context(what)?;
        let state: State = serde_json::from_str(&text)
            .map_err(std::io::Error::from)
            .context(what)?;
        let ours = start_time(state.pid).is_ok_and(|started| started == state.started);
        Ok(ours.then_some(state))
    }
}

/// When a process started, in clock ticks since boot: with its id its identity.
fn start_time(pid: i32) -> Result<u64> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).context(|| format!("read {path}"))?;
    // The name, in parentheses, may hold anything; 19 fields lie between.
    stat.rsplit_once(')')
        .and_then(|(_, rest)| rest.split_whitespace().nth(19)?.parse().ok())
        .ok_or_else(|| std::io::Error::other("no start time"))
        .context(|| format!("read {path}"))
}

/// A descriptor of a process that started at `started`.
fn open_process(pid: i32, started: u64) -> Result<OwnedFd> {
    let what = || format!("find process {pid}");
    let id = Pid::from_raw(pid)
        .ok_or_else(|| std::io::Error::other("no process id"))
        .context(what)?;
    let fd = pidfd_open(id, PidfdFlags::empty()).context(what)?;
    // Looked at after it was opened: the descriptor is of this very process.
    if start_time(pid)? != started {
        return Err(std::io::Error::other("it is another process by now")).context(what);
    }
    Ok(fd)
}

/// Waits for the end of a process; collected by its parent or not, it has ended.
fn ended(process: &OwnedFd, within: Duration) -> Result<bool> {
    let within = within.try_into().ok();
    let ready = poll(&mut [PollFd::new(process, PollFlags::IN)], within.as_ref())
        .context(|| "wait for a process".into())?;
    Ok(ready > 0)
}

impl State {
    /// Ends the lab and waits until it is gone.
    pub fn end(&self, within: Duration) -> Result<()> {
        let process = open_process(self.pid, self.started)?;
        pidfd_send_signal(&process, Signal::TERM)
            .context(|| format!("end process {}", self.pid))?;
        if !ended(&process, within)? {
            pidfd_send_signal(&process, Signal::KILL)
                .context(|| format!("end process {}", self.pid))?;
            if !ended(&process, within)? {
                return Err(Error::Timeout {
                    what: format!("process {} ends", self.pid),
                    after: within,
                });
            }
        }
        Ok(())
    }

    /// Moves this process, which must have one thread, into a host of the lab.
    pub fn join(&self, host: &str) -> Result<()> {
        let (pid, started) = self.hosts.get(host).ok_or_else(|| Error::Unknown {
            kind: "host",
            name: host.to_owned(),
        })?;
        let init = open_process(*pid, *started)?;
        aarp_sys::netns::join(init, self.rootless).context(|| format!("enter host {host}"))
    }
}
