//! Whom these programs ask, for how long, and whom they leave alone: the library's order
//! (docs/adr/0005-aarpd.md).

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use aarp_lab::{Signal, rootless, wait_until};

use crate::site::{A, Linked, PATIENCE, Site, u};
use crate::{WHOLE, results, source, stage};

/// Its sign of life is late: it is given a part of the time, and what is left is for the
/// network.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_daemon_that_may_be_stuck_leaves_time_for_the_network() {
    rootless::test(|| {
        let site = Site::new("");
        let results = site.compile(&results(), Linked::Shared);
        let daemon = site.start();
        daemon.signal(Signal::STOP).unwrap();
        site.age(Duration::from_secs(8));
        let said = site.results("client", &results, &[(A, WHOLE)]);
        assert_eq!(said, [format!("0, {}, 4, fine", u(1))]);
        daemon.signal(Signal::KILL).unwrap();
    });
}

/// Who is busy, talks nonsense, or cannot be spoken to is not tried again at once: not for
/// so many seconds.
#[test]
fn a_daemon_that_does_not_serve_is_left_alone_for_a_while() {
    if !stage::has(&["strace"]) {
        return;
    }
    rootless::test(|| {
        let site = Site::new("");
        let results = site.compile(&results(), Linked::Shared);
        let plain = ["-e", "trace=connect"].as_slice();
        // Whose the socket is cannot be found out, once.
        let broken = [
            "-e",
            "trace=connect,getsockopt",
            "-e",
            "inject=getsockopt:error=ENOBUFS:when=1",
        ];
        let ways = [
            ("octets", plain, 10),
            ("busy", plain, 2),
            ("answers", &broken, 2),
        ];
        for (way, more, pause) in ways {
            let _stranger = site.listen(way);
            // Each is a question.
            let asked = ["53", "54", "55", "56"].map(|n| format!("2001:db8:a::{n}"));
            let asked = asked.each_ref().map(|a| (a.as_str(), WHOLE));
            let began = Instant::now();
            let (said, dials) = site.traced(more, &results, &asked);
            let most = 1 + began.elapsed().as_secs() as usize / pause;
            assert_eq!(said[0], format!("0, {}, 4, fine", u(1)), "{way}");
            assert!((1..=most).contains(&dials), "{way}: {dials} times");
        }
    });
}

/// What a daemon tells whose table cannot be read is remembered by the program itself.
#[test]
fn what_no_table_keeps_is_remembered() {
    rootless::test(|| {
        let site = Site::new("");
        let results = site.compile(&results(), Linked::Shared);
        let _daemon = site.start();
        let said = |a| site.results("client", &results, &[(a, WHOLE), (a, 0)]);
        let by = |sources: [u32; 2]| sources.map(|source| format!("0, {}, {source}, fine", u(1)));
        assert_eq!(said(A), by([3, 1]));
        fs::remove_file(site.table()).unwrap();
        assert_eq!(said("2001:db8:a::54"), by([3, 2]));
    });
}

/// A mapping that will soon end is used again and again: the daemon is told once, and once
/// more when it holds anew.
#[test]
fn use_is_told_once() {
    rootless::test(|| {
        let site = Site::new("");
        let results = site.compile(&results(), Linked::Shared);
        let daemon = site.start();
        let other = "2001:db8:a::54";
        // Who has heard of the other has heard what was said before.
        let turn = [("wait", 0), (A, 0), (A, 0), (A, 0), (other, 0)];
        let asked = [[(A, WHOLE)].as_slice(), &turn, &turn].concat();
        let (process, mut stdin) = site.spawn(&results, &asked);
        process.wait_stdout("fine\n", PATIENCE).unwrap();
        daemon.signal(Signal::KILL).unwrap();
        daemon.wait(PATIENCE).unwrap();
        let stranger = site.listen("nothing");
        for turn in 1..=2 {
            site.is_due(A);
            writeln!(stdin, "go").unwrap();
            let is_asked = || Ok(stranger.stdout()?.matches("asked 1\n").count() == turn);
            wait_until("it has asked", PATIENCE, is_asked).unwrap();
            let heard = stranger.stdout().unwrap().matches("asked").count();
            assert_eq!(heard - turn, turn);
        }
        assert!(process.wait(PATIENCE).unwrap().success());
        let said = process.stdout().unwrap();
        let held = format!("0, {}, 1, fine\n", u(1));
        assert_eq!(said.matches(&held).count(), 6, "{said}");
    });
}

/// A signal comes while a file is open, and its handler jumps out of the question: nothing
/// stays open.
#[test]
fn a_handler_that_does_not_return_leaves_nothing_open() {
    if !stage::has(&["strace"]) {
        return;
    }
    rootless::test(|| {
        let site = Site::new("");
        let [results, jumps] =
            [results(), source("jumps.c")].map(|source| site.compile(&source, Linked::Shared));
        let _daemon = site.start();
        site.results("client", &results, &[(A, WHOLE)]);
        for file in [site.table(), site.config()] {
            let strace = site.command("client", Path::new("strace")).arg("-qq");
            let strace = strace.args(["-o", "/dev/null", "-e", "trace=openat", "-P"]);
            let strace = strace.arg(&file);
            let strace = strace.args(["-e", "inject=openat:signal=SIGUSR1:when=1"]);
            let output = strace.arg(&jumps).arg(A).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(said, "jumped 1, left 0, told by 1\n", "{}", file.display());
        }
    });
}
