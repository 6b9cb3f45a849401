//! What operators are told as it happens.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::accept::Refusal;
use aarp_core::mapping::State;
use aarp_core::prefix::Prefix;

use crate::sweep::Cause;

/// Something that has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// U answered for A, of which no U was known.
    Learned {
        /// The anycast address.
        a: Ipv6Addr,
        /// Who answered.
        u: Ipv6Addr,
        /// The round trip.
        rtt: Duration,
    },
    /// Another U answers for A than before.
    Changed {
        /// The anycast address.
        a: Ipv6Addr,
        /// Who answered before.
        from: Ipv6Addr,
        /// Who answers now.
        to: Ipv6Addr,
        /// The round trip.
        rtt: Duration,
    },
    /// U answers for A no longer, and no other does.
    Gone {
        /// The anycast address.
        a: Ipv6Addr,
        /// Who answered before.
        u: Ipv6Addr,
        /// What is known about A now.
        state: State,
    },
    /// The answer for A came from an address that must not be used.
    Untrusted {
        /// The anycast address.
        a: Ipv6Addr,
        /// Who answered.
        u: Ipv6Addr,
        /// Why it is not used, where that is known.
        refusal: Option<Refusal>,
    },
    /// A program says that U does not work for it: A is asked again.
    Failed {
        /// The anycast address.
        a: Ipv6Addr,
        /// What failed.
        u: Ipv6Addr,
        /// The transport protocol.
        protocol: u8,
        /// The port.
        port: u16,
        /// The number of errno(3); 0 for silence.
        errno: i32,
    },
    /// All mappings are in doubt.
    Epoch {
        /// The number of the epoch that begins.
        epoch: u64,
        /// Why.
        cause: Cause,
    },
    /// Mappings were removed on request.
    Flushed {
        /// Those of every A in it.
        prefix: Prefix,
        /// How many.
        count: usize,
    },
}
