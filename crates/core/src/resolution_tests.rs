use super::*;
use crate::accept::Refusal;
use crate::settings::Times;
use proptest::prelude::*;

const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xa, 0, 0, 0, 0, 0x53);
const U: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 2);
const OTHER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x52, 0, 0, 0, 0, 2);
const ECHO: Rank = 0;
const UNREACH: Rank = 1;
const MOST: Duration = Duration::from_secs(1);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn by(methods: &[Rank], budget: Duration) -> Resolution {
    let echo = AnyMethod::Echo(Echo {
        ident: None,
        first_sequence: 7,
    });
    let unreach = AnyMethod::Unreach(Unreach { port: 33999 });
    let wanted = |rank, method| {
        methods
            .contains(&rank)
            .then_some((method, [rank as u8; 16]))
    };
    let schedule = Schedule {
        began: ms(1000),
        budget,
        retransmit: Times::DEFAULT.retransmit,
    };
    Resolution::new(A, &schedule, [wanted(ECHO, echo), wanted(UNREACH, unreach)])
}

/// Both, with everything sent that is to be sent at the beginning.
fn both() -> Resolution {
    let mut both = by(&[ECHO, UNREACH], MOST);
    assert_eq!(send_all(&mut both, ms(1000)), [ECHO, UNREACH]);
    both
}

/// Sends what is due, and returns by which methods.
fn send_all(resolution: &mut Resolution, now: Duration) -> Vec<Rank> {
    let mut sent = Vec::new();
    while let Step::Send(rank) = resolution.step(now) {
        let mut buffer = [0xa5; MESSAGE_MAX];
        assert!(!resolution.emit(rank, now, &mut buffer).is_empty());
        sent.push(rank);
    }
    sent
}

fn ended(resolution: &Resolution, now: Duration) -> (Answer, Rank) {
    assert_eq!(resolution.step(now), Step::Over);
    resolution.answer(now, MOST)
}

fn pinned(u: Ipv6Addr, rtt: u64) -> Answer {
    Answer::Pinned { u, rtt: ms(rtt) }
}

const REFUSED: Verdict = Verdict::Refused(Refusal::NotTrusted);

#[test]
fn the_ranking_is_that_of_the_methods() {
    for (rank, flight) in both().flights.iter().enumerate() {
        let method = flight.as_ref().unwrap().question.method();
        assert_eq!(method, RANKING[rank]);
    }
}

#[test]
fn an_echo_answer_ends_it_at_once() {
    let mut both = both();
    both.hear(ECHO, 0, U, Verdict::Pinned, ms(1010));
    assert_eq!(ended(&both, ms(1010)), (pinned(U, 10), ECHO));
}

#[test]
fn an_echo_answer_outranks_an_earlier_one_of_unreach() {
    let mut both = both();
    both.hear(UNREACH, 0, OTHER, Verdict::Pinned, ms(1010));
    // One more round trip.
    assert_eq!(both.step(ms(1010)), Step::Wait(ms(1020)));
    both.hear(ECHO, 0, U, Verdict::Pinned, ms(1019));
    assert_eq!(ended(&both, ms(1019)), (pinned(U, 19), ECHO));
}

#[test]
fn unreach_alone_counts_after_the_grace() {
    for (rtt, until) in [(10, 1020), (1, 1006), (90, 1180), (700, 2000)] {
        let mut both = both();
        let heard = 1000 + rtt;
        let retransmitted = send_all(&mut both, ms(heard)).len();
        both.hear(UNREACH, 0, U, Verdict::Pinned, ms(heard));
        // Echo goes on, unreach is not sent again.
        let mut now = ms(heard);
        let mut more = Vec::new();
        loop {
            more.extend(send_all(&mut both, now));
            match both.step(now) {
                Step::Wait(then) => {
                    assert!(then > now);
                    now = then;
                }
                Step::Over => break,
                Step::Send(_) => unreachable!("everything was sent"),
            }
        }
        assert_eq!(now, ms(until), "{rtt} ms, {retransmitted} sent again");
        assert!(more.iter().all(|rank| *rank == ECHO), "{more:?}");
        assert_eq!(both.answer(now, MOST), (pinned(U, rtt), UNREACH));
    }
}

#[test]
fn unreach_is_not_held_back_for_an_echo_that_cannot_come() {
    let mut alone = by(&[UNREACH], MOST);
    send_all(&mut alone, ms(1000));
    alone.hear(UNREACH, 0, U, Verdict::Pinned, ms(1010));
    assert_eq!(ended(&alone, ms(1010)), (pinned(U, 10), UNREACH));
    let mut both = both();
    both.abandon(ECHO);
    both.hear(UNREACH, 0, U, Verdict::Pinned, ms(1010));
    assert_eq!(ended(&both, ms(1010)), (pinned(U, 10), UNREACH));
}

