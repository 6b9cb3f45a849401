//! What aarpd, the mapper of a host, costs and gives: in networks of its own.

mod asking;
mod attempts;
mod death;
#[path = "../../driver/src/document.rs"]
mod document;
#[path = "../../driver/src/machine.rs"]
mod machine;
mod memory;
mod plot;
mod rates;
mod routed;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

/// Measures aarpd.
#[derive(Parser)]
struct Options {
    /// The installed tree with aarpd, aarp-responder and the library
    #[arg(long)]
    stage: PathBuf,
    /// Puts the tables into this document
    #[arg(long, value_name = "FILE")]
    update: Option<PathBuf>,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// For how long new connections fail when a responder dies
    Death(death::Options),
    /// What a question costs, cold and known, and what a mapping takes of memory
    Asking(asking::Options),
}

fn main() -> Result<()> {
    let options = Options::parse();
    let machine = machine::describe(0);
    let (name, sections) = match &options.what {
        What::Death(more) => ("death-machine", death::tables(&options.stage, more)?),
        What::Asking(more) => ("asking-machine", asking::tables(&options.stage, more)?),
    };
    let mut all = vec![(name, about(&machine))];
    all.extend(sections);
    if let Some(file) = &options.update {
        update(file, &all)?;
    }
    for (name, body) in all {
        println!("{name}\n\n{body}");
    }
    Ok(())
}

fn update(file: &Path, sections: &[(&str, String)]) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    let text = document::updated(&text, sections)?;
    std::fs::write(file, text).with_context(|| format!("{}", file.display()))
}

fn about(machine: &machine::Machine) -> String {
    format!(
        "- {}: {} CPUs{}; load average at the start {}\n- Linux {}, {}\n- {}, commit {}\n",
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
    )
}
