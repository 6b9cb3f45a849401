//! Timestamps of the Message Identification option (RFC 4285 §6), and both ends' use
//! of them.

use std::time::Duration;

/// Seconds from the epoch of NTP, 1900, to that of Unix, 1970.
const UNIX_EPOCH: u64 = 2_208_988_800;

/// A time as in NTP: 32 bits of seconds since 1900, modulo 2^32, and 32 bits of
/// fraction.
///
/// The seconds wrap in 2036, so an order exists only between times less than 68 years
/// apart.
//= https://www.rfc-editor.org/rfc/rfc4285#section-6
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The time that is `since` after the epoch of Unix.
    #[must_use]
    pub fn from_unix(since: Duration) -> Self {
        let seconds = since.as_secs().wrapping_add(UNIX_EPOCH) << 32;
        let fraction = (u64::from(since.subsec_nanos()) << 32) / 1_000_000_000;
        Self(seconds | fraction)
    }

    /// Whether this time is later than `other`.
    #[must_use]
    pub const fn is_after(self, other: Self) -> bool {
        self.0.wrapping_sub(other.0) as i64 > 0
    }

    /// Whether the two are at most `skew` apart.
    #[must_use]
    pub fn is_close(self, other: Self, skew: Duration) -> bool {
        let apart = (self.0.wrapping_sub(other.0) as i64).unsigned_abs();
        let fraction = (u64::from(skew.subsec_nanos()) << 32) / 1_000_000_000;
        let skew = skew.as_secs().min(u64::from(u32::MAX >> 1)) << 32 | fraction;
        apart <= skew
    }

    const fn seconds(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// What a rejection carries: the fraction of the refused timestamp, by which it is
    /// recognised, and the seconds of the agent's clock.
    //= https://www.rfc-editor.org/rfc/rfc4285#section-6
    #[must_use]
    pub const fn with_seconds_of(self, clock: Self) -> Self {
        Self(clock.0 >> 32 << 32 | self.0 & 0xffff_ffff)
    }

    /// Whether the fraction is that of `other`.
    #[must_use]
    pub const fn has_fraction_of(self, other: Self) -> bool {
        self.0 as u32 == other.0 as u32
    }
}

/// The responder's timestamps towards one agent under one security association: each
/// later than any before it, on the agent's clock once the agent has told it.
#[derive(Clone, Debug, Default)]
pub struct Stamps {
    /// Seconds that the agent's clock is ahead.
    offset: i32,
    last: Option<Timestamp>,
}

impl Stamps {
    /// Begins after `last`, the last one that was used before a restart.
    #[must_use]
    pub const fn new(last: Option<Timestamp>) -> Self {
        Self { offset: 0, last }
    }

    /// The timestamp for a message sent at `wall`.
    //= https://www.rfc-editor.org/rfc/rfc4285#section-6
    pub fn next(&mut self, wall: Timestamp) -> Timestamp {
        let shift = i64::from(self.offset) << 32;
        let mut stamp = Timestamp(wall.0.wrapping_add_signed(shift));
        if let Some(last) = self.last
            && !stamp.is_after(last)
        {
            stamp = Timestamp(last.0.wrapping_add(1));
        }
        self.last = Some(stamp);
        stamp
    }

    /// Takes over the agent's clock from its rejection of `sent`, if it may be farther
    /// from what was sent than `skew`; the seconds by which it then is ahead.
    ///
    /// Within `skew` it was not the clock: the agent has accepted a later one, so
    /// the next only has to be later still. Beyond, the agent has accepted none of
    /// what was sent by its present clock, and the memory of it would keep a clock
    /// that was ahead from ever going back.
    ///
    /// The rejection tells whole seconds, so the clocks are up to a second farther apart
    /// than these. What may be beyond is taken for it: were it not, a clock that is off
    /// by little more than `skew` would be refused for ever. Were it within after all,
    /// the next ones are refused for as long as they are behind, which is no longer
    /// than `skew`.
    //= https://www.rfc-editor.org/rfc/rfc4285#section-6
    pub fn adjust(&mut self, sent: Timestamp, answered: Timestamp, skew: Duration) -> Option<i32> {
        let ahead = answered.seconds().wrapping_sub(sent.seconds()) as i32;
        if ahead == 0 || u64::from(ahead.unsigned_abs()) < skew.as_secs() {
            return None;
        }
        self.offset = self.offset.wrapping_add(ahead);
        self.last = None;
        Some(ahead)
    }

