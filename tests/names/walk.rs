//! Programs that walk the list of `getaddrinfo = "rewrite"`: to U, and where it does not
//! serve to A, without our help and without another question.
use std::net::Ipv6Addr;

use aarp_lab::{Filter, Process};

use super::stage::{has, library, python};
use super::{ALL, NAME, PATIENCE, Site, U, WALKED, a, now, with_site};

/// An echo of datagrams.
const ECHO: &str = "
import socket
service = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
service.bind(('2001:db8:51::2', 7000))
print('ready', flush=True)
while True:
    service.sendto(*service.recvfrom(100))
";

fn serve(site: &Site, address: &str) -> Process {
    let host = site.lab.host("s1").expect("a host");
    let words = ["-u", "-m", "http.server", "--bind", address, "80"];
    let server = host.command(python()).args(words).cwd(site.lab.work());
    let server = server.spawn().expect("a server");
    let began = server.wait_stdout("Serving HTTP on", PATIENCE);
    began.expect("it serves");
    server
}

/// What a program said, what it and we wrote to standard error, and to whom it has
/// tried to connect.
struct Walk {
    said: String,
    log: String,
    tried: Vec<Ipv6Addr>,
    asked: Vec<Ipv6Addr>,
}

const BUDGETS: [(&str, &str); 3] = [
    ("AARP_BUDGET", "20s"),
    ("AARP_BUDGET_NONBLOCKING", "20s"),
    ("AARP_BUDGET_UNCONFIGURED", "20s"),
];

fn walk(site: &Site, program: &[&str], settings: &[(&str, &str)]) -> Walk {
    let since = now();
    let client = site.lab.host("client").expect("a host");
    let output = client
        .command(program[0])
        .args(&program[1..])
        .env("LD_PRELOAD", library())
        .env("AARP_CONFIG", "/dev/null")
        .env("AARP_GETADDRINFO", "rewrite")
        .env("AARP_LOG", "debug")
        .env("AARP_STATS", "1")
        // However slow the machine is.
        .envs(BUDGETS)
        .envs(settings.iter().copied())
        .limit(PATIENCE)
        .output()
        .expect("it runs");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.success(),
        "{program:?}: {}: {log}",
        output.status
    );
    let syn = Filter::tcp().flags("Sa").port(80);
    let packets = site.client.packets().expect("a capture");
    let tried = packets
        .iter()
        .filter(|packet| packet.time >= since && syn.matches(packet));
    let tried = tried.filter_map(|packet| packet.dst.to_string().parse().ok());
    let mut tried: Vec<_> = tried.collect();
    // A SYN may be sent again.
    tried.dedup();
    Walk {
        said: String::from_utf8(output.stdout).expect("text"),
        log,
        tried,
        asked: site.asked(since),
    }
}

fn script(how: &'static str, name: &'static str) -> [String; 5] {
    let script = include_str!("walk.py");
    [python(), "-c", script, how, name].map(str::to_owned)
}

/// Both with the default configuration, which asks about every address, and where only
/// those of `prefixes` are asked about.
const SETTINGS: [&[(&str, &str)]; 2] = [&[], &[("AARP_PREFIXES", "2001:db8:a::/48")]];

/// The counters of the process that ended first.
fn counters(log: &str) -> &str {
    log.lines()
        .find(|line| line.contains(" pinned="))
        .expect("a line of counters")
}

