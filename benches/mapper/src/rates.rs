//! How often a second aarpd answers what it knows.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::asking::Site;

pub(crate) fn table(stage: &Path, milliseconds: u32) -> Result<String> {
    let mut site = Site::new(stage, Duration::ZERO)?;
    let _daemon = site.daemon(1000)?;
    let a = site.fresh().to_string();
    let socket = site.socket()?;
    let mut text =
        "| clients | on one connection each | on a connection for each question |\n|--:|--:|--:|\n"
            .to_owned();
    for clients in ["1", "64"] {
        let mut row = format!("| {clients} |");
        for how in ["kept", "anew"] {
            // The daemon has the other CPU.
            let command = site.client()?.command("taskset").args(["-c", "0"]);
            let command = command.arg(site.program_path()).arg("rate").arg(&socket);
            let output = command
                .args([&a, clients, &milliseconds.to_string(), how])
                .run()?;
            let rate: f64 = String::from_utf8_lossy(&output.stdout).trim().parse()?;
            row += &format!(" {rate:.0} |");
        }
        text += &row;
        text.push('\n');
    }
    Ok(text)
}
