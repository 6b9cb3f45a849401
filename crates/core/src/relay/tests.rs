//! Packets at both ends, one rule after the other.
use core::net::Ipv6Addr;

use aarp_wire::icmpv6::{self, EchoKind, EchoRepr};
use aarp_wire::icmpv6_error::{ADDRESS_UNREACHABLE, ErrorKind, ErrorRepr, PROHIBITED};
use aarp_wire::ipv6::{Datagram, Ipv6Packet, protocol};
use aarp_wire::probe::{Method, Payload};
use proptest::prelude::*;

use super::*;

fn address(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn agent() -> Ipv6Addr {
    address("2001:db8:0:1::2")
}
fn anycast() -> Ipv6Addr {
    address("2001:db8:0:1::a")
}
fn initiator() -> Ipv6Addr {
    address("2001:db8:0:2::2")
}
fn responder() -> Ipv6Addr {
    address("2001:db8:0:4::2")
}

/// The agent's table: the anycast address and its responder, or none.
fn bound(to: Option<Ipv6Addr>) -> impl Fn(Ipv6Addr) -> Option<Option<Ipv6Addr>> {
    move |a| (a == anycast()).then_some(to)
}

fn packet(src: Ipv6Addr, dst: Ipv6Addr, upper: u8, payload: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0xa5; 40 + payload.len()];
    let mut datagram = Datagram::new(src, dst);
    datagram.traffic_class = 0xb9;
    let room = datagram.emit(upper, payload.len(), &mut buffer).unwrap();
    room.copy_from_slice(payload);
    buffer
}

fn udp(src: Ipv6Addr, dst: Ipv6Addr, len: usize) -> Vec<u8> {
    packet(src, dst, 17, &vec![7; len])
}

const UNREACHABLE: ErrorKind = ErrorKind::DestinationUnreachable {
    code: ADDRESS_UNREACHABLE,
};

#[test]
fn a_packet_to_a_bound_address_goes_into_the_tunnel() {
    let forwarded = |len: usize| {
        forward(
            &udp(initiator(), anycast(), len - 40),
            bound(Some(responder())),
        )
    };
    for (len, dont_fragment) in [(1280, false), (1281, true), (1460, true)] {
        let expected = Forward::Encapsulate {
            care_of: responder(),
            traffic_class: 0xb9,
            dont_fragment,
        };
        assert_eq!(forwarded(len), expected);
    }
}

#[test]
fn without_a_binding_the_address_is_unreachable() {
    let outcome = forward(&udp(initiator(), anycast(), 8), bound(None));
    assert_eq!(outcome, Forward::Refuse(Dropped::NoBinding, UNREACHABLE));
    // RFC 4443 §2.4 (e.1): not about an error.
    let mut error = [0; 48];
    error[0] = 1;
    let error = packet(initiator(), anycast(), protocol::ICMPV6, &error);
    assert_eq!(
        forward(&error, bound(None)),
        Forward::Drop(Dropped::NoBinding)
    );
}

#[test]
fn what_is_not_served_or_not_right_goes_nowhere() {
    let table = || bound(Some(responder()));
    let other = udp(initiator(), address("2001:db8:0:1::b"), 8);
    assert_eq!(forward(&other, table()), Forward::Drop(Dropped::NotServed));
    for source in ["::", "::1", "fe80::1", "ff02::1", "::ffff:192.0.2.1"] {
        let packet = udp(address(source), anycast(), 8);
        assert_eq!(
            forward(&packet, table()),
            Forward::Drop(Dropped::Address),
            "{source}"
        );
    }
    let whole = udp(initiator(), anycast(), 8);
    assert_eq!(
        forward(&whole[..47], table()),
        Forward::Drop(Dropped::Malformed)
    );
    let mut ipv4 = whole.clone();
    ipv4[0] = 0x45;
    assert_eq!(forward(&ipv4, table()), Forward::Drop(Dropped::Malformed));
}

#[test]
fn a_tunnel_packet_is_not_relayed_again() {
    let prohibited = ErrorKind::DestinationUnreachable { code: PROHIBITED };
    let expected = Forward::Refuse(Dropped::Nested, prohibited);
    let inner = udp(initiator(), anycast(), 8);
    let nested = packet(initiator(), anycast(), protocol::IPV6, &inner);
    assert_eq!(forward(&nested, bound(Some(responder()))), expected);
    // Behind an extension header too.
    let mut options = vec![protocol::IPV6, 0, 1, 4, 0, 0, 0, 0];
    options.extend(&inner);
    let hidden = packet(
        initiator(),
        anycast(),
        protocol::DESTINATION_OPTIONS,
        &options,
    );
    assert_eq!(forward(&hidden, bound(Some(responder()))), expected);
}

