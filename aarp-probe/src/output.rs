//! What is printed: a table for people, records for programs.

use std::io::{self, Write};
use std::net::Ipv6Addr;
use std::time::{Duration, SystemTime};

use aarp_core::mapping::Answer;
use aarp_core::probing::Ignored;
use aarp_sys::ask::AskError;
use serde::Serialize;

use crate::resolve::Outcome;

/// One address and what became of it.
pub(crate) struct Row {
    /// The destination as it was given.
    pub(crate) name: String,
    /// The address, when there is one.
    pub(crate) address: Option<Ipv6Addr>,
    /// What became of it.
    pub(crate) outcome: Outcome,
}

/// The record of one address; `docs/json.md` has the fields.
#[derive(Debug, Serialize)]
struct Record<'r> {
    schema: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    time: String,
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
}

impl Row {
    /// The state, by the names of logs and metrics.
    fn state(&self) -> &'static str {
        match &self.outcome {
            Outcome::Asked(report) => match report.answer {
                Answer::Pinned { .. } => "pinned",
                Answer::Direct { .. } => "direct",
                Answer::Untrusted { .. } => "untrusted",
                Answer::None { .. } => "unanswered",
            },
            Outcome::NotAsked(AskError::NoRoute) | Outcome::NoAddress(_) => "unanswered",
            Outcome::NotAsked(_) | Outcome::Ineligible(_) => "bypass",
        }
    }

    /// The unicast address that answered, be it accepted or not.
    fn unicast(&self) -> Option<Ipv6Addr> {
        match &self.outcome {
            Outcome::Asked(report) => match report.answer {
                Answer::Pinned { u, .. } | Answer::Untrusted { u } => Some(u),
                Answer::Direct { .. } | Answer::None { .. } => None,
            },
            _ => None,
        }
    }

    fn rtt(&self) -> Option<Duration> {
        match &self.outcome {
            Outcome::Asked(report) => match report.answer {
                Answer::Pinned { rtt, .. } | Answer::Direct { rtt } => Some(rtt),
                Answer::Untrusted { .. } | Answer::None { .. } => None,
            },
            _ => None,
        }
    }

    /// Why it is as it is, where the state alone does not say.
    fn reason(&self) -> Option<String> {
        match &self.outcome {
            Outcome::Asked(report) => match (report.answer, report.refused) {
                (Answer::Untrusted { .. }, Some((_, refusal))) => Some(refusal.to_string()),
                (Answer::Direct { .. }, _) => {
                    Some("it answers itself: unicast, or without a responder".to_owned())
                }
                (Answer::None { .. }, _) if report.unreachable => {
                    Some("the network says that it is unreachable".to_owned())
                }
                _ => None,
            },
            Outcome::NotAsked(AskError::NotPermitted) => Some(
                "neither ping sockets (sysctl net.ipv4.ping_group_range) nor raw sockets \
                 (CAP_NET_RAW) are permitted"
                    .to_owned(),
            ),
            Outcome::NotAsked(error) => Some(error.to_string()),
            Outcome::Ineligible(what) => Some((*what).to_owned()),
            Outcome::NoAddress(error) => Some(error.clone()),
        }
    }

    fn record(&self) -> Record<'_> {
        let report = match &self.outcome {
            Outcome::Asked(report) => Some(report),
            _ => None,
        };
        let mut ignored = serde_json::Map::new();
        for reason in Ignored::ALL {
            let count = report.map_or(0, |report| report.ignored[reason as usize]);
            if count > 0 {
                ignored.insert(reason.name().to_owned(), count.into());
            }
        }
        Record {
            schema: 1,
            kind: "resolve",
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            name: &self.name,
            anycast: self.address,
            state: self.state(),
            unicast: self.unicast(),
            rtt_ms: self.rtt().map(|rtt| rtt.as_secs_f64() * 1000.0),
            method: report.map(|report| report.method.name()),
            socket: report.map(|report| report.socket.name()),
            probes: report.map_or(0, |report| report.sent),
            ignored,
            reason: self.reason(),
        }
    }
}

/// One record a line.
pub(crate) fn json(to: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    for row in rows {
        serde_json::to_writer(&mut *to, &row.record())?;
        writeln!(to)?;
    }
    to.flush()
}

/// A table with columns as wide as they need to be.
pub(crate) fn table(to: &mut impl Write, rows: &[Row]) -> io::Result<()> {
    let mut lines =
        vec![["ANYCAST", "UNICAST", "STATE", "RTT", "METHOD", "NOTE"].map(String::from)];
    for row in rows {
        let address = row
            .address
            .map_or_else(|| row.name.clone(), |address| address.to_string());
        let named = address != row.name && row.address.is_some();
        let note = [named.then(|| row.name.clone()), row.reason()];
        lines.push([
            address,
            row.unicast()
                .map_or_else(|| "-".to_owned(), |unicast| unicast.to_string()),
            row.state().to_owned(),
            row.rtt().map_or_else(
                || "-".to_owned(),
                |rtt| format!("{:.3} ms", rtt.as_secs_f64() * 1e3),
            ),
            match &row.outcome {
                Outcome::Asked(report) => report.method.name().to_owned(),
                _ => "-".to_owned(),
            },
            note.into_iter().flatten().collect::<Vec<_>>().join(": "),
        ]);
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..6).map(|column| width(column).unwrap_or(0)).collect();
    for line in &lines {
        let mut text = String::new();
        for (cell, width) in line.iter().zip(&widths) {
            text.push_str(&format!("{cell:<width$}  "));
        }
        writeln!(to, "{}", text.trim_end())?;
    }
    to.flush()
}
