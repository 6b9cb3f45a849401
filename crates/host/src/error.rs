//! What the host refuses or lacks.

use thiserror::Error;

/// Why something could not be read or changed on the host.
#[derive(Debug, Error)]
pub enum HostError {
    /// A tool did not do what it was asked.
    #[error("{command}: {reason}")]
    Failed {
        /// The tool and its arguments.
        command: String,
        /// Its first complaint, or its exit status.
        reason: String,
    },
    /// A tool printed something else than JSON of the form we know.
    #[error("{command} printed what cannot be read: {source}")]
    Unreadable {
        /// The tool and its arguments.
        command: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A tool is missing.
    #[error("{name} is not installed: apt install {package}")]
    Missing {
        /// The tool.
        name: String,
        /// Debian's package that has it.
        package: String,
    },
    /// CAP_NET_ADMIN is missing, here or for the tools.
    #[error("not permitted: run as root or with the ambient capability CAP_NET_ADMIN")]
    NotPermitted,
    /// The system refused something.
    #[error("{operation}: {source}")]
    System {
        /// What was asked of it.
        operation: String,
        /// What it says.
        source: std::io::Error,
    },
}

impl HostError {
    pub(crate) fn system(operation: &str, source: impl Into<std::io::Error>) -> Self {
        Self::System {
            operation: operation.to_owned(),
            source: source.into(),
        }
    }
}
