//! Mappings for people.

use std::time::Duration;

use aarp_core::table::Entry;

use crate::mapper::mapping::Mapping;
use crate::paint::{self, Brush, Tone, headings};
use crate::resolve::tone;
use crate::statistics::millis;

pub(crate) const HEADINGS: [&str; 8] = [
    "ANYCAST", "UNICAST", "STATE", "RTT", "METHOD", "LEFT", "UNUSED", "FAILURES",
];

/// A line for each.
pub(super) fn table<'m>(brush: Brush, mappings: impl Iterator<Item = &'m Mapping>) -> String {
    let rows = std::iter::once(headings(&HEADINGS)).chain(mappings.map(row));
    paint::table(brush, &rows.collect::<Vec<_>>())
}

/// The cells under [`HEADINGS`].
pub(crate) fn row(mapping: &Mapping) -> Vec<(String, Tone)> {
    let plain = |text: String| (text, Tone::Plain);
    let failures = match mapping.failures {
        0 => plain("-".to_owned()),
        n => (n.to_string(), Tone::Bad),
    };
    vec![
        plain(mapping.anycast.to_string()),
        plain(
            mapping
                .unicast
                .map_or_else(|| "-".to_owned(), |u| u.to_string()),
        ),
        (mapping.state.to_string(), tone(&mapping.state)),
        plain(rtt(mapping)),
        plain(mapping.method.to_string()),
        plain(seconds(mapping.remaining_ms)),
        plain(seconds(mapping.unused_ms)),
        failures,
    ]
}

fn rtt(mapping: &Mapping) -> String {
    match mapping.rtt_ms {
        // A Duration cannot be made of any number.
        Some(ms) => Duration::try_from_secs_f64(ms / 1e3)
            .map_or_else(|_| "-".to_owned(), |rtt| format!("{} ms", millis(rtt))),
        None => "-".to_owned(),
    }
}

/// A time in whole seconds, so that a column can be read downwards.
pub(crate) fn seconds(ms: u64) -> String {
    humantime::format_duration(Duration::from_secs(ms / 1000)).to_string()
}

/// One, with everything.
pub(super) fn one(brush: Brush, what: &str, mapping: &Mapping, entry: Option<&Entry>) -> String {
    let mut rows = vec![
        ("state", mapping.state.to_string(), tone(&mapping.state)),
        ("answered by", or_nobody(mapping), Tone::Plain),
        ("asked by", mapping.method.to_string(), Tone::Plain),
        ("round trip", rtt(mapping), Tone::Plain),
        ("holds for", seconds(mapping.remaining_ms), Tone::Plain),
        (
            "last used",
            format!("{} ago, as far as was told", seconds(mapping.unused_ms)),
            Tone::Plain,
        ),
        (
            "silent",
            format!("{} times in a row", mapping.failures),
            Tone::Plain,
        ),
    ];
    if let Some(entry) = entry {
        let due = match entry.due {
            0 => "never: who needs it after its end asks".to_owned(),
            due => format!("in the last {}, if it is used", seconds(due.into())),
        };
        rows.push(("refreshed", due, Tone::Plain));
        rows.push((
            "epoch",
            format!("{} (its last 8 bits)", entry.epoch),
            Tone::Plain,
        ));
    }
    let cells = rows
        .into_iter()
        .map(|(name, value, tone)| vec![(format!("  {name}"), Tone::Plain), (value, tone)]);
    let table = paint::table(brush, &cells.collect::<Vec<_>>());
    format!("{}\n{table}", brush.paint(Tone::Bold, what))
}

fn or_nobody(mapping: &Mapping) -> String {
    match (mapping.unicast, mapping.state.as_ref()) {
        (Some(u), _) => u.to_string(),
        (None, "direct") => "itself".to_owned(),
        (None, _) => "nobody".to_owned(),
    }
}
