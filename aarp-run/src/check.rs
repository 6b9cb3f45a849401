//! `--check`: proof, from within a child process, that the library is loaded and
//! that a probe can be sent.
//!
//! glibc starts a program also when a preload fails, so that the only proof is to
//! look into a process.

use std::fmt::Write as _;
use std::fs::Metadata;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};

use aarp_core::readiness::{self, Unreach};
use aarp_core::settings::Settings;
use aarp_wire::probe::Method;

use crate::echo::{self, Kind};
use crate::library::Library;
use crate::unreach;

/// Which groups may open ping sockets; the setting covers IPv6 too, and belongs to
/// the network namespace.
const PING_GROUP_RANGE: &str = "/proc/sys/net/ipv4/ping_group_range";

/// What the child tells its parent, one `key value` a line.
mod keys {
    pub(super) const LOADED: &str = "loaded";
    pub(super) const PING: &str = "ping";
    pub(super) const RAW: &str = "raw";
    pub(super) const UNREACH: &str = "unreach";
    pub(super) const OK: &str = "ok";
}

/// Lines for people, and whether anything was wrong.
#[derive(Debug, Default)]
pub(crate) struct Report {
    text: String,
    failed: bool,
}

impl Report {
    /// Adds something that is as it should be.
    pub(crate) fn good(&mut self, what: &str, detail: impl std::fmt::Display) {
        self.line("ok", what, detail);
    }

    /// Adds something that keeps programs from being pinned.
    pub(crate) fn bad(&mut self, what: &str, detail: impl std::fmt::Display) {
        self.failed = true;
        self.line("FAILED", what, detail);
    }

    /// Adds something that is neither.
    pub(crate) fn note(&mut self, what: &str, detail: impl std::fmt::Display) {
        self.line("note", what, detail);
    }

    /// Adds what can be done about the line before.
    pub(crate) fn remedy(&mut self, text: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{:21}{text}", "");
    }

    fn line(&mut self, verdict: &str, what: &str, detail: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{verdict:<8}{what:<13}{detail}");
    }

    /// Prints the lines; whether all was well.
    pub(crate) fn print(mut self) -> io::Result<bool> {
        let verdict = if self.failed {
            "not ready: see above"
        } else {
            "ready"
        };
        let _ = writeln!(self.text, "\naarp-run is {verdict}");
        let mut out = io::stdout().lock();
        out.write_all(self.text.as_bytes())?;
        out.flush()?;
        Ok(!self.failed)
    }
}

