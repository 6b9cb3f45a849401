//! What aarpd is doing, for people.

use std::time::{Duration, SystemTime};

use super::Snapshot;
use crate::cache;
use crate::mapper::plain;
use crate::paint::{self, Brush, Tone, headings};
use crate::resolve::tone;

/// The lines.
pub(super) fn lines(brush: Brush, snapshot: &Snapshot) -> Vec<String> {
    let mut lines = head(brush, snapshot);
    let sections = [
        used(brush, snapshot),
        changing(brush, snapshot),
        failing(brush, snapshot),
    ];
    for section in sections.into_iter().filter(|section| !section.is_empty()) {
        lines.push(String::new());
        lines.extend(section.lines().map(str::to_owned));
    }
    lines
}

fn head(brush: Brush, snapshot: &Snapshot) -> Vec<String> {
    let status = &snapshot.status;
    let up = status
        .since()
        .and_then(|since| SystemTime::now().duration_since(since).ok());
    let up = up.map_or_else(String::new, |up| {
        format!(
            ", up {}",
            humantime::format_duration(Duration::from_secs(up.as_secs()))
        )
    });
    let states: Vec<String> = status
        .mappings
        .iter()
        .map(|(state, count)| format!("{count} {}", plain(state)))
        .collect();
    let total: u64 = status.mappings.values().sum();
    let rates = &snapshot.rates;
    let over = match snapshot.is_recent {
        true => "since the last look",
        false => "since it was started",
    };
    vec![
        brush.paint(
            Tone::Bold,
            &format!("aarpd, process {}{up}, epoch {}", status.pid, status.epoch),
        ),
        format!(
            "mappings    {total} of {}: {}",
            status.capacity,
            states.join(", ")
        ),
        format!(
            "a second    {:.1} questions ({:.1} known, {:.1} shared, {:.1} refused), {:.1} uses, {:.1} \
             failures told; {over}",
            rates.requests, rates.hits, rates.joined, rates.refused, rates.used, rates.failures
        ),
        format!(
            "            {:.1} probes, {:.1} questions answered or given up",
            rates.probes, rates.answers
        ),
        format!(
            "programs    {:.1} connections a second, {} open, {} follow; {} wait for {} addresses being asked",
            rates.connections, status.clients, status.followers, status.waiters, status.open
        ),
        format!(
            "so far      responders changed {}, gone {}",
            status.changes, status.gone
        ),
    ]
}

fn used(brush: Brush, snapshot: &Snapshot) -> String {
    if snapshot.used.is_empty() {
        return String::new();
    }
    let mut titles = cache::view::HEADINGS;
    titles[0] = "MOST USED";
    let mut heading = headings(&titles[..7]);
    heading.extend(headings(&["USES"]));
    let rows = snapshot.used.iter().map(|used| {
        let mut row = cache::view::row(&used.mapping);
        row.truncate(7);
        row.push((used.uses.to_string(), Tone::Plain));
        row
    });
    paint::table(
        brush,
        &std::iter::once(heading).chain(rows).collect::<Vec<_>>(),
    )
}

fn changing(brush: Brush, snapshot: &Snapshot) -> String {
    if snapshot.changing.is_empty() {
        return String::new();
    }
    let address = |u: Option<std::net::Ipv6Addr>| {
        (
            u.map_or_else(|| "-".to_owned(), |u| u.to_string()),
            Tone::Plain,
        )
    };
    let rows = snapshot.changing.iter().map(|one| {
        vec![
            (one.anycast.to_string(), Tone::Plain),
            (one.changes.to_string(), Tone::Note),
            address(one.from),
            address(one.to),
            (one.last.clone(), Tone::Faint),
        ]
    });
    let heading = headings(&["CHANGING", "TIMES", "FROM", "TO", "LAST"]);
    paint::table(
        brush,
        &std::iter::once(heading).chain(rows).collect::<Vec<_>>(),
    )
}

fn failing(brush: Brush, snapshot: &Snapshot) -> String {
    if snapshot.failing.is_empty() {
        return String::new();
    }
    let rows = snapshot.failing.iter().map(|one| {
        let state = one.state.as_deref();
        vec![
            (one.anycast.to_string(), Tone::Plain),
            (
                state.unwrap_or("-").to_owned(),
                state.map_or(Tone::Plain, tone),
            ),
            (one.silent.to_string(), Tone::Plain),
            (one.failed.to_string(), Tone::Plain),
            (one.gone.to_string(), Tone::Plain),
            (
                one.last.clone().unwrap_or_else(|| "-".to_owned()),
                Tone::Faint,
            ),
        ]
    });
    let heading = headings(&["FAILING", "STATE", "SILENT", "FAILED", "GONE", "LAST"]);
    paint::table(
        brush,
        &std::iter::once(heading).chain(rows).collect::<Vec<_>>(),
    )
}
