use super::super::history::tests::{MS, round, u};
use super::*;
use crate::paint::columns;
use proptest::prelude::*;

const PLAIN: Brush = Brush {
    color: false,
    unicode: true,
    width: None,
};

fn title() -> Title {
    Title {
        what: "www.any.test (2001:db8:a::53)".to_owned(),
        interval: Duration::from_millis(200),
    }
}

/// Ten rounds: the first responder, a loss, the second.
fn moved() -> History {
    let mut history = History::default();
    for second in 0..10 {
        let who = match second {
            0..=4 => Some(Who::Unicast(u(1))),
            5 => None,
            _ => Some(Who::Unicast(u(2))),
        };
        let mut seen = round(second, who, &[(1, Some(10)), (2, Some(40))]);
        if second > 5 {
            seen.rtt = Some(40 * MS);
        }
        history.observe(&seen);
    }
    history
}

#[test]
fn the_live_view_of_a_move() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
    let lines = live(PLAIN, 100, &title(), &moved(), now);
    let expected = "\
www.any.test (2001:db8:a::53) is 2001:db8:52::2   1 change, 10 rounds, for 9s, every 200ms

to A  ▁▁▁▁▁×████                                                         40.00 ms  loss 10.0 %
to U  ▁▁▁▁▁▁████                                                         40.00 ms  loss 0.0 %
who   AAAAA×BBBB

   RESPONDER       SHARE   FIRST (UTC)  LAST      TO  MIN    AVG    P50    P99    MAX    LOSS
A  2001:db8:51::2  55.6 %  00:00:00     00:00:04  A   10.00  10.00  10.00  10.00  10.00  -
                                                  U   10.00  10.00  10.00  10.00  10.00  0.0 %
B  2001:db8:52::2  44.4 %  00:00:06     00:00:09  A   40.00  40.00  40.00  40.00  40.00  -
                                                  U   40.00  40.00  40.00  40.00  40.00  0.0 %
   all                                            A   10.00  23.33  10.00  40.00  40.00  10.0 %
Ctrl-C ends it with a summary";
    assert_eq!(lines.join("\n"), expected);
}

#[test]
fn a_narrow_terminal_gets_less_and_nothing_that_is_cut() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(9);
    let eighty = live(PLAIN, 80, &title(), &moved(), now);
    assert_eq!(
        eighty[0],
        "www.any.test (2001:db8:a::53) is 2001:db8:52::2   1 change, 10 rounds, for 9s"
    );
    assert!(eighty[2].ends_with("40.00 ms  loss 10.0 %"), "{eighty:#?}");
    let forty = live(PLAIN, 40, &title(), &moved(), now);
    let expected = "\
www.any.test is 2001:db8:52::2

to A  ▁▁▁▁▁×████                40.00 ms
to U  ▁▁▁▁▁▁████                40.00 ms
who   AAAAA×BBBB

   RESPONDER       TO  P50    LOSS
A  2001:db8:51::2  A   10.00  -
                   U   10.00  0.0 %
B  2001:db8:52::2  A   40.00  -
                   U   40.00  0.0 %
   all             A   10.00  10.0 %
Ctrl-C ends it with a summary";
    assert_eq!(forty.join("\n"), expected);
    for line in summary(PLAIN, Some(80), &title(), &moved()).lines() {
        assert!(columns(line) <= 80, "{line}");
    }
}

#[test]
fn without_unicode_the_signs_are_ascii() {
    let brush = Brush {
        unicode: false,
        ..PLAIN
    };
    for line in live(brush, 90, &title(), &moved(), SystemTime::UNIX_EPOCH) {
        assert!(line.is_ascii(), "{line}");
    }
}

#[test]
fn events_are_lines() {
    let line = |event_: Event, trip: &Trip| event(PLAIN, SystemTime::UNIX_EPOCH, &event_, trip);
    let (one, two) = (Who::Unicast(u(1)), Who::Unicast(u(2)));
    let trip = Trip {
        to_a: Some(MS),
        to_u: Some(2 * MS),
        reason: None,
    };
    assert_eq!(
        line(Event::Changed(one, two), &trip),
        "1970-01-01T00:00:00.000Z  changed: 2001:db8:51::2 -> 2001:db8:52::2  \
         (to A 1.000 ms, to U 2.000 ms)"
    );
    assert_eq!(
        line(Event::Silent(None), &Trip::default()),
        "1970-01-01T00:00:00.000Z  no answer"
    );
}

#[test]
fn one_outlier_does_not_flatten_the_rest() {
    let mut history = History::default();
    for second in 0..40 {
        let who = Who::Unicast(u(u16::from(second >= 20)));
        let mut seen = round(second, Some(who), &[]);
        seen.rtt = Some(match second {
            20 => 500 * MS,
            0..20 => 10 * MS,
            _ => 20 * MS,
        });
        history.observe(&seen);
    }
    let row = &timeline(PLAIN, 100, &history)[0];
    let signs: Vec<char> = row.chars().skip(LABEL).take(40).collect();
    assert_eq!((signs[0], signs[20], signs[39]), ('▁', '█', '█'), "{row}");
}

proptest! {
    #[test]
    fn no_line_is_wider_than_the_terminal(
        width in 1usize..200, color: bool, unicode: bool, rounds in 0u64..300,
        lost in 0u64..10,
    ) {
        let mut history = History::default();
        for second in 0..rounds {
            let who = (second % 10 >= lost).then(|| Who::Unicast(u((second / 40) as u16)));
            history.observe(&round(second, who, &[(1, Some(second))]));
        }
        let brush = Brush { color, unicode, width: None };
        for line in live(brush, width, &title(), &history, SystemTime::now()) {
            prop_assert!(columns(&line) <= width, "{} > {width}: {line}", columns(&line));
            prop_assert!(!line.contains('\n'));
        }
    }
}
