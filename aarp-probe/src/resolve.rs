//! `aarp-probe resolve`: asks once, and says who answered.

use std::io::{Write, stdout};
use std::net::Ipv6Addr;
use std::time::{Duration, Instant, SystemTime};

use aarp_core::bypass::Bypass;
use aarp_core::probing::Ignored;
use aarp_core::settings::Settings;
use serde::Serialize;

use crate::exit;
use crate::options::{Asking, Output, count, interval};
use crate::paint::{Brush, Tone, columns, headings, table_after};
use crate::prometheus::{self, Metrics};
use crate::question::{Asker, Outcome, in_words, not_asked_by_library, too_late};
use crate::record::{self, ms};
use crate::statistics::millis;
use crate::target::{Target, targets};

/// Options of `aarp-probe resolve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// IPv6 addresses, or names that have some
    #[arg(required = true, value_name = "ADDR|NAME")]
    destinations: Vec<String>,
    #[command(flatten)]
    asking: Asking,
    /// Ask so many times
    #[arg(long, short, value_name = "N", default_value_t = 1, env = "AARP_PROBE_COUNT",
          value_parser = count)]
    count: u64,
    /// The time from one question to the next
    #[arg(long, short, value_name = "TIME", default_value = "1s", value_parser = interval,
          env = "AARP_PROBE_INTERVAL")]
    interval: Duration,
    #[command(flatten)]
    output: Output,
}

/// One address and what became of it.
struct Row {
    target: Target,
    outcome: Outcome,
    /// Why the library, by its configuration, would not ask or not wait so long.
    library: Option<Bypass>,
    /// How long it would wait, where that was not long enough.
    late: Option<Duration>,
}

/// The record of one address; `docs/json.md` has the fields.
#[derive(Debug, Serialize)]
pub(crate) struct Record<'r> {
    name: &'r str,
    anycast: Option<Ipv6Addr>,
    state: &'static str,
    unicast: Option<Ipv6Addr>,
    rtt_ms: Option<f64>,
    method: Option<&'static str>,
    socket: Option<&'static str>,
    probes: u32,
    ignored: serde_json::Map<String, serde_json::Value>,
    reason: Option<String>,
    bypass: Option<&'static str>,
    library_bypass: Option<&'static str>,
}

impl<'r> Record<'r> {
    /// What became of a destination.
    pub(crate) fn new(target: &'r Target, outcome: &Outcome, library: Option<Bypass>) -> Self {
        let report = outcome.report();
        let mut ignored = serde_json::Map::new();
        for reason in Ignored::ALL {
            let count = report.map_or(0, |report| report.ignored[reason as usize]);
            if count > 0 {
                ignored.insert(reason.name().to_owned(), count.into());
            }
        }
        Record {
            name: &target.name,
            anycast: target.address.clone().ok(),
            state: outcome.state(),
            unicast: outcome.unicast(),
            rtt_ms: outcome.rtt().map(ms),
            method: report.map(|report| report.method.name()),
            socket: report.map(|report| report.socket.name()),
            probes: report.map_or(0, |report| report.sent),
            ignored,
            reason: outcome.reason(),
            bypass: outcome.bypass().map(Bypass::name),
            library_bypass: library.map(Bypass::name),
        }
    }
}

/// Asks, prints, and returns the exit code.
pub(crate) fn run(arguments: &Arguments, settings: &Settings, brush: Brush) -> anyhow::Result<u8> {
    let asker = Asker::new(settings, &arguments.asking);
    let targets: Vec<Target> = arguments
        .destinations
        .iter()
        .flat_map(|text| targets(text))
        .collect();
    let mut codes = Vec::new();
    let mut due = Instant::now();
    let mut widths = Vec::new();
    for round in 0..arguments.count {
        if round > 0 {
            due += arguments.interval;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let rows = ask_all(asker, &targets);
        codes.extend(rows.iter().map(|row| row.outcome.code()));
        if arguments.output.json {
            print_records(&rows)?;
        } else {
            // Of several rounds each has its time, and they have one heading.
            let time = (arguments.count > 1).then(SystemTime::now);
            let text = in_columns(brush, &rows, time, round == 0, &mut widths);
            let mut stdout = stdout().lock();
            stdout.write_all(text.as_bytes())?;
            stdout.flush()?;
        }
        if let Some(path) = &arguments.output.prom_textfile {
            metrics(&rows).write(path)?;
        }
    }
    Ok(exit::overall(codes.into_iter()))
}

/// All at once: addresses that are silent cost one timeout, not one each.
fn ask_all(asker: Asker<'_>, targets: &[Target]) -> Vec<Row> {
    let answer = |target: &Target| {
        let (outcome, library, late) = match &target.address {
            Ok(a) => {
                let outcome = asker.ask(*a);
                let late = too_late(asker.settings, *a, &outcome);
                (outcome, not_asked_by_library(asker.settings, *a), late)
            }
            Err(error) => (Outcome::NoAddress(error.clone()), None, None),
        };
        Row {
            target: target.clone(),
            outcome,
            library: library.or(late.map(|_| Bypass::Budget)),
            late,
        }
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = targets
            .iter()
            .map(|target| scope.spawn(move || answer(target)))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("asking does not panic"))
            .collect()
    })
}

