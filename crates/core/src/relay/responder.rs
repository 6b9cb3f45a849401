//! The responder's end of the tunnel.

use core::net::Ipv6Addr;

use aarp_wire::icmpv6::{self, ECHO_HEADER, ECHO_REPLY, PORT_UNREACHABLE};
use aarp_wire::icmpv6_error::{ErrorKind, ErrorRepr};
use aarp_wire::ipv6::{HEADER, Ipv6Packet, MTU_MIN, is_unicast_routable, protocol, walk};
use aarp_wire::probe;

use super::{Dropped, upper_protocol};

/// Octets of a UDP header.
const UDP_HEADER: usize = 8;
const UDP: u8 = 17;

/// Whether a packet that came through the tunnel is for the service. `is_own` tells
/// this host's own addresses, which no packet from outside has as its source.
///
/// # Errors
/// Why it is dropped, in silence.
pub fn deliver(
    octets: &[u8],
    is_agent: bool,
    anycast: impl FnOnce(Ipv6Addr) -> bool,
    is_own: impl FnOnce(Ipv6Addr) -> bool,
) -> Result<(), Dropped> {
    // Anybody could put packets with any source into this host otherwise.
    if !is_agent {
        return Err(Dropped::Stranger);
    }
    let packet = Ipv6Packet::new(octets).map_err(|_| Dropped::Malformed)?;
    let (source, destination) = (packet.source(), packet.destination());
    if !anycast(destination) {
        return Err(Dropped::NotServed);
    }
    if !is_unicast_routable(source) || source == destination || is_own(source) {
        return Err(Dropped::Address);
    }
    if upper_protocol(&packet) == Some(protocol::IPV6) {
        return Err(Dropped::Nested);
    }
    Ok(())
}

/// What becomes of a packet that this host sends in the name of an anycast address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outgoing {
    /// Through the tunnel.
    Encapsulate {
        /// The traffic class of the outer header.
        traffic_class: u8,
        /// Whether this host is to hear that it is too big rather than have the outer
        /// packet fragmented.
        dont_fragment: bool,
    },
    /// It answers a probe of the Anycast Resolving Layer: straight to the initiator,
    /// from the unicast address ([`with_source`]).
    ProbeAnswer,
    /// It bears the unicast address already: straight to its destination.
    Straight,
    /// It goes no further.
    Drop(Dropped),
}

/// What becomes of a packet that the kernel routed into the tunnel.
#[must_use]
pub fn outgoing(
    octets: &[u8],
    anycast: impl FnOnce(Ipv6Addr) -> bool,
    unicast: Ipv6Addr,
) -> Outgoing {
    let Ok(packet) = Ipv6Packet::new(octets) else {
        return Outgoing::Drop(Dropped::Malformed);
    };
    if !is_unicast_routable(packet.destination()) {
        return Outgoing::Drop(Dropped::Address);
    }
    if packet.source() == unicast {
        return Outgoing::Straight;
    }
    if !anycast(packet.source()) {
        return Outgoing::Drop(Dropped::NotServed);
    }
    // Next headers 41 and 135 are never rewritten; the first is not relayed either.
    if upper_protocol(&packet) == Some(protocol::IPV6) {
        return Outgoing::Drop(Dropped::Nested);
    }
    if packet.next_header() == protocol::ICMPV6 && answers_probe(packet.payload()) {
        return Outgoing::ProbeAnswer;
    }
    Outgoing::Encapsulate {
        traffic_class: packet.traffic_class(),
        dont_fragment: packet.octets().len() > MTU_MIN,
    }
}

/// Whether an ICMPv6 message answers a probe: an echo reply with its payload, or a port
/// unreachable that quotes a datagram with it.
fn answers_probe(message: &[u8]) -> bool {
    let has_magic = |data: &[u8]| data.starts_with(&probe::MAGIC);
    if message.first() == Some(&ECHO_REPLY) {
        return message.get(ECHO_HEADER..).is_some_and(has_magic);
    }
    let Ok(error) = ErrorRepr::parse(message) else {
        return false;
    };
    let unreachable = ErrorKind::DestinationUnreachable {
        code: PORT_UNREACHABLE,
    };
    if error.kind != unreachable {
        return false;
    }
    let Ok(Ok(chain)) = error.quoted().map(|quoted| walk(&quoted)) else {
        return false;
    };
    chain.protocol == UDP && chain.payload().get(UDP_HEADER..).is_some_and(has_magic)
}

/// Gives an ICMPv6 packet without extension headers another source, and the checksum
/// that goes with it. False, and nothing changed, for other packets.
pub fn with_source(octets: &mut [u8], source: Ipv6Addr) -> bool {
    let Ok(packet) = Ipv6Packet::new(octets) else {
        return false;
    };
    if packet.next_header() != protocol::ICMPV6 {
        return false;
    }
    let destination = packet.destination();
    let end = packet.octets().len();
    if end < HEADER + 4 {
        return false;
    }
    let (header, message) = octets[..end].split_at_mut(HEADER);
    header[8..24].copy_from_slice(&source.octets());
    icmpv6::fill_checksum(source, destination, message).is_ok()
}
