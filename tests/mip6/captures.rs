//! Captures of other implementations, and of packets made to break them.

use std::path::PathBuf;

use aarp_wire::Error;
use aarp_wire::ipv6::{Chain, Datagram, Extension, HEADER, Ipv6Packet, Ipv6Repr, protocol, walk};
use aarp_wire::mobility::{
    BindingOptions, Message, MobilityOption, MobilityPacket, MobilityRepr, OptionError, Refusal,
    Status, UpdateFlags, fill_checksum,
};

use crate::capture;
use crate::checksum_is_right;

fn packets(name: &str) -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/mip6/captures");
    let packets = capture::read(&folder.join(name));
    assert!(!packets.is_empty(), "{name}");
    packets
}

const UMIP: &str = "umip1.0-linux6.1-ha-mn-cn-rr-ro.pcap";
const SCAPY: &str = "scapy-2.8.0-generated.pcap";
/// An option: type, place, and what is wrong with it.
type Wrong = (u8, usize, Error);

/// Captures of malformed packets, and the options at which they fail at the latest.
const MALFORMED: [(&str, &[Wrong]); 5] = [
    // Shorter than any Mobility Header.
    ("ipv6-mobility-header-oobr.pcap", &[]),
    (
        "mobility_opt_asan.pcap",
        &[(2, 13, Error::Length), (1, 24, Error::Truncated)],
    ),
    ("mobility_opt_asan_2.pcap", &[(4, 10, Error::Length)]),
    (
        "mobility_opt_asan_3.pcap",
        &[(100, 31, Error::Truncated), (3, 12, Error::Length)],
    ),
    ("mobility_opt_asan_4.pcap", &[(4, 35, Error::Length)]),
];

/// The chain of a packet, or of the packet within where it is a tunnel's.
fn innermost(octets: &[u8]) -> Chain<'_> {
    let packet = Ipv6Packet::new(octets).expect("an IPv6 packet");
    let chain = walk(&packet).expect("well-formed headers");
    match chain.protocol {
        protocol::IPV6 => innermost(chain.payload()),
        _ => chain,
    }
}

fn options<'a>(packet: &MobilityPacket<'a>) -> Result<Vec<MobilityOption<'a>>, OptionError> {
    packet
        .options()
        .map(|placed| placed.map(|placed| placed.option))
        .collect()
}

/// Reads a packet into parts and writes it from them.
fn emitted_again(octets: &[u8]) -> Vec<u8> {
    let packet = Ipv6Packet::new(octets).expect("an IPv6 packet");
    let chain = walk(&packet).expect("well-formed headers");
    let extension = match (chain.home_address, chain.routing) {
        (Some(home), None) => Some(Extension::HomeAddress(home.address)),
        (None, Some(home)) => Some(Extension::Routing(home)),
        (None, None) => None,
        both => panic!("{both:?}"),
    };
    let header = Ipv6Repr::parse(&packet);
    let datagram = Datagram {
        source: header.source,
        destination: header.destination,
        traffic_class: header.traffic_class,
        flow_label: header.flow_label,
        hop_limit: header.hop_limit,
        extension,
    };
    let mut buffer = vec![0xa5; octets.len()];
    let written = if chain.protocol == protocol::MOBILITY {
        let received = MobilityPacket::receive(&chain).expect("a Mobility Header");
        let repr = MobilityRepr {
            message: received.message().expect("a message"),
            options: &options(&received).expect("options"),
        };
        let written = repr.emit_packet(&datagram, &mut buffer);
        written.expect("it fits").len()
    } else {
        let payload = match chain.protocol {
            protocol::IPV6 => emitted_again(chain.payload()),
            _ => chain.payload().to_vec(),
        };
        let room = datagram.emit(chain.protocol, payload.len(), &mut buffer);
        room.expect("it fits").copy_from_slice(&payload);
        datagram.headers_len() + payload.len()
    };
    assert_eq!(written, octets.len());
    buffer
}

#[test]
fn packets_of_umip_are_emitted_as_they_were_read() {
    let mut types = [0; 8];
    let packets = packets(UMIP);
    for (number, octets) in (1..).zip(&packets) {
        assert_eq!(emitted_again(octets), *octets, "{number}");
        let chain = innermost(octets);
        if chain.protocol == protocol::MOBILITY {
            let kind = MobilityPacket::receive(&chain).unwrap().mh_type();
            types[usize::from(kind)] += 1;
        }
    }
    // As tshark counts them.
    assert_eq!(packets.len(), 56);
    assert_eq!(types, [0, 4, 2, 4, 2, 4, 4, 0]);
}

