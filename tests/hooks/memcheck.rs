//! The programs of these tests under valgrind: what of its complaints comes through the
//! library.

use std::fs;

use aarp_lab::rootless;

use crate::{NEEDED, echo, run_by, silent_site, stage};

/// What valgrind complains of.
#[derive(Debug, PartialEq, Eq)]
struct Complaint {
    what: String,
    /// It happens in the library itself.
    in_library: bool,
    /// Where the program was: a line of its source.
    line: String,
}

/// The complaints that valgrind has written down.
fn complaints(log: &str) -> Vec<Complaint> {
    // `==PID==` alone on its line ends a complaint.
    let lines = log.lines().map(|line| line.split_once("== "));
    let lines: Vec<&str> = lines
        .map(|line| line.map_or("", |(_, text)| text))
        .collect();
    let parts = lines.split(|line| line.trim().is_empty());
    let stacks = parts.filter(|part| part.iter().any(|line| line.starts_with("   at 0x")));
    stacks
        .map(|part| {
            let innermost = part.iter().find(|line| line.starts_with("   at 0x"));
            let own = ["(ours.c:", "(native.c:"];
            let at = |line: &&str| {
                let (_, at) = own.iter().find_map(|file| line.split_once(file))?;
                Some(at.to_owned())
            };
            Complaint {
                what: part[0].to_owned(),
                in_library: innermost.is_some_and(|line| line.contains("libaarp.so")),
                line: part.iter().find_map(at).unwrap_or_default(),
            }
        })
        .collect()
}

/// The programs hand over bad pointers, and the kernel refuses them: valgrind says so of
/// the program's own calls, with the library and without.
#[test]
#[ignore = "long: valgrind is slow"]
fn nothing_of_ours_touches_what_it_should_not() {
    if !stage::has(&NEEDED) || !stage::has(&["valgrind"]) {
        return;
    }
    rootless::test(|| {
        let site = silent_site();
        let _echo = echo(&site);
        for (name, source) in [
            ("addresses", include_str!("addresses.c")),
            ("calls", include_str!("calls.c")),
            ("datagrams", include_str!("datagrams.c")),
            ("peers", include_str!("peers.c")),
            ("ways", include_str!("ways.c")),
        ] {
            let source = format!("#define UNDER_VALGRIND\n{source}");
            let checked = |library: bool| {
                let log = site.lab.work().join(format!("{name}.{library}"));
                let suppressions = concat!(
                    "--suppressions=",
                    env!("CARGO_MANIFEST_DIR"),
                    "/tests/hooks/memcheck.supp"
                );
                let written = format!("--log-file={}", log.display());
                let through = ["valgrind", suppressions, &written];
                let run = run_by(&site, &source, library, &through);
                assert_eq!(run.counters.get("pinned") > 0, library, "{name}");
                let log = fs::read_to_string(&log).expect("valgrind writes it");
                // It has come to its end.
                assert!(log.contains("ERROR SUMMARY"), "{name}: {log}");
                complaints(&log)
            };
            let native = checked(false);
            assert!(name != "calls" || !native.is_empty(), "a control");
            let mut more = checked(true);
            more.retain(|complaint| complaint.in_library || !native.contains(complaint));
            assert_eq!(more, [], "{name}");
        }
    });
}
