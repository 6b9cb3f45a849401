//! Each rule of the cache.

mod model;

use aarp_wire::mobility::{Status, UpdateFlags};

use super::*;
use crate::binding::message::Update;
use crate::binding::sequence::Sequence;

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn a() -> Ipv6Addr {
    ip("2001:db8:a::53")
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn cache(capacity: usize) -> Cache {
    Cache::new(Settings {
        home: vec![
            "2001:db8:a::53".parse().unwrap(),
            "2001:db8:a:1::/64".parse().unwrap(),
        ],
        own: vec![ip("2001:db8:f::1")],
        max_lifetime: Lifetime(150),
        refresh_advice: None,
        capacity,
    })
}

fn home_registration() -> UpdateFlags {
    UpdateFlags::ACKNOWLEDGE.union(UpdateFlags::HOME_REGISTRATION)
}

/// 60 s for the A of these tests.
fn update(care_of: &str, sequence: u16) -> Update {
    Update {
        anycast: a(),
        care_of: ip(care_of),
        sequence: Sequence(sequence),
        lifetime: Lifetime(15),
        flags: home_registration(),
        timestamp: None,
    }
}

fn deletion(care_of: &str, sequence: u16) -> Update {
    Update {
        lifetime: Lifetime::ZERO,
        ..update(care_of, sequence)
    }
}

const U1: &str = "2001:db8:1::1";
const U2: &str = "2001:db8:2::2";
const ANY: Sender = Sender::Unidentified;

fn node(id: u32) -> Sender {
    Sender::Node {
        id: NodeId(id),
        may_register: true,
    }
}

/// Status, number and lifetime in units of the answer, and what changed.
fn answer(verdict: Verdict) -> (u8, u16, u16, Change) {
    match verdict {
        Verdict::Acknowledge {
            acknowledgement: ack,
            change,
        } => (ack.status.0, ack.sequence.0, ack.lifetime.0, change),
        Verdict::Discard(reason) => panic!("discarded: {reason:?}"),
    }
}

fn status(verdict: Verdict) -> u8 {
    answer(verdict).0
}

/// The thesis's figure 12: 200 is accepted, 100 refused naming 200, 202 accepted.
#[test]
fn two_responders_of_the_thesis() {
    let mut cache = cache(10);
    let mut ask = |now, update: &Update| answer(cache.receive(secs(now), update, ANY));
    assert_eq!(ask(0, &update(U1, 200)), (0, 200, 15, Change::Created));
    assert_eq!(ask(1, &update(U2, 100)), (135, 200, 15, Change::None));
    let from = ip(U1);
    assert_eq!(
        ask(2, &update(U2, 202)),
        (0, 202, 15, Change::Moved { from })
    );
    assert_eq!(ask(3, &update(U1, 201)), (135, 202, 15, Change::None));
    let from = ip(U2);
    assert_eq!(
        ask(4, &update(U1, 204)),
        (0, 204, 15, Change::Moved { from })
    );
    assert_eq!(cache.lookup(secs(5), a()).unwrap().care_of(), ip(U1));
}

/// RFC 6275 §9.5.1: with no entry any number MUST be accepted; a number that is not
/// greater MUST be answered with 135 and the last accepted one, and changes nothing.
#[test]
fn sequence_numbers() {
    for first in [0, 1, 32767, 32768, 65535] {
        let mut cache = cache(10);
        assert_eq!(status(cache.receive(secs(0), &update(U1, first), ANY)), 0);
        let before = *cache.lookup(secs(1), a()).unwrap();
        for back in [0, 1, 100, 32768] {
            let old = update(U2, first.wrapping_sub(back));
            let verdict = cache.receive(secs(1), &old, ANY);
            assert_eq!(answer(verdict), (135, first, 15, Change::None), "{back}");
            assert_eq!(*cache.lookup(secs(1), a()).unwrap(), before);
        }
        let ahead = update(U2, first.wrapping_add(32767));
        assert_eq!(status(cache.receive(secs(1), &ahead, ANY)), 0);
    }
}

/// A refusal with 135 tells what is left of the binding, rounded up.
#[test]
fn what_is_left_is_told() {
    let mut cache = cache(10);
    cache.receive(secs(0), &update(U1, 7), ANY);
    for (ms, left) in [(0, 15), (4000, 14), (4001, 14), (59_999, 1)] {
        let now = Duration::from_millis(ms);
        let verdict = cache.receive(now, &update(U2, 7), ANY);
        assert_eq!(answer(verdict), (135, 7, left, Change::None), "{ms}");
    }
}

/// RFC 6275 §10.3.1: MUST NOT be greater than what was asked for, MAY be less; the
/// number MUST be that of the update.
#[test]
fn lifetimes() {
    let mut cache = cache(10);
    for (number, asked, granted) in [(1, 1, 1), (2, 149, 149), (3, 151, 150), (4, 65535, 150)] {
        let asked = Update {
            lifetime: Lifetime(asked),
            ..update(U1, number)
        };
        let (status, sequence, lifetime, _) = answer(cache.receive(secs(0), &asked, ANY));
        assert_eq!((status, sequence, lifetime), (0, number, granted));
        let binding = cache.lookup(secs(0), a()).unwrap();
        assert_eq!(binding.expiry(), Lifetime(granted).duration());
    }
}

/// RFC 6275 §10.3.1: the binding MUST be deleted after its lifetime; §9.5.1: any
/// number is accepted then.
#[test]
fn a_binding_ends() {
    let mut cache = cache(10);
    cache.receive(secs(0), &update(U1, 500), ANY);
    assert_eq!(cache.next_expiry(), Some(secs(60)));
    let just_before = secs(60) - Duration::from_nanos(1);
    assert!(cache.lookup(just_before, a()).is_some());
    assert_eq!(cache.expire(just_before), None);
    assert!(cache.lookup(secs(60), a()).is_none());
    assert_eq!(cache.forward(secs(60), a(), 100), None);
    assert!(!cache.reverse(secs(60), ip(U1), a(), 100));
    let verdict = cache.receive(secs(60), &update(U2, 3), ANY);
    assert_eq!(answer(verdict), (0, 3, 15, Change::Created));
    // It is told once, though its place was taken.
    assert_eq!(cache.expire(secs(60)).unwrap().care_of(), ip(U1));
    assert_eq!(cache.expire(secs(60)), None);
    assert_eq!(cache.expire(secs(120)).unwrap().care_of(), ip(U2));
    assert!(cache.is_empty() && cache.next_expiry().is_none());
    assert_eq!((cache.counters().created, cache.counters().expired), (2, 2));
}

/// RFC 6275 §10.3.1: MUST be less than the lifetime, else it is left out; §10.3.2:
/// MUST be left out of the answer to a deregistration.
#[test]
fn refresh_advice() {
    let mut cache = cache(10);
    cache.settings.refresh_advice = Some(Lifetime(10));
    let mut advice = |number, lifetime| {
        let update = Update {
            lifetime: Lifetime(lifetime),
            ..update(U1, number)
        };
        match cache.receive(secs(0), &update, ANY) {
            Verdict::Acknowledge {
                acknowledgement, ..
            } => acknowledgement.refresh_advice,
            Verdict::Discard(reason) => panic!("{reason:?}"),
        }
    };
    assert_eq!(advice(1, 11), Some(Lifetime(10)));
    assert_eq!(advice(2, 10), None);
    assert_eq!(advice(2, 11), None, "refused");
    assert_eq!(advice(3, 0), None);
}

/// RFC 6275 §10.3.2: 0 with the number of the update and a lifetime of zero, the
/// entry MUST be deleted; without an entry MUST be rejected, 133.
#[test]
fn deregistration() {
    let mut cache = cache(10);
    let verdict = cache.receive(secs(0), &deletion(U1, 1), ANY);
    assert_eq!(answer(verdict), (133, 1, 0, Change::None));
    cache.receive(secs(0), &update(U1, 1), ANY);
    let verdict = cache.receive(secs(1), &deletion(U1, 1), ANY);
    assert_eq!(answer(verdict), (135, 1, 15, Change::None));
    let verdict = cache.receive(secs(1), &deletion(U1, 2), ANY);
    assert_eq!(answer(verdict), (0, 2, 0, Change::Deleted));
    assert!(cache.is_empty() && cache.lookup(secs(1), a()).is_none());
    // RFC 6275 §9.5.1: the number is forgotten with the entry.
    assert_eq!(status(cache.receive(secs(1), &update(U2, 1), ANY)), 0);
}

/// A deregistration counts only from the owner, and changes nothing otherwise.
#[test]
fn only_the_owner_deregisters() {
    let mut cache = cache(10);
    cache.receive(secs(0), &update(U1, 1), ANY);
    let before = *cache.lookup(secs(1), a()).unwrap();
    let verdict = cache.receive(secs(1), &deletion(U2, 9), ANY);
    assert_eq!(answer(verdict), (133, 9, 0, Change::None));
    assert_eq!(*cache.lookup(secs(1), a()).unwrap(), before);

    cache.receive(secs(2), &update(U1, 2), node(1));
    let before = *cache.lookup(secs(1), a()).unwrap();
    // Another node that names the owner's care-of address.
    assert_eq!(
        status(cache.receive(secs(2), &deletion(U1, 9), node(2))),
        133
    );
    assert_eq!(*cache.lookup(secs(2), a()).unwrap(), before);
    // The owner itself, from another address, or at home.
    let at_home = deletion("2001:db8:a::53", 9);
    let verdict = cache.receive(secs(2), &at_home, node(1));
    assert_eq!(answer(verdict), (0, 9, 0, Change::Deleted));
}

/// RFC 6275 §6.1.7: a care-of address that is not unicast and routable, or that
/// refers back to the home address, MUST be discarded in silence. One that is the
/// agent's, or another anycast address, is answered with 174 (§6.1.8).
#[test]
fn care_of_addresses() {
    let mut cache = cache(10);
    let bad = [
        "::",
        "::1",
        "ff02::1",
        "ff0e::1",
        "fe80::1",
        "fec0::1",
        "::ffff:192.0.2.1",
        "::192.0.2.1",
    ];
    for care_of in bad {
        assert_eq!(
            cache.receive(secs(0), &update(care_of, 1), ANY),
            Verdict::Discard(Discard::CareOfAddress),
            "{care_of}"
        );
    }
    assert_eq!(
        cache.receive(secs(0), &update("2001:db8:a::53", 1), ANY),
        Verdict::Discard(Discard::Circular)
    );
    for care_of in ["2001:db8:f::1", "2001:db8:a:1::99"] {
        assert_eq!(
            status(cache.receive(secs(0), &update(care_of, 1), ANY)),
            174
        );
    }
    assert!(cache.is_empty());
    for care_of in ["2001:db8:1::1", "fd00::1"] {
        let sequence = if care_of == "fd00::1" { 2 } else { 1 };
        assert_eq!(
            status(cache.receive(secs(0), &update(care_of, sequence), ANY)),
            0
        );
    }
    let counters = cache.counters();
    assert_eq!(
        counters.discarded[&Discard::CareOfAddress],
        bad.len() as u64
    );
    assert_eq!(counters.refused[&Status::INVALID_CARE_OF], 2);
}

/// RFC 6275 §9.5.1: the home address MUST be unicast and routable, else silence;
/// §10.3.1: not on our home link, 132; §10.3.2: 133 for a deregistration.
#[test]
fn home_addresses() {
    let mut cache = cache(10);
    for home in ["ff02::1", "fe80::1", "::", "::1"] {
        let update = Update {
            anycast: ip(home),
            ..update(U1, 1)
        };
        assert_eq!(
            cache.receive(secs(0), &update, ANY),
            Verdict::Discard(Discard::HomeAddress)
        );
    }
    let elsewhere = Update {
        anycast: ip("2001:db8:b::53"),
        ..update(U1, 1)
    };
    assert_eq!(status(cache.receive(secs(0), &elsewhere, ANY)), 132);
    let gone = Update {
        lifetime: Lifetime::ZERO,
        ..elsewhere
    };
    assert_eq!(status(cache.receive(secs(0), &gone, ANY)), 133);
    let in_prefix = Update {
        anycast: ip("2001:db8:a:1::7"),
        ..update(U1, 1)
    };
    assert_eq!(status(cache.receive(secs(0), &in_prefix, ANY)), 0);
}

/// RFC 6275 §9.5.1: another registration type MUST be answered with 139 where there
/// is a binding; without one, no test for it is passed, and silence. §10.3.1: the
/// answer does not depend on the A flag.
#[test]
fn flags() {
    let mut cache = cache(10);
    let correspondent = |number| Update {
        flags: UpdateFlags::ACKNOWLEDGE,
        ..update(U1, number)
    };
    assert_eq!(
        cache.receive(secs(0), &correspondent(1), ANY),
        Verdict::Discard(Discard::NotHomeRegistration)
    );
    let quiet = Update {
        flags: UpdateFlags::HOME_REGISTRATION,
        ..update(U1, 1)
    };
    assert_eq!(status(cache.receive(secs(0), &quiet, ANY)), 0);
    assert_eq!(status(cache.receive(secs(0), &correspondent(2), ANY)), 139);
    assert_eq!(cache.lookup(secs(0), a()).unwrap().sequence(), Sequence(1));
}

/// A node that may not have A is told so (129), and no sequence number.
#[test]
fn only_who_may_registers() {
    let mut cache = cache(10);
    cache.receive(secs(0), &update(U1, 500), node(1));
    let before = *cache.lookup(secs(0), a()).unwrap();
    let stranger = Sender::Node {
        id: NodeId(2),
        may_register: false,
    };
    for update in [update(U2, 1), update(U2, 501), deletion(U1, 501)] {
        let verdict = cache.receive(secs(0), &update, stranger);
        assert_eq!(answer(verdict), (129, update.sequence.0, 0, Change::None));
    }
    assert_eq!(*cache.lookup(secs(0), a()).unwrap(), before);
}

/// RFC 6275 §10.3.1: insufficient resources; a home registration MUST NOT be removed
/// for another before its lifetime is over.
#[test]
fn a_full_cache() {
    let mut cache = cache(3);
    let host = |n: u16| Update {
        anycast: Ipv6Addr::new(0x2001, 0xdb8, 0xa, 1, 0, 0, 0, n),
        lifetime: Lifetime(n),
        ..update(U1, 1)
    };
    for n in 1..=3 {
        assert_eq!(status(cache.receive(secs(0), &host(n), ANY)), 0);
    }
    for n in 4..1000 {
        assert_eq!(status(cache.receive(secs(3), &host(n), ANY)), 130);
    }
    assert_eq!((cache.len(), cache.iter().count()), (3, 3));
    let again = Update {
        sequence: Sequence(2),
        ..host(2)
    };
    assert_eq!(status(cache.receive(secs(3), &again, ANY)), 0, "a refresh");
    // The first is over at 4 s.
    assert_eq!(status(cache.receive(secs(4), &host(5), ANY)), 0);
    assert_eq!(cache.expire(secs(4)).unwrap().anycast(), host(1).anycast);
    assert_eq!(cache.len(), 3);
}

/// What is counted for a binding lasts as long as its owner.
#[test]
fn traffic() {
    let mut cache = cache(10);
    cache.receive(secs(1), &update(U1, 1), ANY);
    assert_eq!(cache.forward(secs(2), a(), 100), Some(ip(U1)));
    // RFC 6275 §10.4.5: the outer source MUST be the registered care-of address.
    assert!(cache.reverse(secs(2), ip(U1), a(), 1000));
    assert!(!cache.reverse(secs(2), ip(U2), a(), 1000));
    assert!(!cache.reverse(secs(2), ip(U1), ip("2001:db8:a:1::1"), 1000));
    cache.receive(secs(3), &update(U1, 2), ANY);
    let binding = *cache.lookup(secs(3), a()).unwrap();
    let one = |octets| Traffic { packets: 1, octets };
    assert_eq!(
        (binding.to_responder(), binding.from_responder()),
        (one(100), one(1000))
    );
    assert_eq!((binding.since(), binding.updates()), (secs(1), 2));
    cache.receive(secs(4), &update(U2, 3), ANY);
    let binding = *cache.lookup(secs(4), a()).unwrap();
    assert_eq!(binding.to_responder(), Traffic::default());
    assert_eq!((binding.since(), binding.updates()), (secs(4), 1));
}

/// RFC 4285 §6: the timestamp of the update is copied to the acknowledgement.
#[test]
fn the_timestamp_is_returned() {
    use crate::binding::timestamp::Timestamp;
    let mut cache = cache(10);
    for (number, expected) in [(1, 0), (1, 135)] {
        let timestamp = Some(Timestamp(0x1234_5678_9abc_def0));
        let update = Update {
            timestamp,
            ..update(U1, number)
        };
        let Verdict::Acknowledge {
            acknowledgement, ..
        } = cache.receive(secs(0), &update, ANY)
        else {
            panic!("discarded");
        };
        assert_eq!(acknowledgement.status.0, expected);
        assert_eq!(acknowledgement.timestamp, timestamp);
    }
}

/// RFC 6275 §10.3.1: status 134 where duplicate address detection has failed; who is
/// registered already can leave, and is told at its next refresh.
#[test]
fn an_address_that_another_node_has() {
    let mut cache = cache(4);
    assert_eq!(
        answer(cache.receive(secs(0), &update(U1, 10), ANY)),
        (0, 10, 15, Change::Created)
    );
    cache.contest(a(), true);
    assert_eq!(
        answer(cache.receive(secs(1), &update(U1, 11), ANY)),
        (134, 11, 0, Change::None)
    );
    assert!(cache.lookup(secs(1), a()).is_some());
    let mut other = update(U2, 1);
    other.anycast = ip("2001:db8:a:1::7");
    assert_eq!(
        answer(cache.receive(secs(1), &other, ANY)),
        (0, 1, 15, Change::Created)
    );
    assert_eq!(
        answer(cache.receive(secs(2), &deletion(U1, 12), ANY)),
        (0, 12, 0, Change::Deleted)
    );
    assert_eq!(
        answer(cache.receive(secs(3), &update(U1, 13), ANY)),
        (134, 13, 0, Change::None)
    );
    cache.contest(a(), false);
    assert_eq!(
        answer(cache.receive(secs(4), &update(U1, 14), ANY)),
        (0, 14, 15, Change::Created)
    );
}

/// An agent that is started anew goes on where it was, for what it would grant today.
#[test]
fn a_binding_outlives_the_agent() {
    let (now, node) = (secs(1000), NodeId(3));
    let known = Restored {
        anycast: a(),
        care_of: ip(U1),
        sequence: Sequence(7),
        lifetime: Lifetime(15),
        expiry: secs(1020),
        since: secs(500),
    };
    let of = |may_register| Sender::Node {
        id: node,
        may_register,
    };
    let mut fresh = cache(10);
    assert!(fresh.restore(now, &known, of(true)));
    let binding = *fresh.lookup(now, a()).unwrap();
    assert_eq!((binding.care_of(), binding.node()), (ip(U1), Some(node)));
    assert_eq!((binding.expiry(), binding.since()), (secs(1020), secs(500)));
    assert_eq!(*fresh.counters(), Counters::default());
    // Its number counts, as before: who stands by does not come in.
    let verdict = fresh.receive(now, &update(U2, 5), Sender::Unidentified);
    let Verdict::Acknowledge {
        acknowledgement, ..
    } = verdict
    else {
        panic!("{verdict:?}")
    };
    assert_eq!(acknowledgement.status, Status::SEQUENCE_OUT_OF_WINDOW);
    assert_eq!(acknowledgement.sequence, Sequence(7));
    assert!(fresh.expire(secs(1019)).is_none());
    assert!(fresh.expire(secs(1020)).is_some());
    for (what, known, sender) in [
        (
            "ended",
            Restored {
                expiry: now,
                ..known
            },
            of(true),
        ),
        (
            "longer than granted",
            Restored {
                expiry: secs(1061),
                ..known
            },
            of(true),
        ),
        ("not to be registered", known, of(false)),
        (
            "not served",
            Restored {
                anycast: ip("2001:db8:b::1"),
                ..known
            },
            of(true),
        ),
        (
            "the agent's own",
            Restored {
                care_of: ip("2001:db8:f::1"),
                ..known
            },
            of(true),
        ),
        (
            "no lifetime",
            Restored {
                lifetime: Lifetime::ZERO,
                ..known
            },
            of(true),
        ),
    ] {
        let mut fresh = cache(10);
        assert!(!fresh.restore(now, &known, sender), "{what}");
        assert_eq!(fresh.lookup(now, a()), None, "{what}");
    }
}
