//! Looking into aarpd: `cache`, `top`, `events`, `metrics`, and what `doctor` and
//! `explain` say of it.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use aarp_lab::{Command, Host, Lab, Process, Signal, rootless, wait_until};
use aarp_sys::clock::boottime;
use aarp_sys::interrupt::Interruptible;
use aarp_sys::mapper::{Daemon, Reply, Waiting, resolve};
use aarp_wire::mapper::{Asked, Failure, Message};
use serde_json::Value;

use crate::site::{A, Ended, NAME, PATIENCE, ended, move_to, probe, program, responders, u};
use crate::terminal::Terminal;

/// Inside the prefix, and nobody's.
const SILENT: &str = "2001:db8:a::dead";

/// Two responders, and a daemon on the client's host.
struct Site {
    lab: Lab,
    config: PathBuf,
    run: PathBuf,
}

impl Site {
    fn new() -> Self {
        let lab = Lab::new(&responders(2)).unwrap();
        move_to(&lab, 1);
        let (config, run) = (lab.work().join("aarp.toml"), lab.work().join("run"));
        let site = Self { config, run, lab };
        site.configure("");
        site
    }

    /// Where the daemon is, and what it asks about; and more of `[daemon]`.
    fn configure(&self, more: &str) {
        let (socket, table) = (self.socket(), self.run.join("table"));
        let text = format!(
            "[resolve]\nprefixes = [\"2001:db8:a::/48\"]\n[times]\nbudget = \"300ms\"\n\
             [daemon]\nsocket = {socket:?}\ntable = {table:?}\n{more}"
        );
        std::fs::write(&self.config, text).unwrap();
    }

    fn host(&self) -> &Host {
        self.lab.host("client").unwrap()
    }

    fn socket(&self) -> PathBuf {
        self.run.join("aarpd.sock")
    }

    /// A daemon that serves. It was built with this program: `cargo build -p aarpd`.
    fn start(&self) -> Process {
        let aarpd = program().with_file_name("aarpd");
        let command = self.host().command(aarpd).arg("run");
        let command = command.arg("--run-dir").arg(&self.run);
        let command = command.arg("--config").arg(&self.config);
        let daemon = command.spawn().unwrap();
        wait_until("the daemon serves", PATIENCE, || {
            let said = daemon.stderr()?;
            assert!(daemon.try_wait()?.is_none(), "it has ended: {said}");
            Ok(said.contains("serves "))
        })
        .unwrap();
        daemon
    }

    fn probe(&self, arguments: &[&str]) -> Command<'_> {
        probe(self.host(), arguments)
            .env("AARP_CONFIG", &self.config)
            .env("XDG_RUNTIME_DIR", self.lab.work())
    }

    fn run(&self, arguments: &[&str]) -> Ended {
        ended(self.probe(arguments))
    }

    /// A program asks the daemon, and waits for the answer.
    fn ask(&self, a: &str, flags: u32) -> Reply {
        let socket = self.socket();
        let (path, trusted) = (socket.to_str().unwrap(), [aarp_sys::process::user()]);
        let daemon = Daemon {
            path,
            trusted: &trusted,
        };
        let (a, budget) = (a.parse().unwrap(), 1000);
        let mut replies = [Reply::None];
        resolve(
            &daemon,
            &[Asked { a, budget, flags }],
            &mut replies,
            boottime() + PATIENCE,
            Waiting::ForAll,
            Interruptible::Never,
        )
        .unwrap();
        replies[0]
    }

    fn tell(&self, message: &Message<'_>) {
        let socket = self.socket();
        let (path, trusted) = (socket.to_str().unwrap(), [aarp_sys::process::user()]);
        let trusted = &trusted;
        aarp_sys::mapper::tell(&Daemon { path, trusted }, message).unwrap();
    }

    /// The U that the daemon tells.
    fn learn(&self, a: &str) -> String {
        match self.ask(a, 0) {
            Reply::Answer(answer) => answer.u.to_string(),
            other => panic!("{a}: {other:?}"),
        }
    }
}

