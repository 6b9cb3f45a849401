//! Memory for each mapping.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use aarp_sys::clock::boottime;

use crate::tables::{Lookup, attached, full, known};

pub(crate) const HEAD: &str = "| mappings | file | resident, the writer's | octets a mapping | a reader's, after 64 lookups | after a million |\n|--:|--:|--:|--:|--:|--:|\n";

/// One row, of a table that is full.
pub(crate) fn row(folder: &Path, mappings: usize) -> Result<String> {
    let (own, path) = full(folder, mappings)?;
    let file = fs::metadata(&path)?.len();
    let resident = resident(&path)?.first().copied().context("it is mapped")?;
    let reader = attached(&path)?;
    let now = boottime();
    let mut readers = Vec::new();
    for lookups in [64, 1_000_000] {
        let found = AtomicUsize::new(0);
        look(&reader, lookups, mappings, now, &found);
        ensure!(found.load(Ordering::Relaxed) * 10 > lookups * 9);
        let all: usize = self::resident(&path)?.iter().sum();
        readers.push(all - resident);
    }
    own.end()?;
    Ok(format!(
        "| {mappings} | {} kB | {resident} kB | {:.0} | {} kB | {} kB |\n",
        file / 1024,
        (resident * 1024) as f64 / mappings as f64,
        readers[0],
        readers[1],
    ))
}

fn look(table: &impl Lookup, lookups: usize, mappings: usize, now: Duration, found: &AtomicUsize) {
    for n in 0..lookups {
        let hit = table.lookup(known(n * 7919 % mappings), now);
        found.fetch_add(usize::from(hit.is_some()), Ordering::Relaxed);
    }
}

/// Kilobytes of each mapping of a file that are in this process's page tables.
fn resident(path: &Path) -> Result<Vec<usize>> {
    let maps = fs::read_to_string("/proc/self/smaps").context("/proc/self/smaps")?;
    let name = path.to_str().context("UTF-8")?;
    let mut found = Vec::new();
    let mut is_here = false;
    for line in maps.lines() {
        if line.contains('/')
            || !line.contains(':')
            || line
                .split(' ')
                .next()
                .is_some_and(|first| first.contains('-'))
        {
            is_here = line.ends_with(name);
        } else if let Some(size) = line.strip_prefix("Rss:").filter(|_| is_here) {
            let size = size.trim().trim_end_matches(" kB");
            found.push(size.parse().context("a size in smaps")?);
        }
    }
    Ok(found)
}
