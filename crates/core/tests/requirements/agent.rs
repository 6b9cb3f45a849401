//! The home agent (RFC 6275 §9.5 and §10).

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::binding::cache::{Cache, Change, Discard, Sender, Settings, Verdict};
use aarp_core::binding::lifetime::Lifetime;
use aarp_core::binding::message::{Acknowledgement, Update};
use aarp_core::binding::sequence::Sequence;
use aarp_core::binding::timestamp::Timestamp;
use aarp_wire::mobility::UpdateFlags;
use proptest::prelude::*;

use super::{any_address, is_unicast_routable};

const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 1, 0, 0, 0, 0x53);
const AGENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 1);
/// The longest lifetime that is granted, in units.
const LONGEST: u16 = 150;

/// Whether the home agent serves an address: 2001:db8:a:1::/64.
fn is_on_home_link(address: Ipv6Addr) -> bool {
    address.segments()[..4] == A.segments()[..4]
}

fn cache(refresh_advice: Option<Lifetime>) -> Cache {
    Cache::new(Settings {
        home: vec!["2001:db8:a:1::/64".parse().expect("a prefix")],
        own: vec![AGENT],
        max_lifetime: Lifetime(LONGEST),
        refresh_advice,
        capacity: 100,
    })
}

fn update(care_of: Ipv6Addr, sequence: u16, lifetime: u16) -> Update {
    Update {
        anycast: A,
        care_of,
        sequence: Sequence(sequence),
        lifetime: Lifetime(lifetime),
        flags: UpdateFlags(0xc000),
        timestamp: None,
    }
}

fn care_of(number: u16) -> Ipv6Addr {
    Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, number)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn answer(verdict: Verdict) -> (Acknowledgement, Change) {
    match verdict {
        Verdict::Acknowledge {
            acknowledgement,
            change,
        } => (acknowledgement, change),
        Verdict::Discard(reason) => panic!("discarded: {reason:?}"),
    }
}

/// Home addresses: of our link, or any.
fn any_home() -> impl Strategy<Value = Ipv6Addr> {
    let ours = (0..3u16).prop_map(|n| Ipv6Addr::new(0x2001, 0xdb8, 0xa, 1, 0, 0, 0, n + 1));
    prop_oneof![ours, any_address()]
}

fn any_care_of() -> impl Strategy<Value = Ipv6Addr> {
    prop_oneof![any_home(), Just(AGENT), (0..3u16).prop_map(care_of)]
}

