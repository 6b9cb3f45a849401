//! Who asks, who is told what, and who is not.

use aarp_core::mapping::State;
use aarp_core::settings::Methods;
use aarp_wire::route::{RouteRepr, RouteType};

use super::world::*;
use std::net::Ipv6Addr;

use crate::pace::Rate;
use crate::{Asker, Event, Limits, Reply, Unasked, User, Why};

#[test]
fn a_hundred_askers_cost_one_probe() {
    let mut world = World::new(PREFIXES, Limits::default());
    world.answers.insert(a(0), (u(0), ms(20)));
    for client in 0..50 {
        world.ask(client, User::Other(1000), a(0));
    }
    world.run(ms(10));
    for client in 50..100 {
        world.ask(client, User::Own, a(0));
    }
    assert!(world.told.is_empty());
    world.run(ms(50));
    assert_eq!(world.sent.len(), 1);
    for client in 0..100 {
        let [Reply::Mapping(about, mapping)] = world.replies(client)[..] else {
            panic!("{:?}", world.replies(client));
        };
        assert_eq!(
            (about, mapping.state, mapping.u),
            (a(0), State::Pinned, u(0))
        );
        assert_eq!(mapping.rtt, ms(20));
        assert_eq!(mapping.expiry, BEGIN + ms(60_020));
    }
    assert_eq!(world.found(a(0)).unwrap().u, u(0));
    world.ask(100, User::Own, a(0));
    assert_eq!((world.sent.len(), world.replies(100).len()), (1, 1));
    let counters = world.mapper.counters();
    assert_eq!(
        (counters.misses, counters.joined, counters.hits),
        (1, 99, 1)
    );
    let learned = Event::Learned {
        a: a(0),
        u: u(0),
        rtt: ms(20),
    };
    assert_eq!(world.events, [(BEGIN + ms(20), learned)]);
}

#[test]
fn silence_is_told_and_remembered() {
    let mut world = World::new(PREFIXES, Limits::default());
    world.ask(1, User::Own, a(0));
    world.run(ms(999));
    assert!(world.told.is_empty());
    world.run(ms(1));
    let [Reply::Mapping(_, mapping)] = world.replies(1)[..] else {
        panic!("{:?}", world.told);
    };
    assert_eq!((mapping.state, mapping.failures), (State::Unanswered, 1));
    // At once and after 100 and 300 ms.
    let at: Vec<_> = world.sent.iter().map(|(at, _)| *at - BEGIN).collect();
    assert_eq!(at, [ms(0), ms(100), ms(300)]);
    world.ask(2, User::Own, a(0));
    assert_eq!((world.replies(2).len(), world.sent.len()), (1, 3));
    world.run(ms(10_000));
    world.ask(3, User::Own, a(0));
    world.run(ms(1000));
    assert_eq!(world.sent.len(), 6);
    assert_eq!(world.known(a(0)).unwrap().mapping.failures, 2);
    assert!(world.events.is_empty(), "{:?}", world.events);
}

#[test]
fn a_late_answer_serves_the_next() {
    let mut world = World::new(PREFIXES, Limits::default());
    world.answers.insert(a(0), (u(0), ms(1500)));
    world.ask(1, User::Own, a(0));
    world.run(ms(1400));
    assert_eq!(world.found(a(0)).unwrap().state, State::Unanswered);
    world.run(ms(600));
    assert_eq!(world.found(a(0)).unwrap().u, u(0));
    let counters = world.mapper.counters();
    // Answers to the other attempts came after it, and are no forgeries.
    assert_eq!((counters.late, counters.forged()), (1, 0));
    assert!(matches!(world.events[..], [(_, Event::Learned { .. })]));
}

#[test]
fn others_may_ask_about_prefixes_only() {
    let mut world = World::new("", Limits::default());
    world.answers.insert(a(0), (a(0), ms(5)));
    world.ask(1, User::Other(1000), a(0));
    world.ask(2, User::Own, a(0));
    world.run(ms(10));
    assert_eq!(
        world.replies(1),
        [Reply::Unasked(a(0), Unasked::NotForUser)]
    );
    assert_eq!(world.found(a(0)).unwrap().state, State::Direct);
    let mut world = World::new(PREFIXES, Limits::default());
    let other = ip("2001:db8:b::1");
    for (client, address, why) in [
        (1, other, Unasked::Policy),
        (2, ip("::1"), Unasked::Local),
        (3, ip("ff02::1"), Unasked::Local),
    ] {
        world.ask(client, User::Own, address);
        assert_eq!(world.replies(client), [Reply::Unasked(address, why)]);
    }
    assert_eq!(world.sent.len(), 0);
}

