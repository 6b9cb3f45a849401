//! Whether a service answers: the decision, with hysteresis.
#![forbid(unsafe_code)]

mod hysteresis;

pub use hysteresis::{Change, Hysteresis, State, combine};
