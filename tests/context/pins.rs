//! What is known of datagram sockets has room for some thousands. Where a place cannot
//! be had at once a datagram goes unpinned, and nothing else follows from it.

use crate::{A, Place, Run, finish, with_place};

fn run(place: &Place, what: &str) -> Run {
    let program = place.compile("pins", include_str!("pins.c"), &[]);
    let command = place.under_library(&program);
    finish(command.args([&A.to_string(), what]))
}

/// Ten thousand sockets, each closed by both its numbers, leave no pins behind.
#[test]
fn a_duplicated_socket_is_forgotten_with_its_last_descriptor() {
    with_place(|place| {
        let counters = run(place, "duplicates").counters;
        assert_eq!(counters.get("pinned"), 10_000, "{}", counters.log);
        assert_eq!(counters.get("bypass.busy"), 0, "{}", counters.log);
    });
}

/// What a call costs does not grow with the number of descriptors.
#[test]
fn a_duplicate_among_many_descriptors() {
    with_place(|place| {
        let reply = run(place, "many").reply();
        assert!(reply.number("sockets") > 500, "{reply:?}");
        let (few, many) = (reply.number("few"), reply.number("many"));
        assert!(many < few * 8, "{reply:?}");
    });
}

/// Threads that all duplicate and close one socket leave it as it was: with one pin, and
/// that is gone with the last of its descriptors.
#[test]
fn a_socket_that_threads_duplicate() {
    with_place(|place| {
        let counters = run(place, "threads").counters;
        assert_eq!(counters.get("pinned"), 1, "{}", counters.log);
    });
}

/// Reason `busy`: all are answered, by A itself where there is no place, and those that
/// come later are moved as ever.
#[test]
fn where_no_place_can_be_had_datagrams_go_unpinned() {
    with_place(|place| {
        let counters = run(place, "full").counters;
        let (pinned, busy) = (counters.get("pinned"), counters.get("bypass.busy"));
        // 6000 sockets, twice, and one behind each.
        assert_eq!(pinned + busy, 12_002, "{}", counters.log);
        assert!(busy >= 2 * (6000 - 4096), "{}", counters.log);
        assert_eq!(counters.get("bypass.policy"), 0, "{}", counters.log);
    });
}

/// An answer of A's to another process that has the same socket does not make A one who
/// speaks first.
#[test]
fn who_answers_a_child_is_no_client() {
    with_place(|place| {
        let counters = run(place, "child").counters;
        assert_eq!(counters.get("pinned"), 2, "{}", counters.log);
    });
}
