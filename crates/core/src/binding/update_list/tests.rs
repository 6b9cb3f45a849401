//! Each rule of a registration; the agent is played by hand.

mod contest;
mod deletion;
mod invariants;
mod refusal;
mod simulation;

use aarp_wire::mobility::Status;

use super::*;
use crate::binding::message::Acknowledgement;
use crate::binding::timestamp::{Stamps, Timestamp};

const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
const U: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
const U2: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 1);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn moment(now: Duration, random: u64) -> Moment {
    Moment {
        now,
        wall: Timestamp::from_unix(secs(1_700_000_000) + now),
        random,
    }
}

/// A registration, its peer and a clock.
struct Bench {
    registration: Registration,
    peer: Peer,
    now: Duration,
    random: u64,
}

impl Bench {
    fn new(ownership: Ownership) -> Self {
        let settings = Settings {
            ownership,
            ..Settings::DEFAULT
        };
        Self {
            registration: Registration::new(A, settings, Sequence(100)),
            peer: Peer::new(),
            now: secs(1000),
            random: 0,
        }
    }

    fn at(&self) -> Moment {
        moment(self.now, self.random)
    }

    fn register(&mut self, care_of: Ipv6Addr) -> Vec<Action> {
        let at = self.at();
        self.registration.register(at, care_of, &mut self.peer)
    }

    fn deregister(&mut self) -> Vec<Action> {
        let at = self.at();
        self.registration.deregister(at, &mut self.peer)
    }

    /// Goes to the next deadline.
    fn wake(&mut self) -> Vec<Action> {
        self.now = self.registration.deadline().expect("a deadline");
        let at = self.at();
        self.registration.wake(at, &mut self.peer)
    }

    fn answer(&mut self, ack: Acknowledgement) -> Option<Vec<Action>> {
        let at = self.at();
        self.registration.acknowledge(at, &ack, &mut self.peer)
    }

    fn accept(&mut self, update: &Update) -> Vec<Action> {
        self.answer(ack(0, update.sequence.0, 15))
            .expect("an answer")
    }

    /// Registered with its first update, which is returned.
    fn registered(ownership: Ownership) -> (Self, Update) {
        let mut bench = Self::new(ownership);
        let update = sent(&bench.register(U));
        bench.accept(&update);
        assert_eq!(bench.registration.state(), State::Registered);
        (bench, update)
    }
}

fn ack(status: u8, sequence: u16, lifetime: u16) -> Acknowledgement {
    Acknowledgement {
        status: Status(status),
        sequence: Sequence(sequence),
        lifetime: Lifetime(lifetime),
        refresh_advice: None,
        timestamp: None,
    }
}

fn updates(actions: &[Action]) -> Vec<Update> {
    let update = |action: &Action| match action {
        Action::Send(update) => Some(*update),
        _ => None,
    };
    actions.iter().filter_map(update).collect()
}

/// The one update among the actions.
fn sent(actions: &[Action]) -> Update {
    let updates = updates(actions);
    assert_eq!(updates.len(), 1, "{actions:?}");
    updates[0]
}

/// RFC 6275 §11.7.1: A and H set; the care-of address and the lifetime asked for.
#[test]
fn the_first_update() {
    let mut bench = Bench::new(Ownership::Standby);
    assert_eq!(bench.registration.deadline(), None);
    let actions = bench.register(U);
    let (from, to) = (State::Idle, State::Registering);
    assert_eq!(actions[0], Action::StateChanged { from, to });
    let update = sent(&actions);
    assert_eq!(
        update,
        Update {
            anycast: A,
            care_of: U,
            sequence: Sequence(100),
            lifetime: Lifetime(15),
            flags: UpdateFlags(0xc000),
            timestamp: None,
        }
    );
    assert!(bench.register(U).is_empty(), "the same again");
}

