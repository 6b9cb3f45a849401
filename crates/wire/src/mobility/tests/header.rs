//! The header, its checks and the messages.

use proptest::prelude::*;

use super::strategy::{any_message, any_options};
use super::*;
use crate::Error;
use crate::ipv6::{Datagram, Extension, Ipv6Packet, walk};

/// The fixed parts, from the pictures in RFC 6275 §6.1 and RFC 5846 §5.
const FIXED: [(u8, usize); 9] = [
    (0, 8),
    (1, 16),
    (2, 16),
    (3, 24),
    (4, 24),
    (5, 12),
    (6, 12),
    (7, 24),
    (16, 12),
];

proptest! {
    #[test]
    fn what_is_emitted_is_parsed(message in any_message(), options in any_options()) {
        let octets = emitted(message, &options);
        prop_assert!(octets.len().is_multiple_of(8));
        prop_assert_eq!(usize::from(octets[1]), octets.len() / 8 - 1);
        prop_assert_eq!((octets[0], octets[3]), (59, 0));
        let packet = MobilityPacket::new(&octets).unwrap();
        prop_assert_eq!(packet.octets(), &octets[..]);
        prop_assert_eq!(packet.message(), Ok(message));
        let (placed, error) = found(&octets);
        prop_assert_eq!(error, None);
        prop_assert!(placed.iter().all(PlacedOption::is_aligned));
        let parsed: Vec<_> = placed.iter().map(|placed| placed.option).collect();
        prop_assert_eq!(&parsed, &options);
        // Emitted again it is the same.
        prop_assert_eq!(emitted(packet.message().unwrap(), &parsed), octets);
    }

    #[test]
    fn whole_packets_are_received(
        message in any_message(), options in any_options(),
        source in 1..u64::MAX, destination in 1..u64::MAX, home in 1..u64::MAX, which in 0..3,
        at: prop::sample::Index, by in 1..=255u8,
    ) {
        let routable = |low: u64| Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(low));
        let mut datagram = Datagram::new(routable(source), routable(destination));
        datagram.extension = match which {
            0 => None,
            1 => Some(Extension::HomeAddress(routable(home))),
            _ => Some(Extension::Routing(routable(home))),
        };
        let repr = MobilityRepr { message, options: &options };
        let mut buffer = [0xa5; LEN_MAX + 64];
        let len = repr.emit_packet(&datagram, &mut buffer).unwrap().len();
        prop_assert_eq!(len, datagram.headers_len() + repr.buffer_len().unwrap());
        prop_assert_eq!(buffer.get(len), (len < buffer.len()).then_some(&0xa5));
        let mut octets = buffer[..len].to_vec();
        prop_assert_eq!(repr.emit_packet(&datagram, &mut buffer[..len - 1]), Err(Error::Truncated));
        let chain = walk(&Ipv6Packet::new(&octets).unwrap()).unwrap();
        let received = MobilityPacket::receive(&chain).unwrap();
        prop_assert_eq!(received.message(), Ok(message));
        // One octet changed is a wrong checksum, or nothing that could be one.
        let at = datagram.headers_len() + at.index(len - datagram.headers_len());
        octets[at] ^= by;
        let chain = walk(&Ipv6Packet::new(&octets).unwrap()).unwrap();
        let refusal = MobilityPacket::receive(&chain).unwrap_err();
        prop_assert!(matches!(refusal, Refusal::Checksum | Refusal::Truncated), "{:?}", refusal);
        prop_assert_eq!(refusal.answer(chain.offset), Answer::Silence);
    }

    #[test]
    fn foreign_bytes_never_panic(mut octets in proptest::collection::vec(any::<u8>(), 0..200), kind in 0..10usize) {
        if octets.len() > 8 {
            octets[0] = 59;
            octets[1] = (octets.len() / 8 - 1) as u8;
            octets[2] = [0, 1, 2, 3, 4, 5, 6, 7, 16, 99][kind];
        }
        let Ok(packet) = MobilityPacket::new(&octets) else { return Ok(()) };
        let raw = packet.raw_options().count();
        prop_assert!(packet.options().count() <= raw);
        let _ = packet.authenticator();
        let _ = BindingOptions::parse(&packet);
        let (placed, error) = found(packet.octets());
        let (Ok(message), None) = (packet.message(), error) else { return Ok(()) };
        let options: Vec<_> = placed.iter().map(|placed| placed.option).collect();
        let repr = MobilityRepr { message, options: &options };
        // An authenticator in the middle is read, and not written; a long message may
        // need more padding than it had.
        if repr.buffer_len().is_ok() {
            let once = emitted(message, &options);
            let (again, error) = found(&once);
            prop_assert_eq!(error, None);
            let again: Vec<_> = again.iter().map(|placed| placed.option).collect();
            prop_assert_eq!(&again, &options);
            prop_assert_eq!(MobilityPacket::new(&once).unwrap().message(), Ok(message));
            prop_assert_eq!(emitted(message, &again), once);
        }
    }
}