proptest! {
    /// RFC 6275 §6.1.7: a Binding Update whose care-of address is not a unicast
    /// routable address, or is the home address, MUST be silently discarded; §9.5.1:
    /// it MUST contain a unicast routable home address; §10.3.1: a home address that is
    /// not ours MUST be refused (132), §10.3.2: as MUST be the deletion of what is not
    /// there (133). Nothing of it leaves a binding.
    #[test]
    fn no_binding_leads_to_or_from_what_must_not_have_one(
        home in any_home(),
        address in any_care_of(),
        circular: bool,
        lifetime in prop_oneof![Just(0u16), any::<u16>()],
        is_home_registration: bool,
    ) {
        let address = if circular { home } else { address };
        let mut cache = cache(None);
        let asked = Update {
            anycast: home,
            flags: UpdateFlags(if is_home_registration { 0xc000 } else { 0x8000 }),
            ..update(address, 7, lifetime)
        };
        let verdict = cache.receive(secs(1), &asked, Sender::Unidentified);
        let found = match verdict {
            Verdict::Acknowledge { acknowledgement, .. } => Ok(acknowledgement.status.0),
            Verdict::Discard(reason) => Err(reason),
        };
        let expected = if !is_unicast_routable(home) {
            Err(Discard::HomeAddress)
        } else if lifetime > 0 && !is_unicast_routable(address) {
            Err(Discard::CareOfAddress)
        } else if lifetime > 0 && address == home {
            Err(Discard::Circular)
        } else if !is_on_home_link(home) {
            Ok(if lifetime > 0 { 132 } else { 133 })
        } else if !is_home_registration {
            Err(Discard::NotHomeRegistration)
        } else if lifetime == 0 {
            Ok(133)
        } else if is_on_home_link(address) || address == AGENT {
            Ok(174)
        } else {
            Ok(0)
        };
        prop_assert_eq!(found, expected);
        prop_assert_eq!(cache.len(), usize::from(expected == Ok(0)));
    }

    /// RFC 6275 §9.5.1 and §10.3.1: the acknowledgement's number MUST be that of the
    /// update, with 135 the last accepted one; the lifetime MUST NOT be greater than
    /// what was asked for; a refresh interval MUST be less than the lifetime, and
    /// (§10.3.2) MUST be left out of the answer to a deletion. RFC 4285 §6: the
    /// timestamp is that of the update.
    #[test]
    fn an_answer_is_about_the_update(
        updates in prop::collection::vec((0..3u16, 0..6u16, prop_oneof![Just(0u16), 1..8u16, 140..160u16], any::<u64>()), 1..30),
        advice in prop::option::of(prop_oneof![1..8u16, 140..160u16]),
        first: u16,
    ) {
        let mut cache = cache(advice.map(Lifetime));
        let mut last = None;
        for (host, ahead, lifetime, stamp) in updates {
            let timestamp = Some(Timestamp(stamp));
            let number = first.wrapping_add(ahead);
            let asked = Update { timestamp, ..update(care_of(host), number, lifetime) };
            let (ack, change) = answer(cache.receive(secs(1), &asked, Sender::Unidentified));
            prop_assert_eq!(ack.timestamp, timestamp);
            if ack.status.0 == 135 {
                prop_assert_eq!(Some(ack.sequence.0), last);
                prop_assert_eq!(change, Change::None);
                continue;
            }
            prop_assert_eq!(ack.sequence.0, number);
            prop_assert!(ack.lifetime.0 <= lifetime);
            match change {
                Change::Deleted => last = None,
                Change::None => prop_assert!(!ack.status.is_accepted()),
                _ => last = Some(number),
            }
            let is_advised = ack.status.is_accepted() && advice.is_some_and(|advice| advice < ack.lifetime.0);
            prop_assert_eq!(ack.refresh_advice.is_some(), is_advised);
            prop_assert!(ack.refresh_advice.is_none_or(|interval| interval < ack.lifetime));
        }
    }

    /// RFC 6275 §10.3.1: a binding MUST be deleted when its lifetime is over, and is
    /// kept until then; §10.4.5: a tunnel packet's source MUST be the registered
    /// care-of address.
    #[test]
    fn a_binding_is_used_until_it_ends_and_by_its_owner(
        lifetime in 1..400u16,
        begin in 0..1_000_000u64,
        from_end in prop_oneof![-2..=2i64, -2_000_000..2_000_000i64],
        outer in prop_oneof![Just(care_of(1)), any_address()],
        inner in prop_oneof![Just(A), any_home()],
    ) {
        let mut cache = cache(None);
        let asked = update(care_of(1), 7, lifetime);
        cache.receive(Duration::from_millis(begin), &asked, Sender::Unidentified);
        let granted = 4000 * u64::from(lifetime.min(LONGEST));
        let passed = granted.saturating_add_signed(from_end);
        let now = Duration::from_millis(begin + passed);
        let lives = passed < granted;
        prop_assert_eq!(cache.lookup(now, A).is_some(), lives);
        prop_assert_eq!(cache.forward(now, A, 100), lives.then_some(care_of(1)));
        let may = lives && outer == care_of(1) && inner == A;
        prop_assert_eq!(cache.reverse(now, outer, inner, 100), may);
        prop_assert_eq!(cache.expire(now).is_some(), !lives);
        prop_assert_eq!(cache.is_empty(), !lives);
    }

    /// RFC 6275 §9.5.1: the Home Registration flag of an entry MUST NOT be changed, and
    /// an update that would is refused (139), whatever else it says in order.
    #[test]
    fn the_kind_of_a_registration_never_changes(ahead in 1..=32767u16, host in 0..3u16, lifetime: u16, flags: u16) {
        let mut cache = cache(None);
        cache.receive(secs(1), &update(care_of(1), 7, 15), Sender::Unidentified);
        let before = *cache.lookup(secs(1), A).expect("registered");
        let asked = Update {
            flags: UpdateFlags(flags & !0x4000),
            ..update(care_of(host), 7u16.wrapping_add(ahead), lifetime)
        };
        let (ack, change) = answer(cache.receive(secs(2), &asked, Sender::Unidentified));
        prop_assert_eq!((ack.status.0, change), (139, Change::None));
        prop_assert_eq!(cache.lookup(secs(2), A), Some(&before));
    }
}
