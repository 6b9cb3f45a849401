//! A U that fails for one program: the daemon asks again, and nobody else forgets.

use std::time::Duration;

use crate::daemon::with_daemon;
use crate::site::{Failure, PATIENCE, Variant, now};

/// The service of U refuses: the program goes to A, and the daemon, which hears of it,
/// asks A again. When another answers then, who comes later is moved to that.
#[test]
fn a_failing_u_is_asked_about_again() {
    with_daemon(Variant::default(), "", |served| {
        let _daemon = served.start();
        assert_eq!(served.curl().0, "s1");
        served.site.break_u("s1", Failure::Reset);
        served.site.move_route();
        let since = now();
        let (by, counters) = served.wget();
        // A itself, or the U that answers now: either serves.
        assert_eq!(by, "s2", "{}", counters.log);
        assert_eq!(counters.get("refuted"), 1, "{}", counters.log);
        aarp_lab::wait_until("another U", PATIENCE, || {
            let (by, counters) = served.curl();
            assert_eq!(by, "s2", "{}", counters.log);
            Ok(counters.get("hits") == 1 && counters.get("refuted") == 0)
        })
        .expect("it is known");
        assert!(served.site.seen(since).probes() >= 1);
    });
}

/// A program that cannot wait goes to A, and the next one finds what has been answered in
/// the meantime.
#[test]
fn an_answer_that_comes_late_serves_the_next() {
    let variant = Variant {
        delay: Duration::from_millis(150),
        ..Variant::default()
    };
    let more = "[[prefix]]\nprefix = \"2001:db8:a::53/128\"\nbudget_nonblocking = \"100ms\"\n";
    with_daemon(variant, more, |served| {
        let _daemon = served.start();
        // curl's sockets do not block.
        let (by, counters) = served.curl();
        assert_eq!(by, "s1");
        assert_eq!(counters.get("bypass.budget"), 1, "{}", counters.log);
        let (by, counters) = served.curl();
        assert_eq!(
            (by.as_str(), counters.get("hits")),
            ("s1", 1),
            "{}",
            counters.log
        );
        assert_eq!(counters.get("probes"), 0, "{}", counters.log);
    });
}
