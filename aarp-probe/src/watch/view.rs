//! How a history looks, as text of a given width: a timeline, and a table.

use std::time::{Duration, SystemTime};

use super::history::{Event, History, Mark, Responder, letter};
use crate::paint::{Brush, Tone, cut, headings, table};
use crate::record::rfc3339;
use crate::statistics::{RoundTrips, millis, millis_or_dash, percent};
use crate::who::Who;

/// Columns of the label in front of a timeline, and of the numbers behind it.
const LABEL: usize = 6;
const NUMBERS: usize = 30;

const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; 8] = ['_', '.', ':', '-', '=', '+', '*', '#'];

/// What is watched, and how.
#[derive(Debug, Clone)]
pub(crate) struct Title {
    /// The destination.
    pub(crate) what: String,
    /// The time from one round to the next.
    pub(crate) interval: Duration,
}

/// The line of an event.
pub(crate) fn event(brush: Brush, at: SystemTime, event: &Event, round: &Trip) -> String {
    let time = brush.paint(Tone::Faint, &rfc3339(at));
    let text = match event {
        Event::First(who) => format!("answered by {who}"),
        Event::Changed(old, new) => format!("changed: {old} -> {new}"),
        Event::Silent(Some(who)) => format!("no answer any more (last by {who})"),
        Event::Silent(None) => "no answer".to_owned(),
        Event::Again(who, rounds) => {
            format!("answered by {who} again, after {rounds} without an answer")
        }
    };
    let tone = match event {
        Event::First(Who::Refused(_)) | Event::Silent(_) => Tone::Bad,
        Event::Changed(..) => Tone::Note,
        Event::First(_) | Event::Again(..) => Tone::Plain,
    };
    format!("{time}  {}{round}", brush.paint(tone, &text))
}

/// The round trips of one round, as an event's line ends with them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trip {
    pub(crate) to_a: Option<Duration>,
    pub(crate) to_u: Option<Duration>,
    pub(crate) reason: Option<String>,
}

impl std::fmt::Display for Trip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let trips = [("A", self.to_a), ("U", self.to_u)];
        let trips: Vec<String> = trips
            .iter()
            .filter_map(|(to, rtt)| rtt.map(|rtt| format!("to {to} {} ms", millis(rtt))))
            .collect();
        if !trips.is_empty() {
            write!(f, "  ({})", trips.join(", "))?;
        }
        match &self.reason {
            Some(reason) => write!(f, "  ({reason})"),
            None => Ok(()),
        }
    }
}

/// The live view: lines that are no wider than `width`.
pub(crate) fn live(
    brush: Brush,
    width: usize,
    title: &Title,
    history: &History,
    now: SystemTime,
) -> Vec<String> {
    let mut lines = vec![heading(brush, title, history, now), String::new()];
    lines.extend(timeline(brush, width, history));
    lines.push(String::new());
    let full = responders(brush, history, true);
    let fits = full
        .lines()
        .all(|line| crate::paint::columns(line) <= width);
    let shown = if fits {
        full
    } else {
        responders(brush, history, false)
    };
    lines.extend(shown.lines().map(str::to_owned));
    lines.push(brush.paint(Tone::Faint, "Ctrl-C ends it with a summary"));
    lines.iter().map(|line| cut(line, width)).collect()
}

fn heading(brush: Brush, title: &Title, history: &History, now: SystemTime) -> String {
    let watched = match history.began {
        Some(began) => now.duration_since(began).unwrap_or_default(),
        None => Duration::ZERO,
    };
    let watched = Duration::from_secs(watched.as_secs());
    let present = match history.strip.back() {
        Some(Mark {
            responder: None, ..
        }) => brush.paint(Tone::Bad, "no answer"),
        _ => history.present().map_or_else(String::new, |who| {
            let number = history.responders.iter().position(|r| r.who == who);
            brush.paint(Tone::Responder(number.unwrap_or(0)), &who.to_string())
        }),
    };
    format!(
        "{} is {present}   every {}, for {}, {} rounds, {}",
        brush.paint(Tone::Bold, &title.what),
        humantime::format_duration(title.interval),
        humantime::format_duration(watched),
        history.rounds,
        changes(history.changes),
    )
}

fn changes(count: u64) -> String {
    match count {
        1 => "1 change".to_owned(),
        n => format!("{n} changes"),
    }
}

/// Three rows, one column a round: how long A took, how long U took, and who it was.
pub(crate) fn timeline(brush: Brush, width: usize, history: &History) -> Vec<String> {
    let room = width.saturating_sub(LABEL + NUMBERS).max(8);
    let skip = history.strip.len().saturating_sub(room);
    let marks: Vec<Mark> = history.strip.iter().skip(skip).copied().collect();
    let scale = Scale::of(&marks);
    let row = |label: &str, cells: &dyn Fn(&Mark) -> (char, Tone), numbers: String| {
        let mut line = format!("{label:<LABEL$}");
        for mark in &marks {
            let (sign, tone) = cells(mark);
            line.push_str(&brush.paint(tone, &sign.to_string()));
        }
        line.push_str(&" ".repeat(room - marks.len()));
        format!("{line}  {numbers}")
    };
    let lost = if brush.unicode { '×' } else { 'x' };
    let level = |mark: &Mark, rtt: Option<Duration>, asked: bool| match rtt {
        Some(rtt) => {
            let signs = if brush.unicode { BLOCKS } else { ASCII };
            let tone = mark.responder.map_or(Tone::Plain, Tone::Responder);
            (signs[scale.level(rtt)], tone)
        }
        None if asked => (lost, Tone::Bad),
        None => (' ', Tone::Plain),
    };
    let who = |mark: &Mark| match mark.responder {
        Some(number) => (letter(number), Tone::Responder(number)),
        None => (lost, Tone::Bad),
    };
    vec![
        row(
            "to A",
            // An answer that must not be used has no round trip, and is not lost.
            &|mark| level(mark, mark.to_a, mark.responder.is_none()),
            numbers(&history.to_a),
        ),
        row(
            "to U",
            &|mark| level(mark, mark.to_u, mark.asked_u),
            numbers(&history.to_u),
        ),
        row("who", &who, String::new()).trim_end().to_owned(),
    ]
}

