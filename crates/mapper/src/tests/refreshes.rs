//! Mappings that are used, that are not, and that have failed.

use std::time::Duration;

use aarp_core::mapping::State;
use aarp_core::settings::Methods;

use super::world::*;
use crate::pace::Rate;
use crate::{Asker, Event, Failed, Limits, Unasked, User, Why};

pub(super) fn learned() -> World {
    let mut world = World::new(PREFIXES, Limits::default());
    world.answers.insert(a(0), (u(0), ms(10)));
    world.ask(1, User::Own, a(0));
    world.run(ms(10));
    world
}

#[test]
fn what_is_used_is_asked_again_before_its_end() {
    let mut world = learned();
    // A program connects every second, for ten minutes: it never waits.
    for _ in 0..600 {
        assert_eq!(world.look(a(0)), Some(u(0)));
        world.run(ms(1000));
    }
    // Every 48 seconds or a little later, when somebody has used it.
    let refreshes = world.mapper.counters().questions[Why::Refresh as usize];
    assert_eq!((world.sent.len(), refreshes), (13, 12));
    assert_eq!(world.events.len(), 1, "{:?}", world.events);
    assert!(world.mapper.counters().used < 20);
}

#[test]
fn what_is_not_used_is_not_asked_again() {
    let mut world = learned();
    world.run(ms(40_000));
    assert_eq!(world.look(a(0)), Some(u(0)));
    world.run(ms(30_000));
    assert_eq!((world.look(a(0)), world.sent.len()), (None, 1));
}

#[test]
fn another_responder_is_an_event_and_serves_the_next() {
    let mut world = learned();
    world.answers.insert(a(0), (u(1), ms(15)));
    world.run(ms(50_000));
    let told = world.now;
    assert_eq!(
        world.look(a(0)),
        Some(u(0)),
        "served while it is asked again"
    );
    world.run(ms(15));
    assert_eq!(world.look(a(0)), Some(u(1)));
    let changed = Event::Changed {
        a: a(0),
        from: u(0),
        to: u(1),
        rtt: ms(15),
    };
    assert_eq!(world.events[1..], [(told + ms(15), changed)]);
    assert_eq!(world.mapper.counters().changes, 1);
}

#[test]
fn a_silent_responder_is_gone_within_its_time() {
    let mut world = learned();
    world.answers.clear();
    let expiry = world.known(a(0)).unwrap().mapping.expiry;
    let mut gone = None;
    for _ in 0..120 {
        world.look(a(0));
        world.run(ms(1000));
        gone = gone.or(world.events.get(1).copied());
    }
    let (at, event) = gone.unwrap();
    let expected = Event::Gone {
        a: a(0),
        u: u(0),
        state: State::Unanswered,
    };
    assert_eq!(event, expected);
    assert!(
        at <= expiry && at > expiry - ms(12_000),
        "{at:?} {expiry:?}"
    );
    // Asked three times, with two retransmissions each.
    assert_eq!(world.sent.len(), 1 + 9);
    assert_eq!(world.mapper.counters().gone, 1);
}

#[test]
fn one_lost_refresh_is_no_matter() {
    let mut world = learned();
    world.answers.clear();
    world.run(ms(50_000));
    assert_eq!(world.look(a(0)), Some(u(0)));
    world.run(ms(1500));
    world.answers.insert(a(0), (u(0), ms(10)));
    assert_eq!(world.look(a(0)), Some(u(0)));
    world.run(ms(7000));
    let expiry = world.known(a(0)).unwrap().mapping.expiry;
    assert!(expiry > world.now + ms(50_000));
    assert_eq!(world.events.len(), 1);
}

pub(super) fn failed(u: std::net::Ipv6Addr) -> Failed {
    Failed {
        a: a(0),
        u,
        protocol: 6,
        port: 443,
        errno: 111,
    }
}

#[test]
fn a_failure_has_a_asked_again_and_forgets_nothing() {
    let mut world = learned();
    world.run(ms(1000));
    for _ in 0..100 {
        world
            .mapper
            .failed(User::Other(7), &failed(u(0)), world.now);
        assert_eq!(world.look(a(0)), Some(u(0)));
    }
    world.run(ms(100));
    assert_eq!((world.sent.len(), world.look(a(0))), (2, Some(u(0))));
    // Whoever goes on saying so is heard once a second.
    for _ in 0..100 {
        world.mapper.failed(User::Own, &failed(u(0)), world.now);
        world.run(ms(10));
    }
    assert_eq!(world.sent.len(), 3);
    // What was said last is not forgotten.
    world.run(ms(1000));
    assert_eq!(world.sent.len(), 4);
    // Of another U nobody wants to know.
    world.run(ms(2000));
    world.mapper.failed(User::Own, &failed(u(3)), world.now);
    world.run(ms(100));
    assert_eq!(world.sent.len(), 4);
    let told = |event: &Event| {
        matches!(
            event,
            Event::Failed {
                port: 443,
                errno: 111,
                ..
            }
        )
    };
    let events = world.events.iter().filter(|(_, event)| told(event));
    assert_eq!(events.count(), 3);
    assert_eq!(world.mapper.counters().doubts, 3);
}

