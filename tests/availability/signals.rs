//! A signal that would have interrupted connect() interrupts it, and no other does:
//! while A is asked, while the library waits for U, and without the library alike.

use std::time::Duration;

use aarp_lab::{Filter, Signal, rootless, wait_until};

use crate::NEEDED;
use crate::site::{A, Client, Failure, PATIENCE, PORT, Reply, Site, U1, Variant, now};
use crate::stage::has;

/// What connect() waits for when the signal comes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// The program is without the library, and A is silent.
    Native,
    /// A is asked, and nobody answers.
    Probing,
    /// U answered, and is silent.
    Connecting,
}

struct Case {
    /// Handlers: of SIGUSR1 with SA_RESTART, of SIGUSR2 without.
    handlers: &'static str,
    signals: &'static [Signal],
    connect: &'static str,
    result: &'static str,
}

const CASES: [Case; 6] = [
    Case {
        handlers: "handlers interrupt=1",
        signals: &[Signal::USR2],
        connect: "blocking",
        result: "EINTR",
    },
    Case {
        handlers: "handlers restart=1",
        signals: &[Signal::USR1],
        connect: "blocking",
        result: "OK",
    },
    Case {
        handlers: "handlers restart=1 interrupt=1",
        signals: &[Signal::USR1],
        connect: "blocking",
        result: "OK",
    },
    Case {
        handlers: "handlers restart=1 interrupt=1",
        signals: &[Signal::USR1, Signal::USR2],
        connect: "blocking",
        result: "EINTR",
    },
    // A call with a time limit is never restarted (signal(7)).
    Case {
        handlers: "handlers restart=1",
        signals: &[Signal::USR1],
        connect: "blocking sndtimeo=100000",
        result: "EINTR",
    },
    Case {
        handlers: "handlers interrupt=1",
        signals: &[Signal::USR2],
        connect: "blocking usertimeo=100000",
        result: "EINTR",
    },
];

const SILENT: &str = "table inet probes\ndelete table inet probes\n\
    table inet probes { chain in {\ntype filter hook input priority 0;\n\
    icmpv6 type echo-request drop\n}\n}\n";

impl Case {
    fn run(&self, site: &Site, phase: Phase) -> Reply {
        let s1 = site.lab.host("s1").unwrap();
        let mut rules = Vec::new();
        match phase {
            Phase::Native => site.block("s1", A, Failure::Silence),
            Phase::Probing => s1.nft(SILENT).unwrap(),
            Phase::Connecting => site.break_u("s1", Failure::Silence),
        }
        // Asking ends of itself only where the signal does not end it.
        let budget = match self.result {
            "OK" => "2s",
            _ => "60s",
        };
        let since = now();
        let mut client = site.program(phase != Phase::Native, &[("AARP_BUDGET", budget)]);
        client.ask(self.handlers);
        client.begin(self.connect);
        let awaited = match phase {
            Phase::Native => Filter::tcp().dst(A).port(PORT).flags("Sa"),
            Phase::Probing => Filter::icmp6(128).dst(A),
            Phase::Connecting => Filter::tcp().dst(U1).port(PORT).flags("Sa"),
        };
        wait_until("the client waits", PATIENCE, || {
            let mut packets = site.s1.packets()?;
            packets.retain(|packet| packet.time >= since);
            Ok(awaited.count(&packets) > 0)
        })
        .unwrap();
        for signal in self.signals {
            client.signal(*signal);
            await_delivery(&client);
        }
        // From now on the connection can be made.
        match phase {
            Phase::Native => rules.push("failure_a"),
            // What is not interrupted comes to an end by itself: A serves.
            _ if self.result == "OK" => {}
            Phase::Probing => rules.push("probes"),
            Phase::Connecting => rules.push("failure_u"),
        }
        for table in rules {
            s1.nft(&format!("delete table inet {table}")).unwrap();
        }
        let reply = client.reply();
        let log = client.end().log;
        let context = format!(
            "{phase:?}, {}, {}: {reply:?}\n{log}",
            self.handlers, self.connect
        );
        assert_eq!(reply.get("result"), self.result, "{context}");
        for (signal, count) in [(Signal::USR1, "restarted"), (Signal::USR2, "interrupted")] {
            let sent = self.signals.contains(&signal);
            assert_eq!(reply.number(count), u64::from(sent), "{context}");
        }
        if self.result == "EINTR" {
            assert_eq!(reply.get("later"), "OK", "{context}");
        }
        assert_eq!(reply.get("said"), "s1", "{context}");
        assert_eq!(reply.get("peer"), A.to_string(), "{context}");
        assert_eq!(reply.number("nonblock"), 0, "{context}");
        for option in ["sndtimeo", "usertimeo"] {
            let set = self.connect.contains(option);
            let expected = if set { 100_000 } else { 0 };
            assert_eq!(reply.number(option), expected, "{context}");
        }
        // Interrupted while A is asked, a program is on its way to A; interrupted
        // on its way to U, it still is.
        let seen = site.seen(since);
        let server = match (phase, self.result) {
            (Phase::Connecting, "EINTR") => U1,
            _ => A,
        };
        assert_eq!(seen.served("s1", server).len(), 1, "{context}");
        reply
    }
}

/// Waits until no signal is pending any more: its handler has run, or begun to.
fn await_delivery(client: &Client) {
    let path = format!("/proc/{}/status", client.pid());
    wait_until("the signal is delivered", PATIENCE, || {
        let status = std::fs::read_to_string(&path).expect("the client runs");
        let mut pending = status
            .lines()
            .filter(|line| line.starts_with("SigPnd:") || line.starts_with("ShdPnd:"));
        Ok(pending.all(|line| line.ends_with("0000000000000000")))
    })
    .unwrap();
}

fn all(phase: Phase) {
    if !has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        // So far away that what is begun is not done at once.
        let site = Site::new(Variant {
            delay: Duration::from_millis(40),
            ..Variant::default()
        });
        for case in &CASES {
            case.run(&site, phase);
        }
    });
}

#[test]
fn without_the_library() {
    all(Phase::Native);
}

#[test]
fn while_a_is_asked() {
    all(Phase::Probing);
}

#[test]
fn on_the_way_to_u() {
    all(Phase::Connecting);
}
