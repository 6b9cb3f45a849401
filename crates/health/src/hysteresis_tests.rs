use proptest::prelude::*;

use super::*;

fn number(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The states after each of these results: `+` a success, `-` a failure, `*` another
/// target.
fn states(rise: u32, fall: u32, results: &str) -> String {
    let mut decision = Hysteresis::new(number(rise), number(fall), at(0));
    let mut seen = String::new();
    for (second, result) in (1..).zip(results.chars()) {
        match result {
            '*' => decision.begin_anew(),
            _ => drop(decision.record(at(second), result == '+')),
        }
        seen.push(match decision.state() {
            State::Unknown => '?',
            State::Up => 'u',
            State::Down => 'd',
        });
    }
    seen
}

#[test]
fn the_first_result_decides_and_later_ones_in_rows() {
    for (results, expected) in [
        ("+", "u"),
        ("-", "d"),
        // Three failures in a row, then two successes in a row.
        ("+---++", "uuuddu"),
        ("-++", "ddu"),
        // A row that is broken counts anew.
        ("+--+--+---", "uuuuuuuuud"),
        ("-+-+-++", "ddddddu"),
    ] {
        assert_eq!(states(2, 3, results), expected, "{results}");
    }
    assert_eq!(states(1, 1, "+-+-"), "udud");
}

#[test]
fn another_target_keeps_the_state_until_its_first_result() {
    assert_eq!(states(2, 3, "*+*-"), "?uud");
    assert_eq!(states(2, 3, "+*+---"), "uuuuud");
    // The count of the old target is not the new one's.
    assert_eq!(states(2, 3, "+--*+--"), "uuuuuuu");
    assert_eq!(states(2, 3, "-*+"), "ddu");
}

#[test]
fn a_change_says_from_what_and_since_when() {
    let mut decision = Hysteresis::new(number(1), number(2), at(5));
    assert_eq!(
        (decision.state(), decision.since()),
        (State::Unknown, at(5))
    );
    let first = decision.record(at(7), true);
    let (from, to) = (State::Unknown, State::Up);
    assert_eq!(first, Some(Change { from, to }));
    assert_eq!(decision.record(at(8), false), None);
    assert_eq!(decision.since(), at(7));
    let (from, to) = (State::Up, State::Down);
    assert_eq!(decision.record(at(9), false), Some(Change { from, to }));
    assert_eq!((decision.state(), decision.since()), (State::Down, at(9)));
}

#[test]
fn all_checks_must_be_up() {
    use State::{Down, Unknown, Up};
    for (states, expected) in [
        (&[][..], Up),
        (&[Up], Up),
        (&[Unknown], Unknown),
        (&[Up, Unknown], Unknown),
        (&[Unknown, Down, Up], Down),
        (&[Up, Up, Up], Up),
        (&[Up, Up, Down], Down),
    ] {
        assert_eq!(combine(states.iter().copied()), expected, "{states:?}");
    }
}

/// The state by looking back over the whole history at every step.
fn by_history(rise: usize, fall: usize, history: &[bool]) -> State {
    let mut state = State::Unknown;
    for end in 1..=history.len() {
        let ends_with = |count: usize, what: bool| {
            end >= count && history[end - count..end].iter().all(|r| *r == what)
        };
        state = match (state, history[end - 1]) {
            (State::Unknown, true) => State::Up,
            (State::Unknown, false) => State::Down,
            (State::Up, _) if ends_with(fall, false) => State::Down,
            (State::Down, _) if ends_with(rise, true) => State::Up,
            (held, _) => held,
        };
    }
    state
}

proptest! {
    #[test]
    fn it_is_what_the_whole_history_says(
        rise in 1_usize..6,
        fall in 1_usize..6,
        history in proptest::collection::vec(any::<bool>(), 0..200),
    ) {
        let mut decision =
            Hysteresis::new(number(rise as u32), number(fall as u32), Duration::ZERO);
        for (index, result) in history.iter().enumerate() {
            let before = decision.state();
            let change = decision.record(at(index as u64), *result);
            let after = by_history(rise, fall, &history[..=index]);
            prop_assert_eq!(decision.state(), after);
            let expected = (before != after).then_some(Change { from: before, to: after });
            prop_assert_eq!(change, expected);
            if change.is_some() {
                prop_assert_eq!(decision.since(), at(index as u64));
            }
        }
    }
}
