//! The library as an object, and in contexts of their own: calls by all of their names,
//! threads that are cancelled or have little room, filters of system calls. Programs in
//! C write down what each call did, natively and under the library, and the transcripts
//! are the same; meanwhile the connections go to U. Those of which no transcripts are
//! compared here are for valgrind (memcheck.rs): tests/differential has their cases.
#![allow(unreachable_pub)]

mod library;
mod memcheck;
#[path = "../availability/site.rs"]
#[allow(dead_code)]
mod site;
#[path = "../availability/stage.rs"]
mod stage;
mod threads;

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_lab::{Filter, Process, rootless};
use site::{A, Counters, Seen, Site, U1, Variant, now};

/// The programs that these tests start.
const NEEDED: [&str; 4] = ["cc", "nft", "nginx", "ip"];

/// What every program here begins with.
const TRANSCRIPT: &str = include_str!("transcript.h");

/// A site on which port 81 of A and U is silent.
fn silent_site() -> Site {
    let site = Site::new(Variant::default());
    let rules = format!(
        "table inet silent {{ chain in {{\ntype filter hook input priority 0;\n\
         ip6 daddr {{ {A}, {U1} }} tcp dport 81 drop\n}}\n}}\n"
    );
    site.lab.host("s1").unwrap().nft(&rules).unwrap();
    site
}

/// How a program went.
struct Run {
    transcript: String,
    counters: Counters,
    seen: Seen,
}

/// Compiles a program and runs it in the client's host, under the library or not.
fn run(site: &Site, source: &str, library: bool) -> Run {
    run_by(site, source, library, &[])
}

/// The same by a command that the program's path is added to.
fn run_by(site: &Site, source: &str, library: bool, through: &[&str]) -> Run {
    let source = source.replacen("#include \"transcript.h\"", TRANSCRIPT, 1);
    let program = site
        .lab
        .work()
        .join(if library { "ours" } else { "native" });
    stage::compile(
        &source,
        &program,
        &["-Wno-unused", "-Wno-nonnull", "-pthread"],
    );
    let path = program.to_str().expect("a path of ours");
    let words: Vec<&str> = through.iter().copied().chain([path]).collect();
    let client = site.lab.host("client").unwrap();
    let mut command = client.command(words[0]).args(&words[1..]);
    if library {
        command = command
            .env("LD_PRELOAD", stage::library())
            .env("AARP_CONFIG", "/dev/null")
            .env("AARP_PREFIXES", format!("{A}/128"))
            .env("AARP_BUDGET", "10s")
            .env("AARP_BUDGET_NONBLOCKING", "10s")
            .env("AARP_STATS", "1")
            .env("AARP_LOG", "debug");
    }
    let since = now();
    let output = command
        .arg(A.to_string())
        .limit(Duration::from_secs(600))
        .output()
        .unwrap();
    let transcript = String::from_utf8_lossy(&output.stdout).into_owned();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "library {library}: {}: {log}\n{transcript}",
        output.status
    );
    Run {
        transcript,
        counters: Counters::parse(&log),
        seen: site.seen(since),
    }
}

/// The first lines in which two transcripts differ.
fn assert_same(native: &str, ours: &str) {
    let differing: Vec<_> = native
        .lines()
        .zip(ours.lines())
        .enumerate()
        .filter(|(_, (native, ours))| native != ours)
        .take(20)
        .map(|(number, (native, ours))| {
            format!("line {number}:\n  native: {native}\n  ours:   {ours}")
        })
        .collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    assert_eq!(native.lines().count(), ours.lines().count());
}

/// The port of a service that answers each datagram, and of one that never does.
const ECHO: [u16; 2] = [7000, 7001];

/// Starts the service that answers datagrams.
fn echo(site: &Site) -> Process {
    let program = site.lab.work().join("echo");
    stage::compile(include_str!("echo.c"), &program, &[]);
    let s1 = site.lab.host("s1").unwrap();
    let ports = ECHO.map(|port| port.to_string());
    let echo = s1.command(&program).args(ports).spawn().unwrap();
    for port in ECHO {
        s1.wait_udp(port, site::PATIENCE).unwrap();
    }
    echo
}

/// How many datagrams have gone to an address of that service.
fn echoed(run: &Run, address: Ipv6Addr) -> usize {
    let sent = Filter::udp().dst(address).port(ECHO[0]);
    sent.count(&run.seen.s1)
}

/// Whatever name a call is made by, it goes to U.
#[test]
fn other_names_and_system_calls() {
    if !stage::has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        let site = silent_site();
        let _echo = echo(&site);
        let source = include_str!("ways.c");
        let native = run(&site, source, false);
        let ours = run(&site, source, true);

        assert_same(&native.transcript, &ours.transcript);
        let bodies = native.transcript.matches("  body s1\n").count();
        assert_eq!(bodies, 3, "{}", native.transcript);
        let log = &ours.counters.log;
        // Three connections of three ways: one served, and two that U refuses, as A does.
        assert_eq!(ours.seen.served("s1", U1).len(), 3, "{log}");
        assert!(ours.seen.served("s1", A).is_empty(), "{log}");
        assert_eq!((echoed(&native, U1), echoed(&native, A)), (0, 18));
        assert_eq!((echoed(&ours, U1), echoed(&ours, A)), (18, 0), "{log}");
    });
}

/// Runs a program both ways and compares; at least `lines` lines, and at least
/// `pins` connections to U.
fn same(source: &str, lines: usize, pins: usize) {
    if !stage::has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        let site = silent_site();
        let native = run(&site, source, false);
        let ours = run(&site, source, true);

        assert_same(&native.transcript, &ours.transcript);
        assert!(native.transcript.lines().count() >= lines);
        assert!(native.seen.tried("s1", U1).is_empty());
        let tried = ours.seen.tried("s1", U1).len();
        assert!(tried >= pins, "{tried}: {}", ours.counters.log);
    });
}
