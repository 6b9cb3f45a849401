//! What ends a daemon, and with which exit status.

use thiserror::Error;

use crate::HostError;

/// Exit statuses (sysexits.h), as all daemons of the project use them.
pub mod code {
    /// A wrong command line.
    pub const USAGE: u8 = 64;
    /// Something needed is missing.
    pub const UNAVAILABLE: u8 = 69;
    /// The system refused something.
    pub const SYSTEM: u8 = 71;
    /// Not permitted.
    pub const NOT_PERMITTED: u8 = 77;
    /// A bad configuration.
    pub const CONFIGURATION: u8 = 78;
}

/// One line for stderr and the exit status that goes with it.
#[derive(Debug, Error)]
#[error("{message}")]
pub struct Failure {
    /// The exit status.
    pub code: u8,
    /// The line.
    pub message: String,
}

impl Failure {
    /// Ends with `code` and says `message`.
    pub fn new(code: u8, message: impl ToString) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }

    /// The system refused `operation`.
    pub fn system(operation: &str, error: impl std::fmt::Display) -> Self {
        Self::new(code::SYSTEM, format!("{operation}: {error}"))
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        let code = match error {
            HostError::Missing { .. } => code::UNAVAILABLE,
            HostError::NotPermitted => code::NOT_PERMITTED,
            HostError::Failed { .. } | HostError::Unreadable { .. } | HostError::System { .. } => {
                code::SYSTEM
            }
        };
        Self::new(code, error)
    }
}
