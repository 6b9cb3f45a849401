//! The Mobility Message Authentication option between mobile node and home agent
//! (RFC 4285 §5): security associations and their MAC.

use std::fmt;
use std::net::Ipv6Addr;

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// Octets of the authenticator: the first 96 bits of the HMAC.
pub const MAC_LEN: usize = 12;
/// The fewest octets of a key.
pub const KEY_MIN: usize = 16;
/// Values up to this one are reserved.
const SPI_RESERVED: u32 = 255;
/// The checksum in a Mobility Header: zero while the MAC is computed.
const CHECKSUM: std::ops::Range<usize> = 4..6;

/// Why there is no such security association.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssociationError {
    /// A reserved SPI.
    #[error("an SPI from 0 to 255 is reserved: {0}")]
    ReservedSpi(u32),
    /// A short key.
    #[error("a key has at least {KEY_MIN} octets, this one has {0}")]
    ShortKey(usize),
    /// No identity.
    #[error("the Mobile Node Identifier is empty")]
    NoIdentity,
    /// An SPI that is there already.
    #[error("two entries have the SPI {0}")]
    RepeatedSpi(u32),
}

/// A security association: the key of one node, named by the SPI. The key itself is
/// not kept, only the state of the HMAC that it leads to; a MAC costs no key schedule.
#[derive(Clone)]
pub struct Association {
    spi: u32,
    identity: Box<[u8]>,
    keyed: Hmac<Sha1>,
}

impl Association {
    /// An association of `spi` and `key` with the Mobile Node Identifier `identity`
    /// (an NAI, RFC 4283).
    ///
    /// # Errors
    /// A reserved SPI, a key that is too short, an empty identity.
    //= https://www.rfc-editor.org/rfc/rfc4285#section-5.1
    pub fn new(spi: u32, key: &[u8], identity: &[u8]) -> Result<Self, AssociationError> {
        if spi <= SPI_RESERVED {
            return Err(AssociationError::ReservedSpi(spi));
        }
        if key.len() < KEY_MIN {
            return Err(AssociationError::ShortKey(key.len()));
        }
        if identity.is_empty() {
            return Err(AssociationError::NoIdentity);
        }
        let keyed = Hmac::new_from_slice(key).map_err(|_| AssociationError::ShortKey(key.len()))?;
        Ok(Self {
            spi,
            identity: identity.into(),
            keyed,
        })
    }

    /// Its number in messages.
    #[must_use]
    pub const fn spi(&self) -> u32 {
        self.spi
    }

    /// The Mobile Node Identifier that it belongs to.
    #[must_use]
    pub fn identity(&self) -> &[u8] {
        &self.identity
    }

    /// `care_of | home | covered`, where `covered` is the Mobility Header up to and
    /// including the SPI, and its checksum, whatever it is, counts as zero.
    //= https://www.rfc-editor.org/rfc/rfc4285#section-5.1
    fn digest(&self, care_of: Ipv6Addr, home: Ipv6Addr, covered: &[u8]) -> Hmac<Sha1> {
        let mut mac = self.keyed.clone();
        mac.update(&care_of.octets());
        mac.update(&home.octets());
        let (before, rest) = covered.split_at(covered.len().min(CHECKSUM.start));
        let (checksum, after) = rest.split_at(rest.len().min(CHECKSUM.len()));
        mac.update(before);
        mac.update(&[0; CHECKSUM.end - CHECKSUM.start][..checksum.len()]);
        mac.update(after);
        mac
    }

    /// The authenticator of a message that is to be sent.
    #[must_use]
    pub fn mac(&self, care_of: Ipv6Addr, home: Ipv6Addr, covered: &[u8]) -> [u8; MAC_LEN] {
        let whole = self.digest(care_of, home, covered).finalize().into_bytes();
        let mut mac = [0; MAC_LEN];
        mac.copy_from_slice(&whole[..MAC_LEN]);
        mac
    }

    /// Whether `mac` is the authenticator of the message, in a time that does not
    /// depend on where they differ.
    #[must_use]
    pub fn verify(
        &self,
        care_of: Ipv6Addr,
        home: Ipv6Addr,
        covered: &[u8],
        mac: &[u8; MAC_LEN],
    ) -> bool {
        self.digest(care_of, home, covered)
            .verify_truncated_left(mac)
            .is_ok()
    }
}

