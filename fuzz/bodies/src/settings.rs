//! The configuration of the resolving layer.

use std::cell::RefCell;
use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::config::{TOKENS, VARIABLES, end_token, read_document, read_variable};
use aarp_core::prefix::{Prefix, PrefixError};
use aarp_core::settings::{Layer, Settings};
use toml_parser::lexer::Token;

use crate::input::{Input, assert_one_line, text};

/// A prefix: `Prefix` as text.
pub fn prefix(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let (address, len) = match text.split_once('/') {
        Some((address, len)) => (address, Some(len)),
        None => (text, None),
    };
    let expected = address.parse::<Ipv6Addr>().ok().zip(match len {
        None => Some(128),
        Some(len) => (len.bytes().all(|b| b.is_ascii_digit()))
            .then(|| len.parse::<u32>().ok().filter(|len| *len <= 128))
            .flatten(),
    });
    let found = text.parse::<Prefix>();
    let Some((address, len)) = expected else {
        assert!(matches!(
            found,
            Err(PrefixError::Address | PrefixError::Length)
        ));
        return;
    };
    // The network part, a bit at a time.
    let mut network = 0;
    for bit in 0..len {
        network |= address.to_bits() & 1 << (127 - bit);
    }
    if network != address.to_bits() {
        assert_eq!(found, Err(PrefixError::HostBits));
        return;
    }
    let found = found.expect("a prefix");
    assert_eq!(u32::from(found.len_bits()), len);
    assert!(found.contains(address));
    assert_eq!(found.to_string().parse(), Ok(found));
    if len > 0 {
        let outside = address.to_bits() ^ 1 << (128 - len);
        assert!(!found.contains(Ipv6Addr::from_bits(outside)));
    }
    if len < 128 {
        assert!(found.contains(Ipv6Addr::from_bits(network | 1)));
    }
}

const INSIDE: &str = "2001:db8:1::1";
const OUTSIDE: &str = "2001:db9::1";
const EXCLUDED: &str = "2001:db8:e::1";

fn ip(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

/// What an administrator has set, before a user comes.
fn administered() -> Settings {
    let mut settings = Settings::DEFAULT;
    for (name, value) in [
        ("AARP_TRUSTED", "2001:db8::/32"),
        ("AARP_EXCLUDE", "2001:db8:e::/48"),
    ] {
        let (key, _) = VARIABLES.iter().find(|(_, n)| *n == name).expect("a key");
        read_variable(&mut settings, Layer::System, *key, value).expect("good values");
    }
    assert!(settings.trusted.allows(ip(INSIDE)) && !settings.trusted.allows(ip(OUTSIDE)));
    settings
}

/// No setting, good or bad, widens what the administrator has set.
fn assert_not_widened(settings: &Settings) {
    assert!(!settings.trusted.allows(ip(OUTSIDE)), "trusts more");
    assert!(settings.exclude.contains(ip(EXCLUDED)), "excludes less");
}

/// What the rest of the code takes for granted of settings that were accepted.
fn assert_sound(settings: &Settings) {
    let times = &settings.times;
    for time in [
        times.ttl,
        times.direct,
        times.unanswered,
        times.unanswered_max,
        times.refuted,
        times.budget,
        times.budget_unconfigured,
        times.budget_nonblocking,
    ] {
        assert!(time > Duration::ZERO && time <= Duration::from_secs(30 * 24 * 3600));
    }
    assert!(times.retransmit.as_slice().is_sorted_by(|a, b| a < b));
    assert!(settings.unreach_port != 0 && !settings.methods.is_empty());
    assert!(!settings.log_file.is_cut());
}

thread_local! {
    static ROOM: RefCell<Vec<Token>> = RefCell::new(vec![end_token(); TOKENS]);
}

/// A configuration file: `read_document`.
#[allow(clippy::result_large_err)] // See `aarp_core::config`.
pub fn document(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let read = |layer, mut settings| {
        let result =
            ROOM.with_borrow_mut(|tokens| read_document(&mut settings, layer, text, tokens));
        (settings, result)
    };
    let (settings, result) = read(Layer::System, Settings::DEFAULT);
    let (narrowed, again) = read(Layer::User, administered());
    assert_not_widened(&narrowed);
    match result {
        Ok(()) => {
            assert_sound(&settings);
            // Room for `exclude` is shared by all layers, and may be used up.
            assert!(again.is_ok() || settings.exclude.as_slice().len() == 64);
            assert_as_toml_has_it(text, &settings);
        }
        Err(error) => {
            assert_one_line(&error);
            let lines = text.matches('\n').count() as u32 + 1;
            assert!(error.line <= lines, "line {} of {lines}", error.line);
            assert_eq!(again, Err(error));
        }
    }
}

/// The tables of other parts, or with keys of other parts.
const FOREIGN: [&str; 4] = ["daemon", "responder", "binding", "agent"];

/// Another reader of TOML finds the same values.
fn assert_as_toml_has_it(text: &str, settings: &Settings) {
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        // The values of other parts are theirs to read.
        Err(_) if FOREIGN.iter().any(|name| text.contains(name)) => return,
        Err(error) => panic!("accepted, and no TOML: {error}"),
    };
    let resolve = table.get("resolve").and_then(toml::Value::as_table);
    let value = |key: &str| resolve.and_then(|resolve| resolve.get(key));
    let local = value("include_local").map(|v| v.as_bool().expect("a boolean"));
    assert_eq!(settings.include_local, local.unwrap_or(false));
    let port = value("unreach_port").map(|v| v.as_integer().expect("a number"));
    assert_eq!(i64::from(settings.unreach_port), port.unwrap_or(33999));
    let prefixes: Vec<Prefix> = value("prefixes")
        .into_iter()
        .flat_map(|v| v.as_array().expect("a list"))
        .map(|v| v.as_str().expect("text").parse().expect("a prefix"))
        .collect();
    let mut unique: Vec<Prefix> = Vec::new();
    for prefix in prefixes {
        if !unique.contains(&prefix) {
            unique.push(prefix);
        }
    }
    assert_eq!(settings.prefixes.as_slice(), unique);
    let rules = table.get("prefix").and_then(toml::Value::as_array);
    for rule in rules.into_iter().flatten() {
        let prefix = rule.get("prefix").and_then(toml::Value::as_str);
        let prefix: Prefix = prefix.expect("text").parse().expect("a prefix");
        let inside: Ipv6Addr = prefix
            .to_string()
            .split('/')
            .next()
            .and_then(|address| address.parse().ok())
            .expect("an address");
        let rule = settings.rules.matching(inside).expect("a rule for it");
        assert!(rule.prefix.len_bits() >= prefix.len_bits());
    }
}

/// An `AARP_*` variable, the first octet saying which: `read_variable`.
pub fn variable(data: &[u8]) {
    let mut input = Input(data);
    let (key, name) = VARIABLES[usize::from(input.octet()) % VARIABLES.len()];
    let Some(text) = text(input.0) else { return };
    let mut settings = Settings::DEFAULT;
    match read_variable(&mut settings, Layer::Environment, key, text) {
        Ok(()) => assert_sound(&settings),
        Err(error) => {
            assert_one_line(&error);
            assert!(error.to_string().starts_with(name));
        }
    }
    let mut narrowed = administered();
    let _ = read_variable(&mut narrowed, Layer::Environment, key, text);
    assert_not_widened(&narrowed);
}
