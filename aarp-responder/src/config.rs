//! The `[[responder]]` tables of aarp.toml, and what one responder is to do.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use toml::{Table, Value};

use crate::ruleset::Answer;
use aarp_health::{Check, Checks};
use aarp_host::address::{Class, classify};

/// How the answers get their source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Recipe {
    /// The best this host can do that keeps ordinary clients of A served.
    Auto,
    /// A on lo, answers rewritten by nftables.
    Nft,
    /// A raw ICMPv6 socket that answers in the kernel's place.
    Raw,
    /// A kernel anycast route.
    Route,
}

/// One responder, checked as far as that is possible without the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) anycast: Ipv6Addr,
    pub(crate) class: Class,
    pub(crate) unicast: Option<Ipv6Addr>,
    pub(crate) interface: Option<String>,
    pub(crate) recipe: Recipe,
    pub(crate) answer: Answer,
    /// The health checks; the service is up while all of them are.
    pub(crate) checks: Vec<Check>,
}

impl Spec {
    /// `anycast` with everything else left to the program; to be `checked`.
    pub(crate) fn new(anycast: Ipv6Addr) -> Self {
        Self {
            anycast,
            class: Class::Global,
            unicast: None,
            interface: None,
            recipe: Recipe::Auto,
            answer: Answer::Probes,
            checks: Vec::new(),
        }
    }
}

/// A setting that cannot be used: the key, and what was expected.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{key}: {problem}")]
pub(crate) struct BadSetting {
    pub(crate) key: String,
    pub(crate) problem: String,
}

impl BadSetting {
    fn new(key: impl ToString, problem: impl ToString) -> Self {
        Self {
            key: in_one_line(&key.to_string()),
            problem: in_one_line(&problem.to_string()),
        }
    }
}

/// With escapes for the control characters of what stands in a file.
fn in_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// Tables that other programs of the project read; their contents are theirs.
const OTHER_TABLES: [&str; 7] = [
    "resolve", "times", "daemon", "log", "binding", "agent", "prefix",
];
const KEYS: [&str; 6] = [
    "anycast",
    "unicast",
    "interface",
    "recipe",
    "answer",
    "checks",
];
const LATER_KEYS: [&str; 2] = ["drain", "announce"];

/// Reads the text of aarp.toml.
pub(crate) fn parse(text: &str) -> Result<Vec<Spec>, BadSetting> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| {
        let line = error
            .span()
            .map_or(1, |s| 1 + text[..s.start].matches('\n').count());
        let message = error.message().replace('\n', ", ");
        BadSetting::new(format!("line {line}"), format!("not TOML: {message}"))
    })?;
    for key in table.keys() {
        if key != "responder" && !OTHER_TABLES.contains(&key.as_str()) {
            return Err(BadSetting::new(
                key,
                "unknown key; expected a table of aarp.toml, such as [[responder]]",
            ));
        }
    }
    let tables = match table.get("responder") {
        None => &Vec::new(),
        Some(Value::Array(tables)) => tables,
        Some(_) => {
            return Err(BadSetting::new(
                "responder",
                "expected tables, written [[responder]]",
            ));
        }
    };
    let mut specs: Vec<Spec> = Vec::new();
    for (index, value) in tables.iter().enumerate() {
        let name = format!("responder[{index}]");
        let Value::Table(entry) = value else {
            return Err(BadSetting::new(
                name,
                "expected a table, written [[responder]]",
            ));
        };
        let spec = parse_entry(&name, entry)?;
        if specs.iter().any(|s| s.anycast == spec.anycast) {
            return Err(BadSetting::new(
                format!("{name}.anycast"),
                format!(
                    "expected each address once, {} is there already",
                    spec.anycast
                ),
            ));
        }
        specs.push(spec);
    }
    Ok(specs)
}

