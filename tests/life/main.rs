//! The life of a pinned datagram socket: it keeps its U while it uses it and U answers;
//! a U that refuses, is silent or dies is given up, and the program never fares worse
//! than with A.
mod barred;
#[path = "../common/site.rs"]
#[allow(dead_code)]
mod base;
#[path = "../common/mod.rs"]
#[allow(dead_code)]
mod common;
mod copies;
mod failing;
mod program;
mod told;
mod whose;

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_lab::{Direction, Filter, Packet, rootless};
use base::{A, LIMIT, Node, Site, now, system};
use program::{Program, script};

const PORT: u16 = 7777;
const U1: Ipv6Addr = Node::S1.unicast();
const U2: Ipv6Addr = Node::S2.unicast();

/// Another anycast address of the same responders.
const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x54);

/// A site whose responders answer every datagram with their name, the address that it
/// was sent to, and its text.
fn site() -> Site {
    site_with(&[A])
}

fn site_with(anycast: &[Ipv6Addr]) -> Site {
    let mut site = Site::new(Duration::ZERO, anycast);
    for node in Node::ALL {
        let server = site.host(node).command(system("python3")).arg("-u");
        let server = server.arg(script("datagrams/scripts/echo_server.py"));
        let server = server
            .args([node.name(), &PORT.to_string()])
            .spawn()
            .unwrap();
        site.host(node).wait_udp(PORT, LIMIT).unwrap();
        site.keep(server);
    }
    site
}

/// A leads to the first responder, B to the second.
fn site_of_two() -> Site {
    let site = site_with(&[A, B]);
    let words = format!("-6 route replace {B}/128 via 2001:db8:2::1");
    site.lab.ip("r0", &words).unwrap();
    site
}

/// A rule on the host of a node for what comes in; replaces the one before.
fn filter(site: &Site, node: Node, rule: &str) {
    let rules = format!(
        "table inet life\ndelete table inet life\ntable inet life {{ chain in {{\n\
         type filter hook input priority 0;\n{rule}\n}}\n}}\n"
    );
    site.host(node).nft(&rules).unwrap();
}

/// U of the node fails for the port, in this way.
fn fails(node: Node, verdict: &str) -> String {
    format!("ip6 daddr {} udp dport {PORT} {verdict}", node.unicast())
}

/// What the client has sent to an address since.
fn sent(site: &Site, since: Duration, to: Ipv6Addr) -> Vec<Packet> {
    let filter = Filter::udp().direction(Direction::Out).port(PORT).dst(to);
    let mut packets = site.seen_at("c");
    packets.retain(|packet| packet.time >= since && filter.matches(packet));
    packets
}

/// Asks until it is answered; returns how many datagrams were sent in vain, and the
/// answer.
fn asks_until_answered(program: &mut Program, how: &str) -> (usize, String) {
    for vain in 0..50 {
        let said = program.does(&format!("s {how} question-{vain}"));
        if !said.starts_with("error") {
            return (vain, said);
        }
    }
    panic!("never answered: {}", program.log());
}

/// U answers probes, and is silent where it should serve: three datagrams, and then A
/// itself serves, on unconnected and on connected sockets, however the program sends.
#[test]
fn a_silent_u_is_given_up_after_three_datagrams() {
    rootless::test(|| {
        let site = site();
        filter(&site, Node::S1, &fails(Node::S1, "drop"));
        for how in ["ask", "ask-connected"] {
            let mut program = Program::start(&site, &[]);
            program.does("s open");
            if how == "ask-connected" {
                assert_eq!(program.does("s connect"), format!("connected to {A}"));
            }
            program.does("s timeout 0.5");
            let (vain, said) = asks_until_answered(&mut program, how);
            // Three within a second are a burst: a slow machine sends no more.
            assert!((3..=4).contains(&vain), "{vain}: {}", program.log());
            assert!(said.starts_with(&format!("{A} s1 {A} ")), "{said}");
            // From now on A serves, also new sockets.
            program.asks(&format!("s {how} again"), Node::S1, A);
            program.does("t open");
            program.does("t timeout 20");
            program.asks("t ask another", Node::S1, A);
            assert_eq!(sent(&site, program.began, U1).len(), vain);
            let log = program.end();
            assert!(log.contains(" refuted=1"), "{log}");
        }
    });
}

/// By write and read, which know no addresses.
#[test]
fn a_silent_u_is_given_up_by_programs_that_write() {
    rootless::test(|| {
        let site = site();
        filter(&site, Node::S1, &fails(Node::S1, "drop"));
        let mut program = Program::start(&site, &[]);
        program.does("s open");
        program.does("s connect");
        program.does("s timeout 0.5");
        for number in 0..3 {
            program.does(&format!("s write {number}"));
            assert_eq!(program.does("s receive nothing"), "error EAGAIN");
        }
        program.does("s timeout 20");
        program.does("s write now");
        assert_eq!(program.does("s receive now"), format!("{A} s1 {A} now"));
        assert_eq!(sent(&site, program.began, U1).len(), 3);
        program.end();
    });
}

/// Programs that open a socket for each question never send three on one.
#[test]
fn a_silent_u_is_given_up_by_programs_that_close() {
    rootless::test(|| {
        let site = site();
        filter(&site, Node::S1, &fails(Node::S1, "drop"));
        let mut program = Program::start(&site, &[]);
        for number in 0..3 {
            program.does("s open");
            program.does("s connect");
            program.does("s timeout 1.1");
            assert_eq!(
                program.does(&format!("s ask-connected {number}")),
                "error EAGAIN"
            );
            program.does("s close");
        }
        program.does("s open");
        program.does("s timeout 20");
        program.asks("s ask now", Node::S1, A);
        assert_eq!(sent(&site, program.began, U1).len(), 3);
        program.end();
    });
}

