//! Whether a service answers: the decision, with hysteresis.
#![forbid(unsafe_code)]

pub mod dns;
mod hysteresis;

pub use hysteresis::{Change, Hysteresis, State, combine};
