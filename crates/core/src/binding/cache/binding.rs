//! One entry of the cache, and what is counted.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_wire::mobility::Status;

use crate::binding::keyring::NodeId;
use crate::binding::lifetime::Lifetime;
use crate::binding::sequence::Sequence;

/// Packets of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many.
    pub packets: u64,
    /// Their octets, without the outer header.
    pub octets: u64,
}

impl Traffic {
    pub(super) fn count(&mut self, octets: usize) {
        self.packets += 1;
        self.octets += octets as u64;
    }
}

/// A binding from A to U. Times are kept as nanoseconds: there may be a million.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    pub(super) anycast: Ipv6Addr,
    pub(super) care_of: Ipv6Addr,
    pub(super) expiry: u64,
    pub(super) since: u64,
    pub(super) updates: u64,
    pub(super) to_responder: Traffic,
    pub(super) from_responder: Traffic,
    pub(super) node: Option<NodeId>,
    pub(super) sequence: Sequence,
    pub(super) lifetime: Lifetime,
}

impl Binding {
    /// A.
    #[must_use]
    pub const fn anycast(&self) -> Ipv6Addr {
        self.anycast
    }

    /// U.
    #[must_use]
    pub const fn care_of(&self) -> Ipv6Addr {
        self.care_of
    }

    /// Who registered it, if its messages were authenticated here.
    #[must_use]
    pub const fn node(&self) -> Option<NodeId> {
        self.node
    }

    /// The last accepted number.
    #[must_use]
    pub const fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// The lifetime that was granted last.
    #[must_use]
    pub const fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// When it ends, unless refreshed.
    #[must_use]
    pub const fn expiry(&self) -> Duration {
        Duration::from_nanos(self.expiry)
    }

    /// Since when this U of this node has it.
    #[must_use]
    pub const fn since(&self) -> Duration {
        Duration::from_nanos(self.since)
    }

    /// How many updates were accepted since then.
    #[must_use]
    pub const fn updates(&self) -> u64 {
        self.updates
    }

    /// Packets to A that went to U since then.
    #[must_use]
    pub const fn to_responder(&self) -> Traffic {
        self.to_responder
    }

    /// Packets from A that came from U since then.
    #[must_use]
    pub const fn from_responder(&self) -> Traffic {
        self.from_responder
    }

    pub(super) const fn is_over(&self, now: u64) -> bool {
        now >= self.expiry
    }
}

/// What of a binding outlives the agent that granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// A.
    pub anycast: Ipv6Addr,
    /// U.
    pub care_of: Ipv6Addr,
    /// The last accepted number.
    pub sequence: Sequence,
    /// The lifetime that was granted last; not zero.
    pub lifetime: Lifetime,
    /// When it ends, `CLOCK_BOOTTIME`.
    pub expiry: Duration,
    /// Since when this U has it, on the same clock.
    pub since: Duration,
}

/// Why an update is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Discard {
    /// The home address is not a unicast address that can be routed (RFC 6275
    /// §9.5.1).
    HomeAddress,
    /// The care-of address is not a unicast address that can be routed (RFC 6275
    /// §6.1.7).
    CareOfAddress,
    /// The care-of address is the home address itself (RFC 6275 §6.1.7).
    Circular,
    /// Not a home registration: we are nobody's correspondent (RFC 6275 §9.5.1).
    NotHomeRegistration,
}

/// What the cache has counted since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bindings that were made where there was none.
    pub created: u64,
    /// Updates that extended a binding.
    pub refreshed: u64,
    /// Updates that gave A another U, or another node.
    pub moved: u64,
    /// Bindings that were deleted on request.
    pub deregistered: u64,
    /// Bindings that ended.
    pub expired: u64,
    /// Updates refused, by status.
    pub refused: BTreeMap<Status, u64>,
    /// Updates not answered, by reason.
    pub discarded: BTreeMap<Discard, u64>,
}
