//! Who answers for an anycast address?
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | pinned: a unicast address answered that a program would be moved to |
//! | 1 | no answer |
//! | 2 | cannot be pinned |
//! | 4 | an answer was refused as untrusted |
//! | 5 | mixed results for several addresses |
//! | 64 | usage |
//! | 77 | not permitted |
//! | 78 | bad configuration |

mod output;
mod resolve;

use std::process::ExitCode;

use aarp_core::settings::Settings;
use aarp_sys::settings::OwnEnvironment;
use clap::{Parser, Subcommand};

/// Exit codes (sysexits(3) where it has one).
mod exit {
    pub(crate) const PINNED: u8 = 0;
    pub(crate) const NO_ANSWER: u8 = 1;
    pub(crate) const CANNOT_BE_PINNED: u8 = 2;
    pub(crate) const UNTRUSTED: u8 = 4;
    pub(crate) const MIXED: u8 = 5;
    pub(crate) const USAGE: u8 = 64;
    pub(crate) const SOFTWARE: u8 = 70;
    pub(crate) const NOT_PERMITTED: u8 = 77;
    pub(crate) const CONFIGURATION: u8 = 78;
}

/// Who answers for an IPv6 anycast address, and what a program would be moved to.
#[derive(Debug, Parser)]
#[command(name = "aarp-probe", version, about, max_term_width = 100)]
#[command(
    after_help = "Exit codes: 0 pinned, 1 no answer, 2 cannot be pinned, 4 refused as \
    untrusted, 5 mixed results,\n64 usage, 77 not permitted, 78 bad configuration.\n\n\
    What may be trusted, and times, are those of the library: /etc/aarp/aarp.toml (AARP_CONFIG), \
    the user's\nfile, and the AARP_* variables. An address is asked about whatever prefixes and \
    exclude say."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Asks once, and says who answered.
    Resolve(resolve::Arguments),
}

fn main() -> ExitCode {
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
    let mut settings = Settings::DEFAULT;
    if let Err(error) = aarp_sys::settings::load(&mut settings, &OwnEnvironment) {
        eprintln!("aarp-probe: {error}");
        return ExitCode::from(exit::CONFIGURATION);
    }
    let run = match arguments.command {
        Command::Resolve(arguments) => resolve::run(&arguments, &settings),
    };
    match run {
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
            ExitCode::from(exit::SOFTWARE)
        }
    }
}
