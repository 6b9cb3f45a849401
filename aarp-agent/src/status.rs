//! `aarp-agent status`: what a running agent says of itself.

use std::io::{self, Write};
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aarp_core::binding::cache::{self, Binding};
use aarp_core::binding::keyring::NodeId;
use aarp_core::relay::Dropped;
use aarp_mobility::registrar::Why;
use comfy_table::{Table, presets};
use humantime::format_rfc3339_millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::counters::{Counters, Way};

/// The version of the records.
const SCHEMA: u32 = 1;

/// A record of the status.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub(crate) enum Record {
    /// The agent itself.
    Agent(Box<Agent>),
    /// One binding.
    Binding(Box<BindingRecord>),
}

/// The agent and what it has counted.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Agent {
    schema: u32,
    address: Ipv6Addr,
    since: String,
    authenticated: bool,
    interface: String,
    bindings: usize,
    /// The addresses that another node has on a link of this host.
    contested: Vec<Ipv6Addr>,
    updates: Updates,
    relayed: Relayed,
    /// Packets dropped on the way to responders, by the reason.
    dropped: BTreeMap<String, u64>,
    /// Packets dropped that came through a tunnel, by the reason.
    refused_from_tunnels: BTreeMap<String, u64>,
}

/// What came of the updates.
#[derive(Debug, Serialize, Deserialize)]
struct Updates {
    created: u64,
    refreshed: u64,
    moved: u64,
    deregistered: u64,
    expired: u64,
    /// By the status of the answer.
    refused: BTreeMap<String, u64>,
    /// Without an answer, by the reason.
    unanswered: BTreeMap<String, u64>,
    /// No updates that could be judged, and answered with a Binding Error or a
    /// Parameter Problem (RFC 6275 §9.2).
    complaints: u64,
    /// Packets that came too fast to be read.
    lost: u64,
}

/// What was relayed.
#[derive(Debug, Serialize, Deserialize)]
struct Relayed {
    to_responders: u64,
    to_responders_octets: u64,
    to_initiators: u64,
    to_initiators_octets: u64,
    errors_sent: u64,
    errors_limited: u64,
    path_errors: u64,
    not_sent: u64,
}

/// One binding.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct BindingRecord {
    schema: u32,
    anycast: Ipv6Addr,
    care_of: Ipv6Addr,
    /// The Mobile Node Identifier, if it was authenticated by one.
    responder: Option<String>,
    since: String,
    /// What is left of its lifetime, in milliseconds.
    remaining_ms: u64,
    lifetime_ms: u64,
    sequence: u16,
    updates: u64,
    packets_to_responder: u64,
    octets_to_responder: u64,
    packets_from_responder: u64,
    octets_from_responder: u64,
}

/// What became of the updates that changed nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judged {
    /// By the status of the answer: those of the cache, and those whose
    /// authentication failed before it was asked.
    pub(crate) refused: BTreeMap<u8, u64>,
    /// Without an answer, by the reason.
    pub(crate) unanswered: BTreeMap<Why, u64>,
    /// Answered with an error of the protocol's own.
    pub(crate) complaints: u64,
}

/// What a status is made of: copies, so that the relay does not wait while they are
/// made into records.
pub(crate) struct Source {
    pub(crate) address: Ipv6Addr,
    pub(crate) interface: &'static str,
    pub(crate) authenticated: bool,
    pub(crate) started: SystemTime,
    pub(crate) bindings: Vec<Binding>,
    pub(crate) contested: Vec<Ipv6Addr>,
    pub(crate) cache: cache::Counters,
    pub(crate) counters: Arc<Counters>,
    pub(crate) judged: Judged,
    pub(crate) lost: u64,
    /// The clock of the cache, and the same moment of the day.
    pub(crate) now: Duration,
    pub(crate) wall: SystemTime,
    /// The identities of the nodes, by their numbers.
    pub(crate) identities: Arc<[String]>,
}

impl Source {
    /// The records, one a line.
    pub(crate) fn render(&self) -> Vec<u8> {
        let mut lines = Vec::new();
        let agent = Record::Agent(Box::new(self.agent()));
        let bindings = self.bindings.iter().filter(|b| b.expiry() > self.now);
        let bindings = bindings.map(|b| Record::Binding(Box::new(self.binding(b))));
        for record in std::iter::once(agent).chain(bindings) {
            // Numbers, strings and addresses: none of them can fail.
            if serde_json::to_writer(&mut lines, &record).is_ok() {
                lines.push(b'\n');
            }
        }
        lines
    }

