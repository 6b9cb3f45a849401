//! Which unicast address stands for which destination, on which datagram socket.
//!
//! A socket keeps the U that it was given for an A for as long as it uses it and U
//! answers, whatever mapping is learned meanwhile; and a datagram from U is shown as
//! one from A. Where the decision was to go to A itself, that stays so as well: a
//! conversation is not moved in its midst.
//!
//! Time is in milliseconds, by any clock that also runs while the host sleeps; one
//! that jumps makes a socket ask again earlier, and nothing worse.

use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::mapping::{address_of, places, words_of};
use crate::silence::Silence;
use crate::slot::Slot;

/// Pins that a process can hold at a time.
pub const ENTRIES: usize = if cfg!(miri) { 64 } else { 4096 };
/// Entries of the index by U.
const HINTS: usize = 2 * ENTRIES;
/// Entries, of either, that one address may stand in.
const REACH: usize = 8;
/// A pin that was not used for so long may make place for another, whatever it is.
const FORGOTTEN_MS: u64 = 600_000;

/// The far end of datagrams, as seen from one socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remote {
    /// The socket: a number that no other of this process has had; not 0.
    pub socket: u32,
    /// The address.
    pub address: Ipv6Addr,
    /// The port, in host order.
    pub port: u16,
}

/// What stands for a destination on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    /// What the program speaks to.
    pub a: Ipv6Addr,
    /// What is spoken to: U, or A itself where it was decided so.
    pub u: Ipv6Addr,
    /// The port, in host order.
    pub port: u16,
    /// For how many seconds it may lie unused before A is asked again, up to 32767;
    /// 0 is for ever.
    pub idle: u16,
    /// The place in the table.
    pub place: Place,
}

impl Pin {
    /// Whether the program is moved to another address than its own.
    #[must_use]
    #[inline]
    pub fn is_moved(&self) -> bool {
        self.a != self.u
    }
}

/// A place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(pub u16);

/// Whose, A, and U.
///
/// | bits of the first word | content |
/// |---|---|
/// | 0..16 | port |
/// | 16 | former: another U has taken its place |
/// | 17..32 | for how many seconds it may lie unused |
/// | 32..64 | socket |
const WORDS: usize = 5;
const FORMER: u64 = 1 << 16;
const IDLE: u64 = 0x7fff << 17;

#[derive(Debug)]
struct Entry {
    pin: Slot<WORDS>,
    /// When it was used last, either way.
    used: AtomicU64,
    silence: AtomicU64,
}

/// The pins of one process. All-zero memory is an empty table.
#[derive(Debug)]
pub struct PinTable {
    entries: [Entry; ENTRIES],
    /// By U: the place of the entry + 1, below a mark of 48 bits.
    hints: [AtomicU64; HINTS],
}

/// What tells the remotes with one address apart.
#[inline]
fn key(remote: &Remote) -> u64 {
    u64::from(remote.socket) << 32 | u64::from(remote.port)
}

#[inline]
fn start(address: [u64; 2], key: u64) -> [u64; 2] {
    [
        address[0] ^ key.wrapping_mul(0x9e37_79b9_7f4a_7c15),
        address[1],
    ]
}

#[inline]
fn mark_of(address: [u64; 2], key: u64) -> u64 {
    let [high, low] = start(address, key);
    let mixed = (high.rotate_left(23) ^ low).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (mixed ^ mixed >> 29) << 16
}

// A call, on the way of every datagram, would be made with all in memory.
#[inline(always)]
fn pin(place: usize, words: &[u64; WORDS]) -> Pin {
    Pin {
        a: address_of([words[1], words[2]]),
        u: address_of([words[3], words[4]]),
        port: words[0] as u16,
        idle: ((words[0] & IDLE) >> 17) as u16,
        place: Place(place as u16),
    }
}

