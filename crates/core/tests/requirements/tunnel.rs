//! Tunnels (RFC 2473), and what initiators are told of them (RFC 4443).

use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::relay::{
    Dropped, Forward, Limit, Outgoing, decapsulated, deliver, forward, outgoing, reverse, too_big,
    translate,
};
use aarp_wire::icmpv6_error::{ADDRESS_UNREACHABLE, ErrorKind, PROHIBITED};
use aarp_wire::ipv6::Datagram;
use proptest::prelude::*;

use super::{any_address, is_unicast_routable};

const AGENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 2);
const ANYCAST: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0xa);
const RESPONDER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 4, 0, 0, 0, 2);

/// Addresses of the kinds that both rulebooks agree upon: site-local and
/// IPv4-compatible ones are obsolete, and a relay may pass them on.
fn any_end() -> impl Strategy<Value = Ipv6Addr> {
    let obsolete = |address: &Ipv6Addr| {
        let bits = u128::from(*address);
        bits >> 118 == 0xfec0 >> 6 || (bits > 1 && bits >> 32 == 0)
    };
    prop_oneof![
        2 => any_address().prop_filter("obsolete", move |address| !obsolete(address)),
        4 => prop::sample::select(vec![AGENT, ANYCAST, RESPONDER]),
        1 => (0..8u16).prop_map(|n| Ipv6Addr::new(0x2001, 0xdb8, 0, 2, 0, 0, 0, n + 2)),
    ]
}

/// A packet, its upper protocol perhaps behind an extension header.
fn packet(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    upper: u8,
    hidden: bool,
    payload: &[u8],
) -> Vec<u8> {
    let mut behind = match hidden {
        true => vec![upper, 0, 1, 4, 0, 0, 0, 0],
        false => Vec::new(),
    };
    behind.extend(payload);
    let mut octets = vec![0; 40 + behind.len()];
    let datagram = Datagram {
        traffic_class: 0xb9,
        ..Datagram::new(source, destination)
    };
    let next = if hidden { 60 } else { upper };
    let room = datagram
        .emit(next, behind.len(), &mut octets)
        .expect("room");
    room.copy_from_slice(&behind);
    octets
}

/// UDP, ICMPv6, IPv6 in IPv6, the Mobility Header.
fn any_upper() -> impl Strategy<Value = u8> {
    prop::sample::select(vec![17u8, 58, 41, 135])
}

/// RFC 4443 §2.4(e): whether a packet to one node may be answered with an error.
fn may_be_answered(source: Ipv6Addr, upper: u8, payload: &[u8]) -> bool {
    is_unicast_routable(source) && (upper != 58 || payload[0] >= 128 && payload[0] != 137)
}

