//! What the tests of this folder and its neighbours start: the installed tree, and
//! programs in C.
#![allow(dead_code)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The installed tree: `AARP_STAGE`, or target/stage.
pub fn stage() -> PathBuf {
    let stage = std::env::var_os("AARP_STAGE").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/stage"),
        PathBuf::from,
    );
    assert!(
        stage.join("bin/aarp-run").is_file(),
        "{} has no installed tree: run PREFIX={0} ./install.sh, or set AARP_STAGE",
        stage.display()
    );
    stage
}

/// A program of the installed tree.
pub fn tool(name: &str) -> PathBuf {
    stage().join("bin").join(name)
}

/// The preload library of the installed tree.
pub fn library() -> PathBuf {
    stage().join("lib/aarp/libaarp.so")
}

/// A python3, the system's own first: what else is in PATH may be a script that
/// looks for one.
pub fn python() -> &'static str {
    let system = "/usr/bin/python3";
    if Path::new(system).is_file() {
        system
    } else {
        "python3"
    }
}

/// Whether all of these programs are there; if not, a line says that the test is
/// skipped. Not by the macro, whose output the test harness swallows.
pub fn has(programs: &[&str]) -> bool {
    for program in programs {
        if let Err(error) = aarp_lab::tools::find(program) {
            skip(&error.to_string());
            return false;
        }
    }
    true
}

/// Says that a test is skipped, and why.
pub fn skip(why: &str) {
    writeln!(std::io::stderr(), "SKIPPED: {why}").expect("stderr is open");
}

/// Compiles a program in C; `output` is its path without an extension.
pub fn compile(source: &str, output: &Path, flags: &[&str]) {
    let file = output.with_extension("c");
    std::fs::write(&file, source).expect("a writable folder");
    let done = Command::new("cc")
        .args(["-O1", "-g", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(output)
        .arg(&file)
        .args(flags)
        .output()
        .expect("a C compiler: Rust itself needs one");
    assert!(
        done.status.success(),
        "{}",
        String::from_utf8_lossy(&done.stderr)
    );
}
