//! A record that is read without a lock and written under a try-lock.
//!
//! A reader never waits: it sees a whole record, or none. A writer that finds
//! another at work gives up. All-zero memory is an empty slot.

use core::sync::atomic::{AtomicU64, Ordering, fence};

/// A record of `W` words.
#[derive(Debug)]
pub struct Slot<const W: usize> {
    /// Odd while the record is being written.
    sequence: AtomicU64,
    words: [AtomicU64; W],
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

    /// The record, or `None` while it is being written.
    #[must_use]
    #[inline]
    pub fn read(&self) -> Option<[u64; W]> {
        let before = self.sequence.load(Ordering::Acquire);
        if before & 1 != 0 {
            return None;
        }
        let mut record = [0; W];
        for (to, from) in record.iter_mut().zip(&self.words) {
            *to = from.load(Ordering::Relaxed);
        }
        fence(Ordering::Acquire);
        (self.sequence.load(Ordering::Relaxed) == before).then_some(record)
    }

    /// Replaces the record by what `change` makes of it, if `change` wants to and
    /// nobody else is at work. Whether it was replaced.
    pub fn update(&self, change: impl FnOnce([u64; W]) -> Option<[u64; W]>) -> bool {
        let before = self.sequence.load(Ordering::Relaxed);
        let free = before & 1 == 0
            && self
                .sequence
                .compare_exchange(before, before + 1, Ordering::Acquire, Ordering::Relaxed)
                .is_ok();
        if !free {
            return false;
        }
        fence(Ordering::Release);
        let mut record = [0; W];
        for (to, from) in record.iter_mut().zip(&self.words) {
            *to = from.load(Ordering::Relaxed);
        }
        let changed = change(record);
        if let Some(record) = changed {
            for (to, from) in self.words.iter().zip(record) {
                to.store(from, Ordering::Relaxed);
            }
        }
        self.sequence.store(before + 2, Ordering::Release);
        changed.is_some()
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
        assert!(slot.update(|_| {
            assert_eq!(slot.read(), None);
            assert!(!slot.update(|_| Some([9])));
            Some([1])
        }));
        assert_eq!(slot.read(), Some([1]));
        assert!(!slot.update(|_| None));
        assert_eq!(slot.read(), Some([1]));
    }
}
