//! The program where LD_PRELOAD is exported.

use std::path::{Path, PathBuf};
use std::process::Command;

use aarp_lab::{Lab, rootless};

use crate::site::{A, NAME, ended, probe, program, responders, u};

/// A shared object that says its name when the process ends.
fn talker(folder: &Path, name: &str) -> PathBuf {
    let source = folder.join(format!("{name}.c"));
    let text = format!(
        "#include <unistd.h>\n__attribute__((destructor)) static void end(void) {{ \
         if (write(2, \"{name}\\n\", {}) < 0) _exit(9); }}\n",
        name.len() + 1
    );
    std::fs::write(&source, text).unwrap();
    let output = folder.join(name);
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(&output).arg(source);
    assert!(cc.status().unwrap().success());
    output
}

#[test]
fn the_library_is_left_and_other_preloads_stay() {
    let folder = tempfile::tempdir().unwrap();
    let library = talker(folder.path(), "libaarp.so");
    let other = talker(folder.path(), "other.so");
    let preload = format!("{}:{}", library.display(), other.display());
    let output = Command::new(program())
        .args(["explain", "--offline", "2001:db8::1"])
        .env("AARP_CONFIG", "/dev/null")
        .env("LD_PRELOAD", preload)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "other.so\n");
}

#[test]
fn what_the_library_makes_of_names_is_not_seen() {
    rootless::test(|| {
        let Some(library) = crate::site::installed() else {
            rootless::skipped(
                "what_the_library_makes_of_names_is_not_seen",
                "libaarp.so is not installed",
            );
            return;
        };
        let lab = Lab::new(&responders(1)).unwrap();
        let client = lab.host("client").unwrap();
        let run = ended(
            probe(client, &["resolve", "--json", NAME])
                .env("LD_PRELOAD", &library)
                .env("AARP_GETADDRINFO", "rewrite")
                .env("AARP_STATS", "1"),
        );
        assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
        let record = &run.records()[0];
        assert_eq!(record["anycast"], A, "{record}");
        assert_eq!(record["unicast"], u(1).as_str(), "{record}");
    });
}
