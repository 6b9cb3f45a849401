//! Asks who answers for an IPv6 anycast address, for programs that want to know: as the
//! proxy and the DNS client did that seed 002 changed for its Anycast Address Mapper.
//! Programs that are not changed have libaarp.so.
//!
//! ```no_run
//! use std::net::TcpStream;
//! use std::time::Duration;
//!
//! let a = "2001:db8:a::53".parse().unwrap();
//! let to = match aarp_resolve::resolve(a, Duration::from_millis(250)) {
//!     Ok(mapping) => mapping.unicast,
//!     // To go to the anycast address itself is never wrong.
//!     Err(_) => a,
//! };
//! let connection = TcpStream::connect((to, 53));
//! ```
//!
//! Looked at in turn: the mapping table of aarpd (docs/daemon.md); what this process has
//! found out itself; aarpd; the network. The configuration is that of all of AARP
//! (docs/configuration.md), read once; what is told by others counts as far as its
//! `exclude` and `trusted` have it. A thread that has entered another network namespace
//! than that of the first question asks the network there, and nothing is remembered.
//!
//! What a program does with U is its own: who connects to U and fails says so with
//! [`failed`], and goes to A.
//!
//! In C the same is `aarp_resolve()` and `aarp_failed()` of aarp.h.

mod c;
mod error;
mod mapper;
mod resolver;

pub use error::ResolveError;
pub use resolver::{Mapping, Source, failed, resolve};