fn print_records(rows: &[Row]) -> std::io::Result<()> {
    let mut stdout = stdout().lock();
    for row in rows {
        let record = Record::new(&row.target, &row.outcome, row.library);
        record::write(&mut stdout, "resolve", SystemTime::now(), &record)?;
    }
    Ok(())
}

/// A table for people. The columns are those of the tables before, `widths`, or wider.
fn in_columns(
    brush: Brush,
    rows: &[Row],
    time: Option<SystemTime>,
    heading: bool,
    widths: &mut Vec<usize>,
) -> String {
    let mut lines = Vec::new();
    let mut notes = Vec::new();
    if heading {
        let timed: &[&str] = if time.is_some() { &["TIME"] } else { &[] };
        let words = ["ANYCAST", "UNICAST", "STATE", "RTT", "METHOD"];
        lines.push(headings(&[timed, &words].concat()));
        notes.push(brush.paint(Tone::Bold, "NOTE"));
    }
    let dash = || "-".to_owned();
    for row in rows {
        let Row {
            target, outcome, ..
        } = row;
        let address = target.address.as_ref().map(Ipv6Addr::to_string);
        let address = address.unwrap_or_else(|_| target.name.clone());
        // For an address of this host or the link it is all the same reason.
        let library = row.library.filter(|_| outcome.report().is_some());
        let row_notes = [
            (address != target.name).then(|| target.name.clone()),
            outcome.reason(),
            library.map(
                |bypass| match row.late.filter(|_| bypass == Bypass::Budget) {
                    Some(budget) => format!(
                        "too late: the library would wait {} for it",
                        humantime::format_duration(budget)
                    ),
                    None => in_words(bypass).to_owned(),
                },
            ),
        ];
        let tone = tone(outcome.state());
        let plain = |text: String| (text, Tone::Plain);
        let time = time.map(|time| (record::rfc3339(time), Tone::Faint));
        let mut line: Vec<_> = time.into_iter().collect();
        line.extend([
            plain(address),
            plain(outcome.unicast().map_or_else(dash, |u| u.to_string())),
            (outcome.state().to_owned(), tone),
            plain(
                outcome
                    .rtt()
                    .map_or_else(dash, |rtt| format!("{} ms", millis(rtt))),
            ),
            plain(
                outcome
                    .report()
                    .map_or_else(dash, |report| report.method.name().to_owned()),
            ),
        ]);
        notes.push(
            row_notes
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("; "),
        );
        lines.push(line);
    }
    let table = table_after(brush, &lines, widths);
    let widest = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
    with_notes(brush, &table, widest, &notes)
}

/// The lines of a table, whose columns take `widest` together, each with its note:
/// behind it, or where the terminal has no room for that, below.
fn with_notes(brush: Brush, table: &str, widest: usize, notes: &[String]) -> String {
    let mut text = String::new();
    for (line, note) in table.lines().zip(notes) {
        let whole = widest + 2 + columns(note);
        let below = brush.width.is_some_and(|width| whole > width);
        if note.is_empty() {
            text.push_str(line);
        } else if below {
            let note = brush.wrapped(&format!("    {note}"), 4);
            text.push_str(&format!("{line}\n{note}"));
        } else {
            let gap = " ".repeat(widest + 2 - columns(line));
            text.push_str(&format!("{line}{gap}{note}"));
        }
        text.push('\n');
    }
    text
}

/// How a state looks.
pub(crate) fn tone(state: &str) -> Tone {
    match state {
        "pinned" => Tone::Good,
        "direct" | "bypass" => Tone::Note,
        _ => Tone::Bad,
    }
}

const STATES: [&str; 5] = ["pinned", "direct", "unanswered", "untrusted", "bypass"];

fn metrics(rows: &[Row]) -> Metrics {
    let mut metrics = Metrics::default();
    for row in rows {
        let a = row.target.address.as_ref().map(Ipv6Addr::to_string);
        let a = a.unwrap_or_default();
        let labels = [("name", row.target.name.as_str()), ("anycast", a.as_str())];
        for state in STATES {
            metrics.gauge(
                "aarp_probe_state",
                "1 for the state of the destination, 0 for the others.",
                &[labels[0], labels[1], ("state", state)],
                f64::from(u8::from(row.outcome.state() == state)),
            );
        }
        let u = row.outcome.unicast().map(|u| u.to_string());
        if let (Some(u), Some(rtt)) = (u, row.outcome.rtt()) {
            metrics.gauge(
                "aarp_probe_rtt_seconds",
                "The round trip of the answer, by the unicast address that gave it.",
                &[labels[0], labels[1], ("unicast", &u)],
                rtt.as_secs_f64(),
            );
        }
    }
    prometheus::timestamp(&mut metrics, "resolve");
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_that_have_no_room_stand_below() {
        let brush = |width| Brush {
            color: false,
            unicode: true,
            width,
        };
        let notes = ["NOTE".to_owned(), "a word or two".to_owned(), String::new()];
        let table = "A    RTT\nx    1 ms\nyyy\n";
        assert_eq!(
            with_notes(brush(None), table, 9, &notes),
            "A    RTT   NOTE\nx    1 ms  a word or two\nyyy\n"
        );
        assert_eq!(
            with_notes(brush(Some(23)), table, 9, &notes),
            "A    RTT   NOTE\nx    1 ms\n    a word or two\nyyy\n"
        );
    }
}
