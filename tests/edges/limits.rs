//! The time that a program sets itself, and that in which it asks what became of a
//! connection.

use std::time::Duration;

use crate::site::{A, Failure, Reply, Site, U1, Variant};
use crate::{Run, command, finish, run, silence_probes, warm, with_site};

/// What a loaded machine may add to a program's own time.
const SLACK: Duration = Duration::from_millis(1500);

const OPTIONS: [&str; 3] = ["sndtimeo", "usertimeo", "syncnt"];

fn assert_options_are_kept(ours: &Run, native: &Run) {
    for option in OPTIONS {
        let (ours, native) = (&ours.replies[0], &native.replies[0]);
        assert_eq!(ours.number(option), native.number(option), "{ours:?}");
    }
}

/// One of several runs in which the program has reached A: a second is not much on a
/// machine that is busy, and a library that does not leave enough of it never does.
fn reaching_a(site: &Site, library: bool, limit: &str) -> Run {
    for _ in 0..9 {
        let run = run(site, library, "limits", limit);
        if run.replies[0].get("result") == "OK" {
            return run;
        }
    }
    run(site, library, "limits", limit)
}

/// A program that gives its connect() a second at a site that is not near reaches A,
/// whose U does not serve; and if nobody serves it hears of it when it would have.
#[test]
fn a_limit_of_the_program_bounds_everything() {
    let far = Variant {
        delay: Duration::from_millis(200),
        ..Variant::default()
    };
    with_site(far, |site| {
        warm(site);
        site.break_u("s1", Failure::Silence);
        for limit in OPTIONS {
            let native = reaching_a(site, false, limit);
            let ours = reaching_a(site, true, limit);
            for run in [&native, &ours] {
                assert_eq!(run.replies[0].get("result"), "OK", "{}", run.counters.log);
                run.assert_peers(&A.to_string());
            }
            assert_options_are_kept(&ours, &native);
        }
        // Nobody says who A is: most of the time is for A all the same.
        silence_probes(site);
        for limit in OPTIONS {
            let ours = reaching_a(site, true, limit);
            let log = &ours.counters.log;
            assert_eq!(ours.replies[0].get("result"), "OK", "{limit}: {log}");
            ours.assert_unpinned();
            assert_eq!(ours.counters.get("misses"), 1, "{limit}: {log}");
        }
        site.block("s1", A, Failure::Silence);
        for limit in OPTIONS {
            let native = run(site, false, "limits", limit);
            let ours = run(site, true, "limits", limit);
            let (reply, wanted) = (&ours.replies[0], &native.replies[0]);
            assert_eq!(reply.get("result"), wanted.get("result"), "{limit}");
            assert_ne!(reply.get("result"), "OK", "{limit}");
            assert!(
                reply.elapsed() <= wanted.elapsed() + SLACK,
                "{limit}: {reply:?} {wanted:?}: {}",
                ours.counters.log
            );
            assert_options_are_kept(&ours, &native);
        }
    });
}

/// A connection to A itself is under way: calls that ask about it do not ask who A
/// is again; not even for a socket with an address of its own, for which nothing is
/// remembered.
#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_connection_under_way_to_a_is_polled_by_connect() {
    with_site(Variant::default(), |site| {
        silence_probes(site);
        site.block("s1", A, Failure::Silence);
        for source in ["", "2001:db8:c::2"] {
            // Longer than anything that is not waiting.
            let command = command(site, true, "polling", source);
            let run = finish(site, command.env("AARP_BUDGET_NONBLOCKING", "3s"));
            let log = &run.counters.log;
            let results: Vec<_> = run.replies.iter().map(|r| r.get("result")).collect();
            let wanted = ["EINPROGRESS", "EALREADY", "EALREADY", "EALREADY"];
            assert_eq!(results, wanted, "{source}: {log}");
            assert!(run.replies[0].elapsed() >= Duration::from_millis(2900));
            let soonest = run.replies[1..].iter().map(Reply::elapsed).min();
            assert!(soonest < Some(Duration::from_secs(1)), "{source}: {log}");
            assert_eq!(run.counters.get("misses"), 1, "{source}: {log}");
            assert_eq!(run.seen.tried("s1", A).len(), 1);
            assert!(run.seen.tried("s1", U1).is_empty());
        }
    });
}
