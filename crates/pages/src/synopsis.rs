//! The synopsis of a manual page, with what each option is given.

use clap::{Arg, ArgAction, Command};

use crate::{escaped, takes_value};

/// The section.
pub(crate) fn render(page: &Command) -> String {
    // As it is typed, which for a subcommand is not the name of its page.
    let typed = page.get_bin_name().unwrap_or_else(|| page.get_name());
    let mut words = vec![format!("\\fB{}\\fR", escaped(typed))];
    let (positional, options): (Vec<&Arg>, Vec<&Arg>) = page
        .get_arguments()
        .filter(|arg| !arg.is_hide_set())
        .partition(|arg| arg.is_positional());
    words.extend(options.into_iter().map(option));
    words.extend(positional.into_iter().map(operand));
    if page.get_subcommands().next().is_some() {
        words.push("\\fICOMMAND\\fR".to_owned());
    }
    format!(".SH SYNOPSIS\n{}\n", words.join(" "))
}

fn names(arg: &Arg) -> String {
    let names: Vec<String> = match arg.get_value_names() {
        Some(names) => names.iter().map(ToString::to_string).collect(),
        None => vec![arg.get_id().as_str().to_uppercase()],
    };
    format!("\\fI{}\\fR", escaped(&names.join(" ")))
}

/// `[--count N]`, and what may come more than once with dots.
fn option(arg: &Arg) -> String {
    let name = match (arg.get_long(), arg.get_short()) {
        (Some(long), Some(short)) => format!("\\fB-{short}\\fR|\\fB--{long}\\fR"),
        (Some(long), None) => format!("\\fB--{long}\\fR"),
        (None, Some(short)) => format!("\\fB-{short}\\fR"),
        (None, None) => String::new(),
    };
    let name = name.replace('-', "\\-");
    let text = match takes_value(arg) {
        true => format!("{name} {}", names(arg)),
        false => name,
    };
    let dots = match arg.get_action() {
        ArgAction::Append => "...",
        _ => "",
    };
    match arg.is_required_set() {
        true => format!("{text}{dots}"),
        false => format!("[{text}]{dots}"),
    }
}

fn operand(arg: &Arg) -> String {
    let several = arg
        .get_num_args()
        .is_some_and(|count| count.max_values() > 1);
    let dots = if several { "..." } else { "" };
    let last = if arg.is_last_set() { "\\-\\- " } else { "" };
    match arg.is_required_set() {
        true => format!("{last}{}{dots}", names(arg)),
        false => format!("[{last}{}{dots}]", names(arg)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_have_their_arguments() {
        let mut command = Command::new("tool")
            .arg(
                Arg::new("time")
                    .long("timeout")
                    .short('t')
                    .value_name("TIME"),
            )
            .arg(Arg::new("json").long("json").action(ArgAction::SetTrue))
            .arg(Arg::new("secret").long("secret").hide(true))
            .arg(
                Arg::new("source")
                    .long("source")
                    .value_name("ADDR")
                    .required(true)
                    .action(ArgAction::Append),
            )
            .arg(
                Arg::new("who")
                    .value_name("ADDR|NAME")
                    .num_args(1..)
                    .required(true),
            )
            .arg(Arg::new("rest").last(true).num_args(0..))
            .disable_help_flag(true);
        command.build();
        assert_eq!(
            render(&command),
            ".SH SYNOPSIS\n\\fBtool\\fR [\\fB\\-t\\fR|\\fB\\-\\-timeout\\fR \\fITIME\\fR] \
             [\\fB\\-\\-json\\fR] \\fB\\-\\-source\\fR \\fIADDR\\fR... \\fIADDR|NAME\\fR... \
             [\\-\\- \\fIREST\\fR...]\n"
        );
    }
}
