//! status and check, against what is really there.

mod lab;

use std::net::{TcpListener, UdpSocket};

use lab::{A, A2, Net, U, eventually, inside, ip, root};
use rustix::process::Signal;
use serde_json::{Value, json};

fn records(net: &Net, arguments: &[&str]) -> (Option<i32>, Vec<Value>) {
    let output = net.output(arguments);
    let text = String::from_utf8(output.stdout).expect("text");
    let records: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("a JSON record a line"))
        .collect();
    assert!(records.iter().all(|r| r["schema"] == 1), "{text}");
    (output.status.code(), records)
}

#[test]
fn status_follows_reality() {
    if !root() {
        return;
    }
    let net = Net::new();
    assert_eq!(records(&net, &["status", "--json"]), (Some(69), vec![]));

    let responder = net.run(&["--anycast", A]);
    let (code, status) = records(&net, &["status", "--json"]);
    assert_eq!((code, status.len()), (Some(0), 1));
    let expected = json!({"type": "responder", "anycast": A, "unicast": U, "recipe": "nft",
        "answer": "probes", "pid": responder.pid(), "running": true, "ok": true,
        "address_in_place": true, "rules_in_place": true, "unicast_in_place": true, "problems": []});
    for (key, value) in expected.as_object().expect("an object") {
        assert_eq!(&status[0][key], value, "{key}");
    }
    assert!(
        status[0]["since"]
            .as_str()
            .is_some_and(|s| s.ends_with('Z'))
    );
    let human = net.output(&["status"]);
    let text = String::from_utf8_lossy(&human.stdout).into_owned();
    assert!(
        text.starts_with(&format!("{A} -> {U}  probes  pid ")) && text.ends_with("ok\n"),
        "{text}"
    );

    // Stopped, so that it cannot repair what is broken under it.
    responder.signal(Signal::STOP);
    net.on_responder("nft flush ruleset");
    let (code, status) = records(&net, &["status", "--json"]);
    assert_eq!(
        (code, &status[0]["rules_in_place"]),
        (Some(1), &json!(false))
    );
    net.on_responder(&format!("ip -6 addr del {A}/128 dev lo"));
    let (code, status) = records(&net, &["status", "--json"]);
    assert_eq!(
        (code, &status[0]["address_in_place"]),
        (Some(1), &json!(false))
    );
    responder.signal(Signal::CONT);
    eventually("it is repaired", || {
        records(&net, &["status", "--json"]).0 == Some(0)
    });

    responder.kill();
    let (code, status) = records(&net, &["status", "--json"]);
    assert_eq!(code, Some(1));
    assert_eq!(
        (&status[0]["type"], &status[0]["running"]),
        (&json!("leftover"), &json!(false))
    );
    std::fs::remove_dir_all(net.run_dir.join("responder")).expect("the records");
    let (code, status) = records(&net, &["status", "--json"]);
    assert_eq!(
        (code, &status[0]["type"]),
        (Some(1), &json!("leftover")),
        "seen without a record"
    );
    net.run(&["--anycast", A]).stop();
    net.assert_clean();
}

#[test]
fn check_names_what_does_not_fit() {
    if !root() {
        return;
    }
    let net = Net::new();
    let responder = net.run(&["--anycast", A]);
    assert_eq!(records(&net, &["check", "--json"]), (Some(0), vec![]));

    let good = inside(&net.responder, || {
        (
            TcpListener::bind("[::]:22").expect("bound"),
            UdpSocket::bind((ip(U), 53)).expect("bound"),
        )
    });
    assert_eq!(records(&net, &["check", "--json"]), (Some(0), vec![]));

    let bad = inside(&net.responder, || {
        (
            TcpListener::bind((ip(A), 80)).expect("bound"),
            UdpSocket::bind("[::]:5353").expect("bound"),
        )
    });
    let (code, found) = records(&net, &["check", "--json"]);
    let seen: Vec<_> = found
        .iter()
        .map(|f| {
            [
                &f["type"],
                &f["kind"],
                &f["protocol"],
                &f["port"],
                &f["anycast"],
                &f["unicast"],
            ]
            .map(Value::clone)
        })
        .collect();
    assert_eq!(code, Some(1));
    assert_eq!(
        seen,
        [
            [
                json!("finding"),
                json!("anycast-only"),
                json!("tcp"),
                json!(80),
                json!(A),
                json!(U)
            ],
            [
                json!("finding"),
                json!("answers-from-unicast"),
                json!("udp"),
                json!(5353),
                json!(A),
                json!(U)
            ],
        ]
    );
    assert_eq!(found[0]["processes"][0]["pid"], std::process::id());
    let human = String::from_utf8(net.output(&["check"]).stdout).expect("text");
    assert_eq!(human.lines().count(), 2, "{human}");
    assert!(human.starts_with(&format!("tcp [{A}]:80 (")), "{human}");

    // A second socket serves the clients that were moved.
    let more = inside(&net.responder, || {
        TcpListener::bind((ip(U), 80)).expect("bound")
    });
    assert_eq!(records(&net, &["check", "--json"]).1.len(), 1);
    // Named on the command line, nothing need run for it.
    let (_, other) = records(&net, &["check", "--json", "--anycast", A2]);
    assert_eq!(other.len(), 1);
    drop((good, bad, more));
    assert_eq!(records(&net, &["check", "--json"]), (Some(0), vec![]));
    responder.stop();
}

#[test]
fn the_file_configures_it() {
    if !root() {
        return;
    }
    let net = Net::new();
    let file = net.run_dir.with_extension("toml");
    let text = format!(
        "[[responder]]\nanycast = \"{A}\"\nanswer = \"all\"\n[[responder]]\nanycast = \"fd00:f::1\"\n"
    );
    std::fs::write(&file, text).expect("written");
    let path = file.to_str().expect("text").to_owned();
    let responder = net.spawn(&["--config", &path]);
    responder.wait_for("owns ", 2);
    let (code, status) = records(&net, &["status", "--json"]);
    std::fs::remove_file(&file).expect("removed");
    assert_eq!(code, Some(0));
    assert_eq!(
        [&status[0]["answer"], &status[1]["answer"]],
        [&json!("all"), &json!("probes")]
    );
    responder.stop();
    net.assert_clean();
}
