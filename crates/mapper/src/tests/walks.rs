//! The table is gone through a little at a time, with the result that it would have had
//! at once.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::ops::Range;
use std::time::Duration;

use aarp_core::mapping::{Mapping, State};
use aarp_core::prefix::Prefix;
use aarp_core::table::{Entry, REACH};
use aarp_wire::probe::Method;
use proptest::prelude::*;

use super::world::{PREFIXES, World, ms, settings, u};
use crate::pace::Rate;
use crate::sweep::PLACES;
use crate::{Action, Asker, Cause, Limits, Reply, User};

const ASKER: Asker = Asker {
    client: 7,
    request: 3,
};

/// The `n`th anycast address: every fourth is in the first half of the /48.
fn address(n: u32) -> Ipv6Addr {
    let half = u128::from(!n.is_multiple_of(4)) << 79;
    Ipv6Addr::from(0x2001_0db8_000a << 80 | half | u128::from(n))
}

fn first_half() -> Prefix {
    "2001:db8:a::/49".parse().unwrap()
}

/// One that knows these.
fn knowing(numbers: Range<u32>, capacity: usize) -> World {
    knowing_within(Limits::default(), numbers, capacity)
}

fn knowing_within(limits: Limits, numbers: Range<u32>, capacity: usize) -> World {
    let mut world = World::with_capacity(PREFIXES, limits, capacity);
    let (now, epoch) = (world.now, 1);
    for n in numbers {
        let mapping = Mapping {
            state: State::Pinned,
            u: u(1),
            method: Method::Echo,
            expiry: now + Duration::from_secs(60),
            rtt: ms(10),
            failures: 0,
        };
        let entry = Entry {
            a: address(n),
            mapping,
            epoch,
            used: now.as_secs() as u32,
            due: 12_000,
            is_used: true,
            is_asked: false,
            is_others: false,
        };
        world.mapper.table_mut().store_entry(&entry, now);
    }
    world
}

fn known(world: &World) -> BTreeSet<Ipv6Addr> {
    let table = world.mapper.table().view();
    table.entries(0..usize::MAX).map(|entry| entry.a).collect()
}

/// What forbids those.
fn excluding() -> String {
    format!("{PREFIXES}exclude=[\"{}\"]\n", first_half())
}

#[test]
fn whoever_asks_does_not_wait_for_the_end() {
    type Begin = fn(&mut World);
    let flush: Begin = |world| world.mapper.flush(ASKER, first_half());
    let reload: Begin = |world| world.mapper.reload(settings(&excluding()));
    for begin in [flush, reload] {
        let mut world = knowing(0..20_000, 100_000);
        let now = world.now;
        begin(&mut world);
        let mut turns = 0;
        let end = loop {
            // Much was done, and others have their turn.
            match world.mapper.next(now) {
                None => assert_eq!(world.mapper.due(), Some(Duration::ZERO)),
                Some(Action::Happened(_)) => continue,
                Some(end) => break end,
            }
            turns += 1;
            let (client, request) = (turns, 1);
            let asker = Asker { client, request };
            let other = address(4 * turns as u32 + 1);
            world.mapper.resolve(asker, User::Own, other, false, now);
            match world.mapper.next(now) {
                Some(Action::Tell(to, Reply::Mapping(a, _))) => assert_eq!((to, a), (asker, other)),
                other => panic!("{other:?}"),
            }
        };
        let count = 5000;
        let ends = [Action::Flushed(ASKER, count), Action::Reloaded(count)];
        assert!(ends.contains(&end), "{end:?}");
        // Never more than an eighth of a table of that size in one turn.
        assert!(turns >= 8, "{turns}");
        assert_eq!(known(&world).len(), 15_000);
    }
}

/// Somebody asks in each turn, more often than much is done in one, about what is known.
#[test]
fn however_often_the_known_is_asked_questions_begin_and_walks_end() {
    for often in [1024, 3000] {
        let mut world = knowing(0..20_000, 100_000);
        let (now, new) = (world.now, address(30_001));
        world.mapper.resolve(ASKER, User::Own, new, false, now);
        world.mapper.flush(ASKER, first_half());
        let (mut began, mut ended) = (None, None);
        for turn in 0..40 {
            let client = 8;
            for request in 0..often {
                let asker = Asker { client, request };
                let other = address(4 * request + 1);
                let user = User::Other(1000);
                world.mapper.resolve(asker, user, other, false, now);
            }
            let (asked, mut told) = (world.mapper.queued(), 0);
            for _ in 0..world.mapper.turn() {
                match world.mapper.next(now) {
                    None => break,
                    Some(Action::Begin(a)) if a == new => began = Some(turn),
                    Some(Action::Flushed(ASKER, 5000)) => ended = Some(turn),
                    Some(Action::Tell(to, _)) => told += usize::from(to.client == client),
                    Some(Action::Happened(_)) => {}
                    other => panic!("{other:?}"),
                }
            }
            assert!(told >= often as usize, "{told} of {asked}");
        }
        assert_eq!(began, Some(0), "{often}");
        // An eighth of a table of that size in each turn.
        assert!(ended.is_some_and(|turn| turn <= 32), "{often}: {ended:?}");
    }
}

