//! Programs started in a host.
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open, pidfd_send_signal};

use crate::error::Context;
use crate::host::Host;
use crate::wait::{check_interrupted, wait_until};
use crate::{Error, Result, tools};

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// How long a command in the foreground may take unless it says otherwise.
pub const FOREGROUND_LIMIT: Duration = Duration::from_secs(60);

/// A command to be run in a host; like [`std::process::Command`].
#[derive(Debug)]
pub struct Command<'h> {
    host: &'h Host,
    inner: std::process::Command,
    missing: Option<Error>,
    line: String,
    limit: Duration,
    stdout: Option<PathBuf>,
    stderr: Option<PathBuf>,
    inherit: bool,
}

impl<'h> Command<'h> {
    pub(crate) fn new(host: &'h Host, program: &OsStr) -> Self {
        // Looked up here, so that what is missing is named with its package.
        let found = tools::find(&program.to_string_lossy());
        let mut inner = std::process::Command::new(found.as_deref().unwrap_or(program.as_ref()));
        inner.arg0(program).env_clear().stdin(Stdio::null());
        inner
            .env("PATH", tools::path())
            .env("HOME", host.dir())
            .env("LANG", "C.UTF-8");
        Self {
            host,
            inner,
            missing: found.err(),
            line: program.to_string_lossy().into_owned(),
            limit: FOREGROUND_LIMIT,
            stdout: None,
            stderr: None,
            inherit: false,
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.line.push(' ');
        self.line.push_str(&arg.as_ref().to_string_lossy());
        self.inner.arg(arg);
        self
    }

    /// Adds arguments.
    pub fn args(self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// Sets an environment variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.inner.env(name, value);
        self
    }

    /// Sets environment variables.
    pub fn envs<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.inner.envs(variables);
        self
    }

