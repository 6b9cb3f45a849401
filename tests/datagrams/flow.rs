//! What captures say about the flows of a program.
use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_lab::{Direction, Filter, Packet, Proto};

use crate::base::{A, Node, Site};

/// The flows that c's programs began from one moment to another to a port of others.
#[derive(Debug)]
pub(crate) struct Flows {
    tcp: BTreeSet<u16>,
    udp: BTreeSet<u16>,
    from: Duration,
    to: Duration,
}

impl Flows {
    pub(crate) fn begun(site: &Site, remote: u16, from: Duration, to: Duration) -> Self {
        let packets = site.seen_at("c");
        let begun = |filter: Filter| {
            let first = Filter {
                dport: Some(remote),
                ..filter.direction(Direction::Out)
            };
            let packets = packets.iter();
            let packets = packets.filter(|p| first.matches(p) && (from..to).contains(&p.time));
            packets.filter_map(|p| Some(p.ports()?.0)).collect()
        };
        Self {
            tcp: begun(Filter::tcp().flags("Sa")),
            udp: begun(Filter::udp()),
            from,
            to,
        }
    }

    /// The protocols of which there is a flow.
    pub(crate) fn protocols(&self) -> Vec<Proto> {
        let mut found = Vec::new();
        found.extend((!self.udp.is_empty()).then_some(Proto::Udp));
        found.extend((!self.tcp.is_empty()).then_some(Proto::Tcp));
        found
    }

    /// Their packets, as a host saw them.
    pub(crate) fn packets(&self, site: &Site, host: &str) -> Vec<Packet> {
        let mut packets = site.seen_at(host);
        packets.retain(|packet| {
            let Some((sport, dport)) = packet.ports() else {
                return false;
            };
            // What the client sends, it receives elsewhere.
            let sent = packet.outgoing == (host == "c");
            let local = if sent { sport } else { dport };
            let ours = match packet.tcp() {
                Some(_) => self.tcp.contains(&local),
                None => self.udp.contains(&local),
            };
            ours && packet.time >= self.from && packet.time < self.to
        });
        packets
    }

    /// Asserts that there are flows of these protocols, and that every packet of
    /// theirs goes to or comes from an address of a responder, and is seen there and
    /// not at the other one.
    pub(crate) fn assert_between(
        &self,
        site: &Site,
        what: &str,
        protocols: &[Proto],
        address: Ipv6Addr,
        node: Node,
    ) {
        assert_eq!(
            self.protocols(),
            protocols,
            "{what}: protocols of its flows"
        );
        for host in ["c", node.name()] {
            let packets = self.packets(site, host);
            for direction in [Direction::Out, Direction::In] {
                let seen = Filter::any().direction(direction).count(&packets);
                assert!(seen > 0, "{what}: nothing {direction:?} at {host}");
            }
            let others: Vec<_> = packets
                .iter()
                .filter(|p| ![p.src, p.dst].contains(&address.into()))
                .collect();
            assert!(others.is_empty(), "{what}: at {host}: {others:?}");
        }
        let strays = self.packets(site, node.other().name());
        assert!(strays.is_empty(), "{what}: at the other: {strays:?}");
    }

    /// All went to U of this responder, and nothing to A.
    pub(crate) fn assert_pinned(&self, site: &Site, what: &str, protocols: &[Proto], node: Node) {
        self.assert_between(site, what, protocols, node.unicast(), node);
    }

    /// All went to A, and to this responder.
    pub(crate) fn assert_unpinned(&self, site: &Site, what: &str, protocols: &[Proto], node: Node) {
        self.assert_between(site, what, protocols, A, node);
    }

    /// Asserts that packets went both ways after a moment.
    pub(crate) fn assert_alive_after(&self, site: &Site, what: &str, node: Node, moment: Duration) {
        let mut packets = self.packets(site, node.name());
        packets.retain(|packet| packet.time > moment);
        for direction in [Direction::Out, Direction::In] {
            let seen = Filter::any().direction(direction).count(&packets);
            assert!(seen > 0, "{what}: nothing {direction:?} after the move");
        }
    }
}
