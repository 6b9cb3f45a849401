//! A limit on how often something is said.

use core::time::Duration;

/// A token bucket: at most `burst` at once, and one more every `interval`.
//= https://www.rfc-editor.org/rfc/rfc4443#section-2.4
//# (f) Finally, in order to limit the bandwidth and forwarding costs
//# incurred by originating ICMPv6 error messages, an IPv6 node MUST
//# limit the rate of ICMPv6 error messages it originates.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    interval: Duration,
    burst: u32,
    /// When the bucket would be full again.
    full_at: Duration,
}

impl Limit {
    /// A full bucket. `interval` must not be zero.
    #[must_use]
    pub const fn new(interval: Duration, burst: u32) -> Self {
        Self {
            interval,
            burst,
            full_at: Duration::ZERO,
        }
    }

    /// Whether it may be said once more at `now`.
    pub fn permits(&mut self, now: Duration) -> bool {
        let from = self.full_at.max(now);
        let next = from.saturating_add(self.interval);
        if next.saturating_sub(now) > self.interval.saturating_mul(self.burst) {
            return false;
        }
        self.full_at = next;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    //= https://www.rfc-editor.org/rfc/rfc4443#section-2.4
    //= type=test
    //# (f) Finally, in order to limit the bandwidth and forwarding costs
    //# incurred by originating ICMPv6 error messages, an IPv6 node MUST
    //# limit the rate of ICMPv6 error messages it originates.
    #[test]
    fn after_the_burst_it_is_one_an_interval() {
        let mut limit = Limit::new(Duration::from_millis(10), 5);
        let mut now = Duration::from_secs(100);
        let said = (0..100).filter(|_| limit.permits(now)).count();
        assert_eq!(said, 5);
        now += Duration::from_millis(10);
        assert!(limit.permits(now));
        assert!(!limit.permits(now));
        // A second of a thousand calls: a hundred and no more.
        let mut said = 0;
        for _ in 0..1000 {
            now += Duration::from_millis(1);
            said += u32::from(limit.permits(now));
        }
        assert!((99..=101).contains(&said), "{said}");
        now += Duration::from_secs(10);
        let said = (0..100).filter(|_| limit.permits(now)).count();
        assert_eq!(said, 5, "the bucket holds no more than the burst");
    }
}
