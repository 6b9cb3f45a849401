//! What the RFCs demand of every message, as properties: docs/rfc-requirements.md says
//! which test is for which sentence.

use proptest::prelude::*;

use super::strategy::{any_message, any_options};
use super::*;
use crate::ipv6::{Datagram, Extension, Ipv6Packet, walk};

/// The sum of all 16-bit words of pseudo-header and octets, modulo 2^16 - 1: zero where
/// the checksum is right (RFC 8200 §8.1).
fn sum(source: Ipv6Addr, destination: Ipv6Addr, octets: &[u8]) -> u128 {
    let mut sum = 135 + octets.len() as u128;
    for part in [&source.octets()[..], &destination.octets(), octets] {
        for (at, octet) in part.iter().enumerate() {
            sum += u128::from(*octet) << if at % 2 == 0 { 8 } else { 0 };
        }
    }
    sum % 65535
}

fn routable(low: u64) -> Ipv6Addr {
    Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(low))
}

/// A packet with these headers before a message.
fn packet(next: u8, headers: &[u8], message: Message) -> Vec<u8> {
    let mut header = emitted(message, &[]);
    fill_checksum(routable(1), routable(2), &mut header).unwrap();
    let behind = [headers, &header].concat();
    let mut octets = vec![0; 40 + behind.len()];
    let datagram = Datagram::new(routable(1), routable(2));
    let room = datagram.emit(next, behind.len(), &mut octets);
    room.unwrap().copy_from_slice(&behind);
    octets
}

/// The message of a packet, or what the packet is answered with.
fn received(octets: &[u8]) -> Result<Message, Answer> {
    let chain = walk(&Ipv6Packet::new(octets).unwrap()).unwrap();
    match MobilityPacket::receive(&chain) {
        Ok(packet) => Ok(packet.message().unwrap()),
        Err(refusal) => Err(refusal.answer(chain.offset)),
    }
}

proptest! {
    /// RFC 6275 §6.1.1: the checksum is over a pseudo-header with next header 135 and
    /// the length of the whole header; §11.3.1 and §6.4: with the home address in place
    /// of the care-of address, whichever end that is.
    #[test]
    fn the_checksum_is_over_the_home_address(
        message in any_message(), options in any_options(),
        source: u64, destination: u64, home: u64, which in 0..3,
    ) {
        let (source, destination, home) = (routable(source), routable(destination), routable(home));
        let mut datagram = Datagram::new(source, destination);
        let (from, to) = match which {
            0 => (source, destination),
            1 => (home, destination),
            _ => (source, home),
        };
        datagram.extension = match which {
            0 => None,
            1 => Some(Extension::HomeAddress(home)),
            _ => Some(Extension::Routing(home)),
        };
        let repr = MobilityRepr { message, options: &options };
        let mut buffer = [0xa5; LEN_MAX + 64];
        let octets = repr.emit_packet(&datagram, &mut buffer).unwrap();
        let headers = datagram.headers_len();
        prop_assert_eq!(sum(from, to, &octets[headers..]), 0);
        prop_assert!(received(octets).is_ok());
    }

    /// RFC 6275 §6.2.1: options that are not understood MUST be skipped, wherever they
    /// stand: what the others say stays the same.
    #[test]
    fn unknown_options_change_nothing(
        message in any_message(), options in any_options(),
        places in proptest::collection::vec(any::<prop::sample::Index>(), 1..4),
        kind in any::<u8>().prop_filter("known", |kind| ![0, 1, 2, 3, 4, 5, 8, 9, 10, 35].contains(kind)),
        data in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let before = emitted(message, &options);
        let mut begins: Vec<usize> = MobilityPacket::new(&before).unwrap()
            .raw_options().map(|raw| raw.unwrap().at).collect();
        begins.push(before.len());
        let mut chosen: Vec<usize> = places.iter().map(|place| *place.get(&begins)).collect();
        chosen.sort_unstable();
        let mut octets = before.clone();
        // From the end, so that the others stay where they are.
        for at in chosen.into_iter().rev() {
            let option = [&[kind, data.len() as u8][..], &data].concat();
            octets.splice(at..at, option);
        }
        octets.resize(octets.len().next_multiple_of(8), 0);
        prop_assume!(octets.len() <= LEN_MAX);
        octets[1] = (octets.len() / 8 - 1) as u8;
        let (read, error) = found(&octets);
        prop_assert_eq!(error, None);
        let read: Vec<_> = read.into_iter().map(|placed| placed.option).collect();
        prop_assert_eq!(read, options);
        prop_assert_eq!(MobilityPacket::new(&octets).unwrap().message(), Ok(message));
    }

    /// RFC 8200 §4.2: an option that is not known and whose type does not let it be
    /// skipped has the destination discard the packet, and a Parameter Problem of code
    /// 2 point at it (not for 01); RFC 5095 §3: a type 0 routing header, as any that
    /// is not known, with segments left likewise, of code 0.
    #[test]
    fn nothing_is_taken_from_packets_that_have_to_be_discarded(
        message in any_message(),
        kind in any::<u8>().prop_filter("known", |kind| ![0, 1, 0xc9].contains(kind)),
        routing_type in any::<u8>().prop_filter("type 2", |kind| *kind != 2),
        segments_left in prop_oneof![Just(0u8), any::<u8>()],
    ) {
        for next in [0, 60] {
            let octets = packet(next, &[135, 0, kind, 4, 0, 0, 0, 0], message);
            let expected = match kind >> 6 {
                0 => Ok(message),
                1 => Err(Answer::Silence),
                _ => Err(Answer::ParameterProblem { code: 2, pointer: 42 }),
            };
            prop_assert_eq!(received(&octets), expected);
        }
        let octets = packet(43, &[135, 0, routing_type, segments_left, 0, 0, 0, 0], message);
        let expected = match segments_left {
            0 => Ok(message),
            _ => Err(Answer::ParameterProblem { code: 0, pointer: 42 }),
        };
        prop_assert_eq!(received(&octets), expected);
    }

    /// RFC 6275 §6.1.7 to §6.1.9: what a field says is not the sender's to choose where
    /// it is reserved: zero when sent, not looked at when received.
    #[test]
    fn reserved_fields_do_not_count(message in any_message(), octet: u8, word: u16) {
        let octets = emitted(message, &[]);
        let reserved: &[usize] = match octets[2] {
            0..=2 => &[6, 7],
            7 => &[7],
            _ => &[],
        };
        let mut changed = octets.clone();
        changed[3] = octet;
        for (at, value) in reserved.iter().zip(word.to_be_bytes()) {
            prop_assert_eq!(octets[*at], 0);
            changed[*at] = value;
        }
        prop_assert_eq!(octets[3], 0);
        prop_assert_eq!(MobilityPacket::new(&changed).unwrap().message(), Ok(message));
    }
}