#[test]
fn direct_is_concluded_when_each_has_answered_or_timed_out() {
    for (first, second) in [(ECHO, UNREACH), (UNREACH, ECHO)] {
        let mut answered = both();
        answered.hear(first, 0, A, Verdict::Direct, ms(1010));
        assert_eq!(answered.step(ms(1010)), Step::Wait(ms(1100)));
        let mut silent = answered.clone();
        let mut moved = answered.clone();
        answered.hear(second, 0, A, Verdict::Direct, ms(1020));
        let rtt = if first == ECHO { ms(10) } else { ms(20) };
        assert_eq!(ended(&answered, ms(1020)), (Answer::Direct { rtt }, ECHO));
        // Only the one that is silent is sent again.
        assert_eq!(send_all(&mut silent, ms(1100)), [second]);
        assert_eq!(send_all(&mut silent, ms(1300)), [second]);
        assert_eq!(silent.step(ms(1999)), Step::Wait(ms(2000)));
        let direct = Answer::Direct { rtt: ms(10) };
        assert_eq!(ended(&silent, ms(2000)), (direct, first));
        // U from the other one counts more.
        moved.hear(second, 0, U, Verdict::Pinned, ms(1020));
        assert_eq!(ended(&moved, ms(1020)), (pinned(U, 20), second));
    }
}

#[test]
fn direct_at_once_where_the_other_method_cannot_answer() {
    let mut both = both();
    both.hear(ECHO, 0, A, Verdict::Direct, ms(1010));
    both.abandon(UNREACH);
    let direct = Answer::Direct { rtt: ms(10) };
    assert_eq!(ended(&both, ms(1010)), (direct, ECHO));
}

#[test]
fn a_refused_source_decides_nothing() {
    for rank in [ECHO, UNREACH] {
        let mut resolution = both();
        resolution.hear(rank, 0, OTHER, REFUSED, ms(1010));
        assert_eq!(resolution.step(ms(1010)), Step::Wait(ms(1100)));
        let mut untrusted = resolution.clone();
        send_all(&mut untrusted, ms(1500));
        let answer = Answer::Untrusted { u: OTHER };
        assert_eq!(ended(&untrusted, ms(2000)), (answer, rank));
        resolution.hear(rank, 0, U, Verdict::Pinned, ms(1015));
        resolution.hear(1 - rank, 0, A, Verdict::Direct, ms(1015));
        assert_eq!(ended(&resolution, ms(1015)), (pinned(U, 15), rank));
    }
}

/// A router that rejects every attempt has said everything it has to say.
#[test]
fn rejected_datagrams_are_not_waited_for() {
    let mut resolution = both();
    for (attempt, at) in [1000, 1100, 1300].map(ms).into_iter().enumerate() {
        send_all(&mut resolution, at);
        resolution.hear(UNREACH, attempt as u32, OTHER, REFUSED, at + ms(1));
    }
    assert!(matches!(resolution.step(ms(1302)), Step::Wait(_)));
    resolution.hear(ECHO, 0, A, Verdict::Direct, ms(1302));
    let direct = Answer::Direct { rtt: ms(302) };
    assert_eq!(ended(&resolution, ms(1302)), (direct, ECHO));
}

#[test]
fn over_early_says_that_waiting_longer_is_of_no_use() {
    let mut resolution = by(&[ECHO, UNREACH], ms(50));
    send_all(&mut resolution, ms(1000));
    assert!(!resolution.is_undelivered());
    resolution.abandon(ECHO);
    resolution.abandon(UNREACH);
    assert!(resolution.is_undelivered());
    let waited = MOST;
    for at in [1010, 1050] {
        assert_eq!(ended(&resolution, ms(at)), (Answer::None { waited }, ECHO));
    }
}

/// What may happen, at some millisecond.
#[derive(Debug, Clone, Copy)]
enum Event {
    Hear(Rank, Verdict, Ipv6Addr),
    Abandon(Rank),
}

fn event() -> impl Strategy<Value = Event> {
    let heard = prop_oneof![
        Just((Verdict::Pinned, U)),
        Just((Verdict::Pinned, OTHER)),
        Just((Verdict::Direct, A)),
        Just((REFUSED, OTHER)),
    ];
    prop_oneof![
        6 => (0..METHODS, heard).prop_map(|(rank, (verdict, u))| Event::Hear(rank, verdict, u)),
        1 => (0..METHODS).prop_map(Event::Abandon),
    ]
}

