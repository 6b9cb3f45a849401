//! Reading a table.

use core::net::Ipv6Addr;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use super::entry::{Entry, epoch_of, word};
use super::header::{Header, Invalid};
use super::{HEADER_WORDS, REACH, SLOT_WORDS, WORDS, start, words_of};
use crate::mapping::Mapping;
use crate::slot::{Word, begin, is_whole, words};

/// What is known about an address, and fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// What is known.
    pub mapping: Mapping,
    /// Whether it is time to tell the writer that it is still used, so that it is asked
    /// again before it expires. Nobody needs to wait for that.
    pub is_due: bool,
    /// For how long before its expiry it is that, in milliseconds: a fifth of its time;
    /// 0 for what is not asked again.
    pub due: u32,
}

impl Hit {
    /// For how long the writer lets it hold; zero where it does not tell.
    #[must_use]
    #[inline]
    pub fn ttl(&self) -> Duration {
        Duration::from_nanos(u64::from(self.due) * (5 * 1_000_000))
    }
}

/// A table as its readers see it.
#[derive(Debug)]
pub struct TableView<'m, T: Word = AtomicU64> {
    pub(super) header: Header<'m, T>,
    pub(super) slots: &'m [[T; SLOT_WORDS]],
}

impl<T: Word> Clone for TableView<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T: Word> Copy for TableView<'_, T> {}

impl<'m, T: Word> TableView<'m, T> {
    /// Over any memory of the length of a table, whatever is in it; `None` for another
    /// length.
    #[must_use]
    #[inline]
    pub fn over(memory: &'m [T]) -> Option<Self> {
        let (header, slots) = memory.split_at_checked(HEADER_WORDS)?;
        let (slots, []) = slots.as_chunks() else {
            return None;
        };
        let header = Header::over(header)?;
        slots
            .len()
            .is_power_of_two()
            .then_some(Self { header, slots })
    }

    /// Over a table.
    ///
    /// # Errors
    /// Why it is none that is known here.
    pub fn open(memory: &'m [T]) -> Result<Self, Invalid> {
        let table = Self::over(memory).ok_or(Invalid::Length(memory.len()))?;
        table.header.check(table.slots.len())?;
        Ok(table)
    }

    /// The header.
    #[must_use]
    #[inline]
    pub fn header(&self) -> Header<'m, T> {
        self.header
    }

    /// How many slots there are.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The slots that `a` may stand in.
    #[inline(always)]
    pub(super) fn places(&self, a: [u64; 2]) -> impl Iterator<Item = usize> + use<T> {
        let start = start(self.header.key(), a);
        let mask = self.slots.len().wrapping_sub(1);
        (0..REACH.min(self.slots.len())).map(move |step| start.wrapping_add(step) & mask)
    }

    /// What is known about `a` and fresh at `now`; `None` where it has to be asked. A
    /// mapping that is being written, or moved, may be missed: that is never wrong.
    #[must_use]
    #[inline]
    pub fn lookup(&self, a: Ipv6Addr, now: Duration) -> Option<Hit> {
        if self.header.is_retired() {
            return None;
        }
        // Before the record: the table may be replaced by zeros in the meantime.
        let epoch = self.header.epoch() as u8;
        let wanted = words_of(a);
        for place in self.places(wanted) {
            let [sequence, record @ ..] = self.slots.get(place)?;
            let before = begin(sequence);
            let key = word::A.map(|half| record[half].load(Ordering::Relaxed));
            if key == wanted {
                if before & 1 != 0 {
                    continue;
                }
                let [_, _, more @ ..] = record;
                let more = words(more);
                if is_whole(sequence, before) {
                    let mut record = [0; WORDS];
                    record[..2].copy_from_slice(&key);
                    record[2..].copy_from_slice(&more);
                    return hit(record, epoch, now);
                }
            } else if key == [0, 0] {
                return None;
            }
        }
        None
    }

    /// What is stored about `a`, fresh or not.
    #[must_use]
    pub fn get(&self, a: Ipv6Addr) -> Option<Entry> {
        let place = self.find(words_of(a))?;
        self.entry(place).filter(|entry| entry.a == a)
    }

    /// Where `a` stands.
    pub(super) fn find(&self, a: [u64; 2]) -> Option<usize> {
        if a == [0, 0] {
            return None;
        }
        for place in self.places(a) {
            match self.key(place) {
                [0, 0] => break,
                key if key == a => return Some(place),
                _ => {}
            }
        }
        None
    }

    /// Which A stands in a slot; zeros where none does.
    pub(super) fn key(&self, place: usize) -> [u64; 2] {
        word::A.map(|half| self.slots[place][1 + half].load(Ordering::Relaxed))
    }

    pub(super) fn entry(&self, place: usize) -> Option<Entry> {
        let [sequence, record @ ..] = self.slots.get(place)?;
        let before = begin(sequence);
        let record = words(record);
        if before & 1 != 0 || !is_whole(sequence, before) {
            return None;
        }
        Entry::from_words(record)
    }

    /// What is stored in these slots, fresh or not; so that a long table can be gone
    /// through a little at a time. What the writer moves meanwhile may be missed or
    /// come twice.
    pub fn entries(&self, slots: Range<usize>) -> impl Iterator<Item = Entry> + use<'m, T> {
        let table = *self;
        (slots.start..slots.end.min(table.slots.len())).filter_map(move |place| table.entry(place))
    }
}

/// What a record says, if it is fresh.
#[inline(always)]
fn hit(record: [u64; WORDS], epoch: u8, now: Duration) -> Option<Hit> {
    // 584 years from boot.
    let left = record[word::EXPIRY].saturating_sub(now.as_nanos() as u64);
    if left == 0 || epoch_of(record[word::REST]) != epoch {
        return None;
    }
    let entry = Entry::from_words(record)?;
    Some(Hit {
        mapping: entry.mapping,
        is_due: !entry.is_asked && left < u64::from(entry.due) * 1_000_000,
        due: entry.due,
    })
}
