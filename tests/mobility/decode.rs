//! Captured packets as tshark reads them: evidence that does not rest on our own parsers.
use std::process::Command;
use std::time::Duration;

use aarp_lab::Capture;

/// A packet: when it was captured, and the fields that were asked for. A field that is
/// in several headers has its values joined by commas, the outermost first.
#[derive(Clone, Debug)]
pub(crate) struct Decoded {
    pub(crate) time: Duration,
    pub(crate) fields: Vec<String>,
}

/// The packets of a capture that a display filter lets through.
pub(crate) fn decoded(capture: &Capture, filter: &str, fields: &[&str]) -> Vec<Decoded> {
    // So that the file has them all.
    capture.packets().unwrap();
    let mut command = Command::new("tshark");
    // Fragments are packets of their own here.
    command.args(["-n", "-o", "ipv6.defragment:false", "-r"]);
    command.arg(capture.path()).args(["-Y", filter]);
    command.args([
        "-T",
        "fields",
        "-E",
        "separator=/t",
        "-e",
        "frame.time_epoch",
    ]);
    for field in fields {
        command.args(["-e", field]);
    }
    // Nobody's own settings.
    command
        .env("HOME", "/nonexistent")
        .env_remove("XDG_CONFIG_HOME");
    let output = command.output().expect("tshark is installed");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {stderr}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(parse).collect()
}

fn parse(line: &str) -> Decoded {
    let mut parts = line.split('\t');
    let time = parts.next().unwrap();
    let (seconds, fraction) = time.split_once('.').unwrap();
    let nanoseconds = format!("{fraction:0<9}")[..9].parse().unwrap();
    Decoded {
        time: Duration::new(seconds.parse().unwrap(), nanoseconds),
        fields: parts.map(str::to_owned).collect(),
    }
}
