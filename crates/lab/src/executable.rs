//! Programs that a process writes and then runs.
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::Context;
use crate::{Error, Result};

/// Writes a program with mode 0755, in place of what has that name.
///
/// The file is never open in this process: a child that another thread starts
/// meanwhile would hold it open for writing until its own execve(2), and whoever runs
/// the program before that gets ETXTBSY.
///
/// # Errors
/// With the path and what install(1) says: the folder is not there or may not be
/// written to, or there is no room.
pub fn write_executable(path: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> Result<()> {
    let path = path.as_ref();
    let what = || format!("write {}", path.display());
    let mut install = Command::new("install")
        .args(["-m", "0755", "--", "/dev/stdin"])
        .arg(path)
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context(|| "run install".to_owned())?;
    let mut pipe = install.stdin.take().expect("it was asked for");
    let written = pipe.write_all(contents.as_ref());
    drop(pipe);
    let output = install.wait_with_output().context(what)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr)
            .trim_end()
            .to_owned();
        return Err(Error::Io {
            what: what(),
            reason: std::io::Error::other(said),
        });
    }
    written.context(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        write_executable(&path, "#!/bin/sh\necho first\n").unwrap();
        write_executable(&path, "#!/bin/sh\necho second\n").unwrap();
        let output = Command::new(&path).output().unwrap();
        assert_eq!(output.stdout, b"second\n");
        // Larger than a pipe.
        let octets = vec![0x61; 1 << 20];
        write_executable(&path, &octets).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), octets);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = write_executable("/nonexistent/program", [0; 1 << 20]).unwrap_err();
        assert!(
            error.to_string().contains("write /nonexistent/program: "),
            "{error}"
        );
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
