//! `aarp-probe watch`: a change of responder is seen, counted and shown.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use aarp_lab::{Lab, LinkSpec, Network, Process, Signal, rootless, wait_until};
use serde_json::Value;

use crate::site::{
    A, NAME, PATIENCE, answers_from, ended, move_to, probe, program, records, responders, silence,
    stateful, u,
};
use crate::terminal::Terminal;

/// Two responders, the second one farther away; A goes to the first.
fn two() -> (Network, impl Fn(&Lab)) {
    let mut network = responders(2);
    let far = network.links.pop().expect("the link of the second");
    let [one, other] = far.ends;
    network = network.add_link(LinkSpec::new(one, other).delay(Duration::from_millis(8)));
    // Neither is nearer than the time that a busy machine takes.
    let near = network.links.remove(1);
    let [one, other] = near.ends;
    network = network.add_link(LinkSpec::new(one, other).delay(Duration::from_millis(3)));
    (network, |lab: &Lab| move_to(lab, 1))
}

fn of_type<'r>(records: &'r [Value], kind: &str) -> Vec<&'r Value> {
    records
        .iter()
        .filter(|record| record["type"] == kind)
        .collect()
}

/// Waits until what a process has printed is as wanted.
fn wait_for(what: &str, process: &Process, wanted: impl Fn(&str) -> bool) {
    wait_until(what, PATIENCE, || {
        let text = process.stdout()?;
        // The last line may not be whole yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
        assert!(
            wanted(whole) || process.try_wait()?.is_none(),
            "{what}: it has ended: {text} {}",
            process.stderr()?
        );
        Ok(wanted(whole))
    })
    .unwrap();
}

#[test]
fn a_route_moves_while_records_are_written() {
    rootless::test(|| {
        let (network, begin) = two();
        let lab = Lab::new(&network).unwrap();
        begin(&lab);
        let client = lab.host("client").unwrap();
        let file = lab.work().join("watch.prom");
        let path = file.to_str().unwrap();
        let arguments = [
            "watch",
            "--json",
            "--interval",
            "20ms",
            "--prom-textfile",
            path,
            NAME,
        ];
        let watch = probe(client, &arguments).spawn().unwrap();
        let answered_by = |n: usize| {
            let mark = format!("\"unicast\":\"{}\"", u(n));
            move |text: &str| {
                let probes = text.lines().filter(|line| line.contains("watch-probe"));
                probes
                    .filter(|line| line.contains(&mark) && line.contains("pinned"))
                    .count()
                    >= 5
            }
        };
        wait_for("answers of the first", &watch, answered_by(1));
        move_to(&lab, 2);
        wait_for("answers of the second", &watch, answered_by(2));
        watch.signal(Signal::INT).unwrap();
        let status = watch.wait(PATIENCE).unwrap();
        assert_eq!(
            (status.code(), watch.stderr().unwrap().as_str()),
            (Some(3), "")
        );

        let records = records(&watch.stdout().unwrap());
        let changes = of_type(&records, "watch-change");
        let changed: Vec<_> = changes.iter().filter(|c| c["event"] == "changed").collect();
        assert_eq!(changed.len(), 1, "{changes:?}");
        assert_eq!(
            (&changed[0]["from"], &changed[0]["to"]),
            (&u(1).into(), &u(2).into())
        );
        assert_eq!(changes[0]["event"], "first");
        let [summary] = of_type(&records, "watch-summary")[..] else {
            panic!("one summary")
        };
        let probes = of_type(&records, "watch-probe");
        assert_eq!(summary["rounds"], probes.len());
        assert_eq!(summary["changes"], 1);
        let of = |n: usize, name: &str| summary["responders"][n - 1][name].clone();
        assert_eq!(
            (of(1, "unicast"), of(2, "unicast")),
            (u(1).into(), u(2).into())
        );
        for n in [1, 2] {
            let by: Vec<_> = probes.iter().filter(|p| p["unicast"] == u(n)).collect();
            assert_eq!(of(n, "answers"), by.len());
            // Each was asked by its own address too, from the round of its first answer
            // on, and answered: also the first one after it was left.
            let own = |p: &&&Value| {
                let own = p["own"].as_array().unwrap();
                own.iter().any(|own| own["unicast"] == u(n))
            };
            assert_eq!(of(n, "to_u")["sent"], probes.iter().filter(own).count());
        }
        assert!(of(1, "to_u")["sent"].as_u64() > of(1, "answers").as_u64());
        // The far one is 16 ms away, whichever of its addresses is asked; a delay is
        // never shorter than it should be.
        for path in ["to_a", "to_u"] {
            let far = of(2, path)["min_ms"].as_f64().unwrap();
            assert!(far >= 16.0, "{path}: {far}");
        }
        let metrics = std::fs::read_to_string(&file).unwrap();
        for expected in [
            format!("aarp_probe_watch_changes{{name=\"{NAME}\",anycast=\"{A}\"}} 1"),
            format!(
                "aarp_probe_watch_present{{name=\"{NAME}\",anycast=\"{A}\",unicast=\"{}\"}} 1",
                u(2)
            ),
        ] {
            assert!(metrics.contains(&expected), "{expected}: {metrics}");
        }
    });
}

