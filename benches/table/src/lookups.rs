//! Lookups, one after the other: each begins when the one before has its answer, as the
//! lookup of a program does that connects now and then.

use std::hint::black_box;
use std::net::Ipv6Addr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aarp_sys::clock::boottime;
use anyhow::{Result, ensure};

use crate::tables::{Lookup, Peer, attached, full, known, mapping, unknown};

pub(crate) const HEAD: &str = "| mappings | lookups | table | … with a writer | map | … with a writer | writes/s: table | map |\n|--:|---|--:|--:|--:|--:|--:|--:|\n";

/// Addresses that are looked up in turn; a multiple of the batch.
const TURNS: usize = 1 << 16;
/// Lookups in a round.
const BATCH: usize = 1 << 12;
/// No figure takes longer, on a machine where the writer hardly runs.
const PATIENCE: Duration = Duration::from_secs(15);
/// Fewer rounds make no figure.
const LEAST: usize = 10;
/// Addresses that a program uses again and again.
const HOT: usize = 64;

/// Three rows: hits among a few and among all, and misses.
pub(crate) fn rows(folder: &Path, mappings: usize, rounds: u32) -> Result<String> {
    let (mut own, path) = full(folder, mappings)?;
    let shared = attached(&path)?;
    let (now, peer) = (boottime(), Peer::default());
    // With as much room as the table has.
    peer.write().reserve(mappings);
    for n in 0..mappings {
        peer.write().insert(known(n), mapping(now));
    }
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % limit as u64) as usize
    };
    let hot: Vec<_> = (0..HOT.min(mappings)).map(|_| below(mappings)).collect();
    let kinds: [(String, bool, Vec<Ipv6Addr>); 3] = [
        (
            format!("hits, among {}", hot.len()),
            true,
            (0..TURNS).map(|_| known(hot[below(hot.len())])).collect(),
        ),
        (
            "hits, among all".to_owned(),
            true,
            (0..TURNS).map(|_| known(below(mappings))).collect(),
        ),
        (
            "misses".to_owned(),
            false,
            (0..TURNS).map(|_| unknown(below(1 << 30))).collect(),
        ),
    ];
    // What did not fit, where a search ends.
    let lost = (0..mappings)
        .filter(|n| shared.lookup(known(*n), now).is_none())
        .count();
    ensure!(lost * 100 <= mappings, "{lost} of {mappings} are not there");
    let mut text = String::new();
    for (what, is_hit, addresses) in kinds {
        let quiet = measure(&shared, &addresses, is_hit, (rounds, None))?;
        let (busy, stored) = beside(
            |n| {
                own.store(known(n % mappings), &mapping(now), Duration::ZERO, now);
            },
            |written| measure(&shared, &addresses, is_hit, (rounds, Some(written))),
        )?;
        let peer_quiet = measure(&peer, &addresses, is_hit, (rounds, None))?;
        let (peer_busy, inserted) = beside(
            |n| {
                peer.write().insert(known(n % mappings), mapping(now));
            },
            |written| measure(&peer, &addresses, is_hit, (rounds, Some(written))),
        )?;
        text += &format!(
            "| {mappings} | {what} | {quiet} | {busy} | {peer_quiet} | {peer_busy} | {stored} | {inserted} |\n"
        );
    }
    own.end()?;
    Ok(text)
}

/// Runs `measure` while a thread on another CPU writes without a pause; how often a
/// second it did.
fn beside(
    mut write: impl FnMut(usize) + Send,
    measure: impl FnOnce(&AtomicU64) -> Result<String>,
) -> Result<(String, u64)> {
    let (over, written) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let (over, written) = (&over, &written);
        let writer = scope.spawn(move || {
            crate::pin(0)?;
            for n in 0.. {
                // Not in the order in which they were stored.
                write(n * 7919);
                written.store(n as u64 + 1, Ordering::Relaxed);
                if over.load(Ordering::Relaxed) {
                    break;
                }
            }
            anyhow::Ok(())
        });
        while written.load(Ordering::Relaxed) == 0 && !writer.is_finished() {
            std::thread::yield_now();
        }
        let (before, began) = (written.load(Ordering::Relaxed), Instant::now());
        let measured = measure(written);
        let done = written.load(Ordering::Relaxed) - before;
        let rate = done as f64 / began.elapsed().as_secs_f64();
        over.store(true, Ordering::Relaxed);
        match writer.join() {
            Ok(ended) => ended?,
            Err(panic) => std::panic::resume_unwind(panic),
        }
        Ok((measured?, rate as u64))
    })
}

/// Whether there was a writer, and it has written since `before`.
fn is_disturbed(written: Option<&AtomicU64>, before: u64) -> bool {
    written.is_none_or(|written| written.load(Ordering::Relaxed) > before)
}

/// Nanoseconds of a lookup: of the rounds that were disturbed the least, a tenth of all,
/// the slowest; and the median.
fn measure(
    table: &impl Lookup,
    addresses: &[Ipv6Addr],
    is_hit: bool,
    (rounds, written): (u32, Option<&AtomicU64>),
) -> Result<String> {
    let now = boottime();
    let mut times = Vec::new();
    let (mut at, mut hits, mut all) = (0, 0u64, 0);
    let patience = Instant::now();
    while times.len() < rounds as usize && patience.elapsed() < PATIENCE {
        let before = written.map_or(0, |written| written.load(Ordering::Relaxed));
        let began = Instant::now();
        for _ in 0..BATCH {
            let found = table.lookup(black_box(addresses[at % TURNS]), now);
            // Each lookup waits for the one before: of every U the last octet is 0.
            let next = match found {
                Some(mapping) => {
                    hits += 1;
                    usize::from(mapping.u.octets()[15])
                }
                None => 0,
            };
            at += 1 + black_box(next);
        }
        let taken = began.elapsed().as_nanos() as f64 / BATCH as f64;
        all += BATCH as u64;
        // Others use the writer's processor too: only rounds in which it had it count.
        if is_disturbed(written, before) {
            times.push(taken);
        }
    }
    // A mapping that is being written is missed now and then.
    let expected = if is_hit {
        hits * 100 > all * 98
    } else {
        hits == 0
    };
    ensure!(expected, "{hits} hits of {all}");
    if times.len() < LEAST {
        return Ok("not measured".to_owned());
    }
    times.sort_by(f64::total_cmp);
    let missed = if is_hit && hits < all {
        format!(", {} missed in 10⁶", (all - hits) * 1_000_000 / all)
    } else {
        String::new()
    };
    Ok(format!(
        "{:.1} ({:.1}{missed})",
        times[times.len() / 10],
        times[times.len() / 2]
    ))
}
