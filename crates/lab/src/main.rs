//! `aarp-lab`: networks in namespaces and the scenarios that run in them.
use std::io::{ErrorKind, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use aarp_lab::state::StateDir;
use aarp_lab::{Error, Runner, Scenario, Variables, catalogue, interrupt, rootless};
use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

const FAILED: u8 = 1;
const USAGE: u8 = 64;
const UNAVAILABLE: u8 = 69;
const NOT_PERMITTED: u8 = 77;
const BAD_SCENARIO: u8 = 78;
const INTERRUPTED: u8 = 130;

/// Networks in namespaces: makes them, runs scenarios in them, removes them.
#[derive(Debug, Parser)]
#[command(
    name = "aarp-lab",
    version,
    after_help = "Exit status: 0 every promise kept, 1 one was not or a step failed, \
    64 usage, 69 a needed program or device is missing, 77 not permitted, 78 bad scenario, 130 interrupted; \
    shell: that of the command."
)]
struct Cli {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Lists the scenarios that come with this program.
    List,
    /// Runs a scenario: one of the list, or a file.
    Run {
        /// Its name or file.
        scenario: String,
        #[command(flatten)]
        settings: Settings,
        /// Leave the captures, as pcap files, and the plots, as SVG files, in this
        /// folder.
        #[arg(
            long,
            visible_alias = "keep",
            value_name = "DIR",
            env = "AARP_LAB_KEEP_CAPTURES"
        )]
        keep_captures: Option<PathBuf>,
    },
    /// Gives a shell, or runs a command, in a host: of the running lab of that
    /// name, else of one made for it.
    Shell {
        /// The scenario's name or file.
        scenario: String,
        /// The host.
        host: String,
        /// A command instead of the shell.
        #[arg(last = true)]
        command: Vec<String>,
        #[command(flatten)]
        settings: Settings,
    },
    /// Ends a running lab.
    Down {
        /// Its scenario's name or file.
        scenario: String,
    },
    /// Writes manual pages or shell completions.
    #[command(hide = true)]
    Generate(aarp_pages::Arguments),
}

/// For manual pages.
const MEANINGS: [(u8, &str); 7] = [
    (0, "every promise was kept; shell: the code of the command"),
    (FAILED, "a promise was not kept, or a step failed"),
    (USAGE, "usage"),
    (UNAVAILABLE, "a program or device that is needed is missing"),
    (
        NOT_PERMITTED,
        "not permitted to make networks in namespaces, or to open a device",
    ),
    (BAD_SCENARIO, "a bad scenario"),
    (INTERRUPTED, "interrupted"),
];

#[derive(Debug, Args)]
struct Settings {
    /// Folder of the programs under test: ${stage} in scenarios. Default: the one
    /// whose bin/ this program lies in.
    #[arg(long, value_name = "DIR", env = "AARP_LAB_STAGE")]
    stage: Option<PathBuf>,
}

impl Settings {
    fn variables(&self) -> anyhow::Result<Variables> {
        let mut variables = Variables::new();
        let stage = match &self.stage {
            Some(stage) => {
                Some(std::path::absolute(stage).with_context(|| format!("{}", stage.display()))?)
            }
            None => {
                let program = std::env::current_exe().context("find this program's own file")?;
                let folder = program.parent().filter(|folder| folder.ends_with("bin"));
                folder.and_then(|bin| bin.parent()).map(PathBuf::from)
            }
        };
        if let Some(stage) = stage {
            variables.insert("stage".to_owned(), stage.display().to_string());
        }
        Ok(variables)
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors.
            let code = if error.use_stderr() { USAGE } else { 0 };
            let _ = error.print();
            return code.into();
        }
    };
    // What runs in a lab is preloaded by its scenario, and by nothing else.
    aarp_sys::preloaded::leave_or_say("aarp-lab");
    match execute(cli.command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("aarp-lab: {error:#}");
            if let Some(Error::Unknown {
                kind: "scenario", ..
            }) = error.downcast_ref()
            {
                eprintln!(
                    "aarp-lab: `aarp-lab list` shows which there are; a file is named with its \
                     folder, as ./NAME.toml"
                );
            }
            code_of(&error).into()
        }
    }
}

fn code_of(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Error>() {
        Some(Error::Missing { .. }) => UNAVAILABLE,
        Some(Error::NotPermitted(_)) => NOT_PERMITTED,
        Some(Error::Device { reason, .. }) if reason.kind() == ErrorKind::PermissionDenied => {
            NOT_PERMITTED
        }
        Some(Error::Device { .. }) => UNAVAILABLE,
        Some(Error::Scenario { .. }) => BAD_SCENARIO,
        Some(Error::Unknown { .. }) => USAGE,
        Some(Error::Interrupted) => INTERRUPTED,
        _ => FAILED,
    }
}

