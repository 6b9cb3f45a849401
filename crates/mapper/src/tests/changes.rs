//! What happens to all mappings at once.

use aarp_core::mapping::State;
use aarp_core::prefix::Prefix;
use aarp_core::table::{Entry, REACH};

use super::world::*;
use crate::{Cause, Changed, Event, Limits, Reply, Unasked, User, Why, permitted};

/// A world that knows about `count` addresses.
fn knowing(count: u16) -> World {
    let mut world = World::new(PREFIXES, Limits::default());
    for n in 0..count {
        world.answers.insert(a(n), (u(0), ms(10)));
        world.ask(n.into(), User::Own, a(n));
    }
    world.run(ms(1000));
    world
}

fn prefix(text: &str) -> Prefix {
    text.parse().unwrap()
}

#[test]
fn a_new_epoch_asks_about_what_is_used_and_nothing_else() {
    let mut world = knowing(20);
    world.run(ms(30_000));
    // Half of them are used, in the time that they hold, and then a minute passes.
    let clients = 100..110;
    for (n, client) in clients.enumerate() {
        world.ask(client, User::Own, a(n as u16));
    }
    world.mapper.begin_epoch(Cause::Resume, world.now);
    for n in 0..20 {
        assert_eq!(world.found(a(n)), None, "nobody uses what is in doubt");
    }
    let before = world.sent.len();
    world.run(ms(20));
    // All were used less than a minute ago: they were asked about.
    assert_eq!(world.sent.len() - before, 20);
    assert_eq!(world.found(a(3)).unwrap().u, u(0));
    let epoch = Event::Epoch {
        epoch: 2,
        cause: Cause::Resume,
    };
    assert_eq!(
        world.events[20..]
            .iter()
            .map(|(_, e)| *e)
            .collect::<Vec<_>>(),
        [epoch]
    );

    // What nobody has used since is left alone.
    world.run(ms(50_000));
    for n in 0..5 {
        world.look(a(n));
    }
    world.run(ms(15_000));
    let before = world.sent.len();
    world.mapper.begin_epoch(Cause::Routes, world.now);
    world.run(ms(100));
    assert_eq!(world.sent.len() - before, 5);
    assert_eq!(world.mapper.counters().questions[Why::Epoch as usize], 25);
}

#[test]
fn an_answer_of_the_epoch_before_does_not_count() {
    let mut world = World::new(PREFIXES, Limits::default());
    world.answers.insert(a(0), (u(0), ms(50)));
    world.ask(1, User::Own, a(0));
    world.run(ms(20));
    world.answers.insert(a(0), (u(1), ms(50)));
    world.mapper.begin_epoch(Cause::Routes, world.now);
    world.run(ms(200));
    assert_eq!(world.found(a(0)).unwrap().u, u(1));
    assert_eq!(world.replies(1).len(), 1);
}

/// Whether a change of routes ends the epoch.
fn matters_now(world: &mut World, changed: &[Prefix]) -> bool {
    let before = world.mapper.counters().epochs;
    world
        .mapper
        .routes_changed(Changed::Prefixes(changed), world.now);
    world.run(ms(1));
    world.mapper.counters().epochs > before
}

#[test]
fn only_changes_that_matter_end_an_epoch() {
    let mut world = knowing(3);
    for (changed, matters) in [
        ("2001:db8:77::/48", false),
        ("fd00::/8", false),
        ("2001:db8:a::2/128", true),
        ("2001:db8:51::/64", true),
        ("::/0", true),
        ("2000::/3", true),
        ("2001:db8:a::77/128", false),
    ] {
        assert_eq!(
            matters_now(&mut world, &[prefix(changed)]),
            matters,
            "{changed}"
        );
        world.run(ms(500));
        assert!(world.found(a(1)).is_some());
    }
    let before = world.mapper.counters().epochs;
    world.mapper.routes_changed(Changed::Unknown, world.now);
    assert_eq!(world.mapper.counters().epochs, before + 1);
    // What is being asked counts as well.
    world.ask(50, User::Own, a(0x76));
    let asked = [prefix("2001:db8:a::77/128")];
    assert!(matters_now(&mut world, &asked));
}

