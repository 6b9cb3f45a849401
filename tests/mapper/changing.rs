//! Another responder answers: who connects after that finds it, and it is asked ahead of
//! time about what is used.

use crate::daemon::with_daemon;
use crate::site::{PATIENCE, Variant, now};

/// The mapping of a program that connects again and again is refreshed before it ends:
/// nobody waits, and the move of the route is found within the TTL.
#[test]
fn what_is_used_is_asked_about_ahead_of_time() {
    let more = "ttl = \"2s\"\n";
    with_daemon(Variant::default(), more, |served| {
        let _daemon = served.start();
        assert_eq!(served.curl().0, "s1");
        let since = now();
        // Longer than the TTL: each finds the mapping in the table.
        let mut turns = 0;
        aarp_lab::wait_until("the mapping is refreshed", PATIENCE, || {
            let (by, counters) = served.curl();
            assert_eq!(by, "s1");
            assert_eq!(counters.get("hits"), 1, "turn {turns}: {}", counters.log);
            turns += 1;
            Ok(served.site.seen(since).probes() >= 2)
        })
        .expect("it is");
        served.site.move_route();
        let moved = now();
        aarp_lab::wait_until("the other responder", PATIENCE, || {
            let (by, counters) = served.curl();
            assert_eq!(counters.get("pinned"), 1, "{}", counters.log);
            Ok(by == "s2")
        })
        .expect("it serves");
        let took = now() - moved;
        println!("after {took:?}, {turns} turns");
    });
}
