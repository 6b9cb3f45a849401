//! What getaddrinfo() gives a program: what the C library found, with `rewrite` behind
//! the unicast addresses of those who answer; and all that it found is asked about
//! within one budget.
#![allow(unreachable_pub)]

#[path = "../availability/stage.rs"]
mod stage;
mod walk;

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use aarp_lab::{Capture, Filter, HostSpec, Lab, Network, Process, rootless};
use stage::{compile, has, library, tool};

/// The unicast addresses of the responder.
const U: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 2);
const OTHER_U: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 3);
/// Of eight addresses of one name the first five are answered for, and three silent.
const NAME: &str = "eight.any.test";
const ANSWERED: u16 = 5;
const ALL: u16 = 8;
/// The name of the silent ones alone.
const SILENT: &str = "silent.any.test";
/// The name of the first of them alone.
const WALKED: &str = "www.any.test";
const PATIENCE: Duration = Duration::from_secs(60);

/// By which an address is answered for.
fn unicast(number: u16) -> Ipv6Addr {
    if number == 4 { OTHER_U } else { U }
}

fn a(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, number)
}

struct Site {
    lab: Lab,
    client: Capture,
    _responders: [Process; 2],
}

impl Site {
    fn new() -> Self {
        let mut router = HostSpec::router();
        for number in 1..=ANSWERED {
            router = router.route(format!("{} via {U}", a(number)));
        }
        for number in ANSWERED + 1..=ALL {
            router = router.route(format!("blackhole {}", a(number)));
        }
        let mut network = Network::new()
            .host("client", HostSpec::new().route("default via 2001:db8:c::1"))
            .host("router", router)
            .host("s1", HostSpec::new().route("default via 2001:db8:51::1"))
            .link("client:eth0 2001:db8:c::2/64", "router:c 2001:db8:c::1/64")
            .link(
                format!("s1:eth0 {U}/64 {OTHER_U}/64"),
                "router:s1 2001:db8:51::1/64",
            )
            .name(WALKED, a(1).to_string())
            .name("four.any.test", "192.0.2.1")
            .name("both.any.test", "192.0.2.1")
            .name("both.any.test", a(1).to_string());
        for number in 1..=ALL {
            network = network.name(NAME, a(number).to_string());
            if number > ANSWERED {
                network = network.name(SILENT, a(number).to_string());
            }
        }
        let lab = Lab::new(&network).expect("a network");
        let source = include_str!("lookup.c");
        compile(source, &lab.work().join("lookup"), &["-pthread"]);
        let client = lab.capture("client", "eth0").expect("a capture");
        let host = lab.host("s1").expect("a host");
        let responders = [U, OTHER_U].map(|u| {
            let owned = (1..=ANSWERED).filter(|number| unicast(*number) == u);
            let mut command = host.command(tool("aarp-responder")).arg("run");
            for number in owned.clone() {
                command = command.args(["--anycast", &a(number).to_string()]);
            }
            let responder = command.args(["--unicast", &u.to_string()]).spawn();
            let responder = responder.expect("aarp-responder starts");
            for number in owned {
                responder
                    .wait_stderr(&format!("owns {}", a(number)), PATIENCE)
                    .expect("aarp-responder owns them");
            }
            responder
        });
        Self {
            lab,
            client,
            _responders: responders,
        }
    }

    /// What the program prints, with the library in that mode, or without it.
    fn lookup(&self, mode: Option<&str>, what: &str, name: &str) -> String {
        self.run(mode, what, name, &[])
    }

    /// The same with settings of its own.
    fn lookup_with(&self, mode: &str, what: &str, name: &str, settings: &[(&str, &str)]) -> String {
        self.run(Some(mode), what, name, settings)
    }

    fn run(&self, mode: Option<&str>, what: &str, name: &str, settings: &[(&str, &str)]) -> String {
        let client = self.lab.host("client").expect("a host");
        let mut command = client.command(self.lab.work().join("lookup"));
        if let Some(mode) = mode {
            command = command
                .env("LD_PRELOAD", library())
                .env("AARP_CONFIG", "/dev/null")
                .env("AARP_PREFIXES", "2001:db8:a::/48")
                .env("AARP_BUDGET", "2s")
                .env("AARP_GETADDRINFO", mode)
                .envs(settings.iter().copied());
        }
        let output = command.args([what, name]).limit(PATIENCE * 4).output();
        let output = output.expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{}: {errors}", output.status);
        assert_eq!(errors, "", "nothing was asked for");
        String::from_utf8(output.stdout).expect("text")
    }

    /// The destinations of the probes that the client has sent since, each once.
    fn asked(&self, since: Duration) -> Vec<Ipv6Addr> {
        let packets = self.client.packets().expect("a capture");
        let requests = packets
            .iter()
            .filter(|packet| packet.time >= since && Filter::icmp6(128).matches(packet));
        let mut asked: Vec<_> = requests
            .filter_map(|packet| match packet.dst {
                IpAddr::V6(address) => Some(address),
                IpAddr::V4(_) => None,
            })
            .collect();
        asked.sort_unstable();
        asked.dedup();
        asked
    }
}