#[test]
fn each_end_has_its_exit_code() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let client = lab.host("client").unwrap();
        let watch_within = |time: &str, destination: &str| {
            let few = [
                "watch",
                "--count",
                "2",
                "--interval",
                "1ms",
                "--timeout",
                time,
            ];
            ended(probe(
                client,
                &[&few[..], &["--json", destination]].concat(),
            ))
        };
        let watch = |destination: &str| watch_within("30s", destination);
        assert_eq!(watch(A).code, 0);
        let direct = watch(&u(1));
        assert_eq!(direct.code, 2);
        assert_eq!(direct.records()[0]["state"], "direct");
        let own = watch("2001:db8:1::2");
        assert_eq!((own.code, own.stderr.as_str()), (2, ""), "{}", own.stdout);
        let reason = own.records()[0]["reason"].to_string();
        assert!(reason.contains("address of this host"), "{reason}");
        assert_eq!(watch("nowhere.invalid").code, 1);
        // An answer from inside the client's network is refused.
        let server = lab.host("s1").unwrap();
        server
            .nft("delete table inet answers_2001_db8_a__53\n")
            .unwrap();
        server.nft(&answers_from(A, "2001:db8:1::99")).unwrap();
        let untrusted = watch_within("2s", A);
        assert_eq!(untrusted.code, 4, "{}", untrusted.stdout);
        assert_eq!(untrusted.records()[0]["state"], "untrusted");
        silence(server);
        let silent = watch_within("300ms", A);
        assert_eq!(silent.code, 1);
        let records = silent.records();
        let summary = records.last().unwrap();
        assert_eq!(
            (&summary["rounds"], &summary["to_a"]["loss"]),
            (&2.into(), &1.0.into())
        );
        assert_eq!(
            ended(probe(client, &["watch", "--interval", "0s", A])).code,
            64
        );
    });
}

#[test]
fn by_unreach_a_stateful_router_is_no_hindrance() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        lab.host("router")
            .unwrap()
            .nft(&stateful("forward"))
            .unwrap();
        let client = lab.host("client").unwrap();
        let watch = |method: &str, time: &str, trusted: &str| {
            let few = ["watch", "--json", "--count", "2", "--interval", "1ms"];
            let how = ["--method", method, "--timeout", time, A];
            let command = probe(client, &[&few[..], &how].concat())
                .env("AARP_PREFIXES", format!("{A}/128"))
                .env("AARP_TRUSTED", trusted);
            ended(command)
        };
        let list = "2001:db8:51::/64";
        assert_eq!(watch("echo", "300ms", list).code, 1);
        let run = watch("unreach", "30s", list);
        assert_eq!(run.code, 0, "{} {}", run.stdout, run.stderr);
        let records = run.records();
        assert_eq!(records[0]["unicast"], u(1));
        // U itself is asked by echo, whose replies are no surprise to the router.
        assert_eq!(records.last().unwrap()["to_u"]["loss"], 0.0);
        // Without a list of what is trusted there is no such method.
        let run = watch("unreach", "30s", "");
        assert_eq!((run.code, run.stderr.as_str()), (2, ""), "{}", run.stdout);
        let reason = run.records()[0]["reason"].to_string();
        assert!(reason.contains("no probe method"), "{reason}");
    });
}

