//! aarp-probe on lab networks.
#![allow(unreachable_pub)]

mod census;
mod resolve;
mod schema;
mod site;
mod terminal;
mod watch;