/// In a large table as in a small one, whatever else is to be done in the meantime.
#[test]
fn a_million_mappings_are_looked_through_a_little_at_a_time() {
    let mut world = World::with_capacity(PREFIXES, Limits::default(), 200_000);
    world.answers.insert(a(0), (u(0), ms(10)));
    world.ask(0, User::Own, a(0));
    world.run(ms(1000));
    let places = world.mapper.table().view().slots();
    assert!(places > 200_000);
    let many: Vec<_> = (0..256)
        .map(|n| prefix(&format!("2001:db8:{:x}::/48", 0x100 + n)))
        .collect();
    world
        .mapper
        .routes_changed(Changed::Prefixes(&many), world.now);
    let mut turns = 0;
    while world.mapper.due() == Some(std::time::Duration::ZERO) {
        assert_eq!(world.mapper.next(world.now), None, "each turn ends");
        turns += 1;
        // What comes in the meantime is judged afterwards, once for all of it.
        if turns < 20 {
            world
                .mapper
                .routes_changed(Changed::Prefixes(&many), world.now);
        }
        // What is known is told at once.
        world.ask(turns, User::Own, a(0));
        assert_eq!(world.replies(turns).len(), 1);
    }
    assert!(
        (places / (8 * 1024)..100).contains(&(turns as usize)),
        "{turns}"
    );
    assert_eq!(world.mapper.counters().epochs, 0);
    // What it concerns is found wherever it stands.
    assert!(matters_now(
        &mut world,
        &[many[0], prefix("2001:db8:51::/64"), many[1]]
    ));
    // So much that waits is as good as all.
    world.run(ms(1000));
    assert_eq!(world.mapper.counters().epochs, 1);
    for site in 0..8 {
        let others: Vec<_> = (0..256)
            .map(|n| prefix(&format!("2001:db8:{:x}::/48", 0x1000 + 256 * site + n)))
            .collect();
        world
            .mapper
            .routes_changed(Changed::Prefixes(&others), world.now);
    }
    assert_eq!(world.mapper.counters().epochs, 2);
}

#[test]
fn routes_may_change_for_ever() {
    let mut world = knowing(3);
    for round in 0..1000u16 {
        world.answers.insert(a(0), (u(round % 5), ms(10)));
        world.mapper.begin_epoch(Cause::Routes, world.now);
        world.run(ms(20));
        assert_eq!(world.look(a(0)), Some(u(round % 5)));
    }
    // The first round was no change, and no number of an epoch that came again was taken
    // for the one before.
    assert_eq!(world.mapper.counters().changes, 999);
}

#[test]
fn no_route_any_more_is_gone() {
    let mut world = knowing(1);
    world.routes.insert(a(0), None);
    world.mapper.begin_epoch(Cause::Routes, world.now);
    world.run(ms(100));
    assert_eq!(world.known(a(0)), None);
    let gone = Event::Gone {
        a: a(0),
        u: u(0),
        state: State::Unanswered,
    };
    assert_eq!(world.events.last().unwrap().1, gone);
}

#[test]
fn a_flush_forgets_what_it_says() {
    let mut world = knowing(20);
    assert_eq!(world.flush(prefix("2001:db8:a::2/128")), 1);
    assert_eq!(world.flush(prefix("2001:db8:a::2/128")), 0);
    assert_eq!(world.flush(prefix("2001:db8:a::8/125")), 8);
    assert_eq!(world.found(a(1)), None);
    assert_eq!(world.mapper.census(0..usize::MAX, world.now), [11, 0, 0, 0]);
    assert_eq!(world.flush(prefix("::/0")), 11);
    assert!(world.mapper.table().is_empty());
}

#[test]
fn other_settings_keep_what_they_permit() {
    let mut world = knowing(20);
    world.answers.insert(a(30), (u(5), ms(10)));
    world.ask(50, User::Own, a(30));
    world.run(ms(20));
    let text = "[resolve]\nprefixes=[\"2001:db8:a::/48\"]\nexclude=[\"2001:db8:a::1/128\"]\n\
                trusted=[\"2001:db8:51::/48\"]\n";
    assert_eq!(world.reload(settings(text)), 2);
    assert_eq!(world.found(a(0)), None);
    assert_eq!(world.found(a(30)), None);
    assert_eq!(world.found(a(1)).unwrap().u, u(0));
    world.ask(51, User::Own, a(30));
    world.run(ms(1000));
    assert_eq!(world.found(a(30)).unwrap().state, State::Untrusted);
    assert!(matches!(
        world.events.last(),
        Some((_, Event::Untrusted { .. }))
    ));
}

#[test]
fn shorter_times_hold_for_what_is_known_already() {
    let mut world = knowing(3);
    world.run(ms(10_000));
    let text = |ttl: u32| format!("{PREFIXES}[times]\nttl=\"{ttl}s\"\n");
    assert_eq!(world.reload(settings(&text(20))), 0);
    let entry = world.known(a(1)).unwrap();
    // 20 seconds from when it was found out, and due in the last four of them.
    assert_eq!(
        (entry.mapping.expiry, entry.due),
        (BEGIN + ms(20_010), 4000)
    );
    // Not longer by that the configuration has become wider.
    assert_eq!(world.reload(settings(&text(600))), 0);
    assert_eq!(
        world.known(a(1)).unwrap().mapping.expiry,
        BEGIN + ms(20_010)
    );
    assert_eq!(world.reload(settings(&text(5))), 3);
    assert_eq!(world.found(a(1)), None);
}

