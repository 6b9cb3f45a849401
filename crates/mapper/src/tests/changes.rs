//! What happens to all mappings at once.

use aarp_core::mapping::State;
use aarp_core::prefix::Prefix;

use super::world::*;
use crate::{Cause, Changed, Event, Limits, User, Why};

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
        let changed_now = world
            .mapper
            .routes_changed(Changed::Prefixes(&[prefix(changed)]), world.now);
        assert_eq!(changed_now, matters, "{changed}");
        world.run(ms(500));
        assert!(world.found(a(1)).is_some());
    }
    assert!(world.mapper.routes_changed(Changed::Unknown, world.now));
    // What is being asked counts as well.
    world.ask(50, User::Own, a(0x76));
    let asked = [prefix("2001:db8:a::77/128")];
    assert!(
        world
            .mapper
            .routes_changed(Changed::Prefixes(&asked), world.now)
    );
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
    assert_eq!(world.mapper.flush(prefix("2001:db8:a::2/128")), 1);
    assert_eq!(world.mapper.flush(prefix("2001:db8:a::2/128")), 0);
    assert_eq!(world.mapper.flush(prefix("2001:db8:a::8/125")), 8);
    assert_eq!(world.found(a(1)), None);
    assert_eq!(world.mapper.census(world.now), [11, 0, 0, 0]);
    assert_eq!(world.mapper.flush(prefix("::/0")), 11);
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
    assert_eq!(world.mapper.reload(settings(text)), 2);
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
