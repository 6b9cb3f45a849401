//! What Binding Updates and Acknowledgements say, apart from their bytes.

use std::net::Ipv6Addr;

use aarp_wire::mobility::{Status, UpdateFlags};

use super::lifetime::Lifetime;
use super::sequence::Sequence;
use super::timestamp::Timestamp;

/// A Binding Update for a home registration.
//= https://www.rfc-editor.org/rfc/rfc6275#section-6.1.7
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Update {
    /// A, the home address.
    pub anycast: Ipv6Addr,
    /// U: of the Alternate Care-of Address option, or the source of the packet.
    pub care_of: Ipv6Addr,
    /// Its number.
    pub sequence: Sequence,
    /// The lifetime asked for; zero asks for the deletion.
    pub lifetime: Lifetime,
    /// A, H and the others.
    pub flags: UpdateFlags,
    /// The Message Identification option (RFC 4285 §6).
    pub timestamp: Option<Timestamp>,
}

/// A Binding Acknowledgement.
//= https://www.rfc-editor.org/rfc/rfc6275#section-6.1.8
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledgement {
    /// Accepted, or why not.
    pub status: Status,
    /// The number of the update; with status 135 the last accepted one.
    pub sequence: Sequence,
    /// The lifetime granted. With status 135, where the RFC leaves it undefined, our
    /// agents put there what is left of the binding.
    pub lifetime: Lifetime,
    /// The Binding Refresh Advice option: after how long to refresh.
    pub refresh_advice: Option<Lifetime>,
    /// The Message Identification option, that of the update it answers.
    pub timestamp: Option<Timestamp>,
}
