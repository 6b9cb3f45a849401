//! What the network says about probes that did not arrive.

use aarp_lab::{Filter, wait_until};

use crate::site::{A, PATIENCE, Site, U1, now};
use crate::user::{BOTH, User, outcome, seen};
use crate::with_site;

/// The router has no route to A any more, and says so.
fn lose_route(site: &Site) {
    let router = site.lab.host("router").unwrap();
    router.sysctl("net.ipv6.icmp.ratelimit", "0").unwrap();
    router.ip(&format!("-6 route delete {A} via {U1}")).unwrap();
    router
        .ip(&format!("-6 route add unreachable {A} metric 4096"))
        .unwrap();
}

/// The route comes back while the question is open: its retransmission is answered.
#[test]
fn a_route_that_comes_back_in_time_is_used() {
    for (user, method) in [(User::Root, "echo"), (User::Nobody, "unreach")] {
        with_site(|site, programs| {
            lose_route(site);
            let capture = site.lab.capture("client", "eth0").unwrap();
            let since = now();
            let variables = [
                BOTH[0],
                BOTH[1],
                ("AARP_BUDGET", "60s"),
                ("AARP_RETRANSMIT", "500ms,2s,10s,30s"),
            ];
            let asking = programs.start(site, user, A, &variables);
            let lost = Filter::icmp6(1);
            wait_until("the router says that there is no route", PATIENCE, || {
                let mut packets = capture.packets()?;
                packets.retain(|packet| packet.time >= since && !packet.outgoing);
                Ok(lost.count(&packets) > 0)
            })
            .unwrap();
            let router = site.lab.host("router").unwrap();
            router
                .ip(&format!("-6 route replace {A} via {U1}"))
                .unwrap();
            let (record, code) = outcome(&asking);
            let context = format!("{user:?}: {record}");
            assert_eq!(
                (&record["state"], code),
                (&"pinned".into(), Some(0)),
                "{context}"
            );
            assert_eq!(record["method"], method, "{context}");
            assert_eq!(record["unicast"], U1.to_string(), "{context}");
        });
    }
}

/// Every attempt of every method has come back: nothing is waited for any more.
#[test]
fn over_early_when_every_attempt_has_come_back() {
    with_site(|site, programs| {
        lose_route(site);
        let variables = [BOTH[0], BOTH[1], ("AARP_BUDGET", "300s")];
        for (user, probes) in [(User::Root, 6), (User::Nobody, 3)] {
            let ask = || programs.resolve(site, user, A, &variables);
            let ((record, code), packets) = seen(site, "client", "eth0", ask);
            let context = format!("{user:?}: {record}");
            assert_eq!(
                (&record["state"], code),
                (&"unanswered".into(), Some(1)),
                "{context}"
            );
            assert_eq!(record["probes"], probes, "{context}");
            let reason = record["reason"].as_str().unwrap();
            assert!(reason.contains("unreachable"), "{context}");
            let errors = packets.iter().filter(|packet| !packet.outgoing);
            assert_eq!(Filter::icmp6(1).count(errors), probes, "{context}");
        }
    });
}

/// What this host will not send is not waited for either.
#[test]
fn over_at_once_when_this_host_does_not_send() {
    with_site(|site, programs| {
        let client = site.lab.host("client").unwrap();
        let rules = format!(
            "table ip6 silent {{\nchain out {{ type filter hook output priority 0;\n\
             ip6 daddr {A} meta l4proto {{ icmpv6, udp }} drop\n}}\n}}\n"
        );
        client.nft(&rules).unwrap();
        let variables = [BOTH[0], BOTH[1], ("AARP_BUDGET", "300s")];
        for (user, probes) in [(User::Root, 2), (User::Nobody, 1)] {
            let (record, code) = programs.resolve(site, user, A, &variables);
            let context = format!("{user:?}: {record}");
            assert_eq!(
                (&record["state"], code),
                (&"unanswered".into(), Some(1)),
                "{context}"
            );
            assert_eq!(record["probes"], probes, "{context}");
        }
        // And the one that is sent is enough.
        client.nft("delete table ip6 silent\n").unwrap();
        client.nft(&rules.replace("icmpv6, udp", "icmpv6")).unwrap();
        let (record, _) = programs.resolve(site, User::Root, A, &variables);
        assert_eq!(record["state"], "pinned", "{record}");
        assert_eq!(record["method"], "unreach", "{record}");
    });
}
