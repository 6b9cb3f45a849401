//! `aarp-probe explain`: which line decides, and what becomes of the answer.

use std::time::Duration;

use aarp_lab::{Lab, LinkSpec, rootless};
use serde_json::Value;

use crate::site::{A, NAME, answers_from, ended, probe, responders, silence, u};

const CONFIGURATION: &str = "\
[resolve]
prefixes = [
  \"2001:db8:9::/48\",
  \"2001:db8:a::/48\",
]
exclude = [\"2001:db8:9:1::/64\"]
trusted = [\"2001:db8:51::/64\"]

[times]
ttl = \"30s\"
";

/// The decision of that name, as `value | source`.
fn decided(record: &Value, decision: &str) -> String {
    let list = record["decisions"].as_array().unwrap();
    let found = list.iter().find(|found| found["decision"] == decision);
    let found = found.unwrap_or_else(|| panic!("{decision}: {record}"));
    let source = &found["source"];
    format!(
        "{} | {} {} {} {}",
        found["value"].as_str().unwrap(),
        source["kind"].as_str().unwrap(),
        source["file"]
            .as_str()
            .map_or("-", |file| file.rsplit('/').next().unwrap()),
        source["line"],
        source["name"].as_str().unwrap(),
    )
}

#[test]
fn the_line_that_decides_is_named() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let client = lab.host("client").unwrap();
        let file = lab.work().join("aarp.toml");
        std::fs::write(&file, CONFIGURATION).unwrap();
        let explain = |arguments: &[&str]| {
            let arguments = [&["explain", "--json"], arguments].concat();
            let command = probe(client, &arguments)
                .env("AARP_CONFIG", &file)
                .env("AARP_BUDGET", "2s")
                .env("AARP_EXCLUDE", "2001:db8:9:2::/64");
            let run = ended(command);
            assert_eq!(run.stderr, "");
            (run.code, run.records())
        };
        let (code, records) = explain(&[NAME]);
        let record = &records[0];
        assert_eq!(
            (code, &record["asks"], &record["bypass"]),
            (0, &true.into(), &Value::Null)
        );
        assert_eq!(
            (&record["name"], &record["anycast"]),
            (&NAME.into(), &A.into())
        );
        assert_eq!(
            (&record["answer"]["state"], &record["answer"]["unicast"]),
            (&"pinned".into(), &u(1).into())
        );
        for (decision, expected) in [
            (
                "asked about",
                "yes, inside 2001:db8:a::/48 | file aarp.toml 4 resolve.prefixes",
            ),
            (
                "trusted",
                "inside 2001:db8:51::/64 | file aarp.toml 7 resolve.trusted",
            ),
            ("an answer is used for", "30s | file aarp.toml 10 times.ttl"),
            ("blocking calls wait", "2s | variable - null AARP_BUDGET"),
            (
                "non-blocking calls wait",
                "250ms | default - null times.budget_nonblocking",
            ),
            ("methods", "echo | default - null resolve.methods"),
        ] {
            assert_eq!(decided(record, decision), expected);
        }
        let meaning = record["meaning"].as_str().unwrap();
        assert!(
            meaning.contains(&format!("goes to {} and stays there; for 30s", u(1))),
            "{meaning}"
        );

        for (a, expected) in [
            (
                "2001:db8:9:1::1",
                "no, inside 2001:db8:9:1::/64 | file aarp.toml 6 resolve.exclude",
            ),
            (
                "2001:db8:9:2::1",
                "no, inside 2001:db8:9:2::/64 | variable - null AARP_EXCLUDE",
            ),
            (
                "2001:db8:b::1",
                "no, outside of all prefixes | file aarp.toml 2 resolve.prefixes",
            ),
            ("ff02::1", "never: multicast | default - null built in"),
        ] {
            let (code, records) = explain(&[a]);
            assert_eq!(
                (code, &records[0]["asks"], &records[0]["answer"]),
                (2, &false.into(), &Value::Null)
            );
            assert_eq!(decided(&records[0], "asked about"), expected);
        }
        assert_eq!(explain(&["nowhere.invalid"]).0, 1);
        let (code, records) = explain(&[A, "2001:db8:b::1"]);
        assert_eq!((code, records.len()), (5, 2));
    });
}

#[test]
fn offline_it_sends_nothing() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let client = lab.host("client").unwrap();
        let capture = lab.capture("client", "eth0").unwrap();
        let run = ended(probe(client, &["explain", "--offline", "--json", A]));
        let record = &run.records()[0];
        assert_eq!(
            (run.code, &record["asks"], &record["answer"]),
            (0, &true.into(), &Value::Null)
        );
        // Nor does it say that it asked.
        let run = ended(probe(client, &["explain", "--offline", "192.0.2.1"]));
        assert_eq!(run.code, 1);
        assert!(!run.stdout.contains("asked now"), "{}", run.stdout);
        assert!(run.stdout.contains("IPv4"), "{}", run.stdout);
        assert_eq!(
            decided(record, "asked about"),
            "yes, as every address: no prefixes are set | default - null resolve.prefixes"
        );
        // Neighbour discovery and the like is the kernel's own.
        let sent = capture.finish().unwrap();
        let probes = aarp_lab::Filter::icmp6(128);
        assert_eq!(probes.count(&sent), 0);
    });
}

