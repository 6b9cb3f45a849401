//! The experiments of the thesis (section 5), as `aarp-lab` runs them: every promise is
//! kept, the message charts and the plot are there, and nothing is left behind.
#[path = "../common/mod.rs"]
#[allow(dead_code)]
mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

const NOT_PERMITTED: i32 = 77;
const UNAVAILABLE: i32 = 69;

/// What a run has printed, and the folder of what it kept.
struct Outcome {
    report: String,
    kept: TempDir,
}

/// Processes that name a folder in their command lines.
fn processes_of(folder: &Path) -> Vec<String> {
    let folder = folder.to_str().expect("the folder's name is text");
    let processes = fs::read_dir("/proc").expect("/proc is mounted");
    let lines = processes.filter_map(|entry| {
        let line = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| line.contains(folder)).collect()
}

/// Runs a scenario to its end; none where the system does not permit it, which is said.
fn run(scenario: &str) -> Option<Outcome> {
    let stage = common::stage();
    // For the lab's own files, for the states of labs, and for what is kept.
    let [scratch, states, kept] = [(); 3].map(|()| TempDir::new().expect("a folder can be made"));
    let output = Command::new(stage.join("bin/aarp-lab"))
        .args(["run", scenario, "--stage"])
        .arg(&stage)
        .arg("--keep")
        .arg(kept.path())
        .env("TMPDIR", scratch.path())
        .env("XDG_RUNTIME_DIR", states.path())
        .output()
        .expect("aarp-lab can be started");
    let report = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code();
    let no_device = code == Some(UNAVAILABLE) && said.contains("/dev/net/tun");
    if code == Some(NOT_PERMITTED) || no_device {
        common::skipped(said.lines().last().unwrap_or_default());
        return None;
    }
    assert_eq!(code, Some(0), "{said}\n{report}");
    let last = report.lines().last().unwrap_or_default();
    let words: Vec<_> = last.split(' ').collect();
    assert!(
        words.len() > 2 && words[0] == words[2],
        "not all is kept: {last}"
    );
    // It has ended: there is nothing to wait for.
    assert_eq!(processes_of(scratch.path()), Vec::<String>::new());
    let left = fs::read_dir(scratch.path()).expect("the folder is there");
    let left: Vec<_> = left.filter_map(Result::ok).map(|e| e.path()).collect();
    assert!(left.is_empty(), "{left:?}");
    Some(Outcome { report, kept })
}

/// The rows of the message chart with this heading, in words.
fn chart(report: &str, heading: &str) -> Vec<String> {
    let lines = report.lines().skip_while(|line| !line.starts_with(heading));
    let rows = lines.skip(2).take_while(|line| !line.is_empty());
    rows.map(str::to_owned).collect()
}

#[test]
fn two_responders_update_the_binding_as_in_figure_12() {
    let Some(outcome) = run("thesis-5-1") else {
        return;
    };
    // Who, which way, and with what: what figure 12 shows, and the way back.
    let figure = [
        ("AR1", "number 200"),
        ("AR1", "answer to 200, status 0"),
        ("AR2", "number 100"),
        ("AR2", "answer to 200, status 135"),
        ("AR2", "number 202"),
        ("AR2", "answer to 202, status 0"),
        ("AR1", "number 201"),
        ("AR1", "answer to 202, status 135"),
        ("AR1", "number 204"),
        ("AR1", "answer to 204, status 0"),
    ];
    let heading = "Figure 12: anycast binding update performed by two anycast responders";
    let rows = chart(&outcome.report, heading);
    assert_eq!(rows.len(), figure.len(), "{rows:#?}");
    for (number, (row, (responder, text))) in rows.iter().zip(figure).enumerate() {
        // Updates go to the agent in the middle, answers from it.
        let to_the_right = (responder == "AR1") == (number % 2 == 0);
        assert!(row.ends_with(text), "{row}");
        assert_eq!(row.contains("->"), to_the_right, "{row}");
        assert_eq!(row.contains("<-"), !to_the_right, "{row}");
    }
    let authenticated = chart(&outcome.report, &format!("{heading}, authenticated"));
    assert_eq!(authenticated.len(), figure.len(), "{authenticated:#?}");
    assert!(authenticated.iter().all(|row| row.contains("spi 25")));
    assert!(outcome.kept.path().join("haa.pcap").is_file());
}

#[test]
#[ignore = "long"]
fn the_agents_load_falls_with_the_share_that_uses_the_library() {
    let Some(outcome) = run("thesis-arl") else {
        return;
    };
    let svg = fs::read_to_string(outcome.kept.path().join("thesis-arl.svg")).unwrap();
    for share in ["0 %", "25 %", "50 %", "75 %", "100 %"] {
        assert!(svg.contains(&format!(">{share}</text>")), "{svg}");
        let bar = |line: &&str| line.trim_start().starts_with(share) && line.contains('█');
        assert_eq!(outcome.report.lines().filter(bar).count(), 1, "{share}");
    }
}

/// The ten refreshes take half a minute.
#[test]
#[ignore = "long"]
fn ping_and_ssh_go_through_the_agent_as_in_figure_13() {
    let Some(outcome) = run("thesis-5-2") else {
        return;
    };
    for (letter, responder) in [("a", "AR1"), ("b", "AR2")] {
        let heading = format!("Figure 13 ({letter}): the opening of the ssh sessions");
        let rows = chart(&outcome.report, &heading);
        // Each way, outside and inside the tunnel, for both initiators.
        assert!(rows.len() >= 8, "{responder}: {rows:#?}");
    }
}
