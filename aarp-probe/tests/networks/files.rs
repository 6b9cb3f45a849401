//! What is made from the definition of the command line: manual pages, completions.
//! And metrics that cannot be written.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::site::program;

const SUBCOMMANDS: [&str; 9] = [
    "resolve", "watch", "census", "explain", "doctor", "cache", "top", "events", "metrics",
];

fn run(arguments: &[&str]) -> Output {
    Command::new(program())
        .args(arguments)
        .env("AARP_CONFIG", "/dev/null")
        .output()
        .unwrap()
}

fn generate(what: &str, folder: &Path) -> Vec<PathBuf> {
    let output = run(&["generate", what, folder.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(PathBuf::from).collect()
}

fn has(program: &str) -> bool {
    let found = Command::new("sh")
        .args(["-c", &format!("command -v {program}")])
        .output();
    found.is_ok_and(|output| output.status.success())
}

#[test]
fn manual_pages_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let pages = generate("man", folder.path());
    let mut names = vec!["aarp-probe.1".to_owned()];
    names.extend(SUBCOMMANDS.map(|name| format!("aarp-probe-{name}.1")));
    let mut found: Vec<String> = pages
        .iter()
        .map(|page| page.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.extend(["list", "show", "flush"].map(|name| format!("aarp-probe-cache-{name}.1")));
    found.sort_unstable();
    names.sort_unstable();
    assert_eq!(found, names);
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        for section in [".SH NAME", ".SH SYNOPSIS", ".SH OPTIONS"] {
            assert!(text.contains(section), "{}: {section}", page.display());
        }
        if page.ends_with("aarp-probe-resolve.1") {
            // As it is typed, and with what options are given.
            for word in ["aarp\\-probe resolve", "\\-\\-timeout\\fR \\fITIME\\fR"] {
                assert!(text.contains(word), "{word}: {text}");
            }
        }
        if !has("man") {
            aarp_lab::rootless::skipped("manual_pages_are_whole", "man is not installed");
            return;
        }
        let shown = Command::new("man")
            .args(["--warnings", "-E", "UTF-8", "-l"])
            .arg(page)
            .env("MANWIDTH", "80")
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        let warnings = String::from_utf8_lossy(&shown.stderr);
        assert!(
            shown.status.success() && warnings.is_empty(),
            "{}: {warnings}",
            page.display()
        );
        let name = page.file_stem().unwrap().to_str().unwrap();
        assert!(
            String::from_utf8_lossy(&shown.stdout).contains(name),
            "{name}"
        );
    }
}

#[test]
fn folders_above_are_not_made() {
    let folder = tempfile::tempdir().unwrap();
    for what in ["man", "completions"] {
        let made = folder.path().join(what);
        assert_ne!(generate(what, &made), Vec::<PathBuf>::new());
        let missing = folder.path().join("no").join(what);
        let output = run(&["generate", what, missing.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(70), "{output:?}");
        assert!(!folder.path().join("no").exists());
    }
}

#[test]
fn completions_are_ones_that_their_shells_read() {
    let folder = tempfile::tempdir().unwrap();
    let files = generate("completions", folder.path());
    assert_eq!(files.len(), 3);
    for file in &files {
        let text = std::fs::read_to_string(file).unwrap();
        for subcommand in SUBCOMMANDS {
            assert!(
                text.contains(subcommand),
                "{}: {subcommand}",
                file.display()
            );
        }
    }
    // As bash itself does: the function that is registered, called with the words.
    let completed = |words: &[&str]| {
        let script = format!(
            "source {}; function=$(complete -p aarp-probe | sed 's/.*-F \\([^ ]*\\).*/\\1/'); \
             COMP_WORDS=(aarp-probe {}); COMP_CWORD={}; \
             \"$function\" aarp-probe '{}' '{}'; echo \"${{COMPREPLY[@]}}\"",
            folder.path().join("aarp-probe.bash").display(),
            words.join(" "),
            words.len(),
            words[words.len() - 1],
            ["aarp-probe"].iter().chain(words).rev().nth(1).unwrap(),
        );
        let output = Command::new("bash").args(["-c", &script]).output().unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    assert_eq!(completed(&["ce"]), "census");
    assert_eq!(completed(&["census", "--rep"]), "--repeat");
    assert_eq!(completed(&["cache", "fl"]), "flush");
    assert_eq!(completed(&["gen"]), "", "it is hidden");
    for (shell, file) in [("zsh", "_aarp-probe"), ("fish", "aarp-probe.fish")] {
        if has(shell) {
            let path = folder.path().join(file);
            let output = Command::new(shell).arg("-n").arg(path).output().unwrap();
            assert!(output.status.success(), "{shell}: {output:?}");
        }
    }
}

#[test]
fn what_is_hidden_is_not_in_the_help() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for subcommand in SUBCOMMANDS {
        assert!(help.contains(&format!("\n  {subcommand}")), "{help}");
        assert_eq!(run(&[subcommand, "--help"]).status.code(), Some(0));
        assert_eq!(run(&[subcommand, "--bogus"]).status.code(), Some(64));
    }
    assert!(
        !help.contains("generate") && !help.contains("loaded"),
        "{help}"
    );
}

#[test]
fn metrics_that_cannot_be_written_are_an_error() {
    let output = run(&["resolve", "--prom-textfile", "/nowhere/aarp.prom", "::1"]);
    assert_eq!(output.status.code(), Some(73), "{output:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("/nowhere/aarp.prom"), "{text}");
    assert_eq!(text.matches("No such file").count(), 1, "{text}");
}

#[test]
fn a_switch_in_the_environment_is_on_or_off_and_nothing_else() {
    for (value, code) in [("", 2), ("0", 2), ("no", 2), ("1", 2), ("foo", 64)] {
        let output = Command::new(program())
            .args(["resolve", "::1"])
            .env("AARP_CONFIG", "/dev/null")
            .env("AARP_PROBE_JSON", value)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(code), "{value}: {output:?}");
        assert_eq!(output.stdout.starts_with(b"{"), value == "1", "{output:?}");
    }
}

#[test]
fn a_number_that_is_too_small_says_from_where_on() {
    for arguments in [["resolve", "-c"], ["watch", "-c"]] {
        let output = run(&[&arguments[..], &["0", "::1"]].concat());
        assert_eq!(output.status.code(), Some(64));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("at least 1"), "{text}");
    }
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let status = Command::new(program())
        .args(["resolve", "::1"])
        .env("AARP_CONFIG", "/dev/null")
        .stdout(full)
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(70));
}
