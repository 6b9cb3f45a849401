//! The Mobility Header of Mobile IPv6 (RFC 6275 §6.1), its messages and options.

mod status;

pub use status::{Status, UpdateFlags};
