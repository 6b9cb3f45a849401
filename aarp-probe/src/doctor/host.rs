//! What of this host keeps programs from being pinned, whatever the destination.

use std::io::ErrorKind;
use std::net::Ipv6Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use aarp_core::address::is_routable;
use aarp_core::settings::Settings;
use aarp_sys::diagnosis;
use aarp_sys::route::{Origin, RouteSocket};
use aarp_sys::settings::{Problem, SettingsError};
use aarp_wire::route::RouteType;
use serde_json::Value;

use super::finding::Finding;
use super::{firewall, library};
use crate::configuration;
use crate::exit;

/// Whether the configuration is good, and where it stands.
pub(crate) fn configuration(loaded: Result<&Settings, &SettingsError>) -> Finding {
    const CHECK: &str = "configuration";
    if let Err(error) = loaded {
        return bad(error);
    }
    let mut there = Vec::new();
    let mut ignored = Vec::new();
    for file in configuration::files() {
        match std::fs::File::open(&file) {
            Ok(_) => there.push(file),
            // The user's own; of the other one it would be an error.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => ignored.push(file),
            Err(_) => {}
        }
    }
    let files = match there.as_slice() {
        [] => "no file; defaults".to_owned(),
        files => files.join(", "),
    };
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            let known = aarp_core::config::VARIABLES
                .iter()
                .any(|(_, of)| *of == name);
            (known && !value.is_empty()).then_some(name)
        })
        .collect::<Vec<_>>();
    let variables = match variables.as_slice() {
        [] => String::new(),
        names => format!("; variables: {}", names.join(", ")),
    };
    let detail = format!("good: {files}{variables}");
    match ignored.as_slice() {
        [] => Finding::ok(CHECK, detail),
        files => {
            let files = files.join(", ");
            let detail = format!("{detail}; {files} may not be read, and is ignored");
            Finding::note(CHECK, detail).remedy(
                "see whose it is, and who may read it:",
                [format!("ls -l {files}")],
            )
        }
    }
}

/// A configuration that the library does not follow.
fn bad(error: &SettingsError) -> Finding {
    let detail = format!(
        "{}; the library pins nothing",
        diagnosis::configuration(error)
    );
    let finding = Finding::hindrance("configuration", exit::CONFIGURATION, detail);
    match (error.file.as_str(), error.problem) {
        ("", Problem::Setting(setting)) => finding.remedy(
            "change that variable, or take it away:",
            [format!("unset {}", setting.key)],
        ),
        ("", _) => finding,
        (_, Problem::Read(_)) if std::env::var_os("AARP_CONFIG").is_some() => finding.remedy(
            "name a file that can be read, or none:",
            ["unset AARP_CONFIG".to_owned()],
        ),
        (file, Problem::Setting(setting)) if setting.line > 0 => finding.remedy(
            "mend that line:",
            [format!("${{EDITOR:-vi}} +{} {file}", setting.line)],
        ),
        (file, _) => finding.remedy("see what is there:", [format!("ls -ld {file}")]),
    }
}

/// What is set and has no effect: a log that cannot be written, and variables that
/// are none of ours.
pub(crate) fn without_effect(settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let file = settings.log_file.as_str();
    if let Some(error) = (!file.is_empty())
        .then(|| diagnosis::unwritable(Path::new(file)))
        .flatten()
    {
        let detail = format!("{file} cannot be written: {error}");
        findings.push(Finding::note("log", detail));
    }
    let unknown: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| name.starts_with("AARP_") && !is_known(name))
        .collect();
    if !unknown.is_empty() {
        let detail = format!("{} mean nothing to anybody here", unknown.join(" "));
        findings.push(Finding::note("variables", detail).remedy(
            "see which ones there are (docs/configuration.md), and take these away:",
            [format!("unset {}", unknown.join(" "))],
        ));
    }
    findings
}

