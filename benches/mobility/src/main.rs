//! What the home anycast agent can do: messages, authenticated updates through the real
//! socket, relayed packets beside plain forwarding and DNAT, a million bindings. All in
//! one run, in networks of its own.

#[path = "../../driver/src/document.rs"]
mod document;
#[path = "../../driver/src/machine.rs"]
mod machine;
mod messages;
mod relay;
mod site;
mod updates;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Parser;

/// The CPU of this program and of what it sends; the agent has the other.
const OWN_CPU: usize = 0;

/// Measures aarp-agent.
#[derive(Parser)]
struct Options {
    /// The installed tree with aarp-agent and aarp-binding.
    #[arg(long)]
    stage: PathBuf,
    /// The example binding-cost of aarp-core.
    #[arg(long)]
    binding_cost: PathBuf,
    /// Puts the tables into this document.
    #[arg(long)]
    update: Option<PathBuf>,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let machine = machine::describe(OWN_CPU);
    // Namespaces are made before anything else runs, and measured last is what is said
    // first: the tables.
    site::pin(OWN_CPU)?;
    let messages = messages::table();
    let updates = updates::table(&options.stage)?;
    let relay = relay::table(&options.stage)?;
    let output = Command::new(&options.binding_cost).output();
    let output = output.with_context(|| format!("{}", options.binding_cost.display()))?;
    ensure!(output.status.success(), "binding-cost: {}", output.status);
    let bindings = format!("```\n{}```\n", String::from_utf8_lossy(&output.stdout));
    let sections = [
        ("mobility-machine", about(&machine)),
        ("mobility-messages", messages),
        ("mobility-updates", updates),
        ("mobility-relay", relay),
        ("mobility-bindings", bindings),
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
