//! From a request on the socket to a probe on the wire, and back.

use aarp_core::mapping::State;
use aarp_lab::{Filter, rootless};
use aarp_wire::mapper::{Asked, Message};

use crate::site::{A, PATIENCE, PREFIXES, Site, u};
use crate::talk::{Client, Told};

#[test]
fn a_question_becomes_a_probe_an_answer_and_an_entry() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        let daemon = site.start();
        let capture = site.lab.capture("client", "eth0").unwrap();
        let client = site.connect();
        let Told::Mapping(answer) = client.resolve(A) else {
            panic!("no mapping");
        };
        assert_eq!(answer.u.to_string(), u(1));
        assert_eq!(
            (answer.state, answer.a.to_string()),
            (State::Pinned, A.to_owned())
        );
        assert!((59_000..=60_000).contains(&answer.ttl), "{answer:?}");
        assert_eq!(site.look(A).unwrap().mapping.u, answer.u);
        // The second request costs no probe.
        assert_eq!(client.u(A), u(1));
        let packets = capture.finish().unwrap();
        assert_eq!(Filter::icmp6(128).count(&packets), 1, "{packets:?}");
        let listed = client.records(&Message::List(A.parse().unwrap()));
        assert_eq!(listed[0]["unicast"], u(1));
        let status = client.status();
        assert_eq!(
            (&status["requests"]["hits"], &status["requests"]["misses"]),
            (&1.into(), &1.into())
        );
        assert_eq!(status["mappings"]["pinned"], 1);
        // Ended, it leaves nothing.
        assert!(daemon.terminate(PATIENCE).unwrap().success());
        assert_eq!(std::fs::read_dir(&site.run).unwrap().count(), 0);
    });
}

#[test]
fn a_hundred_who_ask_cost_one_probe() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        let _daemon = site.start();
        let capture = site.lab.capture("client", "eth0").unwrap();
        let clients: Vec<Client> = (0..100).map(|_| site.connect()).collect();
        for (id, client) in (0..).zip(&clients) {
            client.ask(id, A.parse().unwrap(), Asked::NONBLOCKING);
        }
        for (id, client) in (0..).zip(&clients) {
            match client.next() {
                (told, Told::Mapping(answer)) => {
                    assert_eq!((told, answer.u.to_string()), (id, u(1)));
                }
                other => panic!("{other:?}"),
            }
        }
        let packets = capture.finish().unwrap();
        assert_eq!(Filter::icmp6(128).count(&packets), 1);
        let status = clients[0].status();
        let requests = &status["requests"];
        assert_eq!(requests["misses"], 1);
        let others = requests["hits"].as_u64().unwrap() + requests["joined"].as_u64().unwrap();
        assert_eq!(others, 99);
    });
}

#[test]
fn many_addresses_at_once() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        let _daemon = site.start();
        let client = site.connect();
        // As many as one client may have open, and more: it is heard again by and by.
        for n in 0..200 {
            client.ask(n, format!("2001:db8:a::{:x}", n + 1).parse().unwrap(), 0);
        }
        let mut heard = std::collections::BTreeSet::new();
        for _ in 0..200 {
            match client.next() {
                (id, Told::Mapping(answer)) => {
                    assert_eq!(answer.u.to_string(), u(1));
                    heard.insert(id);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(heard.len(), 200);
        let (lines, count) = client.lines(&Message::List("::".parse().unwrap()));
        assert_eq!((lines.lines().count(), count), (200, 200));
    });
}

#[test]
fn unreach_asks_where_echo_is_silent() {
    rootless::test(|| {
        let config = "[resolve]\nprefixes = [\"2001:db8:a::/48\"]\ntrusted = [\"2001:db8:51::/48\"]\n\
                      methods = [\"echo\", \"unreach\"]\n";
        let site = Site::new(config);
        let silent = "table ip6 silence { chain forward { type filter hook forward priority 0; \
                      icmpv6 type echo-request drop; }; }";
        site.lab.host("router").unwrap().nft(silent).unwrap();
        let _daemon = site.start();
        match site.connect().resolve(A) {
            Told::Mapping(answer) => {
                assert_eq!(answer.u.to_string(), u(1));
                assert_eq!(answer.method.name(), "unreach");
            }
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn what_cannot_be_asked_is_named() {
    rootless::test(|| {
        use aarp_wire::mapper::Code;
        let site = Site::new(PREFIXES);
        let _daemon = site.start();
        let client = site.connect();
        let code = |a: &str| match client.resolve(a) {
            Told::Error(code, text) => {
                assert!(!text.is_empty());
                code
            }
            other => panic!("{a}: {other:?}"),
        };
        assert_eq!(code("2001:db8:b::1"), Code::POLICY);
        assert_eq!(code("::1"), Code::LOCAL);
        site.lab
            .ip("client", "-6 route add unreachable 2001:db8:a::66")
            .unwrap();
        assert_eq!(code("2001:db8:a::66"), Code::NO_ROUTE);
        site.lab
            .ip("client", "-6 address add 2001:db8:a::67 dev lo")
            .unwrap();
        assert_eq!(code("2001:db8:a::67"), Code::LOCAL);
    });
}

/// Where ping sockets are not permitted it asks by a raw socket, which hears the answers
/// to all pings of the host.
#[test]
fn a_raw_socket_tells_its_own_answers_from_others() {
    rootless::test(|| {
        let site = Site::new(PREFIXES);
        if !site.without_ping_sockets() {
            return;
        }
        let host = site.host();
        let _daemon = site.start();
        let client = site.connect();
        assert_eq!(client.status()["methods"][0], "raw socket");
        assert_eq!(client.u(A), u(1));
        let ping = host
            .command("ping")
            .args(["-6", "-c", "5", "-i", "0.01", &u(2)]);
        ping.run().unwrap();
        assert_eq!(client.u("2001:db8:a::54"), u(1));
        let status = client.status();
        let ignored = status["ignored"].as_object().unwrap();
        assert!(ignored.values().all(|count| *count == 0), "{status}");
        assert_eq!(status["answers"]["pinned"], 2);
    });
}
