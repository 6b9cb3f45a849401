//! Where it was measured.
use std::fs;
use std::process::Command;

use serde::Serialize;

/// What the figures depend on.
#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) commit: String,
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) pinned_to: usize,
    pub(crate) virtual_machine: bool,
    pub(crate) kernel: String,
    pub(crate) libc: String,
    pub(crate) rustc: String,
    pub(crate) cc: String,
    pub(crate) load: String,
}

/// The machine as it is now.
pub(crate) fn describe(pinned_to: usize) -> Machine {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |key: &str| {
        let mut lines = cpuinfo.lines().filter(|line| line.starts_with(key));
        lines
            .next()
            .and_then(|line| line.split_once(':'))
            .map_or("unknown", |(_, value)| value.trim())
            .to_owned()
    };
    let read = |path| {
        fs::read_to_string(path).map_or("unknown".into(), |text: String| text.trim().to_owned())
    };
    Machine {
        date: said("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]),
        commit: said("git", &["describe", "--always", "--dirty"]),
        cpu: field("model name"),
        cpus: cpuinfo
            .lines()
            .filter(|line| line.starts_with("processor"))
            .count(),
        pinned_to,
        virtual_machine: field("flags").split(' ').any(|flag| flag == "hypervisor"),
        kernel: read("/proc/sys/kernel/osrelease"),
        libc: said("getconf", &["GNU_LIBC_VERSION"]),
        rustc: said("rustc", &["-V"]),
        cc: said("cc", &["--version"]),
        load: read("/proc/loadavg"),
    }
}

/// The first line that a program says.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output
        .ok()
        .filter(|output| output.status.success())
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.as_deref()
        .and_then(|text| text.lines().next())
        .unwrap_or("unknown")
        .to_owned()
}
