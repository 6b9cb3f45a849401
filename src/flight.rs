//! What is open while the network is asked, and what other threads do meanwhile: they
//! close numbers, and fork.

use core::ffi::c_int;

use aarp_core::state::ProcessState;
use aarp_sys::{fd, process, socket};

use crate::ops::is_barred;
use crate::state;

/// A question begins: this process has nothing open that its parent had.
pub(crate) fn begins(state: &ProcessState) {
    if state.swept().is_none() {
        sweep(state);
    }
}

/// A child that was made by fork is at its first call.
fn sweep(state: &ProcessState) {
    let process = process::id();
    fd::sweep(process, false);
    state.set_swept(process);
}

/// The numbers from `first` to `last` are about to be closed.
#[inline]
pub(crate) fn closing(first: u32, last: u32) {
    if fd::is_any_open() {
        strike(first, last);
    }
}

#[cold]
fn strike(first: u32, last: u32) {
    // Nobody asks any more then.
    if is_barred() {
        return;
    }
    // Without memory of its own nobody has asked: what is open is a file, for a moment.
    // A vfork child finds its parent's.
    if let Some(state) = state::known() {
        begins(state);
    }
    fd::strike(first, last, process::id());
}

/// A descriptor is about to be replaced by a duplicate of another.
#[inline]
pub(crate) fn replacing(from: c_int, to: c_int) {
    if fd::is_any_open() {
        replace(from, to);
    }
}

#[cold]
fn replace(from: c_int, to: c_int) {
    // One that cannot be duplicated replaces nothing.
    if from != to && !is_barred() && socket::is_open(from) {
        strike(to as u32, to as u32);
    }
}

/// This is a child, just made by fork. What its parent's threads were at is none of
/// its own, and it has but one.
#[cold]
pub(crate) fn forked() {
    if !fd::is_any_open() || is_barred() {
        return;
    }
    fd::sweep(process::id(), true);
}
