//! Firewalls that drop what is not allowed: what their operators have to open. Each rule
//! is needed, as is seen without it.
use std::fmt::Write as _;

use aarp_lab::{Process, Snap, wait_until};

use crate::decode::decoded;
use crate::site::{A, LIMIT, Site, U1, networked};

/// What every such firewall has: connections that it knows, and neighbours.
const COMMON: &str = "ct state established,related accept\n\
     icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept\n";

/// A rule by the name under which a test leaves it out.
type Rule = (&'static str, &'static str);

/// The agent's host, packets to itself.
const AGENT_INPUT: [Rule; 2] = [
    (
        "updates",
        "ip6 saddr 2001:db8:0:4::2 meta l4proto 135 accept",
    ),
    (
        "reverse tunnel",
        "ip6 saddr 2001:db8:0:4::2 meta l4proto 41 accept",
    ),
];

/// The agent's host, packets that it forwards: to A into the device, and what the kernel
/// knows as the answers.
const AGENT_FORWARD: [Rule; 1] = [(
    "to A",
    "oifname aarp-agent ip6 daddr 2001:db8:0:1::a accept",
)];

/// The responder's host: the tunnel, and the service as it was without one. The
/// acknowledgement is an answer to an update, as the kernel sees it too.
const RESPONDER_INPUT: [Rule; 2] = [
    ("tunnel", "ip6 saddr 2001:db8:0:1::2 meta l4proto 41 accept"),
    ("service", "tcp dport 80 accept"),
];

fn chain(hook: &str, rules: &[Rule], without: &str) -> String {
    let mut text =
        format!("chain {hook} {{\ntype filter hook {hook} priority filter; policy drop;\n{COMMON}");
    for (_, rule) in rules.iter().filter(|(name, _)| *name != without) {
        writeln!(text, "{rule}").unwrap();
    }
    text + "}\n"
}

/// A site with firewalls, but for one rule; and whether the responder is registered.
fn walled(without: &str) -> (Site, [Process; 3], bool) {
    let site = Site::new();
    let agent = chain("input", &AGENT_INPUT, without) + &chain("forward", &AGENT_FORWARD, without);
    let responder = chain("input", &RESPONDER_INPUT, without);
    for (host, chains) in [("haa", agent), ("s1", responder)] {
        let rules = format!("table inet wall {{\n{chains}}}\n");
        site.host(host).nft(&rules).unwrap();
    }
    let capture = site.lab.capture_with("haa", "eth0", Snap::Whole).unwrap();
    let nginx = site.nginx("s1");
    let agent = site.keyed_agent();
    let binding = site
        .binding_command("s1", &["--spi", "256"])
        .spawn()
        .unwrap();
    let mut registered = false;
    wait_until("an update is accepted, or sent again", LIMIT, || {
        registered = binding.stderr()?.contains("registered with");
        Ok(registered || decoded(&capture, "mip6.mhtype == 5", &[]).len() > 2)
    })
    .unwrap();
    (site, [nginx, agent, binding], registered)
}

#[test]
fn with_these_rules_the_service_is_reached() {
    networked(|| {
        let (site, _running, registered) = walled("nothing");
        assert!(registered);
        assert_eq!(site.who(), "s1");
        // Also what is too large: errors of the path are related to what they are about.
        site.narrow("r1", 1400);
        let file = site.host("s1").dir().join("www/large");
        std::fs::write(file, vec![0x61; 1 << 20]).unwrap();
        let fetched = site.curl(50, "/large").run().unwrap().stdout;
        assert_eq!(fetched.len(), 1 << 20);
        // And with the library, which goes to U after one round trip.
        let capture = site.lab.capture("c", "eth0").unwrap();
        let run = site
            .program("c", "aarp-run")
            .args(["curl", "-gsS", "--max-time", "50"]);
        run.arg(format!("http://[{A}]/who")).run().unwrap();
        let tcp = aarp_lab::Filter::tcp();
        let packets = capture.packets().unwrap();
        let to_u = tcp.clone().dst(U1).count(&packets);
        let to_a = tcp.dst(A).count(&packets);
        // The wall of the example lets no ping in: the program is no worse off with A.
        assert!(to_u + to_a > 0 && (to_u == 0 || to_a == 0), "{to_u} {to_a}");
    });
}

#[test]
fn without_the_rule_for_updates_nobody_is_registered() {
    networked(|| {
        let (site, _running, registered) = walled("updates");
        assert!(!registered);
        assert_eq!(site.owner(), None);
    });
}

/// Registered, and not served.
fn registered_in_vain(without: &str) {
    networked(|| {
        let (site, _running, registered) = walled(without);
        assert!(registered, "{without}");
        assert_eq!(site.owner(), Some(U1));
        let curl = site.curl(3, "/who").output().unwrap();
        assert!(!curl.status.success(), "{without}");
    });
}

/// The answers are let in for they belong to what was sent to U, as the kernel sees it:
/// the rule is for responders that send first.
#[test]
fn the_reverse_tunnel_answers_the_tunnel() {
    networked(|| {
        let (site, _running, registered) = walled("reverse tunnel");
        assert!(registered);
        assert_eq!(site.who(), "s1");
    });
}

#[test]
#[ignore = "long: in tests/run.sh --full"]
fn without_the_rule_for_forwarding_nobody_is_served() {
    registered_in_vain("to A");
}

#[test]
#[ignore = "long: in tests/run.sh --full"]
fn without_the_rule_for_the_tunnel_nobody_is_served() {
    registered_in_vain("tunnel");
}

#[test]
fn without_the_rule_for_the_service_nobody_is_served() {
    registered_in_vain("service");
}
