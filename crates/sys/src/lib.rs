//! The edge to the kernel.
#![cfg_attr(not(feature = "std"), no_std)]
#![allow(unsafe_code)]

#[cfg(feature = "std")]
pub mod netns;
#[cfg(feature = "std")]
pub mod packet;
