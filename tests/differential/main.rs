//! Nothing in the host process may notice: each case of socket behaviour (programs in
//! C, *.c) is run natively and under the library, and what it writes down is the same,
//! octet for octet; for a destination that answers itself, for one that is pinned, and
//! for one that nobody can find out about; and for one that is pinned
//! where the host has aarpd, which is asked whose a socket is. What may differ is in
//! allowed.txt.
#![allow(unreachable_pub)]

mod allowed;
#[path = "../availability/site.rs"]
#[allow(dead_code)]
mod site;
#[path = "../availability/stage.rs"]
mod stage;
mod transcript;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aarp_lab::{Filter, Process, rootless};
use allowed::Allowed;
use site::{A, PATIENCE, Seen, Site, U1, Variant, now};
use transcript::Transcript;

/// The programs that these tests start.
const NEEDED: [&str; 4] = ["cc", "nft", "nginx", "ip"];

/// The program, in the order in which it is put together.
const SOURCES: [(&str, &str); 15] = [
    ("ways", include_str!("ways.c")),
    ("connect", include_str!("connect.c")),
    ("nonblocking", include_str!("nonblocking.c")),
    ("stream", include_str!("stream.c")),
    ("datagram", include_str!("datagram.c")),
    ("names", include_str!("names.c")),
    ("many", include_str!("many.c")),
    ("control", include_str!("control.c")),
    ("options", include_str!("options.c")),
    ("signals", include_str!("signals.c")),
    ("descriptors", include_str!("descriptors.c")),
    ("families", include_str!("families.c")),
    ("transfer", include_str!("transfer.c")),
    ("exhaustive", include_str!("exhaustive.c")),
    ("run", include_str!("run.c")),
];

/// So many cases there are at least, for each destination.
const CASES: usize = 300;

/// In so many programs they run.
const PROGRAMS: usize = 12;

/// What a destination is to the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Destination {
    /// It answers itself.
    Direct,
    /// Its answers come from U.
    Pinned,
    /// It does not answer, and its services work.
    Unanswered,
    /// As `Pinned`, and the host has a daemon.
    Shared,
}

impl Destination {
    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Pinned => "pinned",
            Self::Unanswered => "unanswered",
            Self::Shared => "shared",
        }
    }

    fn address(self) -> Ipv6Addr {
        match self {
            Self::Direct => U1,
            Self::Pinned | Self::Unanswered | Self::Shared => A,
        }
    }

    /// How long a call waits for an answer: where one comes, longer than any machine
    /// needs for it.
    fn budget(self) -> &'static str {
        match self {
            Self::Direct | Self::Pinned | Self::Shared => "10s",
            Self::Unanswered => "10ms",
        }
    }

    /// What the library says of a communication that goes as it should.
    fn course(self) -> &'static str {
        match self {
            Self::Direct => "bypass, direct",
            Self::Pinned | Self::Shared => "pinned to ",
            Self::Unanswered => "bypass, no-answer",
        }
    }
}

/// What every program here begins with.
fn with_transcript(source: &str) -> String {
    source.replacen(
        "#include \"transcript.h\"",
        include_str!("../hooks/transcript.h"),
        1,
    )
}

fn compile(source: &str, output: &Path) {
    let flags = [
        // They are what is tried.
        "-Wno-nonnull",
        "-Wno-stringop-overflow",
        "-Wno-stringop-overread",
        "-Wno-unused",
        "-pthread",
        // Cases stay in the order in which they are written.
        "-fno-toplevel-reorder",
        // Nothing here is to be fast but the compiler.
        "-O0",
    ];
    stage::compile(source, output, &flags);
}

/// The site for a destination, with all its services.
struct Services {
    /// The daemon, where there is one.
    _daemon: Option<Process>,
    /// The configuration of the programs.
    config: PathBuf,
    /// Those that the site does not have; they end with it.
    _started: [Process; 2],
    site: Site,
    program: PathBuf,
    destination: Destination,
}

impl Services {
    fn new(destination: Destination) -> Self {
        let site = Site::new(Variant::default());
        let work = site.lab.work();
        let s1 = site.lab.host("s1").unwrap();
        let mut rules = "meta l4proto { tcp, udp } th dport 21000-21999 drop\n".to_owned();
        if destination == Destination::Unanswered {
            // Echo requests of ours: their payload begins with AARP.
            rules += "icmpv6 type echo-request @th,64,32 0x41415250 drop\n";
        }
        s1.nft(&format!(
            "table inet silent {{ chain in {{\ntype filter hook input priority 0;\n{rules}}}\n}}\n"
        ))
        .unwrap();

        let echo = work.join("echo");
        stage::compile(include_str!("../hooks/echo.c"), &echo, &[]);
        let service = work.join("service");
        compile(&with_transcript(include_str!("service.c")), &service);
        let started = [
            s1.command(&echo).args(["7000", "7001"]).spawn().unwrap(),
            s1.command(&service).spawn().unwrap(),
        ];
        for port in [7000, 7001] {
            s1.wait_udp(port, PATIENCE).unwrap();
        }
        for port in 7002..=7008 {
            s1.wait_tcp(port, PATIENCE).unwrap();
        }

        let mut source = with_transcript(include_str!("cases.h"));
        for (name, part) in SOURCES {
            write!(source, "#line 1 \"{name}.c\"\n{part}").unwrap();
        }
        let program = work.join("differential-program");
        compile(&source, &program);
        let config = match destination {
            Destination::Shared => {
                let text = format!(
                    "[resolve]\nprefixes = [\"{A}/128\"]\n[times]\nbudget = \"10s\"\n\
                     [daemon]\nsocket = \"{0}/aarpd.sock\"\ntable = \"{0}/table\"\n",
                    work.display()
                );
                std::fs::write(work.join("aarp.toml"), text).unwrap();
                work.join("aarp.toml")
            }
            _ => PathBuf::from("/dev/null"),
        };
        let daemon = (destination == Destination::Shared).then(|| {
            let client = site.lab.host("client").unwrap();
            let command = client
                .command(stage::tool("aarpd"))
                .args(["run", "--config"]);
            let daemon = command.arg(&config).spawn().unwrap();
            daemon.wait_stderr("serves ", PATIENCE).unwrap();
            daemon
        });
        Self {
            _daemon: daemon,
            config,
            _started: started,
            site,
            program,
            destination,
        }
    }