fn parse_entry(name: &str, entry: &Table) -> Result<Spec, BadSetting> {
    for key in entry.keys() {
        if LATER_KEYS.contains(&key.as_str()) {
            return Err(BadSetting::new(
                format!("{name}.{key}"),
                "not supported yet; remove it",
            ));
        }
        if !KEYS.contains(&key.as_str()) {
            let expected = KEYS.join(", ");
            return Err(BadSetting::new(
                format!("{name}.{key}"),
                format!("unknown key; expected one of {expected}"),
            ));
        }
    }
    let address = |key: &str| -> Result<Option<Ipv6Addr>, BadSetting> {
        let bad = |value: &dyn std::fmt::Display| {
            BadSetting::new(
                format!("{name}.{key}"),
                format!("expected an IPv6 address as a string, not {value}"),
            )
        };
        match entry.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => text.parse().map(Some).map_err(|_| bad(text)),
            Some(other) => Err(bad(other)),
        }
    };
    let anycast = address("anycast")?.ok_or_else(|| {
        BadSetting::new(
            format!("{name}.anycast"),
            "expected an IPv6 address, it is missing",
        )
    })?;
    let interface = match entry.get("interface") {
        None => None,
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        Some(other) => {
            let problem = format!("expected the name of an interface, not {other}");
            return Err(BadSetting::new(format!("{name}.interface"), problem));
        }
    };
    let recipe = one_of(name, entry, "recipe", Recipe::Auto)?;
    let answer = one_of(name, entry, "answer", Answer::Probes)?;
    let checks = match entry.get("checks") {
        None => Checks::default(),
        // What is wrong with them they say themselves, with the key.
        Some(value) => Checks::deserialize(value.clone())
            .map_err(|bad| BadSetting::new(name, bad.message()))?,
    };
    let spec = Spec {
        unicast: address("unicast")?,
        interface,
        recipe,
        answer,
        checks: checks.0,
        ..Spec::new(anycast)
    };
    checked(spec).map_err(|bad| BadSetting::new(format!("{name}.{}", bad.key), bad.problem))
}

fn one_of<T: clap::ValueEnum>(
    name: &str,
    entry: &Table,
    key: &str,
    default: T,
) -> Result<T, BadSetting> {
    let Some(value) = entry.get(key) else {
        return Ok(default);
    };
    value
        .as_str()
        .and_then(|text| T::from_str(text, false).ok())
        .ok_or_else(|| {
            let words: Vec<String> = T::value_variants()
                .iter()
                .filter_map(T::to_possible_value)
                .map(|v| format!("\"{}\"", v.get_name()))
                .collect();
            BadSetting::new(
                format!("{name}.{key}"),
                format!("expected {}, not {value}", words.join(" or ")),
            )
        })
}

/// An address of the command line.
///
/// # Errors
/// What it is instead.
pub(crate) fn one_address(text: &str) -> Result<Ipv6Addr, String> {
    text.parse().map_err(|_| {
        let prefix = text.split_once('/');
        match prefix.map(|(address, _)| address.parse::<Ipv6Addr>()) {
            Some(Ok(_)) => "a prefix; give one address of it",
            _ if text.parse::<std::net::Ipv4Addr>().is_ok() => {
                "an IPv4 address; anycast addresses here are IPv6"
            }
            _ => "not an IPv6 address",
        }
        .to_owned()
    })
}

/// Fills in the class of A and refuses addresses that cannot be A, or U of it.
pub(crate) fn checked(mut spec: Spec) -> Result<Spec, BadSetting> {
    let expected = "expected a global or unique-local unicast address";
    spec.class = classify(spec.anycast).map_err(|what| {
        BadSetting::new("anycast", format!("{expected}, {} is {what}", spec.anycast))
    })?;
    if let Some(unicast) = spec.unicast {
        let class = classify(unicast).map_err(|what| {
            BadSetting::new("unicast", format!("{expected}, {unicast} is {what}"))
        })?;
        if unicast == spec.anycast {
            return Err(BadSetting::new(
                "unicast",
                format!("expected another address than the anycast address {unicast}"),
            ));
        }
        if class != spec.class {
            let problem = format!(
                "expected a {} address like {}, {unicast} is {}; clients refuse such an answer",
                spec.class.name(),
                spec.anycast,
                class.name()
            );
            return Err(BadSetting::new("unicast", problem));
        }
    }
    Ok(spec)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
