//! A U is given up for failures of its own, and for all of them.

use crate::site::{A, Failure, PATIENCE, U1, Variant};
use crate::{command, finish, run, with_site};

/// What ends a connection that was made says nothing about who serves.
#[test]
fn a_reset_of_a_made_connection_does_not_refute() {
    with_site(Variant::default(), |site| {
        let server = site.lab.host("s1").unwrap();
        let program = site.lab.work().join("edges-program");
        for when in ["before", "after"] {
            let process = server
                .command(&program)
                .args([&A.to_string(), "resetting_server", ""])
                .spawn()
                .unwrap();
            server.wait_tcp(81, PATIENCE).unwrap();
            let run = run(site, true, "reset_later", when);
            assert_eq!(run.replies.len(), 2);
            run.assert_pinned();
            for reply in &run.replies {
                assert_eq!(reply.get("first"), "OK");
                assert_eq!(reply.get("later"), "ECONNRESET", "{when}");
            }
            assert_eq!(run.counters.get("refuted"), 0, "{when}");
            assert_eq!(run.counters.get("pinned"), 2, "{when}");
            assert!(process.wait(PATIENCE).unwrap().success());
        }
    });
}

/// However a program gives up a connection that is not answered, the next goes
/// elsewhere.
#[test]
fn giving_up_refutes_whatever_closes_the_descriptor() {
    with_site(Variant::default(), |site| {
        site.break_u("s1", Failure::Silence);
        for how in [
            "close",
            "syscall",
            "dup2",
            "dup3",
            "close_range",
            "syscall_close_range",
            "closefrom",
        ] {
            let run = run(site, true, "give_up", how);
            assert_eq!(run.replies[0].get("result"), "OK", "{how}");
            run.assert_peers(&A.to_string());
            let log = &run.counters.log;
            assert_eq!(run.counters.get("refuted"), 1, "{how}: {log}");
            assert_eq!(run.seen.tried("s1", U1).len(), 1, "{how}: {log}");
            assert_eq!(run.seen.tried("s1", A).len(), 1, "{how}: {log}");
        }
    });
}

/// Ports that are used up are the client's own want.
#[test]
fn used_up_ports_refute_nothing() {
    with_site(Variant::default(), |site| {
        let client = site.lab.host("client").unwrap();
        client
            .sysctl("net.ipv4.ip_local_port_range", "40000 40003")
            .unwrap();
        let run = finish(site, command(site, true, "ports", ""));
        let of = |result: &str, kernel: &str| {
            let replies = run.replies.iter();
            let alike = replies.filter(|r| r.get("result") == result && r.get("kernel") == kernel);
            alike.count()
        };
        let log = &run.counters.log;
        // Four to U, as many to A, where the same ports are free, and no more.
        assert_eq!(of("OK", &U1.to_string()), 4, "{log}");
        assert_eq!(of("OK", &A.to_string()), 4, "{log}");
        assert_eq!(of("EADDRNOTAVAIL", "ENOTCONN"), 4, "{log}");
        assert_eq!(run.counters.get("refuted"), 0, "{log}");
        assert_eq!(run.seen.tried("s1", U1).len(), 4);
    });
}
