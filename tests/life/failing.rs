//! A U that does not serve: what is remembered of it, who is blamed for it, and how the
//! program goes on with A.
use std::ffi::OsStr;
use std::path::Path;

use aarp_lab::rootless;

use crate::base::{A, Node, Site};
use crate::common;
use crate::program::{Program, answer, script};
use crate::{B, U1, U2, fails, filter, sent, site, site_of_two};

/// The host has no route to U1, or has one again.
fn route_to_u1(site: &Site, exists: bool) {
    let verb = if exists { "del" } else { "add" };
    let words = format!("-6 route {verb} unreachable {U1}/128");
    site.client_host().ip(&words).unwrap();
}

/// Asks four times, with half a second for each answer, and then once more with all the
/// time that a slow machine takes; returns the answer.
fn asks_five_times(program: &mut Program) -> String {
    for seconds in [0.5, 0.5, 0.5, 0.5, 20.0] {
        program.expect(&format!("limit(s, {seconds})"), "done");
        let said = program.does("ask(s, A)");
        if said != "error EAGAIN" {
            return said;
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
        program.expect("s = udp(0)", "done");
        assert_eq!(asks_five_times(&mut program), answer(A, Node::S1, A));
        // Also for sockets that are not bound.
        program.expect("ask(udp(), A)", answer(A, Node::S1, A));
        // Three within a second are a burst.
        let vain = sent(&site, program.began, U1).len();
        assert!((3..=4).contains(&vain), "{vain}: {}", program.log());
        program.end();
    });
}

/// The host knows the U, and has no route to it any more: the program hears nothing of
/// that.
#[test]
fn connect_goes_to_a_where_u_has_no_route() {
    rootless::test(|| {
        let site = site();
        let mut program = Program::steps(&site, &[]);
        program.expect("ask(udp(), A)", answer(A, Node::S1, U1));
        route_to_u1(&site, false);
        program.expect("c = udp(); c.connect((A, PORT))", "done");
        program.expect("c.getpeername()[0]", A.to_string());
        program.expect("ask(c)", answer(A, Node::S1, A));
        route_to_u1(&site, true);
        program.end();
    });
}

/// Nor by the errno that a call leaves behind which succeeds at the second attempt.
#[test]
fn a_datagram_goes_to_a_where_u_has_no_route_and_errno_is_untouched() {
    rootless::test(|| {
        let site = site();
        let mut program = Program::steps(&site, &[]);
        program.expect("s = udp()", "done");
        program.expect("ask(s, A)", answer(A, Node::S1, U1));
        route_to_u1(&site, false);
        let sendto = "call('sendto', s.fileno(), question(), 1, 0, name(A, PORT), 28)";
        program.expect(sendto, "1 untouched");
        program.expect("answer(s)", answer(A, Node::S1, A));
        route_to_u1(&site, true);
        program.end();
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
        for _ in 0..10 {
            // The last one is not the one that answers; who does is not asked.
            for to in ["B", "A"] {
                program.expect(&format!("s.sendto(b'{to}', ({to}, PORT))"), "1");
            }
            for _ in 0..2 {
                program.does("s.recv(99).decode()");
            }
        }
        program.expect("limit(s, 20); s.sendto(b'last', (A, PORT))", "done");
        let mut heard = Vec::new();
        while !heard
            .last()
            .is_some_and(|said: &String| said.ends_with(" last"))
        {
            let said = program.does("s.recv(99).decode()");
            assert_ne!(said, "error EAGAIN", "{heard:?}: {}", program.log());
            heard.push(said);
        }
        // The other responder's U stands for B on this socket.
        assert_eq!(heard.last().unwrap(), &format!("s2 {A} last"));
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

/// The time of day is set back by an hour while U is silent: the silence counts from
/// then on, and does not last for an hour.
#[test]
fn a_clock_that_is_set_back_keeps_no_dead_u() {
    if !Path::new("/usr/bin/cc").exists() {
        return common::skipped("there is no C compiler");
    }
    rootless::test(|| {
        let mut site = site();
        let clock = site.lab.work().join("clock.so");
        let source = script("life/clock.c");
        let words = ["-shared", "-fPIC", "-O2", "-o"].map(OsStr::new);
        common::run(
            "cc",
            [&words[..], &[clock.as_ref(), source.as_ref()]].concat(),
        );
        let preload = [("LD_PRELOAD", clock.to_str().unwrap())];
        let mut program = Program::steps(&site, &preload);
        program.expect("s = udp()", "done");
        program.expect("ask(s, A)", answer(A, Node::S1, U1));
        // Nothing of U1 is heard any more, and A leads to the other responder.
        filter(&site, Node::S1, "drop");
        site.route_to(Node::S2);
        for _ in 0..2 {
            program.expect("s.sendto(question(), (A, PORT))", "1");
        }
        program.expect("import time; before = time.time()", "done");
        program.expect("libc.set_back(3600)", "3600");
        program.expect("time.time() < before - 3000", "True");
        assert_eq!(asks_five_times(&mut program), answer(A, Node::S2, U2));
        program.end();
    });
}
