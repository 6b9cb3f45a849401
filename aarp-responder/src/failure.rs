//! What ends the program, and with which exit status.

use thiserror::Error;

/// Exit statuses (sysexits.h), as all daemons of the project use them.
pub(crate) mod code {
    pub(crate) const USAGE: u8 = 64;
    pub(crate) const UNAVAILABLE: u8 = 69;
    pub(crate) const SYSTEM: u8 = 71;
    pub(crate) const NOT_PERMITTED: u8 = 77;
    pub(crate) const CONFIGURATION: u8 = 78;
}

/// One line for stderr and the exit status that goes with it.
#[derive(Debug, Error)]
#[error("{message}")]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl ToString) -> Self {
        Self {
            code,
            message: message.to_string(),
        }
    }

    /// The system refused `operation`.
    pub(crate) fn system(operation: &str, error: impl std::fmt::Display) -> Self {
        Self::new(code::SYSTEM, format!("{operation}: {error}"))
    }
}