/// RFC 6275 §11.8: 1.5 s for a first registration, doubled with each retransmission
/// up to 32 s, then at that rate for ever; each MUST have a greater number.
#[test]
fn retransmissions() {
    let mut bench = Bench::new(Ownership::Standby);
    let mut last = sent(&bench.register(U));
    let mut pauses = Vec::new();
    for _ in 0..200 {
        let before = bench.now;
        let actions = bench.wake();
        let update = sent(&actions);
        // The operator is told once.
        let silent = Action::Notice(Notice::Silent { updates: 3 });
        assert_eq!(actions.contains(&silent), pauses.len() == 2);
        pauses.push((bench.now - before).as_millis());
        assert!(update.sequence.is_after(last.sequence));
        last = update;
    }
    assert_eq!(pauses[..6], [1500, 3000, 6000, 12_000, 24_000, 32_000]);
    assert!(pauses[6..].iter().all(|pause| *pause == 32_000));
    // RFC 6275 §11.7.3: MUST stop retransmitting; the last one is answered.
    bench.accept(&last);
    assert_eq!(bench.registration.state(), State::Registered);
    assert!(bench.registration.deadline().unwrap() > bench.now + secs(30));
}

/// RFC 6275 §11.8: otherwise 1 s.
#[test]
fn retransmissions_of_a_refresh() {
    let (mut bench, _) = Bench::registered(Ownership::Standby);
    let mut last = sent(&bench.wake());
    for pause in [1000, 2000, 4000] {
        let before = bench.now;
        let update = sent(&bench.wake());
        assert_eq!(bench.now - before, ms(pause));
        assert!(update.sequence.is_after(last.sequence));
        last = update;
    }
    // After 45 s and these tries our binding ends, at 60 s; the tries go on.
    let actions = bench.wake();
    assert_eq!(bench.now, secs(1060));
    let (from, to) = (State::Registered, State::Registering);
    assert_eq!(actions[0], Action::StateChanged { from, to });
    assert!(sent(&actions).sequence.is_after(last.sequence));
}

/// Refreshed before three quarters of the lifetime, and not all at once.
#[test]
fn refreshes() {
    for (random, expected) in [(0, ms(45_000)), (u64::MAX, ms(39_375))] {
        let mut bench = Bench::new(Ownership::Standby);
        bench.random = random;
        let update = sent(&bench.register(U));
        bench.now += secs(1);
        bench.accept(&update);
        // Counted from when it was sent: the agent counts from when it came.
        let due = bench.registration.deadline().unwrap() - secs(1000);
        assert!(due <= expected && expected - due < ms(1), "{due:?}");
        let refresh = sent(&bench.wake());
        assert_eq!(refresh.sequence, Sequence(101));
        assert_eq!(bench.registration.state(), State::Registered);
    }
}

/// RFC 6275 §11.7.3: a shorter lifetime than asked for shortens ours; a longer one is
/// not what was asked for.
#[test]
fn granted_lifetimes() {
    for (granted, expected) in [(10, 40), (15, 60), (100, 60)] {
        let mut bench = Bench::new(Ownership::Standby);
        let update = sent(&bench.register(U));
        bench.answer(ack(0, update.sequence.0, granted)).unwrap();
        assert_eq!(bench.registration.expiry(), Some(secs(1000 + expected)));
    }
    let mut bench = Bench::new(Ownership::Standby);
    let update = sent(&bench.register(U));
    bench.answer(ack(0, update.sequence.0, 0)).unwrap();
    assert_eq!(bench.registration.state(), State::Refused);
}

/// RFC 6275 §6.2.4: the interval is less than the lifetime, or it is no advice.
#[test]
fn refresh_advice() {
    for (advice, expected) in [(5, 20), (14, 56), (15, 45), (16, 45), (0, 45)] {
        let mut bench = Bench::new(Ownership::Standby);
        let update = sent(&bench.register(U));
        let refresh_advice = Some(Lifetime(advice));
        let ack = Acknowledgement {
            refresh_advice,
            ..ack(0, update.sequence.0, 15)
        };
        bench.answer(ack).unwrap();
        assert_eq!(
            bench.registration.deadline(),
            Some(secs(1000 + expected)),
            "{advice}"
        );
    }
}