/// A Mobility Header of zeros with the right checksum between two addresses.
fn header(proto: u8, units: u8, kind: u8) -> (Vec<u8>, Ipv6Addr, Ipv6Addr) {
    let (source, destination) = (address("2001:db8::1"), address("2001:db8::2"));
    let mut octets = vec![0; 8 * (usize::from(units) + 1)];
    octets[..3].copy_from_slice(&[proto, units, kind]);
    if kind == 16 && octets.len() > 8 {
        octets[6] = 1;
    }
    fill_checksum(source, destination, &mut octets).unwrap();
    (octets, source, destination)
}

fn checked(proto: u8, units: u8, kind: u8) -> Result<(), Refusal> {
    let (octets, source, destination) = header(proto, units, kind);
    MobilityPacket::check(&octets, source, destination).map(|packet| {
        packet.message().unwrap();
    })
}

//= https://www.rfc-editor.org/rfc/rfc6275#section-9.2
//= type=test
//# Otherwise, the node MUST
//# silently discard the message.
#[test]
fn a_wrong_checksum_is_discarded_in_silence() {
    // Before anything else that is wrong, too.
    for (proto, units, kind) in [(59, 1, 5), (59, 1, 99), (6, 1, 5), (59, 0, 5)] {
        let (mut octets, source, destination) = header(proto, units, kind);
        octets[7] ^= 1;
        let refusal = MobilityPacket::check(&octets, source, destination).unwrap_err();
        assert_eq!(refusal, Refusal::Checksum);
        assert_eq!(refusal.answer(64), Answer::Silence);
    }
}

//= https://www.rfc-editor.org/rfc/rfc6275#section-9.2
//= type=test
//# The MH Type field MUST have a known value (Section 6.1.1).
#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn an_unknown_type_is_answered_with_a_binding_error() {
    for kind in 0..=255 {
        let is_known = FIXED.iter().any(|(known, _)| *known == kind);
        // Before a Payload Proto that is wrong, too.
        for proto in [59, 6] {
            match checked(proto, 2, kind) {
                Err(refusal @ Refusal::Type(found)) => {
                    assert_eq!((found, is_known), (kind, false));
                    let expected = Answer::BindingError(ErrorStatus(2));
                    assert_eq!(refusal.answer(64), expected);
                }
                other => assert!(is_known, "{kind}: {other:?}"),
            }
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc6275#section-9.2
//= type=test
//# The Payload Proto field MUST be IPPROTO_NONE (59 decimal).
#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn another_payload_is_answered_with_a_parameter_problem() {
    for proto in (0..=255).filter(|proto| *proto != 59) {
        // Before a length that is too small, too.
        for units in [0, 2] {
            let refusal = checked(proto, units, 5).unwrap_err();
            assert_eq!(refusal, Refusal::PayloadProto(proto));
            let expected = Answer::ParameterProblem {
                code: 0,
                pointer: 64,
            };
            assert_eq!(refusal.answer(64), expected);
        }
    }
}

//= https://www.rfc-editor.org/rfc/rfc6275#section-9.2
//= type=test
//# The Header Len field in the Mobility Header MUST NOT be less than
//# the length specified for this particular type of message in
//# Section 6.1.
#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn a_length_too_small_is_answered_with_a_parameter_problem() {
    for (kind, fixed) in FIXED {
        for units in 0..=255u8 {
            let len = 8 * (usize::from(units) + 1);
            let expected = match len < fixed {
                true => Err(Refusal::HeaderLen(units)),
                false => Ok(()),
            };
            assert_eq!(checked(59, units, kind), expected, "{kind} {units}");
        }
    }
    let expected = Answer::ParameterProblem {
        code: 0,
        pointer: 65,
    };
    assert_eq!(checked(59, 0, 5).unwrap_err().answer(64), expected);
}

#[test]
fn what_is_cut_off_is_discarded_in_silence() {
    let (octets, source, destination) = header(59, 1, 5);
    for len in 0..octets.len() {
        let refusal = MobilityPacket::check(&octets[..len], source, destination).unwrap_err();
        assert_eq!(refusal, Refusal::Truncated);
        assert_eq!(refusal.answer(64), Answer::Silence);
    }
    // What follows is none of it.
    let longer = [octets.as_slice(), &[0xff; 9]].concat();
    let packet = MobilityPacket::check(&longer, source, destination).unwrap();
    assert_eq!(packet.octets(), octets);
}

