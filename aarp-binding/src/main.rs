//! aarp-binding: the sidecar that registers a responder of an anycast address A with
//! home and midway anycast agents, by Binding Updates of Mobile IPv6, and holds the
//! responder's end of the tunnel (seed 001).
//!
//! - The service stays as it is: it listens on `[::]` or on A. A is an address of the
//!   sidecar's TUN device (or of aarp-responder, or the operator's), and what it sends
//!   is led into that device by a routing rule.
//! - Answers to probes of the Anycast Resolving Layer leave from U, outside the tunnel,
//!   so that initiators with the library leave the agent after one round trip.
//! - While the service is not well, and when the program ends, it is deregistered.
//!
//! The TUN device and with it the address and the route go with the process, however it
//! ends; a routing rule or an nft table that `kill -9` leaves is taken over by the next
//! start.
//!
//! Layout: settings, memory and service decide; place, path and tunnel are the edge; run and
//! status are the program.

mod keys;
mod memory;
mod path;
mod place;
mod run;
mod service;
mod settings;
mod status;
mod tunnel;

use std::io::Write;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aarp_host::failure::{Failure, code};
use aarp_mobility::status::StatusError;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use settings::{Follow, Ownership, Reverse, Settings};

/// Registers this host as a responder of an anycast address by Mobile IPv6.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Register the anycast addresses until a signal ends it.
    Run(Box<RunArguments>),
    /// Show what a running sidecar has registered.
    Status(StatusArguments),
    /// Write manual pages or shell completions.
    #[command(hide = true)]
    Generate(aarp_pages::Arguments),
}

/// For manual pages.
const MEANINGS: [(u8, &str); 6] = [
    (0, "done; run: ended by a signal"),
    (code::USAGE, "usage"),
    (
        code::UNAVAILABLE,
        "something needed is missing, or another instance runs; status: none runs",
    ),
    (code::SYSTEM, "the system refused something"),
    (code::NOT_PERMITTED, "not permitted"),
    (code::CONFIGURATION, "bad configuration"),
];
const SECTIONS: &str = "\
Signals:
  SIGTERM, SIGINT, SIGQUIT: deregisters and ends; a second one ends it at once.
  SIGHUP: reads the file of keys again.
Checks:
  tcp:80, http:80/ready, udp:53 and others, as docs/health.md has them.
Examples:
  aarp-binding run --anycast 2001:db8:0:1::a --agent 2001:db8:0:1::2 --spi 256 --check tcp:80
  aarp-binding status --json
";
const FILES: &str = "/etc/aarp/aarp.toml has the tables [[binding]], /etc/aarp/keys.toml (mode 0600) the keys. /var/lib/aarp/binding.json keeps sequence numbers over a restart. /run/aarp/binding.sock is the socket of the status, /run/aarp/responder.sock where aarp-responder says how the services are.";

#[derive(Args)]
struct RunArguments {
    /// The configuration file; its tables `[[binding]]` are read, unless --anycast is given.
    #[arg(
        long,
        env = "AARP_CONFIG",
        value_name = "FILE",
        default_value = "/etc/aarp/aarp.toml"
    )]
    config: PathBuf,
    /// The anycast address to register.
    #[arg(
        long,
        env = "AARP_BINDING_ANYCAST",
        value_name = "A",
        requires = "agent"
    )]
    anycast: Option<Ipv6Addr>,
    /// An agent; may be given several times, the preferred one first.
    #[arg(
        long,
        env = "AARP_BINDING_AGENT",
        value_name = "ADDRESS",
        value_delimiter = ',',
        requires = "anycast"
    )]
    agent: Vec<Ipv6Addr>,
    /// The unicast address [default: chosen from this host's addresses].
    #[arg(long, env = "AARP_BINDING_CARE_OF", value_name = "U")]
    care_of: Option<Ipv6Addr>,
    /// How long a binding lives without being refreshed [default: 60s].
    #[arg(long, env = "AARP_BINDING_LIFETIME", value_name = "TIME", value_parser = duration)]
    lifetime: Option<std::time::Duration>,
    /// The entry of the file of keys [default: none, without authentication].
    #[arg(long, env = "AARP_BINDING_SPI", value_name = "SPI",
          value_parser = clap::value_parser!(u32).range(256..))]
    spi: Option<u32>,
    /// The file of keys.
    #[arg(
        long,
        env = "AARP_BINDING_KEYS",
        value_name = "FILE",
        default_value = "/etc/aarp/keys.toml"
    )]
    keys: PathBuf,
    /// How answers go back to initiators [default: tunnel].
    #[arg(long, env = "AARP_BINDING_REVERSE", value_enum)]
    reverse: Option<Reverse>,
    /// What happens when another responder registers [default: standby].
    #[arg(long, env = "AARP_BINDING_OWNERSHIP", value_enum)]
    ownership: Option<Ownership>,
    /// What is added to the number that an agent names in a refusal [default: 2].
    #[arg(long, env = "AARP_BINDING_SEQUENCE_STEP", value_name = "N",
          value_parser = clap::value_parser!(u16).range(1..=16_384))]
    sequence_step: Option<u16>,
    /// The number of the first update [default: the one after the last].
    #[arg(long, env = "AARP_BINDING_SEQUENCE", value_name = "N")]
    sequence: Option<u16>,
    /// A health check such as tcp:80; may be given several times.
    #[arg(long, env = "AARP_BINDING_CHECK", value_name = "CHECK")]
    check: Vec<String>,
    /// Whether aarp-responder on this host has a say [default: auto].
    #[arg(long, env = "AARP_BINDING_RESPONDER", value_enum)]
    responder: Option<Follow>,
    /// Offer each initiator route optimisation, once.
    #[arg(long, env = "AARP_BINDING_ROUTE_OPTIMIZATION")]
    route_optimization: bool,
    /// Where sequence numbers are kept over a restart.
    #[arg(
        long,
        env = "AARP_STATE_DIR",
        value_name = "DIR",
        default_value = "/var/lib/aarp"
    )]
    state_dir: PathBuf,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct StatusArguments {
    /// One JSON record a line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
struct Place {
    /// Where the sockets of the status and of aarp-responder are.
    #[arg(
        long,
        env = "AARP_RUN_DIR",
        value_name = "DIR",
        default_value = "/run/aarp"
    )]
    run_dir: PathBuf,
}

