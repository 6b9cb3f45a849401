//! The decisions of AARP: what is asked about, how a probe goes, whose answer
//! counts, what is remembered and for how long.
//!
//! No I/O, no clock, no allocation, no `unsafe`: time and packets are arguments.
//! A time is a [`Duration`](core::time::Duration) since an epoch that the caller
//! chooses, `CLOCK_BOOTTIME` in practice, so that a suspended host does not wake
//! with fresh mappings.
//!
//! The feature `bindings` adds the state machines of Mobile IPv6, which allocate;
//! without it the crate is `no_std`.
#![cfg_attr(not(any(test, feature = "bindings")), no_std)]
#![forbid(unsafe_code)]

pub mod accept;
pub mod address;
#[cfg(feature = "bindings")]
pub mod binding;
pub mod bypass;
pub mod config;
pub mod echo;
pub mod mapping;
pub mod pins;
pub mod policy;
pub mod prefix;
pub mod probing;
pub mod readiness;
pub mod refutation;
pub mod relay;
pub mod resolution;
pub mod settings;
pub mod silence;
pub mod slot;
pub mod stall;
pub mod state;
pub mod table;
pub mod text;
pub mod unreach;
