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

/// Who answers for A belongs to a network: a program in another one sees the daemon's
/// socket and asks for itself.
#[test]
fn a_program_in_another_network_is_not_told() {
    // No answer counts at the router, which has every U on a link of its own.
    let more = "[[prefix]]\nprefix = \"2001:db8:a::53/128\"\nbudget_nonblocking = \"200ms\"\n";
    with_daemon(Variant::default(), more, |served| {
        let _daemon = served.start();
        assert_eq!(served.curl().0, "s1");
        served.site.move_route();
        let (by, counters) = served.curl_on("router");
        let told = (counters.get("told"), counters.get("probes") > 0);
        assert_eq!((by.as_str(), told), ("s2", (0, true)), "{}", counters.log);
    });
}
