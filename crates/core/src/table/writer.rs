//! Writing a table. There is one writer; readers look on at any moment.
//!
//! What has no room takes the place of what is worth less, or is not stored: a mapping
//! that is used never goes for an address that nobody answers for. Whoever reads the
//! table can choose addresses that meet in it. So those that only users have asked about
//! who are neither root nor the daemon's own take half of a reach, and of root's they
//! displace none; what one such user may add to a reach is for the mapper to bound.

use core::net::Ipv6Addr;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use super::entry::{Entry, Worth, use_word, used_rest, word};
use super::header::{Identity, Invalid};
use super::view::TableView;
use super::{REACH, SLOT_WORDS, WORDS, slots_for, start, words_of};
use crate::mapping::{Mapping, State, nanos};
use crate::slot::{Word, words, write};

/// What became of a mapping that was to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// It is there, where nothing was.
    New,
    /// It is there in place of what was known about the same A.
    Again,
    /// It is there, and what was known about this address had to go: what was worth
    /// least, or would expire first, of some that were looked at.
    Evicting(Ipv6Addr),
    /// It is not there: `::` is no anycast address; or all that was looked at is worth
    /// more.
    Refused,
}

/// The last 8 bits of an epoch tell it apart from so many others; before a record can
/// be older than that, it is removed.
const EPOCHS: u64 = 128;

/// A table as its one writer sees it.
#[derive(Debug)]
pub struct TableWriter<'m, T: Word = AtomicU64> {
    view: TableView<'m, T>,
    key: [u64; 2],
    capacity: usize,
    /// Mappings in the table.
    len: usize,
    /// Where to look next for one that may go.
    hand: usize,
    /// How often a slot was emptied.
    vacated: u64,
}

/// Slots that are looked at for one that may go.
const LOOKS: usize = 4 * REACH;
/// The part of a reach that is for mappings of others than root: one in so many.
const OTHERS: usize = 2;

/// How soon something goes: what nobody may be moved by before all mappings, and of those
/// what only others have asked about before root's; then by its worth, and its end.
type Rank = (Worth, bool, Worth, u64);

/// What is to be stored: what may go for it.
#[derive(Clone, Copy)]
struct Newcomer {
    worth: Worth,
    is_others: bool,
}

impl Newcomer {
    fn of(entry: &Entry) -> Self {
        let worth = match entry.mapping.state {
            // Somebody waits for it.
            State::Pinned => Worth::Used,
            State::Direct => Worth::Direct,
            State::Unanswered | State::Untrusted => Worth::Unanswered,
        };
        let is_others = entry.is_others;
        Self { worth, is_others }
    }
}

impl<'m, T: Word> TableWriter<'m, T> {
    /// Makes an empty table of memory that is all zero, and that nobody else writes.
    ///
    /// # Errors
    /// [`Invalid::Length`] where the memory has not the size for `identity.capacity`.
    pub fn format(memory: &'m [T], identity: &Identity, now: Duration) -> Result<Self, Invalid> {
        let view = TableView::over(memory)
            .filter(|view| Some(view.slots()) == slots_for(identity.capacity))
            .ok_or(Invalid::Length(memory.len()))?;
        Ok(Self::begin(view, identity, now))
    }

    pub(super) fn begin(view: TableView<'m, T>, identity: &Identity, now: Duration) -> Self {
        view.header.format(identity, view.slots(), now);
        Self {
            view,
            key: identity.key,
            capacity: identity.capacity,
            len: 0,
            hand: 0,
            vacated: 0,
        }
    }