fn numbers(trips: &RoundTrips) -> String {
    format!(
        "{:>6} ms  loss {}",
        millis_or_dash(trips.last()),
        percent(trips.loss())
    )
}

/// From which round trip to which the signs of a timeline go.
#[derive(Debug, Clone, Copy)]
struct Scale {
    least: Duration,
    span: Duration,
}

impl Scale {
    /// One scale for A and U: they stand side by side to be compared. It spans a
    /// fifth of the longest round trip at the least, so that small differences look
    /// small; and it ends at the 95th percentile, so that the one packet for which a
    /// neighbour had to be found does not flatten all others.
    fn of(marks: &[Mark]) -> Self {
        let mut trips: Vec<Duration> = marks
            .iter()
            .flat_map(|mark| [mark.to_a, mark.to_u])
            .flatten()
            .collect();
        trips.sort_unstable();
        let rank = (trips.len() * 95).div_ceil(100).max(1) - 1;
        let (least, most) = (
            trips.first().copied().unwrap_or_default(),
            trips.get(rank).copied().unwrap_or_default(),
        );
        Scale {
            least,
            span: (most - least).max(most / 5),
        }
    }

    fn level(self, rtt: Duration) -> usize {
        let share = rtt.saturating_sub(self.least).as_secs_f64() / self.span.as_secs_f64();
        // A span of zero gives no number; then everything is on the ground.
        ((share * 8.0) as usize).min(7)
    }
}

/// A table with two lines for each responder: by way of A, and by its own address.
pub(crate) fn responders(brush: Brush, history: &History, whole: bool) -> String {
    let plain = |text: String| (text, Tone::Plain);
    let clock = |at: SystemTime| rfc3339(at)[11..19].to_owned();
    let trips = |to: &str, trips: &RoundTrips, loss: String| {
        let mut cells = vec![to.to_owned()];
        let numbers = [
            trips.min(),
            trips.mean(),
            trips.quantile(0.5),
            trips.quantile(0.99),
            trips.max(),
        ];
        cells.extend(numbers.into_iter().map(millis_or_dash));
        cells.push(loss);
        cells.into_iter().map(plain).collect::<Vec<_>>()
    };
    let seen = |responder: Option<&Responder>| match (whole, responder) {
        (false, _) => vec![],
        (true, None) => vec![plain(String::new()), plain(String::new())],
        (true, Some(r)) => vec![plain(clock(r.first)), plain(clock(r.last))],
    };
    let mut words = vec!["", "RESPONDER", "SHARE"];
    if whole {
        words.extend(["FIRST (UTC)", "LAST"]);
    }
    words.extend(["TO", "MIN", "AVG", "P50", "P99", "MAX", "LOSS"]);
    let mut rows = vec![headings(&words)];
    for (number, responder) in history.responders.iter().enumerate() {
        let tone = Tone::Responder(number);
        let mut row = vec![
            (letter(number).to_string(), tone),
            (responder.who.to_string(), tone),
            plain(percent(history.share(responder))),
        ];
        row.extend(seen(Some(responder)));
        // What was lost on the way to A was lost to nobody in particular.
        row.extend(trips("A", &responder.to_a, "-".to_owned()));
        rows.push(row);
        if responder.to_u.sent() > 0 {
            let mut row = vec![plain(String::new()); 3];
            row.extend(seen(None));
            row.extend(trips("U", &responder.to_u, percent(responder.to_u.loss())));
            rows.push(row);
        }
    }
    let mut row = vec![
        plain(String::new()),
        plain("all".to_owned()),
        plain(String::new()),
    ];
    row.extend(seen(None));
    row.extend(trips("A", &history.to_a, percent(history.to_a.loss())));
    rows.push(row);
    table(brush, &rows)
}

/// What is said at the end.
pub(crate) fn summary(brush: Brush, width: usize, title: &Title, history: &History) -> String {
    let mut text = brush.paint(
        Tone::Bold,
        &format!(
            "{}: {} rounds in {}, {} without an answer, {} of responder",
            title.what,
            history.rounds,
            humantime::format_duration(Duration::from_millis(
                history
                    .duration()
                    .as_millis()
                    .try_into()
                    .unwrap_or(u64::MAX)
            )),
            history.unanswered,
            changes(history.changes),
        ),
    );
    text.push('\n');
    for line in timeline(brush, width, history) {
        text.push_str(&line);
        text.push('\n');
    }
    text.push_str(&responders(brush, history, true));
    text
}

#[cfg(test)]
mod tests {
    use super::super::history::tests::{MS, round, u};
    use super::*;
    use crate::paint::columns;
    use proptest::prelude::*;

    const PLAIN: Brush = Brush {
        color: false,
        unicode: true,
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
www.any.test (2001:db8:a::53) is 2001:db8:52::2   every 200ms, for 9s, 10 rounds, 1 change

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
            let brush = Brush { color, unicode };
            for line in live(brush, width, &title(), &history, SystemTime::now()) {
                prop_assert!(columns(&line) <= width, "{} > {width}: {line}", columns(&line));
                prop_assert!(!line.contains('\n'));
            }
        }
    }
}
