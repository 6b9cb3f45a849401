//! Stateful filters, which lose the echo reply from U: `unreach` passes them.

use aarp_lab::{Filter, Packet};

use crate::site::{A, PORT as HTTP, Site, U1};
use crate::user::{BOTH, PORT, Programs, User, datagram, seen, unreachable};
use crate::with_site;

/// What stands between the client and the responder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wall {
    /// A firewall on the client's host.
    Client,
    /// A router in the middle that keeps state.
    Router,
    /// The same, and it translates addresses.
    Nat66,
}

impl Wall {
    /// The host it is on, and its rules.
    fn rules(self) -> (&'static str, &'static str) {
        match self {
            Wall::Client => (
                "client",
                "table ip6 wall {\nchain in { type filter hook input priority 0; policy drop;\n\
                 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept\n\
                 ct state established,related accept\n}\n}\n",
            ),
            Wall::Router => (
                "router",
                "table ip6 wall {\nchain through { type filter hook forward priority 0; policy drop;\n\
                 ct state established,related accept\n\
                 iifname \"c\" ct state new accept\n}\n}\n",
            ),
            Wall::Nat66 => (
                "router",
                "table ip6 wall {\nchain post { type nat hook postrouting priority 100;\n\
                 oifname { \"s1\", \"s2\" } masquerade\n}\n}\n",
            ),
        }
    }

    fn build(self, site: &Site) {
        let (host, rules) = self.rules();
        site.lab.host(host).unwrap().nft(rules).unwrap();
    }
}

/// That the responder was asked by datagrams, and said from U that nobody listens.
fn assert_asked_by_unreach(packets: &[Packet], context: &str) {
    let mut asked = packets.iter().filter_map(datagram).peekable();
    assert!(asked.peek().is_some(), "{context}");
    let answered = asked.any(|payload| {
        let mut answers = packets.iter().filter(|packet| packet.outgoing);
        answers.any(|packet| unreachable(packet, payload) == Some((4, U1)))
    });
    assert!(answered, "{context}");
}

/// To which address connections were made, as the responder has seen them.
fn assert_connected(packets: &[Packet], to: std::net::Ipv6Addr, context: &str) {
    let syn = Filter::tcp().port(HTTP).flags("Sa");
    assert!(syn.clone().dst(to).count(packets) > 0, "{context}");
    let others = packets.iter().filter(|packet| syn.matches(packet));
    assert!(
        others.into_iter().all(|packet| packet.dst == to),
        "{context}"
    );
}

/// A control: the responder's echo reply from U does not come back.
fn assert_echo_is_lost(wall: Wall, site: &Site, programs: &Programs) {
    let echo = [("AARP_BUDGET", "1s")];
    let ask = || programs.resolve(site, User::Root, A, &echo);
    let ((record, code), packets) = seen(site, "s1", "eth0", ask);
    let context = format!("{wall:?}: {record}");
    assert_eq!(
        (&record["state"], code),
        (&"unanswered".into(), Some(1)),
        "{context}"
    );
    assert!(Filter::icmp6(129).src(U1).count(&packets) > 0, "{context}");
}

fn pinned_behind(wall: Wall) {
    with_site(|site, programs| {
        wall.build(site);
        assert_echo_is_lost(wall, site, programs);
        for user in [User::Nobody, User::Root] {
            let ask = || programs.resolve(site, user, A, &BOTH);
            let ((record, code), packets) = seen(site, "s1", "eth0", ask);
            let context = format!("{wall:?} {user:?}: {record}");
            assert_eq!(
                (&record["state"], code),
                (&"pinned".into(), Some(0)),
                "{context}"
            );
            assert_eq!(record["unicast"], U1.to_string(), "{context}");
            assert_eq!(record["method"], "unreach", "{context}");
            assert_eq!(record["socket"], "udp socket", "{context}");
            assert_asked_by_unreach(&packets, &context);
            // Only who may ping has tried that too.
            let pings = Filter::icmp6(128).count(&packets);
            assert_eq!(pings > 0, user == User::Root, "{context}");

            let fetch = || programs.fetch(site, user, &BOTH);
            let ((who, log), packets) = seen(site, "s1", "eth0", fetch);
            let context = format!("{wall:?} {user:?}: {log}");
            assert_eq!(who, "s1", "{context}");
            assert!(log.contains("(unreach, udp socket)"), "{context}");
            assert!(log.contains(&format!("pinned to {U1}")), "{context}");
            assert_asked_by_unreach(&packets, &context);
            assert_connected(&packets, U1, &context);
        }
    });
}

#[test]
fn pinned_behind_a_firewall_of_the_client() {
    pinned_behind(Wall::Client);
}

#[test]
fn pinned_behind_a_stateful_router() {
    pinned_behind(Wall::Router);
}

#[test]
fn pinned_behind_nat66() {
    pinned_behind(Wall::Nat66);
}

/// Without its conditions it is not used: no datagram is sent, nothing is pinned.
#[test]
fn not_used_without_its_conditions() {
    with_site(|site, programs| {
        Wall::Client.build(site);
        let unreach = ("AARP_METHODS", "echo,unreach");
        let [_, trusted] = BOTH;
        let elsewhere = ("AARP_PREFIXES", "2001:db8:b::/48");
        for (what, variables) in [
            ("nothing is trusted", vec![unreach]),
            ("the method is not wanted", vec![trusted]),
            ("another prefix", vec![unreach, trusted, elsewhere]),
        ] {
            let ask = || programs.resolve(site, User::Nobody, A, &variables);
            let ((record, code), asked) = seen(site, "s1", "eth0", ask);
            let context = format!("{what}: {record}");
            assert_eq!(
                (&record["state"], code),
                (&"bypass".into(), Some(77)),
                "{context}"
            );
            let fetch = || programs.fetch(site, User::Nobody, &variables);
            let ((who, log), fetched) = seen(site, "s1", "eth0", fetch);
            assert_eq!(who, "s1", "{what}: {log}");
            assert!(!log.contains("pinned to"), "{what}: {log}");
            assert_connected(&fetched, A, &log);
            for packets in [asked, fetched] {
                assert_eq!(Filter::udp().port(PORT).count(&packets), 0, "{what}");
            }
        }
    });
}

/// An address that is no anycast address with a responder answers by itself.
#[test]
fn a_unicast_address_is_direct_by_both_methods() {
    with_site(|site, programs| {
        let prefixes = format!("{U1}/128");
        let variables = [BOTH[0], BOTH[1], ("AARP_PREFIXES", &*prefixes)];
        for (user, method) in [(User::Root, "echo"), (User::Nobody, "unreach")] {
            // As soon as both have answered: with the budget it would be too late.
            let patient = [("AARP_BUDGET", "300s")];
            let variables = [&variables[..], &patient].concat();
            let (record, code) = programs.resolve(site, user, U1, &variables);
            let context = format!("{user:?}: {record}");
            assert_eq!(
                (&record["state"], code),
                (&"direct".into(), Some(2)),
                "{context}"
            );
            assert_eq!(record["method"], method, "{context}");
        }
    });
}
