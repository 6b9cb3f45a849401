//! How long a thread has been held: at most one budget a second, whatever it asks
//! for.

use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

const ENTRIES: usize = 64;
const REACH: usize = 4;
const WINDOW: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Entry {
    /// The thread, 0 for none.
    thread: AtomicU64,
    /// When it was let go last, in nanoseconds.
    last: AtomicU64,
    /// For how long it was held without a whole second between, in nanoseconds.
    held: AtomicU64,
}

impl Entry {
    const fn new() -> Self {
        Self {
            thread: AtomicU64::new(0),
            last: AtomicU64::new(0),
            held: AtomicU64::new(0),
        }
    }
}

/// The ledger of the threads of a process. All-zero memory is an empty ledger.
///
/// Threads without a place of their own share one, which holds them less.
#[derive(Debug)]
pub struct StallLedger {
    entries: [Entry; ENTRIES],
}

impl StallLedger {
    /// An empty ledger.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            entries: [const { Entry::new() }; ENTRIES],
        }
    }

    /// How much longer `thread` may be held now, where `budget` is the most.
    #[must_use]
    pub fn allowance(&self, thread: u64, now: Duration, budget: Duration) -> Duration {
        let entry = self.entry(thread, now);
        if Self::is_over(entry, now) {
            return budget;
        }
        budget.saturating_sub(Duration::from_nanos(entry.held.load(Ordering::Relaxed)))
    }

    /// Notes that `thread` was held from `since` until `now`.
    pub fn charge(&self, thread: u64, since: Duration, now: Duration) {
        let entry = self.entry(thread, now);
        if Self::is_over(entry, since) {
            entry.held.store(0, Ordering::Relaxed);
        }
        let held = now.saturating_sub(since).as_nanos() as u64;
        entry.held.fetch_add(held, Ordering::Relaxed);
        entry.last.store(now.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Whether the thread has not been held for a whole second.
    fn is_over(entry: &Entry, now: Duration) -> bool {
        let last = Duration::from_nanos(entry.last.load(Ordering::Relaxed));
        now.saturating_sub(last) >= WINDOW
    }

    fn entry(&self, thread: u64, now: Duration) -> &Entry {
        let thread = thread.max(1);
        let start = (thread.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize;
        let reach = (0..REACH).map(|step| &self.entries[start.wrapping_add(step) % ENTRIES]);
        let own = |entry: &&Entry| entry.thread.load(Ordering::Relaxed) == thread;
        if let Some(entry) = reach.clone().find(own) {
            return entry;
        }
        for entry in reach {
            let holder = entry.thread.load(Ordering::Relaxed);
            if holder != 0 && !Self::is_over(entry, now) {
                continue;
            }
            let taken =
                entry
                    .thread
                    .compare_exchange(holder, thread, Ordering::Relaxed, Ordering::Relaxed);
            if taken.is_ok() {
                return entry;
            }
        }
        &self.entries[start % ENTRIES]
    }
}

impl Default for StallLedger {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn one_budget_a_second_for_each_thread() {
        let ledger = StallLedger::new();
        assert_eq!(ledger.allowance(7, ms(5000), ms(250)), ms(250));
        ledger.charge(7, ms(5000), ms(5100));
        assert_eq!(ledger.allowance(7, ms(5100), ms(250)), ms(150));
        ledger.charge(7, ms(5100), ms(5250));
        assert_eq!(ledger.allowance(7, ms(5300), ms(250)), ms(0));
        assert_eq!(ledger.allowance(8, ms(5300), ms(250)), ms(250));
        assert_eq!(ledger.allowance(7, ms(6249), ms(250)), ms(0));
        assert_eq!(ledger.allowance(7, ms(6250), ms(250)), ms(250));
        ledger.charge(7, ms(6250), ms(6260));
        assert_eq!(ledger.allowance(7, ms(7000), ms(250)), ms(240));
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes minutes under Miri")]
    fn no_second_holds_more_than_one_budget() {
        let ledger = StallLedger::new();
        let mut holds = Vec::new();
        for at in (5000..20_000).step_by(7) {
            let held = ledger.allowance(7, ms(at), ms(250)).min(ms(at % 90));
            if !held.is_zero() {
                ledger.charge(7, ms(at), ms(at) + held);
            }
            holds.push((at, held));
        }
        for begin in 5000..19_000 {
            let window = holds
                .iter()
                .filter(|(at, _)| (begin..begin + 1000).contains(at));
            assert!(window.map(|(_, held)| *held).sum::<Duration>() <= ms(250));
        }
        assert!(holds.iter().map(|(_, held)| *held).sum::<Duration>() > ms(1000));
    }

    #[test]
    fn more_threads_than_places_are_held_less_never_more() {
        let ledger = StallLedger::new();
        for thread in 1..1000 {
            ledger.charge(thread, ms(5000), ms(5250));
            assert_eq!(
                ledger.allowance(thread, ms(5250), ms(250)),
                ms(0),
                "{thread}"
            );
        }
    }
}
