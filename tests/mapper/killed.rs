//! A daemon that dies: whoever uses its table, or waits for its answer, goes on.

use std::thread;
use std::time::{Duration, Instant};

use aarp_lab::Signal;

use crate::daemon::{Served, kill, with_daemon};
use crate::site::{A, PATIENCE, PORT, Variant, now};

/// The table of a killed daemon serves until it expires, and that of the next one after
/// it; without any, programs ask for themselves.
#[test]
fn programs_go_on_without_their_daemon() {
    with_daemon(Variant::default(), "", |served| {
        let mut daemon = served.start();
        assert_eq!(served.curl().1.get("told"), 1);
        kill(&mut daemon);
        let (by, counters) = served.curl();
        assert_eq!(
            (by.as_str(), counters.get("hits")),
            ("s1", 1),
            "{}",
            counters.log
        );

        // The next takes over what is fresh.
        let since = now();
        let daemon = served.start();
        let (_, counters) = served.curl();
        assert_eq!(counters.get("hits"), 1, "{}", counters.log);
        assert_eq!(served.site.seen(since).probes(), 0);

        // One that ends takes its table along.
        daemon.signal(Signal::TERM).expect("aarpd runs");
        let status = daemon.wait(PATIENCE).expect("it ends");
        assert!(status.success(), "{status}");
        let (by, counters) = served.curl();
        assert_eq!(
            (by.as_str(), counters.get("probes")),
            ("s1", 1),
            "{}",
            counters.log
        );
    });
}

/// A daemon that is stopped says nothing: a program that may wait so long goes to A, and
/// no program waits for longer than it would for the network.
#[test]
fn a_stopped_daemon_holds_nobody_for_long() {
    let more = "[[prefix]]\nprefix = \"2001:db8:a::53/128\"\nbudget = \"500ms\"\n";
    with_daemon(Variant::default(), more, |served| {
        let mut daemon = served.start();
        daemon.signal(Signal::STOP).expect("aarpd runs");
        let (by, counters) = served.curl();
        assert_eq!(by, "s1");
        assert_eq!(counters.get("bypass.budget"), 1, "{}", counters.log);
        daemon.signal(Signal::CONT).expect("aarpd runs");
        // What it was asked then is known to who comes later.
        let mut told = 0;
        aarp_lab::wait_until("the late answer", PATIENCE, || {
            let (_, counters) = served.curl();
            told = counters.get("pinned");
            Ok(told == 1)
        })
        .expect("the daemon goes on");
        kill(&mut daemon);
    });
}

/// The daemon is killed at a hundred moments, while programs connect without a pause.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_hundred_deaths_hurt_no_program() {
    with_daemon(Variant::default(), "", |served| deaths(served, 100));
}

#[test]
fn a_few_deaths_hurt_no_program() {
    with_daemon(Variant::default(), "", |served| deaths(served, 5));
}

fn deaths(served: &Served, count: u32) {
    let end = served.site.lab.work().join("end");
    let script = format!(
        "n=0; while [ ! -e '{}' ]; do curl -sS 'http://[{A}]:{PORT}/who' || exit 1; done",
        end.display()
    );
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let command = served.command("bash").args(["-c", &script]);
            command.spawn().expect("bash starts")
        })
        .collect();
    // Moments that are spread, and the same in every run.
    let mut state = 0x9e37_79b9_u64;
    for _ in 0..count {
        let mut daemon = served.spawn();
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let until = Instant::now() + Duration::from_micros(state >> 40 & 0xffff);
        // The moment of its death is what is tried.
        thread::sleep(until.saturating_duration_since(Instant::now()));
        kill(&mut daemon);
    }
    // A last one, which is used again.
    let mut daemon = served.start();
    let (_, counters) = served.curl();
    let known = counters.get("hits") + counters.get("told");
    assert_eq!(known, 1, "{}", counters.log);
    std::fs::write(&end, "").expect("a writable folder");
    let mut served_by = 0;
    for client in clients {
        let status = client.wait(PATIENCE).expect("bash ends");
        let log = client.stderr().expect("its standard error");
        assert!(status.success(), "{status}: {log}");
        let text = client.stdout().expect("its standard output");
        assert!(text.lines().all(|line| line == "s1"), "{text}");
        served_by += text.lines().count();
        // Every one of them was moved to U, by whomever.
        let pinned = log.matches(": pinned=1 ").count();
        assert_eq!(pinned, text.lines().count(), "{log}");
    }
    println!("{served_by} programs, {count} deaths");
    assert!(served_by > 0);
    kill(&mut daemon);
}
