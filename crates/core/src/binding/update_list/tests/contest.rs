//! Status 135, case by case: the numbers are those of the head of the module.

use super::*;

/// A 135 to a claim: the agent's number and the step, at once (thesis: 200, 100, 202).
#[test]
fn a_claim_takes_over() {
    for (step, expected) in [(2, 202), (1, 201), (0, 201)] {
        let mut bench = Bench::new(Ownership::Standby);
        bench.registration.settings.sequence_step = step;
        sent(&bench.register(U));
        bench.now += ms(20);
        let actions = bench.answer(ack(135, 200, 9)).unwrap();
        assert_eq!(sent(&actions).sequence, Sequence(expected));
        assert_eq!(bench.registration.state(), State::Registering);
        bench.accept(&sent(&actions));
        assert_eq!(bench.registration.state(), State::Registered);
        assert_eq!(sent(&bench.wake()).sequence, Sequence(expected + 1));
    }
}

/// Two refreshing responders alternate: a refresh is sent again as well.
#[test]
fn the_last_one_owns() {
    let (mut bench, _) = Bench::registered(Ownership::Last);
    let refresh = sent(&bench.wake());
    let actions = bench.answer(ack(135, 102, 9)).unwrap();
    assert_eq!(refresh.sequence, Sequence(101));
    assert_eq!(sent(&actions).sequence, Sequence(104));
    bench.accept(&sent(&actions));
    assert_eq!(bench.registration.state(), State::Registered);
}

/// An agent that refuses everything with 135 is not asked at once for ever.
#[test]
fn an_agent_that_never_agrees() {
    let mut bench = Bench::new(Ownership::Last);
    let mut update = sent(&bench.register(U));
    let mut count = 0;
    while bench.now < secs(1600) {
        bench.now += ms(1);
        let number = update.sequence.0.wrapping_add(100);
        let mut actions = bench.answer(ack(135, number, 9)).unwrap();
        while updates(&actions).is_empty() {
            actions = bench.wake();
        }
        update = sent(&actions);
        count += 1;
    }
    assert!((20..40).contains(&count), "{count}");
}

/// Case 4: a refresh that is refused stands by, for as long as the agent says or, if
/// it says nothing sensible, for a lifetime.
#[test]
fn a_refresh_that_is_refused_stands_by() {
    for (told, waited) in [(9, 36), (1, 4), (15, 60), (0, 60), (16, 60), (65535, 60)] {
        for (random, jitter) in [(0, 0), (u64::MAX, 1000)] {
            let (mut bench, _) = Bench::registered(Ownership::Standby);
            sent(&bench.wake());
            bench.random = random;
            let actions = bench.answer(ack(135, 500, told)).unwrap();
            let (from, to) = (State::Registered, State::Standby);
            assert_eq!(actions, [Action::StateChanged { from, to }]);
            let due = bench.registration.deadline().unwrap() - bench.now;
            let expected = secs(waited) + ms(jitter);
            assert!(due <= expected && expected - due < ms(1), "{due:?}");
        }
    }
}

fn standing_by() -> Bench {
    let (mut bench, _) = Bench::registered(Ownership::Standby);
    sent(&bench.wake());
    bench.answer(ack(135, 500, 9)).unwrap();
    bench
}

/// The numbers of trials rise (RFC 6275 §11.8) and a living owner refuses each; so do
/// they when the owner has gone on since.
#[test]
fn a_trial_never_takes_from_a_living_owner() {
    let mut bench = standing_by();
    let mut last = None;
    for trial in 0..1000u16 {
        let update = sent(&bench.wake());
        for owner in [500, 501, 600, 20_000] {
            assert!(!update.sequence.is_after(Sequence(owner)), "{update:?}");
        }
        if let Some(last) = last
            && trial % (TRIAL_SPAN + 1) != 0
        {
            assert!(update.sequence.is_after(last));
        }
        last = Some(update.sequence);
        assert_eq!(bench.registration.state(), State::Standby);
    }
    // The answer renews what is known, and the wait.
    let actions = bench.answer(ack(135, 700, 3)).unwrap();
    assert!(actions.is_empty());
    assert_eq!(bench.registration.deadline(), Some(bench.now + secs(12)));
    assert_eq!(sent(&bench.wake()).sequence, Sequence(700 - TRIAL_SPAN));
}

