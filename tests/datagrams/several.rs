//! One socket that speaks to two anycast addresses of one responder, and to its
//! unicast address: each answer is shown from the address that was spoken to.
use std::io::Write as _;
use std::net::Ipv6Addr;
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use aarp_lab::{Direction, Filter, Process};

use crate::base::{A, LIMIT, Node, Site, now};
use crate::record::Record;
use crate::service::{ECHO, Mode, on_client, script, serve_echo};

/// Another address of the same responders.
const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xb, 0, 0, 0, 0, 0x53);
const U1: Ipv6Addr = Node::S1.unicast();

/// The program, with one socket.
struct Speaker {
    client: Process,
    to_client: ChildStdin,
    number: usize,
}

impl Speaker {
    fn start(site: &Site, mode: Mode) -> Self {
        let command = on_client(site, "python3", mode).arg(script("several.py"));
        let command = command.arg(ECHO.to_string()).stdin(Stdio::piped());
        let mut client = command.spawn().unwrap();
        let to_client = client.take_stdin().unwrap();
        Self {
            client,
            to_client,
            number: 0,
        }
    }

    /// Speaks to these addresses at once; what is answered must be shown from them.
    /// Returns for each who answered, and to which address the question came.
    fn ask(&mut self, addresses: &[Ipv6Addr]) -> Vec<(String, Ipv6Addr)> {
        let mut questions = Vec::new();
        let mut texts = Vec::new();
        for address in addresses {
            self.number += 1;
            texts.push(format!("question {};", self.number));
            questions.push(format!("{address} question {};", self.number));
        }
        let whole = questions.join(" | ") + "\n";
        self.to_client.write_all(whole.as_bytes()).unwrap();
        let answered = addresses.iter().zip(texts).map(|(address, text)| {
            let come = self.client.wait_stdout(&text, LIMIT);
            let log = || self.client.stderr().unwrap();
            come.unwrap_or_else(|error| panic!("{address}: {error}: {}", log()));
            let said = self.client.stdout().unwrap();
            let line = said.lines().find(|line| line.ends_with(&text)).unwrap();
            let words: Vec<_> = line.split(' ').collect();
            let [shown, node, seen, ..] = words[..] else {
                panic!("{line}")
            };
            assert_eq!(shown, address.to_string(), "{line}: {}", log());
            (node.to_owned(), seen.parse().unwrap())
        });
        answered.collect()
    }

    fn ask_one(&mut self, address: Ipv6Addr) -> (String, Ipv6Addr) {
        self.ask(&[address]).remove(0)
    }

    fn end(self) {
        drop(self.to_client);
        let status = self.client.wait(LIMIT).unwrap();
        let log = self.client.stderr().unwrap();
        assert!(status.success(), "{status}: {log}");
    }
}

fn site() -> Site {
    let mut site = Site::new(Duration::ZERO, &[A, B]);
    serve_echo(&mut site);
    site
}

const BOTH: Mode = Mode::Pinned(&[A, B]);

fn by(node: Node, address: Ipv6Addr) -> (String, Ipv6Addr) {
    (node.name().to_owned(), address)
}

/// Without us everybody is answered from where they were asked, and moves.
pub(crate) fn without_us() {
    let mut site = site();
    let mut speaker = Speaker::start(&site, Mode::Native);
    for address in [A, B, U1] {
        assert_eq!(speaker.ask_one(address), by(Node::S1, address));
    }
    let [a, b] = [by(Node::S1, A), by(Node::S1, B)];
    assert_eq!(speaker.ask(&[A, B]), [a, b]);
    site.route_to(Node::S2);
    for address in [A, B] {
        assert_eq!(speaker.ask_one(address), by(Node::S2, address));
    }
    assert_eq!(speaker.ask_one(U1), by(Node::S1, U1));
    speaker.end();
}

/// The first of two is pinned, the second is not: on one socket a U stands for one A.
pub(crate) fn two_anycast_addresses() {
    let mut site = site();
    let started = now();
    let mut speaker = Speaker::start(&site, BOTH);
    assert_eq!(speaker.ask_one(A), by(Node::S1, U1));
    assert_eq!(speaker.ask_one(B), by(Node::S1, B));
    // At once too, in both orders.
    let [a, b] = [by(Node::S1, U1), by(Node::S1, B)];
    assert_eq!(speaker.ask(&[A, B]), [a.clone(), b.clone()]);
    assert_eq!(speaker.ask(&[B, A]), [b, a]);
    site.route_to(Node::S2);
    assert_eq!(speaker.ask_one(A), by(Node::S1, U1));
    assert_eq!(speaker.ask_one(B), by(Node::S2, B));
    speaker.end();

    // Another socket may begin with B.
    site.route_to(Node::S1);
    let mut speaker = Speaker::start(&site, BOTH);
    assert_eq!(speaker.ask_one(B), by(Node::S1, U1));
    assert_eq!(speaker.ask_one(A), by(Node::S1, A));
    speaker.end();

    let mut packets = site.seen_at("c");
    packets.retain(|packet| packet.time > started);
    let sent = Filter::udp().direction(Direction::Out).port(ECHO);
    let counts = [U1, A, B].map(|to| sent.clone().dst(to).count(&packets));
    assert_eq!(counts, [5, 1, 4], "datagrams to U, A and B");
    Record {
        program: "one socket, two anycast addresses of one responder",
        executable: "python3",
        calls: "unconnected, blocks; `sendto`, `recvfrom`",
        tried: "questions to both, alternating and at once; the routes move",
        result: "pinned",
        reason: "the first of them; the second stays unpinned (`ambiguous`)",
    }
    .write();
}

/// A program that speaks to U itself is answered from U.
pub(crate) fn anycast_and_unicast_address() {
    let site = site();
    let started = now();
    // U first: then A stays unpinned on that socket, at once too.
    let mut speaker = Speaker::start(&site, BOTH);
    assert_eq!(speaker.ask_one(U1), by(Node::S1, U1));
    assert_eq!(speaker.ask_one(A), by(Node::S1, A));
    let [u, a] = [by(Node::S1, U1), by(Node::S1, A)];
    assert_eq!(speaker.ask(&[U1, A]), [u.clone(), a.clone()]);
    assert_eq!(speaker.ask(&[A, U1]), [a, u]);
    speaker.end();
    let mut packets = site.seen_at("c");
    packets.retain(|packet| packet.time > started);
    let sent = Filter::udp().direction(Direction::Out).port(ECHO);
    let counts = [U1, A].map(|to| sent.clone().dst(to).count(&packets));
    assert_eq!(counts, [3, 3], "datagrams to U and A");

    // A first: pinned until the program speaks to U itself, and no longer.
    let mut speaker = Speaker::start(&site, BOTH);
    assert_eq!(speaker.ask_one(A), by(Node::S1, U1));
    for address in [U1, A, U1, U1, A, A, U1] {
        assert_eq!(speaker.ask_one(address), by(Node::S1, address));
    }
    let [u, a] = [by(Node::S1, U1), by(Node::S1, A)];
    assert_eq!(speaker.ask(&[U1, A]), [u.clone(), a.clone()]);
    assert_eq!(speaker.ask(&[A, U1]), [a, u]);
    speaker.end();
    Record {
        program: "one socket, an anycast address and the unicast address behind it",
        executable: "python3",
        calls: "unconnected, blocks; `sendto`, `recvfrom`",
        tried: "questions to both, alternating and at once, in either order",
        result: "unpinned",
        reason: "`ambiguous`: as soon as the program speaks to the unicast address itself",
    }
    .write();
}