#[test]
fn only_the_registered_responder_speaks_in_the_name_of_an_address() {
    let registered = |source| source == anycast();
    let answer = udp(anycast(), initiator(), 8);
    assert_eq!(reverse(&answer, agent(), registered), Ok(()));
    assert_eq!(reverse(&answer, agent(), |_| false), Err(Dropped::Stranger));
    let forged = udp(initiator(), responder(), 8);
    assert_eq!(
        reverse(&forged, agent(), registered),
        Err(Dropped::Stranger)
    );
    for destination in ["::", "::1", "fe80::1", "ff0e::1", "2001:db8:0:1::a"] {
        let packet = udp(anycast(), address(destination), 8);
        let outcome = reverse(&packet, agent(), registered);
        assert_eq!(outcome, Err(Dropped::Address), "{destination}");
    }
    // To the agent itself everything but its own messages.
    let answer_to_agent = udp(anycast(), agent(), 8);
    assert_eq!(reverse(&answer_to_agent, agent(), registered), Ok(()));
    let message = packet(anycast(), agent(), protocol::MOBILITY, &[0; 16]);
    assert_eq!(
        reverse(&message, agent(), registered),
        Err(Dropped::Address)
    );
    let nested = packet(anycast(), initiator(), protocol::IPV6, &answer);
    assert_eq!(reverse(&nested, agent(), registered), Err(Dropped::Nested));
    assert_eq!(
        reverse(&answer[..20], agent(), registered),
        Err(Dropped::Malformed)
    );
}

#[test]
fn errors_of_the_path_are_the_address_s_own_for_the_initiator() {
    let table = || bound(Some(responder()));
    let large = udp(initiator(), anycast(), 1400);
    let told = |error, quoted: &[u8]| translate(error, responder(), quoted, table());
    // RFC 2473 §8.2.
    let big = ErrorKind::PacketTooBig { mtu: 1400 };
    assert_eq!(
        told(big, &large[..1200]),
        Ok(ErrorKind::PacketTooBig { mtu: 1360 })
    );
    let small = ErrorKind::PacketTooBig { mtu: 1280 };
    assert_eq!(
        told(small, &large[..1200]),
        Ok(ErrorKind::PacketTooBig { mtu: 1280 })
    );
    for error in [
        ErrorKind::DestinationUnreachable { code: 0 },
        ErrorKind::TimeExceeded { code: 0 },
        ErrorKind::ParameterProblem {
            code: 1,
            pointer: 6,
        },
    ] {
        assert_eq!(told(error, &large[..48]), Ok(UNREACHABLE));
    }
    // A packet of 1280 octets went in fragments: nothing that its sender could do.
    let least = udp(initiator(), anycast(), 1240);
    assert_eq!(told(small, &least), Err(Dropped::Address));
    // A quotation of what was never relayed there.
    let other = address("2001:db8:0:5::2");
    assert_eq!(
        translate(big, other, &large, table()),
        Err(Dropped::Stranger)
    );
    let elsewhere = udp(initiator(), initiator(), 1400);
    assert_eq!(told(big, &elsewhere), Err(Dropped::Stranger));
    assert_eq!(told(big, &large[..39]), Err(Dropped::Malformed));
}

#[test]
fn nobody_is_told_of_less_than_the_least_mtu() {
    for (path, told) in [
        (1500, 1460),
        (1320, 1280),
        (1280, 1280),
        (68, 1280),
        (0, 1280),
    ] {
        assert_eq!(too_big(path), ErrorKind::PacketTooBig { mtu: told });
    }
}

