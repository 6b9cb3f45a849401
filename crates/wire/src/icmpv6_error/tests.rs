use std::net::Ipv6Addr;

use proptest::prelude::*;

use super::*;
use crate::icmpv6::checksum;
use crate::ipv6::{Extension, HEADER};

fn address(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn any_kind() -> impl Strategy<Value = ErrorKind> {
    prop_oneof![
        any::<u8>().prop_map(|code| ErrorKind::DestinationUnreachable { code }),
        any::<u32>().prop_map(|mtu| ErrorKind::PacketTooBig { mtu }),
        any::<u8>().prop_map(|code| ErrorKind::TimeExceeded { code }),
        any::<(u8, u32)>()
            .prop_map(|(code, pointer)| ErrorKind::ParameterProblem { code, pointer }),
    ]
}

/// A packet from and to the addresses.
fn packet(source: &str, destination: &str, next_header: u8, behind: &[u8]) -> Vec<u8> {
    let datagram = Datagram::new(address(source), address(destination));
    let mut octets = vec![0xa5; HEADER + behind.len()];
    let room = datagram.emit(next_header, behind.len(), &mut octets);
    room.unwrap().copy_from_slice(behind);
    octets
}

proptest! {
    //= https://www.rfc-editor.org/rfc/rfc4443#section-2.4
    //= type=test
    //# Every ICMPv6 error message (type < 128) MUST include
    //# as much of the IPv6 offending (invoking) packet (the packet that
    //# caused the error) as possible without making the error message
    //# packet exceed the minimum IPv6 MTU [IPv6].
    #[test]
    fn what_is_emitted_is_parsed(kind in any_kind(), len in 0usize..1500, seed: u8, extended: bool) {
        let invoking: Vec<u8> = (0..len).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect();
        let mut datagram = Datagram::new(address("2001:db8::1"), address("2001:db8::2"));
        if extended {
            datagram.extension = Some(Extension::Routing(address("2001:db8::3")));
        }
        let repr = ErrorRepr { kind, invoking: &invoking };
        let mut buffer = [0xa5; 1400];
        let octets = repr.emit_packet(&datagram, &mut buffer).unwrap();
        let headers = datagram.headers_len();
        let quoted = len.min(1280 - headers - 8);
        prop_assert_eq!(octets.len(), headers + 8 + quoted);
        prop_assert_eq!(octets.len(), repr.buffer_len(&datagram));
        let octets = octets.to_vec();
        prop_assert_eq!(buffer[octets.len()..].iter().find(|octet| **octet != 0xa5), None);
        let packet = Ipv6Packet::new(&octets).unwrap();
        let chain = walk(&packet).unwrap();
        prop_assert_eq!(chain.protocol, 58);
        prop_assert_eq!(checksum(chain.source(), chain.destination(), chain.payload()), 0);
        let found = ErrorRepr::parse(chain.payload()).unwrap();
        prop_assert_eq!(found, ErrorRepr { kind, invoking: &invoking[..quoted] });
        // Emitted again it is the same.
        let mut again = [0x5a; 1400];
        prop_assert_eq!(&*found.emit_packet(&datagram, &mut again).unwrap(), &octets[..]);
        let too_small = &mut buffer[..octets.len() - 1];
        prop_assert_eq!(repr.emit_packet(&datagram, too_small), Err(Error::Truncated));
    }

    #[test]
    fn foreign_bytes_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..120), kind in any_kind()) {
        if let Ok(repr) = ErrorRepr::parse(&octets) {
            prop_assert_eq!(repr.invoking, &octets[8..]);
            if let Ok(packet) = repr.quoted() { let _ = may_answer(&packet, kind); }
        }
    }
}

#[test]
fn other_types_and_short_messages_are_refused() {
    for kind in (0..=255u8).filter(|kind| !(1..=4).contains(kind)) {
        let message = [kind, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(ErrorRepr::parse(&message), Err(Error::Type));
    }
    for len in 0..ERROR_HEADER {
        assert_eq!(ErrorRepr::parse(&[1; 8][..len]), Err(Error::Truncated));
    }
}

#[test]
fn a_quoted_packet_is_seen_through_a_tunnel() {
    let inner = packet("2001:db8::7", "2001:db8::8", 17, &[9; 100]);
    let outer = packet("2001:db8::5", "2001:db8::6", 41, &inner);
    let mut message = vec![2, 0, 0, 0, 0, 0, 5, 0];
    message.extend(&outer[..100]);
    let repr = ErrorRepr::parse(&message).unwrap();
    assert_eq!(repr.kind, ErrorKind::PacketTooBig { mtu: 1280 });
    let chain = walk(&repr.quoted().unwrap()).unwrap();
    assert_eq!(chain.protocol, 41);
    let within = Ipv6Packet::quoted(chain.payload()).unwrap();
    assert_eq!(within.destination(), address("2001:db8::8"));
    assert_eq!(within.payload(), &inner[HEADER..60]);
}

//= https://www.rfc-editor.org/rfc/rfc4443#section-2.4
//= type=test
#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn what_may_be_answered() {
    let unreachable = ErrorKind::DestinationUnreachable { code: 3 };
    let too_big = ErrorKind::PacketTooBig { mtu: 1280 };
    let option = ErrorKind::ParameterProblem {
        code: 2,
        pointer: 42,
    };
    let field = ErrorKind::ParameterProblem {
        code: 0,
        pointer: 42,
    };
    let may = |octets: &[u8], kind| may_answer(&Ipv6Packet::new(octets).unwrap(), kind);
    let (a, b) = ("2001:db8::7", "2001:db8::8");
    for kind in [unreachable, too_big, option, field] {
        assert!(may(&packet(a, b, 17, &[0; 8]), kind));
        assert!(may(&packet(a, b, 135, &[0; 8]), kind));
        for (message_type, expected) in [(128, true), (129, true), (135, true), (137, false)] {
            assert_eq!(may(&packet(a, b, 58, &[message_type, 0]), kind), expected);
        }
        for message_type in 0..128 {
            let behind = [58, 0, 1, 4, 0, 0, 0, 0, message_type, 0];
            assert!(!may(&packet(a, b, 60, &behind), kind));
        }
        assert!(!may(&packet(a, b, 58, &[]), kind));
        // A later fragment of an ICMPv6 message; and one of UDP.
        assert!(!may(
            &packet(a, b, 44, &[58, 0, 1, 0, 0, 0, 0, 0, 128]),
            kind
        ));
        assert!(may(
            &packet(a, b, 44, &[17, 0, 1, 0, 0, 0, 0, 0, 128]),
            kind
        ));
        for source in ["::", "ff02::1", "::1"] {
            assert!(!may(&packet(source, b, 17, &[0; 8]), kind));
        }
        let multicast = packet(a, "ff0e::1", 17, &[0; 8]);
        assert_eq!(may(&multicast, kind), kind == too_big || kind == option);
    }
}
