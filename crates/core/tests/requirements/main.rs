//! What the RFCs demand of the state machines, as properties: docs/rfc-requirements.md
//! says which test is for which sentence.
#![cfg(feature = "bindings")]

mod agent;
mod keys;
mod responder;
mod tunnel;

use std::net::Ipv6Addr;

use proptest::prelude::*;

/// Whether nodes on other links can send to this one address (RFC 6275 §3.1: global or
/// unique local unicast), by ranges, independent of the code under test.
fn is_unicast_routable(address: Ipv6Addr) -> bool {
    let ranges: [(&str, u32); 5] = [
        // Unspecified, loopback and IPv4-compatible; IPv4-mapped; link-local; site-local.
        ("::", 96),
        ("::ffff:0:0", 96),
        ("fe80::", 10),
        ("fec0::", 10),
        ("ff00::", 8),
    ];
    ranges.into_iter().all(|(range, bits)| {
        let range = u128::from(range.parse::<Ipv6Addr>().expect("an address"));
        u128::from(address) >> (128 - bits) != range >> (128 - bits)
    })
}

/// Addresses of every kind, those that are not routable more often than they are.
fn any_address() -> impl Strategy<Value = Ipv6Addr> {
    let within = |prefix: u128, bits: u32| {
        any::<u128>().prop_map(move |low| Ipv6Addr::from(prefix | low >> bits))
    };
    prop_oneof![
        Just(Ipv6Addr::UNSPECIFIED),
        Just(Ipv6Addr::LOCALHOST),
        within(0, 96),
        within(0xffff << 32, 96),
        within(0xfe80 << 112, 10),
        within(0xfec0 << 112, 10),
        within(0xff << 120, 8),
        within(0xfc << 120, 7),
        within(0x2001_0db8 << 96, 32),
        any::<u128>().prop_map(Ipv6Addr::from),
    ]
}