/// A trial that is accepted is confirmed with a number beyond all that others know.
#[test]
fn a_trial_that_is_accepted_is_confirmed() {
    let mut bench = standing_by();
    let first = sent(&bench.wake());
    let second = sent(&bench.wake());
    let actions = bench.accept(&first);
    assert_eq!(bench.registration.state(), State::Registered);
    let confirmation = sent(&actions);
    assert_eq!(confirmation.sequence, Sequence(500 + REIGN_LEAP));
    assert!(confirmation.sequence.is_after(first.sequence));
    // The retransmission is accepted as well, and not confirmed again.
    assert!(updates(&bench.accept(&second)).is_empty());
    bench.accept(&confirmation);
    assert_eq!(sent(&bench.wake()).sequence, Sequence(501 + REIGN_LEAP));
}

/// Another U while standing by is for the trial.
#[test]
fn another_care_of_address_while_standing_by() {
    let mut bench = standing_by();
    assert!(bench.register(U2).is_empty());
    assert_eq!(bench.registration.state(), State::Standby);
    assert_eq!(sent(&bench.wake()).care_of, U2);
}

/// A trial that is refused for another reason stays a trial.
#[test]
fn a_trial_that_is_refused_stays_a_trial() {
    for status in [129, 130] {
        let mut bench = standing_by();
        let trial = sent(&bench.wake());
        bench.answer(ack(status, trial.sequence.0, 0)).unwrap();
        assert_eq!(bench.registration.state(), State::Refused);
        let again = sent(&bench.wake());
        assert!(!again.sequence.is_after(Sequence(500)));
    }
}

/// An owner that was cut off until its binding ended does not claim: somebody else
/// may have A since.
#[test]
fn who_was_cut_off_does_not_claim() {
    let (mut bench, _) = Bench::registered(Ownership::Standby);
    while bench.registration.state() == State::Registered {
        bench.wake();
    }
    sent(&bench.wake());
    bench.answer(ack(135, 4700, 9)).unwrap();
    assert_eq!(bench.registration.state(), State::Standby);
}

/// Case 1: nothing waits for an answer.
#[test]
fn a_late_duplicate_of_what_was_acknowledged() {
    let (mut bench, first) = Bench::registered(Ownership::Standby);
    assert_eq!(bench.answer(ack(135, first.sequence.0, 15)), None);
    assert_eq!(bench.answer(ack(135, 9999, 15)), None);
    assert_eq!(bench.registration.state(), State::Registered);
}

/// Case 2: the refresh and its retransmission cross the answers. The duplicate of the
/// first is refused with the number of the second, or with that of the first.
#[test]
fn a_refusal_of_an_older_one() {
    let (mut bench, _) = Bench::registered(Ownership::Standby);
    let first = sent(&bench.wake());
    let second = sent(&bench.wake());
    let quiet = Some(vec![]);
    assert_eq!(bench.answer(ack(135, first.sequence.0, 15)), quiet);
    assert_eq!(bench.registration.state(), State::Registered);
    bench.accept(&first);
    // The second is acknowledged as well; its number in a 135 means the same before.
    assert_eq!(bench.answer(ack(135, second.sequence.0, 15)), quiet);
    bench.accept(&second);
    assert_eq!(bench.registration.state(), State::Registered);
    assert_eq!(sent(&bench.wake()).sequence, second.sequence.advance(1));
}

