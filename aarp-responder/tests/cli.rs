//! Usage and configuration errors, which need no privilege to see.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};

const BINARY: &str = env!("CARGO_BIN_EXE_aarp-responder");

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("aarpt-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).expect("a fresh folder");
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear();
    command
}

fn one_line(output: &Output, code: i32) -> String {
    let said = String::from_utf8(output.stderr.clone()).expect("text");
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(output.stdout.is_empty());
    said
}

#[test]
fn bad_settings_are_named() {
    let folder = Folder::new("cli");
    let file = folder.0.join("aarp.toml");
    let name = file.to_str().expect("text");
    for (text, part) in [
        ("", "responder: expected at least one [[responder]] table"),
        (
            "[[responder]]\nanycast = \"ff02::1\"",
            "responder[0].anycast: expected a global",
        ),
        (
            "[[responder]]\nanycast = \"2001:db8::1\"\ndrain = \"5s\"",
            "responder[0].drain: not supported yet",
        ),
        (
            "[[responder]]\nanycast = \"2001:db8::1\"\ncheck = 1",
            "responder[0].check: unknown key",
        ),
        ("[[responder]", "line 1: not TOML"),
    ] {
        std::fs::write(&file, text).expect("written");
        let said = one_line(
            &command(BINARY, &["run", "--config", name])
                .output()
                .expect("runs"),
            78,
        );
        assert!(said.contains(&format!("{name}: {part}")), "{said}");
        let said = one_line(
            &command(BINARY, &["check"])
                .env("AARP_CONFIG", name)
                .env("AARP_RUN_DIR", &folder.0)
                .output()
                .expect("runs"),
            78,
        );
        assert!(said.contains(part), "{said}");
    }
    let missing = folder.0.join("missing.toml");
    let output = command(BINARY, &["run"])
        .env("AARP_CONFIG", &missing)
        .output()
        .expect("runs");
    assert!(one_line(&output, 78).contains("missing.toml: No such file"));
}

#[test]
fn bad_addresses_are_refused() {
    for anycast in ["::", "::1", "ff02::1", "fe80::1", "::ffff:192.0.2.1"] {
        let output = command(BINARY, &["run", "--anycast", anycast])
            .output()
            .expect("runs");
        let said = one_line(&output, 64);
        assert!(
            said.contains("--anycast: expected a global or unique-local"),
            "{said}"
        );
    }
    for (unicast, part) in [
        ("2001:db8:f::1", "another address"),
        ("fd00::1", "clients refuse"),
        ("fe80::1", "link-local"),
    ] {
        let output = command(BINARY, &["run", "--anycast", "2001:db8:f::1"])
            .env("AARP_RESPONDER_UNICAST", unicast)
            .output()
            .expect("runs");
        assert!(one_line(&output, 64).contains(part));
    }
    for arguments in [
        &["run", "--anycast", "192.0.2.1"][..],
        &["run", "--answer", "none"],
        &["fly"],
        &[],
    ] {
        let output = command(BINARY, arguments).output().expect("runs");
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
    }
    let help = command(BINARY, &["--help"]).output().expect("runs");
    assert_eq!(help.status.code(), Some(0));
}

#[test]
fn an_ordinary_user_is_told() {
    let folder = Folder::new("user");
    // Nobody may not be able to reach the build folder.
    let copy = folder.0.join("aarp-responder");
    aarp_lab::write_executable(&copy, std::fs::read(BINARY).expect("readable")).unwrap();
    std::fs::set_permissions(&folder.0, PermissionsExt::from_mode(0o755)).expect("ours");
    let program = copy.to_str().expect("text");
    for arguments in [&["run", "--anycast", "2001:db8:f::1"][..], &["status"]] {
        let mut command = command(program, arguments);
        if rustix::process::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        let said = one_line(&command.output().expect("runs"), 77);
        assert!(
            said.contains("not permitted: run as root or with"),
            "{said}"
        );
    }
}

#[test]
fn what_is_missing_is_asked_for() {
    let output = command(BINARY, &["run", "--config", "/nowhere/aarp.toml"])
        .output()
        .expect("start");
    let said = one_line(&output, 78);
    assert!(
        said.contains("no anycast address is named: give --anycast A, or [[responder]] tables in"),
        "{said}"
    );
    for (value, part) in [
        ("2001:db8:a::/64", "a prefix; give one address of it"),
        ("192.0.2.1", "an IPv4 address"),
        ("a.test", "not an IPv6 address"),
    ] {
        let output = command(BINARY, &["run", "--anycast", value])
            .output()
            .expect("start");
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(64), "{said}");
        assert!(said.contains(part), "{said}");
    }
}
