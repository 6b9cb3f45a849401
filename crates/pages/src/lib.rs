//! Manual pages and shell completions, from the very definition of a command line.
//! For install.sh and packages.

mod synopsis;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::builder::ValueRange;
use clap::{Arg, ArgAction, Command, ValueEnum};
use clap_complete::{Shell, generate_to};

/// Options of the hidden subcommand `generate`.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// What to write.
    pub what: What,
    /// The folder to write to
    pub folder: PathBuf,
}

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// Manual pages of section 1
    Man,
    /// Completions for bash, zsh and fish
    Completions,
}

/// What the definition of a command line does not say.
#[derive(Debug, Clone, Copy, Default)]
pub struct About<'a> {
    /// Exit codes and what they mean.
    pub exit: &'a [(u8, &'a str)],
    /// The section on files.
    pub files: &'a str,
    /// More sections, as in a help text: a heading that ends with a colon at the
    /// beginning of a line, and indented lines.
    pub sections: &'a str,
    /// Pages that have to do with this program.
    pub related: &'a [&'a str],
}

/// Writes the files, and prints the path of each.
///
/// # Errors
/// The folder, which is made where only itself is missing, or a file could not be
/// written.
pub fn write(arguments: &Arguments, command: Command, about: &About<'_>) -> io::Result<()> {
    let folder = &arguments.folder;
    let named = |error: io::Error| {
        let text = format!("{}: {error}", folder.display());
        io::Error::new(error.kind(), text)
    };
    // Where a folder above it is missing, its name may be mistyped.
    if !folder.is_dir() {
        fs::create_dir(folder).map_err(named)?;
    }
    match arguments.what {
        What::Man => man(folder, command, about).map_err(named),
        What::Completions => completions(folder, command).map_err(named),
    }
}

fn completions(folder: &Path, command: Command) -> io::Result<()> {
    let name = command.get_name().to_owned();
    let mut command = visible(&command);
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let path = generate_to(shell, &mut command, &name, folder)?;
        if shell == Shell::Bash {
            // clap_complete 4.6 writes a program's name with a dash in two ways, so that
            // no subcommand is found.
            let text = fs::read_to_string(&path)?;
            let (one, other) = (name.replace('-', "__subcmd__"), name.replace('-', "__"));
            let text = without_hidden(&text.replace(&one, &other), &command);
            fs::write(&path, text)?;
        }
        println!("{}", path.display());
    }
    Ok(())
}

/// A completion for bash, which offers hidden options as well, without those.
fn without_hidden(text: &str, command: &Command) -> String {
    let commands = std::iter::once(command).chain(command.get_subcommands());
    let hidden = commands.flat_map(|command| command.get_arguments().filter(|a| a.is_hide_set()));
    let hidden: Vec<String> = hidden
        .filter_map(|argument| Some(format!("--{}", argument.get_long()?)))
        .collect();
    let lines = text.lines().map(|line| {
        let Some(words) = line.trim_start().strip_prefix("opts=\"") else {
            return line.to_owned();
        };
        let indent = &line[..line.len() - line.trim_start().len()];
        let words = words.trim_end_matches('"').split_whitespace();
        let words: Vec<&str> = words
            .filter(|word| !hidden.iter().any(|hidden| hidden == word))
            .collect();
        format!("{indent}opts=\"{}\"", words.join(" "))
    });
    lines.map(|line| line + "\n").collect()
}

/// What of a command line is for people, but for options: not all shells leave out
/// subcommands that are hidden.
fn visible(command: &Command) -> Command {
    // Names have to last as long as the program, which ends after this.
    let lasting = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
    let mut visible = Command::new(lasting(command.get_name()));
    if let Some(version) = command.get_version() {
        visible = visible.version(lasting(version));
    }
    if let Some(about) = command.get_about() {
        visible = visible.about(about.clone());
    }
    let subcommands = command.get_subcommands();
    visible.args(command.get_arguments().cloned()).subcommands(
        subcommands
            .filter(|sub| !sub.is_hide_set())
            .map(self::visible),
    )
}

