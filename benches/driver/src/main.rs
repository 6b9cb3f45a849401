//! Measures what the preload library costs, side by side with its peers.
//!
//! One process for each preload library runs `calls` and lives through the whole
//! measurement. The driver goes from one to the next, a few milliseconds each, and
//! compares only what was measured in the same round: what else the machine does
//! concerns all of them alike.
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

mod document;
mod instructions;
mod machine;
mod measure;
mod network;
mod rows;
mod server;
mod table;
mod variant;
mod worker;

use measure::Results;

/// Measure what the preload library costs, side by side with its peers.
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Folder with calls, stub.so, empty.so and naive.so
    #[arg(long, env = "BENCH_OBJECTS")]
    objects: PathBuf,
    /// The library to measure
    #[arg(long, env = "BENCH_LIBRARY")]
    library: PathBuf,
    /// The same library built otherwise, to measure beside it; may be repeated
    #[arg(long)]
    other: Vec<PathBuf>,
    /// The peer written with redhook
    #[arg(long, env = "BENCH_REDHOOK")]
    redhook: Option<PathBuf>,
    /// Rounds for each call
    #[arg(long, env = "BENCH_ROUNDS", default_value_t = 51, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Starts of a process with each library
    #[arg(long, env = "BENCH_STARTS", default_value_t = 400, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    starts: u32,
    /// Measure only rows whose name contains this
    #[arg(long)]
    only: Option<String>,
    /// One JSON object on standard output
    #[arg(long)]
    json: bool,
    /// Count instructions instead, under callgrind, and compare with what this file has
    #[arg(long, value_name = "FILE")]
    instructions: Option<PathBuf>,
    /// Write that file anew
    #[arg(long, requires = "instructions")]
    write: bool,
    /// Put the tables between the markers of this file
    #[arg(long, value_name = "FILE")]
    update: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let cpu = pin()?;
    let machine = machine::describe(cpu);
    let scratch = tempfile::tempdir().context("a temporary folder")?;
    network::enter()?;
    if let Some(file) = &options.instructions {
        return instructions::run(&options, file, &machine, scratch.path());
    }
    let variants = variant::all(&options)?;
    let results = measure::run(&options, &variants, scratch.path())?;
    let report = Results {
        schema: 1,
        r#type: "benchmark",
        machine,
        variants: variants.into_iter().map(|variant| variant.name).collect(),
        rows: results,
    };
    let mut out = std::io::stdout().lock();
    if options.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", table::text(&report))?;
    }
    if let Some(file) = &options.update {
        let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
        let text = document::updated(&text, &table::sections(&report))
            .with_context(|| file.display().to_string())?;
        fs::write(file, text).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

/// Keeps this process and all that it starts on one CPU, the last it may use.
fn pin() -> Result<usize> {
    let allowed = sched_getaffinity(None).context("sched_getaffinity")?;
    let cpu = (0..CpuSet::MAX_CPU)
        .rev()
        .find(|cpu| allowed.is_set(*cpu))
        .context("no CPU to run on")?;
    let mut one = CpuSet::new();
    one.set(cpu);
    sched_setaffinity(None, &one).context("sched_setaffinity")?;
    Ok(cpu)
}