#[test]
fn one_user_does_not_take_the_share_of_others() {
    let limits = Limits {
        user: Rate::new(1, 10),
        ..Limits::default()
    };
    let mut world = World::new(PREFIXES, limits);
    for n in 0..30 {
        world.ask(n.into(), User::Other(1000), a(n));
    }
    world.ask(100, User::Other(1001), a(100));
    world.ask(101, User::Own, a(101));
    let refused = (0..30).filter(|n| {
        let expected = Reply::Unasked(a(*n as u16), Unasked::UserLimit);
        world.replies(*n) == [expected]
    });
    assert_eq!(refused.count(), 20);
    world.run(ms(2000));
    assert!(matches!(world.replies(100)[..], [Reply::Mapping(..)]));
    assert!(matches!(world.replies(101)[..], [Reply::Mapping(..)]));
    // What is known costs nothing.
    world.answers.insert(a(101), (u(0), ms(1)));
    world.run(ms(20_000));
    world.ask(102, User::Own, a(101));
    world.run(ms(10));
    for n in 0..100 {
        world.ask(200 + n, User::Other(1000), a(101));
        assert!(matches!(world.replies(200 + n)[..], [Reply::Mapping(..)]));
    }
}

#[test]
fn probes_to_one_site_are_paced_and_bounded() {
    let limits = Limits {
        site: Rate::new(10, 2),
        ..Limits::default()
    };
    let mut world = World::new(PREFIXES, limits);
    for n in 0..40 {
        world.answers.insert(a(n), (u(0), ms(1)));
        world.ask(n.into(), User::Own, a(n));
    }
    world.run(ms(3000));
    let at: Vec<_> = world
        .sent
        .iter()
        .map(|(at, _)| (*at - BEGIN).as_millis())
        .collect();
    assert_eq!(at[..5], [0, 0, 100, 200, 300]);
    // Who would have waited for longer than half a second was told at once.
    assert_eq!(at.len(), 7);
    let busy = |n: &u16| world.replies(u64::from(*n)) == [Reply::Unasked(a(*n), Unasked::Busy)];
    assert_eq!((0..40).filter(busy).count(), 33);
    assert_eq!(world.mapper.counters().refused[Unasked::Busy as usize], 33);
}

#[test]
fn all_probes_together_are_paced() {
    let limits = Limits {
        total: Rate::new(100, 5),
        ..Limits::default()
    };
    let mut world = World::new("[resolve]\nprefixes=[\"2001:db8::/32\"]\n", limits);
    for n in 0..50u16 {
        let site = ip(&format!("2001:db8:{n:x}::1"));
        world.answers.insert(site, (u(0x100), ms(1)));
        world.ask(n.into(), User::Own, site);
    }
    world.run(ms(200));
    assert_eq!(world.sent.len(), 25);
    world.run(ms(1000));
    assert_eq!(world.sent.len(), 50);
}

/// Somebody with as many user numbers as it likes, as in user namespaces, asks about as
/// many addresses as it likes.
#[test]
fn a_crowd_of_users_keeps_nobody_out() {
    let config = "[resolve]\nprefixes=[\"2001:db8::/32\"]\n";
    let mut world = World::new(config, Limits::default());
    let (used, site) = (a(0), |n: u32| {
        ip(&format!("2001:db8:{:x}::{:x}", 0x100 + n % 400, n))
    });
    world.answers.insert(used, (u(0), ms(1)));
    world.ask(1, User::Own, used);
    world.run(ms(50_000));
    let mut refused_at_once = 0;
    for n in 0..20_000u32 {
        let client = 1000 + u64::from(n);
        world.ask(client, User::Other(100_000 + n), site(n));
        let told = world
            .told
            .last()
            .map(|(_, asker, reply)| (asker.client, *reply));
        let busy = Some((client, Reply::Unasked(site(n), Unasked::Busy)));
        refused_at_once += usize::from(told == busy);
    }
    assert!(refused_at_once > 17_000, "{refused_at_once}");
    // Root has its answer, and what is used is asked again.
    let asked = world.now;
    world.answers.insert(ip("2001:db8:f00::1"), (u(1), ms(1)));
    world.ask(2, User::Own, ip("2001:db8:f00::1"));
    assert_eq!(world.look(used), Some(u(0)));
    world.run(ms(400));
    assert!(matches!(world.replies(2)[..], [Reply::Mapping(..)]));
    let expiry = world.known(used).unwrap().mapping.expiry;
    assert!(expiry > asked + ms(60_000), "{expiry:?}");
    // Everybody has an answer within what a turn and a question take.
    world.run(ms(2000));
    assert_eq!((world.told.len(), world.mapper.open()), (20_002, (0, 0)));
    let last = world.told.iter().map(|(at, ..)| *at).max().unwrap();
    assert!(last - asked <= ms(250 + 1000), "{:?}", last - asked);
}

