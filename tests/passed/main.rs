//! Sockets that go from one program to another, over exec or a unix socket: what the
//! second one sees is A, where there is a daemon that both may ask, as natively.
#![allow(unreachable_pub)]

mod asked;
#[path = "../mapper/daemon.rs"]
#[allow(dead_code)]
mod daemon;
mod handed;
mod sent;
#[path = "../availability/site.rs"]
#[allow(dead_code)]
mod site;
#[path = "../availability/stage.rs"]
mod stage;

/// What every test here starts.
const NEEDED: [&str; 5] = ["cc", "ip", "nft", "nginx", "python3"];