#[test]
fn of_several_addresses_the_first_is_watched() {
    rootless::test(|| {
        let network = responders(1)
            .name("both.any.test", A)
            .name("both.any.test", u(1));
        let lab = Lab::new(&network).unwrap();
        let client = lab.host("client").unwrap();
        let run = ended(probe(
            client,
            &["watch", "--json", "--count", "1", "both.any.test"],
        ));
        let watched = run.records()[0]["anycast"].as_str().unwrap().to_owned();
        assert!(
            run.stderr
                .contains(&format!("this is about {watched}, not ")),
            "{}",
            run.stderr
        );
        let resolved = ended(probe(
            client,
            &[
                "resolve",
                "--json",
                "--count",
                "2",
                "-i",
                "1ms",
                "both.any.test",
            ],
        ));
        assert_eq!((resolved.code, resolved.records().len()), (5, 4));
    });
}

#[test]
fn elsewhere_than_on_a_terminal_there_is_a_line_for_each_change() {
    rootless::test(|| {
        let (network, begin) = two();
        let lab = Lab::new(&network).unwrap();
        begin(&lab);
        let client = lab.host("client").unwrap();
        let watch = probe(client, &["watch", "-i", "20ms", NAME])
            .spawn()
            .unwrap();
        let first = format!("answered by {}", u(1));
        wait_for("the first answer", &watch, |text| text.contains(&first));
        move_to(&lab, 2);
        let changed = format!("changed: {} -> {}", u(1), u(2));
        wait_for("the change", &watch, |text| text.contains(&changed));
        watch.signal(Signal::TERM).unwrap();
        assert_eq!(watch.wait(PATIENCE).unwrap().code(), Some(3));
        let text = watch.stdout().unwrap();
        assert!(!text.contains('\x1b'), "{text}");
        let events: Vec<_> = text.lines().filter(|line| line.contains("Z  ")).collect();
        assert!(events[0].contains(&first), "{text}");
        assert!(text.contains("1 change of responder"), "{text}");
        assert!(text.contains("RESPONDER"), "{text}");
    });
}

