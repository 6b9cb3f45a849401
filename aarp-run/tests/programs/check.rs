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

/// In a network namespace of its own ping sockets are for nobody, and a user
/// without capabilities has no raw ones.
#[test]
fn no_probe_can_be_sent() {
    if !root_or_skip("no_probe_can_be_sent") {
        return;
    }
    let prefix = Prefix::new();
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
        .env_remove("AARP_LIBRARY");
    let run = Run::of(&mut command);
    assert_eq!(run.code, Some(125), "{run:?}");
    for word in [
        "ok      loaded",
        "FAILED  probe",
        "\"1 0\"",
        "sysctl -w net.ipv4.ping_group_range",
    ] {
        assert!(run.out.contains(word), "no {word:?} in {run:?}");
    }
}
