//! Records of what was tried with which program, for docs/programs.md.
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use serde_json::json;

/// What became of one program.
#[derive(Debug)]
pub(crate) struct Record<'r> {
    pub(crate) program: &'r str,
    /// The Debian package that has it.
    pub(crate) package: &'r str,
    /// The calls on its socket.
    pub(crate) calls: &'r str,
    pub(crate) tried: &'r str,
    /// `pinned`, `unpinned`, `refused` or `rewritten`.
    pub(crate) result: &'r str,
    /// Why it was not pinned, or what must be known; empty for nothing.
    pub(crate) reason: &'r str,
}

impl Record<'_> {
    /// Adds it to the folder that `AARP_RECORDS` names; does nothing without one.
    ///
    /// # Panics
    /// When it cannot be written.
    pub(crate) fn write(&self) {
        let Some(folder) = std::env::var_os("AARP_RECORDS") else {
            return;
        };
        let record = json!({
            "schema": 1,
            "type": "program",
            "program": self.program,
            "package": self.package,
            "version": version(self.package),
            "calls": self.calls,
            "tried": self.tried,
            "result": self.result,
            "reason": self.reason,
        });
        // Tests of one process write at the same time: whole lines, at the end.
        let name = format!("{}.jsonl", std::process::id());
        let file = PathBuf::from(folder).join(name);
        let opened = OpenOptions::new().create(true).append(true).open(&file);
        let written = opened.and_then(|mut file| file.write_all(format!("{record}\n").as_bytes()));
        written.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }
}

/// The version of a package without what the distribution adds.
fn version(package: &str) -> String {
    let query = ["-W", "-f", "${source:Upstream-Version}", package];
    let output = std::process::Command::new("dpkg-query")
        .args(query)
        .output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).into_owned()
        }
        // Another distribution, or not from a package.
        _ => "unknown".to_owned(),
    }
}