impl PinTable {
    /// An empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: [const {
                Entry {
                    pin: Slot::new(),
                    used: AtomicU64::new(0),
                    silence: AtomicU64::new(0),
                }
            }; ENTRIES],
            hints: [const { AtomicU64::new(0) }; HINTS],
        }
    }

    #[inline]
    fn entry(&self, place: Place) -> &Entry {
        &self.entries[usize::from(place.0) % ENTRIES]
    }

    /// What stands for a destination.
    #[must_use]
    #[inline]
    pub fn to(&self, remote: &Remote) -> Option<Pin> {
        // One that is moved by another thread meanwhile stands where was looked first.
        self.find_to(remote).or_else(|| self.find_to(remote))
    }

    #[inline]
    fn find_to(&self, remote: &Remote) -> Option<Pin> {
        let (a, key) = (words_of(remote.address), key(remote));
        places(start(a, key), REACH, ENTRIES).find_map(|place| {
            let words = self.read(place)?;
            (words[0] & !IDLE == key && words[1..3] == a).then(|| pin(place, &words))
        })
    }

    /// For what a source stands: the pin with this U, be it in use or a former one.
    #[must_use]
    #[inline]
    pub fn from(&self, remote: &Remote) -> Option<Pin> {
        self.find_from(remote, 0)
            .or_else(|| self.find_from(remote, 0))
    }

    /// Only former ones with `FORMER`.
    #[inline]
    fn find_from(&self, remote: &Remote, which: u64) -> Option<Pin> {
        let (u, key) = (words_of(remote.address), key(remote));
        let mark = mark_of(u, key);
        places(start(u, key), REACH, HINTS).find_map(|hint| {
            let hint = self.hints[hint].load(Ordering::Acquire);
            if hint & !0xffff != mark || hint & 0xffff == 0 {
                return None;
            }
            let place = (hint & 0xffff) as usize - 1;
            let words = self.read(place % ENTRIES)?;
            let same = words[0] & !(IDLE | FORMER) == key && words[3..5] == u;
            (same && words[0] & which == which).then(|| pin(place, &words))
        })
    }

    /// The pin in a place, if it is the one that [`Self::to`] finds: what was used last is
    /// most often what is used next. `None` says nothing about other places.
    #[must_use]
    #[inline(always)]
    pub fn to_in(&self, place: Place, remote: &Remote) -> Option<Pin> {
        let words = self.entry(place).pin.read()?;
        let same = words[0] & !IDLE == key(remote) && words[1..3] == words_of(remote.address);
        if same {
            Some(pin(usize::from(place.0), &words))
        } else {
            None
        }
    }

    /// The same for [`Self::from`]: on one socket a U stands for one A.
    #[must_use]
    #[inline(always)]
    pub fn from_in(&self, place: Place, remote: &Remote) -> Option<Pin> {
        let words = self.entry(place).pin.read()?;
        let same = words[0] & !IDLE == key(remote) && words[3..5] == words_of(remote.address);
        if same {
            Some(pin(usize::from(place.0), &words))
        } else {
            None
        }
    }

    /// Remembers what stands for a destination; where that is known already, what
    /// is known stays, and is returned. `None` when there is no place.
    pub fn insert(&self, remote: &Remote, u: Ipv6Addr, idle: u16, now: u64) -> Option<Pin> {
        match self.to(remote) {
            Some(known) => Some(known),
            None => self.put(remote, u, idle, 0, now),
        }
    }

    /// Puts another U, or A itself, in the place of what a pin has had. What still
    /// comes from there is shown as before. `None` when there is no place.
    ///
    /// At no moment is there nothing: another thread may be receiving, and what comes
    /// from U then would be shown as it comes.
    pub fn replace(&self, remote: &Remote, old: &Pin, u: Ipv6Addr, now: u64) -> Option<Pin> {
        let from_old = Remote {
            address: old.u,
            ..*remote
        };
        if old.is_moved() && old.u != u && self.find_from(&from_old, FORMER).is_none() {
            // Without a place for it, what comes late is shown as it comes.
            let _ = self.put(remote, old.u, old.idle.max(1), FORMER, now);
        }
        let new = self.put(remote, u, old.idle, 0, now);
        self.forget(remote.socket, old);
        // In a full table, the place that it leaves is the one that there is.
        new.or_else(|| self.put(remote, u, old.idle, 0, now))
    }

    /// Forgets a pin, if it is what there is in its place still.
    fn forget(&self, socket: u32, old: &Pin) {
        self.entry(old.place).pin.update(|words| {
            let found = pin(usize::from(old.place.0), &words);
            let same = found == *old && words[0] >> 32 == u64::from(socket);
            (same && words[0] & FORMER == 0).then_some([0; WORDS])
        });
    }

    // On the stack of its callers it would be three times.
    #[inline(never)]
    fn put(&self, remote: &Remote, u: Ipv6Addr, idle: u16, former: u64, now: u64) -> Option<Pin> {
        let (a, to, key) = (words_of(remote.address), words_of(u), key(remote));
        let words = [
            key | former | u64::from(idle & 0x7fff) << 17,
            a[0],
            a[1],
            to[0],
            to[1],
        ];
        // Another thread may take a place at the same moment: then the next one.
        for _ in 0..REACH {
            let worth = |place| {
                let (worth, found) = self.worth(place, now)?;
                Some((worth, place, found))
            };
            let (_, place, found) = places(start(a, key), REACH, ENTRIES)
                .filter_map(worth)
                .min()?;
            let entry = &self.entries[place];
            // Before anyone can see the pin: by an old time it would be one to displace.
            let anew = || {
                entry.used.store(now, Ordering::Relaxed);
                entry.silence.store(0, Ordering::Relaxed);
            };
            let same = |stands| (stands == found).then_some(words);
            if entry.pin.update_with(same, anew) {
                self.hint(to, key, place);
                return Some(pin(place, &words));
            }
        }
        None
    }

    /// Forgets a pin of a socket. Whether this call has: `false` where there was none in
    /// that place, and where another thread is writing there.
    #[must_use]
    pub fn clear(&self, socket: u32, place: Place) -> bool {
        let own = |words: &[u64; WORDS]| words[0] >> 32 == u64::from(socket);
        let nothing = |words| own(&words).then_some([0; WORDS]);
        self.entry(place).pin.update(nothing)
    }

    /// Forgets a socket, which is being closed.
    pub fn release(&self, socket: u32) {
        for (place, entry) in self.entries.iter().enumerate() {
            if entry
                .pin
                .read()
                .is_some_and(|words| words[0] >> 32 == u64::from(socket))
            {
                let _ = self.clear(socket, Place(place as u16));
            }
        }
    }

    /// The pins of a socket, with former ones: by a look at the whole table.
    pub fn of(&self, socket: u32) -> impl Iterator<Item = Pin> {
        (0..ENTRIES).filter_map(move |place| {
            let words = self.read(place)?;
            (words[0] >> 32 == u64::from(socket)).then(|| pin(place, &words))
        })
    }

    /// The pin in a place, if it is one of this socket's.
    #[must_use]
    #[inline]
    pub fn at(&self, socket: u32, place: Place) -> Option<Pin> {
        let words = self.read(usize::from(place.0) % ENTRIES)?;
        let own = words[0] >> 32 == u64::from(socket) && words[0] & FORMER == 0;
        own.then(|| pin(usize::from(place.0), &words))
    }

    /// Whether a pin has lain unused for too long.
    #[must_use]
    #[inline]
    pub fn is_idle(&self, pin: &Pin, now: u64) -> bool {
        let used = self.entry(pin.place).used.load(Ordering::Relaxed);
        pin.idle != 0 && now.abs_diff(used) > u64::from(pin.idle) * 1000
    }

    /// How U has answered so far.
    #[must_use]
    #[inline]
    pub fn silence(&self, place: Place) -> Silence {
        Silence(self.entry(place).silence.load(Ordering::Relaxed))
    }

    /// Notes that a datagram is sent. Of two threads that do so at the same time one
    /// may not be counted.
    #[inline]
    pub fn sent(&self, place: Place, now: u64) {
        let entry = self.entry(place);
        entry.used.store(now, Ordering::Relaxed);
        let silence = Silence(entry.silence.load(Ordering::Relaxed)).sent(now);
        entry.silence.store(silence.0, Ordering::Relaxed);
    }

    /// Notes that a datagram was received.
    #[inline]
    pub fn heard(&self, place: Place, now: u64) {
        let entry = self.entry(place);
        entry.used.store(now, Ordering::Relaxed);
        if entry.silence.load(Ordering::Relaxed) != Silence::PROVEN.0 {
            entry.silence.store(Silence::PROVEN.0, Ordering::Relaxed);
        }
    }

    /// Notes an error by which U does not serve.
    pub fn failed(&self, place: Place) {
        self.change(place, Silence::failed);
    }

    /// Notes that the silence was looked into, and U found alive.
    pub fn excused(&self, place: Place, now: u64) {
        self.change(place, |silence| silence.excused(now));
    }

    fn change(&self, place: Place, change: impl Fn(Silence) -> Silence) {
        let silence = &self.entry(place).silence;
        let changed = change(Silence(silence.load(Ordering::Relaxed)));
        silence.store(changed.0, Ordering::Relaxed);
    }

    /// The words of an entry. One that is being written is waited for, for a moment:
    /// a pin that is overlooked would show U to the program.
    #[inline]
    fn read(&self, place: usize) -> Option<[u64; WORDS]> {
        let slot = &self.entries[place].pin;
        slot.read().or_else(|| {
            (0..100).find_map(|_| {
                core::hint::spin_loop();
                slot.read()
            })
        })
    }

    /// What would be lost with an entry: 0 for nothing, otherwise the time of its last
    /// use; and what stands there. `None` where it is in use.
    fn worth(&self, place: usize, now: u64) -> Option<(u64, [u64; WORDS])> {
        let words = self.entries[place].pin.read()?;
        if words[0] == 0 {
            return Some((0, words));
        }
        let used = self.entries[place].used.load(Ordering::Relaxed);
        let idle = match (words[0] & IDLE) >> 17 {
            0 => FORGOTTEN_MS,
            idle => (idle * 1000).min(FORGOTTEN_MS),
        };
        (now.abs_diff(used) > idle).then(|| (used.max(1), words))
    }

    /// Enters a pin into the index by U. A hint that is overwritten, for want of a
    /// free one, makes late datagrams of one socket appear from U.
    fn hint(&self, u: [u64; 2], key: u64, place: usize) {
        let hint = mark_of(u, key) | (place as u64 + 1);
        let mut last = 0;
        for at in places(start(u, key), REACH, HINTS) {
            // Who sees a hint sees the pin.
            let known = self.hints[at].load(Ordering::Acquire);
            let (made, failed) = (Ordering::Release, Ordering::Relaxed);
            // Another thread may take it at the same moment: then the next one.
            let exchange = || self.hints[at].compare_exchange(known, hint, made, failed);
            if known == hint || !self.is_live(known) && exchange().is_ok() {
                return;
            }
            last = at;
        }
        self.hints[last].store(hint, Ordering::Release);
    }

    /// Whether a hint leads to the entry that it was made for.
    fn is_live(&self, hint: u64) -> bool {
        if hint & 0xffff == 0 {
            return false;
        }
        let place = ((hint & 0xffff) as usize - 1) % ENTRIES;
        self.entries[place].pin.read().is_none_or(|words| {
            let key = words[0] & !(IDLE | FORMER);
            words[0] != 0 && mark_of([words[3], words[4]], key) == hint & !0xffff
        })
    }
}

impl Default for PinTable {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