#[test]
fn a_service_on_a_alone_is_found() {
    if !has(&["wget", "curl"]) {
        return;
    }
    with_site(|site| {
        let _server = serve(site, &a(1).to_string());
        for settings in SETTINGS {
            for how in ["blocking", "nonblocking", "fork"] {
                let program = script(how, WALKED);
                let program: Vec<_> = program.iter().map(String::as_str).collect();
                let walk = walk(site, &program, settings);
                let expected = format!("ECONNREFUSED {U}\nconnected {}\n", a(1));
                assert_eq!(walk.said, expected, "{how}: {}", walk.log);
                assert_eq!(walk.tried, [U, a(1)], "{how}: {}", walk.log);
                assert_eq!(walk.asked, [a(1)], "{how}: {}", walk.log);
                let counters = counters(&walk.log);
                assert!(counters.contains(" pinned=0 "), "{counters}");
                assert!(counters.contains(" rewritten=1"), "{counters}");
                assert!(counters.contains(" bypass.rewritten=1"), "{counters}");
            }
            // Whoever wants nothing but U gets nothing else.
            for how in ["blocking", "nonblocking"] {
                let program = script(how, WALKED);
                let program: Vec<_> = program.iter().map(String::as_str).collect();
                let settings = [settings, &[("AARP_ON_FAILURE", "refuse")]].concat();
                let walk = walk(site, &program, &settings);
                let [refused, unreachable] = ["ECONNREFUSED", "EHOSTUNREACH"];
                let expected = format!("{refused} {U}\n{unreachable} {}\nnobody serves\n", a(1));
                assert_eq!(walk.said, expected, "{how}: {}", walk.log);
                assert_eq!(walk.tried, [U], "{how}: {}", walk.log);
            }
            let url = format!("http://{WALKED}/");
            for program in [
                &["wget", "-q", "-O/dev/null", &url][..],
                &["curl", "-sS", "-o/dev/null", &url],
            ] {
                let walk = walk(site, program, settings);
                assert_eq!(walk.tried, [U, a(1)], "{program:?}: {}", walk.log);
                assert_eq!(walk.asked, [a(1)], "{program:?}: {}", walk.log);
            }
        }
    });
}

#[test]
fn a_u_that_serves_is_used_and_not_asked_about() {
    with_site(|site| {
        let _server = serve(site, "::");
        let host = site.lab.host("s1").expect("a host");
        let echo = host.command(python()).args(["-c", ECHO]).spawn();
        let echo = echo.expect("a server");
        echo.wait_stdout("ready", PATIENCE).expect("it serves");
        for settings in SETTINGS {
            for (how, said, call) in [
                ("blocking", "connected", "connect"),
                ("nonblocking", "connected", "connect"),
                ("datagram", "answered", "send"),
            ] {
                let program = script(how, WALKED);
                let program: Vec<_> = program.iter().map(String::as_str).collect();
                let walk = walk(site, &program, settings);
                assert_eq!(walk.said, format!("{said} {U}\n"), "{}", walk.log);
                assert_eq!(walk.asked, [a(1)], "{how}: {}", walk.log);
                let line = |line: &str| {
                    line.contains(&format!(": {call} "))
                        && line.contains(&format!("[{U}]:"))
                        && line.ends_with(": rewritten by getaddrinfo")
                };
                assert!(walk.log.lines().any(line), "{how}: {}", walk.log);
                let counters = counters(&walk.log);
                assert!(counters.contains(" rewritten=1"), "{counters}");
                assert!(!counters.contains(" bypass."), "{counters}");
            }
        }
    });
}

/// What was silent for a while only, because others had answered, is not taken for
/// unanswered: who connects to it asks with a budget of its own.
#[test]
fn what_was_not_waited_for_is_asked_about_again() {
    with_site(|site| {
        let program = script("silent", NAME);
        let program: Vec<_> = program.iter().map(String::as_str).collect();
        let settings = [
            ("AARP_GETADDRINFO", "prefetch"),
            ("AARP_PREFIXES", "2001:db8:a::/48"),
            ("AARP_BUDGET", "60s"),
            ("AARP_BUDGET_NONBLOCKING", "5s"),
        ];
        let walk = walk(site, &program, &settings);
        let silent = a(ALL);
        assert_eq!(walk.said, format!("silent {silent}\n"));
        let about = format!(": {silent}: ");
        let lines = walk
            .log
            .lines()
            .filter_map(|line| Some(line.split_once(&about)?.1));
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len(), 2, "{}", walk.log);
        assert!(lines[0].starts_with("no answer yet"), "{}", walk.log);
        assert!(lines[1].starts_with("unanswered, "), "{}", walk.log);
        // What the name has cost is taken from what this second may cost.
        let waited = lines[1].rsplit_once(" in ").and_then(|(_, text)| {
            let ms = text.strip_suffix(" ms")?;
            ms.parse::<u64>().ok()
        });
        assert!(waited.is_some_and(|ms| ms <= 5000), "{}", walk.log);
    });
}
