//! A program under the library is never less available than without it: U answers
//! probes but does not serve, or dies after programs were moved to it.
//!
//! What is asserted about who was tried, and who served, comes from captures at the
//! responders.
#![allow(unreachable_pub)]

mod blocking;
mod eyeballs;
mod nonblocking;
mod signals;
mod site;
mod stage;

/// What every test here starts.
pub const NEEDED: [&str; 7] = ["bash", "cc", "curl", "nc", "nft", "nginx", "wget"];
