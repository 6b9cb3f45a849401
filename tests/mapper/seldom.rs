//! Programs that ask a daemon where few do: on little stack, while they fork, behind a
//! filter; and those that have times of their own.

use std::fs;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use aarp_lab::{Command, Signal};
use aarp_sys::clock::boottime;

use crate::changing::{default_places, start_own};
use crate::daemon::{Served, age, kill, live, with_daemon};
use crate::silent::Client;
use crate::site::{A, Counters, Failure, PATIENCE, PORT, Variant, now};
use crate::stage::{compile, python};
use crate::strangers::listen;

/// Runs a way of tests/mapper/asking.c to its end.
fn asking(served: &Served, way: &str) -> Counters {
    asking_with(served, way, |command| command)
}

/// The same with more for the command.
fn asking_with<'s>(
    served: &'s Served,
    way: &str,
    more: impl FnOnce(Command<'s>) -> Command<'s>,
) -> Counters {
    let program = served.site.lab.work().join("asking");
    if !program.exists() {
        compile(
            include_str!("asking.c"),
            &program,
            &["-pthread", "-rdynamic"],
        );
    }
    let command = served.command(program.to_str().expect("UTF-8"));
    let command = command.args([&A.to_string(), &PORT.to_string(), way]);
    let output = more(command).output().expect("it runs");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{way}: {}: {log}", output.status);
    Counters::parse(&log)
}

#[test]
fn who_asks_has_little_stack_or_a_filter() {
    with_daemon(Variant::default(), "", |served| {
        let _daemon = served.start();
        // It lives, and nobody was asked: what comes after it is.
        asking(served, "filtered");
        for (name, other) in [("told", "hits"), ("hits", "told")] {
            let counters = asking(served, "little");
            let seen = ["pinned", name, other].map(|name| counters.get(name));
            assert_eq!(seen, [1, 1, 0], "{}", counters.log);
        }
        // There the table is not even looked for.
        let counters = asking(served, "handler");
        let seen = ["bypass.reentrant", "hits", "told"].map(|name| counters.get(name));
        assert_eq!(seen, [1, 0, 0], "{}", counters.log);
    });
}

/// What its parent has read is of another network.
#[test]
fn a_child_in_another_network_reads_no_table_of_its_parent_s() {
    with_daemon(Variant::default(), "", |served| {
        let _daemon = served.start();
        assert_eq!(served.curl().1.get("told"), 1);
        let counters = asking(served, "elsewhere");
        let seen = ["calls", "bypass.no-answer", "bypass.refuted"].map(|name| counters.get(name));
        assert_eq!(seen, [1, 1, 0], "{}", counters.log);
    });
}

/// Where the user's own daemon is stands in the environment, which another thread of the
/// program may be changing while this one is in connect() or close().
#[test]
fn the_environment_is_looked_at_once() {
    with_daemon(Variant::default(), "", |served| {
        let runtime = served.site.lab.work().join("runtime");
        let mut own = start_own(served, &runtime);
        let counters = asking_with(served, "environment", |command| {
            let command = command.env("AARP_CONFIG", default_places(served));
            command.env("XDG_RUNTIME_DIR", &runtime)
        });
        let seen = ["pinned", "told", "probes"].map(|name| counters.get(name));
        assert_eq!(seen, [4, 1, 0], "{}", counters.log);
        kill(&mut own);
        // Nobody is there any more: both places are looked at, and the network is asked.
        std::fs::remove_dir_all(&runtime).expect("its folder");
        let counters = asking_with(served, "environment", |command| {
            let command = command.env("AARP_CONFIG", default_places(served));
            command.env("XDG_RUNTIME_DIR", &runtime)
        });
        let seen = ["pinned", "told"].map(|name| counters.get(name));
        assert_eq!(seen, [4, 0], "{}", counters.log);
    });
}

/// The daemon is stopped: the thread waits, for long enough to be forked beside.
#[test]
fn a_child_has_nothing_of_a_question_to_the_daemon() {
    let more = "[[prefix]]\nprefix = \"2001:db8:a::/48\"\nbudget = \"1s\"\n";
    with_daemon(Variant::default(), more, |served| {
        let mut daemon = served.start();
        daemon.signal(Signal::STOP).expect("aarpd runs");
        asking(served, "forked");
        kill(&mut daemon);
    });
}

