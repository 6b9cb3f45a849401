//! How often the daemon is asked whose a socket is, and told of one, and for how long it is
//! waited for.

use std::fs;
use std::time::Duration;

use aarp_lab::Signal;

use crate::daemon::{Served, age, with_daemon};
use crate::handed::told;
use crate::site::{A, PORT, U1, Variant};
use crate::stage::{compile, has, python};

/// What a daemon has heard that knows of no socket.
#[derive(Debug)]
struct Heard {
    /// How often it was asked whose one is.
    asked: u64,
    /// How many it was told of.
    told: u64,
    /// How often it was asked about an address.
    questions: u64,
    /// For how long the program has run, at the most.
    time: Duration,
}

impl Heard {
    /// Whether so many are no more than `most` in each `window`, of which each may have begun
    /// at any time.
    fn is_within(number: u64, most: u64, time: Duration, window: Duration) -> bool {
        number <= most * (1 + (time.as_millis() / window.as_millis()) as u64)
    }
}

fn program(served: &Served) -> String {
    let program = served.site.lab.work().join("asks");
    compile(include_str!("asks.c"), &program, &[]);
    program.to_str().expect("a path of ours").to_owned()
}

/// Runs a program beside a daemon that takes `delay` for each answer, with so many sockets
/// that nobody has told of.
fn hear(served: &Served, delay: u64, sockets: usize, words: &[&str]) -> Heard {
    hear_within(served, "200ms", delay, sockets, words)
}

/// Beside one that answers at once, but refuses so many for now first.
fn hear_refusing(served: &Served, refuses: u64, sockets: usize, words: &[&str]) -> Heard {
    let refuses = refuses.to_string();
    hear_with(
        served,
        &[("AARP_BUDGET", "200ms"), ("REFUSES", &refuses)],
        0,
        sockets,
        words,
    )
}

/// The same with another budget.
fn hear_within(served: &Served, budget: &str, delay: u64, sockets: usize, words: &[&str]) -> Heard {
    hear_with(served, &[("AARP_BUDGET", budget)], delay, sockets, words)
}

fn hear_with(
    served: &Served,
    variables: &[(&str, &str)],
    delay: u64,
    sockets: usize,
    words: &[&str],
) -> Heard {
    let work = served.site.lab.work();
    let script = work.join("hearing.py");
    fs::write(&script, include_str!("hearing.py")).expect("a writable folder");
    let socket = served.table().with_file_name("aarpd.sock");
    let command = served.command(python()).envs(variables.iter().copied());
    let command = command.arg(&script).arg(&socket).arg(delay.to_string());
    let command = command.args([U1.to_string(), PORT.to_string(), sockets.to_string()]);
    let text = told(&command.args(words).output().expect("python runs"));
    let numbers: Vec<u64> = text
        .split_whitespace()
        .map(|word| word.parse().expect("a number"))
        .collect();
    let [asked, told, questions, time] = numbers[..] else {
        panic!("{text}");
    };
    Heard {
        asked,
        told,
        questions,
        // What is less than a millisecond.
        time: Duration::from_millis(time + 1),
    }
}

/// Sees a number once in ten times at the least: where a slow machine is late with an answer
/// another comes of it, and a library that is wrong is so each time.
fn sees(expected: u64, mut number: impl FnMut() -> u64) {
    let mut seen = Vec::new();
    while seen.len() < 10 && seen.last() != Some(&expected) {
        seen.push(number());
    }
    assert_eq!(seen.last(), Some(&expected), "{seen:?}");
}

/// A thread is held for one budget a second, and no longer, by whatever it asks a daemon
/// that takes its time: 30 ms each time, of 200 ms.
#[test]
fn a_slow_daemon_holds_a_thread_no_longer_than_a_budget() {
    with_daemon(Variant::default(), "", |served| {
        let program = program(served);
        let second = Duration::from_secs(1);
        let heard = hear(served, 30, 15, &[&program, "peers"]);
        assert!(heard.asked >= 1, "{heard:?}");
        assert!(
            Heard::is_within(heard.asked, 7, heard.time, second),
            "{heard:?}"
        );
        let (a, port) = (A.to_string(), PORT.to_string());
        let heard = hear(served, 30, 0, &[&program, "spawn", &a, &port, "15"]);
        assert!(heard.told >= 1, "{heard:?}");
        assert!(
            Heard::is_within(heard.told, 7, heard.time, second),
            "{heard:?}"
        );
    });
}