/// Starts the child under the preload and reports what it found.
pub(crate) fn child_process(
    report: &mut Report,
    library: &Library,
    variables: &[(&'static str, std::ffi::OsString)],
    settings: &Settings,
) -> io::Result<()> {
    let output = Command::new("/proc/self/exe")
        .arg("--check-child")
        .arg(&library.path)
        .arg("--check-port")
        .arg(settings.unreach_port.to_string())
        .envs(variables.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null())
        .output()?;
    let told = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    let find = |key: &str| {
        told.lines()
            .filter_map(|line| line.split_once(' '))
            .find(|(found, _)| *found == key)
            .map(|(_, value)| value)
    };
    match find(keys::LOADED) {
        Some(keys::OK) => report.good("loaded", "into a child process, seen in its memory map"),
        Some(reason) => report.bad("loaded", reason),
        None => report.bad(
            "loaded",
            format!("the child process said nothing ({})", output.status),
        ),
    }
    for line in complaints.lines().filter(|line| !line.trim().is_empty()) {
        report.note("child", line);
    }
    let tried = |key: &str| find(key).unwrap_or("not tried");
    let state = readiness::unreach(settings);
    let unreach = tried(keys::UNREACH)
        .strip_prefix(keys::OK)
        .filter(|_| state == Unreach::Usable);
    if readiness::named(settings).contains(Method::Echo) {
        by_echo(report, tried(keys::PING), tried(keys::RAW), unreach, state);
    } else {
        match unreach {
            Some(proof) => report.good("probe", format!("by unreach{proof}")),
            None if state == Unreach::Usable => {
                report.bad("probe", format!("by unreach: {}", tried(keys::UNREACH)));
            }
            None => {
                report.bad("probe", "unreach is the only method, and may not be used");
                set_up(report, state);
            }
        }
    }
    Ok(())
}

/// What `unreach` lacks.
fn set_up(report: &mut Report, state: Unreach) {
    match state {
        Unreach::Usable => {}
        Unreach::NoTrusted => {
            report.remedy("unreach is never used: `trusted` is not set; say what U may be:");
            report.remedy("  AARP_TRUSTED=PREFIX-OF-THE-RESPONDERS aarp-run CMD");
        }
        Unreach::NoPrefixes | Unreach::NotNamed => {
            report.remedy("or, without any permission, where you know the responders' addresses:");
            report.remedy("  AARP_METHODS=unreach AARP_PREFIXES=PREFIX-OF-A \\");
            report.remedy("    AARP_TRUSTED=PREFIX-OF-THE-RESPONDERS aarp-run CMD");
        }
    }
}

/// Echo is among the methods.
fn by_echo(report: &mut Report, ping: &str, raw: &str, unreach: Option<&str>, state: Unreach) {
    let range = std::fs::read_to_string(PING_GROUP_RANGE)
        .map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "))
        .unwrap_or_else(|error| format!("unknown: {error}"));
    let range = match range.as_str() {
        "1 0" => "ping_group_range is \"1 0\": nobody".to_owned(),
        other => format!("ping_group_range is \"{other}\""),
    };
    match (ping.strip_prefix(keys::OK), raw.strip_prefix(keys::OK)) {
        (Some(echo), _) => {
            report.good("probe", format!("by ping socket{echo}"));
            report.note("kernel", range);
        }
        (None, Some(echo)) => {
            report.good("probe", format!("by raw socket{echo}"));
            report.note("ping socket", format!("{ping}; {range}"));
            report.remedy("programs without CAP_NET_RAW cannot probe here; to let them:");
            report.remedy("sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"");
        }
        (None, None) if unreach.is_some() => {
            report.good(
                "probe",
                format!("by unreach{}", unreach.unwrap_or_default()),
            );
            report.note("echo", format!("not permitted: {ping}; {range}"));
        }
        (None, None) => {
            report.bad("probe", format!("ping socket: {ping}; raw socket: {raw}"));
            report.remedy(&range);
            report.remedy("let everybody open ping sockets (as root, in this network namespace):");
            report.remedy("  sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"");
            report.remedy("or hand the capability for raw sockets to one program (as root):");
            report.remedy("  setpriv --reuid USER --regid GROUP --init-groups \\");
            report.remedy("    --inh-caps +net_raw --ambient-caps +net_raw aarp-run CMD");
            report.remedy("(setcap on the program itself would make it drop the preload)");
            set_up(report, state);
        }
    }
}

/// The child: says what it sees of `library` in itself and which probe sockets it
/// can use.
pub(crate) fn in_child(library: &Path, port: u16) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let loaded = match loaded(library) {
        Ok(true) => keys::OK.to_owned(),
        Ok(false) => "no: the dynamic linker did not take it".to_owned(),
        Err(error) => format!("cannot tell: {error}"),
    };
    writeln!(out, "{} {loaded}", keys::LOADED)?;
    for (key, kind) in [(keys::PING, Kind::Ping), (keys::RAW, Kind::Raw)] {
        match echo::to_loopback(kind) {
            Ok(echo) => writeln!(out, "{key} {}: {echo}", keys::OK)?,
            Err(error) => writeln!(out, "{key} {error}")?,
        }
    }
    match unreach::to_loopback(port) {
        Ok(proof) => writeln!(out, "{} {}: {proof}", keys::UNREACH, keys::OK)?,
        Err(error) => writeln!(out, "{} {error}", keys::UNREACH)?,
    }
    out.flush()
}

/// Whether this process has `library` mapped, by device and inode. Some file
/// systems (btrfs, overlayfs) show another device in /proc than in stat(), so that
/// the path counts as well.
fn loaded(library: &Path) -> io::Result<bool> {
    let metadata = library.metadata()?;
    let maps = std::fs::read("/proc/self/maps")?;
    Ok(String::from_utf8_lossy(&maps)
        .lines()
        .any(|line| maps_line_names(line, &metadata, library)))
}

/// A line is `address perms offset major:minor inode      path`.
fn maps_line_names(line: &str, metadata: &Metadata, path: &Path) -> bool {
    let mut fields = line.split_ascii_whitespace();
    let (Some(device), Some(inode)) = (fields.nth(3), fields.next()) else {
        return false;
    };
    let device = device.split_once(':').and_then(|(major, minor)| {
        Some((
            u32::from_str_radix(major, 16).ok()?,
            u32::from_str_radix(minor, 16).ok()?,
        ))
    });
    let own = (
        rustix::fs::major(metadata.dev()),
        rustix::fs::minor(metadata.dev()),
    );
    if inode.parse() != Ok(metadata.ino()) {
        return false;
    }
    device == Some(own) || path.to_str().is_some_and(|path| line.ends_with(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_is_seen() {
        let exe = std::env::current_exe().expect("this test");
        assert!(loaded(&exe).expect("maps"));
    }

    #[test]
    fn a_copy_is_not_the_mapped_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let copy = folder.path().join("copy");
        std::fs::copy("/proc/self/exe", &copy).expect("copy");
        assert!(!loaded(&copy).expect("maps"));
        assert!(loaded(&folder.path().join("absent")).is_err());
    }
}
