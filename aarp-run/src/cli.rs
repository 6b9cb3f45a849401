//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, ValueEnum, ValueHint};

pub(crate) const EXAMPLES: &str = "\
Examples:
  aarp-run curl -O http://[2001:db8::a]/big.iso
  aarp-run --prefixes 2001:db8::/48 --log info ssh host.example
  aarp-run --check
  aarp-run --check /usr/bin/ping

Configuration:
  /etc/aarp/aarp.toml (another one: --config), then the user's
  ~/.config/aarp/aarp.toml, then AARP_* variables, then the options above,
  each of which sets one of them for CMD and all that it starts.

What cannot be preloaded:
  programs that are setuid, setgid or have file capabilities (root may start
  them all the same), static ones, those of another architecture or C library.
  A script is judged by its interpreter, env by what it would start, as far as
  its arguments tell; other launchers (nice, timeout, sh -c) are not looked
  into, nor is a program that clears its environment.

Exit status:
  that of CMD, and
  125  aarp-run failed: no library, a bad setting, a check that failed
  126  CMD cannot be preloaded or not executed at all; the reason is printed
  127  CMD, its interpreter or its dynamic linker was not found";

/// Start a program under the Anycast Resolving Layer
///
/// When CMD opens a connection to an IPv6 anycast address, it is moved to the
/// unicast address of the node that answers at that moment, and stays with that
/// node whatever routing does afterwards. CMD itself needs no change and notices
/// nothing.
#[derive(Debug, Parser)]
#[command(
    name = "aarp-run",
    version,
    after_help = EXAMPLES,
    override_usage = "aarp-run [OPTIONS] [--] CMD [ARGS]...\n       aarp-run --check [CMD [ARGS]...]"
)]
pub(crate) struct Cli {
    /// Ask only about these prefixes, comma-separated
    #[arg(long, value_name = "LIST", help_heading = "Settings for CMD")]
    pub(crate) prefixes: Option<OsString>,

    /// Never ask about these prefixes either, comma-separated
    #[arg(long, value_name = "LIST", help_heading = "Settings for CMD")]
    pub(crate) exclude: Option<OsString>,

    /// Accept only unicast addresses within these prefixes, comma-separated
    #[arg(long, value_name = "LIST", help_heading = "Settings for CMD")]
    pub(crate) trusted: Option<OsString>,

    /// Ask by these methods, comma-separated: echo, unreach
    ///
    /// `unreach` needs no permission; it is used only for `prefixes`, and with
    /// `trusted`.
    #[arg(long, value_name = "LIST", help_heading = "Settings for CMD")]
    pub(crate) methods: Option<OsString>,

    /// What getaddrinfo does with the addresses that it finds
    #[arg(long, value_name = "WHAT", help_heading = "Settings for CMD")]
    pub(crate) getaddrinfo: Option<GetAddrInfo>,

    /// When nobody answers: go to the anycast address itself, or fail
    #[arg(long, value_name = "WHAT", help_heading = "Settings for CMD")]
    pub(crate) on_failure: Option<OnFailure>,

    /// Let the library report: off, error, warn, info or debug
    #[arg(long, value_name = "LEVEL", help_heading = "Settings for CMD")]
    pub(crate) log: Option<OsString>,

    /// Let the library print its counters when CMD ends
    #[arg(long, help_heading = "Settings for CMD")]
    pub(crate) stats: bool,

    /// Read this file in place of /etc/aarp/aarp.toml
    #[arg(long, value_name = "FILE", help_heading = "Settings for CMD")]
    pub(crate) config: Option<PathBuf>,

    /// Preload this libaarp.so [env: AARP_LIBRARY]
    #[arg(long, value_name = "FILE")]
    pub(crate) library: Option<PathBuf>,

    /// Prove that the library is loaded and that a probe can be sent; judge CMD
    #[arg(long)]
    pub(crate) check: bool,

    /// What `--check` starts as its child
    #[arg(long, hide = true, value_name = "LIBRARY", conflicts_with_all = ["check", "command"])]
    pub(crate) check_child: Option<PathBuf>,

