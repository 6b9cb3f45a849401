//! How a history looks, as text of a given width: a timeline, and a table.

use std::time::{Duration, SystemTime};

use super::history::{Event, History, Mark, letter};
use crate::paint::{Brush, Tone, columns, cut, headings, table, wrap};
use crate::record::rfc3339;
use crate::statistics::{RoundTrips, millis, millis_or_dash, percent};
use crate::who::Who;

/// Columns of the label in front of a timeline, and of the numbers behind it: all of
/// them, or the round trip alone.
const LABEL: usize = 6;
const NUMBERS: usize = 30;
const TRIP: usize = 11;
/// Columns that a timeline has at the least before it gives up its numbers.
const STRIP: usize = 10;

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
    let mut lines = vec![heading(brush, width, title, history, now), String::new()];
    lines.extend(timeline(brush, width, history));
    lines.push(String::new());
    lines.extend(responders(brush, history, width).lines().map(str::to_owned));
    lines.push(brush.paint(Tone::Faint, "Ctrl-C ends it with a summary"));
    lines.iter().map(|line| cut(line, width)).collect()
}

/// What matters most comes first, and what has no room is left out.
fn heading(
    brush: Brush,
    width: usize,
    title: &Title,
    history: &History,
    now: SystemTime,
) -> String {
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
    let bold = |text: &str| brush.paint(Tone::Bold, text);
    let whole = format!("{} is {present}", bold(&title.what));
    // Without the address that the name has, without the name.
    let (name, _) = title.what.split_once(" (").unwrap_or((&title.what, ""));
    let mut line = [whole, format!("{} is {present}", bold(name))]
        .into_iter()
        .find(|line| columns(line) <= width)
        .unwrap_or(present);
    let more = [
        changes(history.changes),
        format!("{} rounds", history.rounds),
        format!("for {}", humantime::format_duration(watched)),
        format!("every {}", humantime::format_duration(title.interval)),
    ];
    for (number, more) in more.iter().enumerate() {
        let longer = format!("{line}{}{more}", if number == 0 { "   " } else { ", " });
        if columns(&longer) > width {
            break;
        }
        line = longer;
    }
    line
}

fn changes(count: u64) -> String {
    match count {
        1 => "1 change".to_owned(),
        n => format!("{n} changes"),
    }
}

/// Three rows, one column a round: how long A took, how long U took, and who it was.
pub(crate) fn timeline(brush: Brush, width: usize, history: &History) -> Vec<String> {
    // A number that is cut would be another number.
    let numbered = [NUMBERS, TRIP]
        .into_iter()
        .find(|numbers| width >= LABEL + numbers + STRIP)
        .unwrap_or(0);
    let room = width.saturating_sub(LABEL + numbered).max(1);
    let numbers = |trips: &RoundTrips| match numbered {
        NUMBERS => format!("  {}", numbers(trips)),
        TRIP => format!("  {:>6} ms", millis_or_dash(trips.last())),
        _ => String::new(),
    };
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
        format!("{line}{numbers}")
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
            match history.own_forbidden {
                true if numbered == NUMBERS => "  echo is not permitted".to_owned(),
                true => String::new(),
                false => numbers(&history.to_u),
            },
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

/// Columns of the table that go where there is no room, the first first.
const LESS: [&[&str]; 7] = [
    &["FIRST (UTC)", "LAST"],
    &["AVG"],
    &["P99"],
    &["MIN"],
    &["MAX"],
    &["SHARE"],
    &["LOSS"],
];

/// A table with two lines for each responder: by way of A, and by its own address. No
/// wider than `width`, as far as whole columns can be left out.
pub(crate) fn responders(brush: Brush, history: &History, width: usize) -> String {
    let mut rows = rows(history);
    for less in LESS {
        let text = table(brush, &rows);
        if text.lines().all(|line| columns(line) <= width) {
            return text;
        }
        let gone: Vec<usize> = (0..rows[0].len())
            .filter(|place| less.contains(&rows[0][*place].0.as_str()))
            .collect();
        for row in &mut rows {
            for place in gone.iter().rev() {
                row.remove(*place);
            }
        }
    }
    table(brush, &rows)
}

/// The whole of that table.
fn rows(history: &History) -> Vec<Vec<(String, Tone)>> {
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
    let mut rows = vec![headings(&[
        "",
        "RESPONDER",
        "SHARE",
        "FIRST (UTC)",
        "LAST",
        "TO",
        "MIN",
        "AVG",
        "P50",
        "P99",
        "MAX",
        "LOSS",
    ])];
    let blank = |count| vec![plain(String::new()); count];
    for (number, responder) in history.responders.iter().enumerate() {
        let tone = Tone::Responder(number);
        let mut row = vec![
            (letter(number).to_string(), tone),
            (responder.who.to_string(), tone),
            plain(percent(history.share(responder))),
            plain(clock(responder.first)),
            plain(clock(responder.last)),
        ];
        // What was lost on the way to A was lost to nobody in particular.
        row.extend(trips("A", &responder.to_a, "-".to_owned()));
        rows.push(row);
        if responder.to_u.sent() > 0 {
            let mut row = blank(5);
            row.extend(trips("U", &responder.to_u, percent(responder.to_u.loss())));
            rows.push(row);
        }
    }
    let mut row = blank(5);
    row[1] = plain("all".to_owned());
    row.extend(trips("A", &history.to_a, percent(history.to_a.loss())));
    rows.push(row);
    rows
}

/// Columns of a timeline that goes elsewhere than to a terminal.
const ELSEWHERE: usize = 100;

/// What is said at the end; on a terminal, in lines no wider than it.
pub(crate) fn summary(
    brush: Brush,
    width: Option<usize>,
    title: &Title,
    history: &History,
) -> String {
    let all = width.unwrap_or(usize::MAX);
    let watched = history.duration().as_millis();
    let watched = Duration::from_millis(watched.try_into().unwrap_or(u64::MAX));
    let heading = format!(
        "{}: {} rounds in {}, {} without an answer, {} of responder",
        title.what,
        history.rounds,
        humantime::format_duration(watched),
        history.unanswered,
        changes(history.changes),
    );
    let mut text = String::new();
    for line in wrap(&heading, all, 2) {
        text.push_str(&brush.paint(Tone::Bold, &line));
        text.push('\n');
    }
    for line in timeline(brush, width.unwrap_or(ELSEWHERE), history) {
        text.push_str(&line);
        text.push('\n');
    }
    text.push_str(&responders(brush, history, all));
    text
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;