/// RFC 6275 §11.7.3: an acknowledgement whose number is not that of an outstanding
/// update MUST be ignored.
#[test]
fn unsolicited_acknowledgements() {
    let mut bench = Bench::new(Ownership::Standby);
    assert_eq!(bench.answer(ack(0, 99, 15)), None);
    let first = sent(&bench.register(U));
    for status in [0, 1, 128, 129, 133, 146] {
        for number in [0, 99, 101, 65535] {
            assert_eq!(bench.answer(ack(status, number, 15)), None);
        }
    }
    let second = sent(&bench.wake());
    bench.accept(&second);
    let before = bench.registration.deadline();
    // Its replay, and the late answer to what it repeated.
    for status in [0, 129, 135] {
        assert_eq!(bench.answer(ack(status, second.sequence.0, 15)), None);
        assert_eq!(bench.answer(ack(status, first.sequence.0, 15)), None);
    }
    assert_eq!(bench.registration.deadline(), before);
    assert_eq!(bench.registration.state(), State::Registered);
}

/// RFC 6275 §11.8: MUST NOT be more than 3 within a second to one agent, over all
/// registrations there.
#[test]
fn the_update_rate() {
    let mut peer = Peer::new();
    let mut all: Vec<Registration> = (0..10)
        .map(|_| Registration::new(A, Settings::DEFAULT, Sequence(0)))
        .collect();
    let mut times = Vec::new();
    let mut now = secs(1000);
    let mut note = |now: Duration, actions: &[Action]| {
        times.extend(updates(actions).iter().map(|_| now));
    };
    for registration in &mut all {
        note(now, &registration.register(moment(now, 0), U, &mut peer));
    }
    for _ in 0..200 {
        now = all.iter().filter_map(Registration::deadline).min().unwrap();
        for registration in &mut all {
            note(now, &registration.wake(moment(now, 0), &mut peer));
        }
    }
    assert!(times.len() > 50, "{}", times.len());
    assert!(times.windows(4).all(|four| four[3] - four[0] >= secs(1)));
    // Nobody starves: all have been heard of.
    assert!(
        all.iter()
            .all(|registration| registration.upcoming() != Sequence(0))
    );
}

/// A U that changes is registered at once, with a back-off of its own (RFC 6275
/// §11.8).
#[test]
fn another_care_of_address() {
    let (mut bench, first) = Bench::registered(Ownership::Standby);
    bench.now += secs(10);
    let update = sent(&bench.register(U2));
    assert_eq!(update.care_of, U2);
    assert!(update.sequence.is_after(first.sequence));
    let before = bench.now;
    let again = sent(&bench.wake());
    assert_eq!((again.care_of, bench.now - before), (U2, secs(1)));
    bench.accept(&again);
    let refresh = sent(&bench.wake());
    assert_eq!(refresh.care_of, U2);

    // The answer to the one before does not end the retransmission of the new one.
    let mut bench = Bench::new(Ownership::Standby);
    let old = sent(&bench.register(U));
    sent(&bench.register(U2));
    bench.accept(&old);
    assert_eq!(bench.registration.state(), State::Registering);
    assert_eq!(sent(&bench.wake()).care_of, U2);
}

/// The number survives a restart.
#[test]
fn a_restart_goes_on_counting() {
    let (mut bench, _) = Bench::registered(Ownership::Standby);
    let last = sent(&bench.wake());
    let kept = bench.registration.upcoming();
    bench.registration = Registration::new(A, Settings::DEFAULT, kept);
    assert!(sent(&bench.register(U)).sequence.is_after(last.sequence));
}

#[test]
fn names() {
    let all = [
        State::Idle,
        State::Registering,
        State::Registered,
        State::Standby,
        State::Refused,
        State::Deregistering,
    ];
    let names = [
        "idle",
        "registering",
        "registered",
        "standby",
        "refused",
        "deregistering",
    ];
    assert_eq!(all.map(|state| state.to_string()), names);
}
