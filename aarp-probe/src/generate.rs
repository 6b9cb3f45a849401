//! `aarp-probe generate`: manual pages and shell completions, from the very definition
//! of the command line. For install.sh and packages.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use clap_complete::{Shell, generate_to};

use crate::exit;

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
    // Where a folder above it is missing, its name may be mistyped.
    if !folder.is_dir() {
        fs::create_dir(folder).with_context(named)?;
    }
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
    let pages: Vec<&clap::Command> = std::iter::once(&command).chain(&subcommands).collect();
    for page in &pages {
        let path = folder.join(format!("{}.1", page.get_name()));
        let others = pages.iter().map(|other| other.get_name());
        let others: Vec<&str> = others.filter(|other| *other != page.get_name()).collect();
        fs::write(&path, render(page, &others)?)?;
        println!("{}", path.display());
    }
    Ok(())
}

fn render(page: &clap::Command, others: &[&str]) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let man = clap_mangen::Man::new(page.clone())
        .title(page.get_name().to_uppercase())
        .manual("AARP")
        .source(concat!("aarp ", env!("CARGO_PKG_VERSION")));
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    let is_whole = page.get_subcommands().next().is_some();
    if is_whole {
        man.render_subcommands_section(&mut text)?;
    }
    let mut sections = String::new();
    if let Some(notes) = page.get_after_help().filter(|_| !is_whole) {
        sections.push_str(&format!(".SH NOTES\n{}\n", escaped(&notes.to_string())));
    }
    sections.push_str(".SH EXIT STATUS\n");
    for (code, meaning) in exit::MEANINGS {
        sections.push_str(&format!(".TP\n{code}\n{}\n", escaped(meaning)));
    }
    sections.push_str(&format!(".SH FILES\n{}\n", escaped(crate::SETTINGS)));
    sections.push_str(".SH SEE ALSO\n");
    let others: Vec<String> = others
        .iter()
        .map(|other| format!("\\fB{}\\fR(1)", escaped(other)))
        .collect();
    sections.push_str(&format!("{}\n", others.join(", ")));
    text.extend(sections.into_bytes());
    Ok(text)
}

/// As text of a manual page, where some signs have a meaning.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let lines = text
        .lines()
        .map(|line| match line.starts_with(['.', '\'']) {
            true => format!("\\&{line}"),
            false => line.to_owned(),
        });
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_roff_would_read_is_escaped() {
        assert_eq!(escaped(".TH a-b \\c\n'd"), "\\&.TH a\\-b \\ec\n\\&'d");
    }
}