/// RFC 6275 §6.1.8, RFC 4285 §8, RFC 5648 §4.2: the values, and that those below 128
/// are acceptances.
#[test]
fn statuses_have_the_values_of_the_registry() {
    let accepted = [
        (Status::ACCEPTED, 0),
        (Status::PREFIX_DISCOVERY, 1),
        (Status::MCOA_NOTCOMPLETE, 4),
        (Status::MCOA_RETURNHOME_WO_NDP, 5),
    ];
    let rejected = [
        (Status::UNSPECIFIED, 128),
        (Status::PROHIBITED, 129),
        (Status::RESOURCES, 130),
        (Status::HOME_REGISTRATION_NOT_SUPPORTED, 131),
        (Status::NOT_HOME_SUBNET, 132),
        (Status::NOT_HOME_AGENT, 133),
        (Status::DUPLICATE_ADDRESS, 134),
        (Status::SEQUENCE_OUT_OF_WINDOW, 135),
        (Status::EXPIRED_HOME_NONCE, 136),
        (Status::EXPIRED_CARE_OF_NONCE, 137),
        (Status::EXPIRED_NONCES, 138),
        (Status::TYPE_CHANGE, 139),
        (Status::ID_MISMATCH, 144),
        (Status::ID_REQUIRED, 145),
        (Status::AUTHENTICATION_FAILED, 146),
        (Status::MCOA_MALFORMED, 164),
        (Status::MCOA_NON_MCOA_BINDING_EXISTS, 165),
        (Status::MCOA_PROHIBITED, 166),
        (Status::MCOA_UNKNOWN_COA, 167),
        (Status::MCOA_BULK_PROHIBITED, 168),
        (Status::MCOA_SIMULTANEOUS_PROHIBITED, 169),
        (Status::INVALID_CARE_OF, 174),
    ];
    for (status, value) in accepted.into_iter().chain(rejected) {
        assert_eq!(status, Status(value));
    }
    for value in 0..=255 {
        assert_eq!(Status(value).is_accepted(), value < 128, "{value}");
        let is_named = accepted
            .iter()
            .chain(&rejected)
            .any(|(status, _)| status.0 == value);
        let is_plain = ["accepted", "rejected"].contains(&Status(value).text());
        assert_eq!(is_plain, !is_named || value == 0, "{value}");
    }
    let flags = [
        (UpdateFlags::ACKNOWLEDGE, 0x8000),
        (UpdateFlags::HOME_REGISTRATION, 0x4000),
        (UpdateFlags::LINK_LOCAL, 0x2000),
        (UpdateFlags::KEY_MANAGEMENT, 0x1000),
        (UpdateFlags::MOBILITY_ANCHOR, 0x0800),
        (UpdateFlags::MOBILE_ROUTER, 0x0400),
        (UpdateFlags::PROXY, 0x0200),
        (UpdateFlags::FORCE_UDP, 0x0100),
        (UpdateFlags::TLV_TUNNEL, 0x0080),
        (UpdateFlags::OVERWRITE, 0x0040),
    ];
    for (flag, bits) in flags {
        assert_eq!(flag, UpdateFlags(bits));
    }
    assert_eq!(ErrorStatus::UNKNOWN_BINDING, ErrorStatus(1));
    assert_eq!(ErrorStatus::UNRECOGNISED_TYPE, ErrorStatus(2));
}
