//! Whether there is a daemon, and whose.

use std::process::Stdio;
use std::time::Duration;

use aarp_lab::{Signal, rootless};
use aarp_sys::clock::boottime;
use aarp_wire::mapper::Message;

use super::{Site, finding, printed};
use crate::site::{A, ended, probe, u};

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
        assert!(explain().0.starts_with("not there"), "{:?}", explain());

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

        // Elsewhere other responders may answer: it is required, and says nothing there.
        let elsewhere = site.lab.host("router").unwrap();
        let doctor_elsewhere = probe(elsewhere, &["doctor", "--json"]);
        let records = ended(doctor_elsewhere.env("AARP_CONFIG", &site.config)).records();
        for (check, verdict) in [("aarpd", "hindrance"), ("mapping table", "note")] {
            let found = finding(&records, check);
            let detail = found["detail"].as_str().unwrap();
            assert_eq!(found["verdict"], verdict, "{detail}");
            assert!(detail.contains("another network namespace"), "{detail}");
        }

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
fn what_means_nothing_is_shown_to_nobody() {
    rootless::test(|| {
        let site = Site::new();
        let packet = |message: &Message<'_>| {
            let mut buffer = vec![0; 1024];
            let packet = message.emit(1, &mut buffer).unwrap();
            let octets = packet.iter().map(|octet| format!("{octet:02x}"));
            octets.collect::<String>()
        };
        let text = |text: &str| packet(&Message::Text(text));
        let listener = "import socket, sys\n\
            s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)\n\
            s.bind(sys.argv[1]); s.listen()\n\
            print('listens', flush=True)\n\
            kept = []\n\
            for said in sys.argv[3:]:\n\
            \x20 c = s.accept()[0]; kept.append(c)\n\
            \x20 try: c.send(bytes.fromhex(said)); c.send(bytes.fromhex(sys.argv[2]))\n\
            \x20 except ConnectionError: pass # who has read the first may be gone\n\
            sys.stdin.read()";
        std::fs::create_dir_all(&site.run).unwrap();
        let command = site.host().command("/usr/bin/python3");
        let command = command.args(["-c", listener]).arg(site.socket());
        // No message; what would clear the terminal; no record; a record of something else.
        let said = [
            &packet(&Message::Done(1)),
            "00ff",
            &text("\x1b[2J\n"),
            &text("no record\n"),
            &text("{}\n"),
        ];
        let command = command.args(said).stdin(Stdio::piped());
        let other = command.spawn().unwrap();
        printed(&other, "listens");
        for arguments in [&["cache"][..], &["metrics"], &["events"], &["top"]] {
            let run = site.run(arguments);
            assert_eq!(
                (run.code, run.stdout.as_str()),
                (69, ""),
                "{arguments:?} {run:?}"
            );
            assert!(run.stderr.contains("means nothing"), "{run:?}");
            assert!(!run.stderr.contains('\x1b'), "{run:?}");
        }
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
        let command = site.host().command("/usr/bin/python3").user(4711, 4711);
        let command = command.args(["-c", listener]).arg(site.socket());
        let other = command.spawn().unwrap();
        printed(&other, "listens");
        let run = site.run(&["events"]);
        assert_eq!(run.code, 77, "{run:?}");
        assert!(run.stderr.contains("user 4711"), "{run:?}");
        let records = site.run(&["doctor", "--json"]).records();
        let found = finding(&records, "aarpd");
        assert_eq!(found["verdict"], "note", "{found}");
        let socket = site.socket();
        let named = ["metrics", "--socket", socket.to_str().unwrap()];
        let run = site.run(&named);
        assert_eq!(run.code, 69, "asked: {run:?}");
        site.configure("user = \"4711\"\n");
        assert_eq!(site.run(&["metrics"]).code, 69, "trusted");
    });
}
