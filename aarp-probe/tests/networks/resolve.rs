//! `aarp-probe resolve` on a lab network: who answers, and every exit code.

use std::process::Output;

use aarp_lab::{Filter, HostSpec, Lab, Network, rootless};
use serde_json::Value;

use crate::site::answers_from;

const PINNED: &str = "2001:db8:a::1";
const DIRECT: &str = "2001:db8:a::2";
const SILENT: &str = "2001:db8:a::3";
const INSIDE: &str = "2001:db8:a::4";
const UNREACHABLE: &str = "2001:db8:b::1";
const U: &str = "2001:db8:2::2";

/// client - router - server; the server has four anycast addresses.
fn network() -> Network {
    // The client is reached by an address that is on the client's own link.
    let inside = "2001:db8:1::99";
    let firewall = [
        answers_from(PINNED, U),
        answers_from(INSIDE, inside),
        format!(
            "table inet silent {{ chain in {{ type filter hook input priority 0;
                ip6 daddr {SILENT} drop
              }}
            }}\n"
        ),
    ];
    let server = HostSpec::new()
        .address("lo", format!("{PINNED}/128"))
        .address("lo", format!("{DIRECT}/128"))
        .address("lo", format!("{SILENT}/128"))
        .address("lo", format!("{INSIDE}/128"))
        .route("default via 2001:db8:2::1")
        .firewall(firewall.concat());
    Network::new()
        .host("client", HostSpec::new().route("default via 2001:db8:1::1"))
        .host(
            "router",
            HostSpec::router().route("2001:db8:a::/64 via 2001:db8:2::2"),
        )
        .host("server", server)
        .link("client:eth0 2001:db8:1::2/64", "router:c 2001:db8:1::1/64")
        .link("server:eth0 2001:db8:2::2/64", "router:s 2001:db8:2::1/64")
        .name("www.any.test", PINNED)
        .name("both.any.test", PINNED)
        .name("both.any.test", DIRECT)
        .name("four.any.test", "192.0.2.1")
}

struct Probe<'l> {
    lab: &'l Lab,
    variables: Vec<(&'static str, &'static str)>,
}

impl Probe<'_> {
    fn new(lab: &Lab) -> Probe<'_> {
        Probe {
            lab,
            variables: Vec::new(),
        }
    }

    fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let client = self.lab.host("client").unwrap();
        let command = client
            .command(env!("CARGO_BIN_EXE_aarp-probe"))
            .args(arguments);
        let command = command.envs(self.variables.iter().copied());
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().unwrap();
        let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
        (
            status.code().expect("an exit code"),
            text(stdout),
            text(stderr),
        )
    }

    /// The records of `resolve --json`, with the exit code.
    fn resolve(&self, destinations: &[&str]) -> (i32, Vec<Value>) {
        let arguments = [&["resolve", "--json"], destinations].concat();
        let (code, stdout, stderr) = self.run(&arguments);
        assert_eq!(stderr, "");
        let records = stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let records: Vec<Value> = records.collect();
        crate::schema::validate(&records);
        for record in &records {
            assert_eq!(record["schema"], 1);
            assert_eq!(record["type"], "resolve");
            assert!(humantime::parse_rfc3339(record["time"].as_str().unwrap()).is_ok());
        }
        (code, records)
    }
}

#[test]
fn every_verdict_has_its_exit_code() {
    rootless::test(|| {
        let lab = Lab::new(&network()).unwrap();
        let capture = lab.capture("server", "eth0").unwrap();
        let probe = Probe::new(&lab);

        let (code, records) = probe.resolve(&[PINNED]);
        assert_eq!(
            (code, &records[0]["state"], &records[0]["unicast"]),
            (0, &"pinned".into(), &U.into())
        );
        assert_eq!(
            (&records[0]["anycast"], &records[0]["method"]),
            (&PINNED.into(), &"echo".into())
        );
        assert!(records[0]["rtt_ms"].as_f64().unwrap() > 0.0);
        let (code, records) = probe.resolve(&["www.any.test"]);
        assert_eq!(
            (code, &records[0]["name"], &records[0]["unicast"]),
            (0, &"www.any.test".into(), &U.into())
        );

        let (code, records) = probe.resolve(&["--timeout", "300ms", SILENT]);
        assert_eq!(
            (code, &records[0]["state"], &records[0]["probes"]),
            (1, &"unanswered".into(), &2.into())
        );
        let (code, records) = probe.resolve(&[UNREACHABLE]);
        assert_eq!((code, &records[0]["state"]), (1, &"unanswered".into()));
        assert!(
            records[0]["reason"]
                .as_str()
                .unwrap()
                .contains("unreachable")
        );

        let (code, records) = probe.resolve(&[DIRECT]);
        assert_eq!(
            (code, &records[0]["state"], &records[0]["unicast"]),
            (2, &"direct".into(), &Value::Null)
        );
        for ineligible in [
            "::1",
            "fe80::1",
            "ff02::1",
            "2001:db8:1::2",
            "::ffff:192.0.2.1",
        ] {
            let (code, records) = probe.resolve(&[ineligible]);
            assert_eq!(
                (code, &records[0]["state"]),
                (2, &"bypass".into()),
                "{ineligible}"
            );
        }
        for (name, reason) in [
            ("four.any.test", "no IPv6 address"),
            ("nowhere.invalid", "was not resolved"),
        ] {
            let (code, records) = probe.resolve(&[name]);
            let record = &records[0];
            assert_eq!((code, &record["anycast"]), (1, &Value::Null));
            assert_eq!(record["state"], "bypass");
            assert!(
                record["reason"].as_str().unwrap().contains(reason),
                "{record}"
            );
        }

        let (code, records) = probe.resolve(&["--timeout", "300ms", INSIDE]);
        assert_eq!((code, &records[0]["state"]), (4, &"untrusted".into()));
        assert_eq!(records[0]["unicast"], "2001:db8:1::99");
        assert!(
            records[0]["reason"]
                .as_str()
                .unwrap()
                .contains("this host's own link")
        );

        let (code, records) = probe.resolve(&["both.any.test"]);
        assert_eq!((code, records.len()), (5, 2));

        assert_eq!(probe.run(&["resolve"]).0, 64);
        assert_eq!(probe.run(&["resolve", "--timeout", "soon", PINNED]).0, 64);
        assert_eq!(probe.run(&["--help"]).0, 0);

        let packets = capture.finish().unwrap();
        let to = |a: &str| Filter::icmp6(128).dst(a.parse::<std::net::Ipv6Addr>().unwrap());
        assert_eq!(to(SILENT).count(&packets), 2);
        assert_eq!(to(DIRECT).count(&packets), 2);
    });
}

