//! Both ends of the tunnel.

use std::net::Ipv6Addr;

use aarp_core::relay::{
    Dropped, Forward, Outgoing, decapsulated, deliver, forward, outgoing, reverse, translate,
    with_source,
};
use aarp_wire::icmpv6::checksum;
use aarp_wire::icmpv6_error::{ErrorKind, ErrorRepr, may_answer};
use aarp_wire::ipv6::{Datagram, Ipv6Packet};

use crate::input::Input;
use crate::mobile::{is_routable, upper_protocol};
use crate::registrar::{AGENT, ANYCAST, address};

const UNICAST: Ipv6Addr = Ipv6Addr::from_bits(0x2001_0db8_0000_0004_u128 << 64 | 9);
/// Served, and without a binding.
const UNBOUND: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 0xb);

fn binding(a: Ipv6Addr) -> Option<Option<Ipv6Addr>> {
    match a {
        ANYCAST => Some(Some(UNICAST)),
        UNBOUND => Some(None),
        _ => None,
    }
}

/// Packets at the agent and at the responder: `forward`, `reverse`, `translate`,
/// `deliver`, `outgoing`, `with_source`, `decapsulated`.
pub fn relay(data: &[u8]) {
    every_way(data);
    // Most changes break version, length or addresses: once more with such as lead
    // somewhere.
    let mut input = Input(data);
    let (source, destination) = (input.octet(), input.octet());
    let mut whole = input.0.to_vec();
    if whole.len() < 40 {
        return;
    }
    whole[0] = 0x60 | whole[0] & 0xf;
    let len = (whole.len() - 40) as u16;
    whole[4..6].copy_from_slice(&len.to_be_bytes());
    for (which, at) in [(source, 8), (destination, 24)] {
        // The address stays one time in eight.
        if which < 224 {
            whole[at..at + 16].copy_from_slice(&address(which).octets());
        }
    }
    every_way(&whole);
}

fn every_way(octets: &[u8]) {
    at_the_agent(octets);
    back_at_the_agent(octets);
    at_the_responder(octets);
    from_the_responder(octets);
    an_error(octets);
    if let [inner, outer, ..] = octets {
        // RFC 6040 figure 4.
        let class = match (inner & 3, outer & 3) {
            (0, 3) => None,
            (0, _) => Some(inner & !3),
            (2, 1) => Some(inner & !3 | 1),
            (_, 3) => Some(inner | 3),
            _ => Some(*inner),
        };
        assert_eq!(decapsulated(*inner, *outer), class);
    }
}

/// Source and destination of a packet that is whole.
fn addresses(octets: &[u8]) -> Option<(Ipv6Addr, Ipv6Addr)> {
    let end = 40 + usize::from(*octets.get(4)?) * 256 + usize::from(*octets.get(5)?);
    if octets.len() < 40 || octets[0] >> 4 != 6 || octets.len() < end {
        return None;
    }
    let at = |from: usize| Ipv6Addr::from(*octets[from..].first_chunk::<16>().expect("a header"));
    Some((at(8), at(24)))
}

/// An answer fits the smallest MTU, and is one that RFC 4443 permits.
fn assert_answer(kind: ErrorKind, invoking: &[u8]) {
    let quoted = Ipv6Packet::quoted(invoking).expect("a packet");
    assert!(may_answer(&quoted, kind));
    assert!(is_routable(quoted.source()));
    let datagram = Datagram::new(AGENT, quoted.source());
    let mut room = [0xa5; 1300];
    let packet = ErrorRepr { kind, invoking }.emit_packet(&datagram, &mut room);
    assert!(packet.expect("there is room").len() <= 1280);
}

fn at_the_agent(octets: &[u8]) {
    let whole = addresses(octets);
    let is_nested = whole.is_some() && upper_protocol(octets) == Some(41);
    match forward(octets, binding) {
        Forward::Encapsulate {
            care_of,
            traffic_class,
            dont_fragment,
        } => {
            let (source, destination) = whole.expect("a packet");
            assert!(is_routable(source) && !is_nested);
            assert_eq!((destination, care_of), (ANYCAST, UNICAST));
            assert_eq!(traffic_class, octets[0] << 4 | octets[1] >> 4);
            let len = 40 + usize::from(octets[4]) * 256 + usize::from(octets[5]);
            assert_eq!(dont_fragment, len > 1280);
            // The other end takes what this end gives it, and from nobody else.
            let delivered = deliver(octets, true, |a| a == ANYCAST, |a| a == UNICAST);
            let is_own = source == UNICAST || source == ANYCAST;
            assert_eq!(
                delivered,
                if is_own {
                    Err(Dropped::Address)
                } else {
                    Ok(())
                }
            );
        }
        Forward::Refuse(why, kind) => {
            assert!(matches!(why, Dropped::Nested | Dropped::NoBinding));
            assert!(is_nested || whole.is_some_and(|(_, to)| to == UNBOUND));
            assert_answer(kind, octets);
        }
        Forward::Drop(Dropped::Malformed) => assert!(whole.is_none()),
        Forward::Drop(Dropped::Address) => {
            assert!(whole.is_some_and(|(from, _)| !is_routable(from)));
        }
        Forward::Drop(Dropped::NotServed) => {
            assert!(whole.is_some_and(|(_, to)| binding(to).is_none()));
        }
        Forward::Drop(_) => assert!(is_nested || whole.is_some_and(|(_, to)| to == UNBOUND)),
    }
}

