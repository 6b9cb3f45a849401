//! aarp-responder: makes this host answer for an IPv6 anycast address A, so that
//!
//! - ordinary clients of A are served (A is an address on `lo`, as operators do it),
//! - an ordinary ping of A is answered from A, as monitoring and stateful filters
//!   expect,
//! - probes of the Anycast Resolving Layer are answered from U, the unicast address
//!   of this host: a chain of its own in the nft table `inet aarp_responder`
//!   rewrites the source of the echo replies and port-unreachables that carry the
//!   probes' payload (`--answer all`: of all of them). Nothing but ICMPv6 is ever
//!   rewritten.
//!
//! The address A always goes to `lo`, which has no link that could fail and no
//! duplicate address detection; `--interface` names the interface whose address
//! becomes U. A is deprecated from the start (`preferred_lft 0`) so that it is never
//! chosen as a source. An A that the operator configured is used as it is, and left
//! alone at the end.
//!
//! What changes on the host is put back when the program ends, in whatever way. What
//! `kill -9` leaves is recognised without trusting a file (the address bears a route
//! metric of our own, the chain is named after A) and taken over or removed by the
//! next start. The run directory holds a lock and a record per A and network
//! namespace; all responders of one namespace must use the same.
//!
//! While it runs it follows the host: a U that vanishes is replaced if it was chosen
//! by the program, and otherwise the rewriting stops, for an answer from an address
//! that is gone is worse than one from A; rules or an address removed by somebody else
//! (`nft flush ruleset`) are put back.
//!
//! It tells aarp-binding on a socket of the run directory whether the service behind A
//! is well: in place, and found so by its health checks.
//!
//! Layout: ruleset, config, services and state decide and parse, without I/O, as do
//! address, inventory and choice of aarp-host; host and rundir are the edge, with the
//! tools and the watch of aarp-host; ownership, run, states, status
//! and check are the program.

mod check;
mod config;
mod host;
mod ownership;
mod ruleset;
mod run;
mod rundir;
mod services;
mod state;
mod states;
mod status;

use std::io::Write;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand};

use aarp_host::failure::{Failure, code};
use config::{Recipe, Spec};
use ruleset::Answer;

/// Makes this host answer for an IPv6 anycast address, and probes of it from a unicast address.
#[derive(Parser)]
#[command(name = "aarp-responder", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Own the anycast addresses until a signal ends it.
    Run(RunArguments),
    /// Show what is owned here, and whether it is really in place.
    Status(StatusArguments),
    /// Name services that do not fit an anycast address whose clients move to U.
    Check(CheckArguments),
    /// Write manual pages or shell completions.
    #[command(hide = true)]
    Generate(aarp_pages::Arguments),
}

/// For manual pages.
const MEANINGS: [(u8, &str); 7] = [
    (0, "done; check: nothing was found"),
    (1, "check: services were found that do not fit"),
    (code::USAGE, "usage"),
    (code::UNAVAILABLE, "something that is needed is missing"),
    (code::SYSTEM, "the system refused an operation"),
    (code::NOT_PERMITTED, "not permitted"),
    (code::CONFIGURATION, "bad configuration"),
];
const FILES: &str = "The [[responder]] tables of /etc/aarp/aarp.toml (AARP_CONFIG) say what run \
    does without --anycast. Records of running responders are below /run/aarp (AARP_RUN_DIR).";

#[derive(Args)]
struct RunArguments {
    #[command(flatten)]
    common: Common,
    /// The unicast address that answers probes [default: chosen from this host's addresses].
    #[arg(long, env = "AARP_RESPONDER_UNICAST", value_name = "U", value_parser = config::one_address)]
    unicast: Option<Ipv6Addr>,
    /// The interface whose address is chosen as U [default: that of the default route].
    #[arg(long, env = "AARP_RESPONDER_INTERFACE", value_name = "IF")]
    interface: Option<String>,
    /// How the answers get their source [default: auto].
    #[arg(long, env = "AARP_RESPONDER_RECIPE", value_enum)]
    recipe: Option<Recipe>,
    /// Which answers leave from U [default: probes].
    #[arg(long, env = "AARP_RESPONDER_ANSWER", value_enum)]
    answer: Option<Answer>,
}

#[derive(Args)]
struct StatusArguments {
    /// One JSON record a line.
    #[arg(long)]
    json: bool,
    /// Where the records of running responders are.
    #[arg(long, env = "AARP_RUN_DIR", value_name = "DIR", default_value = RUN_DIR)]
    run_dir: PathBuf,
}

#[derive(Args)]
struct CheckArguments {
    #[command(flatten)]
    common: Common,
    /// The unicast address [default: that of the running responder, or the one it would choose].
    #[arg(long, env = "AARP_RESPONDER_UNICAST", value_name = "U", value_parser = config::one_address)]
    unicast: Option<Ipv6Addr>,
    /// One JSON record a line.
    #[arg(long)]
    json: bool,
}

const RUN_DIR: &str = "/run/aarp";

