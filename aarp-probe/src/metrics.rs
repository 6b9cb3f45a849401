//! `aarp-probe metrics`: aarpd's counters, as Prometheus reads them.

use std::io::{Write, stdout};

use aarp_core::settings::Settings;
use aarp_wire::mapper::Message;

use crate::mapper::{Which, concluded};

/// Options of `aarp-probe metrics`.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    which: Which,
}

/// Prints them, and returns the exit code.
pub(crate) fn run(arguments: &Arguments, settings: &Settings) -> anyhow::Result<u8> {
    concluded(false, print(arguments, settings))
}

fn print(arguments: &Arguments, settings: &Settings) -> anyhow::Result<u8> {
    let connection = arguments.which.connect(settings)?;
    let (text, _) = connection.lines(&Message::Metrics)?;
    let mut stdout = stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(0)
}
