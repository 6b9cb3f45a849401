//! What is open while the network is asked, and what other threads do meanwhile: they
//! close numbers, fork, and install filters.

use core::ffi::c_int;
use core::sync::atomic::{Ordering, fence};
use core::time::Duration;

use aarp_core::state::ProcessState;
use aarp_sys::clock::boottime;
use aarp_sys::{ask, fd, process, socket};

use crate::ops::is_barred;
use crate::state;

/// For how long who installs a filter waits for those who ask, at most: they look every
/// 20 ms whether they may go on.
const PATIENCE: Duration = Duration::from_secs(1);

/// Runs `ask`, which makes system calls of ours and waits for answers; `None` where no
/// system call of ours may be made. When it returns, that may have come to be so.
pub(crate) fn question<T>(state: &ProcessState, ask: impl FnOnce() -> T) -> Option<T> {
    state.begin_question();
    // Who installs a filter either finds this question, or is found by it.
    fence(Ordering::SeqCst);
    let asked = (!is_barred()).then(|| {
        begins(state);
        ask()
    });
    state.end_question();
    asked
}

/// No system call of ours is to be made any more: those who ask end, and are waited for.
#[cold]
pub(crate) fn halt() {
    ask::halt(true);
    fence(Ordering::SeqCst);
    let Some(state) = state::known() else {
        return;
    };
    let until = boottime() + PATIENCE;
    while state.questions() != 0 && boottime() < until {
        process::pause();
    }
}

/// There is no filter after all.
#[cold]
pub(crate) fn resume() {
    ask::halt(false);
}

/// A question begins: this process has nothing open that its parent had.
fn begins(state: &ProcessState) {
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

/// Whether anything of ours may be open.
#[inline]
pub(crate) fn is_any_open() -> bool {
    fd::is_any_open()
}

/// The numbers from `first` to `last` are about to be closed.
#[inline]
pub(crate) fn closing(first: u32, last: u32) {
    if is_any_open() {
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
    if is_any_open() {
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
    if !is_any_open() || is_barred() {
        return;
    }
    fd::sweep(process::id(), true);
}
