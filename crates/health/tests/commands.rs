//! `command` with real programs.
#![allow(missing_docs)]

mod servers;

use std::path::{Path, PathBuf};
use std::time::Duration;

use aarp_health::{Check, Command, Kind, Monitor, Outcome, State};
use servers::*;

const SHORT: Duration = Duration::from_secs(1);

fn command(words: &[&str]) -> Check {
    let mut words = words.iter().map(|word| (*word).to_owned());
    let kind = Kind::Command(Command {
        program: words.next().expect("a program"),
        arguments: words.collect(),
    });
    Check {
        timeout: PATIENCE,
        ..Check::new(kind)
    }
}

fn shell(script: &str) -> Check {
    command(&["/bin/sh", "-c", script])
}

fn wrong(reason: &str) -> Result<(), String> {
    Err(reason.to_owned())
}

/// Whether the process runs: neither gone nor waiting to be buried.
fn runs(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state stands behind the name, which may have anything in it.
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// A script that writes the ids of its processes and then waits for ever.
struct Hanging {
    folder: tempfile::TempDir,
}

impl Hanging {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("pids")
    }

    fn script(&self, file: &Path) -> String {
        let file = file.display();
        // It appears with all of its content at once.
        format!(
            "trap '' TERM HUP INT; sleep 900 & (sleep 900 & echo $! > {file}.2; wait) & \
             until [ -s {file}.2 ]; do :; done; \
             echo $$ $! $(cat {file}.2) > {file}.1; mv {file}.1 {file}; wait"
        )
    }

    /// The processes, once they have said who they are.
    fn pids(&self) -> Option<Vec<String>> {
        let text = std::fs::read_to_string(self.file()).ok()?;
        Some(text.split_whitespace().map(str::to_owned).collect())
    }
}

#[test]
fn exit_statuses() {
    assert_eq!(once(&shell("exit 0")), Ok(()));
    assert_eq!(once(&shell("exit 3")), wrong("exit status 3"));
    let said = "echo; echo ' disk is full '; echo more >&2; exit 1";
    assert_eq!(once(&shell(said)), wrong("exit status 1: disk is full"));
    let complained = "printf 'no \\033[1mroute' >&2; exit 255";
    assert_eq!(
        once(&shell(complained)),
        wrong("exit status 255: no ?[1mroute")
    );
    assert_eq!(once(&shell("kill -9 $$")), wrong("killed by signal 9"));
}

#[test]
fn arguments_go_through_no_shell() {
    let check = command(&["/bin/sh", "-c", "echo \"$1\"; exit 1", "sh", "$(id); 'x' *"]);
    assert_eq!(once(&check), wrong("exit status 1: $(id); 'x' *"));
}

#[test]
fn it_is_told_which_check_it_is_and_whom_to_ask() {
    let mut check = shell("echo \"$AARP_CHECK_ADDRESS $AARP_CHECK\"; exit 1");
    let label = check.to_string();
    assert!(label.starts_with("command:/bin/sh -c echo"), "{label}");
    assert_eq!(once(&check), wrong(&format!("exit status 1: ::1 {label}")));
    check.address = Some("2001:db8::7".parse().expect("an address"));
    assert_eq!(
        once(&check),
        wrong(&format!("exit status 1: 2001:db8::7 {label}"))
    );
}

