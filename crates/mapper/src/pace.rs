//! How fast probes leave: the generic cell rate algorithm (ITU-T I.371), in total and for
//! each /48 of the addresses that are asked.
//!
//! A /48 is what one site has, and what one anycast service is announced as: a program
//! that walks through its addresses does not make this host a nuisance there.

use std::net::Ipv6Addr;
use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;

use crate::mapper::Limits;

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

/// On whose behalf a question is asked. Each has a share that the others leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Lane {
    /// Programs of root, and of the user whose daemon it is.
    Own,
    /// Programs of all other users together.
    Others,
    /// Mappings that are used and about to end, or in doubt.
    Upkeep,
}

impl Lane {
    /// How many there are.
    pub const COUNT: usize = 3;

    /// For how long a question may wait for its turn. Others leave room for root's, and
    /// questions for what is known and used: however many are asked, their turns are not
    /// so far off that these find none.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Duration {
        match self {
            Lane::Others => patience / 4,
            Lane::Own => patience / 2,
            Lane::Upkeep => patience,
        }
    }

    /// Which of the paces it has besides that of all; root's has none.
    fn own_pace(self) -> Option<usize> {
        match self {
            Lane::Own => None,
            Lane::Others => Some(0),
            Lane::Upkeep => Some(1),
        }
    }
}

/// A rate that the lanes share: others have one half of it at the most, upkeep too.
#[derive(Debug, Clone, Copy, Default)]
struct Shared {
    all: Pace,
    lanes: [Pace; Lane::COUNT - 1],
}

impl Shared {
    fn half(rate: &Rate) -> Rate {
        Rate {
            interval: rate.interval * 2,
            burst: rate.burst.div_ceil(2),
        }
    }

    fn next(&self, rate: &Rate, lane: Lane, now: Duration) -> Duration {
        let at = self.all.next(rate, now);
        match lane.own_pace() {
            Some(lane) => at.max(self.lanes[lane].next(&Self::half(rate), now)),
            None => at,
        }
    }

    fn take(&mut self, rate: &Rate, lane: Lane, now: Duration) {
        self.all.take(rate, now);
        if let Some(lane) = lane.own_pace() {
            self.lanes[lane].take(&Self::half(rate), now);
        }
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
    total: Shared,
    sites: LruCache<Site, Shared>,
}

impl Default for Paces {
    fn default() -> Self {
        Self {
            total: Shared::default(),
            sites: LruCache::new(SITES),
        }
    }
}

impl Paces {
    /// When a question about `a` may begin, which is then taken for that; `None`, and
    /// nothing is taken, when that is later than it may wait for.
    pub fn reserve(
        &mut self,
        limits: &Limits,
        lane: Lane,
        a: Ipv6Addr,
        now: Duration,
    ) -> Option<Duration> {
        let Limits {
            total,
            site: of_site,
            ..
        } = limits;
        let place = self.sites.get_or_insert_mut(site(a), Shared::default);
        let at = self
            .total
            .next(total, lane, now)
            .max(place.next(of_site, lane, now));
        (at <= now + lane.patience(limits.patience)).then(|| {
            self.total.take(total, lane, now);
            place.take(of_site, lane, now);
            at
        })
    }

    /// From when on there is room for upkeep.
    #[must_use]
    pub fn upkeep_from(&self, limits: &Limits) -> Duration {
        let next = self.total.next(&limits.total, Lane::Upkeep, Duration::ZERO);
        next.saturating_sub(Lane::Upkeep.patience(limits.patience) / 2)
    }

    /// Another probe of a question that has begun: it leaves at its time, and those that
    /// begin later wait for it; but it does not take the time that questions leave to
    /// others.
    pub fn charge(&mut self, limits: &Limits, lane: Lane, a: Ipv6Addr, now: Duration) {
        let latest = now + lane.patience(limits.patience);
        let place = self.sites.get_or_insert_mut(site(a), Shared::default);
        for (shared, rate) in [(&mut self.total, &limits.total), (place, &limits.site)] {
            if shared.next(rate, lane, now) <= latest {
                shared.take(rate, lane, now);
            }
        }
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

    fn limits(total: Rate, site: Rate) -> Limits {
        Limits {
            total,
            site,
            ..Limits::default()
        }
    }

    #[test]
    fn one_site_does_not_hold_up_another() {
        let limits = limits(Rate::new(1000, 100), Rate::new(10, 1));
        let mut paces = Paces::default();
        let mut ask = |a: &str| paces.reserve(&limits, Lane::Own, a.parse().unwrap(), SECOND);
        let ms = |ms| Some(SECOND + Duration::from_millis(ms));
        assert_eq!(ask("2001:db8:a::1"), ms(0));
        for n in 1..=5 {
            assert_eq!(ask("2001:db8:a:1::2"), ms(100 * n));
        }
        // What cannot be in time takes nothing from those who come later.
        for _ in 0..10 {
            assert_eq!(ask("2001:db8:a::3"), None);
        }
        assert_eq!(ask("2001:db8:b::1"), ms(0));
        let a = "2001:db8:a::4".parse().unwrap();
        let later = SECOND + Duration::from_millis(100);
        assert_eq!(paces.reserve(&limits, Lane::Own, a, later), ms(600));
    }

    /// How many of 4000 questions to one /48, or as many, have a turn.
    fn admitted(paces: &mut Paces, limits: &Limits, lane: Lane, one: bool, now: Duration) -> usize {
        let a =
            |n: u32| Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(n) << if one { 0 } else { 80 });
        (0..4000)
            .filter(|n| paces.reserve(limits, lane, a(*n), now).is_some())
            .count()
    }

    #[test]
    fn nobody_takes_what_belongs_to_others() {
        let limits = Limits::default();
        for one in [true, false] {
            // Whoever comes first and asks all the time.
            for first in [Lane::Own, Lane::Others, Lane::Upkeep] {
                let mut paces = Paces::default();
                for step in 0..10u32 {
                    let now = SECOND + step * Duration::from_millis(200);
                    admitted(&mut paces, &limits, first, one, now);
                }
                let now = 3 * SECOND;
                let rate = if one { limits.site } else { limits.total };
                let tenth = (SECOND.as_nanos() / rate.interval.as_nanos() / 10) as usize;
                for then in [Lane::Others, Lane::Own, Lane::Upkeep] {
                    if then == first || (first, then) == (Lane::Own, Lane::Others) {
                        continue;
                    }
                    // A tenth of what there is in a second has a turn at once.
                    let mut paces = Paces {
                        total: paces.total,
                        sites: paces.sites.clone(),
                    };
                    let count = admitted(&mut paces, &limits, then, one, now);
                    assert!(count >= tenth, "{first:?} {then:?} {one}: {count}");
                }
            }
        }
    }

    #[test]
    fn retransmissions_take_no_more_than_their_time() {
        let limits = limits(Rate::new(100, 10), Rate::new(100, 10));
        let mut paces = Paces::default();
        let a = "2001:db8:a::1".parse().unwrap();
        for (charged, left) in [(Lane::Others, Lane::Own), (Lane::Own, Lane::Upkeep)] {
            for _ in 0..100_000 {
                paces.charge(&limits, charged, a, SECOND);
            }
            assert!(
                paces.reserve(&limits, left, a, SECOND).is_some(),
                "{left:?}"
            );
        }
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
