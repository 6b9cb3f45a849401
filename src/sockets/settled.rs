//! Descriptors of which nothing is known, and nothing can be: the program has made them
//! itself, as what is none of our business, or somebody was asked about them already.
//! Every other that has no record may have come from another process, over exec or a unix
//! socket, and is asked about once ([`crate::passed`]).
//!
//! A bit for each number that has no record, set by what makes a descriptor, and cleared by
//! what closes it, but in a vfork child: its parent has the descriptor still.

use core::sync::atomic::{AtomicU64, Ordering};

/// Descriptors with higher numbers are not asked about.
const NUMBERS: usize = 1 << 16;

static SETTLED: [AtomicU64; NUMBERS / 64] = [const { AtomicU64::new(0) }; NUMBERS / 64];

#[inline]
fn place(fd: i32) -> Option<(&'static AtomicU64, u64)> {
    let fd = fd as u32 as usize;
    Some((SETTLED.get(fd / 64)?, 1 << (fd % 64)))
}

/// Whether a descriptor may have come from another program: then somebody is asked.
#[inline]
pub(crate) fn may_be_received(fd: i32) -> bool {
    !is_settled(fd) && !super::is_known(fd)
}

/// Whether nobody is to be asked about a descriptor without a record.
#[inline]
pub(crate) fn is_settled(fd: i32) -> bool {
    place(fd).is_none_or(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
}

/// Whether that was written down, so that [`unsettle`] has something to do.
#[inline]
pub(crate) fn has_mark(fd: i32) -> bool {
    place(fd).is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
}

/// From now on that is so.
#[inline]
pub(crate) fn settle(fd: i32) {
    if let Some((word, bit)) = place(fd)
        && word.load(Ordering::Relaxed) & bit == 0
    {
        word.fetch_or(bit, Ordering::Relaxed);
    }
}

/// The number is about to be free, if `is_ours` says that it is one of this memory: who
/// has it next may come from elsewhere.
#[inline]
pub(crate) fn unsettle(fd: i32, is_ours: impl FnOnce() -> bool) {
    if let Some((word, bit)) = place(fd)
        && word.load(Ordering::Relaxed) & bit != 0
        && is_ours()
    {
        word.fetch_and(!bit, Ordering::Relaxed);
    }
}

/// The same of all from `first` to `last`.
pub(crate) fn unsettle_range(first: u32, last: u32) {
    let (first, last) = (first as usize, (last as usize).min(NUMBERS - 1));
    if first > last {
        return;
    }
    for (at, word) in SETTLED
        .iter()
        .enumerate()
        .take(last / 64 + 1)
        .skip(first / 64)
    {
        let from = if at == first / 64 { first % 64 } else { 0 };
        let to = if at == last / 64 { last % 64 } else { 63 };
        let bits = u64::MAX >> (63 - to) & u64::MAX << from;
        if word.load(Ordering::Relaxed) & bits != 0 {
            word.fetch_and(!bits, Ordering::Relaxed);
        }
    }
}
