//! Whether U still answers on a datagram socket: three datagrams sent with nothing
//! received, and it is doubted.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::refutation::Claim;

/// After so many datagrams that nothing came back for, U is doubted.
pub const UNANSWERED: u64 = 3;

/// Before so long after the first of them it is not: a burst is no silence. The
/// round-trip time that is assumed where none is known (RFC 8085, §3.1.1).
pub const PATIENCE_MS: u64 = 1000;

/// What the patience grows to where U was found alive each time.
const PATIENCE_MAX_MS: u64 = 60_000;

/// How U has answered: one word, so that it is never half written. Times are in
/// milliseconds.
///
/// | bits | content |
/// |---|---|
/// | 0..8 | datagrams sent since anything was received |
/// | 8 | something was received, ever |
/// | 9 | an error said that U does not serve |
/// | 10..16 | how often its silence was looked into |
/// | 16..64 | when the first of those datagrams was sent |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Silence(pub(crate) u64);

const COUNT: u64 = 0xff;
const PROVEN: u64 = 1 << 8;
const FAILED: u64 = 1 << 9;
const CHECK: u64 = 1 << 10;
const CHECKS: u64 = 0x3f << 10;

impl Silence {
    /// Something was just received.
    pub const PROVEN: Silence = Silence(PROVEN);

    /// How many datagrams were sent since anything was received, up to 255.
    #[must_use]
    #[inline]
    pub fn count(self) -> u64 {
        self.0 & COUNT
    }

    /// Whether anything was ever received from U on this socket.
    #[must_use]
    pub fn is_proven(self) -> bool {
        self.0 & PROVEN != 0
    }

    /// Whether an error said that U does not serve.
    #[must_use]
    pub fn has_failed(self) -> bool {
        self.0 & FAILED != 0
    }

    /// For how long nothing has come back; not at all by a clock that was set back.
    #[must_use]
    pub fn lasts(self, now: u64) -> u64 {
        now.saturating_sub(self.0 >> 16)
    }

    /// Whether U is to be doubted.
    #[must_use]
    #[inline]
    pub fn is_suspicious(self, now: u64) -> bool {
        self.0 & FAILED != 0 || self.count() >= UNANSWERED && self.lasts(now) >= self.patience()
    }

    /// Each time that U was found alive doubles it.
    fn patience(self) -> u64 {
        let checks = (self.0 & CHECKS) / CHECK;
        (PATIENCE_MS << checks.min(6)).min(PATIENCE_MAX_MS)
    }

    /// A datagram is sent.
    #[must_use]
    #[inline]
    pub fn sent(self, now: u64) -> Self {
        let since = |now: u64| Self(self.0 & 0xffff | now << 16);
        match self.count() {
            0 => Self(since(now).0 | 1),
            // The clock was set back: the time begins anew.
            _ if self.0 >> 16 > now => since(now),
            COUNT => self,
            _ => Self(self.0 + 1),
        }
    }

    /// An error says that U does not serve.
    #[must_use]
    pub fn failed(self) -> Self {
        Self(self.0 | FAILED)
    }

    /// The silence was looked into, and U is kept.
    #[must_use]
    pub fn excused(self, now: u64) -> Self {
        let checks = (self.0 & CHECKS).saturating_add(CHECK).min(CHECKS);
        let excused = Self(self.0 & !(FAILED | CHECKS) | checks);
        if excused.is_suspicious(now) {
            // Looked into as rarely as ever: it begins anew.
            return Self(excused.0 & (PROVEN | CHECKS) | 1 | now << 16);
        }
        excused
    }
}

/// What sockets that are closed by now have left unanswered. All-zero memory is an
/// empty table.
///
/// Each claim has one place, which the latest takes: what is forgotten is a doubt.
#[derive(Debug)]
pub struct SilenceTable {
    /// A mark of 56 bits above a count.
    counts: [AtomicU64; ENTRIES],
    /// When the first of them was sent.
    since: [AtomicU64; ENTRIES],
}

const ENTRIES: usize = 64;