fn execute(command: Subcommands) -> anyhow::Result<ExitCode> {
    match command {
        Subcommands::List => {
            for (name, text) in catalogue() {
                println!("{name:10} {}", Scenario::describe(name, text)?);
            }
            Ok(ExitCode::SUCCESS)
        }
        Subcommands::Run {
            scenario,
            settings,
            keep_captures,
        } => run(&scenario, &settings, keep_captures),
        Subcommands::Shell {
            scenario,
            host,
            command,
            settings,
        } => shell(&scenario, &host, command, &settings),
        Subcommands::Generate(arguments) => {
            let about = aarp_pages::About {
                exit: &MEANINGS,
                related: &["aarp-run", "aarp-probe", "aarp-responder"],
                ..Default::default()
            };
            aarp_pages::write(&arguments, Cli::command(), &about)?;
            Ok(ExitCode::SUCCESS)
        }
        Subcommands::Down { scenario } => {
            let Some(state) = StateDir::open()?.find(&scenario)? else {
                anyhow::bail!("no lab {scenario:?} is running");
            };
            state.end(Duration::from_secs(10))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Becomes able to make networks; returns the folder of states, and whether it
/// took a user namespace.
fn prepare() -> anyhow::Result<(StateDir, bool)> {
    let states = StateDir::open()?;
    let before = std::fs::read_link("/proc/self/ns/user").ok();
    rootless::enter()?;
    let rootless = std::fs::read_link("/proc/self/ns/user").ok() != before;
    Ok((states, rootless))
}

/// Lets signals end the waits, so that everything is removed in order; a second
/// one ends the process, and the kernel removes what it leaves.
fn catch_signals(signals: &[i32]) -> anyhow::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new(signals).context("catch signals")?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            for (count, _) in signals.forever().enumerate() {
                if count > 0 {
                    std::process::exit(INTERRUPTED.into());
                }
                interrupt();
            }
        })
        .context("start a thread")?;
    Ok(())
}

/// Leaves the terminal's interrupts to the shell that it runs.
fn leave_interrupts() -> anyhow::Result<()> {
    // Caught, not ignored: ignored would be inherited.
    let nobody_looks = std::sync::Arc::default();
    signal_hook::flag::register(SIGINT, nobody_looks).context("catch signals")?;
    Ok(())
}

fn run(
    scenario: &str,
    settings: &Settings,
    keep_captures: Option<PathBuf>,
) -> anyhow::Result<ExitCode> {
    let (states, rootless) = prepare()?;
    catch_signals(&[SIGINT, SIGTERM, SIGHUP])?;
    let mut runner = Runner::start(scenario, settings.variables()?)?;
    let registration = states.register(scenario, runner.lab(), rootless)?;
    let outcome = runner.run();
    if let Some(dir) = keep_captures {
        runner.keep_captures(&dir)?;
    }
    drop(runner);
    drop(registration);
    let report = outcome?;
    println!("{report}");
    Ok(if report.held() {
        ExitCode::SUCCESS
    } else {
        FAILED.into()
    })
}

/// The hosts of a scenario, by name or file.
fn hosts(name: &str, mut variables: Variables) -> anyhow::Result<Vec<String>> {
    let known = catalogue().iter().find(|(known, _)| *known == name);
    let text = match known {
        Some((_, text)) => (*text).to_owned(),
        None if name.contains(['/', '.']) => {
            std::fs::read_to_string(name).with_context(|| format!("read the scenario {name}"))?
        }
        None => {
            let (kind, name) = ("scenario", name.to_owned());
            return Err(Error::Unknown { kind, name }.into());
        }
    };
    // They are known when it runs; the names of hosts do not depend on them.
    for name in ["work", "stage"] {
        variables.entry(name.to_owned()).or_insert("/".to_owned());
    }
    let network = Scenario::parse(name, &text, &variables)?.network();
    Ok(network.hosts.into_keys().collect())
}

fn shell(
    scenario: &str,
    host: &str,
    mut command: Vec<String>,
    settings: &Settings,
) -> anyhow::Result<ExitCode> {
    if command.is_empty() {
        command.push(std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned()));
    }
    // Before anything is started for it.
    let hosts = hosts(scenario, settings.variables()?)?;
    if !hosts.iter().any(|known| known == host) {
        eprintln!("aarp-lab: the hosts of {scenario} are {}", hosts.join(", "));
        let (kind, name) = ("host", host.to_owned());
        return Err(Error::Unknown { kind, name }.into());
    }
    leave_interrupts()?;
    if let Some(state) = StateDir::open()?.find(scenario)? {
        state.join(host)?;
        let status = std::process::Command::new(&command[0])
            .args(&command[1..])
            .env("AARP_LAB_HOST", host)
            .status()
            .with_context(|| format!("start {}", command[0]))?;
        return Ok(exit_code(status));
    }
    let (states, rootless) = prepare()?;
    catch_signals(&[SIGTERM, SIGHUP])?;
    let runner = Runner::start(scenario, settings.variables()?)?;
    let _registration = states.register(scenario, runner.lab(), rootless)?;
    let inside = runner.lab().host(host)?;
    if std::io::stderr().is_terminal() {
        eprintln!("a shell in {host}; the network ends with it");
    }
    let mut shell = inside.command(&command[0]).args(&command[1..]);
    for name in ["TERM", "USER", "LANG"] {
        if let Some(value) = std::env::var_os(name) {
            shell = shell.env(name, value);
        }
    }
    let shell = shell
        .env("AARP_LAB_HOST", host)
        .inherit_terminal()
        .spawn()?;
    let status = shell.wait(Duration::MAX)?;
    Ok(exit_code(status))
}

fn exit_code(status: std::process::ExitStatus) -> ExitCode {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or(status.signal().map(|signal| 128 + signal));
    u8::try_from(code.unwrap_or(1)).unwrap_or(FAILED).into()
}