#[test]
fn trust_and_configuration_come_from_the_environment() {
    rootless::test(|| {
        let lab = Lab::new(&network()).unwrap();
        let mut probe = Probe::new(&lab);
        probe.variables = vec![("AARP_TRUSTED", "2001:db8:3::/48")];
        let (code, records) = probe.resolve(&["--timeout", "300ms", PINNED]);
        assert_eq!((code, &records[0]["unicast"]), (4, &U.into()));
        probe.variables = vec![("AARP_TRUSTED", "2001:db8:2::/48")];
        assert_eq!(probe.resolve(&[PINNED]).0, 0);

        // Asked all the same, and said.
        for (variable, list, bypass) in [
            ("AARP_EXCLUDE", "2001:db8:a::/48", "excluded"),
            ("AARP_PREFIXES", "2001:db8:b::/48", "policy"),
        ] {
            probe.variables = vec![(variable, list)];
            let (code, records) = probe.resolve(&[PINNED]);
            assert_eq!((code, &records[0]["state"]), (0, &"pinned".into()));
            assert_eq!(records[0]["library_bypass"], bypass);
            let (_, text, _) = probe.run(&["resolve", PINNED]);
            assert!(text.contains("the library would not ask"), "{text}");
        }
        probe.variables = vec![("AARP_TTL", "soon")];
        let (code, stdout, stderr) = probe.run(&["resolve", PINNED]);
        assert_eq!((code, stdout.as_str()), (78, ""));
        assert!(stderr.contains("AARP_TTL: expected a duration"), "{stderr}");
        assert_eq!(stderr.lines().count(), 1);
    });
}

#[test]
fn without_a_permission_to_probe_it_says_which() {
    rootless::test(|| {
        let lab = Lab::new(&network()).unwrap();
        let client = lab.host("client").unwrap();
        if let Err(error) = client.sysctl("net.ipv4.ping_group_range", "1 0") {
            // A user namespace has one group, and no way to write that it has none.
            assert!(rootless::is_inside(), "{error}");
            rootless::skipped(
                "without_a_permission_to_probe_it_says_which",
                &error.to_string(),
            );
            return;
        }
        // Without its capabilities, root too is an ordinary user here.
        let probe = client
            .command("setpriv")
            .args([
                "--bounding-set=-all",
                "--inh-caps=-all",
                "--no-new-privs",
                "--",
            ])
            .arg(env!("CARGO_BIN_EXE_aarp-probe"))
            .args(["resolve", PINNED]);
        let Output { status, stdout, .. } = probe.output().unwrap();
        let stdout = String::from_utf8(stdout).unwrap();
        assert_eq!(status.code(), Some(77), "{stdout}");
        assert!(
            stdout.contains("ping_group_range") && stdout.contains("CAP_NET_RAW"),
            "{stdout}"
        );
    });
}

#[test]
fn the_table_is_for_people() {
    rootless::test(|| {
        let lab = Lab::new(&network()).unwrap();
        let probe = Probe::new(&lab);
        let (code, stdout, _) = probe.run(&["resolve", "www.any.test", DIRECT]);
        assert_eq!(code, 5);
        let lines: Vec<&str> = stdout.lines().collect();
        assert!(lines[0].starts_with("ANYCAST"), "{stdout}");
        assert!(
            lines[1].starts_with(PINNED) && lines[1].contains(U),
            "{stdout}"
        );
        assert!(lines[1].ends_with("www.any.test"), "{stdout}");
        assert!(lines[2].contains("direct"), "{stdout}");
        // Of several rounds each has its time, and they have one heading.
        let several = ["resolve", "-c", "3", "-i", "1ms", "www.any.test", DIRECT];
        let (_, stdout, _) = probe.run(&several);
        let lines: Vec<&str> = stdout.lines().collect();
        assert_eq!(lines.len(), 7, "{stdout}");
        assert!(lines[0].starts_with("TIME"), "{stdout}");
        for line in &lines[1..] {
            let (time, rest) = line.split_once("  ").unwrap();
            assert!(humantime::parse_rfc3339(time).is_ok(), "{line}");
            // In the columns of the heading.
            let at = lines[0].find("UNICAST").unwrap();
            assert_eq!(line.as_bytes()[at - 1], b' ', "{stdout}");
            assert!(rest.starts_with("2001:db8:a::"), "{line}");
            let note = lines[0].find("NOTE").unwrap();
            assert!(
                ["www.", "it an"]
                    .iter()
                    .any(|n| line[note..].starts_with(n)),
                "{stdout}"
            );
        }
    });
}
