//! `aarp-probe`, but for what the build has told it: so a build for another folder makes
//! little anew. The exit codes are those of its `exit`.

mod cache;
mod census;
mod configuration;
mod doctor;
mod echo;
mod events;
mod exit;
mod explain;
mod mapper;
mod metrics;
mod options;
mod paint;
mod prometheus;
mod question;
mod record;
mod resolve;
mod statistics;
mod stop;
mod target;
mod top;
mod watch;
mod who;

use std::path::Path;
use std::process::ExitCode;

use aarp_core::settings::Settings;
use aarp_sys::settings::OwnEnvironment;
use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand};
use paint::{Brush, Color};

/// Who answers for an IPv6 anycast address, and what a program would be moved to
#[derive(Debug, Parser)]
#[command(name = "aarp-probe", version, max_term_width = 100)]
#[command(after_help = after_help())]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    /// When to colour what is printed; NO_COLOR is respected
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        env = "AARP_PROBE_COLOR"
    )]
    color: Color,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask once, and say who answered
    Resolve(resolve::Arguments),
    /// Ask again and again, and show each change of responder
    #[command(
        after_help = "Each round asks A and, at the same time, the unicast address of every \
        responder seen so far (8 at the\nmost), one probe each. Ctrl-C ends it with a summary; \
        the exit code is 3 if the responder changed."
    )]
    Watch(watch::Arguments),
    /// Ask on many flows, and count the responders behind the address
    #[command(
        after_help = "Flows differ in flow label, identifier and source address, by one or \
        another of which routers choose among paths of equal cost. Asked by echo; with \
        CAP_NET_RAW every flow has an identifier of its own, without it there are sixteen for \
        each source address. Ctrl-C ends it with what has been counted so far."
    )]
    Census(census::Arguments),
    /// Say what the library would do, and which line of the configuration decides
    #[command(
        after_help = "Where the library would not ask, nobody is asked, and the exit code is \
        2; with --offline it is 0 where the library would ask."
    )]
    Explain(explain::Arguments),
    /// Find what keeps programs from being pinned, and say what mends it
    #[command(
        after_help = "The exit code is 0 only if nothing hinders; else 78, 77, 70, 1, 4 or 2, \
        the first that applies."
    )]
    Doctor(doctor::Arguments),
    /// What aarpd knows: list it, show one address, have it forget
    #[command(
        after_help = "Where aarpd is dead, list and show read the table that it has left, and say \
        so."
    )]
    Cache(cache::Arguments),
    /// What aarpd is doing: mappings most used, changing and failing, and how much is asked
    #[command(
        after_help = "On a terminal it goes on until Ctrl-C ends it. What was changing and failing \
        is known from when it was started on; uses are what programs have told aarpd, at most one \
        a second and mapping."
    )]
    Top(top::Arguments),
    /// What happens in aarpd, as it happens
    #[command(
        after_help = "SIGINT (Ctrl-C) and SIGTERM end it, with exit code 0. It ends with 69 when \
        aarpd does."
    )]
    Events(events::Arguments),
    /// aarpd's counters, as Prometheus reads them
    Metrics(metrics::Arguments),
    /// Write manual pages or shell completions
    #[command(hide = true)]
    Generate(aarp_pages::Arguments),
    /// Say whether this process has a library loaded
    #[command(hide = true)]
    Loaded {
        /// The library
        library: std::path::PathBuf,
    },
}

/// The paragraph on where settings come from.
const SETTINGS: &str = "What may be trusted, and times, are those of the library: \
    /etc/aarp/aarp.toml (AARP_CONFIG), the user's file, and the AARP_* variables. A person may \
    ask about any address, whatever prefixes and exclude say.";

fn after_help() -> String {
    let mut text = "Exit codes:\n".to_owned();
    for (code, meaning) in exit::MEANINGS {
        text.push_str(&format!("  {code:>3}  {meaning}\n"));
    }
    format!("{text}\n{SETTINGS}")
}

/// Runs the program, with the arguments of the process. `libdir` is the folder of libraries
/// that the build was told of.
#[must_use]
pub fn main(libdir: Option<&Path>) -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are what was asked for.
            let code = if error.use_stderr() { exit::USAGE } else { 0 };
            // A message that cannot be printed has nowhere else to go.
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    // Whether it is loaded is what that one is to say.
    if !matches!(arguments.command, Command::Loaded { .. }) {
        aarp_sys::preloaded::leave_or_say("aarp-probe");
    }
    match run(&arguments, libdir) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // The reader of a pipe has seen enough.
            let closed = |cause: &(dyn std::error::Error + 'static)| {
                cause
                    .downcast_ref::<std::io::Error>()
                    .is_some_and(|io| io.kind() == std::io::ErrorKind::BrokenPipe)
            };
            if error.chain().any(closed) {
                return ExitCode::SUCCESS;
            }
            eprintln!("aarp-probe: {error:#}");
            ExitCode::from(if error.is::<prometheus::NotWritten>() {
                exit::NOT_WRITTEN
            } else {
                exit::SOFTWARE
            })
        }
    }
}

fn run(arguments: &Arguments, libdir: Option<&Path>) -> anyhow::Result<u8> {
    let brush = Brush::of_stdout(arguments.color);
    match &arguments.command {
        Command::Generate(arguments) => {
            let about = aarp_pages::About {
                exit: &exit::MEANINGS,
                files: SETTINGS,
                related: &["aarp-run", "aarpd", "aarp-responder", "aarp-lab"],
                ..Default::default()
            };
            aarp_pages::write(arguments, Arguments::command(), &about)?;
            return Ok(0);
        }
        Command::Loaded { library } => {
            let loaded = doctor::library::in_child(library).context("own memory map")?;
            return Ok(u8::from(!loaded));
        }
        _ => {}
    }
    let mut settings = Settings::DEFAULT;
    let loaded = aarp_sys::settings::load(&mut settings, &OwnEnvironment);
    // Threads that are left behind at the end have it too.
    let settings: &'static Settings = Box::leak(Box::new(settings));
    if let Command::Doctor(arguments) = &arguments.command {
        let loaded = loaded.as_ref().map(|()| settings);
        return doctor::run(arguments, loaded, libdir, brush);
    }
    if let Err(error) = loaded {
        let error = aarp_sys::diagnosis::configuration(&error);
        eprintln!("aarp-probe: {error}");
        return Ok(exit::CONFIGURATION);
    }
    match &arguments.command {
        Command::Resolve(arguments) => resolve::run(arguments, settings, brush),
        Command::Watch(arguments) => watch::run(arguments, settings, brush),
        Command::Census(arguments) => census::run(arguments, settings, brush),
        Command::Explain(arguments) => explain::run(arguments, settings, brush),
        Command::Cache(arguments) => cache::run(arguments, settings, brush),
        Command::Top(arguments) => top::run(arguments, settings, brush),
        Command::Events(arguments) => events::run(arguments, settings, brush),
        Command::Metrics(arguments) => metrics::run(arguments, settings),
        Command::Doctor(_) | Command::Generate(_) | Command::Loaded { .. } => {
            unreachable!("done above")
        }
    }
}