    /// The closed port that the child asks
    #[arg(long, hide = true, value_name = "PORT", default_value_t = 33999)]
    pub(crate) check_port: u16,

    /// Writes the manual page to this folder
    #[arg(long, hide = true, value_name = "DIR")]
    pub(crate) generate_man: Option<PathBuf>,

    /// Writes the completions to this folder
    #[arg(long, hide = true, value_name = "DIR")]
    pub(crate) generate_completions: Option<PathBuf>,

    /// The program to start, and its arguments
    #[arg(
        value_name = "CMD",
        trailing_var_arg = true,
        value_hint = ValueHint::CommandWithArguments,
        required_unless_present_any =
            ["check", "check_child", "generate_man", "generate_completions"]
    )]
    pub(crate) command: Vec<OsString>,
}

/// The values of `on_failure`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum OnFailure {
    /// Go to the anycast address
    Pass,
    /// Fail with EHOSTUNREACH
    Refuse,
}

/// The values of `getaddrinfo`.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum GetAddrInfo {
    /// Ask about all of them at once, and change nothing
    Prefetch,
    /// Also give the unicast addresses to CMD
    Rewrite,
    /// Nothing
    Off,
}

impl Cli {
    /// The settings given on the command line, as the library reads them.
    /// `excluded` is what the environment excludes already, to which a command may
    /// add and from which it may not take away.
    pub(crate) fn settings(&self, excluded: Option<OsString>) -> Vec<(&'static str, OsString)> {
        let exclude = self.exclude.clone().map(|exclude| match excluded {
            Some(mut list) if !list.is_empty() => {
                list.push(",");
                list.push(exclude);
                list
            }
            _ => exclude,
        });
        let on_failure = self.on_failure.map(|value| match value {
            OnFailure::Pass => OsString::from("pass"),
            OnFailure::Refuse => OsString::from("refuse"),
        });
        let getaddrinfo = self.getaddrinfo.map(|value| match value {
            GetAddrInfo::Prefetch => OsString::from("prefetch"),
            GetAddrInfo::Rewrite => OsString::from("rewrite"),
            GetAddrInfo::Off => OsString::from("off"),
        });
        let stats = self.stats.then(|| OsString::from("true"));
        let config = self.config.clone().map(PathBuf::into_os_string);
        [
            ("AARP_PREFIXES", self.prefixes.clone()),
            ("AARP_EXCLUDE", exclude),
            ("AARP_TRUSTED", self.trusted.clone()),
            ("AARP_METHODS", self.methods.clone()),
            ("AARP_GETADDRINFO", getaddrinfo),
            ("AARP_ON_FAILURE", on_failure),
            ("AARP_LOG", self.log.clone()),
            ("AARP_STATS", stats),
            ("AARP_CONFIG", config),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn command(words: &[&str]) -> Vec<OsString> {
        let words = std::iter::once("aarp-run").chain(words.iter().copied());
        Cli::try_parse_from(words).expect("parsed").command
    }

    #[test]
    fn definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_commands_own_words_are_left_alone() {
        for words in [
            &["curl", "--log", "x", "--version", "-h", "--help"][..],
            &["sh", "-c", "x", "--", "-a", "--"],
            &["cmd", "--check", "--stats", "--prefixes=1"],
            &["cmd", "", "-"],
            &["-"],
        ] {
            assert_eq!(command(words), words, "{words:?}");
        }
        assert_eq!(command(&["--", "cmd", "--", "-x"]), ["cmd", "--", "-x"]);
        assert_eq!(command(&["--", "--odd"]), ["--odd"]);
        assert_eq!(command(&["--stats", "cmd", "--stats"]), ["cmd", "--stats"]);
    }

    #[test]
    fn an_unknown_option_is_not_a_command() {
        let parsed = Cli::try_parse_from(["aarp-run", "--prefxes", "x", "cmd"]);
        assert!(parsed.is_err());
        assert!(Cli::try_parse_from(["aarp-run"]).is_err());
    }
}
