//! How fast probes leave: the generic cell rate algorithm (ITU-T I.371), in total and for
//! each /48 of the addresses that are asked.
//!
//! A /48 is what one site has, and what one anycast service is announced as: a program
//! that walks through its addresses does not make this host a nuisance there.

use std::net::Ipv6Addr;
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

/// So many in a second, and so many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Between one and the next, in the long run.
    pub interval: Duration,
    /// How many may come together.
    pub burst: u32,
}

impl Rate {
    /// `per_second` in the long run, `burst` at once; each at least 1.
    #[must_use]
    pub const fn new(per_second: u32, burst: u32) -> Self {
        let per_second = if per_second == 0 { 1 } else { per_second };
        Self {
            interval: Duration::from_nanos(1_000_000_000 / per_second as u64),
            burst: if burst == 0 { 1 } else { burst },
        }
    }
}

/// How much of a rate is used up: the theoretical arrival time of the next.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace(Duration);

impl Pace {
    /// When the next may be, at `now` the earliest.
    #[must_use]
    pub fn next(&self, rate: &Rate, now: Duration) -> Duration {
        let slack = rate.interval * (rate.burst - 1);
        self.0.saturating_sub(slack).max(now)
    }

    /// Takes the next, when it may be or not: who comes after waits for longer.
    pub fn take(&mut self, rate: &Rate, now: Duration) {
        self.0 = self.0.max(now).saturating_add(rate.interval);
    }

    /// Takes the next and says when it may be.
    pub fn reserve(&mut self, rate: &Rate, now: Duration) -> Duration {
        let at = self.next(rate, now);
        self.take(rate, now);
        at
    }
}

/// The /48 that an address is in.
type Site = [u8; 6];

fn site(a: Ipv6Addr) -> Site {
    let [a0, a1, a2, a3, a4, a5, ..] = a.octets();
    [a0, a1, a2, a3, a4, a5]
}

/// How many /48 are remembered; one that was asked long before has its whole burst.
const SITES: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// The pace of all probes, and of those to each /48.
#[derive(Debug)]
pub struct Paces {
    total: Pace,
    sites: LruCache<Site, Pace>,
}

impl Default for Paces {
    fn default() -> Self {
        Self {
            total: Pace::default(),
            sites: LruCache::new(SITES),
        }
    }
}

impl Paces {
    /// When a question about `a` may begin as far as its /48 is concerned, which is then
    /// taken for that; `None`, and nothing is taken, when that is later than `latest`.
    pub fn reserve_site(
        &mut self,
        rate: &Rate,
        a: Ipv6Addr,
        now: Duration,
        latest: Duration,
    ) -> Option<Duration> {
        let pace = self.sites.get_or_insert_mut(site(a), Pace::default);
        let at = pace.next(rate, now);
        (at <= latest).then(|| {
            pace.take(rate, now);
            at
        })
    }

    /// When one more question may begin as far as all of them are concerned.
    pub fn reserve_total(&mut self, rate: &Rate, now: Duration) -> Duration {
        self.total.reserve(rate, now)
    }

    /// Another probe of a question that has begun: it leaves at its time, and those that
    /// begin later wait for it.
    pub fn charge(&mut self, total: &Rate, of_site: &Rate, a: Ipv6Addr, now: Duration) {
        self.total.take(total, now);
        self.sites
            .get_or_insert_mut(site(a), Pace::default)
            .take(of_site, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = Rate::new(10, 3);
        let mut pace = Pace::default();
        let at: Vec<_> = (0..6).map(|_| pace.reserve(&rate, SECOND)).collect();
        let ms = |ms| SECOND + Duration::from_millis(ms);
        assert_eq!(at, [ms(0), ms(0), ms(0), ms(100), ms(200), ms(300)]);
        // After a while of quiet the whole burst is there again, and no more.
        let later = 10 * SECOND;
        let at: Vec<_> = (0..4).map(|_| pace.reserve(&rate, later) - later).collect();
        let none = Duration::ZERO;
        assert_eq!(at, [none, none, none, Duration::from_millis(100)]);
    }

    #[test]
    fn one_site_does_not_hold_up_another() {
        let rate = Rate::new(10, 1);
        let mut paces = Paces::default();
        let mut ask =
            |a: &str, latest| paces.reserve_site(&rate, a.parse().unwrap(), SECOND, latest);
        let latest = SECOND + Duration::from_millis(150);
        assert_eq!(ask("2001:db8:a::1", latest), Some(SECOND));
        let second = Some(SECOND + Duration::from_millis(100));
        assert_eq!(ask("2001:db8:a:1::2", latest), second);
        // What cannot be in time takes nothing from those who come later.
        assert_eq!(ask("2001:db8:a::3", latest), None);
        assert_eq!(ask("2001:db8:a::3", latest), None);
        let third = Some(SECOND + Duration::from_millis(200));
        assert_eq!(ask("2001:db8:a::3", 2 * SECOND), third);
        assert_eq!(ask("2001:db8:b::1", latest), Some(SECOND));
    }

    proptest! {
        /// In no time do more begin than the burst and what the rate gives.
        #[test]
        fn never_faster_than_the_rate(
            steps in proptest::collection::vec(0u64..300, 1..200),
            per_second in 1u32..100,
            burst in 1u32..20,
        ) {
            let rate = Rate::new(per_second, burst);
            let mut pace = Pace::default();
            let mut now = SECOND;
            let mut begun = Vec::new();
            for step in steps {
                now += Duration::from_millis(step);
                begun.push(pace.reserve(&rate, now).max(now));
            }
            begun.sort();
            for (n, from) in begun.iter().enumerate() {
                for (m, to) in begun.iter().enumerate().skip(n) {
                    let allowed = u128::from(burst) + (*to - *from).as_nanos() / rate.interval.as_nanos();
                    prop_assert!((m - n) as u128 <= allowed);
                }
            }
        }
    }
}