fn with_site(body: impl FnOnce(&Site)) {
    if has(&["cc", "nft", "ip"]) {
        rootless::test(|| body(&Site::new()));
    }
}

fn now() -> Duration {
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .expect("after 1970")
}

/// In all ways to ask, with every kind of answer and of error.
#[test]
fn the_results_are_the_c_librarys() {
    with_site(|site| {
        for name in [NAME, "both.any.test", "four.any.test", "localhost"] {
            let native = site.lookup(None, "everything", name);
            assert!(native.lines().count() > 100, "{native}");
            for mode in ["prefetch", "off"] {
                assert_eq!(
                    site.lookup(Some(mode), "everything", name),
                    native,
                    "{mode}"
                );
            }
        }
        let native = site.lookup(None, "small-stack", NAME);
        assert_eq!(site.lookup(Some("prefetch"), "small-stack", NAME), native);
    });
}

/// What `rewrite` makes of what the program has printed.
fn rewritten(native: &str) -> String {
    let mut expected: Vec<String> = Vec::new();
    let mut lines = native.lines().peekable();
    while let Some(call) = lines.next() {
        expected.push(call.to_owned());
        let mut list = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with(' ')) {
            list.push(line);
        }
        expected.extend(rewritten_list(&list));
    }
    expected.join("\n") + "\n"
}

/// What it makes of one list: in front of each A that is answered for the same entries
/// with U, but no U twice; the canonical name comes first.
fn rewritten_list(list: &[&str]) -> Vec<String> {
    // What is asked about to listen on is left alone, and what is merely read.
    let kept = |line: &&str| line.contains("flags 1 ") || line.contains("flags 4 ");
    if list.iter().any(kept) {
        return list.iter().map(|&line| line.to_owned()).collect();
    }
    let parts = |line: &&str| {
        let (entry, name) = line.split_once("canonical ").expect("an entry");
        (entry.to_owned(), name.to_owned())
    };
    let name = list.first().map(|line| parts(line).1);
    let mut entries: Vec<String> = Vec::new();
    for (entry, _) in list.iter().map(parts) {
        let of = |a: Ipv6Addr| format!(" address {a} ");
        let answered = (1..=ANSWERED).find(|number| entry.contains(&of(a(*number))));
        if let Some(number) = answered {
            let (from, to) = (of(a(number)), of(unicast(number)));
            if !entries
                .iter()
                .any(|entry| entry.contains(&from) || entry.contains(&to))
            {
                let same = list.iter().map(|line| parts(line).0);
                let same = same.filter(|entry| entry.contains(&from));
                entries.extend(same.map(|entry| entry.replace(&from, &to)));
            }
        }
        entries.push(entry);
    }
    let names = name.into_iter().chain(std::iter::repeat("-".to_owned()));
    let with_names = entries.into_iter().zip(names);
    with_names
        .map(|(entry, name)| format!("{entry}canonical {name}"))
        .collect()
}

/// With `rewrite` a program that walks the list comes to U first, and to A by itself.
#[test]
fn rewrite_gives_u_before_what_is_answered() {
    with_site(|site| {
        for name in [NAME, "both.any.test", "four.any.test"] {
            let native = site.lookup(None, "everything", name);
            let expected = rewritten(&native);
            let given = site.lookup(Some("rewrite"), "everything", name);
            for (line, expected) in given.lines().zip(expected.lines()) {
                assert_eq!(line, expected, "{name}");
            }
            assert_eq!(given, expected, "{name}");
            assert!(native != given, "a literal at least");
            let small = site.lookup(Some("rewrite"), "small-stack", name);
            assert_eq!(small, expected, "{name}");
        }
    });
}

fn seconds(text: &str) -> f64 {
    let lines = text.lines();
    let mut seconds = lines.filter_map(|line| line.strip_prefix("seconds "));
    let seconds = seconds.next().and_then(|seconds| seconds.parse().ok());
    seconds.expect("a time")
}

/// Eight addresses, three of them silent: the silent ones are not waited for. All silent:
/// one budget, not eight.
#[test]
fn all_answers_are_asked_about_within_one_budget() {
    with_site(|site| {
        let since = now();
        // A minute by the settings.
        let text = site.lookup_with("prefetch", "time", NAME, &[("AARP_BUDGET", "60s")]);
        assert!(seconds(&text) < 30.0, "{text}");
        assert_eq!(site.asked(since), (1..=ALL).map(a).collect::<Vec<_>>());
        let since = now();
        let text = site.lookup(Some("prefetch"), "time", SILENT);
        // Two seconds by the settings; two budgets would be four.
        assert!((1.9..4.0).contains(&seconds(&text)), "{text}");
        let silent: Vec<_> = (ANSWERED + 1..=ALL).map(a).collect();
        assert_eq!(site.asked(since), silent);
        // Where no later call could ask, the silent ones have their time.
        let text = site.lookup(Some("rewrite"), "time", NAME);
        assert!((1.9..4.0).contains(&seconds(&text)), "{text}");
        // Nothing is asked where that is not wanted, or where no name is resolved.
        let since = now();
        site.lookup(Some("off"), "time", NAME);
        site.lookup(Some("prefetch"), "time", &a(ALL).to_string());
        assert!(site.asked(since).is_empty());
    });
}
