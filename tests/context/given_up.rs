//! A program that closes every descriptor, changes its root, drops its privileges, or
//! installs a filter that kills: it is never killed, and keeps its pins.

use crate::{A, Place, finish, with_place};

/// One that goes on as it was, with so many pins.
fn goes_on(place: &Place, what: &str) -> crate::Counters {
    let program = place.compile("given_up", include_str!("given_up.c"), &[]);
    let folder = place.site.lab.work().join("nothing");
    std::fs::create_dir_all(&folder).unwrap();
    let command = place.under_library(&program);
    let run = finish(command.args([&A.to_string(), what]).arg(folder));
    assert_eq!(run.text, "used\n", "{what}: {}", run.counters.log);
    run.counters
}

#[test]
fn a_program_that_closes_all_descriptors() {
    with_place(|place| {
        for how in ["close", "close_range", "closefrom", "syscall"] {
            let counters = goes_on(place, how);
            // Three sockets, twice, and two between.
            assert_eq!(counters.get("pinned"), 8, "{how}: {}", counters.log);
        }
    });
}

#[test]
fn a_program_in_an_empty_folder() {
    with_place(|place| {
        let counters = goes_on(place, "chroot");
        assert_eq!(counters.get("pinned"), 4, "{}", counters.log);
        assert_eq!(counters.get("bypass.direct"), 1, "{}", counters.log);
    });
}

/// What is known still serves; nobody may ask about what is not.
#[test]
fn a_program_without_privileges() {
    with_place(|place| {
        let host = place.site.lab.host("s1").unwrap();
        host.sysctl("net.ipv4.ping_group_range", "1 0").unwrap();
        let counters = goes_on(place, "privileges");
        assert_eq!(counters.get("pinned"), 4, "{}", counters.log);
        assert_eq!(counters.get("bypass.no-permission"), 1, "{}", counters.log);
    });
}

/// A filter that kills on socket(2), and one that kills on all but the calls that the
/// program makes itself.
#[test]
fn a_program_with_a_filter_that_kills() {
    with_place(|place| {
        let ways = ["prctl", "syscall", "strict-prctl", "strict-syscall"];
        // In the thread that has installed it, wherever its stack lies.
        for how in ways.iter().chain(&["thread-prctl"]) {
            // Nothing is said at the end: that would be a system call of ours.
            let counters = goes_on(place, &format!("filter-{how}"));
            assert_eq!(counters.log, "", "{how}");
        }
    });
}

/// A filter of a vfork child is none of its parent's, who shares its memory only.
#[test]
fn a_child_with_a_filter_that_kills() {
    with_place(|place| {
        let counters = goes_on(place, "vfork");
        assert_eq!(counters.get("pinned"), 3 + 8, "{}", counters.log);
    });
}

/// Other threads make calls at the same time that install none: those are not what says
/// that there is one.
#[test]
fn a_filter_while_other_threads_try() {
    with_place(|place| {
        let counters = goes_on(place, "others");
        assert_eq!(counters.log, "");
    });
}
