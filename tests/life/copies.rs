//! Sockets that have several descriptors, or several processes: all of them show the
//! same, and what one does the other knows.
use aarp_lab::{Filter, rootless};

use crate::base::{A, Node, Site};
use crate::program::{Program, answer};
use crate::{B, U1, U2, sent, site, site_of_two};

/// How many echo requests an interface has carried since the program began.
fn asked(site: &Site, host: &str, program: &Program) -> usize {
    let packets = site.seen_at(host);
    let since = packets.iter().filter(|packet| packet.time >= program.began);
    Filter::icmp6(128).count(since)
}

/// A duplicate made before connect() is connected by it, and again.
#[test]
fn a_duplicate_shows_what_the_original_is_connected_to() {
    rootless::test(|| {
        let site = site_of_two();
        let mut program = Program::steps(&site, &[]);
        program.expect("s = udp(); d = s.dup(); s.connect((A, PORT))", "done");
        program.expect("ask(s)", answer(A, Node::S1, U1));
        for copy in ["d", "s"] {
            program.expect(&format!("{copy}.getpeername()[0]"), A.to_string());
        }
        program.expect("ask(d)", answer(A, Node::S1, U1));
        program.expect("s.connect((B, PORT))", "done");
        for copy in ["d", "s"] {
            program.expect(&format!("{copy}.getpeername()[0]"), B.to_string());
            program.expect(&format!("ask({copy})"), answer(B, Node::S2, U2));
        }
        // One of them is closed, and its number used again.
        program.expect("s.close(); t = udp()", "done");
        program.expect("d.getpeername()[0]", B.to_string());
        program.expect("t.getpeername()", "error ENOTCONN");
        program.expect("ask(d)", answer(B, Node::S2, U2));
        program.end();
    });
}

/// The same for TCP.
#[test]
fn a_duplicate_of_a_stream_shows_what_the_original_is_connected_to() {
    rootless::test(|| {
        let site = site();
        let mut program = Program::steps(&site, &[]);
        program.expect("s = socket.socket(socket.AF_INET6); d = s.dup()", "done");
        program.expect("s.connect((A, PORT))", "done");
        for copy in ["d", "s"] {
            program.expect(&format!("{copy}.getpeername()[0]"), A.to_string());
        }
        program.expect("d.sendall(b'question\\n')", "done");
        let answer = format!("s1 {U1} question");
        program.expect("s.recv(99).decode().strip()", answer);
        program.end();
    });
}

/// One descriptor has spoken to U itself, and another speaks to A: their answers look
/// the same, and so A is not moved.
#[test]
fn a_duplicate_knows_whom_the_original_speaks_to() {
    rootless::test(|| {
        let site = site();
        let mut program = Program::steps(&site, &[]);
        program.expect("s = udp(); d = s.dup()", "done");
        program.expect("ask(s, U1)", answer(U1, Node::S1, U1));
        program.expect("ask(d, A)", answer(A, Node::S1, A));
        program.expect("ask(s, U1)", answer(U1, Node::S1, U1));
        program.expect("ask(d, U1)", answer(U1, Node::S1, U1));
        program.end();
    });
}

/// A vfork child has the socket as its standard output, in its parent's memory: what
/// the parent prints afterwards are no datagrams to U, and its socket is what it was.
#[test]
fn a_vfork_child_that_uses_dup2_changes_nothing_of_its_parents() {
    rootless::test(|| {
        let site = site();
        let mut program = Program::steps(&site, &[]);
        program.expect("s = udp(); s.connect((A, PORT))", "done");
        program.expect("ask(s)", answer(A, Node::S1, U1));
        for _ in 0..2 {
            let hello = "subprocess.run(['/bin/echo', 'hello'], stdout=s.fileno()).returncode";
            program.expect(hello, "0");
            let said = format!("s1 {U1} hello");
            program.expect("s.recv(99).decode().strip()", said);
            program.expect("s.getpeername()[0]", A.to_string());
        }
        // Every step prints a line; for longer than silence is tolerated.
        let probes = asked(&site, "c", &program);
        program.expect("t = udp(); limit(t, 0.5)", "done");
        for _ in 0..6 {
            program.expect("t.recv(9)", "error EAGAIN");
        }
        assert_eq!(asked(&site, "c", &program), probes);
        program.expect("ask(s)", answer(A, Node::S1, U1));
        program.expect("s.getpeername()[0]", A.to_string());
        assert_eq!(asked(&site, "c", &program), probes);
        assert!(sent(&site, program.began, A).is_empty());
        program.end();
    });
}

/// The ways in which a server may answer: what it does before it is asked, and how it
/// answers `who`.
const SERVERS: [(&str, &str, &str); 5] = [
    ("plain", "", "s.sendto(b'answer', who)"),
    (
        "another socket",
        "",
        "n = udp(); n.connect(who); n.send(b'answer')",
    ),
    ("a duplicate", "o = s.dup()", "o.sendto(b'answer', who)"),
    (
        "a child that closes all descriptors",
        "subprocess.run(['/bin/true'])",
        "s.sendto(b'answer', who)",
    ),
    (
        "an inherited socket",
        "becomes_another_program(s)",
        "s.sendto(b'answer', who)",
    ),
];

/// With nothing configured, every destination is asked about, but not who has spoken
/// first: a server does not probe its clients.
#[test]
fn a_server_does_not_probe_its_clients() {
    rootless::test(|| {
        let site = site();
        let mut client = Program::steps_of(&site, Node::S2);
        client.expect("s = udp()", "done");
        let mut probed = Vec::new();
        for (what, before, answers) in SERVERS {
            let mut server = Program::steps(&site, &[("AARP_PREFIXES", "")]);
            server.expect("s = udp(7100)", "done");
            if before.starts_with("becomes") {
                // It goes on where its image begins.
                server.expect(before, "ready");
                server.expect("s = socket.socket(fileno=int(INHERITED))", "done");
            } else if !before.is_empty() {
                server.does(before);
            }
            client.expect("s.sendto(b'question', ('2001:db8:c::2', 7100))", "8");
            server.expect("data, who = s.recvfrom(99)", "done");
            server.expect("data.decode(), who[0]", format!("('question', '{U2}')"));
            server.does(answers);
            client.expect("s.recv(99).decode()", "answer");
            // The probe would have gone out before the answer.
            if asked(&site, "c", &server) + asked(&site, "s2", &server) > 0 {
                probed.push(what);
            }
            server.end();
        }
        client.end();
        assert!(probed.is_empty(), "{probed:?}");
    });
}
