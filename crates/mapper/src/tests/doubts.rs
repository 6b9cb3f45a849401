//! How often a doubted A is asked, and for how long its U is kept.

use std::time::Duration;

use aarp_core::mapping::State;

use super::refreshes::{failed, learned};
use super::world::*;
use crate::pace::Rate;
use crate::{Asker, Cause, Event, Limits, Reply, Unasked, User};

/// When probes have left since then, in milliseconds.
fn sent_since(world: &World, since: Duration) -> Vec<u128> {
    let times = world.sent.iter().map(|(at, _)| *at);
    let times = times.filter(|at| *at >= since);
    times.map(|at| (at - since).as_millis()).collect()
}

/// A world where somebody says now that the U of A has failed, and nobody answers for A.
fn doubted() -> (World, Duration) {
    let mut world = learned();
    world.run(ms(1000));
    world.answers.clear();
    let since = world.now;
    world.mapper.failed(User::Own, &failed(u(0)), since);
    (world, since)
}

/// Once, and again a tenth of a second after its time is over.
const ASKED: [u128; 12] = [
    0, 100, 300, 500, 700, 900, 1100, 1200, 1400, 1600, 1800, 2000,
];

#[test]
fn a_doubted_address_is_asked_every_fifth_of_a_second() {
    let (mut world, since) = doubted();
    world.run(ms(2100));
    assert_eq!(sent_since(&world, since), ASKED);
    assert_eq!(world.look(a(0)), Some(u(0)));
    // So it is where a router says each time, at once, that it cannot be reached.
    let (mut world, since) = doubted();
    world.rejects.insert(a(0), ms(10));
    world.run(ms(2100));
    assert_eq!(sent_since(&world, since), ASKED);
    assert_eq!(world.look(a(0)), Some(u(0)));
}

/// Whoever wants it anew has it asked as often where there is a U that may have moved, and
/// as is configured where there is none.
#[test]
fn who_wants_it_anew_doubts_a_u_that_is_known() {
    let anew = |world: &mut World| {
        let (client, request) = (9, 1);
        let asker = Asker { client, request };
        let user = User::Other(1000);
        world.mapper.resolve(asker, user, a(0), true, world.now);
    };
    let never = || World::new(PREFIXES, Limits::default());
    let silent = || {
        let mut world = never();
        world.ask(1, User::Own, a(0));
        world.run(ms(3000));
        assert_eq!(world.found(a(0)).unwrap().state, State::Unanswered);
        world
    };
    let pinned = |age| {
        let mut world = learned();
        world.run(age);
        world.answers.clear();
        world
    };
    let configured = vec![0, 100, 300];
    for (name, mut world, expected) in [
        ("never asked", never(), configured.clone()),
        ("silent", silent(), configured.clone()),
        ("of before", pinned(ms(61_000)), configured),
        ("known", pinned(ms(1000)), ASKED[..6].to_vec()),
    ] {
        let since = world.now;
        anew(&mut world);
        world.run(ms(950));
        anew(&mut world);
        world.run(ms(149));
        let sent = sent_since(&world, since);
        assert_eq!(sent, expected, "{name}");
        // It is heard once a second: the same once more, where that is over.
        anew(&mut world);
        world.run(ms(50));
        assert_eq!(
            sent_since(&world, since).len(),
            expected.len() + 1,
            "{name}"
        );
    }
}

/// Wherever in that time routing finds the next responder.
#[test]
fn who_answers_after_a_death_is_known_a_fifth_of_a_second_later() {
    for after in (0..2000).step_by(70) {
        let (mut world, since) = doubted();
        world.run(ms(after));
        world.answers.insert(a(0), (u(1), ms(10)));
        world.run(ms(200 + 10));
        assert_eq!(world.look(a(0)), Some(u(1)), "{after}");
        assert!(world.now - since >= ms(after));
    }
}

#[test]
fn a_doubt_has_no_more_probes_than_are_remembered() {
    let config = format!("{PREFIXES}[times]\nbudget=\"60s\"\n");
    let mut world = World::new(&config, Limits::default());
    world.answers.insert(a(0), (u(0), ms(10)));
    world.ask(1, User::Own, a(0));
    world.run(ms(1000));
    world.answers.clear();
    let since = world.now;
    world.mapper.failed(User::Own, &failed(u(0)), since);
    world.run(ms(30_000));
    let sent = sent_since(&world, since);
    assert_eq!((sent.len(), sent.last()), (3 + 24, Some(&5100)));
}

