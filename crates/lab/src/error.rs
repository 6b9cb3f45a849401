//! What can go wrong in a lab.
use std::io;
use std::time::Duration;

/// A failure; it names the operation and its object.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call or a file operation failed.
    #[error("{what}: {reason}")]
    Io {
        /// The operation and its object.
        what: String,
        /// The reason.
        reason: io::Error,
    },
    /// The description of a network or scenario is wrong.
    #[error("{file}: {message}")]
    Scenario {
        /// Its file.
        file: String,
        /// What is wrong, with the key.
        message: String,
    },
    /// A program that is needed is not installed.
    #[error("{program} is needed and not installed{}", debian(.package))]
    Missing {
        /// The program.
        program: String,
        /// The Debian package that has it, where known.
        package: Option<&'static str>,
    },
    /// A device that is needed cannot be opened.
    #[error("{device} is needed and cannot be opened: {reason}")]
    Device {
        /// Its node.
        device: String,
        /// The reason.
        reason: io::Error,
    },
    /// The user may not make namespaces.
    #[error("not permitted to make a network in namespaces: {0}")]
    NotPermitted(String),
    /// A command ended otherwise than it had to.
    #[error("{host}: `{command}` ended with {status}{}", tail(.stderr))]
    Command {
        /// The host it ran in.
        host: String,
        /// The command line.
        command: String,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it wrote to standard error.
        stderr: String,
    },
    /// A condition did not come true in time.
    #[error("{what}: not within {after:?}")]
    Timeout {
        /// The condition.
        what: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The evidence is incomplete.
    #[error("capture {capture}: {dropped} packets were lost for want of room")]
    Dropped {
        /// Which capture.
        capture: String,
        /// Number of lost packets.
        dropped: u32,
    },
    /// Something is named that does not exist.
    #[error("there is no {kind} named {name:?}")]
    Unknown {
        /// Kind of thing.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// SIGINT or SIGTERM came.
    #[error("interrupted")]
    Interrupted,
}

fn debian(name: &Option<&'static str>) -> String {
    name.map(|name| format!("; Debian package: {name}"))
        .unwrap_or_default()
}

fn tail(stderr: &str) -> String {
    let stderr = stderr.trim_end();
    if stderr.is_empty() {
        String::new()
    } else {
        format!(": {stderr}")
    }
}

/// The result of an operation on a lab.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Adds the operation and its object to an error of the system.
pub(crate) trait Context<T> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Context<T> for Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|reason| Error::Io {
            what: what(),
            reason: reason.into(),
        })
    }
}
