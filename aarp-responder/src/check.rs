//! `aarp-responder check`: services that do not fit the anycast address.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::Ipv6Addr;
use std::path::Path;

use serde::Serialize;

use crate::config::Spec;
use crate::rundir::{RunDir, is_alive};
use crate::services::{Finding, Kind, Listener, Protocol, examine, parse};
use crate::state::SCHEMA;
use aarp_host::choice;
use aarp_host::failure::Failure;
use aarp_host::inventory::Inventory;
use aarp_host::tool::Tool;

/// A process that holds a socket.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Holder {
    pid: u32,
    name: String,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    #[serde(rename = "type")]
    record: &'static str,
    kind: Kind,
    protocol: Protocol,
    address: Ipv6Addr,
    port: u16,
    anycast: Ipv6Addr,
    unicast: Option<Ipv6Addr>,
    processes: &'a [Holder],
    text: String,
}

/// The A that run here now; none if that cannot be seen.
pub(crate) fn running(run_dir: &Path) -> Result<Vec<Spec>, Failure> {
    let records = match RunDir::locate(run_dir)?.records() {
        Ok(records) => records,
        // Not root: the file or the command line names them.
        Err(_) if !rustix::process::geteuid().is_root() => Vec::new(),
        Err(failure) => return Err(failure),
    };
    let live = records
        .into_iter()
        .filter_map(|(_, record)| record)
        .filter(|record| is_alive(record.process));
    Ok(live
        .filter_map(|record| {
            crate::config::checked(Spec {
                unicast: record.unicast,
                ..Spec::new(record.anycast)
            })
            .ok()
        })
        .collect())
}

/// Prints what was found; whether there was anything.
pub(crate) fn check(specs: &[Spec], json: bool, out: &mut impl Write) -> Result<bool, Failure> {
    let listeners = listeners()?;
    let inventory = Inventory::read(&Tool::ip()?)?;
    let all: Vec<Ipv6Addr> = specs.iter().map(|s| s.anycast).collect();
    let mut findings = Vec::new();
    for spec in specs {
        let unicast = spec.unicast.or_else(|| {
            let interface = spec.interface.as_deref();
            choice::choose(spec.anycast, spec.class, interface, &inventory, &all)
                .ok()
                .map(|c| c.unicast)
        });
        findings.extend(examine(spec.anycast, unicast, &listeners));
    }
    let holders = if findings.is_empty() {
        BTreeMap::new()
    } else {
        holders()
    };
    for finding in &findings {
        let mut processes: Vec<Holder> = finding
            .inodes
            .iter()
            .filter_map(|inode| holders.get(inode))
            .flatten()
            .cloned()
            .collect();
        processes.sort();
        processes.dedup();
        let written = if json {
            serde_json::to_string(&Report {
                schema: SCHEMA,
                record: "finding",
                kind: finding.kind,
                protocol: finding.protocol,
                address: finding.address,
                port: finding.port,
                anycast: finding.anycast,
                unicast: finding.unicast,
                processes: &processes,
                text: advice(finding),
            })
            .map_err(|e| Failure::system("encode a finding", e))
            .and_then(|line| writeln!(out, "{line}").map_err(|e| Failure::system("write", e)))
        } else {
            let protocol = match finding.protocol {
                Protocol::Tcp => "tcp",
                Protocol::Udp => "udp",
            };
            let names: Vec<String> = processes
                .iter()
                .map(|p| format!("{} {}", p.name, p.pid))
                .collect();
            let names = if names.is_empty() {
                "process not visible".to_owned()
            } else {
                names.join(", ")
            };
            writeln!(
                out,
                "{protocol} [{}]:{} ({names}): {}",
                finding.address,
                finding.port,
                advice(finding)
            )
            .map_err(|e| Failure::system("write", e))
        };
        written?;
    }
    Ok(!findings.is_empty())
}

fn advice(finding: &Finding) -> String {
    let anycast = finding.anycast;
    let unicast = finding
        .unicast
        .map_or_else(|| "the unicast address".to_owned(), |u| u.to_string());
    match finding.kind {
        Kind::AnycastOnly => format!(
            "bound to {anycast} alone, clients that were moved to {unicast} do not reach it; let it listen on [::] or on {unicast} too"
        ),
        Kind::AnswersFromUnicast => format!(
            "answers to datagrams sent to {anycast} leave from {unicast}, unless the service sets their source (IPV6_PKTINFO); clients without the library may drop them"
        ),
    }
}

fn listeners() -> Result<Vec<Listener>, Failure> {
    let mut listeners = Vec::new();
    for (file, protocol) in [("tcp6", Protocol::Tcp), ("udp6", Protocol::Udp)] {
        let path = format!("/proc/self/net/{file}");
        let text = std::fs::read_to_string(&path)
            .map_err(|e| Failure::system(&format!("read {path}"), e))?;
        listeners.extend(parse(&text, protocol));
    }
    Ok(listeners)
}

/// Which processes hold which socket. What cannot be read (other users'
/// processes, and those that end meanwhile) has no name in the report.
fn holders() -> BTreeMap<u64, Vec<Holder>> {
    let mut holders: BTreeMap<u64, Vec<Holder>> = BTreeMap::new();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        let Ok(descriptors) = std::fs::read_dir(process.path().join("fd")) else {
            continue;
        };
        let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
        for descriptor in descriptors.flatten() {
            let inode = std::fs::read_link(descriptor.path()).ok().and_then(|link| {
                let text = link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?;
                text.parse::<u64>().ok()
            });
            if let Some(inode) = inode {
                holders.entry(inode).or_default().push(Holder {
                    pid,
                    name: name.trim().to_owned(),
                });
            }
        }
    }
    holders
}
