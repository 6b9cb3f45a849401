//! The tools by which the host is asked and changed.

use std::io::{ErrorKind, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::HostError;

/// An installed program.
#[derive(Clone, Debug)]
pub struct Tool {
    path: PathBuf,
}

impl Tool {
    /// The program of this file.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// `ip` of iproute2.
    ///
    /// # Errors
    /// [`HostError::Missing`].
    pub fn ip() -> Result<Self, HostError> {
        Self::find("ip", "iproute2")
    }

    /// `nft` of nftables.
    ///
    /// # Errors
    /// [`HostError::Missing`].
    pub fn nft() -> Result<Self, HostError> {
        Self::find("nft", "nftables")
    }

    /// Looks a tool up in PATH first, then where Debian puts system tools, which a
    /// user's or a service's PATH may lack.
    ///
    /// # Errors
    /// [`HostError::Missing`], with Debian's package.
    pub fn find(name: &str, package: &str) -> Result<Self, HostError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let standard = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
        std::env::split_paths(&path)
            .filter(|folder| folder.is_absolute())
            .chain(standard)
            .map(|folder| folder.join(name))
            .find(|file| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok())
            .map(|path| Self { path })
            .ok_or_else(|| HostError::Missing {
                name: name.to_owned(),
                package: package.to_owned(),
            })
    }

    /// Runs it to its end and returns what it printed.
    ///
    /// # Errors
    /// [`HostError::Failed`] when it cannot be started, fails, or prints something
    /// else than UTF-8.
    pub fn run(&self, arguments: &[&str], input: Option<&str>) -> Result<String, HostError> {
        let command = format!(
            "{} {}",
            self.path.file_name().unwrap_or_default().to_string_lossy(),
            arguments.join(" ")
        );
        let failed = |reason: String| HostError::Failed {
            command: command.clone(),
            reason,
        };
        let mut child = Command::new(&self.path)
            .args(arguments)
            .env("LC_ALL", "C")
            .env_remove("LD_PRELOAD")
            // Out of the terminal's foreground group: a second ^C must not kill the
            // tool that is putting things back.
            .process_group(0)
            .stdin(if input.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| failed(e.to_string()))?;
        if let (Some(text), Some(mut stdin)) = (input, child.stdin.take()) {
            match stdin.write_all(text.as_bytes()) {
                // It ended before it read everything: its status tells why.
                Err(e) if e.kind() == ErrorKind::BrokenPipe => {}
                other => other.map_err(|e| failed(e.to_string()))?,
            }
        }
        let output = child
            .wait_with_output()
            .map_err(|e| failed(e.to_string()))?;
        if output.status.success() {
            return String::from_utf8(output.stdout).map_err(|e| failed(e.to_string()));
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let reason = complaint
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty())
            .map_or_else(|| output.status.to_string(), str::to_owned);
        Err(failed(reason))
    }
}
