//! `aarp-probe generate`: manual pages and shell completions, from the very definition
//! of the command line. For install.sh and packages.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use clap_complete::{Shell, generate_to};

/// Options of `aarp-probe generate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    what: What,
    /// The folder to write to
    folder: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// Manual pages of section 1
    Man,
    /// Completions for bash, zsh and fish
    Completions,
}

/// Writes the files, and prints the path of each.
pub(crate) fn run(arguments: &Arguments, command: clap::Command) -> anyhow::Result<u8> {
    let folder = &arguments.folder;
    let named = || folder.display().to_string();
    fs::create_dir_all(folder).with_context(named)?;
    match arguments.what {
        What::Man => man(folder, command).with_context(named)?,
        What::Completions => {
            let mut command = command;
            for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
                let path = generate_to(shell, &mut command, "aarp-probe", folder);
                println!("{}", path.with_context(named)?.display());
            }
        }
    }
    Ok(0)
}

/// A page for the program, and one for each subcommand that is for people.
fn man(folder: &Path, command: clap::Command) -> anyhow::Result<()> {
    // A page that is the same whenever it is made.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let subcommands: Vec<clap::Command> = command
        .get_subcommands()
        .filter(|subcommand| !subcommand.is_hide_set())
        .map(|subcommand| {
            let name = format!("{}-{}", command.get_name(), subcommand.get_name());
            // A page is known by the name of the program it is about.
            let name: &'static str = Box::leak(name.into_boxed_str());
            subcommand.clone().name(name)
        })
        .collect();
    for page in std::iter::once(&command).chain(&subcommands) {
        let path = folder.join(format!("{}.1", page.get_name()));
        let mut text = Vec::new();
        clap_mangen::Man::new(page.clone()).render(&mut text)?;
        fs::write(&path, text)?;
        println!("{}", path.display());
    }
    Ok(())
}
