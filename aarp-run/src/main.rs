//! `aarp-run`: starts a program under the Anycast Resolving Layer.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use aarp_core::settings::Settings;
use aarp_pages::{About, Arguments, What};
use anyhow::Context;
use clap::{CommandFactory as _, Parser};

mod check;
mod cli;
mod config;
mod echo;
mod elf;
mod judge;
mod library;
mod lookup;
mod preload;
mod privilege;
mod refusal;
mod script;
mod unreach;

use cli::Cli;
use judge::{Target, Verdict};
use library::Library;
use privilege::Caller;
use refusal::Refusal;

/// Exit status for a failure of aarp-run itself.
const FAILURE: u8 = 125;
/// Exit status for a program that is there and cannot be run.
const CANNOT_RUN: u8 = 126;
/// Exit status for a program that is not there.
const NOT_FOUND: u8 = 127;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let failed = error.use_stderr();
            // Nobody is left to be told when stderr is gone.
            let _ = error.print();
            return ExitCode::from(if failed { FAILURE } else { 0 });
        }
    };
    match run(&cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("aarp-run: {error:#}");
            ExitCode::from(FAILURE)
        }
    }
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    if let Some(library) = &cli.check_child {
        check::in_child(library, cli.check_port).context("writing to the parent")?;
        return Ok(ExitCode::SUCCESS);
    }
    for (what, folder) in [
        (What::Man, &cli.generate_man),
        (What::Completions, &cli.generate_completions),
    ] {
        if let Some(folder) = folder.clone() {
            let about = About {
                sections: cli::EXAMPLES,
                related: &["aarp-probe", "aarp-responder"],
                ..About::default()
            };
            aarp_pages::write(&Arguments { what, folder }, Cli::command(), &about)?;
            return Ok(ExitCode::SUCCESS);
        }
    }
    let settings = cli.settings(std::env::var_os("AARP_EXCLUDE"));
    let environment = |key: &str| {
        let set = settings.iter().find(|(name, _)| *name == key);
        set.map(|(_, value)| value.clone())
            .or_else(|| std::env::var_os(key))
    };
    let named = cli
        .library
        .clone()
        .or_else(|| environment("AARP_LIBRARY").map(PathBuf::from))
        .filter(|path| !path.as_os_str().is_empty());
    if cli.check {
        return check(cli, named.as_deref(), &settings, environment);
    }

    let library = library::find(named.as_deref())?;
    let asks_for_log = std::env::var_os("AARP_LOG").is_some();
    let configuration = config::check_configuration(environment)?;
    // Whoever asks for a log in the environment is told by the library itself.
    if let Some(lost) = config::lost_log(&configuration)
        && !asks_for_log
    {
        eprintln!("aarp-run: {lost}");
    }
    let (name, arguments) = cli.command.split_first().context("no command given")?;
    let verdict = match judge_command(name, arguments, &library)? {
        Ok(verdict) => verdict,
        Err(refusal) => return Ok(refuse(&refusal)),
    };
    if let Some(path) = &verdict.unreadable {
        eprintln!(
            "aarp-run: {}: may be run but not read: cannot tell whether the library will be loaded",
            path.display()
        );
    }
    let program = verdict.steps.first().context("nothing to execute")?;
    let mut command = Command::new(program);
    command
        .arg0(name)
        .args(arguments)
        .envs(settings.iter().map(|(key, value)| (key, value)))
        .envs(preload::variables(&library.path, environment));
    let error = aarp_sys::inherited::exec(&mut command);
    eprintln!("aarp-run: cannot execute {}: {error}", program.display());
    Ok(ExitCode::from(match error.kind() {
        ErrorKind::NotFound => NOT_FOUND,
        _ => CANNOT_RUN,
    }))
}

fn judge_command(
    name: &OsStr,
    arguments: &[OsString],
    library: &Library,
) -> anyhow::Result<Result<Verdict, Refusal>> {
    let target = Target {
        architecture: library.architecture,
        caller: Caller::current().context("reading the ids of this process")?,
        path: std::env::var_os("PATH"),
    };
    Ok(judge::judge(name, arguments, &target))
}

fn refuse(refusal: &Refusal) -> ExitCode {
    eprintln!("aarp-run: {refusal}");
    if let Some(remedy) = refusal.reason.remedy() {
        eprintln!("aarp-run: {remedy}");
    }
    ExitCode::from(refusal.reason.exit_code())
}

fn check(
    cli: &Cli,
    named: Option<&Path>,
    settings: &[(&'static str, OsString)],
    environment: impl Fn(&str) -> Option<OsString>,
) -> anyhow::Result<ExitCode> {
    let mut report = check::Report::default();
    let configuration = match config::check_configuration(&environment) {
        Ok(configuration) => {
            report.good("settings", "readable");
            if let Some(lost) = config::lost_log(&configuration) {
                report.note("log", lost);
            }
            configuration
        }
        Err(error) => {
            report.bad("settings", error);
            Box::new(Settings::DEFAULT)
        }
    };
    match library::find(named) {
        Ok(library) => {
            let detail = format!("{} ({})", library.path.display(), library.architecture);
            report.good("library", detail);
            let mut variables = settings.to_vec();
            variables.extend(preload::variables(&library.path, &environment));
            check::child_process(&mut report, &library, &variables, &configuration)
                .context("starting a child process")?;
            if let Some((name, arguments)) = cli.command.split_first() {
                report_command(&mut report, name, arguments, &library)?;
            }
        }
        Err(error) => report.bad("library", error),
    }
    let good = report.print().context("writing to stdout")?;
    Ok(ExitCode::from(if good { 0 } else { FAILURE }))
}

fn report_command(
    report: &mut check::Report,
    name: &OsStr,
    arguments: &[OsString],
    library: &Library,
) -> anyhow::Result<()> {
    match judge_command(name, arguments, library)? {
        Ok(verdict) => {
            report.good("command", judge::describe(&verdict.steps));
            if let Some(path) = verdict.unreadable {
                report.note(
                    "command",
                    format!("{} cannot be read, and was not judged", path.display()),
                );
            }
        }
        Err(refusal) => {
            report.bad("command", &refusal);
            if let Some(remedy) = refusal.reason.remedy() {
                report.remedy(remedy);
            }
        }
    }
    Ok(())
}
