//! While one thread waits for us in a call, because A is being asked or a U tried,
//! another does what programs do with descriptors.

use crate::{A, Counters, Place, finish, with_place};

/// One that finds everything as it is without us.
fn goes_well(place: &Place, what: &str) -> Counters {
    let program = place.compile("flight", include_str!("flight.c"), &[]);
    let command = place
        .under_library(&program)
        .env("AARP_BUDGET", "600ms")
        .env("AARP_BUDGET_NONBLOCKING", "600ms");
    let run = finish(command.args([&A.to_string(), what]));
    assert_eq!(run.text, "done\n", "{what}: {}", run.counters.log);
    run.counters
}

/// The descriptor is closed, and its number used again, while A is asked. What waited
/// ends with `EBADF`, and the new socket is as the program has left it.
#[test]
fn a_number_used_again_while_a_is_asked() {
    with_place(|place| {
        for how in ["reused", "reused-unseen", "reused-datagram"] {
            let counters = goes_well(place, how);
            assert_eq!(counters.get("pinned"), 0, "{how}: {}", counters.log);
        }
    });
}

/// And while a U is tried that does not answer.
#[test]
fn a_number_used_again_while_a_u_is_tried() {
    with_place(|place| {
        for how in ["reused-trying", "reused-trying-handed"] {
            let counters = goes_well(place, how);
            // By the close, and by the kernel.
            assert_eq!(counters.get("refuted"), 2, "{how}: {}", counters.log);
        }
    });
}

/// All is closed while A is asked, or replaced, and other files are opened: those stay.
#[test]
fn descriptors_taken_while_a_is_asked() {
    with_place(|place| {
        for how in ["range", "range-closefrom", "range-each", "onto"] {
            let counters = goes_well(place, how);
            let busy = counters.get("bypass.busy");
            assert_eq!(busy, u64::from(how == "onto"), "{how}: {}", counters.log);
        }
    });
}

/// What is open meanwhile has none of the numbers that the program would get.
#[test]
fn the_lowest_number_is_the_program_s() {
    with_place(|place| {
        let counters = goes_well(place, "lowest");
        assert_eq!(counters.get("bypass.no-answer"), 1, "{}", counters.log);
    });
}

/// A child has what the program has opened, and the question goes on.
fn child_made(kinds: &[&str]) {
    with_place(|place| {
        for how in kinds {
            let counters = goes_well(place, how);
            assert_eq!(
                counters.get("bypass.no-answer"),
                1,
                "{how}: {}",
                counters.log
            );
        }
    });
}

#[test]
fn children_forked_while_a_is_asked() {
    child_made(&["child", "child-_Fork"]);
}

/// One that no hook has seen, and one that has its parent's memory.
#[test]
fn children_of_other_kinds_made_while_a_is_asked() {
    child_made(&["child-clone", "vfork"]);
}

/// A filter that another thread installs for all of them: what is asked ends first, and
/// no system call of ours is made behind it. Nothing is said at the end either.
#[test]
fn a_filter_installed_while_a_is_asked() {
    with_place(|place| {
        for how in ["filter", "filter-datagram", "filter-failing"] {
            assert_eq!(goes_well(place, how).log, "", "{how}");
        }
    });
}

#[test]
fn a_filter_installed_while_a_u_is_tried() {
    with_place(|place| {
        assert_eq!(goes_well(place, "filter-trying").log, "");
    });
}
