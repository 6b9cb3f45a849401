//! The mobile node's registration (RFC 6275 §11.7 and §11.8).

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::binding::lifetime::Lifetime;
use aarp_core::binding::message::{Acknowledgement, Update};
use aarp_core::binding::sequence::Sequence;
use aarp_core::binding::timestamp::{Stamps, Timestamp};
use aarp_core::binding::update_list::{
    Action, Moment, Ownership, Peer, Registration, Settings, State,
};
use aarp_wire::mobility::{Status, UpdateFlags};
use proptest::prelude::*;

const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
const U: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const BEGIN: Duration = Duration::from_secs(1000);

fn moment(now: Duration, random: u64) -> Moment {
    Moment {
        now,
        wall: Timestamp::from_unix(Duration::from_secs(1_700_000_000) + now),
        random,
    }
}

fn peer(is_authenticated: bool) -> Peer {
    match is_authenticated {
        true => Peer::authenticated(Stamps::default(), Duration::from_secs(7)),
        false => Peer::new(),
    }
}

fn registration(lifetime: u16, upcoming: u16, is_last: bool) -> Registration {
    let settings = Settings {
        lifetime: Lifetime(lifetime),
        ownership: match is_last {
            true => Ownership::Last,
            false => Ownership::Standby,
        },
        ..Settings::DEFAULT
    };
    Registration::new(A, settings, Sequence(upcoming))
}

fn updates(actions: &[Action]) -> Vec<Update> {
    let update = |action: &Action| match action {
        Action::Send(update) => Some(*update),
        _ => None,
    };
    actions.iter().filter_map(update).collect()
}

/// The answer to an update.
fn answer(update: &Update, status: u8, lifetime: u16) -> Acknowledgement {
    Acknowledgement {
        status: Status(status),
        sequence: update.sequence,
        lifetime: Lifetime(lifetime),
        refresh_advice: None,
        timestamp: update.timestamp,
    }
}

/// What a registration is, as far as an ignored answer could have changed it.
fn seen(registration: &Registration) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        registration.state(),
        registration.deadline(),
        registration.expiry(),
        registration.upcoming(),
        registration.care_of(),
    )
}

