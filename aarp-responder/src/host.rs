//! The edge to the host: `ip` and `nft`, each call checked.

use std::io::{ErrorKind, Write};
use std::net::Ipv6Addr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

use crate::failure::{Failure, code};
use crate::inventory::{self, Inventory, MARK_METRIC};
use crate::ruleset::{self, Observed, TABLE};

/// A tool that did not do what it was asked.
#[derive(Debug, Error)]
pub(crate) enum HostError {
    #[error("{command}: {reason}")]
    Failed { command: String, reason: String },
    #[error("{command} printed what cannot be read: {source}")]
    Unreadable {
        command: String,
        source: serde_json::Error,
    },
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        Self::new(code::SYSTEM, error)
    }
}

/// Where the tools are.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    ip: PathBuf,
    nft: PathBuf,
}

impl Host {
    /// Looks the tools up; a missing one is named with its package.
    pub(crate) fn find() -> Result<Self, Failure> {
        Ok(Self {
            ip: find_tool("ip", "iproute2")?,
            nft: find_tool("nft", "nftables")?,
        })
    }

    /// Addresses, interfaces and the default route as they are now.
    pub(crate) fn inventory(&self) -> Result<Inventory, HostError> {
        read_inventory(&self.ip)
    }

    /// Adds A to lo: never chosen as a source, known at once, marked as ours.
    pub(crate) fn add_anycast(&self, anycast: Ipv6Addr) -> Result<(), HostError> {
        let (address, metric) = (format!("{anycast}/128"), MARK_METRIC.to_string());
        let arguments = [
            "-6",
            "addr",
            "add",
            &address,
            "dev",
            "lo",
            "metric",
            &metric,
            "preferred_lft",
            "0",
            "nodad",
        ];
        run(&self.ip, &arguments, None).map(drop)
    }

    /// Whether packets to `anycast` are delivered here. The kernel takes an address
    /// at once and enters the route that does that a little later.
    pub(crate) fn delivers(&self, anycast: Ipv6Addr) -> Result<bool, HostError> {
        let address = format!("{anycast}/128");
        let arguments = ["-6", "route", "show", "table", "local", &address];
        Ok(!run(&self.ip, &arguments, None)?.trim().is_empty())
    }

    /// Removes an A that `add_anycast` added.
    pub(crate) fn remove_anycast(&self, anycast: Ipv6Addr) -> Result<(), HostError> {
        let address = format!("{anycast}/128");
        run(
            &self.ip,
            &["-6", "addr", "del", &address, "dev", "lo"],
            None,
        )
        .map(drop)
    }

    /// Applies one nft transaction.
    pub(crate) fn apply(&self, ruleset: &str) -> Result<(), HostError> {
        run(&self.nft, &["-f", "-"], Some(ruleset)).map(drop)
    }

    /// Our table as the kernel has it; none if there is none.
    pub(crate) fn observe(&self) -> Result<Option<Observed>, HostError> {
        let arguments = ["-j", "list", "table", "inet", TABLE];
        let json = match run(&self.nft, &arguments, None) {
            Ok(json) => json,
            Err(HostError::Failed { reason, .. }) if reason.contains("No such file") => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        match ruleset::observe(&json) {
            Ok(observed) => Ok(Some(observed)),
            Err(source) => Err(HostError::Unreadable {
                command: "nft -j list table".to_owned(),
                source,
            }),
        }
    }
}

/// The inventory alone, for which no nft is needed.
pub(crate) fn inventory() -> Result<Inventory, Failure> {
    Ok(read_inventory(&find_tool("ip", "iproute2")?)?)
}

fn read_inventory(ip: &Path) -> Result<Inventory, HostError> {
    let addresses = run(ip, &["-j", "addr", "show"], None)?;
    let routes = run(ip, &["-j", "-6", "route", "show", "default"], None)?;
    inventory::parse(&addresses, &routes).map_err(|source| HostError::Unreadable {
        command: "ip -j addr / route".to_owned(),
        source,
    })
}

/// PATH first, then where Debian puts system tools, which a user's or a
/// service's PATH may lack.
fn find_tool(name: &str, package: &str) -> Result<PathBuf, Failure> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let standard = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .filter(|folder| folder.is_absolute())
        .chain(standard)
        .map(|folder| folder.join(name))
        .find(|file| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok())
        .ok_or_else(|| {
            Failure::new(
                code::UNAVAILABLE,
                format!("{name} is not installed: apt install {package}"),
            )
        })
}

fn run(tool: &Path, arguments: &[&str], input: Option<&str>) -> Result<String, HostError> {
    let command = format!(
        "{} {}",
        tool.file_name().unwrap_or_default().to_string_lossy(),
        arguments.join(" ")
    );
    let failed = |reason: String| HostError::Failed {
        command: command.clone(),
        reason,
    };
    let mut child = Command::new(tool)
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
