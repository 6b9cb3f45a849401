//! What a mapping takes of the daemon's memory.

use std::path::Path;
use std::time::{Duration, Instant};

use aarp_lab::Process;
use anyhow::{Context, Result, ensure};

use crate::asking::Site;

/// Kilobytes: of the process alone, and of the table, as far as it is in its page tables.
#[derive(Clone, Copy, Debug)]
struct Resident {
    own: u64,
    table: u64,
}

fn resident(daemon: &Process) -> Result<Resident> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid()))?;
    let field = |name: &str| -> Result<u64> {
        let mut lines = text.lines();
        let value = lines
            .find_map(|line| line.strip_prefix(name))
            .context("in status")?;
        Ok(value.trim().trim_end_matches(" kB").parse()?)
    };
    Ok(Resident {
        own: field("RssAnon:")?,
        // The lab's files are in a file system in memory, or in one with a page cache.
        table: field("RssShmem:")? + field("RssFile:")?,
    })
}

pub(crate) fn table(stage: &Path, mappings: u32) -> Result<String> {
    let site = Site::new(stage, Duration::ZERO)?;
    let daemon = site.daemon(mappings)?;
    let socket = site.socket()?;
    let before = resident(&daemon)?;
    let began = Instant::now();
    let command = site.program()?.arg("fill").arg(&socket);
    let command = command
        .arg(mappings.to_string())
        .limit(Duration::from_secs(600));
    let output = command.run()?;
    let known: u32 = String::from_utf8_lossy(&output.stdout).trim().parse()?;
    ensure!(known == mappings, "{known} of {mappings}");
    let took = began.elapsed();
    let after = resident(&daemon)?;
    let own = after.own.saturating_sub(before.own);
    let table = after.table.saturating_sub(before.table);
    let each = |kilobytes: u64| kilobytes as f64 * 1024.0 / f64::from(mappings);
    Ok(format!(
        "| mappings | asked in | the daemon's own memory, before | beyond that, of its own | … of the table | octets a mapping |\n\
         |--:|--:|--:|--:|--:|--:|\n\
         | {mappings} | {:.1} s | {} kB | {own} kB | {table} kB | {:.0} |\n",
        took.as_secs_f64(),
        before.own,
        each(own + table),
    ))
}
