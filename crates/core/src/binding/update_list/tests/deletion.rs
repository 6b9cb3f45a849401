//! Deregistration.

use super::*;

#[test]
fn deregistration() {
    let (mut bench, first) = Bench::registered(Ownership::Standby);
    let update = sent(&bench.deregister());
    assert_eq!((update.lifetime, update.care_of), (Lifetime::ZERO, U));
    assert!(update.sequence.is_after(first.sequence));
    assert_eq!(bench.registration.state(), State::Deregistering);
    let (from, to) = (State::Deregistering, State::Idle);
    let done = vec![Action::StateChanged { from, to }];
    // RFC 6275 §10.3.2: 0; or 133 where there is nothing to delete.
    assert_eq!(
        bench.answer(ack(0, update.sequence.0, 0)),
        Some(done.clone())
    );
    assert_eq!(bench.registration.deadline(), None);
    let (mut bench, _) = Bench::registered(Ownership::Standby);
    let update = sent(&bench.deregister());
    assert_eq!(
        bench.answer(ack(133, update.sequence.0, 0)),
        Some(done.clone())
    );
    // Somebody else's is not ours to delete.
    let (mut bench, _) = Bench::registered(Ownership::Last);
    sent(&bench.deregister());
    assert_eq!(bench.answer(ack(135, 500, 9)), Some(done));
}

#[test]
fn a_deregistration_without_an_answer_ends() {
    let (mut bench, _) = Bench::registered(Ownership::Standby);
    let mut last = sent(&bench.deregister());
    for pause in [1, 2, 4, 8] {
        let before = bench.now;
        let update = sent(&bench.wake());
        assert_eq!(bench.now - before, secs(pause));
        assert!(update.sequence.is_after(last.sequence));
        last = update;
    }
    let actions = bench.wake();
    assert_eq!(actions[0], Action::Notice(Notice::NotDeregistered));
    assert_eq!(bench.registration.state(), State::Idle);
    assert_eq!(bench.registration.deadline(), None);
}

/// What may have been accepted is deleted, what cannot have been is not.
#[test]
fn what_is_deregistered() {
    let mut bench = Bench::new(Ownership::Standby);
    sent(&bench.register(U));
    assert_eq!(sent(&bench.deregister()).lifetime, Lifetime::ZERO);
    let mut bench = Bench::new(Ownership::Standby);
    let update = sent(&bench.register(U));
    bench.answer(ack(129, update.sequence.0, 0)).unwrap();
    assert!(updates(&bench.deregister()).is_empty());
    assert_eq!(bench.registration.state(), State::Idle);
    // An update that its deletion overtook is deleted when that is heard of.
    let mut bench = Bench::new(Ownership::Standby);
    let claim = sent(&bench.register(U));
    let deletion = sent(&bench.deregister());
    bench.answer(ack(133, deletion.sequence.0, 0));
    assert_eq!(bench.registration.state(), State::Idle);
    bench.now += secs(2);
    let late = bench.answer(ack(0, claim.sequence.0, 15)).unwrap();
    let again = sent(&late);
    assert_eq!((again.lifetime, again.care_of), (Lifetime::ZERO, U));
    assert!(again.sequence.is_after(deletion.sequence));
    bench.answer(ack(0, again.sequence.0, 0)).unwrap();
    assert_eq!(bench.registration.state(), State::Idle);
    assert_eq!(bench.registration.deadline(), None);
}

/// The deletion goes on with the agent's clock, though the update before it was
/// refused for that.
#[test]
fn a_deletion_by_the_agents_clock() {
    let mut bench = Bench::new(Ownership::Standby);
    bench.peer = Peer::authenticated(Stamps::default(), secs(7));
    sent(&bench.register(U));
    let deletion = sent(&bench.deregister());
    let stamp = deletion.timestamp.unwrap();
    let told = Acknowledgement {
        timestamp: Some(Timestamp(stamp.0 + (60 << 32))),
        ..ack(144, deletion.sequence.0, 0)
    };
    let again = sent(&bench.answer(told).unwrap());
    assert_eq!((again.lifetime, again.care_of), (Lifetime::ZERO, U));
    assert!(again.sequence.is_after(deletion.sequence));
}
