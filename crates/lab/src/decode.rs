//! Packets as tshark decodes them: evidence that does not rest on our own parsers.
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::error::Context;
use crate::{Error, Result, tools};

/// A decoded packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    /// When it was captured, since the Unix epoch.
    pub(crate) time: Duration,
    /// Source address of the outermost IPv6 header.
    pub(crate) src: Option<Ipv6Addr>,
    /// Its destination address.
    pub(crate) dst: Option<Ipv6Addr>,
    /// The summary of the innermost protocol.
    pub(crate) info: String,
    /// The fields asked for; empty where the packet has none.
    pub(crate) fields: Vec<String>,
}

/// The packets of a pcap file that a display filter lets through.
pub(crate) fn decode(
    file: &Path,
    filter: &str,
    fields: &BTreeMap<String, String>,
) -> Result<Vec<Decoded>> {
    let tshark = tools::find("tshark")?;
    let mut command = Command::new(&tshark);
    command
        .args(["-n", "-r"])
        .arg(file)
        .args(["-Y", filter, "-T", "fields", "-E", "separator=/t"])
        .args(["-E", "occurrence=f"])
        .args(["-e", "frame.time_epoch", "-e", "ipv6.src", "-e", "ipv6.dst"])
        .args(["-e", "_ws.col.Info"]);
    for field in fields.values() {
        command.args(["-e", field]);
    }
    let what = || format!("run tshark on {}", file.display());
    // No file of the user's changes what a packet is called.
    let output = command
        .env("HOME", "/nonexistent")
        .env_remove("XDG_CONFIG_HOME")
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .context(what)?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        // Before it there is a warning to root, behind it the place in the filter.
        let word = stderr.lines().find(|line| line.starts_with("tshark: "));
        let word = word.unwrap_or("no word").to_owned();
        return Err(std::io::Error::other(format!("{}: {word}", output.status))).context(what);
    }
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| {
            parse(line).ok_or_else(|| Error::Scenario {
                file: file.display().to_string(),
                message: format!("tshark printed what cannot be read: {line:?}"),
            })
        })
        .collect()
}

/// A line of tshark's: time, source, destination, summary, fields.
fn parse(line: &str) -> Option<Decoded> {
    let mut parts = line.split('\t');
    let (seconds, fraction) = parts.next()?.split_once('.')?;
    let nanoseconds = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Some(Decoded {
        time: Duration::new(seconds.parse().ok()?, nanoseconds),
        src: parts.next()?.parse().ok(),
        dst: parts.next()?.parse().ok(),
        info: parts.next()?.to_owned(),
        fields: parts.map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_tshark_is_read() {
        let line = "1700000000.000123456\t2001:db8::1\t2001:db8::2\tBinding Update\t200\t\t0x0f"
            .to_owned();
        let decoded = parse(&line).unwrap();
        assert_eq!(decoded.time, Duration::new(1_700_000_000, 123_456));
        assert_eq!(decoded.src, Some("2001:db8::1".parse().unwrap()));
        assert_eq!(decoded.info, "Binding Update");
        assert_eq!(decoded.fields, ["200", "", "0x0f"]);
        assert_eq!(parse("nonsense"), None);
        let short = parse("1.5\t\t\tARP").unwrap();
        assert_eq!(short.time, Duration::from_millis(1500));
        assert_eq!(short.src, None);
    }
}