/// U refuses: the program hears of it once at most, and then A serves.
#[test]
fn a_u_that_refuses_is_given_up_at_once() {
    rootless::test(|| {
        let site = site();
        filter(&site, Node::S1, &fails(Node::S1, "reject"));
        let mut program = Program::start(&site, &[]);
        program.does("s open");
        program.does("s connect");
        program.does("s timeout 20");
        assert_eq!(program.does("s ask-connected first"), "error ECONNREFUSED");
        program.asks("s ask-connected second", Node::S1, A);
        // Another socket does not try it again.
        program.does("t open");
        program.does("t timeout 20");
        program.does("t connect");
        program.asks("t ask-connected third", Node::S1, A);
        assert_eq!(sent(&site, program.began, U1).len(), 1);
        program.end();
    });
}

/// U has served the socket, and dies; routing leads A to another responder: the same
/// socket goes on with that one, and is shown A.
#[test]
fn a_u_that_dies_makes_place_for_another() {
    rootless::test(|| {
        for how in ["ask", "ask-connected"] {
            let mut site = site();
            let mut program = Program::start(&site, &[]);
            program.does("s open");
            if how == "ask-connected" {
                program.does("s connect");
            }
            program.does("s timeout 20");
            program.asks(&format!("s {how} before"), Node::S1, U1);
            // Nothing of it is heard any more.
            filter(&site, Node::S1, "drop");
            site.route_to(Node::S2);
            program.does("s timeout 0.5");
            let (vain, said) = asks_until_answered(&mut program, how);
            assert!((3..=4).contains(&vain), "{vain}: {}", program.log());
            assert!(said.starts_with(&format!("{A} s2 {U2} ")), "{said}");
            program.does("s timeout 20");
            program.asks(&format!("s {how} after"), Node::S2, U2);
            assert!(sent(&site, program.began, A).is_empty());
            program.end();
        }
    });
}

/// A route that moves changes nothing for a socket whose U answers, however long it
/// lasts; a new socket goes to the other responder.
#[test]
fn a_socket_keeps_its_u_while_it_answers() {
    rootless::test(|| {
        let mut site = site();
        let mut program = Program::start(&site, &[("AARP_TTL", "1s")]);
        program.does("s open");
        program.does("s connect");
        program.does("s timeout 20");
        program.asks("s ask-connected before", Node::S1, U1);
        let moved = site.route_to(Node::S2);
        // For longer than the mapping holds.
        let mut number = 0;
        while now() < moved + Duration::from_millis(2500) {
            number += 1;
            program.asks(&format!("s ask-connected {number}"), Node::S1, U1);
        }
        program.does("t open");
        program.does("t timeout 20");
        program.asks("t ask new", Node::S2, U2);
        program.asks("s ask-connected old", Node::S1, U1);
        program.end();
    });
}

/// An unconnected socket that was idle for longer than the TTL asks again.
#[test]
fn an_idle_socket_asks_again() {
    rootless::test(|| {
        let mut site = site();
        let mut program = Program::start(&site, &[("AARP_TTL", "2s")]);
        program.does("s open");
        program.does("s timeout 20");
        program.asks("s ask before", Node::S1, U1);
        site.route_to(Node::S2);
        // The program lets this much time pass: it waits for what does not come.
        program.does("s timeout 2.5");
        assert_eq!(program.does("s receive nothing"), "error EAGAIN");
        program.does("s timeout 20");
        program.asks("s ask after", Node::S2, U2);
        program.end();
    });
}

/// U is silent and alive, and A leads to it as ever: the program would be no better off
/// with A, and a stream that goes one way keeps its U.
#[test]
fn a_stream_that_goes_one_way_keeps_its_u() {
    rootless::test(|| {
        let mut site = site();
        let mut program = Program::start(&site, &[]);
        program.does("s open");
        program.does("s connect");
        program.does("s timeout 20");
        program.asks("s ask-connected before", Node::S1, U1);
        filter(&site, Node::S1, &fails(Node::S1, "drop"));
        program.does("s timeout 0.5");
        for number in 0..6 {
            program.does(&format!("s write {number}"));
            assert_eq!(program.does("s receive nothing"), "error EAGAIN");
        }
        // Neither now, nor a while after A leads elsewhere.
        site.route_to(Node::S2);
        for number in 6..14 {
            program.does(&format!("s write {number}"));
            assert_eq!(program.does("s receive nothing"), "error EAGAIN");
        }
        assert_eq!(sent(&site, program.began, U1).len(), 15);
        assert!(sent(&site, program.began, A).is_empty());
        let log = program.end();
        assert!(log.contains("is silent, and alive: kept"), "{log}");
    });
}

/// `on_failure = "refuse"`: what should have been pinned and cannot be is not sent.
#[test]
fn what_must_be_pinned_and_cannot_be_is_refused() {
    rootless::test(|| {
        let site = site();
        filter(&site, Node::S1, "icmpv6 type echo-request drop");
        let refuse = [("AARP_ON_FAILURE", "refuse"), ("AARP_BUDGET", "300ms")];
        let mut program = Program::start(&site, &refuse);
        program.does("s open");
        assert_eq!(program.does("s send one"), "error EHOSTUNREACH");
        assert_eq!(program.does("s connect"), "error EHOSTUNREACH");
        for to in [A, U1] {
            assert!(sent(&site, program.began, to).is_empty());
        }
        program.end();
    });
}
