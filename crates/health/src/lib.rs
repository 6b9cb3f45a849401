//! Whether a service answers: the decision, with hysteresis.
#![forbid(unsafe_code)]

pub mod dns;
pub mod http;
mod hysteresis;

pub use hysteresis::{Change, Hysteresis, State, combine};