    /// The names of all cases.
    fn names(&self) -> Vec<String> {
        let client = self.site.lab.host("client").unwrap();
        let output = client.command(&self.program).arg("--list").run().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Runs all cases, under the library or not, in several programs at once: most of
    /// the time they wait.
    fn run(&self, library: bool) -> (Transcript, Seen) {
        let address = self.destination.address();
        let client = self.site.lab.host("client").unwrap();
        let since = now();
        let started = (0..PROGRAMS).map(|part| {
            let command = client.command(&self.program);
            let words = [address.to_string(), part.to_string(), PROGRAMS.to_string()];
            let command = command.args(words);
            let command = if library {
                command
                    .env("LD_PRELOAD", stage::library())
                    .env("AARP_CONFIG", &self.config)
                    .env("AARP_PREFIXES", format!("{address}/128"))
                    .env("AARP_BUDGET", self.destination.budget())
                    .env("AARP_BUDGET_NONBLOCKING", self.destination.budget())
                    // Nobody is asked twice in one case.
                    .env("AARP_UNANSWERED", "1h")
                    .env("AARP_LOG", "debug")
            } else {
                command
            };
            command.spawn().unwrap()
        });
        let started: Vec<_> = started.collect();
        let mut transcript = Transcript::default();
        let mut failed = String::new();
        for process in &started {
            let status = process.wait(Duration::from_secs(900));
            let (out, log) = (process.stdout().unwrap(), process.stderr().unwrap());
            if status.as_ref().is_ok_and(|status| status.success()) {
                transcript.add(&out, &log);
                continue;
            }
            let (line, out, log) = (process.line(), end_of(&out), end_of(&log));
            writeln!(failed, "{line}: {status:?}\n{out}\n{log}").unwrap();
        }
        // For who wants to know what it was all about.
        let which = if library { "library" } else { "native" };
        let file = format!("differential-{}-{which}.txt", self.destination.name());
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
        std::fs::write(file, transcript.text()).unwrap();
        assert!(failed.is_empty(), "{failed}");
        (transcript, self.site.seen(since))
    }
}

/// The last lines of what a program has written.
fn end_of(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(30)..].join("\n")
}

/// How many datagrams and connections went to a host's address.
fn went_to(seen: &Seen, address: Ipv6Addr) -> usize {
    Filter::udp().dst(address).count(&seen.s1)
        + Filter::tcp().dst(address).flags("Sa").count(&seen.s1)
}

fn same(destination: Destination) {
    if !stage::has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        let services = Services::new(destination);
        let names = services.names();
        let unique: BTreeSet<_> = names.iter().map(String::as_str).collect();
        assert_eq!(unique.len(), names.len(), "a name stands twice");
        assert!(names.len() >= CASES, "{}", names.len());

        let (native, seen_native) = services.run(false);
        let (ours, seen_ours) = services.run(true);
        assert_eq!(native.names(), unique);
        assert_eq!(ours.names(), unique);

        let allowed = Allowed::of(destination.name());
        let differences = native.differences(&ours, &allowed);
        println!("{}: {} cases", destination.name(), names.len());
        assert!(differences.is_empty(), "{}", differences.report());
        allowed.assert_all_used();

        // The cases are about something: communications went as they should.
        let concerned = ours.logged(destination.course());
        assert!(
            concerned * 2 >= names.len(),
            "{concerned} cases of {}",
            names.len()
        );
        let (to_u, to_a) = (went_to(&seen_ours, U1), went_to(&seen_ours, A));
        println!(
            "{concerned} {}, {to_u} to U, {to_a} to A",
            destination.course()
        );
        match destination {
            Destination::Pinned | Destination::Shared => {
                assert!(to_u > 2 * to_a, "{to_u} to U, {to_a} to A");
                // One case speaks to both.
                assert!(went_to(&seen_native, U1) < 10);
            }
            Destination::Unanswered => assert!(to_u < 10, "{to_u} to U"),
            Destination::Direct => assert_eq!(to_a, 0),
        }
    });
}

#[test]
fn direct() {
    same(Destination::Direct);
}

#[test]
fn pinned() {
    same(Destination::Pinned);
}

#[test]
fn unanswered() {
    same(Destination::Unanswered);
}

#[test]
#[ignore = "long: in tests/run.sh --full"]
fn shared() {
    same(Destination::Shared);
}
