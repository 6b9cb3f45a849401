//! A U that does not serve: what is remembered of it, who is blamed for it, and how the
//! program goes on with A.
use aarp_lab::rootless;

use crate::base::{A, Node, Site};
use crate::program::{Program, answer};
use crate::{B, U1, U2, fails, filter, sent, site, site_of_two};

/// The host has no route to U1, or has one again.
fn route_to_u1(site: &Site, exists: bool) {
    let verb = if exists { "del" } else { "add" };
    let words = format!("-6 route {verb} unreachable {U1}/128");
    site.client_host().ip(&words).unwrap();
}

/// Asks until it is answered; how often that was in vain, and the answer.
fn asks_until_answered(program: &mut Program, what: &str) -> (usize, String) {
    for vain in 0..30 {
        let said = program.does(what);
        if said != "error EAGAIN" {
            return (vain, said);
        }
    }
    panic!("never answered: {}", program.log());
}

/// A stub resolver opens a socket for each question: it is refused once.
#[test]
fn a_refusal_is_remembered_when_the_socket_is_closed() {
    rootless::test(|| {
        let site = site();
        filter(&site, Node::S1, &fails(Node::S1, "reject"));
        let mut program = Program::steps(&site, &[]);
        program.expect("s = udp(); s.connect((A, PORT))", "done");
        program.expect("ask(s)", "error ECONNREFUSED");
        program.expect("s.close()", "done");
        for _ in 0..2 {
            program.expect("s = udp(); s.connect((A, PORT))", "done");
            program.expect("ask(s)", answer(A, Node::S1, A));
            program.expect("s.close()", "done");
        }
        program.expect("ask(udp(), A)", answer(A, Node::S1, A));
        assert_eq!(sent(&site, program.began, U1).len(), 1);
        program.end();
    });
}

/// One datagram on each of three sockets, closed half a second later: three in vain.
#[test]
fn silence_is_remembered_when_sockets_are_closed_soon() {
    rootless::test(|| {
        let site = site();
        filter(&site, Node::S1, &fails(Node::S1, "drop"));
        let mut program = Program::steps(&site, &[]);
        for _ in 0..3 {
            program.expect("s = udp(); limit(s, 0.5)", "done");
            program.expect("ask(s, A)", "error EAGAIN");
            program.expect("s.close()", "done");
        }
        program.expect("ask(udp(), A)", answer(A, Node::S1, A));
        assert_eq!(sent(&site, program.began, U1).len(), 3);
        program.end();
    });
}

/// As every socket of Rust, Java, node and Go is: that is no source address of its own.
#[test]
fn a_socket_bound_to_a_port_alone_gives_a_silent_u_up() {
    rootless::test(|| {
        let site = site();
        filter(&site, Node::S1, &fails(Node::S1, "drop"));
        let mut program = Program::steps(&site, &[]);
        program.expect("s = udp(0); limit(s, 0.5)", "done");
        let (vain, said) = asks_until_answered(&mut program, "ask(s, A)");
        assert!((3..=4).contains(&vain), "{vain}: {}", program.log());
        assert_eq!(said, answer(A, Node::S1, A));
        // Also for sockets that are not bound.
        program.expect("ask(udp(), A)", answer(A, Node::S1, A));
        assert_eq!(sent(&site, program.began, U1).len(), vain);
        program.end();
    });
}

/// The program hears nothing of a U that is known, and has no route any more: neither
/// by an error, nor by an errno that a call leaves behind which has succeeded.
#[test]
fn without_a_route_to_u_a_itself_is_spoken_to() {
    rootless::test(|| {
        let site = site();
        let mut program = Program::steps(&site, &[]);
        for step in ["s = udp()", "t = udp()"] {
            program.expect(step, "done");
        }
        for socket in ["s", "t"] {
            program.expect(&format!("ask({socket}, A)"), answer(A, Node::S1, U1));
        }
        route_to_u1(&site, false);
        program.expect("c = udp(); c.connect((A, PORT))", "done");
        program.expect("c.getpeername()[0]", A.to_string());
        program.expect("ask(c)", answer(A, Node::S1, A));
        route_to_u1(&site, true);

        // As before, with a program that does not know that.
        let mut other = Program::steps(&site, &[]);
        other.expect("s = udp()", "done");
        other.expect("ask(s, A)", answer(A, Node::S1, U1));
        route_to_u1(&site, false);
        let sendto = "call('sendto', s.fileno(), question(), 1, 0, name(A, PORT), 28)";
        other.expect(sendto, "1 untouched");
        other.expect("answer(s)", answer(A, Node::S1, A));
        route_to_u1(&site, true);
        program.end();
        other.end();
    });
}

