//! Records of what was tried with which program, for docs/programs.md.
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::base::system;

/// What became of one program.
#[derive(Debug)]
pub(crate) struct Record<'r> {
    pub(crate) program: &'r str,
    /// Its command, by which its package and version are found.
    pub(crate) executable: &'r str,
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
            "version": version(self.executable),
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

/// The Debian package that has a command, and its version without what the
/// distribution adds.
fn version(executable: &str) -> String {
    let path = std::fs::canonicalize(system(executable));
    let path = path.unwrap_or_else(|error| panic!("{executable}: {error}"));
    let path = path.to_string_lossy();
    // Packages know some commands by the name that they had before /bin was merged.
    let names = [&*path, path.trim_start_matches("/usr")];
    let package = names.iter().find_map(|name| query(&["-S", name]));
    // "package: path", "package:architecture: path"
    let package = package.as_deref().and_then(|said| said.split(':').next());
    let version = package
        .and_then(|package| query(&["-W", "-f", "${Package} ${source:Upstream-Version}", package]));
    // Another distribution, or not from a package.
    version.unwrap_or_else(|| "not from a package".to_owned())
}

fn query(arguments: &[&str]) -> Option<String> {
    let output = Command::new("dpkg-query").args(arguments).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then_some(said)
}
