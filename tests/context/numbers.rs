//! What closes a descriptor, or would have.

use crate::{A, Place, Run, finish, with_place};

fn run(place: &Place, what: &str) -> Run {
    let program = place.compile("numbers", include_str!("numbers.c"), &[]);
    let command = place.under_library(&program);
    finish(command.args([&A.to_string(), what]))
}

/// dup2() and dup3() that fail leave the descriptor that they would have replaced: it is
/// pinned, shown as A, and its U has not failed.
#[test]
fn a_descriptor_that_is_not_replaced_after_all() {
    with_place(|place| {
        let counters = run(place, "failing").counters;
        assert_eq!(counters.get("refuted"), 0, "{}", counters.log);
        // Three streams, and two datagram sockets: all pinned once.
        assert_eq!(counters.get("pinned"), 5, "{}", counters.log);
    });
}

/// The same for close() in a thread that is cancelled there; a dup2() that succeeds then
/// gives up a connection under way.
#[test]
fn a_descriptor_that_is_not_closed_after_all() {
    with_place(|place| {
        let counters = run(place, "cancelled").counters;
        assert_eq!(counters.get("refuted"), 1, "{}", counters.log);
        assert_eq!(counters.get("pinned"), 5, "{}", counters.log);
    });
}

/// Threads that are given the numbers that others are just closing.
#[test]
fn numbers_that_go_from_thread_to_thread() {
    with_place(|place| {
        let counters = run(place, "threads").counters;
        assert_eq!(counters.get("refuted"), 0, "{}", counters.log);
    });
}

/// The same of sockets that are not connected: who closes one is slow to forget it, and
/// forgets nothing of the next that has its number.
#[test]
fn numbers_that_go_from_question_to_question() {
    with_place(|place| {
        let counters = run(place, "questions").counters;
        let fine = counters.get("refuted") == 0 && counters.get("bypass.busy") == 0;
        assert!(fine, "{}", counters.log);
        assert_eq!(counters.get("pinned"), 4 * 20_000, "{}", counters.log);
    });
}

/// Threads that tell a socket several things at once.
#[test]
fn what_threads_say_at_once() {
    with_place(|place| {
        let counters = run(place, "at once").counters;
        assert_eq!(counters.get("refuted"), 0, "{}", counters.log);
    });
}
