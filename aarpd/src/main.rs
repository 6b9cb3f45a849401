//! aarpd: the Anycast Address Mapper of a host (seed 002), and its caching agent (seed
//! 003, §4.2).
//!
//! - One instance serves one network namespace: which responder answers for an anycast
//!   address belongs to that.
//! - It keeps the mapping table, a file that every process maps and reads without a lock
//!   (`aarp_core::table`), and is asked on a socket about what is not there.
//! - One thread and one loop: nothing here waits for anybody. What is asked, for whom and
//!   when, is decided in the crate aarp-mapper, without I/O.
//!
//! Killed, it leaves a table that serves until it expires; ended, none.

mod client;
mod clients;
mod configuration;
mod exporter;
mod folder;
mod listen;
mod metrics;
mod notify;
mod prober;
mod report;
mod requests;
mod run;
mod serve;
mod settings;
mod standing;
mod watch;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use aarp_host::failure::{Failure, code};
use clap::{Args, CommandFactory, Parser, Subcommand};

/// Keeps the mappings from anycast addresses to the unicast addresses that answer, for
/// all programs of this host.
#[derive(Parser)]
#[command(name = "aarpd", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Serve this network namespace until a signal ends it.
    Run(Place),
    /// Write manual pages or shell completions.
    #[command(hide = true)]
    Generate(aarp_pages::Arguments),
}

/// For manual pages.
const MEANINGS: [(u8, &str); 6] = [
    (0, "ended by a signal"),
    (code::USAGE, "usage"),
    (
        code::UNAVAILABLE,
        "something needed is missing, or another instance runs",
    ),
    (code::SYSTEM, "the system refused something"),
    (code::NOT_PERMITTED, "not permitted to probe"),
    (code::CONFIGURATION, "bad configuration"),
];
const SECTIONS: &str = "\
Signals:
  SIGTERM, SIGINT, SIGQUIT: ends; the table is retired and removed with the socket, so that nobody uses what nobody refreshes.
  SIGHUP: reads the configuration again; mappings that it still permits are kept.
Examples:
  aarpd run
  aarpd run --user-daemon
";
const FILES: &str = "/etc/aarp/aarp.toml has the tables [resolve], [times] and [daemon]. /run/aarp/aarpd.sock is the socket, /run/aarp/table the mapping table; a user's own daemon has them below $XDG_RUNTIME_DIR/aarp.";

/// By what the daemon goes.
#[derive(Args, Debug)]
pub(crate) struct Place {
    /// The configuration file [default: /etc/aarp/aarp.toml].
    #[arg(long, env = "AARP_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the socket and the table are, whatever the file says [default: /run/aarp].
    #[arg(long, env = "AARP_RUN_DIR", value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Serve the own programs of this user alone, with the user's configuration.
    #[arg(long)]
    user_daemon: bool,
}

impl Place {
    /// The folder of the socket and the table, where it is not for the file to say.
    fn run_dir(&self) -> Result<Option<PathBuf>, Failure> {
        if self.run_dir.is_some() || !self.user_daemon {
            return Ok(self.run_dir.clone());
        }
        let folder = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
        match folder.filter(|folder| folder.is_absolute()) {
            Some(folder) => Ok(Some(folder.join("aarp"))),
            None => Err(Failure::new(
                code::UNAVAILABLE,
                "XDG_RUNTIME_DIR: expected the runtime folder of this user; or give --run-dir",
            )),
        }
    }
}

/// A line for the operator, on stderr. When stderr is gone there is nobody to tell, and
/// the programs go on asking.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "aarpd: {line}");
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
    // Its probes are nobody's to move.
    aarp_sys::preloaded::leave_or_say("aarpd");
    let result = match cli.command {
        Action::Run(place) => run::run(&place),
        Action::Generate(arguments) => {
            let about = aarp_pages::About {
                exit: &MEANINGS,
                files: FILES,
                sections: SECTIONS,
                related: &["aarp-probe", "aarp-run", "aarp-responder"],
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
