//! Networks in namespaces, from data files or built by a program.
//!
//! ```no_run
//! use aarp_lab::{Filter, HostSpec, Lab, Network};
//! # fn main() -> aarp_lab::Result<()> {
//! let network = Network::new()
//!     .host("client", HostSpec::new().route("default via 2001:db8:1::1"))
//!     .host("router", HostSpec::router())
//!     .host("server", HostSpec::new().route("default via 2001:db8:2::1"))
//!     .link("client:eth0 2001:db8:1::2/64", "router:c 2001:db8:1::1/64")
//!     .link("server:eth0 2001:db8:2::2/64", "router:s 2001:db8:2::1/64");
//! let lab = Lab::new(&network)?;
//! let capture = lab.capture("server", "eth0")?;
//! lab.host("client")?.command("ping").args(["-c1", "2001:db8:2::2"]).run()?;
//! assert_eq!(Filter::icmp6(128).count(&capture.finish()?), 1);
//! # Ok(())
//! # }
//! ```
mod capture;
mod catalogue;
mod chart;
mod check;
mod command;
pub mod condition;
mod decode;
mod error;
mod executable;
mod expand;
mod folder;
mod host;
mod judge;
mod lab;
mod links;
mod network;
mod packet;
mod plot;
pub mod quantity;
mod relay;
mod report;
pub mod rootless;
mod run;
pub mod scenario;
pub mod state;
pub mod tools;
mod wait;

pub use capture::{Capture, Snap, read_packets};
pub use catalogue::catalogue;
pub use command::{Command, FOREGROUND_LIMIT, Process};
pub use error::{Error, Result};
pub use executable::write_executable;
pub use expand::Variables;
pub use host::Host;
pub use lab::Lab;
pub use network::{HostSpec, LinkSpec, Network};
pub use packet::{Direction, Filter, FlagPattern, Packet, Proto, Tcp, Transport};
pub use report::Report;
pub use run::Runner;
pub use rustix::process::Signal;
pub use scenario::Scenario;
pub use wait::{interrupt, wait_until};