    /// What readers see.
    #[must_use]
    pub fn view(&self) -> TableView<'m, T> {
        self.view
    }

    /// How many mappings it holds, fresh or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many mappings it may hold.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Remembers what is known about `a`, which was used just now or, where it was known
    /// before, when it last was. From `due` before its expiry readers say that they use
    /// it; zero for never.
    pub fn store(
        &mut self,
        a: Ipv6Addr,
        mapping: &Mapping,
        due: Duration,
        now: Duration,
    ) -> Stored {
        let known = self.view.get(a);
        let entry = Entry {
            a,
            mapping: *mapping,
            epoch: self.view.header.epoch() as u8,
            used: known.map_or(seconds(now), |known| known.used),
            due: u32::try_from(due.as_millis()).unwrap_or(u32::MAX),
            is_asked: false,
            is_used: known.is_some_and(|known| known.is_used),
            is_others: known.is_some_and(|known| known.is_others),
        };
        self.store_entry(&entry, now)
    }

    /// Stores an entry as it is, its epoch included.
    pub fn store_entry(&mut self, entry: &Entry, now: Duration) -> Stored {
        let key = words_of(entry.a);
        let record = entry.to_words();
        if key == [0, 0] {
            return Stored::Refused;
        }
        let newcomer = Newcomer::of(entry);
        let mut empty = None;
        let mut last = None;
        let mut of_others = 0;
        for place in self.view.places(key) {
            match self.view.key(place) {
                [0, 0] => {
                    empty = Some(place);
                    break;
                }
                found if found == key => {
                    self.write(place, record);
                    return Stored::Again;
                }
                _ => {
                    of_others += usize::from(self.is_of_others(place, now));
                    last = self.better(last, place, newcomer, now);
                }
            }
        }
        let reach = REACH.min(self.view.slots());
        if newcomer.is_others && of_others >= reach / OTHERS {
            return self.replace(last, record);
        }
        let Some(empty) = empty else {
            // Every place for it is taken.
            return self.replace(last, record);
        };
        if self.len < self.capacity {
            self.write(empty, record);
            self.count(self.len + 1);
            return Stored::New;
        }
        if last.is_some_and(is_over) {
            return self.replace(last, record);
        }
        let Some(evicted) = self.evict(newcomer, now) else {
            return Stored::Refused;
        };
        // What was behind it may have moved, and an empty place is there still.
        match self
            .view
            .places(key)
            .find(|place| self.view.key(*place) == [0, 0])
        {
            Some(place) => self.write(place, record),
            None => return Stored::Refused,
        }
        self.count(self.len + 1);
        Stored::Evicting(evicted)
    }

    /// Puts a record into the place of another.
    fn replace(&mut self, place: Option<(Rank, usize)>, record: [u64; WORDS]) -> Stored {
        let Some((_, place)) = place else {
            return Stored::Refused;
        };
        let evicted = super::address_of(self.view.key(place));
        self.write(place, record);
        Stored::Evicting(evicted)
    }

    /// Which of two may go rather for `newcomer`: what is worth less, or expires first.
    fn better(
        &self,
        other: Option<(Rank, usize)>,
        place: usize,
        newcomer: Newcomer,
        now: Duration,
    ) -> Option<(Rank, usize)> {
        let epoch = self.view.header.epoch();
        let rank = match self.view.entry(place) {
            Some(entry) => {
                let worth = entry.worth(epoch, now);
                let stays = worth > newcomer.worth || newcomer.is_others && !entry.is_others;
                if stays && worth != Worth::Over {
                    return other;
                }
                let kind = worth.min(Worth::Unused);
                let is_own = kind == Worth::Unused && !entry.is_others;
                (kind, is_own, worth, nanos(entry.mapping.expiry))
            }
            None => (Worth::Over, false, Worth::Over, 0),
        };
        match other {
            Some((least, _)) if least <= rank => other,
            _ => Some((rank, place)),
        }
    }

    fn is_of_others(&self, place: usize, now: Duration) -> bool {
        let epoch = self.view.header.epoch();
        let entry = self.view.entry(place);
        entry.is_some_and(|entry| entry.is_others && entry.is_fresh(epoch, now))
    }

    /// Removes what may go for `newcomer` rather than others, of some; goes around the
    /// table.
    fn evict(&mut self, newcomer: Newcomer, now: Duration) -> Option<Ipv6Addr> {
        let mask = self.view.slots() - 1;
        let mut best = None;
        for seen in 1..=LOOKS.min(self.view.slots()) {
            let place = self.hand & mask;
            self.hand = place + 1;
            if self.view.key(place) != [0, 0] {
                best = self.better(best, place, newcomer, now);
            }
            if best.is_some_and(is_over) || best.is_some() && seen >= REACH {
                break;
            }
        }
        let (_, place) = best?;
        let evicted = super::address_of(self.view.key(place));
        self.vacate(place);
        Some(evicted)
    }

    /// Forgets `a`. Whether anything was known.
    pub fn remove(&mut self, a: Ipv6Addr) -> bool {
        match self.view.find(words_of(a)) {
            Some(place) => {
                self.vacate(place);
                true
            }
            None => false,
        }
    }

    /// Empties a slot. Those behind it that could not be found any more are moved back;
    /// each is there twice for a moment rather than not at all.
    fn vacate(&mut self, mut hole: usize) {
        let mask = self.view.slots() - 1;
        let reach = REACH.min(self.view.slots());
        // Each turn leads on; so many are enough whatever is in the memory.
        for _ in 0..self.view.slots() {
            let mut next = None;
            for step in 1..reach {
                let place = (hole + step) & mask;
                let key = self.view.key(place);
                if key == [0, 0] {
                    break;
                }
                let home = start(self.key, key) & mask;
                // How far from its home it would be in the hole.
                if (hole.wrapping_sub(home) & mask) < reach - step {
                    next = Some(place);
                    break;
                }
            }
            let Some(place) = next else { break };
            let [_, record @ ..] = &self.view.slots[place];
            self.write(hole, words(record));
            hole = place;
        }
        self.write(hole, [0; WORDS]);
        self.vacated += 1;
        self.count(self.len.saturating_sub(1));
    }

    /// Forgets, of what stands in these slots, all that `keep` does not want; so that a
    /// long table can be gone through a little at a time. How many were forgotten.
    pub fn retain(&mut self, slots: Range<usize>, mut keep: impl FnMut(&Entry) -> bool) -> usize {
        let before = self.len;
        for place in slots.start..slots.end.min(self.view.slots()) {
            // What is moved to an emptied slot is judged as well.
            while self.len > 0
                && self.view.key(place) != [0, 0]
                && !self.view.entry(place).is_some_and(|entry| keep(&entry))
            {
                self.vacate(place);
            }
        }
        before - self.len
    }

    /// Has what stands in these slots be what `judge` makes of it, about the same address,
    /// or be forgotten. How many were forgotten.
    pub fn revise(
        &mut self,
        slots: Range<usize>,
        mut judge: impl FnMut(&Entry) -> Option<Entry>,
    ) -> usize {
        let view = self.view;
        let mut changed = |entry: &Entry| {
            let judged = judge(entry).filter(|judged| judged.a == entry.a);
            if let Some(judged) = judged.filter(|judged| judged != entry)
                && let Some(place) = view.find(words_of(entry.a))
            {
                write_at(&view.slots[place], judged.to_words());
            }
            judged.is_some()
        };
        self.retain(slots, |entry| changed(entry))
    }

    /// How often something was removed: what stands behind it may have moved, towards the
    /// beginning of the table by less than [`REACH`] each time.
    #[must_use]
    pub fn vacated(&self) -> u64 {
        self.vacated
    }

    /// The part of the table, of as many slots as a reach has, in which `a` stands first.
    #[must_use]
    pub fn region(&self, a: Ipv6Addr) -> usize {
        (start(self.key, words_of(a)) & (self.view.slots() - 1)) / REACH
    }

    /// Notes that `a` is used, and asked again for that. Readers do not say so again before
    /// it was stored anew. What is known about it.
    pub fn note_use(&mut self, a: Ipv6Addr, now: Duration) -> Option<Entry> {
        let place = self.view.find(words_of(a))?;
        let entry = self.view.entry(place)?;
        // Half a record cannot come of words that each stand for themselves.
        let [_, record @ ..] = &self.view.slots[place];
        record[word::USE].store(use_word(seconds(now), entry.due, true), Ordering::Relaxed);
        let rest = record[word::REST].load(Ordering::Relaxed);
        record[word::REST].store(used_rest(rest), Ordering::Relaxed);
        Some(entry)
    }

    /// Notes that `a` is not being asked any more, though it was not stored anew: readers
    /// say again that they use it.
    pub fn note_unasked(&mut self, a: Ipv6Addr) {
        let place = self.view.find(words_of(a));
        let Some((place, entry)) = place.zip(place.and_then(|place| self.view.entry(place))) else {
            return;
        };
        let [_, record @ ..] = &self.view.slots[place];
        record[word::USE].store(use_word(entry.used, entry.due, false), Ordering::Relaxed);
    }

    /// Nothing that is stored is fresh any more: the routes have changed, or the host
    /// was suspended. What is stored from now on is. The new epoch.
    pub fn bump_epoch(&mut self) -> u64 {
        let epoch = self.view.header.epoch().wrapping_add(1);
        self.view.header.set_epoch(epoch);
        if epoch.is_multiple_of(EPOCHS) {
            let slots = 0..self.view.slots();
            self.retain(slots, |entry| {
                u64::from((epoch as u8).wrapping_sub(entry.epoch)) < EPOCHS
            });
        }
        epoch
    }

    /// A sign of life.
    pub fn beat(&mut self, now: Duration) {
        self.view.header.beat(now);
    }

    /// Nobody is to read it any more.
    pub fn retire(&mut self) {
        self.view.header.retire();
    }

    fn write(&self, place: usize, record: [u64; WORDS]) {
        write_at(&self.view.slots[place], record);
    }

    fn count(&mut self, len: usize) {
        self.len = len;
        self.view.header.set_mappings(len);
    }
}

fn write_at<T: Word>(slot: &[T; SLOT_WORDS], record: [u64; WORDS]) {
    let [sequence, words @ ..] = slot;
    write(sequence, words, record);
}

fn is_over(((kind, ..), _): (Rank, usize)) -> bool {
    kind == Worth::Over
}

/// Marks a table as one that nobody is to read any more, whoever has written it.
///
/// # Errors
/// Why it is no table.
pub fn retire<T: Word>(memory: &[T]) -> Result<(), Invalid> {
    TableView::open(memory).map(|table| table.header.retire())
}

fn seconds(now: Duration) -> u32 {
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}