    /// The last one that was used, to be kept over a restart.
    #[must_use]
    pub const fn last(&self) -> Option<Timestamp> {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SKEW: Duration = Duration::from_secs(7);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_unix(Duration::from_secs(seconds))
    }

    #[test]
    fn unix_and_ntp() {
        assert_eq!(Timestamp::from_unix(Duration::ZERO).0, 2_208_988_800 << 32);
        assert_eq!(
            Timestamp::from_unix(Duration::from_millis(1500)).0,
            2_208_988_801 << 32 | 1 << 31
        );
        // 7 February 2036, 06:28:16 UTC.
        assert_eq!(at(2_085_978_496).0, 0);
        assert!(at(2_085_978_496).is_after(at(2_085_978_495)));
        assert!(at(2_085_978_500).is_close(at(2_085_978_493), SKEW));
    }

    #[test]
    fn close_is_up_to_the_skew() {
        let clock = at(1_000_000);
        for (time, close) in [
            (999_993, true),
            (999_992, false),
            (1_000_007, true),
            (1_000_008, false),
        ] {
            assert_eq!(at(time).is_close(clock, SKEW), close, "{time}");
        }
        assert!(!Timestamp(at(1_000_007).0 + 1).is_close(clock, SKEW));
    }

    /// RFC 4285 §6: each timestamp is greater than any before it, whatever the clock
    /// does.
    #[test]
    fn a_clock_that_is_set_back_does_not_set_back_the_stamps() {
        let mut stamps = Stamps::default();
        let first = stamps.next(at(1000));
        let second = stamps.next(at(1000));
        let third = stamps.next(at(900));
        assert!(second.is_after(first) && third.is_after(second));
        let mut restarted = Stamps::new(stamps.last());
        assert!(restarted.next(at(900)).is_after(third));
    }

    /// RFC 4285 §6: the rejection carries the agent's seconds; the next is by them.
    #[test]
    fn the_agents_clock_is_taken_over() {
        for (own, agent) in [(1_000_000, 900_000), (900_000, 1_000_000)] {
            let mut stamps = Stamps::default();
            let sent = stamps.next(Timestamp::from_unix(Duration::new(own, 250_000_000)));
            let answered = sent.with_seconds_of(at(agent));
            assert!(answered.has_fraction_of(sent));
            let ahead = stamps.adjust(sent, answered, SKEW);
            assert_eq!(ahead.map(i64::from), Some(agent as i64 - own as i64));
            let next = stamps.next(at(own + 2));
            assert!(next.is_close(at(agent + 2), SKEW), "{next:?}");
        }
    }

    /// 7.25 s are more than the skew, and are told as 7 or as 8.
    #[test]
    fn a_clock_that_is_off_by_a_little_more_than_the_skew_is_taken_over() {
        for own in [1_000_000_000, 1_000_000_250, 1_000_000_500, 1_000_000_750] {
            for agent in [own + 7250, own - 7250] {
                let clock = |ms| Timestamp::from_unix(Duration::from_millis(ms));
                let mut stamps = Stamps::default();
                let sent = stamps.next(clock(own));
                assert!(!sent.is_close(clock(agent), SKEW));
                let answered = sent.with_seconds_of(clock(agent));
                let ahead = stamps.adjust(sent, answered, SKEW);
                assert!(ahead.is_some(), "{own} {agent}");
                let next = stamps.next(clock(own + 1500));
                assert!(next.is_close(clock(agent + 1500), SKEW), "{own} {agent}");
            }
        }
    }

    #[test]
    fn a_small_difference_is_no_reason_to_go_back() {
        let mut stamps = Stamps::default();
        let sent = stamps.next(at(1_000_000));
        let answered = sent.with_seconds_of(at(999_996));
        assert_eq!(stamps.adjust(sent, answered, SKEW), None);
        assert!(stamps.next(at(1_000_000)).is_after(sent));
    }

    proptest! {
        #[test]
        fn stamps_only_rise(clock in prop::collection::vec(0..100u64, 1..50)) {
            let mut stamps = Stamps::default();
            let mut last = stamps.next(at(0));
            for second in clock {
                let next = stamps.next(at(second));
                prop_assert!(next.is_after(last));
                last = next;
            }
        }
    }
}
