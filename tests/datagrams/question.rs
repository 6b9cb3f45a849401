//! Programs that ask once and end.
use std::time::Duration;

use aarp_lab::Proto;

use crate::base::{A, NAME, Node, Site, now};
use crate::flow::Flows;
use crate::record::Record;
use crate::service::{self, DNS, LONG, Mode, NTP, PINNED, WHO, on_client};

/// A program that is tested.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asker {
    pub(crate) name: &'static str,
    /// Its words; `HOST`, `@HOST`, `WHO` and `LONG` are replaced.
    pub(crate) command: &'static [&'static str],
    /// What it prints when this responder has answered.
    pub(crate) answer: fn(Node) -> Vec<String>,
    /// The flows that it needs.
    pub(crate) protocols: &'static [Proto],
    pub(crate) port: u16,
    pub(crate) calls: &'static str,
}

/// What dig prints: who has answered, and who was asked.
pub(crate) fn dig(node: Node, protocol: &str) -> Vec<String> {
    let server = format!("SERVER: {A}#53({A}) ({protocol})");
    vec![format!("\"{}\"", node.name()), server]
}

pub(crate) fn kdig(node: Node, protocol: &str) -> Vec<String> {
    let server = format!("From {A}@53({protocol})");
    vec![format!("\"{}\"", node.name()), server]
}

/// The stratum is the responder's number.
pub(crate) fn ntpdig(node: Node) -> Vec<String> {
    vec![format!(" {} ", node.name())]
}

/// One question, which this responder must answer; returns its flows.
fn ask(site: &Site, asker: &Asker, host: &str, mode: Mode, node: Node) -> Flows {
    let words = asker.command.iter().map(|word| match *word {
        "HOST" => host.to_owned(),
        "@HOST" => format!("@{host}"),
        "WHO" => WHO.to_owned(),
        "LONG" => LONG.to_owned(),
        word => word.to_owned(),
    });
    let words: Vec<_> = words.collect();
    let started = now();
    let output = on_client(site, &words[0], mode).args(&words[1..]).run();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    for expected in (asker.answer)(node) {
        // A name that was asked for is printed in place of its address.
        let by_name = expected.replace(&format!("({A})"), &format!("({host})"));
        assert!(
            said.contains(&expected) || said.contains(&by_name),
            "{} ({mode:?}), {expected}: {said}{}",
            asker.name,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Flows::begun(site, asker.port, started, now())
}

fn site(asker: &Asker) -> Site {
    let mut site = Site::new(Duration::ZERO, &[A]);
    match asker.port {
        DNS => service::serve_names(&mut site),
        NTP => service::serve_time(&mut site),
        port => panic!("what is served at {port}?"),
    }
    site
}

/// Without us it goes to A, and who answers is a matter of routing.
pub(crate) fn goes_to_a_without_us(asker: &Asker) {
    let mut site = site(asker);
    for node in Node::ALL {
        site.route_to(node);
        let flows = ask(&site, asker, &A.to_string(), Mode::Native, node);
        flows.assert_unpinned(&site, asker.name, asker.protocols, node);
    }
}

/// Under the ARL it goes to U of who answers now, by address and by name.
pub(crate) fn is_pinned(asker: &Asker) {
    let mut site = site(asker);
    for node in Node::ALL {
        site.route_to(node);
        for host in [&A.to_string(), NAME] {
            let flows = ask(&site, asker, host, PINNED, node);
            flows.assert_pinned(&site, asker.name, asker.protocols, node);
        }
    }
    Record {
        program: asker.name,
        executable: asker.command[0],
        calls: asker.calls,
        tried: "a question, before and after the route of A moves",
        result: "pinned",
        reason: "",
    }
    .write();
}
