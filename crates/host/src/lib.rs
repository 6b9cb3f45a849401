//! What the daemons ask of the host they run on, and what they change there: by way
//! of `ip` and `nft`, each call checked, and each change undone at the end.
//!
//! [`address`], [`inventory`], [`choice`] and [`document`] decide and parse, without I/O;
//! [`tool`], [`watch`], [`alarm`], [`privilege`], [`own`] and [`sysctl`] are the edge;
//! [`changes`] keeps the record.
#![forbid(unsafe_code)]

pub mod address;
pub mod alarm;
pub mod changes;
pub mod choice;
pub mod document;
mod error;
pub mod failure;
pub mod inventory;
pub mod own;
pub mod privilege;
pub mod signals;
pub mod sysctl;
pub mod tool;
pub mod watch;

pub use error::HostError;
