//! What stands where a table and a daemon would be and is none, or is somebody else's: a
//! line for those who look, and the program goes on.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Stdio;
use std::time::Instant;

use aarp_lab::{Process, Signal};

use crate::daemon::{Served, kill, with_daemon};
use crate::silent::Client;
use crate::site::{A, Counters, Failure, PATIENCE, PORT, Variant};
use crate::stage::{python, skip};

/// A user who is neither root nor this one.
const STRANGER: u32 = 4711;

/// Lets somebody listen where the daemon would.
pub fn listen(served: &Served, way: &str, user: u32) -> Process {
    let socket = served.table().with_file_name("aarpd.sock");
    // What the last one has left.
    match fs::remove_file(&socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
        _ => {}
    }
    let host = served.site.lab.host("client").expect("a host");
    let command = host.command(python()).user(user, user);
    let command = command
        .args(["-c", include_str!("stranger.py")])
        .arg(socket);
    let stranger = command.arg(way).stdin(Stdio::piped()).spawn();
    let stranger = stranger.expect("python3 starts");
    stranger
        .wait_stdout("listens", PATIENCE)
        .expect("it listens");
    stranger
}

/// Whether there are users besides this one: not in an ordinary user's namespace.
fn has_other_users() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").expect("/proc is mounted");
    let is_whole = map.split_ascii_whitespace().nth(2) == Some("4294967295");
    if !is_whole {
        skip("there is no other user in a user namespace");
    }
    is_whole
}

/// A curl that says what it decides.
fn curl(served: &Served) -> (String, Counters) {
    served.fetched(served.command("curl").env("AARP_LOG", "debug").arg("-sS"))
}

fn assert_goes_on((by, counters): &(String, Counters), why: &str) {
    let seen = ["pinned", "told", "hits", "probes"].map(|name| counters.get(name));
    let served = (by.as_str(), seen);
    assert_eq!(served, ("s1", [1, 0, 0, 1]), "{why}: {}", counters.log);
}

fn lines<'l>(counters: &'l Counters, of: &str) -> Vec<&'l str> {
    let lines = counters.log.lines();
    lines.filter(|line| line.contains(of)).collect()
}

/// A table and a socket of another user's count for nobody, whatever they say.
#[test]
fn a_foreign_users_table_and_socket_are_refused() {
    with_daemon(Variant::default(), "", |served| {
        if !has_other_users() {
            return;
        }
        let mut daemon = served.start();
        assert_eq!(served.curl().1.get("told"), 1);
        kill(&mut daemon);
        let folder = served.table().parent().expect("a folder").to_owned();
        let open = fs::Permissions::from_mode(0o777);
        for folder in [&folder, served.site.lab.work()] {
            fs::set_permissions(folder, open.clone()).expect("its mode changes");
        }
        // Nobody else's, and nobody's at all: what the kernel calls those without a number.
        for user in [STRANGER, aarp_sys::process::overflow_user()] {
            chown(served.table(), Some(user), Some(user)).expect("its owner changes");
            let stranger = listen(served, "answers", user);
            let run = curl(served);
            assert_goes_on(&run, "a stranger");
            let refused = format!("belongs to user {user}, who is not trusted");
            for file in ["aarp/table: ", "aarp/aarpd.sock: "] {
                let said = lines(&run.1, file);
                assert_eq!(said.len(), 1, "{file}{}", run.1.log);
                assert!(said[0].ends_with(&refused), "{}", said[0]);
            }
            assert!(!stranger.stdout().expect("it").contains("asked"));
            drop(stranger);
        }
        // Whom the system's configuration names is believed.
        let config = fs::read_to_string(served.config()).expect("a configuration");
        let named = config.replace("entries", &format!("user = \"{STRANGER}\"\nentries"));
        fs::write(served.config(), &named).expect("a writable folder");
        chown(served.table(), Some(STRANGER), None).expect("its owner changes");
        assert_eq!(served.curl().1.get("hits"), 1);
        // Not where the file is somebody's who is not trusted himself, or others may write
        // it.
        let mode = |mode| fs::Permissions::from_mode(mode);
        fs::set_permissions(served.config(), mode(0o646)).expect("its mode changes");
        assert_eq!(served.curl().1.get("hits"), 0);
        fs::set_permissions(served.config(), mode(0o644)).expect("its mode changes");
        chown(served.config(), Some(STRANGER), None).expect("its owner changes");
        assert_eq!(served.curl().1.get("hits"), 0);
    });
}

