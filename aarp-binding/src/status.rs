//! `aarp-binding status`: what a running sidecar says of itself.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aarp_core::relay::Dropped;
use aarp_mobility::registrant::Unheard;
use aarp_wire::mobility::Status;
use serde::{Deserialize, Serialize};

use crate::service::Service;
use crate::tunnel::Counters;

/// The version of the records.
const SCHEMA: u32 = 1;

/// A record of the status.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
enum Record {
    /// The tunnel's end, and what was counted there.
    Tunnel(Box<TunnelRecord>),
    /// One address at one agent.
    Registration(Box<RegistrationRecord>),
}

#[derive(Debug, Serialize, Deserialize)]
struct TunnelRecord {
    schema: u32,
    /// Packets given to the service.
    delivered: u64,
    /// Packets of the service's that went to agents.
    returned: u64,
    /// Answers to probes, which left from the unicast address.
    probe_answers: u64,
    not_sent: u64,
    path_errors: u64,
    /// Initiators that were offered route optimisation.
    offered: u64,
    /// Of these, those that refused it.
    offers_refused: u64,
    /// Packets from tunnels that were refused, by the reason.
    refused: BTreeMap<String, u64>,
    /// Packets of this host's that were dropped, by the reason.
    dropped: BTreeMap<String, u64>,
    /// Control messages that were not heard, by the reason.
    unheard: BTreeMap<String, u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct RegistrationRecord {
    schema: u32,
    anycast: Ipv6Addr,
    agent: Ipv6Addr,
    state: String,
    care_of: Option<Ipv6Addr>,
    /// What is left of the binding, as far as is known, in milliseconds.
    remaining_ms: Option<u64>,
    /// The status that the agent refused with, while it does.
    refused: Option<u8>,
    /// Updates in a row without an answer.
    unanswered: u32,
    /// When the next update is sent, in milliseconds.
    next_update_ms: Option<u64>,
    /// The number of the next update.
    sequence: u16,
    /// Whether the service is well: "up", "down" or "unknown".
    service: String,
    /// What aarp-responder on the same host says of it, where that is followed.
    responder: Option<String>,
    checks: Vec<CheckRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CheckRecord {
    check: String,
    state: String,
    reason: String,
    latency_ms: f64,
}

/// The records, one a line.
pub(crate) fn render(
    services: &[Service],
    counters: &Counters,
    unheard: &BTreeMap<Unheard, u64>,
    now: Duration,
) -> Vec<u8> {
    let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
    let by_reason = |counts: &[AtomicU64]| {
        let named = Dropped::ALL.iter().zip(counts);
        let named = named.map(|(why, count)| (why.name().to_owned(), get(count)));
        named.filter(|(_, count)| *count > 0).collect()
    };
    let tunnel = Record::Tunnel(Box::new(TunnelRecord {
        schema: SCHEMA,
        delivered: get(&counters.delivered),
        returned: get(&counters.returned),
        probe_answers: get(&counters.probe_answers),
        not_sent: get(&counters.not_sent),
        path_errors: get(&counters.path_errors),
        offered: get(&counters.asked),
        offers_refused: get(&counters.refusing),
        refused: by_reason(&counters.refused),
        dropped: by_reason(&counters.dropped),
        unheard: unheard
            .iter()
            .map(|(why, count)| (why.name().to_owned(), *count))
            .collect(),
    }));
    let mut records = vec![tunnel];
    for service in services {
        for registrant in &service.registrants {
            let registration = &registrant.registration;
            let left = registration
                .expiry()
                .map(|expiry| expiry.saturating_sub(now).as_millis());
            records.push(Record::Registration(Box::new(RegistrationRecord {
                schema: SCHEMA,
                anycast: registration.anycast(),
                agent: registrant.agent(),
                state: registration.state().to_string(),
                care_of: registration.care_of(),
                remaining_ms: left.and_then(|left| u64::try_from(left).ok()),
                refused: registration.refusal().map(|status| status.0),
                unanswered: registration.unanswered(),
                next_update_ms: registration
                    .next_update()
                    .and_then(|at| u64::try_from(at.saturating_sub(now).as_millis()).ok()),
                sequence: registration.upcoming().0,
                service: service.health().to_string(),
                responder: service.statement.as_ref().map(|s| s.condition.to_string()),
                checks: checks(service),
            })));
        }
    }
    let mut lines = Vec::new();
    for record in &records {
        // Numbers, strings and addresses: none of them can fail.
        if serde_json::to_writer(&mut lines, record).is_ok() {
            lines.push(b'\n');
        }
    }
    lines
}

fn checks(service: &Service) -> Vec<CheckRecord> {
    let Some(monitor) = &service.monitor else {
        return Vec::new();
    };
    let checks = monitor.status().into_iter().map(|check| CheckRecord {
        check: check.check,
        state: check.state.to_string(),
        reason: check.reason,
        // To the microsecond.
        latency_ms: (check.latency.as_secs_f64() * 1e6).round() / 1e3,
    });
    checks.collect()
}

/// Where a registration stands, and what comes next.
fn standing(record: &RegistrationRecord) -> String {
    let mut text = record.state.clone();
    // Of one that stands by, the address is registered nowhere.
    if let Some(care_of) = record.care_of.filter(|_| record.state != "standby") {
        text.push_str(&format!(" with {care_of}"));
    }
    if let Some(status) = record.refused {
        text.push_str(&format!(", status {}", Status(status)));
    }
    if record.unanswered > 1 {
        text.push_str(&format!(", {} updates not answered", record.unanswered));
    }
    if let Some(next) = record
        .next_update_ms
        .filter(|_| record.state != "registered")
    {
        text.push_str(&format!(", asks again in {} s", next.div_ceil(1000)));
    }
    text
}

/// Prints the records for people.
pub(crate) fn print(lines: &[String], out: &mut impl Write) -> io::Result<()> {
    for line in lines {
        match serde_json::from_str(line).map_err(io::Error::other)? {
            Record::Registration(record) => {
                let left = record
                    .remaining_ms
                    .map_or_else(String::new, |left| format!(", {} s left", left / 1000));
                let said = record
                    .responder
                    .as_ref()
                    .map_or_else(String::new, |said| format!(", {said} by aarp-responder"));
                writeln!(
                    out,
                    "{} at {}: {}{left}, service {}{said}",
                    record.anycast,
                    record.agent,
                    standing(&record),
                    record.service
                )?;
                for check in &record.checks {
                    writeln!(
                        out,
                        "    {}: {}, {} ({:.1} ms)",
                        check.check, check.state, check.reason, check.latency_ms
                    )?;
                }
            }
            Record::Tunnel(tunnel) => {
                writeln!(
                    out,
                    "tunnel: {} packets to the service, {} back, {} answers to probes, {} not sent",
                    tunnel.delivered, tunnel.returned, tunnel.probe_answers, tunnel.not_sent
                )?;
                if tunnel.offered > 0 {
                    writeln!(
                        out,
                        "route optimisation: offered to {} initiators, {} refused",
                        tunnel.offered, tunnel.offers_refused
                    )?;
                }
                for (what, counts) in [
                    ("refused from tunnels", &tunnel.refused),
                    ("dropped", &tunnel.dropped),
                    ("control messages not heard", &tunnel.unheard),
                ] {
                    if !counts.is_empty() {
                        let counts: Vec<_> =
                            counts.iter().map(|(why, n)| format!("{why} {n}")).collect();
                        writeln!(out, "{what}: {}", counts.join(", "))?;
                    }
                }
            }
        }
    }
    Ok(())
}
