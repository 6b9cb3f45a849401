//! Whether a service answers: the settings of checks, and the decision.
#![forbid(unsafe_code)]

pub mod dns;
pub mod http;
mod hysteresis;
mod reason;
mod settings;
mod short;
mod table;

pub use hysteresis::{Change, Hysteresis, State, combine};
pub use settings::{
    BadCheck, Check, Command, Dns, Http, Kind, Outcome, StatusRange, Udp, UdpAnswer,
};
pub use table::Checks;