fn back_at_the_agent(octets: &[u8]) {
    let expected = match addresses(octets) {
        None => Err(Dropped::Malformed),
        Some((from, _)) if from != ANYCAST => Err(Dropped::Stranger),
        Some(_) if upper_protocol(octets) == Some(41) => Err(Dropped::Nested),
        Some((from, to)) if !is_routable(to) || to == from => Err(Dropped::Address),
        Some((_, AGENT)) if upper_protocol(octets) == Some(135) => Err(Dropped::Address),
        Some(_) => Ok(()),
    };
    assert_eq!(reverse(octets, AGENT, |a| a == ANYCAST), expected);
}

fn at_the_responder(octets: &[u8]) {
    let expected = match addresses(octets) {
        None => Err(Dropped::Malformed),
        Some((_, to)) if to != ANYCAST => Err(Dropped::NotServed),
        Some((from, to)) if !is_routable(from) || from == to || from == UNICAST => {
            Err(Dropped::Address)
        }
        Some(_) if upper_protocol(octets) == Some(41) => Err(Dropped::Nested),
        Some(_) => Ok(()),
    };
    assert_eq!(
        deliver(octets, true, |a| a == ANYCAST, |a| a == UNICAST),
        expected
    );
    let stranger = deliver(octets, false, |a| a == ANYCAST, |a| a == UNICAST);
    assert_eq!(stranger, Err(Dropped::Stranger));
}

fn from_the_responder(octets: &[u8]) {
    let whole = addresses(octets);
    match outgoing(octets, |a| a == ANYCAST, UNICAST) {
        Outgoing::Encapsulate { traffic_class, .. } => {
            let (source, to) = whole.expect("a packet");
            assert!(source == ANYCAST && is_routable(to) && upper_protocol(octets) != Some(41));
            assert_eq!(traffic_class, octets[0] << 4 | octets[1] >> 4);
        }
        Outgoing::ProbeAnswer => {
            let (source, to) = whole.expect("a packet");
            assert!(source == ANYCAST && is_routable(to));
            let end = 40 + usize::from(octets[4]) * 256 + usize::from(octets[5]);
            assert!(octets[..end].windows(4).any(|four| four == b"AARP"));
            let mut changed = octets.to_vec();
            assert!(with_source(&mut changed, UNICAST));
            assert_eq!(addresses(&changed), Some((UNICAST, to)));
            assert_eq!(checksum(UNICAST, to, &changed[40..end]), 0);
            // Only the source and the checksum.
            let same = |range: std::ops::Range<usize>| changed[range.clone()] == octets[range];
            assert!(same(0..8) && same(24..42) && same(44..octets.len()));
        }
        Outgoing::Straight => assert_eq!(whole.map(|(from, _)| from), Some(UNICAST)),
        Outgoing::Drop(Dropped::Malformed) => assert!(whole.is_none()),
        Outgoing::Drop(_) => assert!(whole.is_some_and(|(from, to)| !is_routable(to)
            || from != ANYCAST
            || upper_protocol(octets) == Some(41))),
    }
}

/// The octets as what an ICMPv6 error from the tunnel's path quotes behind the outer
/// header, with its kind in front.
fn an_error(octets: &[u8]) {
    let Some((front, quoted)) = octets.split_at_checked(5) else {
        return;
    };
    let mtu = u32::from(front[1]) << 8 | u32::from(front[2]);
    let kind = match front[0] % 4 {
        0 => ErrorKind::PacketTooBig { mtu },
        1 => ErrorKind::DestinationUnreachable { code: front[3] },
        2 => ErrorKind::TimeExceeded { code: front[3] },
        _ => ErrorKind::ParameterProblem {
            code: front[3],
            pointer: mtu,
        },
    };
    for quoted in [octets, quoted] {
        let Ok(told) = translate(kind, UNICAST, quoted, binding) else {
            continue;
        };
        // Of a packet that was relayed to that responder.
        let to: [u8; 16] = quoted[24..40].try_into().expect("a header");
        assert_eq!(Ipv6Addr::from(to), ANYCAST);
        assert!(translate(kind, AGENT, quoted, binding).is_err());
        match (kind, told) {
            (ErrorKind::PacketTooBig { mtu: outer }, ErrorKind::PacketTooBig { mtu }) => {
                assert_eq!(mtu, outer.saturating_sub(40).max(1280));
                let len = 40 + u32::from(quoted[4]) * 256 + u32::from(quoted[5]);
                assert!(len > 1280, "nothing smaller could be sent");
            }
            (ErrorKind::PacketTooBig { .. }, other) => panic!("{other:?}"),
            (_, told) => assert_eq!(told, ErrorKind::DestinationUnreachable { code: 3 }),
        }
        assert_answer(told, quoted);
    }
}