/// A program of root's that acts for another user for a moment reads nothing of that user's,
/// nor asks them: it would go on with it when it is root again.
#[test]
fn who_acts_for_a_stranger_does_not_trust_them() {
    with_daemon(Variant::default(), "", |served| {
        if !has_other_users() {
            return;
        }
        let mut daemon = served.start();
        assert_eq!(served.curl().1.get("told"), 1);
        kill(&mut daemon);
        let folder = served.table().parent().expect("a folder").to_owned();
        for folder in [&folder, served.site.lab.work()] {
            let open = fs::Permissions::from_mode(0o777);
            fs::set_permissions(folder, open).expect("its mode changes");
        }
        chown(served.table(), Some(STRANGER), None).expect("its owner changes");
        let stranger = listen(served, "answers", STRANGER);
        let connect = format!(
            "import os, socket; {{}}; s = socket.socket(socket.AF_INET6); s.connect(('{A}', {PORT}))"
        );
        let run = |switch: &str| {
            let script = connect.replace("{}", switch);
            let command = served.command(python()).args(["-c", &script]);
            let output = command.env("AARP_LOG", "debug").output();
            let output = output.expect("python3 runs");
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(output.status.success(), "{log}");
            Counters::parse(&log)
        };
        let acting = run(&format!("os.seteuid({STRANGER})"));
        let seen = ["told", "hits"].map(|name| acting.get(name));
        assert_eq!(seen, [0, 0], "{}", acting.log);
        let refused = format!("belongs to user {STRANGER}, who is not trusted");
        assert_eq!(lines(&acting, &refused).len(), 2, "{}", acting.log);
        assert!(!stranger.stdout().expect("it").contains("asked"));
        // Who is that user for good has a table of their own.
        let being = run(&format!("os.setuid({STRANGER})"));
        assert_eq!(being.get("hits"), 1, "{}", being.log);
    });
}

/// Whoever says what means nothing, or hangs up, is not waited for.
#[test]
fn a_daemon_that_talks_nonsense_is_left_alone() {
    with_daemon(Variant::default(), "", |served| {
        for way in [
            "octets",
            "half",
            "another id",
            "another address",
            "zeros",
            "on and on",
            "hangs up",
        ] {
            let stranger = listen(served, way, 0);
            let run = curl(served);
            assert_goes_on(&run, way);
            let said = lines(&run.1, "aarpd.sock: ");
            assert_eq!(said.len(), 1, "{way}: {}", run.1.log);
            let expected = match way {
                "hangs up" => "aarpd cannot be reached: ",
                _ => "aarpd says what means nothing",
            };
            assert!(said[0].contains(expected), "{way}: {}", said[0]);
            drop(stranger);
        }
        // And one that makes sense is believed: the way of asking is right.
        let stranger = listen(served, "answers", 0);
        let (by, counters) = curl(served);
        assert_eq!(
            (by.as_str(), counters.get("told")),
            ("s2", 1),
            "{}",
            counters.log
        );
        drop(stranger);
    });
}

/// A daemon that has no room for one more is not tried again at once.
#[test]
fn a_busy_daemon_is_left_alone_for_a_while() {
    with_daemon(Variant::default(), "", |served| {
        let stranger = listen(served, "busy", 0);
        // Each of its calls is a question.
        let variables = [("AARP_TTL", "1us"), ("AARP_LOG", "debug")];
        let mut client = Client::start(served, &variables);
        let began = Instant::now();
        for _ in 0..5 {
            assert_eq!(client.connect(), "s1");
        }
        let took = began.elapsed();
        let counters = client.end();
        let seen = ["pinned", "probes", "told"].map(|name| counters.get(name));
        assert_eq!(seen, [5, 5, 0], "{}", counters.log);
        let tried = lines(&counters, "aarpd.sock: aarpd is busy").len() as u64;
        assert!(
            (1..=1 + took.as_secs() / 2).contains(&tried),
            "{took:?}: {}",
            counters.log
        );
        drop(stranger);
    });
}

/// A U that has failed is told to the daemon that has named it, also where its table is not
/// to be seen.
#[test]
fn a_failure_is_told_to_whoever_has_named_u() {
    with_daemon(Variant::default(), "", |served| {
        let stranger = listen(served, "answers", 0);
        served.site.break_u("s2", Failure::Reset);
        let (by, counters) = served.wget();
        assert_eq!(by, "s1", "{}", counters.log);
        assert_eq!(counters.get("refuted"), 1, "{}", counters.log);
        let said = stranger.stdout().expect("what it says");
        // RESOLVE, FAILED, and RESOLVE anew.
        assert_eq!(said, "listens\nasked 1\nasked 3\nasked 1\n");
    });
}

/// One that takes questions and says nothing holds nobody for the whole budget.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_daemon_that_never_answers_leaves_time_for_the_network() {
    with_daemon(Variant::default(), "", |served| {
        let stranger = listen(served, "nothing", 0);
        assert_goes_on(&curl(served), "curl");
        let wget = served.wget();
        assert_goes_on(&wget, "wget");
        stranger.signal(Signal::KILL).expect("it runs");
    });
}
