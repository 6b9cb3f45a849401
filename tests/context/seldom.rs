//! What few programs do, each natively too: the same comes of it, and where U shows it is
//! A that is shown.

use std::path::Path;

use crate::{A, Counters, ECHO, Place, finish, stage, with_place};

/// Does it, natively and under the library.
fn done(place: &Place, what: &str) -> Counters {
    let program = place.compile("seldom", include_str!("seldom.c"), &[]);
    let ours = finish(place.under_library(&program).args([&A.to_string(), what]));
    assert_eq!(ours.text, "done\n", "{what}: {}", ours.counters.log);
    ours.counters
}

/// The host has one more address of that network, which answers for itself.
fn has_another(place: &Place) {
    let host = place.site.lab.host("s1").unwrap();
    host.ip("addr add 2001:db8:a:1::53/128 dev lo nodad")
        .unwrap();
}

/// By each call that has no room for a source it is noted who answers: nobody who does is
/// taken for silent.
#[test]
fn several_destinations_are_read_by_any_call() {
    with_place(|place| {
        has_another(place);
        let counters = done(place, "answers");
        assert_eq!(counters.get("refuted"), 0, "{}", counters.log);
        assert_eq!(counters.get("pinned"), 13, "{}", counters.log);
    });
}

#[test]
fn what_was_sent_is_no_answer() {
    with_place(|place| {
        let counters = done(place, "timestamps");
        assert_eq!(counters.get("refuted"), 1, "{}", counters.log);
    });
}

#[test]
fn a_packet_that_is_too_large_for_u_is_so_for_a() {
    with_place(|place| {
        let counters = done(place, "large");
        assert_eq!(counters.get("pinned"), 1, "{}", counters.log);
    });
}

#[test]
fn an_address_behind_the_end_of_the_stack() {
    with_place(|place| {
        done(place, "end");
    });
}

/// Nothing that was learned counts in another network namespace.
#[test]
fn a_program_that_enters_another_network() {
    with_place(|place| {
        for how in ["elsewhere", "syscall"] {
            let counters = done(place, how);
            // Asked anew each time, and there by A itself.
            assert_eq!(counters.get("hits"), 0, "{how}: {}", counters.log);
            assert_eq!(counters.get("pinned"), 3, "{how}: {}", counters.log);
        }
    });
}

#[test]
fn syscall_is_no_cancellation_point() {
    with_place(|place| {
        has_another(place);
        done(place, "cancellation");
    });
}

/// What is counted is each process's own: a child that does nothing says nothing.
#[test]
fn children_count_for_themselves() {
    with_place(|place| {
        let log = done(place, "children").log;
        let mut pinned: Vec<_> = log
            .lines()
            .filter_map(|line| line.split("pinned=").nth(1)?.split(' ').next())
            .collect();
        pinned.sort_unstable();
        assert_eq!(pinned, ["1", "2"], "{log}");
    });
}

/// What the program does with its environment later changes nothing: who has asked for a
/// log is told that it is lost.
#[test]
fn the_environment_is_read_once() {
    with_place(|place| {
        let folder = place.site.lab.work().join("logs");
        std::fs::create_dir(&folder).unwrap();
        let script = format!(
            "import os, socket\n\
             def connect():\n\
             \x20   socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).connect(('{A}', {ECHO}))\n\
             connect()\n\
             os.unsetenv('AARP_LOG')\n\
             os.rename('{0}', '{0}.away')\n\
             connect()\n",
            folder.display()
        );
        let file = folder.join("log");
        let command = place.under_library(Path::new(stage::python()));
        let command = command.env("AARP_LOG", "debug").env("AARP_STATS", "0");
        let command = command.env("AARP_FILE", file.display().to_string());
        let log = finish(command.args(["-c", &script])).counters.log;
        let lost = format!("the log is lost: {} cannot be opened: ", file.display());
        assert_eq!(log.matches(&lost).count(), 1, "{log}");
        let kept = std::fs::read_to_string(folder.with_extension("away").join("log"));
        assert!(kept.unwrap().contains("pinned"));
    });
}
