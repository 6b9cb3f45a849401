#![no_std]
//! Byte formats of AARP.
