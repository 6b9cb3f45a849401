//! `aarp-probe census`: who stands behind one address.

use std::collections::BTreeSet;

use aarp_lab::{Filter, Lab, Signal, rootless};
use serde_json::Value;

use crate::site::{A, NAME, PATIENCE, answers_from, ended, probe, records, responders, silence, u};

fn seen(record: &Value) -> BTreeSet<String> {
    let list = record["responders"].as_array().unwrap();
    list.iter()
        .map(|responder| responder["unicast"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn three_responders_of_equal_cost_are_told_apart() {
    rootless::test(|| {
        let lab = Lab::new(&responders(3)).unwrap();
        let client = lab.host("client").unwrap();
        let capture = lab.capture("client", "eth0").unwrap();
        let three: BTreeSet<String> = (1..=3).map(u).collect();
        let run = ended(probe(
            client,
            &[
                "census",
                "--json",
                "--count",
                "120",
                "--interval",
                "1ms",
                "--timeout",
                "30s",
                NAME,
            ],
        ));
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
        let record = &run.records()[0];
        assert_eq!(seen(record), three);
        assert_eq!(
            (&record["flows"], &record["probes"]),
            (&120.into(), &240.into())
        );
        let answered = record["flows_answered"].as_f64().unwrap();
        // None of three equal shares is a rare one: (2/3)^120 is 1e-21.
        let mut shares = 0.0;
        for responder in record["responders"].as_array().unwrap() {
            assert_eq!(responder["state"], "pinned");
            shares += responder["share"].as_f64().unwrap();
            assert!(
                responder["flows"].as_f64().unwrap() > answered / 10.0,
                "{record}"
            );
        }
        assert!((shares - 1.0).abs() < 1e-5, "{shares}");
        // The kernel's routers keep a flow where it is.
        assert_eq!(record["flows_split"], 0);

        // With one source and one protocol, the router could tell them apart by their
        // flow labels alone (fib_multipath_hash_policy 0).
        let packets = capture.finish().unwrap();
        let requests = Filter::icmp6(128).dst(A.parse::<std::net::Ipv6Addr>().unwrap());
        assert_eq!(requests.count(&packets), 240);
    });
}

#[test]
fn without_capabilities_ping_sockets_do() {
    rootless::test(|| {
        let lab = Lab::new(&responders(3)).unwrap();
        let client = lab.host("client").unwrap();
        let command = client
            .command("setpriv")
            .env("AARP_CONFIG", "/dev/null")
            .args([
                "--bounding-set=-all",
                "--inh-caps=-all",
                "--no-new-privs",
                "--",
            ])
            .arg(crate::site::program())
            .args([
                "census",
                "--json",
                "--count",
                "120",
                "--interval",
                "1ms",
                "--timeout",
                "30s",
                A,
            ]);
        let run = ended(command);
        let record = &run.records()[0];
        assert_eq!(record["socket"], "ping socket");
        assert_eq!(seen(record), (1..=3).map(u).collect(), "{record}");
    });
}

#[test]
fn silence_and_what_cannot_be_told_apart() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let client = lab.host("client").unwrap();
        let census_within = |time: &str, a: &str| {
            let fast = ["census", "--json", "--count", "3", "--interval", "1ms"];
            ended(probe(
                client,
                &[&fast[..], &["--timeout", time, a]].concat(),
            ))
        };
        let census = |a: &str| census_within("30s", a);
        // A unicast address answers itself.
        let run = census(&u(1));
        let record = &run.records()[0];
        assert_eq!(
            (run.code, &record["responders"][0]["state"]),
            (2, &"direct".into())
        );
        assert_eq!(record["responders"][0]["unicast"], Value::Null);
        let server = lab.host("s1").unwrap();
        server
            .nft("delete table inet answers_2001_db8_a__53\n")
            .unwrap();
        server.nft(&answers_from(A, "2001:db8:1::99")).unwrap();
        let run = census(A);
        let record = &run.records()[0];
        let seen = &record["responders"][0];
        assert_eq!(
            (run.code, &seen["state"]),
            (4, &"untrusted".into()),
            "{record}"
        );
        assert_eq!(seen["unicast"], "2001:db8:1::99");
        silence(server);
        let run = census_within("300ms", A);
        let record = &run.records()[0];
        assert_eq!((run.code, &record["flows_answered"]), (1, &0.into()));
        assert_eq!(record["unseen_share_95"], 1.0);
        let own = census("2001:db8:1::2");
        assert_eq!((own.code, own.stderr.as_str()), (2, ""));
        let reason = own.records()[0]["reason"].to_string();
        assert!(reason.contains("an address of this host"), "{reason}");
        let foreign = ended(probe(client, &["census", "--source", "2001:db8:99::1", A]));
        assert_eq!(foreign.code, 64, "{}", foreign.stderr);
        assert_eq!(ended(probe(client, &["census", "nowhere.invalid"])).code, 1);
    });
}

