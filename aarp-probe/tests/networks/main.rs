//! aarp-probe on lab networks.
#![allow(unreachable_pub)]

mod census;
mod doctor;
mod explain;
mod files;
mod mapper;
mod preloaded;
mod resolve;
mod schema;
mod site;
mod terminal;
mod watch;
