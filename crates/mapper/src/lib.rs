//! The decisions of aarpd, the Anycast Address Mapper of a host (seed 002) and its
//! caching agent (seed 003, §4.2): what is asked for whom, when and how often, and what
//! is remembered.
//!
//! No I/O and no clock. A [`Mapper`] is told what has happened, and says by
//! [`Mapper::next`] what is to be done, until there is nothing more, and by
//! [`Mapper::due`] when it wants to be asked again. A time is a `Duration` of
//! `CLOCK_BOOTTIME`.
//!
//! * One question to one A serves all who ask.
//! * Probes leave at a limited rate, in total and for each /48 ([`pace`]). What would have
//!   to wait for its turn for too long is refused at once; and root's questions, those of
//!   all other users, and refreshes have a share each.
//! * Users have a share each, and those who are neither root nor the daemon's own ask
//!   about `prefixes` alone ([`users`]).
//! * What only users who are not root have asked about takes a bounded part of the table.
//! * A mapping that is used is asked again before its end; one that is not ends.
//! * Who says that a U has failed makes A be asked again, every 200 ms until somebody
//!   answers, and nobody forget anything.
#![forbid(unsafe_code)]

mod asking;
mod conclusion;
pub mod counters;
mod crowds;
pub mod event;
mod judging;
mod mapper;
pub mod pace;
mod permit;
mod questions;
mod requests;
mod rounds;
pub mod sockets;
mod sweep;
pub mod users;
mod walks;

pub use counters::Counters;
pub use event::Event;
pub use judging::Changed;
pub use mapper::{Action, Asker, Failed, Limits, Mapper, Probe, Reply, Start, Unasked};
pub use permit::permitted;
pub use questions::Why;
pub use sweep::Cause;
pub use users::{Share, User};

#[cfg(test)]
mod tests;
