//! Sockets without number leave memory as it was.

use std::time::Duration;

use crate::{A, finish, with_place};

/// What a process may have more by chance, in pages: what a call has touched of the
/// stack, or of a library, for the first time.
const SOME_PAGES: u64 = 8;

fn sockets(count: u32) {
    with_place(|place| {
        let program = place.compile("sockets", include_str!("sockets.c"), &[]);
        let command = place.under_library(&program).env("AARP_REFUTED", "1ms");
        let count = count.to_string();
        let run = finish(
            command
                .args([&A.to_string(), &count, "60"])
                .limit(Duration::from_secs(3000)),
        );
        println!("{}{}", run.text, run.counters.log);
        let reply = run.reply();
        let number = |key| reply.number(key);
        assert!(
            number("after") <= number("before") + SOME_PAGES,
            "{reply:?}"
        );
        assert_eq!(number("descriptors"), 0, "{reply:?}");
        // Those that are connected; a few are refuted, as nobody reads what comes.
        assert!(number("pinned") >= number("sockets") / 2, "{reply:?}");
        assert_eq!(run.counters.get("bypass.busy"), 0, "{}", run.counters.log);
    });
}

#[test]
fn fifty_thousand_sockets_leave_memory_as_it_was() {
    sockets(50_000);
}

#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_million_sockets_leave_memory_as_it_was() {
    sockets(1_000_000);
}
