//! `aarp-responder status`: what is owned here, by what the kernel says.

use std::io::Write;
use std::net::Ipv6Addr;
use std::path::Path;

use serde::Serialize;

use crate::config::Recipe;
use crate::host::Host;
use crate::ruleset::{self, Answer, Observed, TABLE};
use crate::rundir::{RunDir, is_alive};
use crate::state::{Record, SCHEMA};
use aarp_host::failure::{Failure, code};
use aarp_host::inventory::Inventory;
use aarp_host::privilege;

/// One record of the output.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Report {
    schema: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    anycast: Ipv6Addr,
    unicast: Option<Ipv6Addr>,
    interface: Option<String>,
    recipe: Option<Recipe>,
    answer: Option<Answer>,
    pid: Option<u32>,
    since: Option<String>,
    running: bool,
    address_in_place: bool,
    unicast_in_place: bool,
    rules_in_place: bool,
    ok: bool,
    problems: Vec<String>,
}

/// Prints the state of every A; the exit status.
pub(crate) fn status(run_dir: &Path, json: bool, out: &mut impl Write) -> Result<u8, Failure> {
    privilege::require_net_admin()?;
    let host = Host::find()?;
    let records = RunDir::locate(run_dir)?.records()?;
    let inventory = host.inventory()?;
    let observed = host.observe()?.unwrap_or_default();
    let reports = reports(&records, &inventory, &observed);
    for report in &reports {
        let line = if json {
            serde_json::to_string(report).map_err(|e| Failure::system("encode the status", e))?
        } else {
            describe(report)
        };
        writeln!(out, "{line}").map_err(|e| Failure::system("write", e))?;
    }
    Ok(if reports.is_empty() {
        eprintln!("aarp-responder: no address is owned here");
        code::UNAVAILABLE
    } else {
        u8::from(!reports.iter().all(|r| r.ok))
    })
}

fn reports(
    records: &[(Ipv6Addr, Option<Record>)],
    inventory: &Inventory,
    observed: &Observed,
) -> Vec<Report> {
    let mut reports: Vec<Report> = records
        .iter()
        .map(|(anycast, record)| report(*anycast, record.as_ref(), inventory, observed))
        .collect();
    // What is in the kernel and in no record: another run directory, or a crash
    // whose record was lost.
    let marked = inventory.addresses.iter().filter(|a| a.is_marked());
    let chains = observed.chains.iter();
    let mut strays: Vec<Ipv6Addr> = marked
        .map(|a| a.address)
        .chain(chains.filter_map(|c| ruleset::anycast_of(&c.name)))
        .filter(|a| records.iter().all(|(known, _)| known != a))
        .collect();
    strays.sort();
    strays.dedup();
    reports.extend(
        strays
            .into_iter()
            .map(|anycast| report(anycast, None, inventory, observed)),
    );
    reports
}

fn report(
    anycast: Ipv6Addr,
    record: Option<&Record>,
    inventory: &Inventory,
    observed: &Observed,
) -> Report {
    let running = record.is_some_and(|r| is_alive(r.process));
    let unicast = record.and_then(|r| r.unicast);
    let address_in_place = inventory.usable(anycast).is_some();
    let unicast_in_place = unicast.is_some_and(|u| inventory.usable(u).is_some());
    let rules_in_place = record.is_some_and(|r| observed.is_in_place(anycast, r.unicast, r.answer));
    let mut problems = Vec::new();
    if running {
        if !address_in_place {
            problems.push(format!("{anycast} is no usable address of this host"));
        }
        match unicast {
            None => problems.push(
                "no unicast address to answer from: probes are answered from the anycast address"
                    .to_owned(),
            ),
            Some(u) if !unicast_in_place => {
                problems.push(format!("{u} is no usable address of this host"))
            }
            Some(_) => {}
        }
        if !rules_in_place {
            problems.push(format!(
                "the rules in table inet {TABLE} are not what they should be"
            ));
        }
    } else {
        let who = record.map_or_else(
            || "an unknown instance".to_owned(),
            |r| format!("process {}, which is no more", r.process.pid),
        );
        let mut left = vec![format!("left by {who}")];
        if inventory.has_marked(anycast) {
            left.push(format!("ip -6 addr del {anycast}/128 dev lo"));
        }
        if observed.chain(anycast).is_some() {
            left.push(format!(
                "nft delete chain inet {TABLE} {}",
                ruleset::chain(anycast)
            ));
        }
        problems.push(format!(
            "{} (or start it again)",
            left.join("; remove with: ")
        ));
    }
    Report {
        schema: SCHEMA,
        kind: if running { "responder" } else { "leftover" },
        anycast,
        unicast,
        interface: record.and_then(|r| r.interface.clone()),
        recipe: record.map(|r| r.recipe),
        answer: record.map(|r| r.answer),
        pid: record.map(|r| r.process.pid),
        since: record.map(|r| r.since.clone()),
        running,
        address_in_place,
        unicast_in_place,
        rules_in_place,
        ok: problems.is_empty(),
        problems,
    }
}

fn describe(report: &Report) -> String {
    let unicast = report
        .unicast
        .map_or_else(|| "-".to_owned(), |u| u.to_string());
    let answer = match report.answer {
        Some(Answer::Probes) => "probes",
        Some(Answer::All) => "all",
        None => "-",
    };
    let process = match (report.pid, &report.since) {
        (Some(pid), Some(since)) if report.running => format!("pid {pid} since {since}"),
        _ => "not running".to_owned(),
    };
    let verdict = if report.ok {
        "ok".to_owned()
    } else {
        report.problems.join("; ")
    };
    format!(
        "{} -> {unicast}  {answer}  {process}  {verdict}",
        report.anycast
    )
}