impl SilenceTable {
    /// An empty table.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            counts: [const { AtomicU64::new(0) }; ENTRIES],
            since: [const { AtomicU64::new(0) }; ENTRIES],
        }
    }

    fn place(claim: &Claim) -> (usize, u64) {
        let mark = claim.mark() << 8;
        ((mark >> 58) as usize % ENTRIES, mark)
    }

    /// A socket is closed at `now` that has sent datagrams in vain. Whether they are
    /// enough for a doubt, with those of others before it.
    pub fn add(&self, claim: &Claim, silence: Silence, now: u64) -> bool {
        let (place, mark) = Self::place(claim);
        let (entry, since) = (&self.counts[place], &self.since[place]);
        let was = entry.load(Ordering::Relaxed);
        let before = if was & !COUNT == mark { was & COUNT } else { 0 };
        if before == 0 || since.load(Ordering::Relaxed) > now {
            since.store(silence.0 >> 16, Ordering::Relaxed);
        }
        let count = (before + silence.count()).min(COUNT);
        let lasts = now.saturating_sub(since.load(Ordering::Relaxed));
        let enough = count >= UNANSWERED && lasts >= PATIENCE_MS;
        entry.store(if enough { 0 } else { mark | count }, Ordering::Relaxed);
        enough
    }

    /// Something was received.
    pub fn ended(&self, claim: &Claim) {
        let (place, mark) = Self::place(claim);
        let entry = &self.counts[place];
        if entry.load(Ordering::Relaxed) & !COUNT == mark {
            entry.store(0, Ordering::Relaxed);
        }
    }
}

impl Default for SilenceTable {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_sockets_with_one_datagram_each() {
        let claim = |port| Claim {
            a: "2001:db8:a::53".parse().unwrap(),
            u: "2001:db8:1::1".parse().unwrap(),
            protocol: 17,
            port,
        };
        let table = SilenceTable::new();
        let sent = |count: u64, at: u64| (0..count).fold(Silence::default(), |s, _| s.sent(at));
        // One each, half a second apart.
        assert!(!table.add(&claim(53), sent(1, 5000), 5500));
        assert!(!table.add(&claim(53), sent(1, 5500), 6000));
        assert!(table.add(&claim(53), sent(1, 6000), 6500));
        // It begins anew.
        assert!(!table.add(&claim(53), sent(1, 6500), 7000));
        // Three at once are a burst, until a second has passed.
        assert!(!table.add(&claim(54), sent(3, 5000), 5001));
        assert!(table.add(&claim(54), sent(1, 6000), 6001));
        // What is received ends it.
        table.ended(&claim(53));
        assert!(!table.add(&claim(53), sent(2, 7000), 8500));
        table.ended(&claim(54));
        assert!(table.add(&claim(53), sent(1, 8500), 8501));
        // The clock was set back.
        assert!(!table.add(&claim(55), sent(2, 50_000), 51_000));
        assert!(!table.add(&claim(55), sent(1, 3000), 3500));
        assert!(table.add(&claim(55), sent(1, 3500), 4500));
    }

    #[test]
    fn three_datagrams_and_a_second() {
        let mut silence = Silence::default();
        for now in [5000, 5001, 5002] {
            assert!(!silence.is_suspicious(now));
            silence = silence.sent(now);
        }
        assert!(!silence.is_suspicious(5999));
        assert!(silence.is_suspicious(6000));
        let two = Silence::default().sent(5000).sent(5000);
        assert!(!two.is_suspicious(60_000));
        // The clock was set back: the time begins anew.
        assert!(!silence.is_suspicious(10));
        let set_back = silence.sent(10).sent(500);
        assert!(!set_back.is_suspicious(1009) && set_back.is_suspicious(1010));
    }

    #[test]
    fn what_was_received_ends_it() {
        let silence = Silence::PROVEN.sent(5000).sent(5000).sent(5000);
        assert!(silence.is_proven() && silence.is_suspicious(6000));
        assert!(!Silence::PROVEN.sent(7000).is_suspicious(99_000));
        assert!(!Silence::default().sent(1).is_proven());
    }

    #[test]
    fn an_error_is_enough() {
        assert!(Silence::PROVEN.failed().is_suspicious(0));
        assert!(!Silence::PROVEN.failed().excused(9).is_suspicious(99_000));
    }

    #[test]
    fn found_alive_it_is_looked_into_less_and_less_often() {
        let (mut silence, mut now) = (Silence::PROVEN, 5000);
        let mut looked_into = Vec::new();
        while looked_into.len() < 9 {
            silence = silence.sent(now);
            if silence.is_suspicious(now) {
                looked_into.push(now / 1000 - 5);
                silence = silence.excused(now);
                assert!(silence.is_proven() && !silence.is_suspicious(now));
            }
            now += 100;
        }
        // Doubling, and then once a minute.
        assert_eq!(looked_into, [1, 2, 4, 8, 16, 32, 60, 120, 180]);
    }

    #[test]
    fn the_count_ends_at_its_end() {
        let mut silence = Silence::default();
        for _ in 0..1000 {
            silence = silence.sent(5000);
        }
        assert_eq!((silence.count(), silence.lasts(6000)), (255, 1000));
        assert!(!silence.is_proven());
    }
}