#[test]
fn a_failure_finds_the_next_responder_at_once() {
    let mut world = learned();
    world.run(ms(1000));
    world.answers.insert(a(0), (u(1), ms(10)));
    world.mapper.failed(User::Own, &failed(u(0)), world.now);
    world.run(ms(11));
    assert_eq!(world.look(a(0)), Some(u(1)));
}

#[test]
fn a_dead_responder_is_gone_soon_after_a_failure() {
    let mut world = learned();
    world.run(ms(1000));
    world.answers.clear();
    world.mapper.failed(User::Own, &failed(u(0)), world.now);
    world.run(ms(1000));
    assert_eq!(
        world.look(a(0)),
        Some(u(0)),
        "not before it was asked three times"
    );
    world.run(ms(3100));
    assert_eq!(world.found(a(0)).unwrap().state, State::Unanswered);
    assert!(matches!(world.events.last(), Some((_, Event::Gone { .. }))));
}

#[test]
fn who_asks_the_daemon_keeps_a_mapping_in_use() {
    let mut world = learned();
    let expiry = world.known(a(0)).unwrap().mapping.expiry;
    for client in 100..155 {
        world.ask(client, User::Own, a(0));
        world.run(ms(1000));
    }
    assert_eq!(world.sent.len(), 2);
    let entry = world.known(a(0)).unwrap();
    assert!(entry.mapping.expiry > expiry + ms(40_000));
    let used = Duration::from_secs(entry.used.into());
    assert!(world.now - used <= ms(3000), "{used:?}");
}

/// The first failure was told a moment before the responder's service went.
#[test]
fn a_failure_soon_after_another_is_looked_after() {
    let mut world = learned();
    world.run(ms(1000));
    world.mapper.failed(User::Own, &failed(u(0)), world.now);
    world.run(ms(100));
    assert_eq!(world.sent.len(), 2);
    world.answers.insert(a(0), (u(1), ms(10)));
    world
        .mapper
        .failed(User::Other(7), &failed(u(0)), world.now);
    world.run(ms(1100));
    assert_eq!((world.sent.len(), world.look(a(0))), (3, Some(u(1))));
    // While it is being asked: that answer is as good as another.
    world.answers.insert(a(0), (u(2), ms(300)));
    world.run(ms(48_000));
    world.look(a(0));
    assert_eq!(world.sent.len(), 4);
    world.mapper.failed(User::Own, &failed(u(1)), world.now);
    world.run(ms(310));
    assert_eq!((world.sent.len(), world.look(a(0))), (5, Some(u(2))));
    assert_eq!(world.mapper.counters().doubts, 3);
}

/// An answered question is kept for as long as answers to its other probes may come: who
/// doubts A again does not wait for that.
#[test]
fn a_failure_soon_after_another_does_not_wait_for_late_answers() {
    let config =
        format!("{PREFIXES}[times]\nbudget=\"60s\"\nretransmit=[\"200ms\"]\nttl=\"300s\"\n");
    let doubted = |world: &mut World| {
        world.mapper.failed(User::Own, &failed(u(0)), world.now);
        // The second of two probes is answered.
        world.answers.clear();
        world.run(ms(100));
        world.answers.insert(a(0), (u(0), ms(10)));
        let count = world.sent.len();
        world.run(ms(400));
        assert!(world.sent.len() > count);
        assert_eq!(world.mapper.open(), (0, 0));
    };
    let learned = || {
        let mut world = World::new(&config, Limits::default());
        world.answers.insert(a(0), (u(0), ms(10)));
        world.ask(1, User::Own, a(0));
        world.run(ms(1000));
        doubted(&mut world);
        world.answers.insert(a(0), (u(1), ms(10)));
        world
    };
    // Told at once, or when that second is over; or by somebody who wants it anew.
    for wait in [0, 1500] {
        let mut world = learned();
        world.run(ms(wait));
        world.mapper.failed(User::Own, &failed(u(0)), world.now);
        world.run(ms(1100));
        assert_eq!(world.look(a(0)), Some(u(1)), "{wait}");
    }
    let mut world = learned();
    world.run(ms(1500));
    let asker = Asker {
        client: 2,
        request: 1,
    };
    world
        .mapper
        .resolve(asker, User::Own, a(0), true, world.now);
    world.run(ms(1000));
    assert_eq!(world.look(a(0)), Some(u(1)));
}