/// Case 3, a refresh: it waits, and leaps with the retransmission, so that two with
/// equal numbers part.
#[test]
fn a_refusal_that_names_the_refresh_itself() {
    let mut numbers = std::collections::HashSet::new();
    for random in 0..64u64 {
        let (mut bench, _) = Bench::registered(Ownership::Standby);
        let refresh = sent(&bench.wake());
        let due = bench.registration.deadline();
        assert_eq!(bench.answer(ack(135, refresh.sequence.0, 15)), Some(vec![]));
        assert_eq!(bench.registration.state(), State::Registered);
        assert_eq!(bench.registration.deadline(), due);
        bench.random = random << 32;
        let again = sent(&bench.wake());
        assert!(again.sequence.is_after(refresh.sequence));
        numbers.insert(again.sequence.0);
    }
    assert_eq!(numbers.len(), 64);
}

/// Case 3, with timestamps: a duplicate of ours would have failed with 144, so it is
/// another's number.
#[test]
fn a_timestamp_tells_whose_number_it_is() {
    let mut bench = Bench::new(Ownership::Standby);
    bench.peer = Peer::authenticated(Stamps::default(), secs(7));
    let first = sent(&bench.register(U));
    let stamped = |update: &Update, status, number| Acknowledgement {
        timestamp: update.timestamp,
        ..ack(status, number, 15)
    };
    bench.answer(stamped(&first, 0, first.sequence.0)).unwrap();
    let refresh = sent(&bench.wake());
    bench
        .answer(stamped(&refresh, 135, refresh.sequence.0))
        .unwrap();
    assert_eq!(bench.registration.state(), State::Standby);
    // And is not ours even if the agent seems to say so later.
    assert_eq!(bench.answer(stamped(&refresh, 0, refresh.sequence.0)), None);
}

/// Case 3, a trial: lost, unless its acceptance comes after all.
#[test]
fn a_refusal_that_names_the_trial_itself() {
    let mut bench = standing_by();
    let trial = sent(&bench.wake());
    bench.answer(ack(135, trial.sequence.0, 15)).unwrap();
    assert_eq!(bench.registration.state(), State::Standby);
    assert_eq!(bench.registration.deadline(), Some(bench.now + secs(60)));
    let confirmation = sent(&bench.accept(&trial));
    assert_eq!(bench.registration.state(), State::Registered);
    assert!(confirmation.sequence.is_after(trial.sequence));
}

/// What was sent before another one took A does not make us the owner when its
/// acknowledgement comes late.
#[test]
fn an_acceptance_from_before_the_other() {
    let (mut bench, _) = Bench::registered(Ownership::Standby);
    let refresh = sent(&bench.wake());
    sent(&bench.wake());
    bench.answer(ack(135, 500, 9)).unwrap();
    assert_eq!(bench.registration.state(), State::Standby);
    assert_eq!(bench.answer(ack(0, refresh.sequence.0, 15)), None);
    assert_eq!(bench.registration.state(), State::Standby);
}

/// A confirmation that was taken for lost and then acknowledged: the next number is
/// beyond it, not where a trial would have begun.
#[test]
fn a_confirmation_that_is_acknowledged_after_all() {
    let mut bench = standing_by();
    let trial = sent(&bench.wake());
    let confirmation = sent(&bench.accept(&trial));
    bench.answer(ack(135, confirmation.sequence.0, 15)).unwrap();
    assert_eq!(bench.registration.state(), State::Standby);
    bench.accept(&confirmation);
    assert_eq!(bench.registration.state(), State::Registered);
    let refresh = sent(&bench.wake());
    assert!(refresh.sequence.is_after(confirmation.sequence));
}

/// A first registration after standing by goes on beyond what the owner had.
#[test]
fn a_claim_after_standing_by() {
    let mut bench = standing_by();
    assert!(updates(&bench.deregister()).is_empty());
    assert_eq!(bench.registration.state(), State::Idle);
    assert_eq!(sent(&bench.register(U)).sequence, Sequence(501));
}