/// What a thread has not been told in the little time that was left to it, or to its socket,
/// says nothing of the daemon: others go on to ask.
#[test]
fn who_has_had_little_time_keeps_nobody_from_asking() {
    with_daemon(Variant::default(), "ttl = \"1us\"\n", |served| {
        let program = program(served);
        let (a, port) = (A.to_string(), PORT.to_string());
        // Less than a socket's fifty, of a daemon that is never in time; unless a slow
        // machine has left the first none at all.
        let words = [&program, "hurried", &a, &port];
        sees(2, || hear(served, 60_000, 2, &words).asked);
        let words = [&program, "reach", &a, &port];
        let heard = hear_within(served, "1s", 60_000, 0, &words);
        assert_eq!(heard.questions, 2, "{heard:?}");
    });
}

/// Who had a whole budget has had time enough, where that is less than such a question has
/// at the most.
#[test]
fn a_small_budget_is_time_enough() {
    with_daemon(Variant::default(), "", |served| {
        let words = [&program(served)[..], "threads"];
        let heard = hear_within(served, "40ms", 60_000, 3, &words);
        assert_eq!(heard.asked, 1, "{heard:?}");
    });
}

/// Who had time enough does, from asking about sockets for a while: not about addresses.
#[test]
fn a_daemon_that_is_late_is_asked_about_no_more_sockets() {
    with_daemon(Variant::default(), "", |served| {
        let program = program(served);
        let (a, port) = (A.to_string(), PORT.to_string());
        let words = [&program, "late", &a, &port];
        let heard = hear(served, 60_000, 3, &words);
        assert_eq!((heard.asked, heard.questions), (1, 1), "{heard:?}");
    });
}

/// A program that is handed sockets of which nobody has said anything stops asking for a
/// while.
#[test]
fn who_hears_of_nothing_asks_less() {
    with_daemon(Variant::default(), "", |served| {
        let heard = hear(served, 0, 40, &[&program(served), "peers"]);
        assert!(heard.asked >= 16, "{heard:?}");
        let pause = Duration::from_secs(2);
        assert!(
            Heard::is_within(heard.asked, 16, heard.time, pause),
            "{heard:?}"
        );
    });
}

/// A daemon that refuses to hear of a socket now is told of it by the next exec; and once
/// it has heard of it, no more.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn what_was_refused_is_told_again() {
    with_daemon(Variant::default(), "", |served| {
        let program = program(served);
        let (a, port) = (A.to_string(), PORT.to_string());
        let words = [&program, "again", &a, &port, "1"];
        sees(2, || hear_refusing(served, 1, 0, &words).told);
        sees(1, || hear_refusing(served, 0, 0, &words).told);
    });
}

/// What the daemon did not say at once it is asked later, and so is what was looked at while
/// it was left alone for that: each until it has said something.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn what_was_not_answered_is_asked_later() {
    with_daemon(Variant::default(), "", |served| {
        let program = program(served);
        // Refused the first, which keeps the second from being asked about.
        let words = [&program[..], "until"];
        sees(3, || hear_refusing(served, 1, 2, &words).asked);
        // Late both times, with all the time that there is.
        sees(2, || hear(served, 60_000, 2, &words).asked);
    });
}

/// It asks about those later.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn what_was_not_asked_is_asked_later() {
    with_daemon(Variant::default(), "", |served| {
        let program = program(served);
        sees(17, || hear(served, 0, 17, &[&program, "later"]).asked);
    });
}

