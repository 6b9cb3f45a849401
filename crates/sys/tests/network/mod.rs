//! Packets of the tests, what a link has carried, and waiting.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_lab::{Host, HostSpec, Lab, LinkSpec, Network, wait_until};
use aarp_sys::packet::{Ring, RingSize};
use aarp_sys::raw6::{PacketBatch, RawSender};

pub const LIMIT: Duration = Duration::from_secs(30);

/// `one` at the left, `other` at the right, two links with the router in between.
pub const ONE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
pub const OTHER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);
/// The router's address on the link of `one`.
pub const ROUTER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);

/// Two hosts and a router; the link of `other` has this MTU.
pub fn routed(mtu: u32) -> Lab {
    let network = Network::new()
        .host("one", HostSpec::new().route("default via 2001:db8:1::1"))
        .host("router", HostSpec::router())
        .host("other", HostSpec::new().route("default via 2001:db8:2::1"))
        .add_link(plain(
            "one:eth0 2001:db8:1::2/64",
            "router:l 2001:db8:1::1/64",
        ))
        .add_link(plain("other:eth0 2001:db8:2::2/64", "router:r 2001:db8:2::1/64").mtu(mtu));
    Lab::new(&network).unwrap()
}

/// Two hosts on one link; `one` has no route to anywhere else.
pub fn joined() -> Lab {
    let network = Network::new()
        .host("one", HostSpec::new().route("2001:db8:2::/64 dev eth0"))
        .host("other", HostSpec::new().route("2001:db8:1::/64 dev eth0"))
        .add_link(plain(
            "one:eth0 2001:db8:1::2/64",
            "other:eth0 2001:db8:2::2/64",
        ));
    Lab::new(&network).unwrap()
}

fn plain(one: &str, other: &str) -> LinkSpec {
    LinkSpec::new(one, other).offloads(false)
}

pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    wait_until(what, LIMIT, || Ok(holds())).unwrap();
}

pub fn ring(host: &Host) -> Ring {
    host.enter(|| Ring::open("eth0", RingSize::FRAMES, false))
        .unwrap()
}

/// The IPv6 packets that have come by since the last time.
pub fn packets(ring: &mut Ring) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    ring.drain(|frame| {
        if frame.data[12..14] == [0x86, 0xdd] {
            found.push(frame.data[14..].to_vec());
        }
    });
    found
}

/// An IPv6 packet (RFC 8200, section 3).
pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next_header, 64]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

/// A UDP datagram from port 4000 to port 5000, with its checksum.
pub fn udp(source: Ipv6Addr, destination: Ipv6Addr, data: &[u8]) -> Vec<u8> {
    let mut payload = [4000u16, 5000, 8 + data.len() as u16, 0]
        .map(u16::to_be_bytes)
        .concat();
    payload.extend(data);
    let sum = checksum(source, destination, 17, &payload);
    payload[6..8].copy_from_slice(&sum.to_be_bytes());
    ipv6(source, destination, 17, &payload)
}

/// RFC 8200, section 8.1.
pub fn checksum(source: Ipv6Addr, destination: Ipv6Addr, next_header: u8, data: &[u8]) -> u16 {
    let mut octets = [source.octets(), destination.octets()].concat();
    octets.extend((data.len() as u32).to_be_bytes());
    octets.extend([0, 0, 0, next_header]);
    octets.extend(data);
    let sum: u32 = octets
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) as u16 + (sum >> 16) as u16)
}

/// A Mobility Header of type 5 (RFC 6275, section 6.1.7) with this sequence number
/// and a checksum for these addresses.
pub fn binding_update(source: Ipv6Addr, destination: Ipv6Addr, sequence: u16) -> Vec<u8> {
    let mut header = vec![59, 1, 5, 0, 0, 0];
    header.extend(sequence.to_be_bytes());
    // Flags A and H, a lifetime of 40 s, PadN of four octets.
    header.extend([0xc0, 0, 0, 10, 1, 2, 0, 0]);
    let sum = checksum(source, destination, 135, &header);
    header[4..6].copy_from_slice(&sum.to_be_bytes());
    header
}

/// Destination options with the Home Address option (RFC 6275, section 6.3).
pub fn with_home_address(home: Ipv6Addr, rest: &[u8]) -> Vec<u8> {
    let mut options = vec![135, 2, 1, 2, 0, 0, 0xc9, 16];
    options.extend(home.octets());
    options.extend(rest);
    options
}

/// A type 2 routing header (RFC 6275, section 6.4).
pub fn with_type_2_routing(home: Ipv6Addr, rest: &[u8]) -> Vec<u8> {
    let mut header = vec![135, 2, 2, 1, 0, 0, 0, 0];
    header.extend(home.octets());
    header.extend(rest);
    header
}

/// Sends packets with their own headers; all must leave.
pub fn send(sender: &RawSender, packets: &[Vec<u8>]) {
    let mut batch = PacketBatch::new(packets.len(), 2048);
    for packet in packets {
        batch.push(packet).unwrap();
    }
    let sent = sender.send(&mut batch, |failed| panic!("{failed}"));
    assert_eq!(sent, packets.len());
}
