//! What happens to a packet at either end of the tunnel between an anycast agent and
//! a responder (RFC 2473, RFC 6275 §10.4.5): no I/O, no clock.
//!
//! ```text
//! initiator --- A ---> agent ==[ agent > U [ initiator > A ]]==> responder
//! initiator <--- A --- agent <==[ U > agent [ A > initiator ]]== responder
//! ```

mod agent;
mod limit;
mod marks;
mod responder;

pub use agent::{Forward, forward, reverse, too_big, translate};
pub use limit::Limit;
pub use marks::{decapsulated, with_traffic_class};
pub use responder::{Outgoing, deliver, outgoing, with_source};

use core::fmt;

use aarp_wire::ipv6::{HEADER, Ipv6Packet, protocol, walk};

/// Octets that the tunnel puts before a packet.
//= https://www.rfc-editor.org/rfc/rfc2473#section-3.1
pub const OVERHEAD: usize = HEADER;

/// Why a packet goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// It is no IPv6 packet, or contradicts itself.
    Malformed,
    /// It is a tunnel packet itself: what is relayed is not relayed again.
    Nested,
    /// It is to an address that is not served here.
    NotServed,
    /// Its address has no binding.
    NoBinding,
    /// It comes through the tunnel from somebody who has not registered, or in the
    /// name of an address that is another's.
    Stranger,
    /// Its source or destination is one that no packet may have here.
    Address,
    /// Congestion was marked on a packet that cannot carry the mark (RFC 6040 §4.2).
    Congestion,
}

impl Dropped {
    /// Every reason, in the order of their declaration.
    pub const ALL: [Self; 7] = [
        Self::Malformed,
        Self::Nested,
        Self::NotServed,
        Self::NoBinding,
        Self::Stranger,
        Self::Address,
        Self::Congestion,
    ];

    /// The name in counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Nested => "nested",
            Self::NotServed => "not-served",
            Self::NoBinding => "no-binding",
            Self::Stranger => "stranger",
            Self::Address => "address",
            Self::Congestion => "congestion",
        }
    }
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The protocol behind the extension headers; none if they cannot be followed, which
/// is for the packet's destination to judge.
fn upper_protocol(packet: &Ipv6Packet<'_>) -> Option<u8> {
    // Most packets have no extension header.
    match packet.next_header() {
        protocol::HOP_BY_HOP
        | protocol::DESTINATION_OPTIONS
        | protocol::ROUTING
        | protocol::FRAGMENT
        | protocol::AUTHENTICATION => walk(packet).ok().map(|chain| chain.protocol),
        direct => Some(direct),
    }
}

#[cfg(test)]
mod tests;
