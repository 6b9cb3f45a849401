//! Durations, rates and sizes as they are written in a scenario.
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

fn split(text: &str) -> Option<(f64, &str)> {
    let at = text.find(|c: char| c.is_ascii_alphabetic())?;
    let number: f64 = text[..at].trim().parse().ok()?;
    (number.is_finite() && number >= 0.0).then_some((number, &text[at..]))
}

/// A duration with its unit, `"40ms"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let seconds = match split(text) {
            Some((n, "us")) => n / 1e6,
            Some((n, "ms")) => n / 1e3,
            Some((n, "s")) => n,
            Some((n, "min")) => n * 60.0,
            _ => return Err(format!("{text:?} is no duration like \"40ms\" or \"10s\"")),
        };
        if seconds > 86_400.0 {
            return Err(format!("{text:?} is longer than a day"));
        }
        Ok(Self(Duration::from_secs_f64(seconds)))
    }
}

/// Bits per second, `"100mbit"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate(pub u64);

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let bits = match split(text) {
            Some((n, "kbit")) => n * 1e3,
            Some((n, "mbit")) => n * 1e6,
            Some((n, "gbit")) => n * 1e9,
            _ => return Err(format!("{text:?} is no rate like \"100mbit\"")),
        };
        if bits < 1.0 {
            return Err(format!("{text:?} is no usable rate"));
        }
        Ok(Self(bits as u64))
    }
}

/// Octets, `"64MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let octets = match split(text) {
            Some((n, "B")) => n,
            Some((n, "KiB")) => n * 1024.0,
            Some((n, "MiB")) => n * 1024.0 * 1024.0,
            Some((n, "GiB")) => n * 1024.0 * 1024.0 * 1024.0,
            _ => return Err(format!("{text:?} is no size like \"64MiB\"")),
        };
        Ok(Self(octets as u64))
    }
}

/// Permission bits in octal, `"0600"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mode(pub u32);

impl FromStr for Mode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = (3..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        match u32::from_str_radix(text, 8) {
            Ok(bits) if digits => Ok(Self(bits)),
            _ => Err(format!("{text:?} are no permission bits like \"0600\"")),
        }
    }
}

macro_rules! from_string {
    ($($name:ident)*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(de::Error::custom)
            }
        }
    )*};
}
from_string!(Span Rate Size Mode);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_required_and_understood() {
        assert_eq!("40ms".parse(), Ok(Span(Duration::from_millis(40))));
        assert_eq!("1.5s".parse(), Ok(Span(Duration::from_millis(1500))));
        assert_eq!("100mbit".parse(), Ok(Rate(100_000_000)));
        assert_eq!("2MiB".parse(), Ok(Size(2 << 20)));
        for bad in ["", "40", "ms", "-1s", "1 day", "nan s", "1e9s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
        assert!("0mbit".parse::<Rate>().is_err());
        assert!("64".parse::<Size>().is_err());
    }
}
