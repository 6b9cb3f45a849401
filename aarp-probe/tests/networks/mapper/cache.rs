//! `cache`: what aarpd knows, and what a dead one has left.

use aarp_lab::{rootless, wait_until};

use super::{SILENT, Site, finding, keep};
use crate::site::{A, NAME, PATIENCE, u};

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
        keep("cache-list.txt", &run.stdout);

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
        keep("cache-show.txt", &run.stdout);
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

/// Users may read so much at once, and so much in a second: a script that looks for many
/// addresses takes its time, and does not fail.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_user_who_looks_for_many_waits_for_its_turn() {
    rootless::test(|| {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
        if map.split_ascii_whitespace().nth(2) != Some("4294967295") {
            let name = "a_user_who_looks_for_many_waits_for_its_turn";
            return rootless::skipped(name, "there is no other user in a user namespace");
        }
        let site = Site::new();
        let open = || std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(site.lab.work(), open()).unwrap();
        // Where that user can reach it.
        let program = site.lab.work().join("aarp-probe");
        std::fs::copy(env!("CARGO_BIN_EXE_aarp-probe"), &program).unwrap();
        std::fs::set_permissions(&program, open()).unwrap();
        let _daemon = site.start();
        assert_eq!(site.learn(A), u(1));
        // All at once, so that no machine is too slow to say too much.
        let script = format!(
            "for n in $(seq 60); do
                {} cache show {A} --socket {} >/dev/null || echo failed &
             done; wait; echo done",
            program.display(),
            site.socket().display()
        );
        let user = site.host().command("sh").user(65534, 65534);
        let output = user.args(["-c", &script]).run().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "done\n");
    });
}