#[test]
fn root_keeps_no_mapping_from_being_refreshed() {
    let config = "[resolve]\nprefixes=[\"2001:db8::/32\"]\n";
    for site in [|_: u16| 0xa, |n: u16| 0x100 + n] {
        let mut world = World::new(config, Limits::default());
        world.answers.insert(a(0), (u(0), ms(1)));
        world.ask(1, User::Own, a(0));
        world.run(ms(50_000));
        // More than can be asked, for seconds.
        for n in 0..20_000u16 {
            let asked = Ipv6Addr::new(0x2001, 0xdb8, site(n), 1, 0, 0, 0, n + 1);
            world.ask(2 + u64::from(n), User::Own, asked);
        }
        let told = world.now;
        assert_eq!(world.look(a(0)), Some(u(0)));
        world.run(ms(1100));
        assert!(world.known(a(0)).unwrap().mapping.expiry > told + ms(60_000));
    }
}

#[test]
fn one_user_does_not_take_the_place_of_all_who_wait() {
    let limits = Limits {
        waiters: 16,
        user_waiters: 5,
        ..Limits::default()
    };
    let mut world = World::new(PREFIXES, limits);
    let waits = |world: &World, client: u64| world.replies(client).is_empty();
    for client in 0..8 {
        world.ask(client, User::Other(1), a(0));
    }
    for client in 8..20 {
        world.ask(client, User::Other(client as u32), a(0));
    }
    for client in 20..26 {
        world.ask(client, User::Own, a(0));
    }
    let waiting: Vec<u64> = (0..26).filter(|client| waits(&world, *client)).collect();
    assert_eq!(
        waiting,
        [0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 13, 14, 20, 21, 22, 23]
    );
    // Their places are free again.
    world.run(ms(1000));
    world.run(ms(20_000));
    for client in 30..36 {
        world.ask(client, User::Other(1), a(1));
    }
    assert_eq!(world.mapper.open(), (1, 5));
}

#[test]
fn questions_and_waiters_are_bounded() {
    let limits = Limits {
        open: 3,
        waiters: 5,
        ..Limits::default()
    };
    let mut world = World::new(PREFIXES, limits);
    for n in 0..4 {
        world.ask(n.into(), User::Own, a(n));
    }
    for n in 4..7 {
        world.ask(n, User::Own, a(0));
    }
    assert_eq!(world.mapper.open(), (3, 5));
    let busy = |n| world.replies(n).len() == 1;
    let refused: Vec<u64> = (0..7).filter(|n| busy(*n)).collect();
    assert_eq!(refused, [3, 6]);
    // What is over holds nobody up.
    world.run(ms(1000));
    for n in 10..13 {
        world.ask(n.into(), User::Own, a(n));
    }
    assert_eq!(world.mapper.open(), (3, 3));
}

#[test]
fn what_cannot_be_asked_is_not_remembered() {
    let mut world = World::new(PREFIXES, Limits::default());
    let own = RouteRepr {
        route_type: RouteType::Local,
        prefix_len: 128,
        gateway: false,
    };
    world.routes.insert(a(0), None);
    world.routes.insert(a(1), Some(own));
    world.ask(0, User::Own, a(0));
    world.ask(1, User::Own, a(1));
    world.sockets = Methods::NONE;
    world.ask(2, User::Own, a(2));
    for (n, why) in [
        (0, Unasked::NoRoute),
        (1, Unasked::Local),
        (2, Unasked::NotPermitted),
    ] {
        assert_eq!(world.replies(n), [Reply::Unasked(a(n as u16), why)]);
        assert_eq!(world.known(a(n as u16)), None);
    }
    assert_eq!(world.mapper.open(), (0, 0));
}

