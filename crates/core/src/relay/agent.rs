//! The agent's end of the tunnel.

use core::net::Ipv6Addr;

use aarp_wire::icmpv6_error::{ADDRESS_UNREACHABLE, ErrorKind, PROHIBITED, may_answer};
use aarp_wire::ipv6::{HEADER, Ipv6Packet, MTU_MIN, is_unicast_routable, protocol};

use super::{Dropped, OVERHEAD, upper_protocol};

/// What becomes of a packet to an anycast address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// It goes into the tunnel.
    Encapsulate {
        /// The responder.
        care_of: Ipv6Addr,
        /// The traffic class of the outer header (RFC 6040 §4.1, RFC 2983 §3).
        traffic_class: u8,
        /// Whether the initiator is to hear that it is too big rather than have the
        /// outer packet fragmented.
        dont_fragment: bool,
    },
    /// Its sender is told why it goes no further, within the limits of RFC 4443.
    Refuse(Dropped, ErrorKind),
    /// It goes no further.
    Drop(Dropped),
}

/// What becomes of a packet that was routed to the agent. `binding` looks an anycast
/// address up: `None` when it is not served here, `Some(None)` without a binding.
#[must_use]
pub fn forward(
    octets: &[u8],
    binding: impl FnOnce(Ipv6Addr) -> Option<Option<Ipv6Addr>>,
) -> Forward {
    let Ok(packet) = Ipv6Packet::new(octets) else {
        return Forward::Drop(Dropped::Malformed);
    };
    if !is_source(packet.source()) {
        return Forward::Drop(Dropped::Address);
    }
    let refuse = |why, kind| match may_answer(&packet, kind) {
        true => Forward::Refuse(why, kind),
        false => Forward::Drop(why),
    };
    // A tunnel packet may be one that another agent relays: two that lead to one
    // another would send it round for ever, larger each time. This is an
    // encapsulation limit of zero (RFC 2473 §4.1.1) that needs no option.
    if upper_protocol(&packet) == Some(protocol::IPV6) {
        let kind = ErrorKind::DestinationUnreachable { code: PROHIBITED };
        return refuse(Dropped::Nested, kind);
    }
    let Some(bound) = binding(packet.destination()) else {
        return Forward::Drop(Dropped::NotServed);
    };
    let Some(care_of) = bound else {
        let kind = ErrorKind::DestinationUnreachable {
            code: ADDRESS_UNREACHABLE,
        };
        return refuse(Dropped::NoBinding, kind);
    };
    Forward::Encapsulate {
        care_of,
        traffic_class: packet.traffic_class(),
        //= https://www.rfc-editor.org/rfc/rfc2473#section-7.1
        dont_fragment: packet.octets().len() > MTU_MIN,
    }
}

/// What the sender of a packet is told that does not fit a path of `mtu` octets to the
/// responder.
//= https://www.rfc-editor.org/rfc/rfc2473#section-7.1
#[must_use]
pub fn too_big(mtu: u32) -> ErrorKind {
    ErrorKind::PacketTooBig {
        mtu: mtu.saturating_sub(OVERHEAD as u32).max(MTU_MIN as u32),
    }
}

/// Whether a packet that came through a tunnel may go on to its destination.
/// `is_registered` tells whether the tunnel's source is what the packet's source, an
/// anycast address, is registered with.
///
/// # Errors
/// Why it is dropped, in silence: a stranger learns nothing.
//= https://www.rfc-editor.org/rfc/rfc6275#section-10.4.5
pub fn reverse(
    octets: &[u8],
    agent: Ipv6Addr,
    is_registered: impl FnOnce(Ipv6Addr) -> bool,
) -> Result<(), Dropped> {
    let packet = Ipv6Packet::new(octets).map_err(|_| Dropped::Malformed)?;
    if !is_registered(packet.source()) {
        return Err(Dropped::Stranger);
    }
    let upper = upper_protocol(&packet);
    if upper == Some(protocol::IPV6) {
        return Err(Dropped::Nested);
    }
    let destination = packet.destination();
    if !is_unicast_routable(destination) || destination == packet.source() {
        return Err(Dropped::Address);
    }
    // The agent's host may be an initiator itself; what is for the agent comes to it
    // outside of tunnels.
    if destination == agent && upper == Some(protocol::MOBILITY) {
        return Err(Dropped::Address);
    }
    Ok(())
}

/// What the initiator is told of an error that a node on the tunnel's path has sent
/// about a packet to `care_of`, of which the inner packet is quoted.
///
/// # Errors
/// When nobody is told: the quotation is not of a packet that was relayed there, or of
/// one that may not be answered.
//= https://www.rfc-editor.org/rfc/rfc2473#section-8.2
pub fn translate(
    error: ErrorKind,
    care_of: Ipv6Addr,
    quoted: &[u8],
    binding: impl FnOnce(Ipv6Addr) -> Option<Option<Ipv6Addr>>,
) -> Result<ErrorKind, Dropped> {
    let inner = Ipv6Packet::quoted(quoted).map_err(|_| Dropped::Malformed)?;
    if binding(inner.destination()) != Some(Some(care_of)) {
        return Err(Dropped::Stranger);
    }
    let kind = match error {
        ErrorKind::PacketTooBig { mtu } => {
            // An inner packet that small was sent in fragments: its sender cannot do
            // better (RFC 8200 §5).
            if HEADER + usize::from(inner.payload_len()) <= MTU_MIN {
                return Err(Dropped::Address);
            }
            too_big(mtu)
        }
        // Whatever failed beyond the agent, for the initiator the address is what
        // cannot be reached.
        _ => ErrorKind::DestinationUnreachable {
            code: ADDRESS_UNREACHABLE,
        },
    };
    match is_source(inner.source()) && may_answer(&inner, kind) {
        true => Ok(kind),
        false => Err(Dropped::Address),
    }
}

/// A source that a packet from afar may have.
fn is_source(address: Ipv6Addr) -> bool {
    is_unicast_routable(address)
}
