//! Mobile IPv6 as others speak it: captures of UMIP, of Scapy and of malformed packets,
//! and what tshark and Scapy make of the packets that we write.

mod capture;
mod captures;
mod expected;
mod samples;
mod scapy;
mod tshark;

use std::net::Ipv6Addr;

/// The checksum of an upper layer by its definition: the sum of all 16-bit words of
/// pseudo-header and octets in whole numbers, modulo 2^16 - 1, which is zero where the
/// checksum field is right (RFC 8200 §8.1). Independent of the code under test.
fn checksum_is_right(source: Ipv6Addr, destination: Ipv6Addr, next: u8, octets: &[u8]) -> bool {
    let mut sum = u128::from(next) + octets.len() as u128;
    for part in [&source.octets()[..], &destination.octets(), octets] {
        for (at, octet) in part.iter().enumerate() {
            sum += u128::from(*octet) << if at % 2 == 0 { 8 } else { 0 };
        }
    }
    sum.is_multiple_of(65535)
}