    /// Sets the current folder.
    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.inner.current_dir(dir);
        self
    }

    /// Runs it as this user and group (root only).
    pub fn user(mut self, uid: u32, gid: u32) -> Self {
        self.inner.uid(uid).gid(gid);
        self
    }

    /// Gives it an input other than /dev/null; with [`Stdio::piped`] see
    /// [`Process::take_stdin`].
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.inner.stdin(stdin);
        self
    }

    /// Writes its standard output to this file instead of one in the host's folder.
    pub fn stdout_to(mut self, path: impl Into<PathBuf>) -> Self {
        self.stdout = Some(path.into());
        self
    }

    /// Writes its standard error to this file instead of one in the host's folder.
    pub fn stderr_to(mut self, path: impl Into<PathBuf>) -> Self {
        self.stderr = Some(path.into());
        self
    }

    /// Gives it the terminal of this process, and leaves it in its process group.
    pub fn inherit_terminal(mut self) -> Self {
        self.inherit = true;
        self
    }

    /// How long [`output`](Self::output) and [`run`](Self::run) wait: 60 s unless set.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Starts it. It ends at the latest when the [`Process`] or the lab is dropped.
    pub fn spawn(mut self) -> Result<Process> {
        if let Some(error) = self.missing {
            return Err(error);
        }
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let base = Path::new(self.inner.get_program())
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let dir = self.host.dir();
        let default = |end: &str| dir.join(format!("{number}-{base}.{end}"));
        let stdout = self.stdout.unwrap_or_else(|| default("stdout"));
        let stderr = self.stderr.unwrap_or_else(|| default("stderr"));
        if self.inherit {
            self.inner.stdin(Stdio::inherit());
        } else {
            let create =
                |path: &Path| File::create(path).context(|| format!("create {}", path.display()));
            self.inner
                .stdout(create(&stdout)?)
                .stderr(create(&stderr)?)
                .process_group(0);
        }
        let line = self.line;
        let what = format!("{}: start `{line}`", self.host.name());
        let mut inner = self.inner;
        let spawned = self.host.enter(move || inner.spawn());
        let mut child = spawned.context(|| what.clone())?;
        let pid = Pid::from_child(&child);
        let fd = pidfd_open(pid, PidfdFlags::empty()).context(|| what)?;
        let stdin = child.stdin.take();
        let running = Arc::new(Running {
            child: Mutex::new(child),
            pid,
            fd,
            group: !self.inherit,
        });
        self.host.adopt(Arc::downgrade(&running));
        Ok(Process {
            running,
            stdin,
            host: self.host.name().to_owned(),
            line,
            stdout,
            stderr,
        })
    }

    /// Runs it to its end, whatever its exit status.
    pub fn output(self) -> Result<Output> {
        let limit = self.limit;
        let process = self.spawn()?;
        let status = process.wait(limit)?;
        Ok(Output {
            status,
            stdout: read(&process.stdout)?,
            stderr: read(&process.stderr)?,
        })
    }

    /// Runs it to its end; another exit status than 0 is an error.
    pub fn run(self) -> Result<Output> {
        let host = self.host.name().to_owned();
        let command = self.line.clone();
        let output = self.output()?;
        if output.status.success() {
            return Ok(output);
        }
        Err(Error::Command {
            host,
            command,
            status: output.status,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).context(|| format!("read {}", path.display()))
}

/// The kernel's side of a started program, shared with its host.
#[derive(Debug)]
pub(crate) struct Running {
    child: Mutex<std::process::Child>,
    pid: Pid,
    fd: OwnedFd,
    group: bool,
}

impl Running {
    fn try_wait(&self) -> std::io::Result<Option<ExitStatus>> {
        let mut child = self.child.lock();
        child.try_wait()
    }

    /// Ends it and what is left of its process group.
    pub(crate) fn kill_and_reap(&self) {
        let mut child = self.child.lock();
        if matches!(child.try_wait(), Ok(Some(_))) {
            return;
        }
        // Both fail only when nothing is left to be ended. Not collected yet, its
        // process id, and so its group's, cannot be another's.
        if self.group {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
        let _ = pidfd_send_signal(&self.fd, Signal::KILL);
        let _ = child.wait();
    }
}

/// A program running, or ended, in a host. Dropping it ends it.
#[derive(Debug)]
pub struct Process {
    running: Arc<Running>,
    stdin: Option<ChildStdin>,
    host: String,
    line: String,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Its process id, seen from outside the host.
    pub fn pid(&self) -> u32 {
        self.running.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Its command line, for messages.
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The writing end of its standard input, if that was piped.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.stdin.take()
    }

    /// What it has written to standard output so far.
    pub fn stdout(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&read(&self.stdout)?).into_owned())
    }

    /// What it has written to standard error so far.
    pub fn stderr(&self) -> Result<String> {
        Ok(String::from_utf8_lossy(&read(&self.stderr)?).into_owned())
    }

    /// Its exit status if it has ended.
    pub fn try_wait(&self) -> Result<Option<ExitStatus>> {
        self.running
            .try_wait()
            .context(|| format!("{}: wait for `{}`", self.host, self.line))
    }

    /// Waits for its end.
    pub fn wait(&self, within: Duration) -> Result<ExitStatus> {
        const SLICE: Duration = Duration::from_millis(100);
        let start = Instant::now();
        loop {
            let left = within.saturating_sub(start.elapsed());
            let slice = left.min(SLICE).try_into().expect("a tenth of a second");
            let mut fds = [PollFd::new(&self.running.fd, PollFlags::IN)];
            match poll(&mut fds, Some(&slice)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error).context(|| format!("wait for `{}`", self.line)),
            }
            if let Some(status) = self.try_wait()? {
                return Ok(status);
            }
            check_interrupted()?;
            if left.is_zero() {
                return Err(Error::Timeout {
                    what: format!("{}: `{}` ends", self.host, self.line),
                    after: within,
                });
            }
        }
    }

    /// Waits until standard output contains `text`.
    pub fn wait_stdout(&self, text: &str, within: Duration) -> Result<()> {
        self.wait_text("standard output", text, within, Self::stdout)
    }

    /// Waits until standard error contains `text`.
    pub fn wait_stderr(&self, text: &str, within: Duration) -> Result<()> {
        self.wait_text("standard error", text, within, Self::stderr)
    }

    fn wait_text(
        &self,
        stream: &str,
        text: &str,
        within: Duration,
        read: impl Fn(&Self) -> Result<String>,
    ) -> Result<()> {
        let what = format!("{}: {text:?} on the {stream} of `{}`", self.host, self.line);
        wait_until(&what, within, || {
            // Asked before the text is read: all that it wrote has been seen.
            let ended = self.try_wait()?;
            if read(self)?.contains(text) {
                return Ok(true);
            }
            match ended {
                None => Ok(false),
                Some(status) => Err(self.failed(status)?),
            }
        })
    }

    /// The error that it ended, and should not have, like this.
    pub(crate) fn failed(&self, status: ExitStatus) -> Result<Error> {
        Ok(Error::Command {
            host: self.host.clone(),
            command: self.line.clone(),
            status,
            stderr: self.stderr()?,
        })
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        pidfd_send_signal(&self.running.fd, signal)
            .context(|| format!("{}: signal `{}`", self.host, self.line))
    }

    /// Asks it to end by SIGTERM, and waits for that.
    pub fn terminate(&self, within: Duration) -> Result<ExitStatus> {
        if let Some(status) = self.try_wait()? {
            return Ok(status);
        }
        self.signal(Signal::TERM)?;
        self.wait(within)
    }

    /// Ends it and what is left of its process group.
    pub fn kill(&self) {
        self.running.kill_and_reap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.running.kill_and_reap();
    }
}
