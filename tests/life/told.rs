//! What the log says: for each destination that is not pinned a line, and for each U
//! that is given up the reason for which it is.
use aarp_lab::rootless;

use crate::base::{A, Node};
use crate::program::{Program, answer};
use crate::{PORT, U1, asks_until_answered, fails, filter, site};

/// The lines about A, or about a datagram to it, without what comes before.
fn lines(log: &str) -> Vec<String> {
    let about = [format!(": {A}: "), format!("[{A}]:{PORT}: ")];
    let text = |line: &str| {
        let (_, text) = about.iter().find_map(|about| line.split_once(about))?;
        Some(text.to_owned())
    };
    log.lines().filter_map(text).collect()
}

fn assert_refuted(log: &str, why: &str) {
    let lines = lines(log);
    let refuted = lines.iter().filter(|line| line.starts_with("refuted, "));
    let refuted: Vec<_> = refuted.collect();
    assert_eq!(refuted, [&format!("refuted, {U1} {why}")], "{log}");
}

/// A U that refuses, one that is silent, one that has died, and one without a route.
#[test]
fn why_a_u_is_given_up() {
    rootless::test(|| {
        let mut site = site();
        filter(&site, Node::S1, &fails(Node::S1, "reject"));
        let mut program = Program::steps(&site, &[]);
        program.expect("s = udp(); s.connect((A, PORT))", "done");
        program.expect("ask(s)", "error ECONNREFUSED");
        program.expect("ask(s)", answer(A, Node::S1, A));
        assert_refuted(&program.end(), &format!("refuses port {PORT}"));

        filter(&site, Node::S1, &fails(Node::S1, "drop"));
        let mut program = Program::start(&site, &[]);
        program.does("s open");
        program.does("s timeout 0.5");
        asks_until_answered(&mut program, "ask");
        let why = format!("is silent on port {PORT}");
        assert_refuted(&program.end(), &why);

        filter(&site, Node::S1, "");
        let mut program = Program::steps(&site, &[]);
        program.expect("ask(udp(), A)", answer(A, Node::S1, U1));
        let unreachable = format!("-6 route add unreachable {U1}/128");
        site.client_host().ip(&unreachable).unwrap();
        program.expect("ask(udp(), A)", answer(A, Node::S1, A));
        assert_refuted(&program.end(), "is unreachable");
        site.client_host()
            .ip(&unreachable.replace("add", "del"))
            .unwrap();

        let mut program = Program::start(&site, &[("AARP_BUDGET", "500ms")]);
        program.does("s open");
        program.does("s timeout 20");
        program.asks("s ask before", Node::S1, U1);
        filter(&site, Node::S1, "drop");
        site.route_to(Node::S2);
        program.does("s timeout 0.5");
        asks_until_answered(&mut program, "ask");
        let dead = format!("answers neither on port {PORT} nor to a probe");
        assert_refuted(&program.end(), &dead);
    });
}

/// The program speaks to U itself: that A is not pinned any more is said.
#[test]
fn a_pin_that_becomes_ambiguous_is_told() {
    rootless::test(|| {
        let site = site();
        let mut program = Program::steps(&site, &[("AARP_LOG", "debug")]);
        program.expect("s = udp()", "done");
        program.expect("ask(s, A)", answer(A, Node::S1, U1));
        program.expect("ask(s, U1)", answer(U1, Node::S1, U1));
        program.expect("ask(s, A)", answer(A, Node::S1, A));
        let log = program.end();
        let lines = lines(&log);
        let ambiguous = lines.iter().filter(|line| *line == "bypass, ambiguous");
        assert_eq!(ambiguous.count(), 1, "{log}");
        assert!(log.contains(" bypass.ambiguous=1"), "{log}");
    });
}

/// What the network says cannot be reached is no matter of the budget, neither at once
/// nor by what is remembered.
#[test]
fn unreachable_is_no_matter_of_the_budget() {
    rootless::test(|| {
        let site = site();
        let route = format!("-6 route replace unreachable {A}/128");
        site.lab.ip("r0", &route).unwrap();
        let settings = [
            ("AARP_ON_FAILURE", "refuse"),
            ("AARP_LOG", "debug"),
            ("AARP_BUDGET_NONBLOCKING", "200ms"),
        ];
        let mut program = Program::steps(&site, &settings);
        for _ in 0..2 {
            program.expect("s = udp(); s.setblocking(False)", "done");
            program.expect("s.sendto(b'1', (A, PORT))", "error EHOSTUNREACH");
        }
        let log = program.end();
        let expected = ["unreachable", "refused, no-answer", "refused, no-answer"];
        assert_eq!(lines(&log), expected, "{log}");
    });
}

/// An answer that must not be used is worth a warning, and nothing else is.
#[test]
fn an_untrusted_answer_is_a_warning() {
    rootless::test(|| {
        let site = site();
        let settings = [
            ("AARP_LOG", "warn"),
            ("AARP_STATS", "0"),
            ("AARP_TRUSTED", "2001:db8:99::/48"),
            ("AARP_BUDGET", "300ms"),
        ];
        let mut program = Program::steps(&site, &settings);
        program.expect("ask(udp(), A)", answer(A, Node::S1, A));
        let log = program.end();
        assert_eq!(log.lines().count(), 1, "{log}");
        let why = format!("an answer from {U1} was refused: outside `trusted`");
        assert_eq!(lines(&log), [why], "{log}");
    });
}

/// A log file that cannot be written is told once by the library, to who has asked for
/// a log in the environment, and to nobody else.
#[test]
fn a_log_that_is_lost_is_told_once() {
    rootless::test(|| {
        let site = site();
        let asks = |settings: &[(&str, &str)]| {
            let mut program = Program::steps(&site, settings);
            program.expect("ask(udp(), A)", answer(A, Node::S1, U1));
            program.expect("ask(udp(), A)", answer(A, Node::S1, U1));
            program.end()
        };
        let lost = ("AARP_FILE", "/nonexistent/log");
        let log = asks(&[lost, ("AARP_LOG", "debug")]);
        assert_eq!(log.lines().count(), 1, "{log}");
        let why = ": the log is lost: /nonexistent/log cannot be opened: ENOENT\n";
        assert!(log.ends_with(why), "{log}");
        let file = site.lab.work().join("lost.toml");
        let text = format!(
            "[resolve]\nprefixes = [\"{A}/128\"]\n[times]\nbudget = \"10s\"\n\
             [log]\nlevel = \"debug\"\nstats = true\nfile = \"/nonexistent/log\"\n"
        );
        std::fs::write(&file, text).unwrap();
        let mut program = Program::steps_by(&site, file.to_str().unwrap());
        program.expect("ask(udp(), A)", answer(A, Node::S1, U1));
        assert_eq!(program.end(), "");
    });
}
