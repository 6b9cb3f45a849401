//! Whose datagrams are whose: what is shown from A, what is left alone, and which way
//! is the program's own choice.
use std::net::Ipv6Addr;

use aarp_lab::{Direction, Filter, rootless};

use crate::base::{A, LIMIT, Node, Site, system};
use crate::program::{Program, answer, script};
use crate::{B, PORT, U1, filter, sent, site, site_with};

/// TFTP's port.
const TFTP: u16 = 69;

/// Another source address of the host's, which is never chosen by itself.
const SOURCE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xc, 0, 0, 0, 0, 3);

fn udp_sent(site: &Site, filter: Filter) -> usize {
    let filter = filter.direction(Direction::Out);
    filter.count(&site.seen_at("c"))
}

/// A server that goes on from another port: the client keeps the address that it knows
/// and takes that port (RFC 1350, section 4).
#[test]
fn an_answer_from_another_port_is_shown_from_a_and_the_dialogue_goes_on() {
    rootless::test(|| {
        let mut site = site();
        let server = site.host(Node::S1).command(system("python3"));
        let server = server.arg(script("life/other_port.py"));
        let server = server.arg(TFTP.to_string()).spawn().unwrap();
        site.host(Node::S1).wait_udp(TFTP, LIMIT).unwrap();
        site.keep(server);

        for bound in ["", "0"] {
            let mut program = Program::steps(&site, &[]);
            program.expect(&format!("s = udp({bound})"), "done");
            program.expect(&format!("s.sendto(b'RRQ', (A, {TFTP}))"), "3");
            program.expect("data, who = s.recvfrom(99)", "done");
            program.expect("data.decode(), who[0]", format!("('DATA 1', '{A}')"));
            let port: u16 = program.does("who[1]").parse().unwrap();
            assert_ne!(port, TFTP);
            for (ack, data) in [("ACK 1", "DATA 2"), ("ACK 2", "DATA 3")] {
                program.expect(&format!("s.sendto(b'{ack}', who[:2])"), "5");
                program.expect(
                    "[x.decode() if isinstance(x, bytes) else x[:2] == who[:2] for x in s.recvfrom(99)]",
                    format!("['{data} after {ack}', True]"),
                );
            }
            assert_eq!(udp_sent(&site, Filter::udp().dst(U1).port(port)), 2);
            assert_eq!(udp_sent(&site, Filter::udp().dst(A)), 0);
            program.end();
        }
    });
}

/// A socket that was connected to A and is connected to an IPv4 address now stays
/// there, however silent that is.
#[test]
fn a_socket_that_is_connected_to_ipv4_stays_there() {
    rootless::test(|| {
        let site = site();
        let mut program = Program::steps(&site, &[]);
        program.expect("s = udp(); s.connect((A, PORT)); limit(s, 0.5)", "done");
        program.expect(
            "v4 = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
            "done",
        );
        program.expect("v4.bind(('127.0.0.1', 0)); limit(v4, 20)", "done");
        let to_v4 = "call('connect', s.fileno(), name4(*v4.getsockname()), 16)";
        program.expect(to_v4, "0 untouched");
        for number in 0..5 {
            program.expect(&format!("s.send(b'{number}')"), "1");
            program.expect("s.recv(9)", "error EAGAIN");
        }
        program.expect("s.getpeername()[0]", "::ffff:127.0.0.1");
        for number in 0..5 {
            program.expect("v4.recv(9).decode()", number.to_string());
        }
        for to in [A, U1] {
            assert!(sent(&site, program.began, to).is_empty());
        }
        program.end();
    });
}

/// A socket is connected to B, or to nobody any more, and sends to A in vain: it is not
/// connected to A by that.
#[test]
fn silence_connects_no_socket_to_somebody_else() {
    rootless::test(|| {
        let site = site_with(&[A, B]);
        // Of the other port nothing is heard.
        let mute = PORT + 1;
        filter(&site, Node::S1, &format!("udp dport {mute} drop"));
        for is_connected in [true, false] {
            let mut program = Program::steps(&site, &[]);
            program.expect("s = udp(); s.connect((B, PORT))", "done");
            program.expect("ask(s)", answer(B, Node::S1, U1));
            let peer = if is_connected {
                B.to_string()
            } else {
                let nobody = "call('connect', s.fileno(), bytes(28), 28)";
                program.expect(nobody, "0 untouched");
                "error ENOTCONN".to_owned()
            };
            program.expect("limit(s, 0.5)", "done");
            for _ in 0..5 {
                program.expect(&format!("s.sendto(b'x', (A, {mute}))"), "1");
                program.expect("s.recv(9)", "error EAGAIN");
            }
            program.expect("limit(s, 20)", "done");
            program.expect("s.getpeername()[0]", peer);
            let ask = if is_connected { "ask(s)" } else { "ask(s, B)" };
            program.expect(ask, answer(B, Node::S1, U1));
            program.end();
        }
    });
}

