//! The checksum of the upper layers over IPv6 (RFC 8200 §8.1).

use core::net::Ipv6Addr;

/// The ones' complement checksum over the pseudo-header and the octets of an upper
/// layer, all of them. Zero when computed over octets whose checksum field is right.
//= https://www.rfc-editor.org/rfc/rfc8200#section-8.1
#[must_use]
pub fn upper_layer(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, octets: &[u8]) -> u16 {
    let mut sum = u64::from(next_header) + octets.len() as u64;
    // Words of 32 bits: the carries beyond 16 bits come back when the sum is folded.
    let mut add = |octets: &[u8]| {
        let (words, rest) = octets.as_chunks::<4>();
        for word in words {
            sum += u64::from(u32::from_be_bytes(*word));
        }
        let mut last = [0; 4];
        for (octet, value) in last.iter_mut().zip(rest) {
            *octet = *value;
        }
        sum += u64::from(u32::from_be_bytes(last));
    };
    add(&source.octets());
    add(&destination.octets());
    add(octets);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, in whole numbers: the sum of all 16-bit words of the
    /// pseudo-header and the octets, modulo 2^16 - 1.
    fn slow(source: [u8; 16], destination: [u8; 16], next_header: u8, octets: &[u8]) -> u128 {
        let mut all = [source, destination].concat();
        all.extend((octets.len() as u32).to_be_bytes());
        all.extend([0, 0, 0, next_header]);
        all.extend(octets);
        if all.len() % 2 == 1 {
            all.push(0);
        }
        let words = all
            .chunks(2)
            .map(|w| u128::from(w[0]) * 256 + u128::from(w[1]));
        words.sum::<u128>() % 65535
    }

    proptest! {
        #[test]
        fn equals_the_definition(
            source: [u8; 16], destination: [u8; 16], next_header: u8,
            octets in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let sum = upper_layer(source.into(), destination.into(), next_header, &octets);
            let slow = slow(source, destination, next_header, &octets);
            // Both are sums modulo 2^16 - 1, where all ones is zero.
            prop_assert_eq!(u128::from(!sum) % 65535, slow);
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes minutes under Miri")]
    fn many_large_octets_do_not_overflow() {
        let octets = vec![0xff; 65535];
        let ones = Ipv6Addr::from([0xff; 16]);
        let sum = upper_layer(ones, ones, 0xff, &octets);
        let slow = slow([0xff; 16], [0xff; 16], 0xff, &octets);
        assert_eq!(u128::from(!sum) % 65535, slow);
    }
}