/// What the daemon lets hold for a minute, a program may want to be newer: it asks, and
/// the daemon asks A again.
#[test]
fn a_program_with_a_shorter_ttl_asks_anew() {
    with_daemon(Variant::default(), "", |served| {
        let _daemon = served.start();
        assert_eq!(served.curl().1.get("told"), 1);
        let since = now();
        let short = || served.fetched(served.command("curl").env("AARP_TTL", "1s").arg("-sS"));
        aarp_lab::wait_until("the mapping is a second old", PATIENCE, || {
            let (by, counters) = short();
            assert_eq!(
                (by.as_str(), counters.get("pinned")),
                ("s1", 1),
                "{}",
                counters.log
            );
            Ok(counters.get("told") == 1)
        })
        .expect("it is");
        assert!(served.site.seen(since).probes() >= 1);
        // For the others it is a hit all the time.
        assert_eq!(served.curl().1.get("hits"), 1);
    });
}

/// Once A has been asked again, a U that has failed is not asked about at each call,
/// whatever the daemon's times are.
#[test]
fn a_u_that_has_failed_is_asked_about_once() {
    with_daemon(Variant::default(), "", |served| {
        let _daemon = served.start();
        served.site.break_u("s1", Failure::Reset);
        let mut client = Client::start(served, &[("AARP_TTL", "1h")]);
        for _ in 0..4 {
            assert_eq!(client.connect(), "s1");
        }
        let counters = client.end();
        let seen = ["told", "probes", "refuted"].map(|name| counters.get(name));
        assert_eq!(seen, [2, 0, 1], "{}", counters.log);
    });
}

/// What it costs a program to tell that it uses a mapping: USED, which nobody answers.
const USED: [&str; 13] = [
    "sigaltstack",
    "getresuid",
    "rt_sigprocmask",
    // A socket, and its place among the highest numbers.
    "getpid",
    "socket",
    "getpid",
    "fcntl",
    "close",
    "connect",
    "getsockopt",
    "sendto",
    "close",
    "rt_sigprocmask",
];

/// A mapping that will soon end is used again and again: the daemon is told once, and once
/// more when it holds anew.
#[test]
fn use_is_told_once() {
    if !crate::stage::has(&["strace"]) {
        return;
    }
    with_daemon(Variant::default(), "", |served| {
        let mut daemon = served.start();
        // Its own time is longer than any that the table will tell of.
        let calls = served.site.lab.work().join("calls");
        let strace = served.command("strace").args(["-f", "-qq", "-o"]);
        let strace = strace.arg(&calls).arg(python());
        let mut client = Client::start_by(strace, &[("AARP_TTL", "10h")]);
        assert_eq!(client.connect(), "s1");
        kill(&mut daemon);
        let stranger = listen(served, "nothing", 0);
        // Somebody goes on writing that table, however long this takes.
        age(served, Duration::ZERO);
        let table = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(served.table());
        let table = table.expect("a table");
        let mut octets = Vec::new();
        std::io::Read::read_to_end(&mut &table, &mut octets).expect("it is read");
        let mut slots = octets[4096..].chunks(64);
        let slot = slots.position(|slot| slot[8..24] == A.octets());
        let slot = 4096 + 64 * slot.expect("the mapping") as u64;
        let write = |at: u64, value: u64| {
            let written = table.write_all_at(&value.to_le_bytes(), at);
            written.expect("it is written");
        };
        let hour = Duration::from_secs(3600);
        let heard = || {
            stranger
                .stdout()
                .expect("what it says")
                .matches("asked")
                .count()
        };
        for turn in 1..=2 {
            // It holds for an hour from now on, and has been due for as long.
            live(served, boottime() + hour);
            write(slot + 56, 3_600_000 << 32);
            write(
                slot + 40,
                (boottime() + hour).as_nanos() as u64 - 1_000_000_000,
            );
            for _ in 0..5 {
                assert_eq!(client.connect(), "s1");
            }
            // Nobody answers: it may hear of it later than the client is served.
            aarp_lab::wait_until("it hears", PATIENCE, || Ok(heard() >= turn)).expect("it does");
            assert_eq!(heard(), turn);
        }
        let counters = client.end();
        assert_eq!(counters.get("hits"), 10, "{}", counters.log);
        let calls = fs::read_to_string(calls).expect("what strace has written");
        let name = |line: &str| {
            let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
            call.split('(').next().unwrap_or("").to_owned()
        };
        let names: Vec<_> = calls.lines().map(name).collect();
        let dials = calls.lines().enumerate();
        let dials = dials.filter(|(_, line)| line.contains("aarpd.sock"));
        let (last, _) = dials.last().expect("it was told");
        let begin = last - 8;
        assert_eq!(names[begin..begin + USED.len()], USED, "{calls}");
        drop(stranger);
    });
}