impl Place {
    fn socket(&self) -> PathBuf {
        self.run_dir.join("binding.sock")
    }
}

fn duration(text: &str) -> Result<std::time::Duration, String> {
    aarp_core::config::read_duration(text)
        .ok_or_else(|| "expected a duration such as \"60s\" or \"5m\"".to_owned())
}

/// A line for the operator, on stderr. When stderr is gone there is nobody to tell, and
/// the registration goes on.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "aarp-binding: {line}");
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
    // Its packets are nobody's to move.
    aarp_sys::preloaded::leave_or_say("aarp-binding");
    let result = match cli.command {
        Action::Run(arguments) => bindings(&arguments).and_then(|bindings| {
            run::run(
                bindings,
                &run::Files {
                    keys: arguments.keys.clone(),
                    state: arguments.state_dir.clone(),
                    socket: arguments.place.socket(),
                    responder: arguments.place.run_dir.join("responder.sock"),
                },
                arguments.sequence,
            )
        }),
        Action::Status(arguments) => show(&arguments.place.socket(), arguments.json),
        Action::Generate(arguments) => {
            let about = aarp_pages::About {
                exit: &MEANINGS,
                files: FILES,
                sections: SECTIONS,
                related: &["aarp-agent", "aarp-responder", "aarp-run"],
            };
            aarp_pages::write(&arguments, Cli::command(), &about)
                .map_err(|error| Failure::new(code::SYSTEM, error))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say(&failure.to_string());
            ExitCode::from(failure.code)
        }
    }
}

/// The binding of the command line, or those of the file, with the settings of the
/// command line over them.
fn bindings(arguments: &RunArguments) -> Result<Vec<Settings>, Failure> {
    let mut bindings = match arguments.anycast {
        Some(anycast) => vec![Settings::new(anycast, arguments.agent.clone())],
        None => configured(&arguments.config)?,
    };
    let usage = |message: String| Failure::new(code::USAGE, message);
    let checks = arguments.check.iter().map(|check| {
        let parsed = check.parse::<aarp_health::Check>();
        parsed.map_err(|bad| usage(format!("--check {check:?}: {bad}")))
    });
    let checks: Vec<_> = checks.collect::<Result<_, _>>()?;
    for binding in &mut bindings {
        binding.care_of = arguments.care_of.or(binding.care_of);
        binding.lifetime = arguments.lifetime.unwrap_or(binding.lifetime);
        binding.spi = arguments.spi.or(binding.spi);
        binding.reverse = arguments.reverse.unwrap_or(binding.reverse);
        binding.ownership = arguments.ownership.unwrap_or(binding.ownership);
        binding.sequence_step = arguments.sequence_step.unwrap_or(binding.sequence_step);
        binding.responder = arguments.responder.unwrap_or(binding.responder);
        binding.route_optimization |= arguments.route_optimization;
        if !checks.is_empty() {
            binding.checks.clone_from(&checks);
        }
        binding
            .check()
            .map_err(|(key, problem)| usage(format!("--{}: {problem}", key.replace('_', "-"))))?;
    }
    Ok(bindings)
}

fn configured(file: &Path) -> Result<Vec<Settings>, Failure> {
    let bad = |problem: &dyn std::fmt::Display| {
        Failure::new(
            code::CONFIGURATION,
            format!("{}: {problem}", file.display()),
        )
    };
    let text = std::fs::read_to_string(file).map_err(|error| {
        let expected = "expected a file with [[binding]] tables, or --anycast and --agent";
        bad(&format!("binding: {expected}: {error}"))
    })?;
    let bindings = settings::read(&text)
        .map_err(|problem| Failure::new(code::CONFIGURATION, problem.of(file)))?;
    if bindings.is_empty() {
        return Err(bad(
            &"binding: expected at least one [[binding]] table, or --anycast and --agent",
        ));
    }
    Ok(bindings)
}

fn show(socket: &Path, json: bool) -> Result<(), Failure> {
    let lines = aarp_mobility::status::read(socket).map_err(|error| match error {
        StatusError::NotPermitted { .. } => Failure::new(code::NOT_PERMITTED, error),
        _ => Failure::new(code::UNAVAILABLE, error),
    })?;
    let mut out = std::io::stdout().lock();
    let printed = match json {
        true => lines.iter().try_for_each(|line| writeln!(out, "{line}")),
        false => status::print(&lines, &mut out),
    };
    match printed.and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::system("write the status", error))
        }
        _ => Ok(()),
    }
}

impl ValueEnum for Reverse {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Tunnel, Self::Direct]
    }
    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()))
    }
}

impl ValueEnum for Follow {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Auto, Self::Off, Self::Require]
    }
    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()))
    }
}

impl ValueEnum for Ownership {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Standby, Self::Last]
    }
    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(clap::builder::PossibleValue::new(self.name()))
    }
}
