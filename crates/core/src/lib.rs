#![no_std]
//! Decisions of AARP.
