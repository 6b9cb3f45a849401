//! What holds whatever happens: any calls in any order, any answers.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Register(bool),
    Deregister,
    /// So many milliseconds later.
    Wait(u64),
    /// At the next deadline.
    Wake,
    /// Status, how far from the last number sent, lifetime, advice, and whether with
    /// the right timestamp.
    Answer(u8, i16, u16, Option<u16>, bool),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let status = prop_oneof![
        4 => Just(0u8),
        4 => Just(135u8),
        2 => Just(144u8),
        2 => prop::sample::select(vec![1, 128, 129, 130, 133, 145, 146, 174]),
        1 => any::<u8>(),
    ];
    let distance = prop_oneof![4 => Just(0i16), 4 => -3..3i16, 1 => any::<i16>()];
    let lifetime = prop_oneof![Just(15u16), 0..20u16, any::<u16>()];
    let answer = (
        status,
        distance,
        lifetime,
        prop::option::of(0..20u16),
        prop::bool::weighted(0.9),
    );
    let step = prop_oneof![
        1 => any::<bool>().prop_map(Step::Register),
        1 => Just(Step::Deregister),
        4 => prop_oneof![0..2000u64, 0..100_000u64].prop_map(Step::Wait),
        6 => Just(Step::Wake),
        8 => answer.prop_map(|(a, b, c, d, e)| Step::Answer(a, b, c, d, e)),
    ];
    prop::collection::vec(step, 1..120)
}

proptest! {
    #[test]
    fn whatever_happens(steps in steps(), last: bool, authenticated: bool, random: u64) {
        let mut bench = Bench::new(if last { Ownership::Last } else { Ownership::Standby });
        if authenticated {
            bench.peer = Peer::authenticated(Stamps::default(), secs(7));
        }
        let mut times = Vec::new();
        let mut newest: Option<Update> = None;
        for step in steps {
            bench.random = bench.random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(random | 1);
            let mut renumbered = false;
            let mut restamped = false;
            let before = bench.registration.state();
            let actions = match step {
                Step::Register(other) => bench.register(if other { U2 } else { U }),
                Step::Deregister => bench.deregister(),
                Step::Wait(wait) => {
                    bench.now += ms(wait);
                    let at = bench.at();
                    bench.registration.wake(at, &mut bench.peer)
                }
                Step::Wake if bench.registration.deadline().is_none() => continue,
                Step::Wake => {
                    let deadline = bench.registration.deadline().unwrap();
                    bench.now = bench.now.max(deadline);
                    let at = bench.at();
                    bench.registration.wake(at, &mut bench.peer)
                }
                Step::Answer(status, distance, lifetime, advice, right) => {
                    let Some(update) = newest else { continue };
                    renumbered = true;
                    restamped = status == 144;
                    let shift = if status == 144 { u64::from(lifetime) << 32 } else { u64::from(!right) };
                    let timestamp = update.timestamp.map(|stamp| Timestamp(stamp.0.wrapping_add(shift)));
                    let ack = Acknowledgement {
                        refresh_advice: advice.map(Lifetime),
                        timestamp,
                        ..ack(status, update.sequence.0.wrapping_add_signed(distance), lifetime)
                    };
                    bench.answer(ack).unwrap_or_default()
                }
            };
            let after = bench.registration.state();
            // Never stuck, and never busy.
            prop_assert_eq!(bench.registration.deadline().is_some(), after != State::Idle);
            prop_assert_eq!(after == State::Idle || after == State::Deregistering, bench.registration.care_of().is_none());
            let at = bench.at();
            let due = bench.registration.deadline().is_some_and(|deadline| deadline <= bench.now);
            if due {
                let more = bench.registration.wake(at, &mut bench.peer);
                times.extend(updates(&more).iter().map(|_| bench.now));
                newest = updates(&more).last().copied().or(newest);
                let deadline = bench.registration.deadline();
                prop_assert!(deadline.is_none_or(|deadline| deadline > bench.now));
            }
            // The changes told are the changes made.
            let mut told = before;
            for action in &actions {
                if let Action::StateChanged { from, to } = action {
                    prop_assert_eq!(told, *from);
                    told = *to;
                }
            }
            prop_assert_eq!(told, if due { told } else { after });
            for update in updates(&actions) {
                prop_assert_eq!(update.flags, UpdateFlags(0xc000));
                prop_assert!(update.lifetime == Lifetime(15) || update.lifetime.is_zero());
                // RFC 6275 §11.8: a retransmission MUST have a greater number; only a
                // refusal with 135, and a trial that begins anew, set it back.
                let set_back = renumbered || [before, after].contains(&State::Standby) || before == State::Refused;
                if let Some(newest) = newest && !set_back {
                    prop_assert!(update.sequence.is_after(newest.sequence), "{:?} {:?}", newest, update);
                }
                // RFC 4285 §6: MUST be greater.
                if let Some((newest, now)) = newest.and_then(|newest| newest.timestamp).zip(update.timestamp) && !restamped {
                    prop_assert!(now.is_after(newest));
                }
                newest = Some(update);
                times.push(bench.now);
            }
            // RFC 6275 §11.8: MUST NOT be more than 3 within a second.
            prop_assert!(times.windows(4).all(|four| four[3] - four[0] >= secs(1)));
        }
    }
}
