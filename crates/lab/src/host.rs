//! A host: a thread in namespaces of its own, and the init process of what it runs.
use std::ffi::{CStr, CString};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Weak, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use aarp_sys::netns;
use parking_lot::Mutex;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal};

use crate::command::{Command, Running};
use crate::error::Context;
use crate::wait::wait_until;
use crate::{Error, Result};

type Job = Box<dyn FnOnce() + Send>;

/// A thread that does what it is sent, in order, in its own namespaces.
#[derive(Debug)]
pub(crate) struct Worker {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(crate) fn start(name: &str) -> Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || inbox.into_iter().for_each(|job| job()))
            .context(|| format!("start a thread for {name}"))?;
        Ok(Self {
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Runs `job` on the thread and waits for what it returns; a panic goes on here.
    pub(crate) fn run<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        let (result, outcome) = mpsc::sync_channel(1);
        let job = move || {
            let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            // The asker waits; it is gone only if its own thread was torn down.
            let _ = result.send(done);
        };
        self.jobs
            .as_ref()
            .and_then(|jobs| jobs.send(Box::new(job)).ok())
            .and_then(|()| outcome.recv().ok())
            .expect("the thread of a host lives as long as the host")
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // Jobs catch their panics: nothing is left to report.
            let _ = thread.join();
        }
    }
}

/// What a running host is to its lab and to the programs started in it.
#[derive(Debug)]
pub struct Host {
    name: String,
    worker: Worker,
    init: Pid,
    init_fd: OwnedFd,
    dir: PathBuf,
    running: Mutex<Vec<Weak<Running>>>,
}

/// What is to be mounted over what, so that a host has names of its own. A machine
/// without /etc/hosts has nothing to put a file over: there the host gets a copy of
/// the whole folder, with that file in it.
fn names_for(dir: &Path, hosts_file: &Path) -> Result<(CString, &'static CStr)> {
    if Path::new("/etc/hosts").exists() {
        return Ok((cstring(hosts_file)?, c"/etc/hosts"));
    }
    let etc = dir.join("etc");
    fs::create_dir_all(&etc).context(|| format!("make {}", etc.display()))?;
    // What this user may not read is left out, and was not to be read before.
    std::process::Command::new("cp")
        .args(["-a", "/etc/."])
        .arg(&etc)
        .stderr(std::process::Stdio::null())
        .status()
        .context(|| "copy /etc".into())?;
    let file = etc.join("hosts");
    fs::copy(hosts_file, &file).context(|| format!("write {}", file.display()))?;
    Ok((cstring(&etc)?, c"/etc"))
}

impl Host {
    /// Makes a host; `hosts_file` is its /etc/hosts and `dir` its scratch folder.
    pub(crate) fn start(name: &str, dir: PathBuf, hosts_file: &Path) -> Result<Self> {
        fs::create_dir_all(&dir).context(|| format!("make {}", dir.display()))?;
        let worker = Worker::start(name)?;
        let (names, over) = names_for(&dir, hosts_file)?;
        let (init, init_fd) = worker.run(move || {
            netns::unshare_host().context(|| {
                "make namespaces (in a chroot: whose root must be a mount point)".into()
            })?;
            // Sockets and locks of a host's daemons are the host's own.
            netns::mount_tmpfs(c"/run").context(|| "mount /run".into())?;
            netns::mount_bind(&names, over)
                .context(|| format!("mount {}", over.to_string_lossy()))?;
            let (pid, _) = netns::fork_init().context(|| "start the init process".into())?;
            let pid = Pid::from_raw(pid).expect("fork returned a process id");
            let fd = pidfd_open(pid, PidfdFlags::empty()).context(|| "open init".into())?;
            Ok::<_, Error>((pid, fd))
        })?;
        Ok(Self {
            name: name.to_owned(),
            worker,
            init,
            init_fd,
            dir,
            running: Mutex::default(),
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process, seen from outside, whose namespaces are the host's.
    pub fn init_pid(&self) -> u32 {
        self.init.as_raw_nonzero().get().unsigned_abs()
    }

    /// Its scratch folder: outputs of its commands.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A command to be run in this host. Its environment is empty but for PATH,
    /// HOME, LANG and what is set.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command<'_> {
        Command::new(self, program.as_ref())
    }

    /// Runs `job` on a thread inside the host's namespaces: sockets it opens
    /// belong to the host and can be used anywhere afterwards. The thread is the
    /// host's only one: a job that blocks holds up the host. It cannot start
    /// threads.
    pub fn enter<R: Send + 'static>(&self, job: impl FnOnce() -> R + Send + 'static) -> R {
        self.worker.run(job)
    }

    /// Runs `ip` with these words: `host.ip("-6 route replace default via …")`.
    pub fn ip(&self, words: &str) -> Result<String> {
        let output = self.command("ip").args(words.split_whitespace()).run()?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs several `ip` commands, one a line, in one process.
    pub(crate) fn ip_batch(&self, family: &str, lines: &str) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let file = self.dir.join("ip.batch");
        fs::write(&file, lines).context(|| format!("write {}", file.display()))?;
        self.command("ip")
            .args([family, "-batch"])
            .arg(&file)
            .run()
            .map(drop)
    }

    /// Loads rules, as `nft -f`.
    pub fn nft(&self, rules: &str) -> Result<()> {
        let file = self.dir.join("nft.rules");
        fs::write(&file, rules).context(|| format!("write {}", file.display()))?;
        self.command("nft").arg("-f").arg(&file).run().map(drop)
    }

    /// Sets a value under /proc/sys by its dotted name.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        let value = value.to_owned();
        let what = format!("{}: set {name} = {value}", self.name);
        self.enter(move || fs::write(path, value)).context(|| what)
    }

