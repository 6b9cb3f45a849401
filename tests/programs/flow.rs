//! What captures and the library's log say about the connections of a session.
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use aarp_lab::{Direction, Filter, Packet};

use crate::site::{A, Node, Site};

/// The connections that were opened by c from one moment to another: the port of
/// each, and where it went.
pub(crate) fn opened(site: &Site, from: Duration, to: Duration) -> BTreeMap<u16, IpAddr> {
    let syn = Filter::tcp().flags("Sa").direction(Direction::Out);
    site.seen_at("c")
        .iter()
        .filter(|packet| syn.matches(packet) && (from..to).contains(&packet.time))
        .filter_map(|packet| Some((packet.ports()?.0, packet.dst)))
        .collect()
}

/// Asserts that all that belongs to these ports of c went to, and came from, the
/// unicast address of a responder; that this is so of each of them from `open` on;
/// and that the other responder saw nothing of it.
pub(crate) fn assert_pinned(site: &Site, what: &str, ports: &BTreeSet<u16>, node: Node) {
    assert!(!ports.is_empty(), "{what}: no connection was seen");
    let of_flow = |packet: &&Packet| {
        let ports_of = packet.tcp().map(|tcp| (tcp.sport, tcp.dport));
        ports_of.is_some_and(|(from, to)| {
            let client_side = match client_is_source(packet) {
                true => from,
                false => to,
            };
            ports.contains(&client_side)
        })
    };
    let u = node.unicast();
    for host in ["c", node.name()] {
        let packets = site.seen_at(host);
        let flow: Vec<_> = packets.iter().filter(of_flow).collect();
        let to_u = Filter::tcp().address(u);
        let of_a = Filter::tcp().address(A);
        assert_eq!(of_a.count(flow.iter().copied()), 0, "{what}, at {host}: A");
        assert_eq!(
            to_u.count(flow.iter().copied()),
            flow.len(),
            "{what}, at {host}: {u}"
        );
        assert!(!flow.is_empty(), "{what}: nothing at {host}");
    }
    let strays = site.seen_at(node.other().name());
    let strays = strays.iter().filter(of_flow).count();
    assert_eq!(strays, 0, "{what}: segments at {}", node.other().name());
}

const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 2);

fn client_is_source(packet: &Packet) -> bool {
    packet.src == IpAddr::from(CLIENT)
}

/// Asserts that each of these ports of c has both sent and received data at a
/// responder after a moment.
pub(crate) fn assert_alive_after(
    site: &Site,
    what: &str,
    ports: &BTreeSet<u16>,
    node: Node,
    moment: Duration,
) {
    let packets = site.seen_at(node.name());
    let later = || packets.iter().filter(|packet| packet.time > moment);
    let data = |direction| Filter {
        data: Some(true),
        direction: Some(direction),
        ..Filter::tcp()
    };
    let sum = |direction| {
        let filter = data(direction);
        later()
            .filter(|packet| filter.matches(packet))
            .filter(|packet| {
                let (from, to) = packet.ports().unwrap_or_default();
                ports.contains(if client_is_source(packet) { &from } else { &to })
            })
            .map(|packet| packet.payload_len)
            .sum::<usize>()
    };
    assert!(sum(Direction::Out) > 0, "{what}: no data after the move");
    // A download's client only acknowledges.
    let acks = Filter::tcp().direction(Direction::In).flags("A");
    let acks = later().filter(|packet| {
        acks.matches(packet) && packet.ports().is_some_and(|p| ports.contains(&p.0))
    });
    assert!(acks.count() > 0, "{what}: no segment after the move");
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
        if let Some((_, rest)) = line.split_once(&format!("{A}: unanswered, ")) {
            let words: Vec<_> = rest.split(' ').collect();
            awaited = words.iter().rev().nth(1).and_then(|ms| ms.parse().ok());
        }
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
