//! An address that is not the host's own, claimed on a link of its: found free first, by
//! duplicate address detection (RFC 4862 §5.4, as RFC 6275 §10.3.1 asks of a home agent),
//! then announced (RFC 6275 §10.4.1), and watched while it is held. Without I/O.

mod claim;

use std::net::Ipv6Addr;

use aarp_wire::icmpv6;
use aarp_wire::ipv6::{Datagram, protocol};

pub use self::claim::{Action, Claim, Standing, Timing};

/// Type of a Neighbour Solicitation.
//= https://www.rfc-editor.org/rfc/rfc4861#section-4.3
const SOLICITATION: u8 = 135;
/// Type of a Neighbour Advertisement.
//= https://www.rfc-editor.org/rfc/rfc4861#section-4.4
const ADVERTISEMENT: u8 = 136;
/// The Override flag of an advertisement.
const OVERRIDE: u8 = 0x20;
/// Options: the link-layer address of the target, and a nonce (RFC 3971 §5.3.2).
const TARGET_LINK_LAYER: u8 = 2;
const NONCE: u8 = 14;
/// Octets of a message before its options.
const FIXED: usize = 24;
/// The unit of an option's length.
const UNIT: usize = 8;
/// All nodes of the link.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// What tells a solicitation of ours that a link sends back from another node's.
pub type Nonce = [u8; 6];
/// A link-layer address of Ethernet.
pub type LinkLayer = [u8; 6];

/// What a neighbour has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// It asks whether anybody has an address that it is about to take (RFC 4862
    /// §5.4.3).
    Probe {
        /// The address.
        target: Ipv6Addr,
        /// Its nonce (RFC 7527), if it has one.
        nonce: Option<Nonce>,
    },
    /// It has an address.
    Advertisement {
        /// The address.
        target: Ipv6Addr,
        /// Where, if that is told.
        link_layer: Option<LinkLayer>,
    },
}

/// The group in which whoever has an address is asked for it.
//= https://www.rfc-editor.org/rfc/rfc4291#section-2.7.1
#[must_use]
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let low = address.to_bits() & 0xff_ffff;
    Ipv6Addr::from_bits(0xff02_0000_0000_0000_0000_0001_ff00_0000 | low)
}

/// The packet that asks whether anybody has an address.
//= https://www.rfc-editor.org/rfc/rfc4862#section-5.4.2
#[must_use]
pub fn probe(target: Ipv6Addr, nonce: Nonce) -> Vec<u8> {
    let (source, destination) = (Ipv6Addr::UNSPECIFIED, solicited_node(target));
    packet(
        source,
        destination,
        [SOLICITATION, 0],
        target,
        [NONCE, 1],
        nonce,
    )
}

/// The packet that tells all nodes of a link that an address is to be found at
/// `link_layer`; `source` is the host's own address on that link.
//= https://www.rfc-editor.org/rfc/rfc6275#section-10.4.1
#[must_use]
pub fn announcement(source: Ipv6Addr, target: Ipv6Addr, link_layer: LinkLayer) -> Vec<u8> {
    // Not solicited, of no router, and in place of what neighbours know.
    let kind = [ADVERTISEMENT, OVERRIDE];
    packet(
        source,
        ALL_NODES,
        kind,
        target,
        [TARGET_LINK_LAYER, 1],
        link_layer,
    )
}

fn packet(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    [kind, flags]: [u8; 2],
    target: Ipv6Addr,
    option: [u8; 2],
    value: [u8; 6],
) -> Vec<u8> {
    let mut message = [0; FIXED + UNIT];
    message[0] = kind;
    message[4] = flags;
    message[8..FIXED].copy_from_slice(&target.octets());
    message[FIXED..FIXED + 2].copy_from_slice(&option);
    message[FIXED + 2..].copy_from_slice(&value);
    let datagram = Datagram {
        hop_limit: 255,
        ..Datagram::new(source, destination)
    };
    let mut room = vec![0; datagram.headers_len() + message.len()];
    // There is room for a header and the message, whose lengths are fixed.
    if icmpv6::fill_checksum(source, destination, &mut message).is_ok()
        && let Ok(payload) = datagram.emit(protocol::ICMPV6, message.len(), &mut room)
    {
        payload.copy_from_slice(&message);
    }
    room
}