/// Waits until a process has printed that.
fn printed(process: &Process, what: &str) {
    process.wait_stdout(what, PATIENCE).unwrap();
}

#[test]
fn the_cache_is_listed_shown_and_flushed() {
    rootless::test(|| {
        let site = Site::new();
        let daemon = site.start();
        let run = site.run(&["cache"]);
        assert_eq!((run.code, run.stdout.as_str()), (0, ""));
        assert!(run.stderr.contains("nothing is known"), "{run:?}");

        assert_eq!(site.learn(A), u(1));
        assert_eq!(site.learn(SILENT), SILENT, "nobody");
        let run = site.run(&["cache", "list"]);
        let lines: Vec<&str> = run.stdout.lines().collect();
        assert_eq!((run.code, lines.len()), (0, 3), "{run:?}");
        assert!(
            lines[1].starts_with(A) && lines[1].contains(&u(1)),
            "{run:?}"
        );
        assert!(lines[2].starts_with(SILENT), "sorted: {run:?}");
        assert!(lines[2].contains("unanswered"), "{run:?}");

        let records = site.run(&["cache", "--json"]).records();
        assert_eq!(records.len(), 2);
        assert_eq!(
            (&records[0]["anycast"], &records[0]["unicast"]),
            (&A.into(), &u(1).into())
        );
        let records = site.run(&["cache", "show", "--json", NAME]).records();
        assert_eq!((records.len(), &records[0]["state"]), (1, &"pinned".into()));
        let run = site.run(&["cache", "show", NAME]);
        assert_eq!(run.code, 0, "{run:?}");
        for part in [A, &u(1), "round trip", "refreshed", "epoch"] {
            assert!(run.stdout.contains(part), "{part}: {}", run.stdout);
        }
        let run = site.run(&["cache", "show", "2001:db8:a::77"]);
        assert_eq!(run.code, 1, "{run:?}");
        assert!(run.stderr.contains("nothing is known"), "{run:?}");

        // What was known is in doubt once the routes are others.
        site.lab.ip("client", "-6 route del default").unwrap();
        wait_until("a new epoch", PATIENCE, || {
            let run = site.run(&["cache", "show", SILENT]);
            Ok(run.code == 1 && run.stderr.contains("in doubt"))
        })
        .unwrap();
        let back = "-6 route add default via 2001:db8:1::1";
        site.lab.ip("client", back).unwrap();
        wait_until("it knows again", PATIENCE, || Ok(site.learn(A) == u(1))).unwrap();

        let usage = site.run(&["cache", "flush"]);
        assert_eq!(usage.code, 64, "{usage:?}");
        assert_eq!(site.run(&["cache", "flush", "2001:db8:a::/200"]).code, 64);
        let run = site.run(&["cache", "flush", "2001:db8:b::/48"]);
        assert_eq!(
            (run.code, run.stdout.as_str()),
            (0, "0 mappings forgotten\n")
        );
        let records = site.run(&["cache", "flush", A, "--json"]).records();
        assert_eq!(
            (&records[0]["count"], &records[0]["prefix"]),
            (&1.into(), &format!("{A}/128").into())
        );
        assert_eq!(site.run(&["cache", "show", A]).code, 1);
        assert_eq!(site.run(&["cache", "flush", "--all"]).code, 0);
        assert!(daemon.terminate(PATIENCE).unwrap().success());
    });
}

#[test]
fn without_a_daemon_one_line_says_so() {
    rootless::test(|| {
        let site = Site::new();
        let socket = site.socket();
        let socket = socket.to_str().unwrap();
        for arguments in [
            &["cache"][..],
            &["cache", "show", A],
            &["cache", "flush", "--all"],
            &["top"],
            &["events"],
            &["metrics"],
        ] {
            let run = site.run(arguments);
            assert_eq!((run.code, run.stdout.as_str()), (69, ""), "{arguments:?}");
            assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
            assert!(run.stderr.contains(socket), "{run:?}");
            assert!(run.stderr.contains("no such socket"), "{run:?}");
        }
        let records = site.run(&["top", "--json"]).records();
        assert_eq!(
            (&records[0]["type"], &records[0]["code"]),
            (&"nothing".into(), &69.into())
        );
        // Nothing is configured: the system's, and then this user's own.
        let run = ended(site.probe(&["cache"]).env("AARP_CONFIG", "/dev/null"));
        let own = site.lab.work().join("aarp/aarpd.sock");
        assert_eq!(run.code, 69);
        for place in ["/run/aarp/aarpd.sock", own.to_str().unwrap()] {
            assert!(run.stderr.contains(place), "{run:?}");
        }
    });
}

