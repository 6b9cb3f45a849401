//! The edge to the kernel.
//!
//! The modules that need no `std` are for the preload library and for everybody
//! else. Their system calls go straight to the kernel: they are no cancellation
//! points, leave `errno` alone, and never meet a hook. With the feature `std`
//! come the sockets and namespaces of the tools.
#![cfg_attr(not(any(feature = "std", test)), no_std)]
#![allow(unsafe_code)]

pub mod addrinfo;
pub mod ask;
pub mod clock;
pub mod daemon;
pub mod environment;
pub mod errno;
mod exchange;
pub mod fd;
pub mod file;
pub mod interrupt;
pub mod mapper;
pub mod memory;
pub mod message;
pub mod owner;
pub mod passwd;
pub mod probe;
pub mod process;
pub mod route;
pub mod settings;
pub mod socket;
pub mod syscall;
pub mod table;
pub mod user;

#[cfg(feature = "std")]
pub mod activation;
#[cfg(feature = "std")]
pub mod batch;
#[cfg(feature = "std")]
mod control;
#[cfg(feature = "std")]
mod descriptor;
#[cfg(feature = "std")]
pub mod diagnosis;
#[cfg(feature = "std")]
pub mod failed;
#[cfg(feature = "std")]
pub mod flow;
#[cfg(feature = "std")]
pub mod inherited;
#[cfg(feature = "std")]
pub mod neighbour;
#[cfg(feature = "std")]
mod netlink;
#[cfg(feature = "std")]
pub mod netns;
#[cfg(feature = "std")]
pub mod nflog;
#[cfg(feature = "std")]
pub mod packet;
#[cfg(feature = "std")]
pub mod peer;
#[cfg(feature = "std")]
pub mod preloaded;
#[cfg(feature = "std")]
pub mod raw6;
#[cfg(feature = "std")]
pub mod tun;
#[cfg(feature = "std")]
pub mod tunnel;