impl fmt::Debug for Association {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Association")
            .field("spi", &self.spi)
            .field("identity", &self.identity.escape_ascii().to_string())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
        digits.chunks(2).map(|d| (d[0] << 4 | d[1]) as u8).collect()
    }

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    /// A Binding Update (number 200, A and H, 60 s) with a Mobile Node Identifier, a
    /// timestamp, and the authentication option up to its SPI.
    const COVERED: &str = "3b070500000000c8c000000f081001617231406578616d706c652e6f7267\
                           010200000a08e8fe6f80800000000009110100001234";
    const KEY: &str = "101112131415161718191a1b1c1d1e1f20212223";

    fn association() -> Association {
        Association::new(0x1234, &hex(KEY), b"ar1@example.org").unwrap()
    }

    /// RFC 2202 §3, all seven cases, through the same keyed state.
    #[test]
    fn vectors_of_rfc_2202() {
        let cases: [(Vec<u8>, Vec<u8>, &str); 7] = [
            (
                vec![0x0b; 20],
                b"Hi There".into(),
                "b617318655057264e28bc0b6fb378c8ef146be00",
            ),
            (
                b"Jefe".into(),
                b"what do ya want for nothing?".into(),
                "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
            ),
            (
                vec![0xaa; 20],
                vec![0xdd; 50],
                "125d7342b9ac11cd91a39af48aa17b4f63f175d3",
            ),
            (
                (1..=25).collect(),
                vec![0xcd; 50],
                "4c9007f4026250c6bc8414f9bf50c86c2d7235da",
            ),
            (
                vec![0x0c; 20],
                b"Test With Truncation".into(),
                "4c1a03424b55e07fe7f27be1d58bb9324a9a5a04",
            ),
            (
                vec![0xaa; 80],
                b"Test Using Larger Than Block-Size Key - Hash Key First".into(),
                "aa4ae5e15272d00e95705637ce8a3b55ed402112",
            ),
            (
                vec![0xaa; 80],
                b"Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data".into(),
                "e8e99d0f45237d786d6bbaa7965c7808bbff1a91",
            ),
        ];
        for (key, data, expected) in cases {
            let keyed = Hmac::<Sha1>::new_from_slice(&key).unwrap();
            for _ in 0..2 {
                let mut mac = keyed.clone();
                mac.update(&data);
                assert_eq!(mac.finalize().into_bytes()[..], hex(expected));
            }
        }
    }

    /// RFC 4285 §5.1: care-of address, home address, Mobility Header up to and
    /// including the SPI. The value was computed with Python's hmac module.
    #[test]
    fn a_binding_update_made_by_hand() {
        let (care_of, home) = (ip("2001:db8:1::1"), ip("2001:db8:a::53"));
        let expected: [u8; MAC_LEN] = hex("8f77009269b3f258fbaa3750").try_into().unwrap();
        let mut covered = hex(COVERED);
        assert_eq!(association().mac(care_of, home, &covered), expected);
        // RFC 4285 §5.1: the checksum MUST be 0 for the calculation.
        covered[4..6].copy_from_slice(&[0x12, 0x34]);
        assert_eq!(association().mac(care_of, home, &covered), expected);
        assert!(association().verify(care_of, home, &covered, &expected));
    }

    /// RFC 4285 §5.1: values 0 to 255 are reserved; keys.
    #[test]
    fn what_an_association_needs() {
        let new = |spi, key: usize| Association::new(spi, &vec![7; key], b"n").map(|_| ());
        assert_eq!(new(0, 16), Err(AssociationError::ReservedSpi(0)));
        assert_eq!(new(255, 16), Err(AssociationError::ReservedSpi(255)));
        assert_eq!(new(256, 15), Err(AssociationError::ShortKey(15)));
        assert_eq!(new(256, 16), Ok(()));
        assert_eq!(new(u32::MAX, 200), Ok(()));
        assert_eq!(
            Association::new(256, &[0; 16], b"").map(|_| ()),
            Err(AssociationError::NoIdentity)
        );
    }

    #[test]
    fn the_key_is_not_printed() {
        let printed = format!("{:?}", association());
        assert_eq!(
            printed,
            "Association { spi: 4660, identity: \"ar1@example.org\", .. }"
        );
    }

    #[test]
    fn short_messages_do_no_harm() {
        let covered = hex(COVERED);
        let mut seen = std::collections::HashSet::new();
        for len in 0..covered.len() {
            seen.insert(association().mac(ip("::1"), ip("::2"), &covered[..len]));
        }
        // Each is a MAC of its own.
        assert_eq!(seen.len(), covered.len());
    }

    proptest! {
        /// Every octet that is covered counts, and every bit of the MAC.
        #[test]
        fn one_bit_is_enough(bit in 0..8 * (32 + 52 + MAC_LEN)) {
            let mut care_of = ip("2001:db8:1::1").octets();
            let mut home = ip("2001:db8:a::53").octets();
            let mut covered = hex(COVERED);
            let mut mac = association().mac(care_of.into(), home.into(), &covered);
            let (at, mask) = (bit / 8, 1 << (bit % 8));
            match at {
                0..16 => care_of[at] ^= mask,
                16..32 => home[at - 16] ^= mask,
                32..84 => covered[at - 32] ^= mask,
                _ => mac[at - 84] ^= mask,
            }
            let in_checksum = (36..38).contains(&at);
            let verified = association().verify(care_of.into(), home.into(), &covered, &mac);
            prop_assert_eq!(verified, in_checksum);
        }
    }
}
