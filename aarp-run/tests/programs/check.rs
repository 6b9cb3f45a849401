//! `aarp-run --check`.

use crate::support::{Prefix, Run, root_or_skip};

/// Whether a probe can be sent is the machine's affair; as root it can.
#[test]
fn all_well() {
    if !root_or_skip("all_well") {
        return;
    }
    let prefix = Prefix::new();
    let run = prefix.run(&["--check", "sh"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    for word in [
        "ok      loaded",
        "ok      probe",
        "ping_group_range",
        "/sh",
        "ready",
    ] {
        assert!(run.out.contains(word), "no {word:?} in {run:?}");
    }
}

#[test]
fn a_library_that_is_not_loaded() {
    let prefix = Prefix::new();
    let run = prefix.run(&["--check"]);
    assert!(run.out.contains("ok      loaded"), "{run:?}");
    // A shared object that the dynamic linker does not take: it needs one that
    // does not exist. glibc says so, and runs the program all the same.
    prefix.program("empty.c", "int empty;\n");
    prefix.cc(
        &["-shared", "-fPIC", "-Wl,-soname,libnowhere.so"],
        "empty.c",
        "libnowhere.so",
    );
    let needed = prefix.path("libnowhere.so");
    let needed = needed.to_str().expect("UTF-8");
    prefix.cc(
        &["-shared", "-fPIC", "-Wl,--no-as-needed", needed],
        "empty.c",
        "lib/aarp/libaarp.so",
    );
    std::fs::remove_file(needed).expect("remove");
    let run = prefix.run(&["--check"]);
    assert_eq!(run.code, Some(125), "{run:?}");
    assert!(run.out.contains("FAILED  loaded"), "{run:?}");
    assert!(run.out.contains("libnowhere.so"), "{run:?}");
    assert!(run.out.contains("not ready"), "{run:?}");
}

#[test]
fn a_command_that_cannot_be_preloaded() {
    let prefix = Prefix::new();
    prefix.program("start.c", "void _start(void) { for (;;) ; }\n");
    prefix.cc(&["-static", "-nostdlib"], "start.c", "static");
    let run = prefix.run(&["--check".as_ref(), prefix.path("static").as_os_str()]);
    assert_eq!(run.code, Some(125), "{run:?}");
    assert!(run.out.contains("FAILED  command"), "{run:?}");
    assert!(run.out.contains("statically linked"), "{run:?}");
}

/// `--check` in a network namespace of its own, where ping sockets are for nobody, as
/// a user without capabilities, who has no raw ones.
fn check_as_nobody(prefix: &Prefix, variables: &[(&str, &str)]) -> Run {
    let mut command = std::process::Command::new("unshare");
    command
        .args([
            "--net",
            "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
        ])
        .arg(prefix.path("bin/aarp-run"))
        .arg("--check")
        .env("AARP_CONFIG", prefix.path("empty.toml"))
        .env_remove("AARP_LIBRARY")
        .envs(variables.iter().copied());
    Run::of(&mut command)
}

#[test]
fn no_probe_can_be_sent() {
    if !root_or_skip("no_probe_can_be_sent") {
        return;
    }
    let prefix = Prefix::new();
    let run = check_as_nobody(&prefix, &[]);
    assert_eq!(run.code, Some(125), "{run:?}");
    for word in [
        "ok      loaded",
        "FAILED  probe",
        "\"1 0\"",
        "sysctl -w net.ipv4.ping_group_range",
        // What would need no permission.
        "AARP_METHODS=unreach AARP_PREFIXES=",
    ] {
        assert!(run.out.contains(word), "no {word:?} in {run:?}");
    }
}

#[test]
fn unreach_needs_no_permission() {
    if !root_or_skip("unreach_needs_no_permission") {
        return;
    }
    let prefix = Prefix::new();
    let prefixes = ("AARP_PREFIXES", "2001:db8:a::/48");
    let trusted = ("AARP_TRUSTED", "2001:db8:51::/48");
    for methods in ["unreach", "echo,unreach"] {
        let methods = ("AARP_METHODS", methods);
        let run = check_as_nobody(&prefix, &[methods, prefixes, trusted]);
        assert_eq!(run.code, Some(0), "{run:?}");
        assert!(
            run.out.contains("ok      probe        by unreach"),
            "{run:?}"
        );
        // What it lacks is said.
        let run = check_as_nobody(&prefix, &[methods, prefixes]);
        assert_eq!(run.code, Some(125), "{run:?}");
        assert!(run.out.contains("`trusted` is not set"), "{run:?}");
    }
}

/// With a way to the loopback address, an unreachable port is reported from there.
#[test]
fn unreach_is_proved() {
    let prefix = Prefix::new();
    let run = Run::of(
        prefix
            .command()
            .arg("--check")
            .env("AARP_METHODS", "unreach")
            .env("AARP_PREFIXES", "2001:db8:a::/48")
            .env("AARP_TRUSTED", "2001:db8:51::/48"),
    );
    assert_eq!(run.code, Some(0), "{run:?}");
    assert!(
        run.out
            .contains("by unreach: a port-unreachable came back from ::1")
            || run.out.contains("by unreach: socket opened; no way to ::1"),
        "{run:?}"
    );
}
