//! Programs that have installed a seccomp filter of their own: from then on the library
//! makes no system call of its own, and what stands is kept.
use aarp_lab::{Filter, rootless};

use crate::base::{A, Node};
use crate::program::{Program, answer};
use crate::{U1, U2, sent, site};

/// A datagram to A, whose address is said to have this length.
fn ask_by_length(program: &mut Program, length: u32) -> String {
    program.expect("text = question()", "done");
    let sendto = format!("call('sendto', s.fileno(), text, len(text), 0, there, {length})");
    let said = program.does(&sendto);
    assert!(said.ends_with(" untouched"), "{said}");
    program.does("answer(s)")
}

#[test]
fn a_program_with_a_filter_keeps_its_pins() {
    rootless::test(|| {
        let site = site();
        let mut program = Program::steps(&site, &[]);
        program.expect("s = udp(); c = udp(); c.connect((A, PORT))", "done");
        program.expect("ask(c)", answer(A, Node::S1, U1));
        // Read before there is a filter: what it may look at then is what it knows.
        program.expect("there = name(A, PORT) + bytes(100)", "done");
        for filtered in [false, true] {
            if filtered {
                program.expect("filtered()", "0");
            }
            // Also as a sockaddr_storage.
            for length in [28, 128] {
                let said = ask_by_length(&mut program, length);
                assert_eq!(said, answer(A, Node::S1, U1), "{length}: {}", program.log());
            }
        }
        program.expect("ask(c)", answer(A, Node::S1, U1));
        program.expect("c.getpeername()[0]", A.to_string());
        assert!(sent(&site, program.began, A).is_empty());
        // What is new goes to where the program sends it, and is shown from there.
        program.expect("c.connect((U2, PORT))", "done");
        program.expect("c.getpeername()[0]", U2.to_string());
        program.expect("ask(c)", answer(U2, Node::S2, U2));
        program.expect("ask(udp(), A)", answer(A, Node::S1, A));
        let probes = site.seen_at("c");
        let probes = probes.iter().filter(|packet| packet.time >= program.began);
        assert_eq!(Filter::icmp6(128).dst(A).count(probes), 1);
        program.end();
    });
}

/// `EFAULT`, and no signal: the kernel is asked, not the memory.
#[test]
fn a_program_with_a_filter_may_have_bad_pointers() {
    rootless::test(|| {
        let site = site();
        for call in [
            "call('sendto', s.fileno(), b'x', 1, 0, 16, 28)",
            "call('sendmsg', s.fileno(), 16, 0)",
            "call('sendmmsg', s.fileno(), 16, 2, 0)",
            "call('recvmsg', s.fileno(), 16, 0)",
            "call('recvmmsg', s.fileno(), 16, 2, socket.MSG_DONTWAIT, None)",
        ] {
            let mut program = Program::steps(&site, &[]);
            program.expect("s = udp()", "done");
            program.expect("ask(s, A)", answer(A, Node::S1, U1));
            program.expect("s.sendto(question(), (A, PORT))", "1");
            program.expect("has_datagram(s)", "True");
            program.expect("filtered()", "0");
            program.expect(call, "-1 EFAULT");
            program.end();
        }
    });
}
