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
        let counters = goes_well(place, "reused-trying");
        // By the close, and by the kernel.
        assert_eq!(counters.get("refuted"), 2, "{}", counters.log);
    });
}