#[test]
fn nobody_speaks_of_what_it_may_not_ask_about() {
    let mut world = World::new("", Limits::default());
    world.answers.insert(a(0), (u(0), ms(10)));
    world.ask(1, User::Own, a(0));
    world.run(ms(50_000));
    for user in [User::Other(7), User::Own] {
        world.mapper.used(user, a(0), world.now);
        world.mapper.failed(user, &failed(u(0)), world.now);
        world.run(ms(100));
        assert_eq!(world.sent.len(), 1 + usize::from(user == User::Own));
    }
    let counters = world.mapper.counters();
    assert_eq!(counters.refused[Unasked::NotForUser as usize], 2);
    assert_eq!((counters.used, counters.failures), (1, 1));
    let shares: Vec<_> = world.mapper.shares().iter().collect();
    assert_eq!((shares.len(), shares[0].0, shares[0].1.refused), (1, 7, 2));
}

/// Whoever wants it anew all the time does not make U be given up sooner.
#[test]
fn a_question_that_pauses_is_not_hurried_all_the_time() {
    let text = format!("{PREFIXES}[times]\nbudget=\"100ms\"\nretransmit=[\"50ms\"]\n");
    let mut world = World::new(&text, Limits::default());
    world.answers.insert(a(0), (u(0), ms(10)));
    world.ask(1, User::Own, a(0));
    world.run(ms(50_000));
    world.answers.clear();
    world.look(a(0));
    world.run(ms(150));
    let before = world.sent.len();
    for client in 100..265 {
        let asker = Asker { client, request: 1 };
        world
            .mapper
            .resolve(asker, User::Other(7), a(0), true, world.now);
        world.run(ms(5));
    }
    assert_eq!(world.look(a(0)), Some(u(0)));
    assert_eq!(world.sent.len(), before, "it was asked a moment ago");
    world.run(ms(100));
    assert_eq!(
        world.sent.len(),
        before + 2,
        "and is once more, in its time"
    );
}

/// More is used, and about to end, than can be asked about at once; and each program says
/// so once.
#[test]
fn all_that_is_used_has_its_turn() {
    let limits = Limits {
        total: Rate::new(100, 10),
        ..Limits::default()
    };
    let mut world = World::new(PREFIXES, limits);
    for n in 0..200 {
        world.answers.insert(a(n), (u(0), ms(1)));
        world.ask(1, User::Own, a(n));
        world.run(ms(20));
    }
    world.run(ms(48_000));
    let told = world.now;
    for n in 0..150 {
        assert_eq!(world.look(a(n)), Some(u(0)));
    }
    world.run(ms(5000));
    for n in 0..150 {
        let expiry = world.known(a(n)).unwrap().mapping.expiry;
        assert!(expiry > told + ms(60_000), "{n}");
    }
}

/// This host cannot ask for a moment: what is used is asked when it can, and does not end.
#[test]
fn what_could_not_be_asked_is_asked_when_it_is_used_again() {
    type Hinder = fn(&mut World);
    let no_route: Hinder = |world| {
        world.routes.insert(a(0), None);
    };
    let no_socket: Hinder = |world| world.sockets = Methods::NONE;
    let not_begun: Hinder = |world| world.is_failing = true;
    for (n, hinder) in [no_route, no_socket, not_begun].into_iter().enumerate() {
        let mut world = learned();
        world.run(ms(49_000));
        hinder(&mut world);
        // A program of then has said so.
        assert_eq!(world.look(a(0)), Some(u(0)));
        world.run(ms(1000));
        let refreshes = |world: &World| world.mapper.counters().questions[Why::Refresh as usize];
        assert_eq!((refreshes(&world), world.sent.len()), (1, 1), "{n}");
        assert_eq!(world.mapper.open(), (0, 0));
        world.routes.clear();
        (world.sockets, world.is_failing) = (Methods::ECHO, false);
        // And others say so.
        for _ in 0..60 {
            assert_eq!(world.look(a(0)), Some(u(0)), "{n}");
            world.run(ms(1000));
        }
        assert_eq!((refreshes(&world), world.sent.len()), (3, 3), "{n}");
    }
}
