//! aarp-agent: the home anycast agent (seed 001, the thesis's basic model).
//!
//! Responders of an anycast address A register with it by Binding Updates of Mobile
//! IPv6 (RFC 6275), authenticated by RFC 4285; it relays what is sent to A to the
//! responder that is registered, through an IPv6 tunnel, and back.
//!
//! - A has to be routed to this host, or lie on one of its links, where it then answers
//!   neighbour solicitations in the responders' place. The kernel routes A into a TUN
//!   device; what comes out of the tunnels leaves by the same device.
//! - Control messages come by the input hook of nftables (see `aarp_mobility::channel`).
//! - A thread relays (`relay`); the main thread answers updates, lets bindings end and
//!   serves the status (`run`).
//!
//! What changes on the host is undone at the end. The TUN device and its routes go with
//! the process, however it ends; a proxy neighbour or an nft table that `kill -9` leaves
//! is replaced by the next start.

mod counters;
mod keys;
mod links;
mod memory;
mod place;
mod relay;
mod run;
mod settings;
mod status;
mod table;
mod thread;

use std::io::Write;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use aarp_core::prefix::Prefix;
use aarp_host::failure::{Failure, code};
use aarp_mobility::status::StatusError;
use clap::{Args, CommandFactory, Parser, Subcommand};

use settings::{Given, Settings};

/// Registers responders of anycast addresses by Mobile IPv6 and relays to them.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Serve the anycast addresses until a signal ends it.
    Run(RunArguments),
    /// Show the bindings and counters of a running agent.
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
  SIGTERM, SIGINT, SIGQUIT: ends; what it has changed on the host is put back.
  SIGHUP: reads the file of keys again.
Examples:
  aarp-agent run --address 2001:db8:0:1::2 --home 2001:db8:0:1::a
  aarp-agent status --json
";
const FILES: &str = "/etc/aarp/aarp.toml has the table [agent], /etc/aarp/keys.toml (mode 0600) the keys of the responders. /run/aarp/agent.sock is the socket of the status; /run/aarp/agent.bindings keeps the bindings over a restart.";

#[derive(Args)]
struct RunArguments {
    /// The configuration file; its table `[agent]` is read.
    #[arg(
        long,
        env = "AARP_CONFIG",
        value_name = "FILE",
        default_value = "/etc/aarp/aarp.toml"
    )]
    config: PathBuf,
    /// The agent's own address, to which Binding Updates are sent.
    #[arg(long, env = "AARP_AGENT_ADDRESS", value_name = "ADDRESS")]
    address: Option<Ipv6Addr>,
    /// An anycast address, or a prefix of them; may be given several times.
    #[arg(
        long,
        env = "AARP_AGENT_HOME",
        value_name = "A",
        value_delimiter = ',',
        value_parser = prefix
    )]
    home: Vec<Prefix>,
    /// The file of keys [default: /etc/aarp/keys.toml].
    #[arg(long, env = "AARP_AGENT_KEYS", value_name = "FILE")]
    keys: Option<PathBuf>,
    /// Accept updates that nothing authenticates: whoever reaches the agent can then
    /// take any of its addresses.
    #[arg(long, env = "AARP_AGENT_INSECURE_UNAUTHENTICATED")]
    insecure_unauthenticated: bool,
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
    /// Where the socket of the status is.
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
        self.run_dir.join("agent.sock")
    }
}

fn prefix(text: &str) -> Result<Prefix, String> {
    text.parse()
        .map_err(|error: aarp_core::prefix::PrefixError| error.to_string())
}

/// A line for the operator, on stderr. When stderr is gone there is nobody to tell, and
/// the relay goes on.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "aarp-agent: {line}");
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
    aarp_sys::preloaded::leave_or_say("aarp-agent");
    let result = match cli.command {
        Action::Run(arguments) => {
            settings(&arguments).and_then(|settings| run::run(&settings, &arguments.place.socket()))
        }
        Action::Status(arguments) => show(&arguments.place.socket(), arguments.json),
        Action::Generate(arguments) => {
            let about = aarp_pages::About {
                exit: &MEANINGS,
                files: FILES,
                sections: SECTIONS,
                related: &["aarp-binding", "aarp-responder", "aarp-run"],
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

/// The settings of the file, with the command line over them. Without the file the
/// command line may say enough.
fn settings(arguments: &RunArguments) -> Result<Settings, Failure> {
    let file = &arguments.config;
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if arguments.address.is_none() {
                let name = file.display();
                let hint = "expected a file with an [agent] table, or --address and --home";
                let message = format!("{name}: {hint}: there is none");
                return Err(Failure::new(code::CONFIGURATION, message));
            }
            String::new()
        }
        Err(error) => {
            let message = format!("{}: cannot be read: {error}", file.display());
            return Err(Failure::new(code::CONFIGURATION, message));
        }
    };
    let given = Given {
        address: arguments.address,
        home: arguments.home.clone(),
        keys: arguments.keys.clone(),
        insecure_unauthenticated: arguments.insecure_unauthenticated,
    };
    settings::read(&text, &given).map_err(|bad| Failure::new(code::CONFIGURATION, bad.of(file)))
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