#[test]
fn its_input_is_empty_and_it_holds_nothing_of_ours() {
    assert_eq!(once(&shell("! read line")), Ok(()));
    // What was open before this program was started, and would have been without us.
    let inherited = |fd: &str| {
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{fd}"));
        let flags = info.ok().and_then(|info| {
            let line = info.lines().find_map(|line| line.strip_prefix("flags:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        });
        flags.is_some_and(|flags| flags & rustix::fs::OFlags::CLOEXEC.bits() == 0)
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("open");
    let (open, done) = (file.display(), folder.path().join("done"));
    let script = format!("ls /proc/self/fd > {open}; : > {}", done.display());
    // With its eventfds and the pipes of two commands.
    let checks = vec![shell("exec sleep 900"), shell(&script)];
    let monitor = Monitor::start(checks, HERE).expect("threads");
    eventually("it has looked", || done.exists());
    drop(monitor);
    let open = std::fs::read_to_string(&file).expect("a list");
    let more = open.split_whitespace().filter(|fd| !inherited(fd));
    let more: Vec<&str> = more.filter(|fd| !["0", "1", "2"].contains(fd)).collect();
    // The folder itself, as ls reads it.
    assert!(more.len() <= 1, "{more:?}");
}

#[test]
fn programs_that_cannot_be_started() {
    let missing = command(&["/nonexistent/check"]);
    let reason = "cannot be started: No such file or directory (os error 2)";
    assert_eq!(once(&missing), wrong(reason));
    let folder = tempfile::tempdir().expect("a folder");
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "#!/bin/sh\nexit 0\n").expect("a file");
    let reason = "cannot be started: Permission denied (os error 13)";
    let plain = plain.to_str().expect("a path");
    assert_eq!(once(&command(&[plain])), wrong(reason));
    let folder = folder.path().to_str().expect("a path");
    assert_eq!(once(&command(&[folder])), wrong(reason));
}

#[test]
fn megabytes_are_no_hindrance() {
    let script = "head -c 20000000 /dev/zero; head -c 20000000 /dev/zero >&2";
    assert_eq!(once(&shell(script)), Ok(()));
    let endless = Check {
        timeout: SHORT,
        ..command(&["/bin/cat", "/dev/zero"])
    };
    assert_eq!(once(&endless), wrong("no end within 1 s"));
}

#[test]
fn one_that_hangs_is_killed_with_all_that_it_has_started() {
    // How long it takes to start is not ours to say.
    for seconds in [1, 5, 25, 60] {
        let hanging = Hanging::new();
        let check = Check {
            timeout: Duration::from_secs(seconds),
            ..shell(&hanging.script(&hanging.file()))
        };
        let outcome = check.run(HERE);
        assert_eq!(outcome.result, wrong(&format!("no end within {seconds} s")));
        assert!(outcome.latency >= Duration::from_secs(seconds));
        if let Some(pids) = hanging.pids() {
            assert_eq!(pids.len(), 3);
            eventually("all are gone", || !pids.iter().any(|pid| runs(pid)));
            return;
        }
    }
    panic!("a shell takes more than a minute to start");
}

#[test]
fn one_that_has_stopped_itself_is_killed() {
    let check = Check {
        timeout: SHORT,
        ..shell("kill -STOP $$")
    };
    assert_eq!(once(&check), wrong("no end within 1 s"));
}

#[test]
fn what_it_leaves_behind_is_not_waited_for_and_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pid");
    // It has our pipe still open.
    let script = format!("sleep 900 & echo $! > {}; exit 0", file.display());
    let Outcome { result, latency } = shell(&script).run(HERE);
    assert_eq!(result, Ok(()));
    assert!(latency < PATIENCE, "{latency:?}");
    let pid = std::fs::read_to_string(&file).expect("its id");
    eventually("it is gone", || !runs(pid.trim()));
}

#[test]
fn no_process_is_left_when_the_monitor_is_dropped() {
    let hanging = Hanging::new();
    let check = shell(&hanging.script(&hanging.file()));
    let monitor = Monitor::start(vec![check], HERE).expect("threads");
    eventually("it runs", || hanging.pids().is_some());
    let pids = hanging.pids().expect("there they are");
    assert!(pids.iter().all(|pid| runs(pid)), "{pids:?}");
    let start = std::time::Instant::now();
    drop(monitor);
    // Its own time is not waited for.
    assert!(start.elapsed() < PATIENCE);
    eventually("all are gone", || !pids.iter().any(|pid| runs(pid)));
}

#[test]
fn none_is_left_to_be_buried() {
    let check = Check {
        interval: Duration::from_millis(10),
        ..shell("exit 0")
    };
    let monitor = Monitor::start(vec![check], HERE).expect("threads");
    eventually("some rounds", || monitor.status()[0].successes > 20);
    assert_eq!(monitor.state(), State::Up);
    let own = std::process::id();
    let zombies = || {
        let children = std::fs::read_dir("/proc").expect("/proc").flatten();
        let stats =
            children.filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok());
        stats
            .filter(|stat| stat.contains("(sh) Z ") && stat.contains(&format!(") Z {own} ")))
            .count()
    };
    drop(monitor);
    // Those of other tests of this program are waited for by their threads.
    eventually("none waits", || zombies() == 0);
}