#[test]
fn every_suitable_source_address_is_used() {
    rootless::test(|| {
        let lab = Lab::new(&responders(2)).unwrap();
        lab.ip("client", "address add 2001:db8:1::3/64 dev eth0 nodad")
            .unwrap();
        let client = lab.host("client").unwrap();
        let fast = ["census", "--json", "--count", "40", "--interval", "1ms"];
        let run = ended(probe(client, &[&fast[..], &[A]].concat()));
        let record = &run.records()[0];
        let sources = |record: &Value| -> BTreeSet<String> {
            let list = record["sources"].as_array().unwrap();
            list.iter()
                .map(|source| source["source"].as_str().unwrap().to_owned())
                .collect()
        };
        let both = ["2001:db8:1::2", "2001:db8:1::3"].map(str::to_owned);
        assert_eq!(sources(record), both.into());
        let run = ended(probe(
            client,
            &[&fast[..], &["--source", "2001:db8:1::3", A]].concat(),
        ));
        assert_eq!(
            sources(&run.records()[0]),
            ["2001:db8:1::3".to_owned()].into()
        );
    });
}

#[test]
fn a_table_for_people_and_metrics() {
    rootless::test(|| {
        let lab = Lab::new(&responders(2)).unwrap();
        let client = lab.host("client").unwrap();
        let file = lab.work().join("census.prom");
        let path = file.to_str().unwrap();
        let run = ended(probe(
            client,
            &["census", "-i", "1ms", "--prom-textfile", path, NAME],
        ));
        assert_eq!(run.code, 0);
        assert!(!run.stdout.contains('\x1b'), "{}", run.stdout);
        for word in [
            "2 responders in 100 flows",
            "RESPONDER",
            &u(1),
            &u(2),
            "95 % confidence",
        ] {
            assert!(run.stdout.contains(word), "{word}: {}", run.stdout);
        }
        let metrics = std::fs::read_to_string(&file).unwrap();
        let expected = format!("aarp_probe_census_responders{{name=\"{NAME}\",anycast=\"{A}\"}} 2");
        assert!(metrics.contains(&expected), "{metrics}");
    });
}

#[test]
fn an_interrupt_leaves_what_has_been_counted() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let client = lab.host("client").unwrap();
        let capture = lab.capture("client", "eth0").unwrap();
        // It would take a day.
        let arguments = [
            "census",
            "--json",
            "--interval",
            "20ms",
            "--count",
            "65536",
            A,
        ];
        let census = probe(client, &arguments).spawn().unwrap();
        let replies = Filter::icmp6(129);
        capture.wait_for(&replies, 10, PATIENCE).unwrap();
        census.signal(Signal::INT).unwrap();
        let status = census.wait(PATIENCE).unwrap();
        assert_eq!(status.code(), Some(0), "{}", census.stderr().unwrap());
        let records = records(&census.stdout().unwrap());
        let record = records.first().unwrap();
        assert_eq!(record["interrupted"], true);
        assert_eq!(seen(record), BTreeSet::from([u(1)]));
        let flows = record["flows"].as_u64().unwrap();
        assert!((1..65536).contains(&flows), "{record}");
        // What was under way is not lost.
        assert_eq!(record["lost"], 0, "{record}");
    });
}

#[test]
fn what_has_no_address_is_a_record_too() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let client = lab.host("client").unwrap();
        for command in ["census", "watch"] {
            let run = ended(probe(client, &[command, "--json", "nowhere.invalid"]));
            assert_eq!((run.code, run.stderr.as_str()), (1, ""), "{command}");
            let record = &run.records()[0];
            assert_eq!(record["type"], "nothing");
            assert_eq!(record["name"], "nowhere.invalid");
            assert_eq!(record["code"], 1);
            let run = ended(probe(client, &[command, "nowhere.invalid"]));
            assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{command}");
            assert!(run.stderr.contains("nowhere.invalid"), "{}", run.stderr);
        }
        let run = ended(probe(client, &["watch", "--json", "2001:db8:1::2"]));
        assert_eq!((run.code, run.stderr.as_str()), (2, ""));
        assert_eq!(run.records()[0]["type"], "nothing");
    });
}
