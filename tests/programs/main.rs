//! Real programs under the ARL keep their sessions while the route of A moves.
//!
//! For each program and round trip, by literal address and by name, each with a
//! cold cache (every process has its own): captures at both responders and at the
//! client are the evidence.
#[path = "../common/site.rs"]
mod base;
mod browser;
#[path = "../common/mod.rs"]
mod common;
mod flow;
#[path = "../common/record.rs"]
mod record;
mod session;
mod site;
mod unconfigured;
mod upstream;

use std::collections::BTreeSet;
use std::time::Duration;

use aarp_lab::{Direction, Filter, rootless};

use crate::flow::{Outcome, assert_alive_after, assert_pinned, opened, outcomes};
use crate::record::Record;
use crate::session::{Mode, Program, Session, Target};
use crate::site::{A, Node, Site, now, system};
use crate::unconfigured::with_nothing_configured;

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

/// A session with the route of A moving in its middle, and another after that.
fn keeps_its_session(program: Program, round_trip: Duration) {
    let mut site = Site::new(round_trip, MEBI);
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
    let of = "a session; the route of A moves in its middle";
    record(program, &tried(of, round_trip), "pinned", "");
}

/// What was tried, for the record.
fn tried(of: &str, round_trip: Duration) -> String {
    format!("{of}, {} ms away", round_trip.as_millis())
}

fn record(program: Program, tried: &str, result: &str, reason: &str) {
    Record {
        program: program.name(),
        executable: program.executable(),
        calls: match program.is_nonblocking() {
            true => "TCP, does not block while it connects",
            false => "TCP, blocks",
        },
        tried,
        result,
        reason,
    }
    .write();
}

/// The same without us: what these tests are about does happen.
fn breaks_without_us(program: Program) {
    // More than can be under way unacknowledged.
    let mut site = Site::new(NEAR, 32 * MEBI);
    program.serve(&mut site);
    let mut session = Session::start(&site, program, Target::Literal, Mode::Native);
    session.reach_middle(&site);
    let flows = opened(&site, session.started, now());
    assert!(
        !flows.is_empty() && flows.values().all(|to| *to == A),
        "{flows:?}"
    );
    site.route_to(Node::S2);
    session.break_off(&site);
    let resets = Filter::tcp().src(A).flags("R").direction(Direction::Out);
    let packets = site.seen_at(Node::S2.name());
    for port in flows.into_keys() {
        let resets = resets.clone().port(port).count(&packets);
        assert!(resets > 0, "{}: s2 has not reset it", session.what);
    }
}

/// A program that opens several connections, in several processes: each is pinned.
fn pins_every_connection() {
    // Far enough that one request is still under way when the next is made: then
    // git opens another connection, up to five.
    let mut site = Site::new(Duration::from_millis(20), MEBI);
    site.make_repository();
    site.serve_http();
    // Without a server of git's, objects are fetched one by one.
    site.make_dumb_repository(64);
    let started = now();
    let clone = site
        .under_arl(&system("git"))
        .env("AARP_PREFIXES", format!("{A}/128"));
    let url = format!("http://[{A}]/dumb.git");
    let clone = clone
        .args(["clone", "-q", &url, "clone"])
        .cwd(site.folder("dumb"));
    clone.run().unwrap();
    let flows = opened(&site, started, now());
    assert!(flows.len() > 1, "one connection only: {flows:?}");
    let ports = flows.into_keys().collect();
    assert_pinned(&site, "git from files", &ports, Node::S1);
}

const MEBI: usize = 1 << 20;
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

            #[test]
            fn with_nothing_configured_at_0_ms() {
                in_lab(Program::$program, || with_nothing_configured(Program::$program, NEAR));
            }

            #[test]
            #[ignore = "long: in tests/run.sh --full"]
            fn with_nothing_configured_at_80_ms() {
                in_lab(Program::$program, || with_nothing_configured(Program::$program, FAR));
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

/// It compiles its program first.
#[test]
#[ignore = "long: needs a JDK"]
fn java_keeps_its_session() {
    in_lab(Program::Java, || keeps_its_session(Program::Java, NEAR));
}

#[test]
fn a_download_breaks_without_us() {
    in_lab(Program::HttpClient, || {
        breaks_without_us(Program::HttpClient)
    });
}

#[test]
fn a_dialogue_breaks_without_us() {
    in_lab(Program::Nc, || breaks_without_us(Program::Nc));
}

#[test]
fn git_has_each_of_several_connections_pinned() {
    in_lab(Program::Git, pins_every_connection);
}

const NEAR: Duration = Duration::ZERO;
const FAR: Duration = Duration::from_millis(80);
