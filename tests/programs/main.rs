//! Real programs under the ARL keep their sessions while the route of A moves.
//!
//! For each program and round trip, by literal address and by name, each with a
//! cold cache (every process has its own): captures at both responders and at the
//! client are the evidence.
#[path = "../common/mod.rs"]
mod common;
mod flow;
mod session;
mod site;
mod upstream;

use std::collections::BTreeSet;
use std::time::Duration;

use aarp_lab::rootless;

use crate::flow::{Outcome, assert_alive_after, assert_pinned, opened, outcomes};
use crate::session::{Mode, Program, Session, Target};
use crate::site::{Node, Site, now};

/// How often what a slow machine may have spoilt is tried.
const TRIES: usize = 5;

/// A session with A in `prefixes`, in its middle. Where the machine was so slow
/// that the answer came after the budget, that is tried again; every other reason
/// not to be pinned is a failure.
fn pinned_session(site: &Site, program: Program, target: Target) -> Session {
    for _ in 0..TRIES {
        let mut session = Session::start(site, program, target, Mode::Prefixes);
        session.reach_middle(site);
        let outcomes = outcomes(&session.log());
        let u = site.node().unicast();
        if !outcomes.is_empty() && outcomes.iter().all(|o| *o == Outcome::Pinned(u)) {
            return session;
        }
        let late = |outcome: &Outcome| match outcome {
            Outcome::Pinned(to) => *to == u,
            Outcome::Bypassed(reason, _) => reason == "budget",
        };
        let excused = !outcomes.is_empty() && outcomes.iter().all(late);
        assert!(excused, "{}: {}", session.what, session.log());
        eprintln!("{}: the answer was late; once more", session.what);
    }
    panic!("{} was late {TRIES} times", program.name());
}

fn keeps_its_session(program: Program, round_trip: Duration) {
    let mut site = Site::new(round_trip);
    program.serve(&mut site);

    let mut sessions = Target::ALL.map(|target| {
        let session = pinned_session(&site, program, target);
        let flows = opened(&site, session.started, now());
        (session, flows)
    });
    let moved = site.route_to(Node::S2);
    for (session, _) in &mut sessions {
        session.complete(&site);
    }
    let ended = now();
    for (session, flows) in &sessions {
        let what = &session.what;
        let ports: BTreeSet<_> = flows.keys().copied().collect();
        assert_pinned(&site, what, &ports, Node::S1);
        assert_alive_after(&site, what, &ports, Node::S1, moved);
    }
    // What a program opens after the move belongs to its session no less.
    let late = opened(&site, moved, ended);
    assert!(
        late.is_empty(),
        "{}: {late:?} were opened late",
        program.name()
    );

    for target in Target::ALL {
        let mut session = pinned_session(&site, program, target);
        session.complete(&site);
        let ports = opened(&site, session.started, now());
        let ports: BTreeSet<_> = ports.into_keys().collect();
        assert_pinned(&site, &session.what, &ports, Node::S2);
    }
}

/// Runs the body of a test that needs a network.
fn in_lab(program: Program, body: impl FnOnce()) {
    rootless::test(|| {
        // It gives its privileges up to another user.
        if program == Program::Ssh && !common::has_other_users() {
            return common::skipped("sshd needs more users than a user namespace has");
        }
        body();
    });
}

macro_rules! programs {
    ($($module:ident: $program:ident,)*) => {$(
        mod $module {
            use super::*;

            #[test]
            fn keeps_its_session_at_0_ms() {
                in_lab(Program::$program, || keeps_its_session(Program::$program, NEAR));
            }

            #[test]
            fn keeps_its_session_at_80_ms() {
                in_lab(Program::$program, || keeps_its_session(Program::$program, FAR));
            }
        }
    )*};
}

programs! {
    curl: Curl,
    wget: Wget,
    http_client: HttpClient,
    asyncio: Asyncio,
    ssh: Ssh,
    git: Git,
    nc: Nc,
}

const NEAR: Duration = Duration::ZERO;
const FAR: Duration = Duration::from_millis(80);