/// What a vfork child closes is its own: its parent has been answered already. What a
/// program closes itself is another socket the next time.
#[test]
fn a_vfork_child_closes_numbers_of_its_own() {
    with_daemon(Variant::default(), "", |served| {
        let program = program(served);
        sees(3, || hear(served, 0, 3, &[&program, "child"]).asked);
        sees(6, || hear(served, 0, 3, &[&program, "itself"]).asked);
        // What it puts there says nothing of its parent's.
        sees(2, || hear(served, 0, 2, &[&program, "taken"]).asked);
        // Nor of one that was asked about, and is another socket the next time.
        sees(4, || hear(served, 0, 2, &[&program, "retaken"]).asked);
    });
}

/// The calls of these names that strace has seen of the program.
fn traced(served: &Served, names: &str, words: &[&str]) -> Vec<String> {
    let file = served.site.lab.work().join("calls");
    let command = served.command("strace").args(["-f", "-qq", "-e"]);
    let command = command.arg(format!("trace={names}")).arg("-o").arg(&file);
    told(&command.args(words).output().expect("strace runs"));
    let calls = fs::read_to_string(file).expect("what strace has written");
    calls.lines().map(str::to_owned).collect()
}

/// A program under a filter of its own asks nobody, and makes no call but its own.
#[test]
fn a_program_under_a_filter_makes_its_own_call_alone() {
    if !has(&["strace"]) {
        return;
    }
    with_daemon(Variant::default(), "", |served| {
        let program = program(served);
        let file = served.site.lab.work().join("calls");
        let file = file.to_str().expect("a path of ours");
        let strace = ["strace", "-qq", "-e", "trace=getpeername", "-o", file];
        let words = [&strace[..], &[&program, "barred"]].concat();
        let heard = hear(served, 0, 3, &words);
        assert_eq!(heard.asked, 0);
        let calls = fs::read_to_string(file).expect("what strace has written");
        let calls = calls.matches("getpeername(").count();
        assert_eq!(calls, 3);
    });
}

/// A program with many connections that becomes another looks at so many of them at the
/// most, and at none where its table says that nobody would hear of them.
#[test]
fn who_has_many_connections_looks_at_some() {
    if !has(&["strace"]) {
        return;
    }
    with_daemon(Variant::default(), "", |served| {
        let program = program(served);
        let looked_at = || {
            let (a, port) = (A.to_string(), PORT.to_string());
            let words = [&program, "exec", &a, &port, "1100"];
            let calls = traced(served, "fcntl,connect", &words);
            let of = |name: &str| calls.iter().filter(|call| call.contains(name)).count();
            // Of what is not pinned there is nothing to tell.
            assert_eq!(of(&format!("\"{U1}\"")), 1100);
            of("F_GETFD")
        };
        let daemon = served.start();
        assert_eq!(looked_at(), 1024);
        daemon.signal(Signal::STOP).expect("it runs");
        age(served, Duration::from_secs(13));
        assert_eq!(looked_at(), 0);
        daemon.signal(Signal::CONT).expect("it runs");
    });
}

/// What it costs to tell of a connection (docs/adr/0005): which signals have handlers is
/// looked up by nobody, for that alone would be most of it.
#[test]
fn what_telling_costs() {
    if !has(&["strace"]) {
        return;
    }
    with_daemon(Variant::default(), "", |served| {
        let _daemon = served.start();
        let (a, port, u1) = (A.to_string(), PORT.to_string(), U1.to_string());
        let text = "import os, socket, sys\n\
            one = socket.create_connection(sys.argv[1:3])\n\
            one.set_inheritable(True)\n\
            os.execv('/bin/true', ['true'])";
        let calls = traced(served, "all", &[python(), "-c", text, &a, &port]);
        let connected = |call: &String| call.contains("connect(") && call.contains(&u1);
        let connected = calls
            .iter()
            .rposition(connected)
            .expect("a connection to U");
        let telling = &calls[connected + 1..];
        let executed = |call: &String| call.contains("execve(");
        let executed = telling.iter().position(executed).expect("another program");
        let telling = telling[..executed].join("\n");
        assert!(!telling.contains("rt_sigaction"), "{telling}");
        assert!(telling.contains("sendto("), "{telling}");
        // 18 and python's own two, and three more each time that it waits.
        let waits = 3 * telling.matches("ppoll(").count();
        assert!(executed <= 20 + waits, "{executed} calls:\n{telling}");
    });
}
