//! The rounds, and what is made of them.
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::Options;
use crate::machine::Machine;
use crate::rows::{Group, ROWS, Row};
use crate::server::Server;
use crate::variant::{Peer, Variant};
use crate::worker::Worker;

/// How long the calls of one row and round take, without a library.
const BATCH: f64 = 1.5e6;
/// The most calls in one batch.
const MOST: u64 = 1 << 18;

/// Everything that a run has found.
#[derive(Serialize)]
pub(crate) struct Results {
    pub(crate) schema: u32,
    pub(crate) r#type: &'static str,
    pub(crate) machine: Machine,
    /// What was measured, in the order of the columns.
    pub(crate) variants: Vec<String>,
    pub(crate) rows: Vec<RowResult>,
}

/// One row, with every library.
#[derive(Serialize)]
pub(crate) struct RowResult {
    pub(crate) group: Group,
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) cells: Vec<Cell>,
}

/// One row with one library; times in nanoseconds of one call.
#[derive(Serialize)]
pub(crate) struct Cell {
    pub(crate) variant: String,
    pub(crate) min: f64,
    /// A tenth of the rounds was faster: what others do on the machine has hardly
    /// disturbed these, and one lucky round decides nothing.
    pub(crate) quiet: f64,
    pub(crate) median: f64,
    /// What it adds to the program by itself, in quiet rounds.
    pub(crate) added: f64,
    /// The median, over the rounds, of what it adds in the same round.
    pub(crate) added_median: f64,
}

impl RowResult {
    pub(crate) fn cell(&self, variant: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.variant == variant)
    }
}

/// Measures every row that is asked for.
pub(crate) fn run(
    options: &Options,
    variants: &[Variant],
    scratch: &Path,
) -> Result<Vec<RowResult>> {
    let wanted = |row: &&Row| {
        options
            .only
            .as_ref()
            .is_none_or(|part| row.name.contains(part.as_str()))
    };
    let mut results = Vec::new();
    let calls = options.objects.join("calls");
    let server = Server::start(&calls)?;
    for group in Group::ALL {
        let mut rows = ROWS
            .iter()
            .filter(|row| row.group == group)
            .filter(wanted)
            .peekable();
        if rows.peek().is_none() {
            continue;
        }
        if group == Group::Start {
            let mut parent = Worker::start(&calls, &variants[0], None, scratch, &server)?;
            results.push(starts(
                options,
                variants,
                &mut parent,
                rows.next().context("a row")?,
            )?);
            continue;
        }
        let stub = group.has_stub().then(|| options.objects.join("stub.so"));
        let mut workers = variants
            .iter()
            .filter(|variant| !group.has_stub() || variant.peer != Some(Peer::Wrapper))
            .map(|variant| {
                let worker = Worker::start(&calls, variant, stub.as_deref(), scratch, &server)?;
                Ok((variant, worker))
            })
            .collect::<Result<Vec<_>>>()?;
        for row in rows {
            results.push(calls_of(options, row, &mut workers)?);
        }
    }
    Ok(results)
}

fn calls_of(
    options: &Options,
    row: &'static Row,
    workers: &mut [(&Variant, Worker)],
) -> Result<RowResult> {
    let mut taking: Vec<_> = workers
        .iter_mut()
        .filter(|(variant, _)| variant.peer.is_none_or(|peer| row.peers.contains(&peer)))
        .collect();
    let mut count = 16;
    while count < MOST && taking[0].1.measure(row.name, count, "")? < BATCH {
        count *= 2;
    }
    let mut samples = vec![Vec::new(); taking.len()];
    for round in 0..=options.rounds as usize {
        for step in 0..taking.len() {
            let at = (round + step) % taking.len();
            let nanos = taking[at].1.measure(row.name, count, "")?;
            // The first round warms up.
            if round > 0 {
                samples[at].push(nanos / count as f64);
            }
        }
    }
    let names: Vec<_> = taking
        .iter()
        .map(|(variant, _)| variant.name.as_str())
        .collect();
    Ok(result(row, &names, &samples))
}

fn starts(
    options: &Options,
    variants: &[Variant],
    parent: &mut Worker,
    row: &'static Row,
) -> Result<RowResult> {
    let preloads: Vec<_> = variants
        .iter()
        .map(|variant| {
            let object = variant.object.as_deref();
            object.map_or(String::new(), |object| object.display().to_string())
        })
        .collect();
    let mut samples = vec![Vec::new(); variants.len()];
    for round in 0..=options.starts as usize {
        for step in 0..variants.len() {
            let at = (round + step) % variants.len();
            let nanos = parent.measure(row.name, 1, &preloads[at])?;
            if round > 0 {
                samples[at].push(nanos);
            }
        }
    }
    let names: Vec<_> = variants
        .iter()
        .map(|variant| variant.name.as_str())
        .collect();
    Ok(result(row, &names, &samples))
}

fn result(row: &'static Row, names: &[&str], samples: &[Vec<f64>]) -> RowResult {
    let none = &samples[0];
    let cells = names.iter().zip(samples).map(|(name, own)| {
        let differences = own.iter().zip(none).map(|(own, none)| own - none).collect();
        Cell {
            variant: (*name).to_owned(),
            min: quantile(own.clone(), 0.0),
            quiet: quantile(own.clone(), 0.1),
            median: quantile(own.clone(), 0.5),
            added: quantile(own.clone(), 0.1) - quantile(none.clone(), 0.1),
            added_median: quantile(differences, 0.5),
        }
    });
    RowResult {
        group: row.group,
        name: row.name,
        title: row.title,
        cells: cells.collect(),
    }
}

/// The value that a share of the values is below, in between two where need be.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = share * (values.len() - 1) as f64;
    let (below, above) = (
        values[place.floor() as usize],
        values[place.ceil() as usize],
    );
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_added_is_compared_within_a_round() {
        // A machine that slows down by the round.
        let none = vec![10.0, 20.0, 30.0, 90.0];
        let ours = vec![13.0, 23.0, 34.0, 95.0];
        let result = result(&ROWS[0], &["none", "aarp"], &[none, ours]);
        let cell = result.cell("aarp").expect("it was measured");
        assert_eq!((cell.min, cell.median), (13.0, 28.5));
        assert_eq!(cell.added_median, 3.5);
        assert_eq!((cell.quiet, cell.added), (16.0, 3.0));
        assert_eq!(result.cells[0].added, 0.0);
        assert!(result.cell("torsocks").is_none());
    }
}
