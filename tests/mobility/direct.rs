//! Ways past the agent: answers that leave straight from A, and initiators with the
//! Anycast Resolving Layer, which leave it after one round trip.
use aarp_lab::{Direction, Filter};

use crate::decode::decoded;
use crate::site::{A, CLIENT, Site, U1, count, networked};

const SIZE: usize = 4 << 20;

/// nginx with a large file behind a sidecar with these words.
fn serving(words: &[&str]) -> Site {
    let mut site = Site::simple(words);
    let nginx = site.nginx("s1");
    site.keep(nginx);
    let file = site.host("s1").dir().join("www/large");
    std::fs::write(file, vec![0x61; SIZE]).unwrap();
    site
}

/// `reverse = "direct"`: what the initiator sends goes by the agent, what it gets does not.
#[test]
fn answers_leave_straight_where_the_network_lets_them() {
    networked(|| {
        let site = serving(&["--reverse", "direct"]);
        let capture = site.lab.capture("r1", "rt").unwrap();
        let curl = site.curl(50, "/large");
        assert_eq!(curl.run().unwrap().stdout.len(), SIZE);
        let straight = Filter::tcp().src(A).dst(CLIENT).direction(Direction::Out);
        let packets = capture.packets().unwrap();
        assert!(straight.count(&packets) > SIZE / 1500);
        let back = decoded(
            &capture,
            &format!("ipv6.nxt == 41 && ipv6.src == {U1}"),
            &[],
        );
        assert!(back.is_empty(), "{} packets", back.len());
        let record = site.agent_record();
        assert_eq!(count(&record, "/relayed/to_initiators"), 0, "{record:#}");
        assert!(count(&record, "/relayed/to_responders") > 100, "{record:#}");
        // A network that checks its sources does not let them: then it has to be the
        // tunnel.
        site.forwarding(&format!(
            "iifname r1 ip6 saddr != {U1} ip6 saddr != fe80::/10 drop"
        ));
        let curl = site.curl(3, "/who").output().unwrap();
        assert!(!curl.status.success());
    });
}

/// As the rule above, but by the tunnel: no packet of A's leaves the responder's network.
#[test]
fn answers_by_the_tunnel_pass_a_network_that_checks_sources() {
    networked(|| {
        let site = serving(&[]);
        site.forwarding(&format!(
            "iifname r1 ip6 saddr != {U1} ip6 saddr != fe80::/10 drop"
        ));
        assert_eq!(site.who(), "s1");
    });
}

/// The probe goes by the agent, its answer comes from U, and everything else goes there.
#[test]
fn the_resolving_layer_leaves_the_agent_after_one_round_trip() {
    leaves_the_agent("tunnel");
}

/// Also where the other answers of A leave straight, from A.
#[test]
fn the_resolving_layer_leaves_the_agent_with_direct_answers() {
    leaves_the_agent("direct");
}

fn leaves_the_agent(reverse: &'static str) {
    networked(|| {
        let site = serving(&["--reverse", reverse]);
        // The router asks for A's neighbour, and a proxy waits before it answers that
        // (RFC 4861 §7.2.8): as long as 0.8 s on Linux.
        let ping = site
            .host("c")
            .command("ping")
            .args(["-nc1", "-W30", &A.to_string()]);
        ping.run().unwrap();
        let outside = site.lab.capture("c", "eth0").unwrap();
        let before = site.agent_record();
        let run = site
            .program("c", "aarp-run")
            .args(["curl", "-gsS", "--max-time", "50"]);
        // No answer comes too late, however busy the machine.
        let run = run
            .env("AARP_BUDGET_UNCONFIGURED", "20s")
            .env("AARP_BUDGET_NONBLOCKING", "20s");
        let run = run
            .env("AARP_PREFIXES", "2001:db8:0:1::/64")
            .env("AARP_BUDGET", "20s");
        let run = run.env("AARP_LOG", "debug");
        let run = run.arg(format!("http://[{A}]/large"));
        let output = run.run().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.stdout.len(), SIZE);
        let packets = outside.packets().unwrap();
        let to = |filter: Filter| filter.direction(Direction::Out).count(&packets);
        assert_eq!(to(Filter::icmp6(128).dst(A)), 1, "{said}");
        assert_eq!(Filter::icmp6(129).src(U1).count(&packets), 1);
        assert_eq!(Filter::icmp6(129).src(A).count(&packets), 0);
        assert_eq!(to(Filter::tcp().dst(A)), 0, "{said}");
        assert!(to(Filter::tcp().dst(U1)) > 0);
        let from_u = Filter::tcp().src(U1);
        let from_u = packets.iter().filter(|packet| from_u.matches(packet));
        let octets: usize = from_u.map(|packet| packet.payload_len).sum();
        assert!(octets >= SIZE, "all of it came from U: {octets}");
        // The agent has relayed the probe, and nothing else, nor the answer.
        let after = site.agent_record();
        let relayed = |way: &str| count(&after, way) - count(&before, way);
        assert_eq!(relayed("/relayed/to_responders"), 1, "{after:#}");
        assert_eq!(relayed("/relayed/to_initiators"), 0, "{after:#}");
        // An ordinary ping of A is answered by A, as everything else.
        let ping = site
            .host("c")
            .command("ping")
            .args(["-nc1", "-W30", &A.to_string()]);
        ping.run().unwrap();
        let packets = outside.packets().unwrap();
        assert_eq!(Filter::icmp6(129).src(A).count(&packets), 1);
        let record = site.agent_record();
        let more = count(&record, "/relayed/to_initiators");
        let more = more - count(&before, "/relayed/to_initiators");
        assert_eq!(more, u64::from(reverse == "tunnel"), "{record:#}");
        assert_eq!(site.status("s1", "aarp-binding")[0]["probe_answers"], 1);
    });
}
