//! What holds whatever happens.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::mapping::State;
use proptest::prelude::*;

use super::world::*;
use crate::pace::Rate;
use crate::{Asker, Cause, Event, Failed, Limits, User};

#[derive(Debug, Clone)]
enum Step {
    Ask { n: u16, user: u32, anew: bool },
    Look { n: u16 },
    Fail { n: u16, u: u16 },
    Answers { n: u16, by: Option<(u16, u64)> },
    Rejects { n: u16, after: Option<u64> },
    Epoch,
    Flush,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let n = 0..8u16;
    let step = prop_oneof![
        6 => (n.clone(), 0..3u32, prop::bool::weighted(0.1))
            .prop_map(|(n, user, anew)| Step::Ask { n, user, anew }),
        6 => n.clone().prop_map(|n| Step::Look { n }),
        2 => (n.clone(), 0..4u16).prop_map(|(n, u)| Step::Fail { n, u }),
        3 => (n.clone(), proptest::option::weighted(0.8, (0..4u16, 0..1500u64)))
            .prop_map(|(n, by)| Step::Answers { n, by }),
        2 => (n, proptest::option::weighted(0.7, 0..300u64))
            .prop_map(|(n, after)| Step::Rejects { n, after }),
        1 => Just(Step::Epoch),
        1 => Just(Step::Flush),
        10 => prop_oneof![0..50u64, 0..2000u64, 0..60_000u64].prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..120)
}

/// What every U was the answer for, and when.
type History = HashMap<(Ipv6Addr, Ipv6Addr), Vec<(Duration, Option<Duration>)>>;

fn answered_within(history: &History, a: Ipv6Addr, u: Ipv6Addr, from: Duration) -> bool {
    let times = history.get(&(a, u));
    times.is_some_and(|times| {
        times
            .iter()
            .any(|(_, end)| end.is_none_or(|end| end >= from))
    })
}

proptest! {
    #[test]
    fn whatever_happens(steps in steps()) {
        let limits = Limits {
            total: Rate::new(50, 10),
            site: Rate::new(20, 5),
            user: Rate::new(10, 10),
            open: 6,
            waiters: 10,
            ..Limits::default()
        };
        let mut world = World::with_capacity(PREFIXES, limits, 6);
        let mut history = History::new();
        let mut asked = Vec::new();
        let mut epochs = 0;
        for step in steps {
            match step {
                Step::Ask { n, user, anew } => {
                    let asker = Asker { client: asked.len() as u64, request: 7 };
                    asked.push(world.now);
                    let user = if user == 0 { User::Own } else { User::Other(user) };
                    world.mapper.resolve(asker, user, a(n), anew, world.now);
                }
                Step::Look { n } => drop(world.look(a(n))),
                Step::Fail { n, u: by } => {
                    let failed = Failed { a: a(n), u: u(by), protocol: 17, port: 53, errno: 0 };
                    world.mapper.failed(User::Other(9), &failed, world.now);
                }
                Step::Answers { n, by } => {
                    if let Some((before, _)) = world.answers.remove(&a(n)) {
                        let times = history.get_mut(&(a(n), before)).unwrap();
                        times.last_mut().unwrap().1 = Some(world.now);
                    }
                    if let Some((by, after)) = by {
                        world.answers.insert(a(n), (u(by), ms(after)));
                        history.entry((a(n), u(by))).or_default().push((world.now, None));
                    }
                }
                Step::Rejects { n, after: None } => drop(world.rejects.remove(&a(n))),
                Step::Rejects { n, after: Some(after) } => {
                    world.rejects.insert(a(n), ms(after));
                }
                Step::Epoch => {
                    epochs += 1;
                    world.mapper.begin_epoch(Cause::Routes, world.now);
                }
                Step::Flush => drop(world.flush("::/0".parse().unwrap())),
                Step::Wait(time) => world.run(ms(time)),
            }
            let (open, waiters) = world.mapper.open();
            prop_assert!(open <= limits.open && waiters <= limits.waiters);
            for n in 0..8 {
                // Nobody is sent to a U that did not answer for A at the time that the
                // mapping holds, or in that of a probe before.
                if let Some(mapping) = world.found(a(n)) && mapping.state == State::Pinned {
                    let from = world.now - ms(60_000) - ms(1500);
                    prop_assert!(answered_within(&history, a(n), mapping.u, from));
                }
            }
        }
        world.run(ms(200_000));
        prop_assert_eq!(world.mapper.open(), (0, 0));
        // Everybody has one answer, within a budget and the time that a turn may take.
        for (client, at) in asked.into_iter().enumerate() {
            let of = |asker: &Asker| asker.client == client as u64;
            let replies: Vec<_> = world.told.iter().filter(|(_, asker, _)| of(asker)).collect();
            prop_assert_eq!(replies.len(), 1);
            // An epoch that ends has it asked once more.
            prop_assert!(replies[0].0 - at <= ms(2500) * (1 + epochs), "{:?}", replies[0].0 - at);
        }
        // Events tell of each A a story without gaps.
        let mut last: HashMap<Ipv6Addr, Ipv6Addr> = HashMap::new();
        for (_, event) in &world.events {
            match event {
                Event::Learned { a, u, .. } => drop(last.insert(*a, *u)),
                Event::Changed { a, from, to, .. } => {
                    prop_assert_eq!(last.insert(*a, *to), Some(*from));
                    prop_assert_ne!(from, to);
                }
                Event::Gone { a, u, .. } => prop_assert_eq!(last.remove(a), Some(*u)),
                _ => {}
            }
        }
        // The pace, of what begins: two retransmissions each may follow.
        let mut times: Vec<_> = world.sent.iter().map(|(at, _)| *at).collect();
        times.sort();
        for (n, from) in times.iter().enumerate() {
            let end = times.partition_point(|at| *at <= *from + ms(1000));
            prop_assert!(end - n <= 3 * (10 + 50));
        }
    }
}
