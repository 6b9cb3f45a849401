//! The limits of time that a connect() sets, where it never comes to its end.

use crate::{A, finish, with_place};

/// Whatever the program does next, it finds its own limits, and so does the kernel.
#[test]
fn a_connect_that_never_ends_leaves_the_limits_of_its_socket() {
    with_place(|place| {
        let program = place.compile("limits", include_str!("limits.c"), &[]);
        let run = finish(place.under_library(&program).arg(A.to_string()));
        assert_eq!(run.text, "done\n", "{}", run.counters.log);
    });
}
