//! What a program may rely on at the edges: its own time limits, its descriptors, its
//! trust, and that a U is given up for failures of its own only.
#![allow(unreachable_pub)]

mod descriptors;
mod fastopen;
mod limits;
mod refutation;
#[path = "../availability/site.rs"]
#[allow(dead_code)]
mod site;
#[path = "../availability/stage.rs"]
mod stage;
mod trust;

use std::time::Duration;

use aarp_lab::{Command, rootless};
use site::{A, Counters, PATIENCE, Reply, Seen, Site, U1, Variant, now};

/// The programs that these tests start.
const NEEDED: [&str; 4] = ["cc", "nft", "nginx", "ip"];

/// Runs a test that needs a site.
fn with_site(variant: Variant, body: impl FnOnce(&Site)) {
    if stage::has(&NEEDED) {
        rootless::test(|| {
            let site = Site::new(variant);
            let source = include_str!("program.c").replacen(
                "#include \"transcript.h\"",
                include_str!("../hooks/transcript.h"),
                1,
            );
            let flags = ["-Wno-unused", "-pthread"];
            stage::compile(&source, &site.lab.work().join("edges-program"), &flags);
            body(&site);
        });
    }
}

/// How a program went.
struct Run {
    replies: Vec<Reply>,
    counters: Counters,
    seen: Seen,
}

impl Run {
    /// Every connection went to U, and the program is shown A.
    fn assert_pinned(&self) {
        self.assert_peers(&U1.to_string());
    }

    /// Every connection went to A.
    fn assert_unpinned(&self) {
        self.assert_peers(&A.to_string());
        assert!(self.seen.tried("s1", U1).is_empty());
    }

    fn assert_peers(&self, kernel: &str) {
        assert!(!self.replies.is_empty(), "{}", self.counters.log);
        for reply in &self.replies {
            let peers = (reply.get("kernel"), reply.get("peer"));
            assert_eq!(peers, (kernel, &*A.to_string()), "{}", self.counters.log);
        }
    }
}

/// The command in the client's host that does `what`, under the library or not.
fn command<'s>(site: &'s Site, library: bool, what: &str, word: &str) -> Command<'s> {
    let program = site.lab.work().join("edges-program");
    let mut command = site.lab.host("client").unwrap().command(program);
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
    command
        .args([&A.to_string(), what, word])
        .limit(Duration::from_secs(300))
}

/// Runs a command to its end, which is a good one.
fn finish(site: &Site, command: Command<'_>) -> Run {
    let since = now();
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {log}\n{text}", output.status);
    Run {
        replies: text.lines().map(Reply::from).collect(),
        counters: Counters::parse(&log),
        seen: site.seen(since),
    }
}

fn run(site: &Site, library: bool, what: &str, word: &str) -> Run {
    finish(site, command(site, library, what, word))
}

/// From now on s1 is not heard to answer who A is.
fn silence_probes(site: &Site) {
    let rules = format!(
        "table inet silent_probes {{ chain in {{\ntype filter hook input priority 0;\n\
         ip6 daddr {A} icmpv6 type echo-request drop\n}}\n}}\n"
    );
    site.lab.host("s1").unwrap().nft(&rules).unwrap();
}

/// Two neighbours far from each other get to know each other.
fn warm(site: &Site) {
    let client = site.lab.host("client").unwrap();
    let seconds = PATIENCE.as_secs().to_string();
    let ping = client.command("ping").args(["-c1", "-W", &seconds]);
    ping.arg(U1.to_string()).run().unwrap();
}
