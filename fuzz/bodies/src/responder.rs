//! What aarp-responder reads of the kernel's and other programs' making.

use std::net::Ipv6Addr;

use aarp_host::inventory as hosts;

use crate::input::{Input, assert_one_line, text};
use crate::ruleset::{self, Answer};
use crate::services::{Kind, Listener, Protocol};
use crate::state::{self, Record};
use crate::{config, services};

/// The pair that the kept inputs are about.
const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 1);
const U: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);

/// /proc/net/tcp6 and udp6: `services::parse`.
pub fn listeners(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let mut all = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let found = services::parse(text, protocol);
        let lines = text.lines().skip(1);
        let by_hand: Vec<_> = lines.filter_map(|line| read_line(line, protocol)).collect();
        assert_eq!(found, by_hand);
        // As the kernel prints them, they are found again.
        let printed: String = found.iter().map(print).collect();
        assert_eq!(
            services::parse(&format!("header\n{printed}"), protocol),
            found
        );
        assert!(found.iter().all(|l| l.port != 0 && l.protocol == protocol));
        all.extend(found);
    }
    let anycast = all.first().map_or(A, |listener| listener.address);
    for unicast in [None, Some(U)] {
        let findings = services::examine(anycast, unicast, &all);
        for finding in &findings {
            let of = |l: &&Listener| {
                (l.protocol, l.port, l.address) == (finding.protocol, finding.port, finding.address)
            };
            let inodes: Vec<u64> = all.iter().filter(of).map(|l| l.inode).collect();
            assert_eq!(finding.inodes, inodes);
            match finding.kind {
                Kind::AnycastOnly => assert_eq!(finding.address, anycast),
                Kind::AnswersFromUnicast => assert!(finding.address.is_unspecified()),
            }
        }
    }
}

/// A line of the table by hand: nothing but the kernel's own form is a listener.
fn read_line(line: &str, protocol: Protocol) -> Option<Listener> {
    let mut fields = line.split_ascii_whitespace();
    let (local, state) = (fields.nth(1)?, fields.nth(1)?);
    let (address, port) = (local.get(..32)?, local.get(32..)?.strip_prefix(':')?);
    let mut octets = u128::from_str_radix(address, 16).ok()?.to_be_bytes();
    if cfg!(target_endian = "little") {
        octets.chunks_mut(4).for_each(<[u8]>::reverse);
    }
    let waiting = match protocol {
        Protocol::Tcp => 10,
        Protocol::Udp => 7,
    };
    let inode = fields.nth(5)?.parse().ok()?;
    (u8::from_str_radix(state, 16) == Ok(waiting) && !address.starts_with('+')).then_some(())?;
    Some(Listener {
        protocol,
        address: octets.into(),
        port: u16::from_str_radix(port, 16)
            .ok()
            .filter(|port| *port != 0)?,
        inode,
    })
}

fn print(listener: &Listener) -> String {
    let state = match listener.protocol {
        Protocol::Tcp => "0A",
        Protocol::Udp => "07",
    };
    let address: String = listener
        .address
        .octets()
        .chunks(4)
        .map(|word| {
            format!(
                "{:08X}",
                u32::from_ne_bytes(word.try_into().expect("4 octets"))
            )
        })
        .collect();
    let (port, inode) = (listener.port, listener.inode);
    let nobody = "0".repeat(32);
    format!(
        " 0: {address}:{port:04X} {nobody}:0000 {state} 0:0 00:0 00000000 0 0 {inode} 1 0 100 0 0 10 0\n"
    )
}

/// Records of the run directory, and /proc/PID/stat: `Record`, `state::start_time`.
pub fn record(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(record) = serde_json::from_str::<Record>(text) {
        let written = serde_json::to_string(&record).expect("it was read");
        assert_eq!(serde_json::from_str::<Record>(&written).ok(), Some(record));
    }
    if let Some(started) = state::start_time(text) {
        let tail = &text[text.rfind(')').expect("a name in parentheses") + 1..];
        let field = tail.split_ascii_whitespace().nth(22 - 3);
        assert_eq!(field.and_then(|field| field.parse().ok()), Some(started));
    }
    let mut input = Input(data);
    let seconds = u64::from(input.u32());
    let time = state::rfc3339(seconds);
    let time: toml::value::Datetime = time.parse().expect("RFC 3339");
    assert!(time.date.is_some_and(|date| date.year >= 1970));
}

/// `nft -j list table`: `ruleset::observe`.
pub fn nft(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Some(a) = ruleset::anycast_of(text) {
        assert!(ruleset::chain(a).eq_ignore_ascii_case(text));
    }
    let Ok(observed) = ruleset::observe(text) else {
        return;
    };
    for answer in [Answer::Probes, Answer::All] {
        for unicast in [None, Some(U)] {
            if !observed.is_in_place(A, unicast, answer) {
                continue;
            }
            let name = ruleset::chain(A);
            let chain = observed.chain(A).expect("it is in place");
            assert!(chain.hooked && chain.name == name);
            // Whatever is in place says so in these words.
            for word in [name.as_str(), "\"output\"", "\"filter\"", "-150"] {
                assert!(text.contains(word) || text.contains('\\'), "{word}");
            }
            let rules = unicast.map_or(0, |_| 2);
            assert_eq!(chain.rules.len(), rules);
            // The kernel has each name once; a file may not.
            assert!(!observed.has_others(A) || observed.chains.len() > 1 || observed.foreign > 0);
        }
    }
}

/// `ip -j addr`, then a line `---`, then `ip -j route`: `hosts::parse`.
pub fn inventory(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let (addresses, routes) = text.split_once("\n---\n").unwrap_or((text, ""));
    let Ok(inventory) = hosts::parse(addresses, routes) else {
        return;
    };
    for entry in &inventory.addresses {
        let address = entry.address;
        assert!(inventory.has(address));
        assert!(inventory.interface_up(&entry.interface).is_some());
        assert!(!entry.interface.is_empty() && addresses.contains("inet6"));
        if entry.is_marked() {
            assert!(inventory.has_marked(address) && entry.prefix_length == 128);
        }
        if let Some(usable) = inventory.usable(address) {
            assert!(usable.address == address && usable.interface_up && !usable.tentative);
        }
    }
    if let Some(interface) = &inventory.default_interface {
        assert!(routes.contains(interface) || routes.contains('\\'));
    }
}

/// The `[[responder]]` tables: `config::parse`.
pub fn responder_config(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match config::parse(text) {
        Ok(specs) => {
            for (index, spec) in specs.iter().enumerate() {
                assert_eq!(config::checked(spec.clone()).as_ref(), Ok(spec));
                assert!(specs[..index].iter().all(|s| s.anycast != spec.anycast));
                assert!(spec.unicast != Some(spec.anycast));
            }
        }
        Err(error) => assert_one_line(&error),
    }
}