proptest! {
    /// RFC 2473 §7.1: a packet of more than 1280 octets is not fragmented, its sender
    /// is told; one of up to 1280 is. §4.1: no tunnel in a tunnel. RFC 6275 §10.4.1:
    /// what is to a home address goes to its care-of address. RFC 4443 §2.4(e): nobody
    /// is told who must not be.
    #[test]
    fn packets_to_an_anycast_address(
        source in any_end(), served: bool, bound: bool, upper in any_upper(), hidden: bool,
        payload in prop_oneof![
            prop::collection::vec(any::<u8>(), 8..40),
            (prop_oneof![1230..1244usize, 1200..1400usize], any::<u8>()).prop_map(|(len, octet)| vec![octet; len]),
        ],
    ) {
        let destination = if served { ANYCAST } else { RESPONDER };
        let octets = packet(source, destination, upper, hidden, &payload);
        let table = |a| (a == ANYCAST).then_some(bound.then_some(RESPONDER));
        let refused = |why, code| match may_be_answered(source, upper, &payload) {
            true => Forward::Refuse(why, ErrorKind::DestinationUnreachable { code }),
            false => Forward::Drop(why),
        };
        let expected = if !is_unicast_routable(source) {
            Forward::Drop(Dropped::Address)
        } else if upper == 41 {
            refused(Dropped::Nested, PROHIBITED)
        } else if !served {
            Forward::Drop(Dropped::NotServed)
        } else if !bound {
            refused(Dropped::NoBinding, ADDRESS_UNREACHABLE)
        } else {
            Forward::Encapsulate {
                care_of: RESPONDER,
                traffic_class: 0xb9,
                dont_fragment: octets.len() > 1280,
            }
        };
        prop_assert_eq!(forward(&octets, table), expected);
    }

    /// RFC 6275 §10.4.5: what is not from the registered care-of address MUST NOT be
    /// forwarded; nor is what no node but this one could have meant.
    #[test]
    fn packets_from_a_responder(
        source in any_end(), destination in any_end(), is_registered: bool, upper in any_upper(),
        hidden: bool, payload in prop::collection::vec(any::<u8>(), 8..40),
    ) {
        let octets = packet(source, destination, upper, hidden, &payload);
        let passed = reverse(&octets, AGENT, |a| is_registered && a == ANYCAST);
        let expected = if !(is_registered && source == ANYCAST) {
            Err(Dropped::Stranger)
        } else if upper == 41 {
            Err(Dropped::Nested)
        } else if !is_unicast_routable(destination) || destination == source || (destination == AGENT && upper == 135) {
            Err(Dropped::Address)
        } else {
            Ok(())
        };
        prop_assert_eq!(passed, expected);
        // The same at the other end: only an agent's, only for A, from somebody else.
        let passed = deliver(&octets, is_registered, |a| a == ANYCAST, |a| a == RESPONDER);
        let expected = if !is_registered {
            Err(Dropped::Stranger)
        } else if destination != ANYCAST {
            Err(Dropped::NotServed)
        } else if !is_unicast_routable(source) || source == destination || source == RESPONDER {
            Err(Dropped::Address)
        } else if upper == 41 {
            Err(Dropped::Nested)
        } else {
            Ok(())
        };
        prop_assert_eq!(passed, expected);
        // And on the way out nothing that the agent would not take.
        let out = outgoing(&octets, |a| a == ANYCAST, RESPONDER);
        if matches!(out, Outgoing::Encapsulate { .. }) {
            prop_assert!(source == ANYCAST && upper != 41 && is_unicast_routable(destination));
        }
    }

    /// RFC 2473 §7.1 and §8.2: the MTU told is that of the path less the tunnel's
    /// header, and never less than 1280; any other error of the path is an address
    /// unreachable; only of packets that were relayed there, only to who may be told.
    #[test]
    fn errors_of_the_path(
        source in any_end(), destination in any_end(), at_responder: bool, upper in any_upper(), hidden: bool,
        payload in prop_oneof![
            prop::collection::vec(any::<u8>(), 8..40),
            (prop_oneof![1230..1244usize, 1200..1400usize], any::<u8>()).prop_map(|(len, octet)| vec![octet; len]),
        ],
        mtu in prop_oneof![any::<u32>(), 0..3000u32],
        other in prop::option::of(prop_oneof![
            any::<u8>().prop_map(|code| ErrorKind::DestinationUnreachable { code }),
            any::<u8>().prop_map(|code| ErrorKind::TimeExceeded { code }),
            any::<(u8, u32)>().prop_map(|(code, pointer)| ErrorKind::ParameterProblem { code, pointer }),
        ]),
    ) {
        let octets = packet(source, destination, upper, hidden, &payload);
        let error = other.unwrap_or(ErrorKind::PacketTooBig { mtu });
        let care_of = if at_responder { RESPONDER } else { AGENT };
        let table = |a| (a == ANYCAST).then_some(Some(RESPONDER));
        let told = translate(error, care_of, &octets, table);
        let least = mtu.saturating_sub(40).max(1280);
        let is_large = other.is_some() || octets.len() > 1280;
        let expected = if !(at_responder && destination == ANYCAST) {
            Err(Dropped::Stranger)
        } else if !(is_large && may_be_answered(source, upper, &payload)) {
            Err(Dropped::Address)
        } else if other.is_some() {
            Ok(ErrorKind::DestinationUnreachable { code: ADDRESS_UNREACHABLE })
        } else {
            Ok(ErrorKind::PacketTooBig { mtu: least })
        };
        prop_assert_eq!(told, expected);
        prop_assert_eq!(too_big(mtu), ErrorKind::PacketTooBig { mtu: least });
    }

    /// RFC 4443 §2.4(f): MUST limit the rate of errors. Within no window are there more
    /// than the burst and one for each interval.
    #[test]
    fn errors_are_limited(
        interval in 1..100u64, burst in 1..20u32, pauses in prop::collection::vec(0..60u64, 1..300),
    ) {
        let mut limit = Limit::new(Duration::from_millis(interval), burst);
        let mut now = 5000;
        let mut said: VecDeque<u64> = VecDeque::new();
        let mut full = f64::from(burst);
        for pause in pauses {
            now += pause;
            // A bucket in plain arithmetic.
            full = (full + pause as f64 / interval as f64).min(f64::from(burst));
            let permitted = limit.permits(Duration::from_millis(now));
            if (full - 1.0).abs() > 1e-6 {
                prop_assert_eq!(permitted, full > 1.0, "{}", full);
            }
            if permitted {
                full -= 1.0;
                said.push_back(now);
            }
            for (count, since) in (1u64..).zip(said.iter().rev()) {
                prop_assert!(count <= u64::from(burst) + (now - since) / interval);
            }
        }
    }
}

/// RFC 6040 §4.2, figure 4, in words: a mark of congestion is never lost, and a packet
/// that cannot carry it is dropped; RFC 2983 §3: the DSCP stays that of the inner header.
#[test]
fn marks_of_congestion_are_kept() {
    for inner in 0..=255u8 {
        for outer in 0..=255u8 {
            let left = decapsulated(inner, outer);
            match (inner & 3, outer & 3) {
                (0, 3) => assert_eq!(left, None),
                (0, _) => assert_eq!(left, Some(inner)),
                (_, 3) | (3, _) => assert_eq!(left, Some(inner | 3)),
                (2, 1) => assert_eq!(left, Some(inner & !3 | 1)),
                _ => assert_eq!(left, Some(inner)),
            }
        }
    }
}