#[test]
fn parts_of_packets_and_other_protocols_are_not_received() {
    let (header, source, destination) = header(59, 1, 5);
    for (next, place, expected) in [
        (135, 0, Ok(())),
        (135, 1, Err(Refusal::Protocol)),
        (135, 8, Err(Refusal::Protocol)),
        (58, 0, Err(Refusal::Protocol)),
    ] {
        let behind = [&[next, 0, 0, place, 0, 0, 0, 9][..], &header].concat();
        let mut octets = vec![0xa5; 40 + behind.len()];
        let room = Datagram::new(source, destination).emit(44, behind.len(), &mut octets);
        room.unwrap().copy_from_slice(&behind);
        let chain = walk(&Ipv6Packet::new(&octets).unwrap()).unwrap();
        assert_eq!(MobilityPacket::receive(&chain).map(drop), expected);
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes minutes under Miri")]
fn revocations_are_one_of_two() {
    for kind in 0..=255 {
        let (mut octets, ..) = header(59, 1, 16);
        octets[6] = kind;
        let message = MobilityPacket::new(&octets).unwrap().message();
        match kind {
            1 => assert!(matches!(message, Ok(Message::RevocationIndication { .. }))),
            2 => assert!(matches!(
                message,
                Ok(Message::RevocationAcknowledgement { .. })
            )),
            _ => assert_eq!(message, Err(Refusal::Value)),
        }
    }
    assert_eq!(Refusal::Value.answer(40), Answer::Silence);
}

/// Each message once, written out by hand from the pictures in the RFCs.
#[test]
fn the_octets_are_as_documented() {
    let cookie = *b"COOKIE_8";
    let token = *b"TOKEN__8";
    let home_address = address("2001:db8::a");
    let cases = [
        (Message::BindingRefreshRequest, "3b000000 00000000"),
        (
            Message::HomeTestInit { cookie },
            "3b010100 00000000 434f4f4b49455f38",
        ),
        (
            Message::CareOfTestInit { cookie },
            "3b010200 00000000 434f4f4b49455f38",
        ),
        (
            Message::HomeTest {
                nonce_index: 0x1234,
                cookie,
                token,
            },
            "3b020300 00001234 434f4f4b49455f38 544f4b454e5f5f38",
        ),
        (
            Message::CareOfTest {
                nonce_index: 0x1234,
                cookie,
                token,
            },
            "3b020400 00001234 434f4f4b49455f38 544f4b454e5f5f38",
        ),
        (UPDATE, "3b010500 000000c8 c0000069 01020000"),
        (
            Message::BindingAcknowledgement {
                status: Status::SEQUENCE_OUT_OF_WINDOW,
                flags: AcknowledgementFlags(0xa0),
                sequence: 0x00c8,
                lifetime: 0x0102,
            },
            "3b010600 000087a0 00c80102 01020000",
        ),
        (
            Message::BindingError {
                status: ErrorStatus::UNKNOWN_BINDING,
                home_address,
            },
            "3b020700 00000100 20010db8000000000000000000 00000a",
        ),
        (
            Message::RevocationIndication {
                trigger: RevocationTrigger::ADMINISTRATIVE,
                sequence: 7,
                flags: RevocationFlags(0xa000),
            },
            "3b011000 00000101 0007a000 01020000",
        ),
        (
            Message::RevocationAcknowledgement {
                status: 128,
                sequence: 7,
                flags: RevocationFlags::PROXY,
            },
            "3b011000 00000280 00078000 01020000",
        ),
    ];
    for (message, expected) in cases {
        let found: String = emitted(message, &[])
            .iter()
            .map(|octet| format!("{octet:02x}"))
            .collect();
        assert_eq!(found, expected.replace(' ', ""), "{message:?}");
    }
}

#[test]
fn flags_are_sets() {
    let both = RevocationFlags::PROXY.union(RevocationFlags::GLOBAL);
    assert_eq!(both, RevocationFlags(0xa000));
    assert!(both.contains(RevocationFlags::GLOBAL) && !both.contains(RevocationFlags::IPV4));
    let both = AcknowledgementFlags::KEY_MANAGEMENT.union(AcknowledgementFlags::PROXY);
    assert_eq!(both, AcknowledgementFlags(0xa0));
    assert!(!both.contains(AcknowledgementFlags::MOBILE_ROUTER));
    assert!(both.contains(AcknowledgementFlags::PROXY));
}
