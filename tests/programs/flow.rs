//! What captures and the library's log say about the connections of a session.
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use aarp_lab::{Direction, Filter, Packet};

use crate::site::{A, Node, Site};

/// The connections that c opened from one moment to another: the port of each, and
/// where it went.
pub(crate) fn opened(site: &Site, from: Duration, to: Duration) -> BTreeMap<u16, IpAddr> {
    let syn = Filter::tcp().flags("Sa").direction(Direction::Out);
    site.seen_at("c")
        .iter()
        .filter(|packet| syn.matches(packet) && (from..to).contains(&packet.time))
        .filter_map(|packet| Some((packet.ports()?.0, packet.dst)))
        .collect()
}

/// The segments of the connections of these ports of c that a host saw.
fn segments(site: &Site, host: &str, ports: &BTreeSet<u16>) -> Vec<Packet> {
    let of_them = |packet: &Packet| {
        packet.tcp().is_some_and(|tcp| {
            // What the client sends, it receives elsewhere.
            let sent = packet.outgoing == (host == "c");
            ports.contains(if sent { &tcp.sport } else { &tcp.dport })
        })
    };
    let mut packets = site.seen_at(host);
    packets.retain(of_them);
    packets
}

/// Asserts that every segment of the connections of these ports of c was one to or
/// from the unicast address of a responder, and that the other saw none.
pub(crate) fn assert_pinned(site: &Site, what: &str, ports: &BTreeSet<u16>, node: Node) {
    assert!(!ports.is_empty(), "{what}: no connection was seen");
    let u = node.unicast();
    for host in ["c", node.name()] {
        let segments = segments(site, host, ports);
        let to_u = Filter::tcp().address(u).count(&segments);
        let to_a = Filter::tcp().address(A).count(&segments);
        let counts = (segments.len(), to_u, to_a);
        assert!(to_u > 0, "{what}: nothing to {u} at {host}");
        assert_eq!(counts, (to_u, to_u, 0), "{what}: all, to U, to A at {host}");
    }
    let other = node.other().name();
    let strays = segments(site, other, ports);
    assert!(strays.is_empty(), "{what}: at {other}: {strays:?}");
}

/// Asserts that the connections of these ports of c lived on at a responder after a
/// moment: data went out, and the client's segments came in.
pub(crate) fn assert_alive_after(
    site: &Site,
    what: &str,
    ports: &BTreeSet<u16>,
    node: Node,
    moment: Duration,
) {
    let mut segments = segments(site, node.name(), ports);
    segments.retain(|packet| packet.time > moment);
    let data = Filter {
        data: Some(true),
        ..Filter::tcp().direction(Direction::Out)
    };
    assert!(data.count(&segments) > 0, "{what}: no data after the move");
    let from_client = Filter::tcp().direction(Direction::In).count(&segments);
    assert!(from_client > 0, "{what}: no acknowledgement after the move");
}

/// What became of one connect() to A, by the library's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Pinned(Ipv6Addr),
    /// Why not, and for how many milliseconds an answer was awaited.
    Bypassed(String, Option<u64>),
}

/// What became of every connect() to A, in order.
pub(crate) fn outcomes(log: &str) -> Vec<Outcome> {
    let mut awaited = None;
    let mut outcomes = Vec::new();
    for line in log.lines().filter(|line| line.starts_with("aarp[")) {
        // "A: unanswered, 1 probes in 50 ms"
        if let Some((_, rest)) = line.split_once(&format!("{A}: unanswered, ")) {
            let words: Vec<_> = rest.split(' ').collect();
            awaited = words.iter().rev().nth(1).and_then(|ms| ms.parse().ok());
        }
        // "connect 5 [A]:80: pinned to U", "connect 5 [A]:80: bypass, budget"
        let Some((_, connect)) = line.split_once(&format!(" [{A}]:")) else {
            continue;
        };
        let (_, verdict) = connect.split_once(": ").expect("a verdict");
        outcomes.push(match verdict.strip_prefix("pinned to ") {
            Some(u) => Outcome::Pinned(u.parse().expect("an address")),
            None => {
                let reason = verdict.strip_prefix("bypass, ").expect("a reason");
                Outcome::Bypassed(reason.to_owned(), awaited.take())
            }
        });
    }
    outcomes
}
