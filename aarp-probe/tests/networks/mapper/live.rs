//! `events`, `top` and `metrics`: what happens.

use std::process::Stdio;

use aarp_lab::{Signal, rootless, wait_until};
use aarp_wire::mapper::{Asked, Failure, Message};

use super::{SILENT, Site, keep, printed};
use crate::site::{A, PATIENCE, move_to, program, u};
use crate::terminal::Terminal;

#[test]
fn events_are_followed_until_a_signal() {
    rootless::test(|| {
        let site = Site::new();
        let daemon = site.start();
        let follow = |arguments: &[&str]| {
            let process = site
                .probe(&[&["events"], arguments].concat())
                .spawn()
                .unwrap();
            printed(&process, "started");
            process
        };
        let (records, words) = (follow(&["--json"]), follow(&[]));
        let few = follow(&["--count", "2", "--json"]);
        assert_eq!(site.learn(A), u(1));
        for process in [&records, &words] {
            printed(process, "learned");
        }
        assert_eq!(few.wait(PATIENCE).unwrap().code(), Some(0));
        move_to(&site.lab, 2);
        site.ask(A, Asked::ANEW);
        for (process, signal) in [(&records, Signal::INT), (&words, Signal::TERM)] {
            printed(process, "changed");
            process.signal(signal).unwrap();
            let status = process.wait(PATIENCE).unwrap();
            assert_eq!(
                (status.code(), process.stderr().unwrap().as_str()),
                (Some(0), "")
            );
        }
        let told = crate::site::records(&records.stdout().unwrap());
        let kinds: Vec<_> = told.iter().map(|record| record["event"].clone()).collect();
        assert_eq!(kinds, ["started", "learned", "changed"]);
        assert_eq!(
            (&told[2]["from"], &told[2]["to"]),
            (&u(1).into(), &u(2).into())
        );
        assert_eq!(crate::site::records(&few.stdout().unwrap()).len(), 2);
        let said = words.stdout().unwrap();
        keep("events.txt", &said);
        assert!(
            said.contains(&format!("{A}: {} -> {}", u(1), u(2))),
            "{said}"
        );
        // It ends with the daemon.
        let last = follow(&[]);
        assert!(daemon.terminate(PATIENCE).unwrap().success());
        assert_eq!(last.wait(PATIENCE).unwrap().code(), Some(69));
        let (said, why) = (last.stdout().unwrap(), last.stderr().unwrap());
        assert!(
            said.contains("stopping") && why.contains("closed"),
            "{said}{why}"
        );
    });
}

#[test]
fn top_is_a_snapshot_and_metrics_are_those_of_the_daemon() {
    rootless::test(|| {
        let site = Site::new();
        let _daemon = site.start();
        for a in [A, A, SILENT] {
            site.learn(a);
        }
        let run = site.run(&["top"]);
        assert_eq!((run.code, run.stderr.as_str()), (0, ""));
        for part in [
            "MOST USED",
            "FAILING",
            "2 of 100000",
            "since it was started",
        ] {
            assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
        }
        let records = site.run(&["top", "--json", "--rows", "1"]).records();
        let top = &records[0];
        assert_eq!(
            (&top["mappings"]["pinned"], &top["capacity"]),
            (&1.into(), &100_000.into())
        );
        assert_eq!(top["used"].as_array().unwrap().len(), 1, "{top}");
        assert_eq!(top["failing"][0]["anycast"], SILENT, "{top}");
        let rate = |name: &str| top["rates"][name].as_f64().unwrap();
        // Three questions, of which one was answered from the table.
        assert!(rate("requests") > 0.0 && rate("probes") > 0.0, "{top}");
        let third = rate("hits") * 3.0;
        assert!((third - rate("requests")).abs() < 0.001 * third, "{top}");

        let run = site.run(&["metrics"]);
        assert_eq!(run.code, 0, "{run:?}");
        for line in [
            "aarpd_mappings{state=\"pinned\"} 1",
            "# TYPE aarpd_requests_total counter",
        ] {
            assert!(
                run.stdout.lines().any(|l| l == line),
                "{line}: {}",
                run.stdout
            );
        }
    });
}

#[test]
fn on_a_terminal_top_goes_on() {
    rootless::test(|| {
        let site = Site::new();
        let _daemon = site.start();
        site.learn(A);
        site.learn(SILENT);
        let line = format!(
            "stty cols 120 rows 40 && exec {} top --interval 50ms",
            program().display()
        );
        let mut top = site
            .host()
            .command("script")
            .args(["-qefc", &line, "/dev/null"])
            .env("AARP_CONFIG", &site.config)
            .env("TERM", "xterm-256color")
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let seen = |text: &str| {
            let whole = text.rsplit_once("\x1b[J").map_or("", |(text, _)| text);
            Terminal::after(whole).text()
        };
        let shows = |what: &str, parts: &[&str]| {
            wait_until(what, PATIENCE, || {
                let text = seen(&top.stdout()?);
                assert!(top.try_wait()?.is_none(), "{what}: it has ended: {text}");
                Ok(parts.iter().all(|part| text.contains(part)))
            })
            .unwrap();
        };
        shows("what is used", &["MOST USED", A, "since the last look"]);
        move_to(&site.lab, 2);
        site.ask(A, Asked::ANEW);
        shows("what changes", &["CHANGING", &u(2), "FAILING", SILENT]);
        keep("top.txt", &seen(&top.stdout().unwrap()));
        let failure = Failure {
            a: A.parse().unwrap(),
            u: u(2).parse().unwrap(),
            port: 80,
            protocol: 6,
            errno: 111,
        };
        // The daemon follows such words once a second at the most.
        wait_until("what fails", PATIENCE, || {
            site.tell(Message::Failed(failure));
            let text = seen(&top.stdout()?);
            assert!(top.try_wait()?.is_none(), "it has ended: {text}");
            // Used, changed, and failed.
            Ok(text.lines().filter(|line| line.starts_with(A)).count() == 3)
        })
        .unwrap();
        let text = seen(&top.stdout().unwrap());
        assert_eq!(text.matches("aarpd, process").count(), 1, "{text}");
        let mut keyboard = top.take_stdin().unwrap();
        std::io::Write::write_all(&mut keyboard, b"\x03").unwrap();
        assert_eq!(top.wait(PATIENCE).unwrap().code(), Some(0));
    });
}
