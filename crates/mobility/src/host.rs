//! What both ends of the tunnel give their host: packets that have come out of it, and
//! errors about those that do not go into it.

use std::io;
use std::net::Ipv6Addr;

use aarp_core::relay::{self, Dropped};
use aarp_sys::tun::Tun;
use aarp_sys::tunnel::Received;
use aarp_wire::icmpv6_error::{ErrorKind, ErrorRepr};
use aarp_wire::ipv6::{Datagram, Ipv6Packet, MTU_MIN};

/// Hop limit of the errors.
const HOP_LIMIT: u8 = 64;

/// Gives the host what came through a tunnel, with the congestion that was marked on the
/// way; what the host says to it. `room` is for a packet of the largest size.
///
/// # Errors
/// Why it is dropped, in silence: [`Dropped::Malformed`], [`Dropped::Congestion`].
pub fn decapsulate(
    tun: &Tun,
    received: &Received<'_>,
    room: &mut [u8],
) -> Result<io::Result<()>, Dropped> {
    let inner = received.inner;
    let packet = Ipv6Packet::new(inner).map_err(|_| Dropped::Malformed)?;
    let class = packet.traffic_class();
    let leaving = relay::decapsulated(class, received.traffic_class).ok_or(Dropped::Congestion)?;
    if leaving == class {
        return Ok(tun.send(inner));
    }
    let marked = room.get_mut(..inner.len()).ok_or(Dropped::Malformed)?;
    marked.copy_from_slice(inner);
    relay::with_traffic_class(marked, leaving);
    Ok(tun.send(marked))
}

/// Has the host send an ICMPv6 error about a packet to the source of that, in the name of
/// `from`; whether the host has taken it. Lost like any packet: the next one of its kind
/// brings another.
pub fn report(
    tun: &Tun,
    from: Ipv6Addr,
    kind: ErrorKind,
    invoking: &[u8],
    room: &mut [u8; MTU_MIN],
) -> bool {
    let Ok(packet) = Ipv6Packet::quoted(invoking) else {
        return false;
    };
    let datagram = Datagram {
        hop_limit: HOP_LIMIT,
        ..Datagram::new(from, packet.source())
    };
    let error = ErrorRepr { kind, invoking };
    let octets = error.emit_packet(&datagram, room);
    octets.is_ok_and(|octets| tun.send(octets).is_ok())
}