    fn agent(&self) -> Agent {
        let cache::Counters {
            created,
            refreshed,
            moved,
            deregistered,
            expired,
            refused: _,
            discarded: _,
        } = self.cache.clone();
        let counters = &self.counters;
        let dropped = |way| {
            let counts = Dropped::ALL.into_iter();
            let counts = counts.map(|why| (why.name().to_owned(), counters.of(way, why).get()));
            counts.filter(|(_, count)| *count > 0).collect()
        };
        Agent {
            schema: SCHEMA,
            address: self.address,
            since: format_rfc3339_millis(self.started).to_string(),
            authenticated: self.authenticated,
            interface: self.interface.to_owned(),
            bindings: self.bindings.len(),
            contested: self.contested.clone(),
            updates: Updates {
                created,
                refreshed,
                moved,
                deregistered,
                expired,
                refused: self
                    .judged
                    .refused
                    .iter()
                    .map(|(status, count)| (status.to_string(), *count))
                    .collect(),
                complaints: self.judged.complaints,
                unanswered: self
                    .judged
                    .unanswered
                    .iter()
                    .map(|(why, count)| (why.name().to_owned(), *count))
                    .collect(),
                lost: self.lost,
            },
            relayed: Relayed {
                to_responders: counters.encapsulated.get(),
                to_responders_octets: counters.encapsulated_octets.get(),
                to_initiators: counters.decapsulated.get(),
                to_initiators_octets: counters.decapsulated_octets.get(),
                errors_sent: counters.errors_sent.get(),
                errors_limited: counters.errors_limited.get(),
                path_errors: counters.path_errors.get(),
                not_sent: counters.not_sent.get(),
            },
            dropped: dropped(Way::Forward),
            refused_from_tunnels: dropped(Way::Reverse),
        }
    }

    fn binding(&self, binding: &Binding) -> BindingRecord {
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let age = self.now.saturating_sub(binding.since());
        let (to, from) = (binding.to_responder(), binding.from_responder());
        BindingRecord {
            schema: SCHEMA,
            anycast: binding.anycast(),
            care_of: binding.care_of(),
            responder: binding
                .node()
                .and_then(|NodeId(number)| self.identities.get(number as usize).cloned()),
            since: format_rfc3339_millis(self.wall.checked_sub(age).unwrap_or(UNIX_EPOCH))
                .to_string(),
            remaining_ms: milliseconds(binding.expiry().saturating_sub(self.now)),
            lifetime_ms: milliseconds(binding.lifetime().duration()),
            sequence: binding.sequence().0,
            updates: binding.updates(),
            packets_to_responder: to.packets,
            octets_to_responder: to.octets,
            packets_from_responder: from.packets,
            octets_from_responder: from.octets,
        }
    }
}

/// Prints the records for people.
pub(crate) fn print(lines: &[String], out: &mut impl Write) -> io::Result<()> {
    let mut bindings = Table::new();
    bindings.load_style(presets::NOTHING).set_header([
        "ANYCAST",
        "RESPONDER",
        "IDENTITY",
        "SINCE",
        "LEFT",
        "SEQUENCE",
        "PACKETS TO",
        "FROM",
    ]);
    let mut any = false;
    for line in lines {
        match serde_json::from_str(line).map_err(io::Error::other)? {
            Record::Agent(agent) => describe(&agent, out)?,
            Record::Binding(binding) => {
                any = true;
                bindings.add_row([
                    binding.anycast.to_string(),
                    binding.care_of.to_string(),
                    binding.responder.unwrap_or_else(|| "-".to_owned()),
                    binding.since,
                    format!("{} s", binding.remaining_ms / 1000),
                    binding.sequence.to_string(),
                    binding.packets_to_responder.to_string(),
                    binding.packets_from_responder.to_string(),
                ]);
            }
        }
    }
    match any {
        true => writeln!(out, "\n{}", bindings.trim_fmt()),
        false => writeln!(out, "\nno bindings"),
    }
}

fn describe(agent: &Agent, out: &mut impl Write) -> io::Result<()> {
    writeln!(
        out,
        "agent {} on {} since {}",
        agent.address, agent.interface, agent.since
    )?;
    if !agent.authenticated {
        writeln!(
            out,
            "WARNING: anybody may register: insecure_unauthenticated is set"
        )?;
    }
    for address in &agent.contested {
        writeln!(
            out,
            "WARNING: {address} belongs to another node on its link, and cannot be registered"
        )?;
    }
    let updates = &agent.updates;
    let refused: u64 = updates.refused.values().sum();
    let unanswered: u64 = updates.unanswered.values().sum();
    writeln!(
        out,
        "updates: {} created, {} refreshed, {} moved, {} deregistered, {} expired, {refused} refused, {unanswered} unanswered, {} lost",
        updates.created,
        updates.refreshed,
        updates.moved,
        updates.deregistered,
        updates.expired,
        updates.lost,
    )?;
    let relayed = &agent.relayed;
    writeln!(
        out,
        "relayed: {} packets to responders, {} to initiators, {} errors sent, {} not sent",
        relayed.to_responders, relayed.to_initiators, relayed.errors_sent, relayed.not_sent,
    )?;
    let reasons = |counts: &BTreeMap<String, u64>| {
        let counts: Vec<_> = counts.iter().map(|(why, n)| format!("{why} {n}")).collect();
        counts.join(", ")
    };
    if !agent.dropped.is_empty() {
        writeln!(out, "dropped: {}", reasons(&agent.dropped))?;
    }
    if !agent.refused_from_tunnels.is_empty() {
        writeln!(
            out,
            "refused from tunnels: {}",
            reasons(&agent.refused_from_tunnels)
        )?;
    }
    if !updates.refused.is_empty() {
        let counts: Vec<_> = updates
            .refused
            .iter()
            .map(|(s, n)| format!("status {s}: {n}"))
            .collect();
        writeln!(out, "updates refused: {}", counts.join(", "))?;
    }
    if !updates.unanswered.is_empty() {
        writeln!(out, "updates unanswered: {}", reasons(&updates.unanswered))?;
    }
    Ok(())
}