/// The way to A takes longer than a question has time.
#[test]
fn an_answer_to_the_try_before_counts() {
    let (mut world, since) = doubted();
    world.answers.insert(a(0), (u(1), ms(1350)));
    world.run(ms(1349));
    assert_eq!(world.look(a(0)), Some(u(0)));
    world.run(ms(1));
    let entry = world.known(a(0)).unwrap();
    assert_eq!((entry.mapping.u, entry.mapping.rtt), (u(1), ms(1350)));
    assert_eq!(sent_since(&world, since), ASKED[..8]);
    // Answers to the others are no forgeries, for another budget.
    world.run(ms(999));
    assert_eq!(world.mapper.counters().forged(), 0);
    assert_eq!(world.look(a(0)), Some(u(1)));
}

/// This host has no route for a moment: neither is that an answer.
#[test]
fn a_probe_that_cannot_leave_is_put_off() {
    let (mut world, since) = doubted();
    world.run(ms(400));
    world.routes.insert(a(0), None);
    world.run(ms(250));
    world.routes.clear();
    world.run(ms(350));
    assert_eq!(sent_since(&world, since), [0, 100, 300, 700, 900]);
    assert_eq!(world.look(a(0)), Some(u(0)));
}

/// However many are in doubt, there are no more probes than the pace permits, and nobody
/// who asks has to wait for those.
#[test]
fn doubts_keep_to_the_pace() {
    let limits = Limits {
        site: Rate::new(100, 10),
        user: Rate::new(1000, 1000),
        ..Limits::default()
    };
    let config = format!("{PREFIXES}[times]\nretransmit=[\"990ms\"]\n");
    let mut world = World::new(&config, limits);
    for n in 0..40 {
        world.answers.insert(a(n), (u(0), ms(1)));
        world.ask(n.into(), User::Own, a(n));
        world.run(ms(20));
    }
    world.run(ms(1000));
    world.answers.clear();
    let since = world.now;
    for n in 0..40 {
        let failed = crate::Failed {
            a: a(n),
            ..failed(u(0))
        };
        world.mapper.failed(User::Own, &failed, world.now);
    }
    // Until the first is asked a second time there is nothing but turns.
    world.run(ms(900));
    let sent = sent_since(&world, since);
    assert!(sent.len() > 40 && sent.len() <= 10 + 90, "{}", sent.len());
    for (n, from) in sent.iter().enumerate() {
        let within = sent[n..].iter().filter(|at| **at - from <= 100).count();
        assert!(within <= 10 + 10 + 1, "{within} from {from}");
    }
    // A program asks about another one.
    world.answers.insert(a(100), (u(1), ms(1)));
    let asked = world.now;
    world.ask(1000, User::Own, a(100));
    world.run(ms(30));
    let told = world.told.iter().find(|(_, asker, _)| asker.client == 1000);
    let (at, _, reply) = told.unwrap();
    assert!(matches!(reply, Reply::Mapping(_, mapping) if mapping.u == u(1)));
    assert!(*at - asked <= ms(21), "{:?}", *at - asked);
    assert_eq!(world.mapper.counters().refused[Unasked::Busy as usize], 0);
}

fn is_gone(world: &World) -> Option<Duration> {
    let gone = |event: &Event| matches!(event, Event::Gone { .. });
    let mut events = world.events.iter().filter(|(_, event)| gone(event));
    events.next().map(|(at, _)| *at)
}

/// A router says at once, each time, that A cannot be reached.
#[test]
fn nobody_is_gone_by_how_fast_errors_come() {
    // With so small a budget each try has one probe, and is over when that comes back.
    let hasty = format!("{PREFIXES}[times]\nbudget=\"100ms\"\nretransmit=[]\n");
    for (config, tries) in [(PREFIXES, 3), (&hasty, 16)] {
        for rejected in [true, false] {
            let mut world = World::new(config, Limits::default());
            world.answers.insert(a(0), (u(0), ms(10)));
            world.ask(1, User::Own, a(0));
            world.run(ms(1000));
            let since = world.now;
            world.answers.clear();
            if rejected {
                world.rejects.insert(a(0), ms(10));
            }
            world.mapper.failed(User::Own, &failed(u(0)), since);
            world.run(ms(2999));
            assert_eq!((world.look(a(0)), is_gone(&world)), (Some(u(0)), None));
            world.run(ms(2000));
            let gone = is_gone(&world).unwrap();
            assert!((ms(3000)..=ms(3200)).contains(&(gone - since)), "{gone:?}");
            assert_eq!(world.found(a(0)).unwrap().state, State::Unanswered);
            if rejected {
                assert_eq!(world.mapper.counters().unanswered, tries);
            }
        }
    }
}