#[test]
fn what_a_dead_daemon_has_left_is_read() {
    rootless::test(|| {
        let site = Site::new();
        let daemon = site.start();
        assert_eq!(site.learn(A), u(1));
        daemon.kill();
        wait_until("it is dead", PATIENCE, || Ok(daemon.try_wait()?.is_some())).unwrap();
        for arguments in [&["cache", "--json"][..], &["cache", "show", A, "--json"]] {
            let run = site.run(arguments);
            let records = run.records();
            assert_eq!((run.code, records.len()), (0, 1), "{run:?}");
            assert_eq!(records[0]["unicast"], u(1));
            assert!(run.stderr.contains("nobody listens any more"), "{run:?}");
            let table = site.run.join("table");
            assert!(run.stderr.contains(table.to_str().unwrap()), "{run:?}");
            assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
        }
        // What it cannot do is not done by the table.
        assert_eq!(site.run(&["cache", "flush", "--all"]).code, 69);
        let run = site.run(&["doctor", "--json"]);
        let records = run.records();
        let found = finding(&records, "aarpd");
        assert_eq!(found["verdict"], "note", "{found}");
        let table = finding(&records, "mapping table");
        assert!(
            table["detail"]
                .as_str()
                .unwrap()
                .contains("until its mappings end"),
            "{table}"
        );
    });
}

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
        shows("what changes", &["CHANGING", &u(2)]);
        let failure = Failure {
            a: A.parse().unwrap(),
            u: u(2).parse().unwrap(),
            port: 80,
            protocol: 6,
            errno: 111,
        };
        // The daemon follows such words once a second at the most.
        wait_until("what fails", PATIENCE, || {
            site.tell(&Message::Failed(failure));
            let text = seen(&top.stdout()?);
            assert!(top.try_wait()?.is_none(), "it has ended: {text}");
            Ok(text.contains("FAILING"))
        })
        .unwrap();
        let text = seen(&top.stdout().unwrap());
        assert_eq!(text.matches("aarpd, process").count(), 1, "{text}");
        let mut keyboard = top.take_stdin().unwrap();
        std::io::Write::write_all(&mut keyboard, b"\x03").unwrap();
        assert_eq!(top.wait(PATIENCE).unwrap().code(), Some(0));
    });
}

#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_daemon_that_is_stuck_is_not_waited_for() {
    rootless::test(|| {
        let site = Site::new();
        let daemon = site.start();
        daemon.signal(Signal::STOP).unwrap();
        let started = boottime();
        let run = site.run(&["metrics"]);
        daemon.signal(Signal::CONT).unwrap();
        assert_eq!(run.code, 69, "{run:?}");
        assert!(run.stderr.contains("does not answer"), "{run:?}");
        assert!(boottime() - started < Duration::from_secs(60));
        assert_eq!(site.run(&["metrics"]).code, 0);
    });
}

/// The finding of a check.
fn finding<'r>(records: &'r [Value], check: &str) -> &'r Value {
    let found = records.iter().find(|record| record["check"] == check);
    found.unwrap_or_else(|| panic!("{check}: {records:#?}"))
}

