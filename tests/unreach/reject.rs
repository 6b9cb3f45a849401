//! Routers with a rule that rejects: they quote our datagram, nonce and all, and are
//! not who was asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aarp_lab::Filter;

use crate::site::{A, PORT as HTTP, Site, U1};
use crate::user::{BOTH, PORT, Programs, User, datagram, seen, unreachable};
use crate::with_site;

/// The router's address on the client's link, from which it answers.
const ROUTER: &str = "2001:db8:c::1";

/// From now on the router lets connections and pings to A pass, and rejects the rest.
fn reject(site: &Site, with: &str) {
    let rules = format!(
        "table ip6 final {{}}\ndelete table ip6 final\n\
         table ip6 final {{\nchain through {{ type filter hook forward priority 0;\n\
         iifname != \"c\" accept\n\
         tcp dport {HTTP} accept\n\
         icmpv6 type echo-request accept\n\
         reject with icmpv6 {with}\n}}\n}}\n"
    );
    let router = site.lab.host("router").unwrap();
    router.sysctl("net.ipv6.icmp.ratelimit", "0").unwrap();
    router.nft(&rules).unwrap();
}

/// That a probe was rejected by the router, with all of its payload quoted.
fn assert_rejected(packets: &[aarp_lab::Packet], code: u8, context: &str) {
    let router = ROUTER.parse().unwrap();
    let mut asked = packets.iter().filter_map(datagram);
    let rejected = asked.any(|payload| {
        let mut errors = packets.iter().filter(|packet| !packet.outgoing);
        errors.any(|packet| unreachable(packet, payload) == Some((code, router)))
    });
    assert!(rejected, "{context}");
}

fn assert_never_pinned_to_the_router(site: &Site, programs: &Programs, with: &str, code: u8) {
    reject(site, with);
    let [methods, trusted] = BOTH;
    // The second would trust the router, but for the link that it is on.
    for trusted in [trusted, ("AARP_TRUSTED", "::/0")] {
        // Nobody waits for the budget, when every attempt has come back.
        let variables = [methods, trusted, ("AARP_BUDGET", "300s")];
        let (expected, status) = match code {
            4 => ("untrusted", Some(4)),
            _ => ("unanswered", Some(1)),
        };
        let ask = || programs.resolve(site, User::Nobody, A, &variables);
        let ((record, exit), packets) = seen(site, "client", "eth0", ask);
        let context = format!("{with}, {trusted:?}: {record}");
        assert_eq!(
            (&record["state"], exit),
            (&expected.into(), status),
            "{context}"
        );
        assert_eq!(record["probes"], 3, "{context}");
        if code == 4 {
            assert_eq!(record["unicast"], ROUTER, "{context}");
            assert_eq!(record["ignored"]["source"], 3, "{context}");
        }
        assert_rejected(&packets, code, &context);

        let variables = [methods, trusted];
        for user in [User::Nobody, User::Root] {
            let fetch = || programs.fetch(site, user, &variables);
            let ((who, log), packets) = seen(site, "client", "eth0", fetch);
            assert_eq!(who, "s1", "{with}: {log}");
            assert_rejected(&packets, code, &log);
            // Who may ping is pinned by echo.
            let expected = if user == User::Root { U1 } else { A };
            let syn = Filter::tcp().port(HTTP).flags("Sa");
            assert!(
                syn.clone().dst(expected).count(&packets) > 0,
                "{with}: {log}"
            );
            let others = packets.iter().filter(|packet| syn.matches(packet));
            for packet in others {
                assert_eq!(packet.dst, expected, "{with}: {log}");
            }
        }
    }
}

#[test]
fn never_pinned_to_a_router_that_says_port_unreachable() {
    with_site(|site, programs| {
        assert_never_pinned_to_the_router(site, programs, "port-unreachable", 4);
    });
}

#[test]
fn never_pinned_to_a_router_that_says_prohibited() {
    with_site(|site, programs| {
        assert_never_pinned_to_the_router(site, programs, "admin-prohibited", 1);
    });
}

/// An open port says nothing about who A is.
#[test]
fn an_answer_from_an_open_port_is_none() {
    with_site(|site, programs| {
        let s1 = site.lab.host("s1").unwrap();
        let socket = s1
            .enter(|| std::net::UdpSocket::bind(("::", PORT)))
            .unwrap();
        let tick = Some(std::time::Duration::from_millis(50));
        socket.set_read_timeout(tick).unwrap();
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let echoing = std::thread::spawn(move || {
            let mut buffer = [0; 100];
            while !end.load(Ordering::Relaxed) {
                match socket.recv_from(&mut buffer) {
                    Ok((count, from)) => drop(socket.send_to(&buffer[..count], from).unwrap()),
                    Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
                }
            }
        });
        let [methods, trusted] = BOTH;
        let variables = [methods, trusted, ("AARP_BUDGET", "1s")];
        let ask = || programs.resolve(site, User::Nobody, A, &variables);
        let ((record, code), packets) = seen(site, "client", "eth0", ask);
        ended.store(true, Ordering::Relaxed);
        echoing.join().unwrap();
        assert_eq!(
            (&record["state"], code),
            (&"unanswered".into(), Some(1)),
            "{record}"
        );
        let answers = packets.iter().filter(|packet| !packet.outgoing);
        let answers = Filter::udp().port(PORT).count(answers);
        assert!(answers > 0, "{record}");
        assert_eq!(record["ignored"]["malformed"], answers, "{record}");
    });
}
