//! What aarp-agent and aarp-binding read: their tables, keys, and what the kernel logs.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_mobility::keys as key_file;
use aarp_sys::nflog::{Logged, parse};

use crate::input::{assert_one_line, text};
use crate::{agent_config, binding_config};

/// A file of keys: `keys::parse`.
pub fn keys(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let document = text.parse::<toml::Table>();
    match key_file::parse(text) {
        Ok(keys) => {
            let document = document.expect("it was read");
            let tables = document.get("key").and_then(toml::Value::as_array);
            assert_eq!(tables.map_or(0, Vec::len), keys.len());
            for (index, key) in keys.iter().enumerate() {
                let table = &tables.expect("there are some")[index];
                assert_eq!(table["spi"].as_integer(), Some(i64::from(key.spi)));
                assert!(key.spi > 255 && !keys[..index].iter().any(|k| k.spi == key.spi));
                let secret = table["key"].as_str().expect("a string").trim();
                let len = key.secret.octets().len();
                assert!((16..=1024).contains(&len));
                assert!(
                    len == secret.len() / 2 || len == secret.trim_end_matches('=').len() * 3 / 4
                );
                assert_eq!(table["peer"].as_str(), Some(&*key.peer));
                assert!((1..=253).contains(&key.peer.len()));
            }
            let shown = format!("{keys:?}");
            assert!(!shown.contains("octets: ["));
        }
        Err(bad) => {
            assert_one_line(&bad);
            let shown = bad.to_string();
            for secret in secrets(text) {
                // Unless it stands elsewhere too, where it may be shown.
                if text.matches(secret).count() == 1 {
                    assert!(!shown.contains(secret), "a key is shown: {shown}");
                }
            }
        }
    }
}

/// Strings behind `key =`.
fn secrets(text: &str) -> impl Iterator<Item = &str> {
    text.split("key = \"").skip(1).filter_map(|rest| {
        let secret = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric())?];
        (secret.len() >= 8).then_some(secret)
    })
}

fn is_routable(address: Ipv6Addr) -> bool {
    aarp_core::address::is_routable(address)
}

/// The table of the agent.
pub fn agent_settings(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match agent_config::read(text, &agent_config::Given::default()) {
        Ok(settings) => {
            let document: toml::Table = text.parse().expect("it was read");
            let table = document["agent"].as_table().expect("it was read");
            let insecure = table.get("insecure_unauthenticated");
            let insecure = insecure.and_then(toml::Value::as_bool) == Some(true);
            assert_eq!(settings.insecure_unauthenticated, insecure);
            assert!(is_routable(settings.address) && !settings.home.is_empty());
            for prefix in &settings.home {
                assert!(is_routable(prefix.address()));
                assert!(prefix.address() != settings.address || prefix.len_bits() < 128);
            }
            assert!(settings.lifetime_max >= Duration::from_secs(4));
            assert!(settings.bindings_max > 0);
        }
        Err(bad) => assert_one_line(&bad),
    }
}

/// The tables of the sidecar.
pub fn binding_settings(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match binding_config::read(text) {
        Ok(bindings) => {
            let document: toml::Table = text.parse().expect("it was read");
            let tables = document.get("binding").and_then(toml::Value::as_array);
            assert_eq!(tables.map_or(0, Vec::len), bindings.len());
            for (index, binding) in bindings.iter().enumerate() {
                assert_eq!(binding.check(), Ok(()));
                assert!(
                    bindings[..index]
                        .iter()
                        .all(|b| b.anycast != binding.anycast)
                );
                assert!(!binding.agents.is_empty() && binding.sequence_step > 0);
                let others = binding.agents.iter().chain(&binding.care_of);
                for other in others.clone() {
                    assert!(is_routable(*other) && *other != binding.anycast);
                    assert_eq!(others.clone().filter(|a| *a == other).count(), 1);
                }
                assert!(binding.lifetime >= Duration::from_secs(4));
                assert!(binding.lifetime <= Duration::from_secs(65_535 * 4));
                assert!(binding.spi.is_none_or(|spi| spi > 255));
            }
        }
        Err(bad) => assert_one_line(&bad),
    }
}

/// `NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET`.
const PACKET: u16 = 0x400;

/// Messages of nfnetlink_log: `nflog::parse`.
pub fn nflog(data: &[u8]) {
    compare(data);
    // As the body of one message, whose length is right.
    let mut message = (16 + data.len() as u32).to_ne_bytes().to_vec();
    message.extend(PACKET.to_ne_bytes());
    message.extend([0; 10]);
    message.extend(data);
    compare(&message);
}

fn compare(data: &[u8]) {
    let found: Vec<_> = parse(data).map(Result::ok).collect();
    let expected = read(data);
    assert_eq!(found.len(), expected.len());
    for pair in found.into_iter().zip(expected) {
        match pair {
            (None, None) => {}
            (Some(found), Some(expected)) => assert_eq!(found, expected),
            other => panic!("{other:?}"),
        }
    }
}

fn u16_at(data: &[u8], at: usize) -> usize {
    usize::from(u16::from_ne_bytes([data[at], data[at + 1]]))
}

/// The same with indices, as in C.
fn read(data: &[u8]) -> Vec<Option<Logged<'_>>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < data.len() {
        if at + 4 > data.len() {
            found.push(None);
            break;
        }
        let len = u16_at(data, at) | u16_at(data, at + 2) << 16;
        if (at + 16).max(at + len) > data.len() || len < 16 {
            found.push(None);
            break;
        }
        if u16_at(data, at + 4) == usize::from(PACKET) {
            found.push(read_attributes(data, at + 16, at + len));
        }
        at += len.next_multiple_of(4);
    }
    found
}

fn read_attributes(data: &[u8], body: usize, end: usize) -> Option<Logged<'_>> {
    let mut logged = Logged {
        packet: &[],
        protocol: 0,
        hook: 0,
        prefix: &[],
        interface: 0,
        mark: 0,
        sequence: None,
    };
    let mut has_packet = false;
    // Behind struct nfgenmsg.
    let mut at = body + 4;
    if at > end {
        return None;
    }
    while at < end {
        if at + 4 > end {
            return None;
        }
        let len = u16_at(data, at);
        if len < 4 || at + len > end {
            return None;
        }
        let value = &data[at + 4..at + len];
        let number = || {
            let four = value.get(..4)?;
            Some(
                four.iter()
                    .fold(0, |sum: u32, octet| sum << 8 | u32::from(*octet)),
            )
        };
        match u16_at(data, at + 2) & 0x3fff {
            1 => {
                let number = number()?;
                logged.protocol = (number >> 16) as u16;
                logged.hook = (number >> 8) as u8;
            }
            2 => logged.mark = number()?,
            4 => logged.interface = number()?,
            9 => {
                logged.packet = value;
                has_packet = true;
            }
            10 => {
                let text = value.len() - usize::from(value.last() == Some(&0));
                logged.prefix = &value[..text];
            }
            12 => logged.sequence = Some(number()?),
            _ => {}
        }
        at += len.next_multiple_of(4);
    }
    has_packet.then_some(logged)
}
