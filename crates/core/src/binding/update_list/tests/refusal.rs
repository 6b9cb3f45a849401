//! Refusals but for status 135, and timestamps.

use super::*;

/// RFC 6275 §11.7.3: MUST stop retransmitting. What may change soon keeps the
/// back-off; the rest waits a minute, then longer, up to an hour, and is reported.
#[test]
fn refusals() {
    for status in [128, 130, 134] {
        let mut bench = Bench::new(Ownership::Standby);
        let mut update = sent(&bench.register(U));
        for pause in [1500, 3000, 6000, 12_000, 24_000, 32_000, 32_000] {
            let actions = bench.answer(ack(status, update.sequence.0, 0)).unwrap();
            let again = bench.now + ms(pause);
            let status = Status(status);
            assert_eq!(
                actions.last(),
                Some(&Action::Notice(Notice::Refused { status, again }))
            );
            assert_eq!(bench.registration.state(), State::Refused);
            assert_eq!(bench.registration.refusal(), Some(status));
            assert_eq!(bench.registration.next_update(), Some(again));
            update = sent(&bench.wake());
            assert_eq!(bench.now, again);
        }
        bench.accept(&update);
        assert_eq!(bench.registration.state(), State::Registered);
        assert_eq!(bench.registration.refusal(), None);
        assert_eq!(bench.registration.unanswered(), 0);
    }
    for status in [129, 131, 132, 133, 139, 145, 146, 174, 200] {
        let mut bench = Bench::new(Ownership::Standby);
        let mut update = sent(&bench.register(U));
        for minutes in [1, 2, 4, 8, 16, 32, 60, 60] {
            let actions = bench.answer(ack(status, update.sequence.0, 0)).unwrap();
            let again = bench.now + secs(60 * minutes);
            let status = Status(status);
            assert!(actions.contains(&Action::Notice(Notice::Refused { status, again })));
            update = sent(&bench.wake());
            assert_eq!(bench.now, again);
        }
        bench.accept(&update);
        bench.wake();
        assert_eq!(bench.registration.state(), State::Registered);
    }
}

#[test]
fn status_1_is_an_acceptance_with_a_notice() {
    let mut bench = Bench::new(Ownership::Standby);
    let update = sent(&bench.register(U));
    let actions = bench.answer(ack(1, update.sequence.0, 15)).unwrap();
    assert!(actions.contains(&Action::Notice(Notice::PrefixDiscovery)));
    assert_eq!(bench.registration.state(), State::Registered);
}

/// RFC 4285 §6: the timestamp MUST be the one that was sent, else silence; with 144
/// the clock is the agent's from then on, and it is tried again once.
#[test]
fn timestamps() {
    let mut bench = Bench::new(Ownership::Standby);
    bench.peer = Peer::authenticated(Stamps::default(), secs(7));
    let update = sent(&bench.register(U));
    let stamp = update.timestamp.unwrap();
    let other = Some(Timestamp(stamp.0 + 1));
    let answer = |status, timestamp| Acknowledgement {
        timestamp,
        ..ack(status, update.sequence.0, 15)
    };
    for status in [0, 129, 135, 144] {
        assert_eq!(bench.answer(answer(status, None)), None);
        assert_eq!(bench.answer(answer(status, other)), None);
    }
    let clock = bench.at().wall.0 + (3600 << 32);
    let told = Timestamp(clock & !0xffff_ffff | stamp.0 & 0xffff_ffff);
    let actions = bench.answer(answer(144, Some(told))).unwrap();
    assert_eq!(
        actions[0],
        Action::Notice(Notice::ClockDiffers { ahead: 3600 })
    );
    let again = sent(&actions);
    assert!(again.timestamp.unwrap().is_close(Timestamp(clock), secs(1)));
    assert!(again.sequence.is_after(update.sequence));
    // Within the skew it was a duplicate, or was overtaken: the answer may yet come.
    let due = bench.registration.deadline();
    let overtaken = Acknowledgement {
        timestamp: again.timestamp,
        ..ack(144, again.sequence.0, 0)
    };
    assert_eq!(bench.answer(overtaken), Some(vec![]));
    assert_eq!(bench.registration.deadline(), due);
    // At once only once: then it waits.
    let stamp = again.timestamp.unwrap();
    let told = Timestamp(stamp.0 - (100 << 32));
    let mismatch = Acknowledgement {
        timestamp: Some(told),
        ..ack(144, again.sequence.0, 0)
    };
    let actions = bench.answer(mismatch).unwrap();
    assert!(updates(&actions).is_empty());
    assert_eq!(bench.registration.state(), State::Refused);
    let third = sent(&bench.wake());
    assert!(third.timestamp.unwrap().is_close(told, secs(5)));
    let accepted = Acknowledgement {
        timestamp: third.timestamp,
        ..ack(0, third.sequence.0, 15)
    };
    bench.answer(accepted).unwrap();
    assert_eq!(bench.registration.state(), State::Registered);
}
