//! What a lookup in the mapping table costs, beside a map of std behind a lock, from ten
//! mappings to a million, with a writer at work and without; and what it takes of memory.

#[path = "../../driver/src/document.rs"]
mod document;
mod lookups;
#[path = "../../driver/src/machine.rs"]
mod machine;
mod memory;
mod tables;

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use rustix::thread::{CpuSet, sched_setaffinity};

/// The CPU of the lookups; a writer has the first of the others.
const OWN_CPU: usize = 1;

/// Measures the mapping table.
#[derive(Parser)]
struct Options {
    /// Rounds for each figure
    #[arg(long, default_value_t = 400, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    rounds: u32,
    /// Tables of so many mappings
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1_000, 100_000, 1_000_000])]
    mappings: Vec<usize>,
    /// The folder of the tables, in memory
    #[arg(long, default_value = "/dev/shm")]
    folder: PathBuf,
    /// Puts the tables into this document
    #[arg(long, value_name = "FILE")]
    update: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let machine = machine::describe(OWN_CPU);
    let folder = tempfile::tempdir_in(&options.folder)
        .with_context(|| format!("a folder in {}", options.folder.display()))?;
    pin(OWN_CPU)?;
    let mut lookups = lookups::HEAD.to_owned();
    let mut memory = memory::HEAD.to_owned();
    for mappings in &options.mappings {
        lookups += &lookups::rows(folder.path(), *mappings, options.rounds)?;
        memory += &memory::row(folder.path(), *mappings)?;
    }
    let about = format!(
        "- {}: {} CPUs{}, lookups on CPU {OWN_CPU}; load average at the start {}\n- Linux {}, {}\n- {}, commit {}\n",
        machine.cpu,
        machine.cpus,
        if machine.virtual_machine {
            ", virtual"
        } else {
            ""
        },
        machine.load,
        machine.kernel,
        machine.rustc,
        machine.date,
        machine.commit,
    );
    let sections = [
        ("table-machine", about),
        ("table-lookups", lookups),
        ("table-memory", memory),
    ];
    if let Some(file) = &options.update {
        let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
        let text = document::updated(&text, &sections)?;
        std::fs::write(file, text).with_context(|| format!("{}", file.display()))?;
    }
    for (name, body) in sections {
        println!("{name}\n\n{body}");
    }
    Ok(())
}

/// Keeps the calling thread on one CPU.
fn pin(cpu: usize) -> Result<()> {
    let mut one = CpuSet::new();
    one.set(cpu);
    sched_setaffinity(None, &one).context("sched_setaffinity")
}
