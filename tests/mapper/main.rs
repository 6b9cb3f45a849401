//! Programs of a host with aarpd: who asks the network, and what becomes of them when the
//! daemon is slow, dies, or is somebody else's.
//!
//! What was asked is counted in captures at the responders.
#![allow(unreachable_pub)]

mod changing;
mod daemon;
mod killed;
mod refuted;
mod seldom;
mod sharing;
mod silent;
#[path = "../availability/site.rs"]
#[allow(dead_code)]
mod site;
#[path = "../availability/stage.rs"]
mod stage;
mod strangers;

/// What every test here starts.
const NEEDED: [&str; 6] = ["bash", "cc", "curl", "nft", "nginx", "wget"];