#[test]
fn forged_answers_count_and_mean_nothing() {
    let mut world = World::new(PREFIXES, Limits::default());
    world.ask(1, User::Own, a(0));
    let (_, probe) = world.sent[0];
    for bit in [100, 300] {
        let mut forged = probe.message().to_vec();
        forged[0] = 129;
        forged[bit / 8] ^= 1;
        world.arrive(0, forged, u(6), ms(1));
    }
    // The right one, from an address that no answer may come from.
    world.reply(&probe, ip("fe80::1"), ms(2));
    world.reply(&probe, u(0), ms(30));
    world.run(ms(50));
    assert_eq!(world.found(a(0)).unwrap().u, u(0));
    assert_eq!(world.mapper.counters().forged(), 3);
}

#[test]
fn who_is_not_served_has_it_asked_anew() {
    let mut world = World::new(PREFIXES, Limits::default());
    world.answers.insert(a(0), (u(0), ms(5)));
    world.ask(1, User::Own, a(0));
    world.run(ms(2000));
    world.answers.insert(a(0), (u(1), ms(5)));
    let anew = |world: &mut World, client| {
        let asker = Asker { client, request: 1 };
        world
            .mapper
            .resolve(asker, User::Other(7), a(0), true, world.now);
        world.run(ms(10));
        match world.replies(client)[..] {
            [Reply::Mapping(_, mapping)] => mapping.u,
            ref other => panic!("{other:?}"),
        }
    };
    assert_eq!((anew(&mut world, 2), world.sent.len()), (u(1), 2));
    // Not more often than once a second.
    for client in 3..50 {
        assert_eq!(anew(&mut world, client), u(1));
    }
    assert_eq!(world.sent.len(), 2);
    world.run(ms(1000));
    assert_eq!((anew(&mut world, 50), world.sent.len()), (u(1), 3));
    assert_eq!(world.mapper.counters().questions[Why::Doubt as usize], 2);
}

/// A user who has read the key asks about addresses that meet where another's mapping is,
/// as fast as it may, says that it uses them, and comes under many numbers.
#[test]
fn addresses_that_meet_take_no_place_from_others() {
    let config = "[resolve]\nprefixes=[\"2001:db8::/32\"]\n";
    let mut world = World::with_capacity(config, Limits::default(), 1000);
    let region = |world: &World, n: u32| {
        let a = Ipv6Addr::from(0x2001_0db8_00b0 << 80 | u128::from(n));
        (a, world.mapper.table().region(a))
    };
    let meeting: Vec<_> = (1..)
        .map(|n| region(&world, n))
        .filter(|(_, r)| *r == 3)
        .map(|(a, _)| a)
        .take(3000)
        .collect();
    let (honest, hostile) = meeting.split_at(6);
    for a in &meeting {
        world.answers.insert(*a, (u(0), ms(1)));
    }
    // Two of each: root's, one user's, and another's.
    for (n, a) in honest.iter().enumerate() {
        let user = [User::Own, User::Other(1), User::Other(2)][n / 2];
        world.ask(n as u64, user, *a);
    }
    world.run(ms(100));
    let all_there = |world: &World| honest.iter().all(|a| world.found(*a).is_some());
    assert!(all_there(&world));
    for (n, a) in hostile.iter().enumerate() {
        let user = User::Other(1000 + n as u32 % 500);
        world.ask(1000 + n as u64, user, *a);
        world.run(ms(10));
        world.mapper.used(user, *a, world.now);
        assert!(
            matches!(world.replies(1000 + n as u64)[..], [Reply::Mapping(..)]),
            "its answer it has"
        );
        assert!(all_there(&world), "{n}");
    }
    let kept = hostile
        .iter()
        .filter(|a| world.known(**a).is_some())
        .count();
    assert!(kept <= 10, "{kept}");
    assert!(world.mapper.counters().unkept > 2900);
}
