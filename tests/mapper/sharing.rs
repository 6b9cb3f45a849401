//! One table, one question for all.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use crate::daemon::with_daemon;
use crate::site::{A, PORT, Variant, now};

const PROGRAMS: usize = 100;

/// What the first connect() of a program does at the kernel's beyond what it does
/// natively, where the mapping is in the table; all of it once in a process. A program with
/// another configuration file of the user's opens that too.
const BEYOND_NATIVE: [(&str, usize, &str); 13] = [
    (
        "close",
        3,
        "the configuration, the table, the boot's identity",
    ),
    ("fstat", 2, "whose the configuration is, and the table"),
    (
        "getpid",
        5,
        "who has the memory of the process, and four files open",
    ),
    ("getresuid", 1, "whose table is trusted besides root's"),
    ("gettid", 1, "whether this is a vfork child"),
    ("madvise", 1, "the memory of the process: wiped by fork"),
    (
        "mmap",
        5,
        "the settings, room to read them, the memory, the table of pins, the table",
    ),
    ("munmap", 1, "the room"),
    ("newfstatat", 1, "the network namespace"),
    (
        "openat",
        4,
        "the configuration, the user's, the table, the boot's identity",
    ),
    (
        "read",
        3,
        "the configuration and the boot's identity, to their ends",
    ),
    (
        "rt_sigprocmask",
        3,
        "is the address readable; signals held back while the table is opened",
    ),
    (
        "sigaltstack",
        2,
        "is there stack to read the configuration, and to open the table",
    ),
];

/// A hundred programs that connect to the same A at the same time: one probe. A hundred
/// more: none.
#[test]
fn a_hundred_programs_ask_once() {
    let variant = Variant {
        delay: Duration::from_millis(20),
        ..Variant::default()
    };
    with_daemon(variant, "", |served| {
        let _daemon = served.start();
        let script = format!(
            "for n in $(seq {PROGRAMS}); do curl -sS 'http://[{A}]:{PORT}/who' & done; wait"
        );
        for turn in 0..2 {
            let since = now();
            let output = served.command("bash").args(["-c", &script]).output();
            let output = output.expect("bash runs");
            let log = String::from_utf8_lossy(&output.stderr);
            let text = String::from_utf8_lossy(&output.stdout);
            assert_eq!(text, "s1\n".repeat(PROGRAMS), "{log}");
            let lines = log.lines().filter(|line| line.contains(": pinned=1 "));
            let told = lines
                .clone()
                .filter(|line| line.contains(" told=1"))
                .count();
            assert_eq!(lines.count(), PROGRAMS, "{log}");
            assert!(!log.contains("probes=1"), "{log}");
            // Who finds the mapping in the table asks nobody.
            assert!(if turn == 0 { told > 0 } else { told == 0 }, "{log}");
            let seen = served.site.seen(since);
            assert_eq!(seen.probes(), 1 - turn, "turn {turn}: {log}");
        }
    });
}

/// The table is opened at the first address that may be asked about: no name of another
/// program's business costs a look.
#[test]
fn a_name_of_no_interest_opens_no_table() {
    if !crate::stage::has(&["strace"]) {
        return;
    }
    with_daemon(Variant::default(), "", |served| {
        let _daemon = served.start();
        let table = served.table().display().to_string();
        let config = served.config();
        let library = crate::stage::library();
        let opened = |prefixes: &str| {
            let file = served.site.lab.work().join("lookup");
            let host = served.site.lab.host("client").expect("a host");
            let strace = host.command("strace").args(["-f", "-qq", "-o"]).arg(&file);
            let strace = strace
                .args(["-E", &format!("LD_PRELOAD={}", library.display())])
                .args(["-E", &format!("AARP_CONFIG={}", config.display())])
                .args(["-E", &format!("AARP_PREFIXES={prefixes}")]);
            let output = strace.args(["getent", "ahosts", "www.any.test"]).output();
            let output = output.expect("strace runs");
            assert!(output.status.success(), "{output:?}");
            let calls = fs::read_to_string(file).expect("what strace has written");
            assert!(calls.contains(&config.display().to_string()), "{calls}");
            calls.matches(&table).count()
        };
        assert_eq!(opened("2001:db8:ffff::/48"), 0);
        assert_eq!(opened(&format!("{A}/128")), 1);
    });
}

/// What curl does at the kernel's beyond what it does natively, when the mapping is in the
/// table: it reads the configuration and opens the table, once.
#[test]
fn a_hit_costs_a_handful_of_system_calls() {
    if !crate::stage::has(&["strace"]) {
        return;
    }
    with_daemon(Variant::default(), "", |served| {
        let _daemon = served.start();
        assert_eq!(served.curl().1.get("told"), 1);
        let url = format!("http://[{A}]:{PORT}/who");
        let calls = |library: bool| {
            let file = served.site.lab.work().join(format!("calls-{library}"));
            let host = served.site.lab.host("client").expect("a host");
            let mut command = host.command("strace").args(["-f", "-qq", "-o"]).arg(&file);
            if library {
                let path = crate::stage::library();
                let config = served.config();
                command = command
                    .args(["-E", &format!("LD_PRELOAD={}", path.display())])
                    .args(["-E", &format!("AARP_CONFIG={}", config.display())]);
            }
            let output = command.args(["curl", "-sS", &url]).output();
            let output = output.expect("strace runs");
            assert_eq!(String::from_utf8_lossy(&output.stdout), "s1\n");
            fs::read_to_string(file).expect("what strace has written")
        };
        let (native, ours) = (calls(false), calls(true));
        let table = served.table().display().to_string();
        let opened = ours.lines().filter(|line| line.contains(&table)).count();
        assert_eq!(opened, 1, "{ours}");
        // Nobody is asked: no socket more, and nothing sent on one.
        let of = |text: &str, name: &str| text.matches(&format!(" {name}(")).count();
        for name in [
            "socket", "connect", "sendto", "recvfrom", "sendmsg", "recvmsg",
        ] {
            assert_eq!(of(&ours, name), of(&native, name), "{name}: {ours}");
        }
        // Behind the socket, up to the connection: what is done there natively, and by us.
        let between = |text: &str| -> BTreeMap<String, usize> {
            let begin = text.find("socket(AF_INET6, SOCK_STREAM").expect("a socket");
            let rest = &text[begin..];
            let end = rest.find(" connect(").expect("a connection");
            let mut counts = BTreeMap::new();
            for line in rest[..end].lines().skip(1) {
                let call = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
                let name = call.split('(').next().unwrap_or("").to_owned();
                *counts.entry(name).or_default() += 1;
            }
            counts
        };
        let native = between(&native);
        let more: BTreeMap<String, usize> = between(&ours)
            .into_iter()
            .filter_map(|(name, count)| {
                let more = count.saturating_sub(native.get(&name).copied().unwrap_or(0));
                (more > 0).then_some((name, more))
            })
            .collect();
        println!("beyond native: {more:?}");
        assert_eq!(
            more,
            BEYOND_NATIVE
                .map(|(name, count, _)| (name.to_owned(), count))
                .into()
        );
    });
}