#[test]
fn what_becomes_of_each_answer_is_said() {
    rootless::test(|| {
        let mut network = responders(1);
        // 70 ms there and back: longer than a non-blocking call waits without prefixes.
        let link = network.links.pop().unwrap();
        let [one, other] = link.ends;
        network = network.add_link(LinkSpec::new(one, other).delay(Duration::from_millis(35)));
        let lab = Lab::new(&network).unwrap();
        let client = lab.host("client").unwrap();
        let server = lab.host("s1").unwrap();
        // Without the neighbours having to be found first.
        let ping = client.command("ping").args(["-c1", "-W60", &u(1)]);
        ping.run().unwrap();
        let explain_within = |time: &str, variables: &[(&str, &str)], a: &str| {
            let arguments = ["explain", "--timeout", time, a];
            let run = ended(probe(client, &arguments).envs(variables.iter().copied()));
            (run.code, run.stdout)
        };
        let explain = |variables: &[(&str, &str)], a: &str| explain_within("30s", variables, a);
        // What is refused is awaited to the end.
        let refused = |variables: &[(&str, &str)]| explain_within("3s", variables, A);
        let offline = ended(probe(client, &["explain", "--offline", "--json", A]));
        let record = offline.records().remove(0);
        for (decision, time) in [
            ("blocking calls wait", "100ms |"),
            ("non-blocking calls wait", "50ms |"),
        ] {
            let said = decided(&record, decision);
            assert!(said.starts_with(time), "{decision}: {said}");
        }
        let (code, text) = explain(&[("AARP_BUDGET_UNCONFIGURED", "1m")], A);
        assert_eq!(code, 0, "{text}");
        for word in ["asked now: pinned", &u(1), "by echo"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        let set = [
            ("AARP_PREFIXES", "2001:db8:a::/48"),
            ("AARP_BUDGET", "1m"),
            ("AARP_BUDGET_NONBLOCKING", "60ms"),
        ];
        let (_, text) = explain(&set, A);
        assert!(
            text.contains("longer than a non-blocking call waits"),
            "{text}"
        );
        // No program would ever be pinned.
        let late = [("AARP_BUDGET_UNCONFIGURED", "60ms")];
        let (code, text) = explain(&late, A);
        assert_eq!(code, 2);
        assert!(text.contains("longer than any call waits"), "{text}");
        let resolve = |arguments: &[&str]| {
            let arguments = [&["resolve", "--timeout", "30s", A], arguments].concat();
            ended(probe(client, &arguments).envs(late))
        };
        let text = resolve(&[]).stdout;
        assert!(
            text.contains("the library would wait 60ms for it"),
            "{text}"
        );
        assert_eq!(
            resolve(&["--json"]).records()[0]["library_bypass"],
            "budget"
        );
        let (code, text) = explain(&[], &u(1));
        assert_eq!(code, 2);
        assert!(text.contains("A itself answered"), "{text}");
        let (code, text) = refused(&[("AARP_TRUSTED", "2001:db8:99::/48")]);
        assert_eq!(code, 4);
        assert!(text.contains("is not used: outside `trusted`"), "{text}");
        let refuse = [
            ("AARP_TRUSTED", "2001:db8:99::/48"),
            ("AARP_ON_FAILURE", "refuse"),
        ];
        let (_, text) = refused(&refuse);
        assert!(
            text.contains("connection fails with EHOSTUNREACH"),
            "{text}"
        );
        let (code, text) = explain(&[], "2001:db8:1::2");
        assert_eq!(code, 2);
        assert!(text.contains("an address of this host"), "{text}");
        silence(server);
        let (code, text) = explain_within("300ms", &[], A);
        assert_eq!(code, 1);
        assert!(
            text.contains("Nobody answered. A program's connection goes to the anycast"),
            "{text}"
        );
        let bad = explain(&[("AARP_TTL", "soon")], A);
        assert_eq!(bad, (78, String::new()));
    });
}

#[test]
fn an_answer_from_inside_is_refused_in_words() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let server = lab.host("s1").unwrap();
        server
            .nft("delete table inet answers_2001_db8_a__53\n")
            .unwrap();
        server.nft(&answers_from(A, "2001:db8:1::99")).unwrap();
        let run = ended(probe(lab.host("client").unwrap(), &["explain", A]));
        assert_eq!(run.code, 4);
        assert!(
            run.stdout.contains("on this host's own link"),
            "{}",
            run.stdout
        );
    });
}

#[test]
fn lists_of_which_no_address_is_in_both_are_noticed() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let client = lab.host("client").unwrap();
        let file = lab.work().join("aarp.toml");
        std::fs::write(&file, CONFIGURATION).unwrap();
        let trusted = |list: &str| -> Vec<String> {
            let command = probe(client, &["explain", "--offline", "--json", A])
                .env("AARP_CONFIG", &file)
                .env("AARP_TRUSTED", list);
            let record = ended(command).records().remove(0);
            let decisions = record["decisions"].as_array().unwrap();
            let of_trust = decisions.iter().filter(|d| d["decision"] == "trusted");
            of_trust.map(|d| d["value"].to_string()).collect()
        };
        let said = trusted("2001:db8:52::/64");
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(
            said[2].contains("nothing: no address is inside"),
            "{said:?}"
        );
        for list in ["2001:db8::/32", "2001:db8:51::/80,2001:db8:52::/64"] {
            assert_eq!(trusted(list).len(), 2, "{list}");
        }
    });
}