#[test]
fn packets_of_umip_say_what_tshark_reads() {
    let packets = packets(UMIP);
    let chain = innermost(&packets[0]);
    let received = MobilityPacket::receive(&chain).unwrap();
    let update = Message::BindingUpdate {
        sequence: 0xc2b8,
        flags: UpdateFlags::ACKNOWLEDGE.union(UpdateFlags::HOME_REGISTRATION),
        lifetime: 15,
    };
    assert_eq!(received.message(), Ok(update));
    assert_eq!(
        chain.source(),
        "2001:db8:0:1::a".parse::<std::net::Ipv6Addr>().unwrap()
    );
    let found = BindingOptions::parse(&received).unwrap();
    assert_eq!(found.alternate_care_of, Some(chain.packet.source()));
    // The correspondent's, with an authenticator.
    let chain = innermost(&packets[28]);
    let received = MobilityPacket::receive(&chain).unwrap();
    let found = BindingOptions::parse(&received).unwrap();
    assert_eq!(found.nonce_indices, Some((1, 1)));
    let (place, code) = found.authenticator.unwrap();
    assert_eq!(
        (place.at, place.is_last, code[..2] == [0x9a, 0xc0]),
        (20, true, true)
    );
    let chain = innermost(&packets[30]);
    let acknowledged = MobilityPacket::receive(&chain).unwrap().message().unwrap();
    let Message::BindingAcknowledgement {
        status, lifetime, ..
    } = acknowledged
    else {
        panic!("{acknowledged:?}")
    };
    assert_eq!((status, lifetime), (Status::ACCEPTED, 11));
}

#[test]
fn packets_of_scapy_are_emitted_as_they_were_read() {
    for (number, octets) in (1..).zip(packets(SCAPY)) {
        let chain = innermost(&octets);
        let received = MobilityPacket::receive(&chain).expect("a Mobility Header");
        // Its author forgot to set the length of the nonce indices.
        if number == 11 {
            let expected = OptionError {
                kind: 4,
                at: 12,
                error: Error::Length,
            };
            assert_eq!(options(&received), Err(expected));
            continue;
        }
        // And to align a Binding Identifier with an address.
        if number == 16 {
            let placed = received.options().next().unwrap().unwrap();
            assert_eq!((placed.at, placed.is_aligned()), (12, false));
            continue;
        }
        assert!(
            received
                .options()
                .all(|placed| placed.unwrap().is_aligned())
        );
        assert_eq!(emitted_again(&octets), octets, "{number}");
    }
}

#[test]
fn checksums_of_others_are_right() {
    let mut count = 0;
    for octets in [packets(UMIP), packets(SCAPY)].concat() {
        let chain = innermost(&octets);
        let received = match chain.protocol {
            protocol::MOBILITY => chain.payload(),
            protocol::ICMPV6 => {
                let sum = aarp_wire::icmpv6::checksum(
                    chain.source(),
                    chain.destination(),
                    chain.payload(),
                );
                assert_eq!(sum, 0);
                chain.payload()
            }
            other => panic!("protocol {other}"),
        };
        let (source, destination) = (chain.source(), chain.destination());
        assert!(checksum_is_right(
            source,
            destination,
            chain.protocol,
            received
        ));
        count += 1;
    }
    assert_eq!(count, 56 + 19);
}

/// Made by a program that did not fill in checksums.
#[test]
fn messages_without_a_checksum_are_read_and_not_received() {
    let mut types = Vec::new();
    for (number, octets) in (1..).zip(packets("ipv6_mobility_1.pcap")) {
        let chain = innermost(&octets);
        let refused = MobilityPacket::receive(&chain);
        assert_eq!(refused, Err(Refusal::Checksum), "{number}");
        let packet = MobilityPacket::new(chain.payload()).unwrap();
        types.push(packet.mh_type());
        packet.message().unwrap();
        options(&packet).unwrap();
        BindingOptions::parse(&packet).unwrap();
    }
    assert_eq!(types, [0, 1, 2, 3, 4, 5, 5, 5, 5, 5, 6, 6, 6, 6, 7, 5]);
}

#[test]
fn malformed_packets_are_refused() {
    for (name, wrong) in MALFORMED {
        let mut found = Vec::new();
        for mut octets in packets(name) {
            assert_eq!(Ipv6Packet::new(&octets), Err(Error::Truncated), "{name}");
            // The same, with what keeps them from being read mended one by one: the
            // payload length, and the protocol (62 in a draft).
            let len = octets.len() - HEADER;
            octets[4..6].copy_from_slice(&(len as u16).to_be_bytes());
            octets[6] = protocol::MOBILITY;
            let chain = walk(&Ipv6Packet::new(&octets).unwrap()).unwrap();
            let refused = MobilityPacket::receive(&chain).unwrap_err();
            let expected = [Refusal::Truncated, Refusal::Checksum];
            assert!(expected.contains(&refused), "{name}: {refused:?}");
            // The length of the header, and the checksum.
            let (source, destination) = (chain.source(), chain.destination());
            let mut header = chain.payload().to_vec();
            let Some(units) = (header.len() / 8).checked_sub(1) else {
                assert_eq!(MobilityPacket::new(&header), Err(Refusal::Truncated));
                continue;
            };
            header[1] = units as u8;
            header.truncate(8 * (units + 1));
            fill_checksum(source, destination, &mut header).unwrap();
            let checked = MobilityPacket::check(&header, source, destination);
            assert_eq!(checked, Err(Refusal::PayloadProto(header[0])), "{name}");
            // And at last the payload.
            header[0] = protocol::NONE;
            let packet = MobilityPacket::new(&header).unwrap();
            let error = options(&packet).unwrap_err();
            assert!(BindingOptions::parse(&packet).unwrap_err().at <= error.at);
            found.push((error.kind, error.at, error.error));
        }
        assert_eq!(found, wrong, "{name}");
    }
}