/// Whoever answers within that time is the next, and the U before was never gone.
#[test]
fn a_doubt_outlasts_its_mapping() {
    let mut world = learned();
    world.run(ms(59_000));
    world.answers.clear();
    world.rejects.insert(a(0), ms(10));
    let since = world.now;
    world.mapper.failed(User::Own, &failed(u(0)), since);
    world.run(ms(1500));
    // Programs ask: they hear that nobody answers.
    assert_eq!(world.found(a(0)), None);
    world.ask(2, User::Own, a(0));
    world.run(ms(1000));
    let [Reply::Mapping(_, mapping)] = world.replies(2)[..] else {
        panic!("{:?}", world.replies(2));
    };
    assert_eq!(
        (mapping.state, is_gone(&world)),
        (State::Unanswered, None),
        "and nobody believes it"
    );
    world.answers.insert(a(0), (u(1), ms(10)));
    world.run(ms(220));
    assert_eq!((world.look(a(0)), is_gone(&world)), (Some(u(1)), None));
    assert_eq!(world.mapper.counters().changes, 1);
}

/// There is no turn for it: that says nothing about U.
#[test]
fn nobody_is_gone_because_we_are_busy() {
    // In doubt: U is kept, and asked about when there is a turn again.
    let seldom = Rate {
        interval: ms(20_000),
        burst: 2,
    };
    let limits = Limits {
        total: seldom,
        ..Limits::default()
    };
    let mut world = World::new(PREFIXES, limits);
    world.answers.insert(a(0), (u(0), ms(10)));
    world.ask(1, User::Own, a(0));
    world.run(ms(1000));
    world.answers.clear();
    let since = world.now;
    world.mapper.failed(User::Own, &failed(u(0)), since);
    world.run(ms(18_000));
    assert_eq!(sent_since(&world, since), [0, 100, 300]);
    assert_eq!((world.look(a(0)), is_gone(&world)), (Some(u(0)), None));
    world.answers.insert(a(0), (u(1), ms(10)));
    world.run(ms(2000));
    assert_eq!((world.look(a(0)), is_gone(&world)), (Some(u(1)), None));

    // A new epoch, and no turn for what was being asked.
    let limits = Limits {
        total: Rate::new(1, 1),
        ..Limits::default()
    };
    let mut world = World::new(PREFIXES, limits);
    world.answers.insert(a(0), (u(0), ms(10)));
    world.ask(1, User::Own, a(0));
    world.run(ms(2000));
    world.answers.insert(a(0), (u(1), ms(500)));
    world.mapper.failed(User::Own, &failed(u(0)), world.now);
    world.run(ms(10));
    let before = world.sent.len();
    world.mapper.begin_epoch(Cause::Routes, world.now);
    assert_eq!(world.mapper.open(), (0, 0), "there is none");
    world.run(ms(1));
    assert_eq!((world.found(a(0)), is_gone(&world)), (None, None));
    // It is asked when there is one, and the story goes on.
    world.run(ms(3000));
    assert!(world.sent.len() > before);
    assert_eq!((world.look(a(0)), is_gone(&world)), (Some(u(1)), None));
    assert_eq!(world.mapper.counters().changes, 1);
}

/// A program says that U has failed while A is being asked because it is used: that question
/// is one of doubt from then on.
#[test]
fn a_failure_extends_a_question_that_is_asked() {
    for (after, expected) in [
        (0, ASKED.to_vec()),
        (250, ASKED.to_vec()),
        // At once, where the last probe left longer ago than a fifth of a second.
        (
            850,
            vec![
                0, 100, 300, 850, 1100, 1200, 1400, 1600, 1800, 2000, 2200, 2300, 2500, 2700,
            ],
        ),
    ] {
        let mut world = learned();
        world.run(ms(50_000));
        world.answers.clear();
        let since = world.now;
        assert_eq!(world.look(a(0)), Some(u(0)));
        world.run(ms(after));
        world.mapper.failed(User::Own, &failed(u(0)), world.now);
        world.run(ms(2000));
        let sent = sent_since(&world, since);
        let first: Vec<_> = sent.into_iter().take(expected.len()).collect();
        assert_eq!(first, expected, "{after}");
        // Since then it is kept for three seconds, and no longer than that takes.
        world.run(ms(999));
        assert_eq!((world.look(a(0)), is_gone(&world)), (Some(u(0)), None));
        world.run(ms(1100));
        assert!(is_gone(&world).is_some(), "{after}");
        assert_eq!(world.mapper.counters().doubts, 1);
    }
}
