//! Whether a service answers: checks of the kinds `tcp`, `http`, `udp`, `dns` and
//! `command`, a decision with hysteresis, and a [`Monitor`] that runs them.
//!
//! [`Check`] is one check as it stands in aarp.toml, [`Check::run`] does it once.
//! [`Hysteresis`] and [`combine`] decide, with time as an argument. [`Monitor`] runs
//! several checks of one service, each on a small thread of its own, and tells
//! changes through a descriptor that a poll loop can wait on.
//!
//! [`feed`] tells the states of a responder's services to who follows them.
//!
//! [`http`] and [`dns`] read what a service answers: no I/O, any octets.
#![forbid(unsafe_code)]

mod command;
pub mod dns;
mod exchange;
pub mod feed;
pub mod http;
mod hysteresis;
mod monitor;
mod patience;
mod reason;
mod settings;
mod short;
mod table;
mod worker;

pub use hysteresis::{Change, Hysteresis, State, combine};
pub use monitor::{CheckStatus, Event, Monitor, Subject};
pub use settings::{
    BadCheck, Check, Command, Dns, Http, Kind, Outcome, StatusRange, Udp, UdpAnswer,
};
pub use table::Checks;
