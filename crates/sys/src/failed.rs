//! A call to the kernel that failed, in words for whoever runs the program.

use std::io;

/// What was asked of the kernel, and its answer.
#[derive(Debug, thiserror::Error)]
#[error("{operation}: {source}")]
pub struct Failed {
    /// What was asked, with the name or the address that it was about.
    pub operation: String,
    /// The answer.
    pub source: io::Error,
}

impl Failed {
    pub(crate) fn new(operation: impl Into<String>, source: io::Error) -> Self {
        Self {
            operation: operation.into(),
            source,
        }
    }

    /// For `map_err`: the operation is put into words only when it has failed.
    pub(crate) fn to(operation: &str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::new(operation, source)
    }
}
