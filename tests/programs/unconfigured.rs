//! What becomes of each program with nothing configured: its budget decides.
use std::net::Ipv6Addr;
use std::time::Duration;

use crate::flow::{Outcome, opened, outcomes};
use crate::session::{Mode, Program, Session, Target};
use crate::site::{A, Site, now};
use crate::{MEBI, TRIES, record, tried};

/// How long an answer is awaited with nothing configured: a program waits while it
/// looks up a name, and then what it asks about is the addresses of that name.
fn budget(program: Program, target: Target) -> Duration {
    let waits = target == Target::Name || !program.is_nonblocking();
    Duration::from_millis(if waits { 100 } else { 50 })
}

/// One whole session; what became of each connect() by the library's log, which
/// must be what the capture says.
fn session(site: &Site, program: Program, target: Target) -> Vec<Outcome> {
    let mut session = Session::start(site, program, target, Mode::Unconfigured);
    session.complete(site);
    let (what, log) = (&session.what, session.log());
    let outcomes = outcomes(&log);
    assert!(!outcomes.is_empty(), "{what}: no connect() to A: {log}");
    let mut told: Vec<Ipv6Addr> = outcomes.iter().map(destination).collect();
    let flows = opened(site, session.started, now());
    let mut seen: Vec<_> = flows.into_values().collect();
    told.sort();
    seen.sort();
    assert_eq!(told, seen, "{what}: the log and the capture differ: {log}");
    outcomes
}

fn destination(outcome: &Outcome) -> Ipv6Addr {
    match outcome {
        Outcome::Pinned(u) => *u,
        Outcome::Bypassed(..) => A,
    }
}

pub(crate) fn with_nothing_configured(program: Program, round_trip: Duration) {
    let mut site = Site::new(round_trip, MEBI);
    program.serve(&mut site);
    let u = site.node().unicast();
    for target in Target::ALL {
        // Whether an answer that takes so long comes in time.
        let expected = round_trip < budget(program, target);
        let as_expected = (0..TRIES).any(|_| {
            let outcomes = session(&site, program, target);
            for outcome in &outcomes {
                match outcome {
                    Outcome::Pinned(to) => assert_eq!(*to, u),
                    // On any machine: nothing but its budget may be a reason.
                    Outcome::Bypassed(reason, _) => assert_eq!(reason, "budget"),
                }
            }
            println!(
                "{}, {target:?}, {round_trip:?}: {outcomes:?}",
                program.name()
            );
            let pinned = |outcome: &Outcome| matches!(outcome, Outcome::Pinned(_));
            outcomes.iter().all(|outcome| pinned(outcome) == expected)
        });
        let (name, not) = (program.name(), if expected { "not " } else { "" });
        assert!(as_expected, "{name}, {target:?}: {not}pinned {TRIES} times");
        let by = match target {
            Target::Literal => "a session by address, nothing configured",
            Target::Name => "a session by name, nothing configured",
        };
        let tried = tried(by, round_trip);
        let awaited = budget(program, target).as_millis();
        let late = format!("`budget`: an answer is awaited for {awaited} ms");
        match expected {
            true => record(program, &tried, "pinned", ""),
            false => record(program, &tried, "unpinned", &late),
        }
    }

    // Nobody answers: how long that is awaited, whatever the machine.
    site.silence();
    let outcomes = session(&site, program, Target::Literal);
    let budget = budget(program, Target::Literal).as_millis();
    let bypassed = Outcome::Bypassed("budget".to_owned(), u64::try_from(budget).ok());
    assert_eq!(outcomes.first(), Some(&bypassed), "{}", program.name());
}