/// Whether the library or one of the tools looks at the variable.
fn is_known(name: &str) -> bool {
    // Of the tools, each of which refuses what it cannot read.
    const TOOLS: [&str; 5] = [
        "AARP_PROBE_",
        "AARP_RESPONDER_",
        "AARP_AGENT_",
        "AARP_BINDING_",
        "AARP_LAB_",
    ];
    const OTHERS: [&str; 6] = [
        "AARP_CONFIG",
        "AARP_LIBRARY",
        "AARP_LIBDIR",
        "AARP_RUN_DIR",
        "AARP_STAGE",
        "AARP_STATE_DIR",
    ];
    let mut settings = aarp_core::config::VARIABLES.iter();
    settings.any(|(_, of)| *of == name)
        || OTHERS.contains(&name)
        || TOOLS.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether the library can be loaded.
pub(crate) fn library(named: Option<&Path>, libdir: Option<&Path>) -> Finding {
    const CHECK: &str = "library";
    match library::find(named, libdir) {
        Err(places) => {
            let places: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
            let detail = format!("not found; looked for {}", places.join(", "));
            Finding::hindrance(CHECK, exit::CANNOT_BE_PINNED, detail).remedy(
                "install it, or name it with --library:",
                ["./install.sh".to_owned()],
            )
        }
        Ok(path) => match library::load(&path) {
            Ok(()) => Finding::ok(
                CHECK,
                format!("{}, seen in the memory of a child process", path.display()),
            ),
            Err(complaint) => Finding::hindrance(
                CHECK,
                exit::CANNOT_BE_PINNED,
                format!("{} cannot be loaded: {complaint}", path.display()),
            )
            .remedy("see what aarp-run says:", ["aarp-run --check".to_owned()]),
        },
    }
}

/// Whether this host has IPv6 at all.
pub(crate) fn connectivity() -> Finding {
    const CHECK: &str = "IPv6";
    let disabled = std::fs::read_to_string("/proc/sys/net/ipv6/conf/all/disable_ipv6");
    match disabled.as_deref().map(str::trim) {
        Ok("1") => {
            return Finding::hindrance(CHECK, exit::NO_ANSWER, "switched off").remedy(
                "switch it on, as root:",
                ["sysctl -w net.ipv6.conf.all.disable_ipv6=0".to_owned()],
            );
        }
        Ok(_) => {}
        Err(error) => {
            let detail = format!("the kernel has none: {error}");
            return Finding::hindrance(CHECK, exit::NO_ANSWER, detail);
        }
    }
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let addresses = table.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let address = u128::from_str_radix(words.next()?, 16).ok()?;
        let interface = words.nth(4)?;
        Some(Ipv6Addr::from(address)).filter(|a| is_routable(*a) && interface != "lo")
    });
    let count = addresses.count();
    // 2000::/3 is all of global unicast: its first address matches a default route,
    // and no more specific one.
    let default = RouteSocket::open()
        .and_then(|mut routes| routes.to(Ipv6Addr::from(0x2000 << 112), &Origin::default()));
    let default = matches!(default, Ok(Some(route)) if route.route_type == RouteType::Unicast);
    match (count, default) {
        (0, _) => Finding::hindrance(
            CHECK,
            exit::NO_ANSWER,
            "no interface has an address of more than the link's scope",
        ),
        (count, true) => Finding::ok(CHECK, format!("{}, and a default route", plural(count))),
        (count, false) => Finding::note(
            CHECK,
            format!(
                "{}, and no default route: only what is routed can be reached",
                plural(count)
            ),
        ),
    }
}

fn plural(addresses: usize) -> String {
    match addresses {
        1 => "1 address".to_owned(),
        n => format!("{n} addresses"),
    }
}

/// Whether the packet filter of this host loses answers; none where it cannot be read.
pub(crate) fn own_firewall() -> Option<Finding> {
    const CHECK: &str = "packet filter";
    let ruleset = ruleset()?;
    let losses = firewall::losses(&ruleset);
    let Some(loss) = losses.iter().find(|loss| !loss.perhaps).or(losses.first()) else {
        return Some(Finding::ok(
            CHECK,
            "lets in an echo reply that conntrack calls invalid, as one from U to a question to A",
        ));
    };
    let command = format!(
        "nft insert rule {} {} {} icmpv6 type echo-reply accept",
        loss.family, loss.table, loss.chain
    );
    let detail = |verb: &str| match loss.ordinary {
        true => format!("{loss} {verb} every echo reply, that to an ordinary ping too"),
        false => format!(
            "{loss} {verb} answers: one from U to a question to A is invalid for conntrack, \
             unlike an ordinary ping's"
        ),
    };
    let finding = if loss.perhaps {
        Finding::note(CHECK, detail("may lose"))
    } else {
        Finding::hindrance(CHECK, exit::NO_ANSWER, detail("loses"))
    };
    Some(finding.remedy(
        "let echo replies in, as root (and in the file that it is loaded from):",
        [command],
    ))
}

/// What nft lists; none where it is not there or may not.
fn ruleset() -> Option<Value> {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new("nft")
        .args(["--json", "list", "ruleset"])
        // Where an ordinary user's PATH does not look.
        .env("PATH", format!("{path}:/usr/local/sbin:/usr/sbin:/sbin"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    serde_json::from_slice(&output.stdout).ok()
}

/// How many packets conntrack has called invalid in this network namespace so far;
/// none where that cannot be read.
pub(crate) fn invalid_packets() -> Option<u64> {
    count_invalid(&std::fs::read_to_string("/proc/net/stat/nf_conntrack").ok()?)
}

/// A line of headings, and one for each processor, in hexadecimal.
fn count_invalid(table: &str) -> Option<u64> {
    let mut lines = table.lines();
    let headings = lines.next()?.split_ascii_whitespace();
    let column = headings.into_iter().position(|word| word == "invalid")?;
    lines
        .map(|line| {
            let word = line.split_ascii_whitespace().nth(column)?;
            u64::from_str_radix(word, 16).ok()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_packets_are_summed_over_processors() {
        let table = "entries  clashres found new invalid ignore\n\
                     00000000 00000000 00000000 00000000 0000000a 00000000\n\
                     00000000 00000000 00000000 00000000 00000001 00000000\n";
        assert_eq!(count_invalid(table), Some(11));
        assert_eq!(count_invalid("entries found\n0 0\n"), None);
        assert_eq!(count_invalid(""), None);
    }
}