#[test]
fn what_another_daemon_has_found_out_is_judged_too() {
    let world = knowing(1);
    let entry = world.known(a(0)).unwrap();
    let now = world.now;
    let left = |text: &str, entry: &Entry, now| permitted(&settings(text), None, entry, now);
    assert_eq!(left(PREFIXES, &entry, now), Some(entry));
    let excluded = format!("{PREFIXES}exclude=[\"2001:db8:a::1\"]\n");
    let trusted = format!("{PREFIXES}trusted=[\"2001:db8:52::/48\"]\n");
    for text in [
        "[resolve]\nprefixes=[\"2001:db8:b::/48\"]\n",
        &excluded,
        &trusted,
    ] {
        assert_eq!(left(text, &entry, now), None, "{text}");
    }
    let short = format!("{PREFIXES}[times]\nttl=\"10s\"\n");
    let expiry = left(&short, &entry, now).unwrap().mapping.expiry;
    assert_eq!(expiry, BEGIN + ms(10_010));
    // Of what is never due its time is not known.
    let told = Entry { due: 0, ..entry };
    assert_eq!(
        left(&short, &told, now).unwrap().mapping.expiry,
        now + ms(10_000)
    );
    let late = BEGIN + ms(59_000);
    assert_eq!(left(PREFIXES, &told, late), Some(told));
    assert_eq!(left(&short, &entry, late), None);
}

#[test]
fn an_answer_is_judged_by_the_settings_of_its_time() {
    let ask = || {
        let mut world = World::new(PREFIXES, Limits::default());
        world.answers.insert(a(0), (u(0), ms(50)));
        world.ask(1, User::Own, a(0));
        world.run(ms(10));
        world
    };
    let mut world = ask();
    let text = "[resolve]\nprefixes=[\"2001:db8:b::/48\"]\n";
    world.reload(settings(text));
    world.run(ms(100));
    assert_eq!(world.replies(1), [Reply::Unasked(a(0), Unasked::Policy)]);
    assert_eq!((world.known(a(0)), world.mapper.open()), (None, (0, 0)));
    let mut world = ask();
    let text = format!("{PREFIXES}trusted=[\"2001:db8:52::/48\"]\n[times]\nunanswered=\"3s\"\n");
    world.reload(settings(&text));
    world.run(ms(1000));
    let entry = world.known(a(0)).unwrap();
    assert_eq!(
        (entry.mapping.state, entry.mapping.expiry),
        (State::Untrusted, BEGIN + ms(4000))
    );
    // Nothing is configured any more: other users may not know.
    let mut world = ask();
    world.ask(2, User::Other(7), a(0));
    world.reload(settings(""));
    world.run(ms(100));
    assert!(matches!(world.replies(1)[..], [Reply::Mapping(..)]));
    assert_eq!(
        world.replies(2),
        [Reply::Unasked(a(0), Unasked::NotForUser)]
    );
}

/// A mapping that moves, while the table is looked through, to where was looked already.
#[test]
fn what_moves_in_the_meantime_is_found() {
    let mut world = World::with_capacity("", Limits::default(), 20_000);
    let last = 8 * 1024 - 1;
    let in_last =
        |world: &World, a: &std::net::Ipv6Addr| world.mapper.table().region(*a) == last / REACH;
    let meeting: Vec<_> = (1u32..)
        .map(|n| ip(&format!("2001:db8:b::{:x}:{:x}", n >> 16, n & 0xffff)))
        .filter(|a| in_last(&world, a))
        .take(40)
        .collect();
    for a in &meeting {
        world.answers.insert(*a, (u(0), ms(1)));
        world.ask(1, User::Own, *a);
        world.run(ms(20));
    }
    let stand = |world: &World, places: std::ops::Range<usize>| -> Vec<_> {
        world
            .mapper
            .table()
            .view()
            .entries(places)
            .map(|entry| entry.a)
            .collect()
    };
    let behind = *stand(&world, last + 1..last + 64).first().unwrap();
    let changed = prefix(&format!("{behind}/128"));
    world
        .mapper
        .routes_changed(Changed::Prefixes(&[changed]), world.now);
    assert_eq!(world.mapper.next(world.now), None);
    // Half of the first places are emptied, and it moves there.
    for a in stand(&world, last + 1 - REACH..last + 1) {
        if stand(&world, last + 1..last + 64).contains(&behind) {
            world.flush(prefix(&format!("{a}/128")));
        }
    }
    assert!(stand(&world, 0..last + 1).contains(&behind));
    world.run(ms(1));
    assert_eq!(world.mapper.counters().epochs, 1);
}