proptest! {
    /// Whatever comes in when: it ends, never beyond the budget; a refused source is
    /// never U; `direct` is said only when no method is left open; U of unreach only
    /// when echo has not named one.
    #[test]
    fn it_ends_and_keeps_its_promises(
        mut events in proptest::collection::vec((1000..2100u64, event()), 0..12),
    ) {
        events.sort_by_key(|(at, _)| *at);
        let mut events = events.into_iter().peekable();
        let mut resolution = by(&[ECHO, UNREACH], MOST);
        let mut now = ms(1000);
        let mut heard: Vec<(Rank, Verdict, Ipv6Addr)> = Vec::new();
        let mut abandoned = [false; METHODS];
        loop {
            send_all(&mut resolution, now);
            let until = match resolution.step(now) {
                Step::Over => break,
                Step::Wait(until) => until,
                Step::Send(_) => unreachable!("everything was sent"),
            };
            prop_assert!(until > now && until <= ms(2000));
            match events.next_if(|(at, _)| ms(*at) <= until) {
                None => now = until,
                Some((at, event)) => {
                    now = now.max(ms(at));
                    match event {
                        Event::Hear(rank, verdict, u) => {
                            resolution.hear(rank, 0, u, verdict, now);
                            heard.push((rank, verdict, u));
                        }
                        Event::Abandon(rank) => {
                            resolution.abandon(rank);
                            abandoned[rank] = true;
                        }
                    }
                }
            }
        }
        let (answer, rank) = resolution.answer(now, MOST);
        let has = |rank, verdict| heard.iter().any(|h| h.0 == rank && h.1 == verdict);
        match answer {
            Answer::Pinned { u, .. } => {
                prop_assert!(heard.contains(&(rank, Verdict::Pinned, u)));
                if rank == UNREACH {
                    let echo = heard.iter().find(|h| {
                        h.0 == ECHO && !matches!(h.1, Verdict::Refused(_))
                    });
                    prop_assert!(echo.is_none_or(|h| h.1 == Verdict::Direct));
                }
            }
            Answer::Direct { .. } => {
                let other = 1 - rank;
                prop_assert!(has(rank, Verdict::Direct));
                prop_assert!(
                    now == ms(2000) || has(other, Verdict::Direct) || abandoned[other]
                );
            }
            Answer::Untrusted { u } => prop_assert!(heard.contains(&(rank, REFUSED, u))),
            Answer::None { .. } => prop_assert!(heard.is_empty()),
        }
    }
}

#[test]
fn what_is_given_up_is_not_decided() {
    let mut silent = both();
    assert!(!silent.is_given_up(ms(1999)));
    silent.give_up_at(ms(1040));
    assert_eq!(silent.step(ms(1010)), Step::Wait(ms(1040)));
    assert_eq!(ended(&silent, ms(1040)).0, Answer::None { waited: ms(40) });
    assert!(silent.is_given_up(ms(1040)));
    // One of two has said A: the other may still say U.
    let mut half = both();
    half.give_up_at(ms(1040));
    half.hear(ECHO, 0, A, Verdict::Direct, ms(1010));
    assert_eq!(half.step(ms(1010)), Step::Wait(ms(1040)));
    assert_eq!(half.step(ms(1040)), Step::Over);
    assert!(half.is_given_up(ms(1040)));
    let mut answered = both();
    answered.give_up_at(ms(1040));
    answered.hear(ECHO, 0, U, Verdict::Pinned, ms(1030));
    assert_eq!(ended(&answered, ms(1030)), (pinned(U, 30), ECHO));
    assert!(!answered.is_given_up(ms(1030)));
    // No longer than its budget, and then nobody has answered.
    let mut late = both();
    late.give_up_at(ms(2500));
    send_all(&mut late, ms(1400));
    assert_eq!(late.step(ms(1999)), Step::Wait(ms(2000)));
    assert_eq!(ended(&late, ms(2000)).0, Answer::None { waited: MOST });
    assert!(!late.is_given_up(ms(2000)));
}

#[test]
fn others_are_waited_for_as_long_again() {
    for (took, patience) in [(0, 20), (1, 20), (20, 20), (150, 150)] {
        assert_eq!(patience_with_others(ms(took)), ms(patience));
    }
}

#[test]
fn what_did_not_arrive_is_no_matter_of_the_budget() {
    let mut hurried = by(&[ECHO], ms(50));
    send_all(&mut hurried, ms(1000));
    let mut other = hurried.clone();
    hurried.flights[ECHO]
        .as_mut()
        .unwrap()
        .question
        .note_undelivered(0);
    assert_eq!(ended(&hurried, ms(1050)).0, Answer::None { waited: MOST });
    // One of two may have arrived.
    send_all(&mut other, ms(1000));
    assert_eq!(ended(&other, ms(1050)).0, Answer::None { waited: ms(50) });
}