    /// Whether a TCP port of the host is listening.
    pub fn is_tcp_listening(&self, port: u16) -> Result<bool> {
        const LISTEN: &str = "0A";
        self.has_socket(&["tcp", "tcp6"], port, Some(LISTEN))
    }

    /// Whether a UDP port of the host is bound.
    pub fn is_udp_bound(&self, port: u16) -> Result<bool> {
        self.has_socket(&["udp", "udp6"], port, None)
    }

    /// Whether a unix socket of the host is listening at `path`.
    pub fn is_unix_listening(&self, path: &str) -> Result<bool> {
        const ACCEPTING: &str = "00010000";
        let table = self.proc_net("unix")?;
        Ok(table.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.nth(3) == Some(ACCEPTING) && words.next_back() == Some(path)
        }))
    }

    /// Waits until a TCP port of the host is listening.
    pub fn wait_tcp(&self, port: u16, within: Duration) -> Result<()> {
        let what = format!("{}: TCP port {port} is listening", self.name);
        wait_until(&what, within, || self.is_tcp_listening(port))
    }

    /// Waits until a UDP port of the host is bound.
    pub fn wait_udp(&self, port: u16, within: Duration) -> Result<()> {
        let what = format!("{}: UDP port {port} is bound", self.name);
        wait_until(&what, within, || self.is_udp_bound(port))
    }

    /// Waits until a unix socket of the host is listening at `path`.
    pub fn wait_unix(&self, path: &str, within: Duration) -> Result<()> {
        let what = format!("{}: {path} is listening", self.name);
        wait_until(&what, within, || self.is_unix_listening(path))
    }

    fn proc_net(&self, table: &str) -> Result<String> {
        let path = format!("/proc/{}/net/{table}", self.init_pid());
        fs::read_to_string(&path).context(|| format!("read {path}"))
    }

    fn has_socket(&self, tables: &[&str], port: u16, state: Option<&str>) -> Result<bool> {
        let suffix = format!(":{port:04X}");
        for table in tables {
            let found = self.proc_net(table)?.lines().skip(1).any(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                words.get(1).is_some_and(|local| local.ends_with(&suffix))
                    && state.is_none_or(|state| words.get(3) == Some(&state))
            });
            if found {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends every process of the host at once, as a power failure would; its
    /// interfaces stay. No command can be started in it any more.
    pub fn power_off(&self) -> Result<()> {
        pidfd_send_signal(&self.init_fd, Signal::KILL)
            .context(|| format!("{}: end its init process", self.name))?;
        self.reap();
        Ok(())
    }

    pub(crate) fn adopt(&self, process: Weak<Running>) {
        let mut running = self.running.lock();
        running.retain(|known| known.strong_count() > 0);
        running.push(process);
    }

    /// Collects every ended child: the kernel lets init end last.
    fn reap(&self) {
        let mut running = self.running.lock();
        for process in running.drain(..).filter_map(|known| known.upgrade()) {
            process.kill_and_reap();
        }
        // Fails only when it has been collected already.
        let _ = rustix::process::waitpid(Some(self.init), WaitOptions::empty());
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Fails only when it is gone.
        let _ = pidfd_send_signal(&self.init_fd, Signal::KILL);
        self.reap();
    }
}

pub(crate) fn cstring(path: &Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(std::io::Error::from)
        .context(|| format!("use the path {}", path.display()))
}
