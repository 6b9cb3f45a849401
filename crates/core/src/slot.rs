//! A record that is read without a lock and written under a try-lock.
//!
//! A reader never waits: it sees a whole record, or none. A writer that finds
//! another at work gives up. All-zero memory is an empty slot.
//!
//! The protocol is that of a sequence lock: the sequence is odd while the record is
//! written, and a reader looks at it before and after. The words are atomics, so that
//! what a reader sees of a record in the making is old or new, word by word, and the
//! fences bring it to notice that it was one. It is written over [`Word`], so that the
//! model checker runs these very lines (table/model.rs).

use core::sync::atomic::{AtomicU64, Ordering, fence};

/// A word of memory that several threads, or processes, see at a time.
pub trait Word: Sync {
    /// Reads it.
    fn load(&self, order: Ordering) -> u64;
    /// Writes it.
    fn store(&self, value: u64, order: Ordering);
    /// Replaces `current` by `new`; whether it was `current`. Then what comes after
    /// comes after; otherwise nothing is ordered.
    fn acquire(&self, current: u64, new: u64) -> bool;
    /// A fence among the threads that see such words.
    fn fence(order: Ordering);
}

impl Word for AtomicU64 {
    #[inline(always)]
    fn load(&self, order: Ordering) -> u64 {
        self.load(order)
    }

    #[inline(always)]
    fn store(&self, value: u64, order: Ordering) {
        self.store(value, order);
    }

    #[inline(always)]
    fn acquire(&self, current: u64, new: u64) -> bool {
        self.compare_exchange(current, new, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[inline(always)]
    fn fence(order: Ordering) {
        fence(order);
    }
}

/// Before a record is read: its sequence, which is odd while it is being written.
#[inline(always)]
pub(crate) fn begin<T: Word>(sequence: &T) -> u64 {
    sequence.load(Ordering::Acquire)
}

/// After a record was read: whether nobody has written it since [`begin`].
#[inline(always)]
pub(crate) fn is_whole<T: Word>(sequence: &T, before: u64) -> bool {
    T::fence(Ordering::Acquire);
    sequence.load(Ordering::Relaxed) == before
}

/// The words as they are, which may be of two records.
#[inline(always)]
pub(crate) fn words<T: Word, const W: usize>(words: &[T; W]) -> [u64; W] {
    let mut record = [0; W];
    for (to, from) in record.iter_mut().zip(words) {
        *to = from.load(Ordering::Relaxed);
    }
    record
}

/// Writes a record, of whose words nobody else is a writer.
#[inline]
pub(crate) fn write<T: Word, const W: usize>(sequence: &T, words: &[T; W], record: [u64; W]) {
    // Foreign memory may hold an odd one.
    let before = sequence.load(Ordering::Relaxed) & !1;
    sequence.store(before | 1, Ordering::Relaxed);
    // Who sees one of the words sees the odd sequence.
    T::fence(Ordering::Release);
    fill(words, &record);
    sequence.store(before.wrapping_add(2), Ordering::Release);
}

#[inline(always)]
fn fill<T: Word, const W: usize>(words: &[T; W], record: &[u64; W]) {
    for (to, from) in words.iter().zip(record) {
        to.store(*from, Ordering::Relaxed);
    }
}

/// A record of `W` words.
#[derive(Debug)]
pub struct Slot<const W: usize, T: Word = AtomicU64> {
    /// Odd while the record is being written.
    sequence: T,
    words: [T; W],
}

impl<const W: usize> Slot<W> {
    /// An empty record: all words zero.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sequence: AtomicU64::new(0),
            words: [const { AtomicU64::new(0) }; W],
        }
    }
}

impl<const W: usize, T: Word> Slot<W, T> {
    /// For the model checker, whose words are no constants.
    #[cfg(all(test, loom))]
    pub(crate) fn over(sequence: T, words: [T; W]) -> Self {
        Self { sequence, words }
    }

    /// The record, or `None` while it is being written.
    #[must_use]
    #[inline]
    pub fn read(&self) -> Option<[u64; W]> {
        let before = begin(&self.sequence);
        if before & 1 != 0 {
            return None;
        }
        let record = words(&self.words);
        is_whole(&self.sequence, before).then_some(record)
    }

    /// Replaces the record by what `change` makes of it, if `change` wants to and
    /// nobody else is at work. Whether it was replaced.
    ///
    /// A record that stays is not touched at all: a thread that looks whether it is the
    /// one to replace, and sleeps over that, keeps it from nobody.
    pub fn update(&self, change: impl FnOnce([u64; W]) -> Option<[u64; W]>) -> bool {
        self.update_with(change, || ())
    }

    /// The same; `beside` writes what belongs to the record and stands elsewhere, while
    /// nobody else is at work on either.
    pub fn update_with(
        &self,
        change: impl FnOnce([u64; W]) -> Option<[u64; W]>,
        beside: impl FnOnce(),
    ) -> bool {
        let before = begin(&self.sequence);
        if before & 1 != 0 {
            return false;
        }
        let record = words(&self.words);
        if !is_whole(&self.sequence, before) {
            return false;
        }
        let Some(record) = change(record) else {
            return false;
        };
        // With the same sequence it is the same record still.
        if !self.sequence.acquire(before, before + 1) {
            return false;
        }
        // Who sees one of the words sees the odd sequence.
        T::fence(Ordering::Release);
        beside();
        fill(&self.words, &record);
        self.sequence
            .store(before.wrapping_add(2), Ordering::Release);
        true
    }
}

impl<const W: usize> Default for Slot<W> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    #[test]
    fn a_reader_never_sees_half_a_record() {
        let slot = Slot::<6>::new();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in 1..=2u64 {
                let (slot, over) = (&slot, &over);
                scope.spawn(move || {
                    for n in 0.. {
                        slot.update(|_| Some([n << 2 | writer; 6]));
                        if n % 64 == 0 {
                            std::thread::yield_now();
                        }
                        if over.load(Ordering::Relaxed) {
                            break;
                        }
                    }
                });
            }
            let mut seen = 0;
            // Miri is slow, and tries what a processor seldom does.
            while seen < if cfg!(miri) { 500 } else { 20_000 } {
                match slot.read() {
                    Some(record) => {
                        assert!(record.iter().all(|word| *word == record[0]), "{record:?}");
                        seen += 1;
                    }
                    None => std::thread::yield_now(),
                }
            }
            over.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn a_slot_at_work_is_left_alone() {
        let slot = Slot::<1>::new();
        let at_work = || {
            assert_eq!(slot.read(), None);
            assert!(!slot.update(|_| Some([9])));
        };
        assert!(slot.update_with(|_| Some([1]), at_work));
        assert_eq!(slot.read(), Some([1]));
    }

    #[test]
    fn a_record_that_stays_is_read_meanwhile() {
        let slot = Slot::<1>::new();
        assert!(slot.update(|_| Some([1])));
        let stays = |record| {
            assert_eq!((record, slot.read()), ([1], Some([1])));
            None
        };
        assert!(!slot.update(stays));
        assert_eq!(slot.read(), Some([1]));
    }

    #[test]
    fn who_comes_too_late_changes_nothing() {
        let slot = Slot::<1>::new();
        let late = |record| {
            assert_eq!(record, [0]);
            assert!(slot.update(|_| Some([1])));
            Some([2])
        };
        assert!(!slot.update(late));
        assert_eq!(slot.read(), Some([1]));
    }
}
