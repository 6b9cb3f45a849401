//! Sequence numbers of Binding Updates.

use std::fmt;

/// A sequence number, a free running counter modulo 2^16.
//= https://www.rfc-editor.org/rfc/rfc6275#section-6.1.7
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Sequence(pub u16);

impl Sequence {
    /// How far ahead of the last number one may be to be the later.
    pub const WINDOW: u16 = 0x7fff;

    /// Whether a home agent whose last accepted number is `last` accepts this one.
    ///
    /// The number itself and the 32768 preceding values are "less than or equal".
    //= https://www.rfc-editor.org/rfc/rfc6275#section-9.5.1
    #[must_use]
    pub const fn is_after(self, last: Self) -> bool {
        let ahead = self.0.wrapping_sub(last.0);
        ahead != 0 && ahead <= Self::WINDOW
    }

    /// The number `step` further on.
    #[must_use]
    pub const fn advance(self, step: u16) -> Self {
        Self(self.0.wrapping_add(step))
    }

    /// The number `step` back.
    #[must_use]
    pub const fn back(self, step: u16) -> Self {
        Self(self.0.wrapping_sub(step))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule as RFC 6275 §9.5.1 words it, counted out one by one: less than or
    /// equal is "the last received number and the preceding 32768 values".
    fn is_less_or_equal(received: u16, last: u16) -> bool {
        let mut value = last;
        for _ in 0..=32768 {
            if value == received {
                return true;
            }
            value = value.wrapping_sub(1);
        }
        false
    }

    /// RFC 6275 §9.5.1: the example of the RFC, all of it.
    #[test]
    fn the_example_of_the_rfc() {
        for received in 0..=u16::MAX {
            let refused = received <= 15 || received >= 32783;
            assert_eq!(
                Sequence(received).is_after(Sequence(15)),
                !refused,
                "{received}"
            );
        }
    }

    #[test]
    fn what_was_seen_live() {
        let last = Sequence(40_000);
        assert!(last.advance(32767).is_after(last));
        assert!(!last.advance(32768).is_after(last));
        assert!(!last.is_after(last));
    }

    proptest! {
        /// RFC 6275 §9.5.1: the comparison MUST be performed modulo 2^16.
        #[test]
        fn the_window_is_the_one_counted_out(received: u16, last: u16) {
            prop_assert_eq!(
                Sequence(received).is_after(Sequence(last)),
                !is_less_or_equal(received, last)
            );
        }

        #[test]
        fn steps_are_modulo(from: u16, step: u16) {
            let to = Sequence(from).advance(step);
            prop_assert_eq!(u32::from(to.0), (u32::from(from) + u32::from(step)) % 65536);
            prop_assert_eq!(to.back(step), Sequence(from));
        }
    }
}