#[test]
fn on_a_terminal_a_view_lives_during_a_move() {
    rootless::test(|| {
        let (network, begin) = two();
        let lab = Lab::new(&network).unwrap();
        begin(&lab);
        let client = lab.host("client").unwrap();
        // A terminal of its own: `script` copies what is shown there to its output.
        let program = crate::site::program();
        let line = format!(
            "stty cols 100 rows 30 && exec {} watch --interval 100ms {NAME}",
            program.display()
        );
        let mut watch = client
            .command("script")
            .args(["-qefc", &line, "/dev/null"])
            .env("AARP_CONFIG", "/dev/null")
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let seen = |text: &str| Terminal::after(text.rsplit_once("\x1b[J").map_or("", |(t, _)| t));
        let row = |text: &str, letters: &str| {
            let screen = seen(text).text();
            screen
                .lines()
                .any(|line| line.starts_with("who") && line.contains(letters))
        };
        wait_for("the first in the timeline", &watch, |text| {
            row(text, "AAAAAAAAAA")
        });
        move_to(&lab, 2);
        wait_for("the second in the timeline", &watch, |text| {
            row(text, "BBBBBBBBBBBBBBB")
        });
        // No route at all for a while, and then back to the first.
        lab.ip("router", &format!("-6 route del {A}/128")).unwrap();
        wait_for("losses in the timeline", &watch, |text| {
            row(text, "B××××××")
        });
        move_to(&lab, 1);
        wait_for("the first again", &watch, |text| row(text, "×AAAAAAAAAA"));
        let frame = seen(&watch.stdout().unwrap()).text();
        // Ctrl-C, as from a keyboard.
        let mut keyboard = watch.take_stdin().unwrap();
        keyboard.write_all(b"\x03").unwrap();
        keyboard.flush().unwrap();
        let status = watch.wait(PATIENCE).unwrap();
        let text = watch.stdout().unwrap();
        assert_eq!(status.code(), Some(3), "{text}");
        assert!(
            text.contains("\x1b[38;5;33m"),
            "the colour of the first: {text:?}"
        );
        assert!(text.contains("\x1b[38;5;208m"), "the colour of the second");
        for line in [
            format!("answered by {}", u(1)),
            format!("changed: {} -> {}", u(1), u(2)),
            "\nto A ".to_owned(),
            "\nto U ".to_owned(),
            format!("no answer any more (last by {})", u(2)),
            format!("changed: {} -> {}", u(2), u(1)),
            format!("is {}", u(1)),
        ] {
            assert_eq!(frame.matches(&line).count(), 1, "{line}: {frame}");
        }
        // The live view is gone, and the events stay above the summary.
        let last = Terminal::after(&text).text();
        assert!(!last.contains("Ctrl-C"), "{last}");
        assert!(last.contains("2 changes of responder"), "{last}");
        // While A was lost, the second was still there by its own address.
        let loss = last.lines().filter(|line| line.ends_with("0.0 %")).count();
        assert!(loss >= 2, "{last}");
        if let Some(folder) = std::env::var_os("AARP_RECORD") {
            let folder = std::path::PathBuf::from(folder);
            std::fs::write(folder.join("watch-frame.txt"), frame).unwrap();
            std::fs::write(folder.join("watch-end.txt"), last).unwrap();
            std::fs::write(folder.join("watch.typescript"), text).unwrap();
        }
    });
}

#[test]
fn colours_are_for_those_who_want_them() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let client = lab.host("client").unwrap();
        let resolve = |color: &str, variable: &str| {
            let line = format!(
                "stty cols 100 && exec {} --color {color} resolve {A}",
                crate::site::program().display()
            );
            let command = client
                .command("script")
                .args(["-qefc", &line, "/dev/null"])
                .env("AARP_CONFIG", "/dev/null")
                .env("TERM", "xterm")
                .env("NO_COLOR", variable);
            let run = ended(command);
            assert_eq!(run.code, 0, "{}", run.stdout);
            run.stdout.contains('\x1b')
        };
        assert!(resolve("auto", ""));
        assert!(!resolve("auto", "1"));
        assert!(resolve("always", "1"));
        assert!(!resolve("never", ""));
        // And without a terminal.
        let piped = |color: &str| {
            let run = ended(probe(client, &["--color", color, "resolve", A]));
            run.stdout.contains('\x1b')
        };
        assert!(!piped("auto") && piped("always"));
    });
}

#[test]
fn who_may_send_no_echo_is_told_so() {
    rootless::test(|| {
        let lab = Lab::new(&responders(1)).unwrap();
        let client = lab.host("client").unwrap();
        if let Err(error) = client.sysctl("net.ipv4.ping_group_range", "1 0") {
            assert!(rootless::is_inside(), "{error}");
            rootless::skipped("who_may_send_no_echo_is_told_so", &error.to_string());
            return;
        }
        let run = ended(
            client
                .command("setpriv")
                .args(["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"])
                .arg("--")
                .arg(program())
                .args([
                    "watch",
                    "--count",
                    "2",
                    "--interval",
                    "10ms",
                    "--timeout",
                    "30s",
                    A,
                ])
                .env("AARP_CONFIG", "/dev/null")
                .env("AARP_PREFIXES", format!("{A}/128"))
                .env("AARP_TRUSTED", "2001:db8:51::/64")
                .env("AARP_METHODS", "unreach"),
        );
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
        let row = run
            .stdout
            .lines()
            .find(|line| line.starts_with("to U"))
            .unwrap();
        assert!(row.ends_with("echo is not permitted"), "{row}");
    });
}