#[derive(Args)]
struct Common {
    /// An anycast address; may be given several times. Without it the `[[responder]]` tables are used.
    #[arg(
        long,
        env = "AARP_RESPONDER_ANYCAST",
        value_name = "A",
        value_delimiter = ',',
        value_parser = config::one_address
    )]
    anycast: Vec<Ipv6Addr>,
    /// The configuration file.
    #[arg(
        long,
        env = "AARP_CONFIG",
        value_name = "FILE",
        default_value = "/etc/aarp/aarp.toml"
    )]
    config: PathBuf,
    /// Where the records of running responders are.
    #[arg(
        long,
        env = "AARP_RUN_DIR",
        value_name = "DIR",
        default_value = "/run/aarp"
    )]
    run_dir: PathBuf,
}

/// A line for the operator, on stderr. When stderr is gone there is nobody to
/// tell, and giving the addresses back matters more.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "aarp-responder: {line}");
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let ok = error.exit_code() == 0;
            let _ = error.print();
            return ExitCode::from(if ok { 0 } else { code::USAGE });
        }
    };
    aarp_sys::preloaded::leave_or_say("aarp-responder");
    let result = match cli.command {
        Action::Run(arguments) => run_specs(&arguments)
            .and_then(|specs| run::run(specs, &arguments.common.run_dir))
            .map(|()| ExitCode::SUCCESS),
        Action::Status(arguments) => {
            let mut out = std::io::stdout().lock();
            status::status(&arguments.run_dir, arguments.json, &mut out).map(ExitCode::from)
        }
        Action::Generate(arguments) => {
            let about = aarp_pages::About {
                exit: &MEANINGS,
                files: FILES,
                related: &["aarp-run", "aarp-probe", "aarp-lab"],
                ..Default::default()
            };
            aarp_pages::write(&arguments, Cli::command(), &about)
                .map(|()| ExitCode::SUCCESS)
                .map_err(|error| Failure::new(code::SYSTEM, error))
        }
        Action::Check(arguments) => check_specs(&arguments).and_then(|specs| {
            let mut out = std::io::stdout().lock();
            check::check(&specs, arguments.json, &mut out).map(|any| ExitCode::from(u8::from(any)))
        }),
    };
    result.unwrap_or_else(|failure| {
        say(&failure.to_string());
        ExitCode::from(failure.code)
    })
}

/// The responders of the command line, or of the file with the command line's
/// settings over it.
fn run_specs(arguments: &RunArguments) -> Result<Vec<Spec>, Failure> {
    let mut specs = specs(&arguments.common)?;
    for spec in &mut specs {
        let merged = Spec {
            unicast: arguments.unicast.or(spec.unicast),
            interface: arguments
                .interface
                .clone()
                .or_else(|| spec.interface.clone()),
            recipe: arguments.recipe.unwrap_or(spec.recipe),
            answer: arguments.answer.unwrap_or(spec.answer),
            ..spec.clone()
        };
        *spec =
            config::checked(merged).map_err(|bad| Failure::new(code::USAGE, format!("--{bad}")))?;
    }
    Ok(specs)
}

/// The addresses of the command line, or those that run, or those of the file.
fn check_specs(arguments: &CheckArguments) -> Result<Vec<Spec>, Failure> {
    let common = &arguments.common;
    let running = check::running(&common.run_dir)?;
    let mut chosen = if !common.anycast.is_empty() {
        specs(common)?
    } else if running.is_empty() {
        configured(&common.config)?
    } else {
        running.clone()
    };
    for spec in &mut chosen {
        let known = running.iter().find(|r| r.anycast == spec.anycast);
        let unicast = arguments
            .unicast
            .or(known.and_then(|r| r.unicast))
            .or(spec.unicast);
        let merged = Spec {
            unicast,
            ..spec.clone()
        };
        *spec =
            config::checked(merged).map_err(|bad| Failure::new(code::USAGE, format!("--{bad}")))?;
    }
    Ok(chosen)
}

fn specs(common: &Common) -> Result<Vec<Spec>, Failure> {
    if common.anycast.is_empty() {
        return configured(&common.config);
    }
    let mut specs: Vec<Spec> = Vec::new();
    for &anycast in &common.anycast {
        let spec = config::checked(Spec::new(anycast))
            .map_err(|bad| Failure::new(code::USAGE, format!("--{bad}")))?;
        if !specs.contains(&spec) {
            specs.push(spec);
        }
    }
    Ok(specs)
}

fn configured(file: &Path) -> Result<Vec<Spec>, Failure> {
    let name = file.display();
    let bad = |problem: &dyn std::fmt::Display| {
        Failure::new(code::CONFIGURATION, format!("{name}: {problem}"))
    };
    let text = std::fs::read_to_string(file).map_err(|error| {
        let problem = format!(
            "no anycast address is named: give --anycast A, or [[responder]] tables in {name}: \
             {error}"
        );
        Failure::new(code::CONFIGURATION, problem)
    })?;
    let specs = config::parse(&text).map_err(|e| bad(&e))?;
    if specs.is_empty() {
        return Err(bad(
            &"responder: expected at least one [[responder]] table, or --anycast",
        ));
    }
    Ok(specs)
}
