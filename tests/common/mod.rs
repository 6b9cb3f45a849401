//! What the tests of the installed programs share.
use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// The installed tree that is tested: `AARP_STAGE`, or target/stage.
///
/// # Panics
/// When there is none.
pub(crate) fn stage() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let stage = match std::env::var_os("AARP_STAGE") {
        Some(stage) => PathBuf::from(stage),
        None => root.join("target/stage"),
    };
    let whole = ["bin/aarp-run", "bin/aarp-responder", "lib/aarp/libaarp.so"];
    assert!(
        stage.is_absolute() && whole.iter().all(|part| stage.join(part).is_file()),
        "{} is no installed tree (an absolute path is needed). \
         Make it: PREFIX={}/target/stage ./install.sh",
        stage.display(),
        root.display(),
    );
    stage
}

/// Says that the test that calls this does not run.
pub(crate) fn skipped(reason: &str) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("?");
    // The handle, not the macro: the harness must not swallow it.
    let line = format!("SKIPPED: {name}: {reason}\n");
    std::io::stderr()
        .write_all(line.as_bytes())
        .expect("standard error can be written");
}

/// Runs a program that needs no network, to its end.
///
/// # Panics
/// When it cannot be run or fails.
pub(crate) fn run(program: &str, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) {
    let mut command = std::process::Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command.env("GIT_CONFIG_GLOBAL", "/dev/null");
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Whether there are users besides this one: not in an ordinary user's namespace.
pub(crate) fn has_other_users() -> bool {
    // Inside, outside, and how many.
    let map = std::fs::read_to_string("/proc/self/uid_map").expect("/proc is mounted");
    let counts = map
        .lines()
        .filter_map(|line| line.split_whitespace().nth(2));
    counts
        .filter_map(|count| count.parse::<u64>().ok())
        .sum::<u64>()
        > 1
}