/// A page for the program, and one for each subcommand that is for people, and for each
/// of its own.
fn man(folder: &Path, command: Command, about: &About<'_>) -> io::Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut pages = vec![command];
    add_subcommands(&mut pages, 0);
    for page in &pages {
        let path = folder.join(format!("{}.1", page.get_name()));
        let others = pages.iter().map(|other| other.get_name());
        let others = others
            .chain(about.related.iter().copied())
            .filter(|other| *other != page.get_name());
        fs::write(&path, render(page, about, &others.collect::<Vec<_>>())?)?;
        println!("{}", path.display());
    }
    Ok(())
}

/// Adds the subcommands of a page, each followed by its own.
fn add_subcommands(pages: &mut Vec<Command>, of: usize) {
    let named = |subcommand: &Command| {
        let name = format!("{}-{}", pages[of].get_name(), subcommand.get_name());
        // A page is known by the name of the program it is about.
        let name: &'static str = Box::leak(name.into_boxed_str());
        subcommand.clone().name(name)
    };
    let visible = pages[of].get_subcommands().filter(|s| !s.is_hide_set());
    for subcommand in visible.map(named).collect::<Vec<_>>() {
        pages.push(subcommand);
        add_subcommands(pages, pages.len() - 1);
    }
}

fn render(page: &Command, about: &About<'_>, others: &[&str]) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let man = clap_mangen::Man::new(page.clone())
        .title(page.get_name().to_uppercase())
        .manual("AARP")
        .source(concat!("aarp ", env!("CARGO_PKG_VERSION")));
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    text.extend(synopsis::render(page).into_bytes());
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    let is_whole = page.get_subcommands().next().is_some();
    if is_whole {
        man.render_subcommands_section(&mut text)?;
    }
    let mut rest = sections(about.sections);
    let is_subcommand = !is_whole && about.sections.is_empty();
    if let Some(notes) = page.get_after_help().filter(|_| is_subcommand) {
        rest.push_str(&format!(".SH NOTES\n{}\n", escaped(&notes.to_string())));
    }
    if !about.exit.is_empty() {
        rest.push_str(".SH EXIT STATUS\n");
    }
    for (code, meaning) in about.exit {
        rest.push_str(&format!(".TP\n{code}\n{}\n", escaped(meaning)));
    }
    if !about.files.is_empty() {
        rest.push_str(&format!(".SH FILES\n{}\n", escaped(about.files)));
    }
    if !others.is_empty() {
        let others: Vec<String> = others
            .iter()
            .map(|other| format!("\\fB{}\\fR(1)", escaped(other)))
            .collect();
        rest.push_str(&format!(".SH SEE ALSO\n{}\n", others.join(", ")));
    }
    text.extend(rest.into_bytes());
    Ok(text)
}

/// The sections of a help text, whose lines stay as they are.
fn sections(help: &str) -> String {
    let mut text = String::new();
    for line in help.lines() {
        match line.strip_suffix(':').filter(|line| !line.starts_with(' ')) {
            Some(heading) => {
                if !text.is_empty() {
                    text.push_str(".fi\n");
                }
                text.push_str(&format!(".SH {}\n.nf\n", escaped(&heading.to_uppercase())));
            }
            None => text.push_str(&format!("{}\n", escaped(line.trim_start()))),
        }
    }
    if !text.is_empty() {
        text.push_str(".fi\n");
    }
    text
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

/// Whether the argument is given a value.
fn takes_value(arg: &Arg) -> bool {
    let by_action = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    by_action && arg.get_num_args() != Some(ValueRange::EMPTY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_roff_would_read_is_escaped() {
        assert_eq!(escaped(".TH a-b \\c\n'd"), "\\&.TH a\\-b \\ec\n\\&'d");
    }

    #[test]
    fn a_help_text_becomes_sections() {
        assert_eq!(
            sections("Examples:\n  a -b\n\nExit status:\n  1  bad"),
            ".SH EXAMPLES\n.nf\na \\-b\n\n.fi\n.SH EXIT STATUS\n.nf\n1  bad\n.fi\n"
        );
        assert_eq!(sections(""), "");
    }
}