proptest! {
    /// RFC 6275 §11.7.3: the number MUST be that of an outstanding update, RFC 4285 §6:
    /// the timestamp that of the update, else the acknowledgement MUST be ignored.
    #[test]
    fn what_answers_nothing_is_ignored(
        first: u16,
        tries in 0..6usize,
        status in (any::<u8>()).prop_filter("it has no number of ours", |status| *status != 135),
        apart in prop_oneof![Just(0u16), any::<u16>(), (1..8u16).prop_map(u16::wrapping_neg)],
        other_stamp in prop::option::of(any::<u64>()),
        lifetime: u16,
        advice in prop::option::of(any::<u16>()),
        is_authenticated: bool,
    ) {
        let mut peer = peer(is_authenticated);
        let mut registration = registration(15, first, false);
        let mut sent = updates(&registration.register(moment(BEGIN, 0), U, &mut peer));
        for _ in 0..tries {
            let now = registration.deadline().expect("it is tried again");
            // What was sent a minute ago is not waited for any more.
            if now > BEGIN + Duration::from_secs(40) { break }
            sent.extend(updates(&registration.wake(moment(now, 0), &mut peer)));
        }
        let newest = *sent.last().expect("an update");
        let sequence = Sequence(newest.sequence.0.wrapping_add(apart));
        let same = sent.iter().find(|update| update.sequence == sequence);
        let timestamp = match other_stamp {
            Some(stamp) => Some(Timestamp(stamp)),
            None => same.unwrap_or(&newest).timestamp,
        };
        let is_answer = same.is_some_and(|update| update.timestamp == timestamp)
            && (status != 144 || timestamp.is_some());
        // A clock that is taken over has the timestamps differ, in their seconds alone.
        prop_assume!(status != 144 || same.is_none() || is_answer);
        let ack = Acknowledgement {
            sequence,
            timestamp,
            refresh_advice: advice.map(Lifetime),
            ..answer(&newest, status, lifetime)
        };
        let before = seen(&registration);
        let now = registration.deadline().expect("it is tried again") - Duration::from_millis(1);
        let heard = registration.acknowledge(moment(now, 0), &ack, &mut peer);
        prop_assert_eq!(heard.is_some(), is_answer);
        if !is_answer {
            prop_assert_eq!(seen(&registration), before);
        }
    }

    /// RFC 6275 §11.7.3: a status below 128 is an acceptance and the others none; a
    /// lifetime shorter than asked for shortens ours, counted from when the update was
    /// sent; a longer one is not what was asked for.
    #[test]
    fn a_binding_is_believed_for_no_longer_than_granted(
        asked in 1..=u16::MAX, granted: u16, status: u8, after in 0..1400u64,
    ) {
        prop_assume!(![135, 144].contains(&status));
        let mut peer = peer(false);
        let mut registration = registration(asked, 7, false);
        let actions = registration.register(moment(BEGIN, 0), U, &mut peer);
        let update = updates(&actions)[0];
        prop_assert_eq!(update.lifetime, Lifetime(asked));
        let now = BEGIN + Duration::from_millis(after);
        let ack = answer(&update, status, granted);
        prop_assert!(registration.acknowledge(moment(now, 0), &ack, &mut peer).is_some());
        let is_accepted = status < 128 && granted > 0;
        let end = BEGIN + Duration::from_secs(4 * u64::from(granted.min(asked)));
        prop_assert_eq!(registration.expiry(), is_accepted.then_some(end));
        let state = if is_accepted { State::Registered } else { State::Refused };
        prop_assert_eq!(registration.state(), state);
    }

    /// RFC 6275 §11.7.1: a binding SHOULD be refreshed before it ends; §6.2.4: as
    /// advised, where that is less than the lifetime. §11.8: the first one has a number
    /// greater than the last, and no two within the rate.
    #[test]
    fn a_refresh_comes_before_the_end(
        granted in prop_oneof![1..8u16, 1..=u16::MAX], advice in prop::option::of(prop_oneof![0..8u16, any::<u16>()]),
        random: u64, first: u16, after in 0..1400u64,
    ) {
        let mut peer = peer(false);
        let mut registration = registration(u16::MAX, first, false);
        let update = updates(&registration.register(moment(BEGIN, random), U, &mut peer))[0];
        let now = BEGIN + Duration::from_millis(after);
        let ack = Acknowledgement {
            refresh_advice: advice.map(Lifetime),
            ..answer(&update, 0, granted)
        };
        prop_assert!(registration.acknowledge(moment(now, random), &ack, &mut peer).is_some());
        let due = registration.deadline().expect("a refresh") - BEGIN;
        let whole = Duration::from_secs(4 * u64::from(granted));
        let longest = match advice {
            Some(advice) if advice > 0 && advice < granted => Duration::from_secs(4 * u64::from(advice)),
            _ => whole * 3 / 4,
        };
        prop_assert!(due <= longest && due < whole, "{:?} of {:?}", due, longest);
        prop_assert!(due >= longest * 7 / 8 - Duration::from_micros(1), "{:?} of {:?}", due, longest);
        let refresh = updates(&registration.wake(moment(BEGIN + due, random), &mut peer));
        prop_assert_eq!(refresh.len(), 1);
        prop_assert!(refresh[0].sequence.is_after(update.sequence));
        prop_assert_eq!(refresh[0].flags, UpdateFlags(0xc000));
    }

    /// RFC 6275 §11.8: 1 s, for a first registration 1.5 s (§13), doubled with each
    /// retransmission up to 32 s (§12); each retransmission MUST have a number greater
    /// than the last.
    #[test]
    fn retransmissions_back_off(first: u16, tries in 1..30usize, is_registered: bool, is_last: bool, is_authenticated: bool, random: u64) {
        let mut peer = peer(is_authenticated);
        let mut registration = registration(1000, first, is_last);
        let mut last = updates(&registration.register(moment(BEGIN, random), U, &mut peer))[0];
        let mut now = BEGIN;
        if is_registered {
            let ack = answer(&last, 0, 1000);
            registration.acknowledge(moment(now, random), &ack, &mut peer);
            now = registration.deadline().expect("a refresh");
            last = updates(&registration.wake(moment(now, random), &mut peer))[0];
        }
        let mut pause = Duration::from_millis(if is_registered { 1000 } else { 1500 });
        for _ in 0..tries {
            let end = registration.expiry().unwrap_or(Duration::MAX);
            if now + pause >= end { break }
            prop_assert_eq!(registration.deadline(), Some(now + pause));
            now += pause;
            let again = updates(&registration.wake(moment(now, random), &mut peer));
            prop_assert_eq!(again.len(), 1);
            prop_assert!(again[0].sequence.is_after(last.sequence));
            let stamps = again[0].timestamp.zip(last.timestamp);
            prop_assert!(stamps.is_none_or(|(later, earlier)| later.is_after(earlier)));
            prop_assert_eq!((again[0].lifetime, again[0].care_of, again[0].anycast), (last.lifetime, U, A));
            last = again[0];
            pause = (pause * 2).min(Duration::from_secs(32));
        }
    }
}
