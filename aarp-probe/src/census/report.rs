//! How the result of a census is told.

use std::net::Ipv6Addr;

use aarp_wire::probe::Method;
use serde_json::{Value, json};

use super::tally::Tally;
use crate::echo::Kind;
use crate::exit;
use crate::paint::{Brush, Tone, headings, table};
use crate::prometheus::{self, Metrics};
use crate::record::ms;
use crate::statistics::{millis_or_dash, percent, rounded};
use crate::target::Target;
use crate::who::Who;

/// The exit code.
pub(super) fn code(tally: &Tally) -> u8 {
    let any = |wanted: fn(&Who) -> bool| tally.responders.iter().any(|seen| wanted(&seen.who));
    if any(|who| matches!(who, Who::Unicast(_))) {
        exit::PINNED
    } else if any(|who| matches!(who, Who::Itself)) {
        exit::CANNOT_BE_PINNED
    } else if tally.responders.is_empty() {
        exit::NO_ANSWER
    } else {
        exit::UNTRUSTED
    }
}

/// For people.
pub(super) fn in_columns(brush: Brush, target: &Target, kind: Kind, tally: &Tally) -> String {
    let plural = |count: u64, what: &str| match count {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    };
    let mut text = format!(
        "{}: {} in {} ({}, {}, {}){}\n\n",
        brush.paint(Tone::Bold, &target.describe()),
        plural(tally.responders.len() as u64, "responder"),
        plural(tally.flows, "flow"),
        plural(tally.probes, "probe"),
        plural(tally.sources.len() as u64, "source address").replace("addresss", "addresses"),
        kind.name(),
        if tally.interrupted {
            ", interrupted"
        } else {
            ""
        },
    );
    let mut rows = vec![headings(&[
        "RESPONDER",
        "FLOWS",
        "SHARE",
        "",
        "MIN",
        "AVG",
        "MAX MS",
        "SOURCES",
    ])];
    for (number, seen) in tally.responders.iter().enumerate() {
        let plain = |text: String| (text, Tone::Plain);
        let share = tally.share(seen);
        let sign = if brush.unicode { "█" } else { "#" };
        rows.push(vec![
            (seen.who.to_string(), Tone::Responder(number)),
            plain(seen.flows.to_string()),
            plain(percent(Some(share))),
            (
                sign.repeat((share * 20.0).round() as usize),
                Tone::Responder(number),
            ),
            plain(millis_or_dash(seen.trips.min())),
            plain(millis_or_dash(seen.trips.mean())),
            plain(millis_or_dash(seen.trips.max())),
            plain(format!("{} of {}", seen.sources.len(), tally.sources.len())),
        ]);
    }
    if tally.responders.is_empty() {
        text.push_str(&brush.paint(Tone::Bad, "nobody answered\n"));
        return text;
    }
    text.push_str(&table(brush, &rows));
    let itself = tally.responders.iter().any(|seen| seen.who == Who::Itself);
    text.push_str(&format!(
        "\nlost {} of {}; the latest new responder was seen {} ago\n",
        tally.lost,
        plural(tally.probes, "probe"),
        plural(tally.since_new, "flow"),
    ));
    if itself {
        text.push_str("what answers from A itself cannot be told apart\n");
    } else {
        text.push_str(&format!(
            "one more with over {} of all flows would have been seen (95 % confidence)\n",
            percent(Some(tally.unseen_share())),
        ));
    }
    match (tally.repeated, tally.split) {
        (0, _) => {}
        (_, 0) => text.push_str("every flow stayed with its responder\n"),
        (of, split) => text.push_str(&brush.paint(
            Tone::Bad,
            &format!(
                "{split} of {of} flows did not stay with one responder: a router balances \
                 by packet, or routes moved\n"
            ),
        )),
    }
    text
}

/// The record.
pub(super) fn json(target: &Target, a: Ipv6Addr, kind: Kind, tally: &Tally) -> Value {
    let responders: Vec<Value> = tally
        .responders
        .iter()
        .map(|seen| {
            json!({
                "state": Who::state(Some(seen.who)),
                "unicast": seen.who.address(),
                "flows": seen.flows,
                "share": rounded(tally.share(seen)),
                "first_flow": seen.first,
                "answers": seen.trips.answered(),
                "min_ms": seen.trips.min().map(ms),
                "avg_ms": seen.trips.mean().map(ms),
                "max_ms": seen.trips.max().map(ms),
                "sources": seen.sources,
            })
        })
        .collect();
    let sources: Vec<Value> = tally
        .sources
        .iter()
        .map(|(source, flows, answered)| {
            json!({"source": source, "flows": flows, "answered": answered})
        })
        .collect();
    json!({
        "name": target.name,
        "anycast": a,
        "method": Method::Echo.name(),
        "socket": kind.name(),
        "flows": tally.flows,
        "flows_answered": tally.answered,
        "flows_split": tally.split,
        "flows_since_new": tally.since_new,
        "probes": tally.probes,
        "lost": tally.lost,
        "interrupted": tally.interrupted,
        "unseen_share_95": rounded(tally.unseen_share()),
        "responders": responders,
        "sources": sources,
    })
}

/// For Prometheus.
pub(super) fn metrics(target: &Target, a: Ipv6Addr, tally: &Tally) -> Metrics {
    let mut metrics = Metrics::default();
    let a = a.to_string();
    let base = [("name", target.name.as_str()), ("anycast", a.as_str())];
    for (name, help, value) in [
        (
            "aarp_probe_census_responders",
            "Responders seen.",
            tally.responders.len() as f64,
        ),
        (
            "aarp_probe_census_lost",
            "The share of probes that were lost.",
            tally.lost as f64 / tally.probes.max(1) as f64,
        ),
        (
            "aarp_probe_census_split_flows",
            "Flows that did not stay with one responder.",
            tally.split as f64,
        ),
    ] {
        metrics.gauge(name, help, &base, value);
    }
    for seen in &tally.responders {
        let who = seen
            .who
            .address()
            .map_or_else(|| a.clone(), |u| u.to_string());
        metrics.gauge(
            "aarp_probe_census_share",
            "The share of flows that a responder answered.",
            &[base[0], base[1], ("unicast", &who)],
            tally.share(seen),
        );
    }
    prometheus::timestamp(&mut metrics, "census");
    metrics
}
