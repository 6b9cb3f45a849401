//! Lifetimes of bindings: units of four seconds.

use std::fmt;
use std::time::Duration;

/// Seconds of one unit.
const UNIT: u64 = 4;

/// A lifetime or a refresh interval as on the wire, in units of 4 s.
//= https://www.rfc-editor.org/rfc/rfc6275#section-6.1.7
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lifetime(pub u16);

/// A configured time that is less than one unit: on the wire it would ask for the
/// deletion of the binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a lifetime is at least 4 seconds")]
pub struct TooShort;

impl Lifetime {
    /// Asks for the deletion of a binding.
    pub const ZERO: Self = Self(0);
    /// The longest there is, 262,140 s.
    pub const MAX: Self = Self(u16::MAX);

    /// A time of the configuration, rounded down to units; the longest there is for
    /// everything longer.
    ///
    /// # Errors
    /// [`TooShort`] for less than a unit.
    pub fn configured(time: Duration) -> Result<Self, TooShort> {
        match time.as_secs() / UNIT {
            0 => Err(TooShort),
            units => Ok(Self(u16::try_from(units).unwrap_or(u16::MAX))),
        }
    }

    /// What is left of a binding, rounded up, so that who waits for as long finds it
    /// expired.
    #[must_use]
    pub fn remaining(time: Duration) -> Self {
        let whole = time
            .as_secs()
            .saturating_add(u64::from(time.subsec_nanos() > 0));
        Self(u16::try_from(whole.div_ceil(UNIT)).unwrap_or(u16::MAX))
    }

    /// As a time.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0 as u64 * UNIT)
    }

    /// Whether it asks for a deletion.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}s", self.duration().as_secs())
    }
}

impl fmt::Debug for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn configured_times_are_rounded_down_and_never_to_zero() {
        for (time, expected) in [
            (0, Err(TooShort)),
            (3999, Err(TooShort)),
            (4000, Ok(Lifetime(1))),
            (7999, Ok(Lifetime(1))),
            (60_000, Ok(Lifetime(15))),
            (262_140_000, Ok(Lifetime::MAX)),
            (900_000_000, Ok(Lifetime::MAX)),
        ] {
            assert_eq!(Lifetime::configured(ms(time)), expected, "{time}");
        }
        assert_eq!(Lifetime::configured(Duration::MAX), Ok(Lifetime::MAX));
    }

    #[test]
    fn what_is_left_is_rounded_up() {
        for (time, expected) in [(0, 0), (1, 1), (4000, 1), (4001, 2), (59_999, 15)] {
            assert_eq!(Lifetime::remaining(ms(time)), Lifetime(expected), "{time}");
        }
        assert_eq!(Lifetime::remaining(Duration::MAX), Lifetime::MAX);
    }

    proptest! {
        #[test]
        fn rounding_loses_less_than_a_unit(time in 4000..262_140_000u64) {
            let down = Lifetime::configured(ms(time)).unwrap().duration();
            prop_assert!(down <= ms(time) && ms(time) - down < ms(4000));
            let up = Lifetime::remaining(ms(time)).duration();
            prop_assert!(up >= ms(time) && up - ms(time) < ms(4000));
        }

        #[test]
        fn the_wire_is_exact(units in 1..=u16::MAX) {
            let time = Lifetime(units).duration();
            prop_assert_eq!(Lifetime::configured(time), Ok(Lifetime(units)));
            prop_assert_eq!(Lifetime::remaining(time), Lifetime(units));
        }
    }
}