/// Reads a message; `None` for one that says nothing of who has an address.
//= https://www.rfc-editor.org/rfc/rfc4861#section-7.1
#[must_use]
pub fn read(source: Ipv6Addr, message: &[u8]) -> Option<Message> {
    let (fixed, mut options) = message.split_at_checked(FIXED)?;
    let [kind, code] = *fixed.first_chunk()?;
    let target = Ipv6Addr::from(*fixed[8..].first_chunk::<16>()?);
    if code != 0 || target.is_multicast() {
        return None;
    }
    let wanted = match kind {
        SOLICITATION if source.is_unspecified() => NONCE,
        ADVERTISEMENT => TARGET_LINK_LAYER,
        _ => return None,
    };
    let mut value = None;
    while let Some([option, units]) = options.first_chunk().copied() {
        let length = usize::from(units) * UNIT;
        // An option of no length makes the message invalid, as one that is cut off.
        if length == 0 {
            return None;
        }
        let (one, rest) = options.split_at_checked(length)?;
        if option == wanted && length == UNIT {
            value = one[2..].first_chunk().copied();
        }
        options = rest;
    }
    Some(match kind {
        SOLICITATION => Message::Probe {
            target,
            nonce: value,
        },
        _ => Message::Advertisement {
            target,
            link_layer: value,
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0x12, 0x3456);
    const AGENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 1, 0, 0, 0, 2);

    /// RFC 4862 §5.4.2: the target, from the unspecified address, to the group of the
    /// target; RFC 4861 §4.3: no source link-layer address then, hop limit 255.
    #[test]
    fn a_probe_is_as_the_rfcs_have_it() {
        let packet = probe(A, [1, 2, 3, 4, 5, 6]);
        assert_eq!(packet.len(), 40 + 32);
        assert_eq!((packet[6], packet[7]), (58, 255));
        assert_eq!(packet[8..24], [0; 16]);
        let group: Ipv6Addr = "ff02::1:ff12:3456".parse().unwrap();
        assert_eq!(packet[24..40], group.octets());
        assert_eq!(packet[40], SOLICITATION);
        assert_eq!(packet[48..64], A.octets());
        assert_eq!(packet[64..], [14, 1, 1, 2, 3, 4, 5, 6]);
        let sum = icmpv6::checksum(Ipv6Addr::UNSPECIFIED, group, &packet[40..]);
        assert_eq!(sum, 0);
        let expected = Message::Probe {
            target: A,
            nonce: Some([1, 2, 3, 4, 5, 6]),
        };
        assert_eq!(read(Ipv6Addr::UNSPECIFIED, &packet[40..]), Some(expected));
        assert_eq!(read(AGENT, &packet[40..]), None, "it resolves an address");
    }

    /// RFC 6275 §10.4.1: R and S clear, O set, the home address as the target, the
    /// agent's link-layer address, to all nodes.
    #[test]
    fn an_announcement_is_as_the_rfc_has_it() {
        let packet = announcement(AGENT, A, [2, 0, 0, 0, 0, 7]);
        assert_eq!(packet[7], 255);
        assert_eq!(packet[8..24], AGENT.octets());
        assert_eq!(packet[24..40], ALL_NODES.octets());
        assert_eq!(packet[40], ADVERTISEMENT);
        assert_eq!(packet[44], 0x20);
        assert_eq!(packet[48..64], A.octets());
        assert_eq!(packet[64..], [2, 1, 2, 0, 0, 0, 0, 7]);
        assert_eq!(icmpv6::checksum(AGENT, ALL_NODES, &packet[40..]), 0);
        let expected = Message::Advertisement {
            target: A,
            link_layer: Some([2, 0, 0, 0, 0, 7]),
        };
        assert_eq!(read(AGENT, &packet[40..]), Some(expected));
    }

    #[test]
    fn what_is_cut_off_or_lies_is_not_read() {
        let packet = announcement(AGENT, A, [2, 0, 0, 0, 0, 7]);
        let message = &packet[40..];
        for cut in (0..FIXED).chain(FIXED + 2..message.len()) {
            assert_eq!(read(AGENT, &message[..cut]), None, "{cut}");
        }
        let with = |at: usize, value: u8| {
            let mut message = message.to_vec();
            message[at] = value;
            read(AGENT, &message)
        };
        assert_eq!(with(1, 1), None, "a code");
        assert_eq!(with(8, 0xff), None, "a group");
        assert_eq!(with(FIXED + 1, 0), None, "an option without a length");
        assert_eq!(with(FIXED + 1, 2), None, "an option beyond the end");
        let bare = Message::Advertisement {
            target: A,
            link_layer: None,
        };
        assert_eq!(with(FIXED, 1), Some(bare), "another option");
    }

    proptest! {
        #[test]
        fn foreign_octets_never_panic(
            octets in proptest::collection::vec(any::<u8>(), 0..96),
            kind in prop::sample::select(vec![SOLICITATION, ADVERTISEMENT]),
        ) {
            let mut octets = octets;
            if let Some(first) = octets.first_mut() {
                *first = kind;
            }
            let _ = read(Ipv6Addr::UNSPECIFIED, &octets);
        }
    }
}