/// The first message of a vector fails because its U has no route: that of the others
/// is not to blame, and they are all sent.
#[test]
fn sendmmsg_blames_the_u_of_the_first_message_alone() {
    rootless::test(|| {
        let site = site_of_two();
        let mut program = Program::steps(&site, &[]);
        let send = "call('sendmmsg', s.fileno(), messages(A, B), 2, 0)";
        let both = "sorted([answer(s), answer(s)])";
        let expected = |of_a| {
            let [a, b] = [answer(A, Node::S1, of_a), answer(B, Node::S2, U2)];
            format!("['{a}', '{b}']")
        };
        program.expect("s = udp()", "done");
        program.expect(send, "2 untouched");
        program.expect(both, expected(U1));
        route_to_u1(&site, false);
        for _ in 0..2 {
            program.expect(send, "2 untouched");
            program.expect(both, expected(A));
        }
        route_to_u1(&site, true);
        assert!(sent(&site, program.began, B).is_empty());
        program.end();
    });
}

/// An error that the kernel reports on a socket says nothing about the one that the
/// program speaks to next.
#[test]
fn an_error_from_one_u_does_not_blame_another() {
    rootless::test(|| {
        let site = site_of_two();
        filter(&site, Node::S1, &fails(Node::S1, "reject"));
        let mut program = Program::steps(&site, &[]);
        program.expect(
            "s = udp(); s.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)",
            "done",
        );
        program.expect("ask(s, B)", answer(B, Node::S2, U2));
        program.expect("s.sendto(question(), (A, PORT))", "1");
        program.expect("has_error(s)", "True");
        // As without the library.
        program.expect("ask(s, B)", "error ECONNREFUSED");
        program.expect("ask(s, B)", answer(B, Node::S2, U2));
        program.expect("ask(udp(), B)", answer(B, Node::S2, U2));
        assert!(sent(&site, program.began, B).is_empty());
        program.end();
    });
}

/// What a router says because the hop limit is used up, as for traceroute.
#[test]
fn an_error_from_the_way_does_not_blame_u() {
    rootless::test(|| {
        let site = site();
        let mut program = Program::steps(&site, &[]);
        program.expect("s = udp(); s.connect((A, PORT))", "done");
        program.expect("s.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)", "done");
        let hops = |count: u8| {
            format!("s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, {count})")
        };
        program.does(&hops(1));
        program.expect("ask(s)", "error EHOSTUNREACH");
        program.does(&hops(64));
        program.expect("ask(s)", answer(A, Node::S1, U1));
        program.expect("ask(udp(), A)", answer(A, Node::S1, U1));
        assert!(sent(&site, program.began, A).is_empty());
        program.end();
    });
}

/// The program does not ask who has answered: what comes from B is not to the credit
/// of the U of A, which is dead.
#[test]
fn who_answers_is_credited() {
    rootless::test(|| {
        let site = site_of_two();
        let mut program = Program::steps(&site, &[]);
        program.expect("s = udp()", "done");
        for (to, node, u) in [("A", Node::S1, U1), ("B", Node::S2, U2)] {
            program.expect(&format!("s.sendto(b'{to}', ({to}, PORT))"), "1");
            let heard = format!("{} {u} {to}", node.name());
            program.expect("s.recv(99).decode()", heard);
        }
        // Nothing of U1 is heard any more, and A leads to the other responder.
        filter(&site, Node::S1, "drop");
        let words = format!("-6 route replace {A}/128 via 2001:db8:2::1");
        site.lab.ip("r0", &words).unwrap();
        program.expect("limit(s, 0.3)", "done");
        let mut heard = false;
        for _ in 0..40 {
            // The last one is not the one that answers.
            for to in ["B", "A"] {
                program.expect(&format!("s.sendto(b'{to}', ({to}, PORT))"), "1");
            }
            let said = [(); 2].map(|()| program.does("s.recv(99).decode()"));
            assert!(said.contains(&format!("s2 {U2} B")), "{said:?}");
            heard = said.contains(&format!("s2 {U2} A")) || said.contains(&format!("s2 {A} A"));
            if heard {
                break;
            }
        }
        assert!(heard, "{}", program.log());
        let log = program.end();
        assert!(log.contains(" refuted=1"), "{log}");
    });
}

/// A socket that has spoken to A, was idle, and is connected to A: it speaks to the
/// responder that A leads to now, by send() and by sendto().
#[test]
fn connect_renews_an_idle_pin() {
    rootless::test(|| {
        let mut site = site();
        let mut program = Program::steps(&site, &[("AARP_TTL", "2s")]);
        program.expect("s = udp()", "done");
        program.expect("ask(s, A)", answer(A, Node::S1, U1));
        site.route_to(Node::S2);
        // The program lets this much time pass: it waits for what does not come.
        program.expect("limit(s, 2.5)", "done");
        program.expect("s.recv(9)", "error EAGAIN");
        program.expect("limit(s, 20)", "done");
        program.expect("s.connect((A, PORT))", "done");
        program.expect("ask(s)", answer(A, Node::S2, U2));
        program.expect("ask(s, A)", answer(A, Node::S2, U2));
        program.expect("s.getpeername()[0]", A.to_string());
        program.end();
    });
}
