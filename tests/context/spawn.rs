//! Children with their parent's memory, and children that are other programs.

use crate::{A, finish, with_place};

/// They connect, send, and do as they like with descriptors; their parent's sockets are
/// what they were.
#[test]
fn children_by_vfork_and_posix_spawn() {
    with_place(|place| {
        let program = place.compile("spawn", include_str!("spawn.c"), &[]);
        for how in ["vfork", "fork", "spawn"] {
            let command = place.under_library(&program);
            let run = finish(command.args([&A.to_string(), how]));
            assert_eq!(run.text, "done\n", "{how}: {}", run.counters.log);
            assert_eq!(run.counters.get("refuted"), 0, "{}", run.counters.log);
        }
    });
}
