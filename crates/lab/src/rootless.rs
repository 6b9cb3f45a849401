//! Networks for ordinary users, in a user namespace of their own.
use std::io::Write;
use std::process::Command;

use aarp_sys::netns;

use crate::{Error, Result};

/// Set in a test that was started anew inside a user namespace.
const INSIDE: &str = "AARP_LAB_INSIDE";

/// Makes this process able to make networks: an ordinary user's becomes root of
/// a user namespace. Before any thread is started.
pub fn enter() -> Result<()> {
    if netns::may_administer() {
        return Ok(());
    }
    netns::become_root_of_user_namespace().map_err(|error| {
        let why = format!("not root, and no user namespace ({error}): see kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns");
        Error::NotPermitted(why)
    })?;
    if netns::may_administer() {
        return Ok(());
    }
    let why = "the user namespace gives no capabilities (an AppArmor or SELinux policy?)";
    Err(Error::NotPermitted(why.to_owned()))
}

/// Runs the body of a `#[test]` that needs networks. For an ordinary user the
/// test is started anew, alone, in a user namespace; where that is denied it is
/// skipped, and a line on standard error says so.
///
/// # Panics
/// When the test fails.
pub fn test(body: impl FnOnce()) {
    if netns::may_administer() {
        return body();
    }
    let thread = std::thread::current();
    let name = thread.name().expect("a test runs in a thread of its name");
    if is_inside() {
        panic!("{name}: no capabilities inside a user namespace");
    }
    let program = std::env::current_exe().expect("a test has an executable");
    let mut command = Command::new(program);
    command
        .args(["--exact", name, "--nocapture", "--include-ignored"])
        .env(INSIDE, "1");
    match netns::spawn_in_user_namespace(&mut command) {
        Ok(mut child) => {
            let status = child.wait().expect("the test was started");
            assert!(status.success(), "{name} in a user namespace: {status}");
        }
        Err(error) => {
            skipped(name, &format!("not root, and no user namespace: {error}"));
        }
    }
}

/// Whether this is a test that was started anew inside a user namespace.
pub fn is_inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Says on standard error that a test was skipped, past the test harness, which
/// swallows what a macro prints.
pub fn skipped(test: &str, why: &str) {
    let line = format!("SKIPPED: {test}: {}\n", why.trim_end());
    // Nobody reads it where standard error is closed.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