/// Where the program chooses the source or the way, for one message or for a socket,
/// nobody knows whether U is there too: A is spoken to.
#[test]
fn a_way_of_its_own_leads_to_a() {
    rootless::test(|| {
        let site = site();
        let words = format!("addr add {SOURCE}/64 dev eth0 nodad preferred_lft 0");
        site.client_host().ip(&words).unwrap();
        let mut program = Program::steps(&site, &[]);
        let source = format!("P = socket.inet_pton(socket.AF_INET6, '{SOURCE}') + bytes(4)");
        program.expect(&source, "done");
        program.expect(
            "C = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, P)]",
            "done",
        );
        program.expect("s = udp()", "done");
        program.expect("ask(s, A)", answer(A, Node::S1, U1));
        let mut said = vec![program.does("ask(s, A, C)")];
        said.push(program.does("ask(udp(), A, C)"));
        // For the whole socket.
        program.expect("I = socket.if_nametoindex('eth0')", "done");
        program.expect("s = udp()", "done");
        program.expect("P = bytes(16) + struct.pack('I', I)", "done");
        program.expect(
            "s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, P)",
            "done",
        );
        said.push(program.does("ask(s, A)"));
        program.expect("s = udp()", "done");
        program.expect(
            "s.setsockopt(socket.IPPROTO_IPV6, IPV6_UNICAST_IF, struct.pack('!I', I))",
            "done",
        );
        said.push(program.does("ask(s, A)"));
        assert_eq!(said, [(); 4].map(|()| answer(A, Node::S1, A)));
        // What leaves from that source goes to A, and the rest to U as ever.
        let from_source = Filter::udp().src(SOURCE);
        assert_eq!(udp_sent(&site, from_source.clone().dst(U1)), 0);
        assert_eq!(udp_sent(&site, from_source.dst(A)), 2);
        program.expect("ask(udp(), A)", answer(A, Node::S1, U1));
        program.end();
    });
}

/// A and its U on one socket, with nothing configured: each datagram is shown from the
/// address that the program used.
#[test]
fn a_and_its_u_on_one_socket_with_nothing_configured() {
    rootless::test(|| {
        let site = site();
        let mut program = Program::steps(&site, &[("AARP_PREFIXES", "")]);
        let [of_u, pinned, of_a] =
            [(U1, U1), (A, U1), (A, A)].map(|(shown, address)| answer(shown, Node::S1, address));
        program.expect("s = udp()", "done");
        program.expect("ask(s, A)", &pinned);
        program.expect("ask(s, U1)", &of_u);
        program.expect("ask(s, A)", &of_a);
        program.expect("ask(s, U1)", &of_u);
        program.expect("t = udp()", "done");
        program.expect("ask(t, U1)", &of_u);
        program.expect("ask(t, A)", &of_a);
        program.expect("ask(t, U1)", &of_u);
        program.end();
    });
}

/// A socket that has spoken to A, and is connected to its U itself now.
#[test]
fn a_socket_connected_to_u_itself_shows_u() {
    rootless::test(|| {
        let site = site();
        let mut program = Program::steps(&site, &[("AARP_PREFIXES", "")]);
        let of_u = answer(U1, Node::S1, U1);
        program.expect("c = udp()", "done");
        program.expect("ask(c, A)", answer(A, Node::S1, U1));
        program.expect("c.connect((U1, PORT))", "done");
        program.expect("c.getpeername()[0]", U1.to_string());
        program.expect("ask(c)", &of_u);
        program.end();
    });
}

/// By syscall(2), as by its name.
#[test]
fn a_socket_connected_by_syscall_is_pinned() {
    rootless::test(|| {
        let site = site();
        let connect = if cfg!(target_arch = "x86_64") {
            42
        } else {
            203
        };
        let mut program = Program::steps(&site, &[]);
        program.expect("s = udp()", "done");
        let call = format!("call('syscall', {connect}, s.fileno(), name(A, PORT), 28)");
        program.expect(&call, "0 untouched");
        program.expect("ask(s, A)", answer(A, Node::S1, U1));
        program.expect("ask(s)", answer(A, Node::S1, U1));
        program.expect("s.getpeername()[0]", A.to_string());
        program.end();
    });
}
