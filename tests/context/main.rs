//! In any context: while threads fork, in handlers of signals, in threads that are
//! cancelled, before main and after it, on little stack, beside other libraries, and
//! where the program has given up what it had.
#![allow(unreachable_pub)]

mod beside;
#[path = "../common/mod.rs"]
#[allow(dead_code)]
mod common;
mod flight;
mod given_up;
mod limits;
mod memory;
mod numbers;
mod pins;
mod secure;
mod seldom;
#[path = "../availability/site.rs"]
#[allow(dead_code)]
mod site;
mod spawn;
mod stack;
#[path = "../availability/stage.rs"]
mod stage;
mod steps;
mod storms;
mod unprotected;

use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use aarp_lab::{Command, Process, rootless};
use site::{A, Counters, PATIENCE, Reply, Site, Variant};

/// The programs that these tests start.
const NEEDED: [&str; 4] = ["cc", "nft", "nginx", "ip"];

/// The port of a datagram service that answers, and of one that never does; from
/// `SILENT` on a thousand ports do not answer to a SYN. As in storm.h.
const ECHO: u16 = 7000;
const MUTE: u16 = 7001;
const SILENT: u16 = 20_000;

/// A host that is its own responder (`include_local`): no network is in the way of a
/// storm. Of the network of A, `2001:db8:a:1::/64` answers for itself, and who is in
/// `2001:db8:a:2::/64` nobody says.
struct Place {
    site: Site,
    _echo: Process,
}

impl Place {
    fn new() -> Self {
        let site = Site::new(Variant::default());
        let host = site.lab.host("s1").unwrap();
        for network in 1..=2 {
            let words = format!("-6 route add local 2001:db8:a:{network}::/64 dev lo");
            host.ip(&words).unwrap();
        }
        host.nft(&format!(
            "table inet storm {{ chain in {{\ntype filter hook input priority 0;\n\
             tcp dport {SILENT}-{} drop\n\
             ip6 daddr 2001:db8:a:2::/64 icmpv6 type echo-request drop\n}}\n}}\n",
            SILENT + 999
        ))
        .unwrap();
        let program = site.lab.work().join("echo");
        stage::compile(include_str!("../hooks/echo.c"), &program, &[]);
        let ports = [ECHO, MUTE].map(|port| port.to_string());
        let echo = host.command(&program).args(ports).spawn().unwrap();
        for port in [ECHO, MUTE] {
            host.wait_udp(port, PATIENCE).unwrap();
        }
        Self { site, _echo: echo }
    }

    /// Compiles a program, or with `-shared` a library.
    fn compile(&self, name: &str, source: &str, more: &[&str]) -> PathBuf {
        let output = self.site.lab.work().join(name);
        let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
        let folders = ["context", "hooks"].map(|name| format!("-I{}", tests.join(name).display()));
        let mut flags = vec![folders[0].as_str(), &folders[1], "-Wno-unused", "-pthread"];
        flags.extend(more);
        stage::compile(source, &output, &flags);
        output
    }

    /// A command on the host, as it is.
    fn native(&self, program: &Path) -> Command<'_> {
        let host = self.site.lab.host("s1").unwrap();
        host.command(program).limit(Duration::from_secs(300))
    }

    /// The same with libraries preloaded, of which one is ours.
    fn preloaded(&self, program: &Path, libraries: &[&Path]) -> Command<'_> {
        let names: Vec<_> = libraries
            .iter()
            .map(|path| path.to_string_lossy())
            .collect();
        self.native(program)
            .env("LD_PRELOAD", names.join(":"))
            .env("AARP_CONFIG", "/dev/null")
            .env("AARP_PREFIXES", "2001:db8:a::/48")
            .env("AARP_INCLUDE_LOCAL", "1")
            .env("AARP_BUDGET", "10s")
            .env("AARP_BUDGET_NONBLOCKING", "10s")
            .env("AARP_STATS", "1")
    }

    fn under_library(&self, program: &Path) -> Command<'_> {
        self.preloaded(program, &[&stage::library()])
    }
}

/// Runs a test that needs such a host.
fn with_place(body: impl FnOnce(&Place)) {
    if stage::has(&NEEDED) {
        rootless::test(|| body(&Place::new()));
    }
}

/// What came of a program.
struct Run {
    text: String,
    counters: Counters,
}

impl Run {
    fn of(output: &Output) -> Self {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{}: {log}\n{text}", output.status);
        Self {
            text,
            counters: Counters::parse(&log),
        }
    }

    /// The one line of `key=value` that it has printed.
    fn reply(&self) -> Reply {
        Reply::from(self.text.trim_end())
    }
}

/// Runs a command to its end, which is a good one.
fn finish(command: Command<'_>) -> Run {
    Run::of(&command.output().unwrap())
}