#[test]
fn doctor_and_explain_say_whether_a_daemon_is_used() {
    rootless::test(|| {
        let site = Site::new();
        let doctor = |check: &str| {
            let records = site.run(&["doctor", "--json"]).records();
            let found = finding(&records, check);
            let text = |name: &str| found[name].as_str().unwrap().to_owned();
            (text("verdict"), text("detail"))
        };
        let explain = || {
            let records = site.run(&["explain", "--offline", "--json", A]).records();
            let decisions = records[0]["decisions"].as_array().unwrap().clone();
            let of = |name: &str| {
                let found = decisions.iter().find(|one| one["decision"] == name);
                found.map(|one| one["value"].as_str().unwrap().to_owned())
            };
            (of("aarpd").unwrap(), of("known already"))
        };
        let (verdict, detail) = doctor("aarpd");
        assert_eq!(verdict, "ok", "{detail}");
        assert!(detail.contains("asks by itself"), "{detail}");
        assert_eq!(doctor("mapping table").0, "ok");
        assert!(explain().0.starts_with("none"), "{:?}", explain());

        site.configure("use = \"require\"\n");
        let (verdict, detail) = doctor("aarpd");
        assert_eq!(verdict, "hindrance", "{detail}");
        assert!(detail.contains("require"), "{detail}");
        let run = site.run(&["explain", "--offline", A]);
        assert_eq!(run.code, 2, "{run:?}");

        let _daemon = site.start();
        site.learn(A);
        let (verdict, detail) = doctor("aarpd");
        assert_eq!(verdict, "ok", "{detail}");
        assert!(detail.contains(site.socket().to_str().unwrap()), "{detail}");
        let (verdict, detail) = doctor("mapping table");
        assert_eq!(verdict, "ok", "{detail}");
        assert!(detail.contains("1 mapping"), "{detail}");
        let (aarpd, known) = explain();
        assert!(aarpd.contains(site.socket().to_str().unwrap()), "{aarpd}");
        assert!(
            known.as_ref().is_some_and(|known| known.contains(&u(1))),
            "{known:?}"
        );

        // A file that others may write is nobody's to trust.
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
        std::fs::set_permissions(site.run.join("table"), mode).unwrap();
        let (verdict, detail) = doctor("mapping table");
        assert_eq!(verdict, "note", "{detail}");
        assert!(
            detail.contains("others may write it (mode 0666)"),
            "{detail}"
        );

        site.configure("use = \"off\"\n");
        let (verdict, detail) = doctor("aarpd");
        assert_eq!(verdict, "ok", "{detail}");
        assert!(detail.contains("off"), "{detail}");
        assert!(explain().0.contains("not asked"), "{:?}", explain());
        assert_eq!(explain().1, None);
    });
}

#[test]
fn another_users_daemon_is_asked_only_by_name() {
    rootless::test(|| {
        let site = Site::new();
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
        if map.split_ascii_whitespace().nth(2) != Some("4294967295") {
            let why = "there is no other user in a user namespace";
            return rootless::skipped("another_users_daemon_is_asked_only_by_name", why);
        }
        // Somebody who listens where a daemon would, and hangs up.
        let listener = "import socket, sys, os\n\
            s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n\
            s.bind(sys.argv[1]); os.chmod(sys.argv[1], 0o777); s.listen()\n\
            print('listens', flush=True)\n\
            while True: s.accept()[0].close()";
        std::fs::create_dir_all(&site.run).unwrap();
        for folder in [site.lab.work(), &site.run] {
            let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
            std::fs::set_permissions(folder, open).unwrap();
        }
        let command = site.host().command("/usr/bin/python3").user(65534, 65534);
        let command = command.args(["-c", listener]).arg(site.socket());
        let other = command.spawn().unwrap();
        printed(&other, "listens");
        let run = site.run(&["events"]);
        assert_eq!(run.code, 77, "{run:?}");
        assert!(run.stderr.contains("user 65534"), "{run:?}");
        let records = site.run(&["doctor", "--json"]).records();
        let found = finding(&records, "aarpd");
        assert_eq!(found["verdict"], "note", "{found}");
        let socket = site.socket();
        let named = ["metrics", "--socket", socket.to_str().unwrap()];
        let run = site.run(&named);
        assert_eq!(run.code, 69, "asked: {run:?}");
        site.configure("user = \"65534\"\n");
        assert_eq!(site.run(&["metrics"]).code, 69, "trusted");
    });
}
