//! Beside other libraries, whichever is preloaded first: such as call before main and
//! after it, such as hook the same calls, and other allocators.

use std::path::{Path, PathBuf};

use aarp_lab::tools;

use crate::storms::Storm;
use crate::{A, NEEDED, finish, stage, with_place};

/// Where Debian has libraries, and the packages of those that are wanted here.
const OTHERS: [(&str, &str); 4] = [
    ("libjemalloc.so.2", "libjemalloc2"),
    ("libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
    ("libmimalloc.so.2", "libmimalloc2.0"),
    ("libsocket_wrapper.so", "libsocket-wrapper"),
];

/// A library of the system's; a line says that the test is skipped where it is missing.
fn found(name: &str, package: &str) -> Option<PathBuf> {
    let folder = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let path = Path::new(&folder).join(name);
    if !path.is_file() {
        stage::skip(&format!("{name} is missing (package {package})"));
        return None;
    }
    Some(path)
}

/// Ours behind the other, and before it.
fn both_orders<'p>(ours: &'p Path, other: &'p Path) -> [[&'p Path; 2]; 2] {
    [[other, ours], [ours, other]]
}

/// From a constructor that runs before main, and from all that runs behind it: in
/// whichever thread the program ends.
#[test]
fn calls_before_main_and_after_it() {
    with_place(|place| {
        let flags = ["-shared", "-fPIC"];
        let early = place.compile("early", include_str!("early.c"), &flags);
        let program = place.compile("late", include_str!("late.c"), &[]);
        let ours = stage::library();
        for way in ["return", "exit", "thread", "main-thread-ends"] {
            for (ours_first, libraries) in both_orders(&ours, &early).iter().enumerate() {
                let command = place.preloaded(&program, libraries);
                let command = command.env("CONTEXT_ADDRESS", A.to_string());
                let run = finish(command.arg(way));
                let mut told: Vec<_> = run.text.lines().collect();
                told.sort_unstable();
                let expected = [
                    "atexit of a library",
                    "atexit of main",
                    "constructor",
                    "destructor",
                    "main",
                ];
                let how = "error=0 sent=8 received=8 moved=1 a=1";
                assert_eq!(told, expected.map(|when| format!("{when}: {how}")));
                // The destructors of the one before us run after ours has spoken.
                let before = if ours_first == 0 { 10 } else { 6 };
                let pinned = run.counters.get("pinned");
                assert_eq!(pinned, before, "{way}: {}", run.counters.log);
            }
        }
    });
}

/// A library that is loaded, and in whose constructor a thread calls for the first time
/// what it waits for: the dynamic linker's lock is held meanwhile.
#[test]
fn calls_while_a_library_is_being_loaded() {
    with_place(|place| {
        let flags = ["-shared", "-fPIC"];
        let plugin = place.compile("plugin", include_str!("plugin.c"), &flags);
        let program = place.compile("loader", include_str!("loader.c"), &[]);
        let run = finish(place.under_library(&program).arg(plugin));
        assert_eq!(run.text, "loaded\n");
    });
}

/// Another library that hooks connect(), sendto() and close(): both see every call, and
/// the one behind sees where it goes.
#[test]
fn another_library_with_the_same_hooks() {
    with_place(|place| {
        let flags = ["-shared", "-fPIC"];
        let counting = place.compile("counting", include_str!("counting.c"), &flags);
        let program = place.compile("late", include_str!("late.c"), &[]);
        let counts = place.site.lab.work().join("counts");
        let ours = stage::library();
        for (ours_first, libraries) in both_orders(&ours, &counting).iter().enumerate() {
            let command = place.preloaded(&program, libraries);
            let command = command
                .env("CONTEXT_ADDRESS", A.to_string())
                .env("COUNTING", &counts);
            let run = finish(command.arg("return"));
            assert_eq!(run.counters.get("pinned"), 4, "{}", run.counters.log);
            let address = if ours_first == 1 { crate::site::U1 } else { A };
            let octets = address.octets().map(|octet| format!("{octet:02x}"));
            let expected = format!("connects=2 sends=2 closes=4 last={}\n", octets.concat());
            assert_eq!(std::fs::read_to_string(&counts).unwrap(), expected);
        }
    });
}

/// Real programs with another allocator, or with another library of hooks.
#[test]
fn other_allocators_and_hooks() {
    if !stage::has(&NEEDED) || !stage::has(&["curl", stage::python()]) {
        return;
    }
    with_place(|place| {
        let work = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/context/work.py");
        let curl = tools::find("curl").unwrap();
        let ours = stage::library();
        for (name, package) in OTHERS {
            let Some(other) = found(name, package) else {
                continue;
            };
            let real = std::fs::canonicalize(&other).unwrap();
            let file = real.file_name().unwrap().to_string_lossy().into_owned();
            for libraries in both_orders(&ours, &other) {
                // That one asks libc itself for what is behind it: who comes later is
                // past its calls, and the program goes to A.
                let passed_by = name == "libsocket_wrapper.so" && libraries[0] == other;
                let expected = |pinned| if passed_by { 0 } else { pinned };
                let python = place.preloaded(Path::new(stage::python()), &libraries);
                let run = finish(python.arg(&work).args([&A.to_string(), "10"]));
                let words: Vec<_> = run.text.split_whitespace().collect();
                assert_eq!(words[0], "asked=80", "{}", run.counters.log);
                assert!(
                    words.contains(&"libaarp.so") && words.contains(&&*file),
                    "{words:?}"
                );
                let pinned = run.counters.get("pinned");
                assert_eq!(pinned, expected(80), "{libraries:?} {}", run.counters.log);
                let url = format!("http://[{A}]/who");
                let run = finish(place.preloaded(&curl, &libraries).args(["-s", &url]));
                assert_eq!(run.text, "s1\n", "{}", run.counters.log);
                let pinned = run.counters.get("pinned");
                assert_eq!(pinned, expected(1), "{libraries:?} {}", run.counters.log);
            }
        }
    });
}

/// The storm of signals over another malloc.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_storm_of_signals_over_other_allocators() {
    with_place(|place| {
        let program = Storm::Signals.program(place);
        let ours = stage::library();
        for (name, package) in &OTHERS[..3] {
            let Some(other) = found(name, package) else {
                continue;
            };
            for libraries in both_orders(&ours, &other) {
                let command = place.preloaded(&program, &libraries);
                let command = command.env("AARP_REFUTED", "1ms");
                let run = finish(command.args([&A.to_string(), "5", "60"]));
                println!("{name}: {}", run.text);
                let reply = run.reply();
                assert!(reply.number("in_allocator") > 0, "{reply:?}");
                assert!(reply.number("in_library") > 0, "{reply:?}");
            }
        }
    });
}