#[test]
fn a_service_gets_what_an_agent_sends_for_its_address() {
    let is_anycast = |a| a == anycast();
    let is_own = |a| a == responder();
    let request = udp(initiator(), anycast(), 8);
    assert_eq!(deliver(&request, true, is_anycast, is_own), Ok(()));
    let stranger = deliver(&request, false, is_anycast, is_own);
    assert_eq!(stranger, Err(Dropped::Stranger));
    let other = udp(initiator(), responder(), 8);
    assert_eq!(
        deliver(&other, true, is_anycast, is_own),
        Err(Dropped::NotServed)
    );
    for source in [
        "::",
        "::1",
        "fe80::1",
        "ff02::1",
        "2001:db8:0:4::2",
        "2001:db8:0:1::a",
    ] {
        let packet = udp(address(source), anycast(), 8);
        let outcome = deliver(&packet, true, is_anycast, is_own);
        assert_eq!(outcome, Err(Dropped::Address), "{source}");
    }
    let nested = packet(initiator(), anycast(), protocol::IPV6, &request);
    assert_eq!(
        deliver(&nested, true, is_anycast, is_own),
        Err(Dropped::Nested)
    );
}

fn echo(kind: EchoKind, data: &[u8]) -> Vec<u8> {
    let repr = EchoRepr {
        kind,
        ident: 1,
        sequence: 2,
        data,
    };
    let mut message = vec![0xa5; repr.buffer_len()];
    repr.emit(&mut message).unwrap();
    icmpv6::fill_checksum(anycast(), initiator(), &mut message).unwrap();
    packet(anycast(), initiator(), protocol::ICMPV6, &message)
}

#[test]
fn answers_to_probes_leave_from_the_unicast_address_and_nothing_else_does() {
    let is_anycast = |a| a == anycast();
    let out = |octets: &[u8]| outgoing(octets, is_anycast, responder());
    let payload = Payload {
        method: Method::Echo,
        nonce: [7; 16],
        attempt: 0,
    };
    let mut answer = echo(EchoKind::Reply, &payload.emit());
    assert_eq!(out(&answer), Outgoing::ProbeAnswer);
    assert!(with_source(&mut answer, responder()));
    let sent = Ipv6Packet::new(&answer).unwrap();
    assert_eq!(sent.source(), responder());
    assert_eq!(
        icmpv6::checksum(responder(), initiator(), sent.payload()),
        0
    );

    let tunnelled = |octets: &[u8]| matches!(out(octets), Outgoing::Encapsulate { .. });
    assert!(tunnelled(&echo(EchoKind::Reply, b"an ordinary ping of A")));
    assert!(tunnelled(&echo(EchoKind::Request, &payload.emit())));
    assert!(tunnelled(&udp(anycast(), initiator(), 8)));
    let mut datagram = udp(anycast(), initiator(), 8);
    assert!(!with_source(&mut datagram, responder()));

    // A port unreachable that quotes a probe by UDP, and one that quotes another.
    for (data, expected) in [(payload.emit().to_vec(), true), (vec![0; 32], false)] {
        let mut probe = vec![0; 8];
        probe.extend(data);
        let probe = packet(initiator(), anycast(), 17, &probe);
        let error = ErrorRepr {
            kind: ErrorKind::DestinationUnreachable { code: 4 },
            invoking: &probe,
        };
        let mut buffer = vec![0xa5; 1280];
        let octets = error
            .emit_packet(&Datagram::new(anycast(), initiator()), &mut buffer)
            .unwrap();
        assert_eq!(out(octets) == Outgoing::ProbeAnswer, expected);
    }

    assert_eq!(out(&udp(responder(), initiator(), 8)), Outgoing::Straight);
    let other = udp(address("2001:db8::9"), initiator(), 8);
    assert_eq!(out(&other), Outgoing::Drop(Dropped::NotServed));
    let noise = udp(anycast(), address("ff02::2"), 8);
    assert_eq!(out(&noise), Outgoing::Drop(Dropped::Address));
    let nested = packet(anycast(), initiator(), protocol::IPV6, &noise);
    assert_eq!(out(&nested), Outgoing::Drop(Dropped::Nested));
}

proptest! {
    /// Nothing that comes through the tunnel or from the device is more than judged.
    #[test]
    fn foreign_octets_are_judged_without_a_panic(
        octets in proptest::collection::vec(any::<u8>(), 0..200),
        six in any::<bool>(),
    ) {
        let mut octets = octets;
        if let Some(first) = octets.first_mut().filter(|_| six) {
            *first = 0x60;
        }
        let everything = |_| Some(Some(responder()));
        let _ = forward(&octets, everything);
        let _ = reverse(&octets, agent(), |_| true);
        let _ = translate(UNREACHABLE, responder(), &octets, everything);
        let _ = deliver(&octets, true, |_| true, |_| false);
        let _ = outgoing(&octets, |_| true, responder());
        let _ = with_source(&mut octets, responder());
    }
}
