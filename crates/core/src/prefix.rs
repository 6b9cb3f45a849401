//! IPv6 prefixes and sets of them.

use core::fmt;
use core::net::Ipv6Addr;
use core::str::FromStr;

/// An IPv6 prefix, such as `2001:db8::/32`. Bits beyond the length are zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: [u8; 16],
    len: u8,
}

/// Text that is not a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PrefixError {
    /// Not an IPv6 address before the slash.
    Address,
    /// Not a number from 0 to 128 behind the slash.
    Length,
    /// Bits are set beyond the length: most likely a slip of the pen.
    HostBits,
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PrefixError::Address => "not an IPv6 address",
            PrefixError::Length => "prefix length is not a number from 0 to 128",
            PrefixError::HostBits => "bits are set beyond the prefix length",
        })
    }
}

impl core::error::Error for PrefixError {}

fn mask(len: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0)
}

impl Prefix {
    /// The prefix of this length that begins with an address.
    ///
    /// # Errors
    /// [`PrefixError::Length`] beyond 128, and [`PrefixError::HostBits`].
    pub fn new(address: Ipv6Addr, len: u8) -> Result<Self, PrefixError> {
        if len > 128 {
            return Err(PrefixError::Length);
        }
        if u128::from(address) & !mask(len) != 0 {
            return Err(PrefixError::HostBits);
        }
        Ok(Self {
            address: address.octets(),
            len,
        })
    }

    /// The prefix of one address.
    #[must_use]
    pub const fn host(address: Ipv6Addr) -> Self {
        Self {
            address: address.octets(),
            len: 128,
        }
    }

    /// Whether `address` begins with this prefix.
    #[must_use]
    pub fn contains(&self, address: Ipv6Addr) -> bool {
        (u128::from(address) ^ u128::from_be_bytes(self.address)) & mask(self.len) == 0
    }

    /// The address that all of its addresses begin with.
    #[must_use]
    pub const fn address(&self) -> Ipv6Addr {
        Ipv6Addr::from_octets(self.address)
    }

    /// The length in bits, 0 to 128.
    #[must_use]
    pub fn len_bits(&self) -> u8 {
        self.len
    }
}

impl FromStr for Prefix {
    type Err = PrefixError;

    /// Reads `address/length`, or an address alone as its own /128.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, len) = match text.split_once('/') {
            None => (text, 128),
            Some((address, len)) => {
                let digits = !len.is_empty() && len.bytes().all(|b| b.is_ascii_digit());
                let len = len.parse::<u8>().ok().filter(|len| digits && *len <= 128);
                (address, len.ok_or(PrefixError::Length)?)
            }
        };
        let address: Ipv6Addr = address.parse().map_err(|_| PrefixError::Address)?;
        Self::new(address, len)
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from(self.address);
        if self.len == 128 {
            write!(f, "{address}")
        } else {
            write!(f, "{address}/{}", self.len)
        }
    }
}

impl fmt::Debug for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// At most `N` prefixes.
#[derive(Clone, Copy)]
pub struct PrefixSet<const N: usize> {
    prefixes: [Prefix; N],
    len: usize,
}

/// A [`PrefixSet`] has no room for another prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

impl<const N: usize> PrefixSet<N> {
    /// No prefixes.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            prefixes: [Prefix {
                address: [0; 16],
                len: 0,
            }; N],
            len: 0,
        }
    }

    /// Adds a prefix; one that is there already is not added again.
    ///
    /// # Errors
    /// [`Full`] when `N` others are there.
    pub fn insert(&mut self, prefix: Prefix) -> Result<(), Full> {
        if self.as_slice().contains(&prefix) {
            return Ok(());
        }
        *self.prefixes.get_mut(self.len).ok_or(Full)? = prefix;
        self.len += 1;
        Ok(())
    }

    /// The prefixes, in the order they came.
    #[must_use]
    pub fn as_slice(&self) -> &[Prefix] {
        &self.prefixes[..self.len]
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The longest prefix that contains `address`.
    #[must_use]
    pub fn matching(&self, address: Ipv6Addr) -> Option<Prefix> {
        let matching = self
            .as_slice()
            .iter()
            .filter(|prefix| prefix.contains(address));
        matching.max_by_key(|prefix| prefix.len).copied()
    }

    /// Whether a prefix contains `address`.
    #[must_use]
    pub fn contains(&self, address: Ipv6Addr) -> bool {
        self.as_slice()
            .iter()
            .any(|prefix| prefix.contains(address))
    }
}

impl<const N: usize> Default for PrefixSet<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for PrefixSet<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_prefix() {
        for (text, error) in [
            ("", PrefixError::Address),
            ("2001:db8::/", PrefixError::Length),
            ("2001:db8::/129", PrefixError::Length),
            ("2001:db8::/+8", PrefixError::Length),
            ("2001:db8::/-1", PrefixError::Length),
            ("2001:db8::1/64", PrefixError::HostBits),
            ("192.0.2.0/24", PrefixError::Address),
            ("fe80::1%eth0", PrefixError::Address),
            (" 2001:db8::/32", PrefixError::Address),
        ] {
            assert_eq!(text.parse::<Prefix>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn lengths_at_the_ends() {
        let all: Prefix = "::/0".parse().unwrap();
        let one: Prefix = "2001:db8::1/128".parse().unwrap();
        assert!(all.contains("ff02::1".parse().unwrap()));
        assert!(one.contains("2001:db8::1".parse().unwrap()));
        assert!(!one.contains("2001:db8::2".parse().unwrap()));
        assert_eq!(one.to_string(), "2001:db8::1");
    }

    #[test]
    fn a_set_is_bounded_and_has_no_duplicates() {
        let mut set = PrefixSet::<2>::new();
        let [a, b, c] = ["2001:db8::/32", "2001:db8:1::/48", "::/0"].map(|p| p.parse().unwrap());
        set.insert(a).unwrap();
        set.insert(a).unwrap();
        set.insert(b).unwrap();
        assert_eq!(set.insert(c), Err(Full));
        assert_eq!(set.matching("2001:db8:1::1".parse().unwrap()), Some(b));
        assert_eq!(set.matching("2001:db8:2::1".parse().unwrap()), Some(a));
        assert_eq!(set.matching("2001:db9::1".parse().unwrap()), None);
    }

    proptest! {
        #[test]
        fn text_round_trip(address: u128, len in 0..=128u8) {
            let address = Ipv6Addr::from(address & mask(len));
            let prefix: Prefix = format!("{address}/{len}").parse().unwrap();
            prop_assert_eq!(prefix.to_string().parse::<Prefix>().unwrap(), prefix);
            prop_assert!(prefix.contains(address));
        }

        #[test]
        fn contains_agrees_with_a_bit_by_bit_comparison(a: u128, b: u128, len in 0..=128u8) {
            let prefix: Prefix = format!("{}/{len}", Ipv6Addr::from(a & mask(len))).parse().unwrap();
            let same = (0..len).all(|i| (a >> (127 - i)) & 1 == (b >> (127 - i)) & 1);
            prop_assert_eq!(prefix.contains(Ipv6Addr::from(b)), same);
        }
    }
}
