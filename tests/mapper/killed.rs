//! A daemon that dies: whoever uses its table, or waits for its answer, goes on.

use std::thread;
use std::time::Duration;

use aarp_lab::Signal;

use crate::daemon::{BUDGET, Served, age, kill, with_daemon};
use crate::silent::Client;
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
#[ignore = "long: in tests/run.sh --full"]
fn a_stopped_daemon_holds_nobody_for_long() {
    let more = "[[prefix]]\nprefix = \"2001:db8:a::53/128\"\nbudget = \"500ms\"\n";
    with_daemon(Variant::default(), more, |served| {
        let mut daemon = served.start();
        let since = now();
        daemon.signal(Signal::STOP).expect("aarpd runs");
        // A moment ago.
        age(served, Duration::ZERO);
        let (by, counters) = served.curl();
        assert_eq!(by, "s1");
        assert_eq!(counters.get("bypass.budget"), 1, "{}", counters.log);
        daemon.signal(Signal::CONT).expect("aarpd runs");
        // What it was asked then, and by nobody since, is known to who comes later.
        let probes = || served.site.seen(since).probes();
        aarp_lab::wait_until("A is asked", PATIENCE, || Ok(probes() == 1))
            .expect("the daemon goes on");
        aarp_lab::wait_until("the late answer", PATIENCE, || {
            Ok(served.curl().1.get("hits") == 1)
        })
        .expect("it is in the table");
        assert_eq!(probes(), 1);
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
    with_daemon(Variant::default(), "", |served| deaths(served, 6));
}

/// Moments of less than 66 ms, spread; the variable `AARP_SEED` repeats them.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let seed = match std::env::var("AARP_SEED") {
            Ok(seed) => seed.parse().expect("AARP_SEED is a number"),
            Err(_) => now().as_nanos() as u64,
        };
        println!("AARP_SEED={seed}");
        Self(seed)
    }

    fn next(&mut self) -> Duration {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        Duration::from_micros(self.0 >> 48)
    }
}

/// While it begins, and once it serves.
fn deaths(served: &Served, count: u32) {
    let end = served.site.lab.work().join("end");
    let script = format!(
        "while [ ! -e '{}' ]; do \
         curl -sS -w '%{{stderr}}took %{{time_total}}\\n' 'http://[{A}]:{PORT}/who' || exit 1; done",
        end.display()
    );
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let command = served.command("bash").args(["-c", &script]);
            command.spawn().expect("bash starts")
        })
        .collect();
    let mut lasting = Client::start(served, &[]);
    let mut moments = Moments::new();
    for turn in 0..count {
        let mut daemon = if turn % 2 == 0 {
            served.spawn()
        } else {
            served.start()
        };
        // The moment of its death is what is tried.
        thread::sleep(moments.next());
        kill(&mut daemon);
        assert_eq!(lasting.connect(), "s1");
    }
    // A last one, which is used again.
    let mut daemon = served.start();
    let (_, counters) = served.curl();
    let known = counters.get("hits") + counters.get("told");
    assert_eq!(known, 1, "{}", counters.log);
    assert_eq!(lasting.connect(), "s1");
    std::fs::write(&end, "").expect("a writable folder");
    let mut served_by = 0;
    let mut longest = 0.0f64;
    for client in clients {
        let status = client.wait(PATIENCE).expect("bash ends");
        let log = client.stderr().expect("its standard error");
        assert!(status.success(), "{status}: {log}");
        let text = client.stdout().expect("its standard output");
        assert!(text.lines().all(|line| line == "s1"), "{text}");
        let programs = text.lines().count();
        served_by += programs;
        // Every one of them was moved to U, by whomever.
        let pinned = log.matches(": pinned=1 ").count();
        assert_eq!(pinned, programs, "{log}");
        let took = log.lines().filter_map(|line| line.strip_prefix("took "));
        let took: Vec<f64> = took.map(|time| time.parse().expect("seconds")).collect();
        assert_eq!(took.len(), programs, "{log}");
        longest = took.into_iter().fold(longest, f64::max);
    }
    println!("{served_by} programs, the longest {longest} s, {count} deaths");
    assert!(served_by > 0);
    // Nobody has waited for one who is dead: that would be half the budget.
    assert!(longest < BUDGET.as_secs_f64() / 2.0, "{longest} s");
    let counters = lasting.end();
    let turns = u64::from(count) + 1;
    let seen = ["pinned", "calls"].map(|name| counters.get(name));
    assert_eq!(seen, [turns, turns], "{}", counters.log);
    kill(&mut daemon);
}