/// What moves is gone back for, and yet there is an end.
#[test]
fn an_epoch_is_looked_through_however_much_is_removed() {
    let mut world = knowing(0..3270, 3276);
    let mut left = known(&world);
    world.mapper.begin_epoch(Cause::Resume, world.now);
    let mut turns = 0;
    while world.mapper.sweep.is_some() {
        world.mapper.sweep(world.now);
        // As far back as it has just come.
        for _ in 0..PLACES / REACH {
            let a = left.pop_first().expect("it has ended by then");
            world.mapper.table_mut().remove(a);
        }
        turns += 1;
    }
    assert!(turns > 4, "{turns}");
}

/// What the settings of now forbid is told to nobody while the table is gone through.
#[test]
fn what_is_forbidden_is_not_told_meanwhile() {
    let mut world = knowing(0..20_000, 100_000);
    let elsewhere = format!("{PREFIXES}trusted=[\"2001:db8:51::/48\"]\n");
    world.mapper.reload(settings(&elsewhere));
    assert_eq!(world.mapper.next(world.now), None);
    let left = *known(&world).iter().next().unwrap();
    world
        .mapper
        .resolve(ASKER, User::Own, left, false, world.now);
    // It is asked anew.
    assert_eq!(world.mapper.next(world.now), Some(Action::Begin(left)));
    world.run(Duration::ZERO);
    assert!(known(&world).is_empty());
}

proptest! {
    // Each fills a table.
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is removed, and so moved, meanwhile: to where was looked already, too.
    #[test]
    fn nothing_is_overlooked(
        removed in proptest::collection::vec(proptest::collection::vec(0usize..80, 0..40), 8),
        is_flush: bool,
        first in 0u32..1_000_000,
    ) {
        let mut world = knowing(first..first + 3270, 3276);
        let now = world.now;
        let mut left = known(&world);
        match is_flush {
            true => world.mapper.flush(ASKER, first_half()),
            false => world.mapper.reload(settings(&excluding())),
        }
        for (turn, places) in (1..).zip(removed) {
            world.mapper.walk(now);
            for place in places {
                // Around where it goes on.
                let place = PLACES * turn - 60 + place;
                let a = world.mapper.table().view().entries(place..place + 1).next();
                if let Some(Entry { a, .. }) = a {
                    prop_assert!(world.mapper.table_mut().remove(a));
                    left.remove(&a);
                }
            }
        }
        world.run(Duration::ZERO);
        left.retain(|a| !first_half().contains(*a));
        prop_assert_eq!(known(&world), left);
        prop_assert!(world.mapper.due() != Some(Duration::ZERO));
    }
}

proptest! {
    // Each asks about thousands.
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// All that is used has a question of the new epoch, whatever is removed meanwhile.
    #[test]
    fn no_epoch_overlooks_what_is_used(
        removed in proptest::collection::vec(proptest::collection::vec(0usize..80, 0..40), 8),
        first in 0u32..1_000_000,
    ) {
        let much = Rate::new(100_000, 100_000);
        let limits = Limits { total: much, site: much, open: 100_000, ..Limits::default() };
        let mut world = knowing_within(limits, first..first + 3270, 3276);
        let now = world.now;
        let mut left = known(&world);
        world.mapper.begin_epoch(Cause::Resume, now);
        for (turn, places) in (1..).zip(removed) {
            world.mapper.sweep(now);
            for place in places {
                // Around where it goes on.
                let place = PLACES * turn - 60 + place;
                let a = world.mapper.table().view().entries(place..place + 1).next();
                if let Some(Entry { a, .. }) = a {
                    prop_assert!(world.mapper.table_mut().remove(a));
                    left.remove(&a);
                }
            }
        }
        for _ in 0..100 {
            world.mapper.sweep(now);
        }
        prop_assert!(world.mapper.sweep.is_none());
        left.retain(|a| world.mapper.questions.get(*a).is_none());
        prop_assert_eq!(left, BTreeSet::new());
    }
}
