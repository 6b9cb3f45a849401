//! The `[agent]` table of aarp.toml.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;

use aarp_core::address::is_routable;
use aarp_core::prefix::Prefix;
use aarp_host::document::{self, BadSetting, Entry};

/// Where the keys are unless the table says otherwise.
pub(crate) const KEYS: &str = "/etc/aarp/keys.toml";
/// The longest lifetime that is granted unless the table says otherwise.
const LIFETIME_MAX: Duration = Duration::from_secs(3600);
/// How many bindings there may be unless the table says otherwise.
const BINDINGS_MAX: u32 = 65_536;

/// What an agent is to do, checked as far as that is possible without the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// The agent's own address: where Binding Updates go, and the end of its tunnels.
    pub(crate) address: Ipv6Addr,
    /// The anycast addresses it serves.
    pub(crate) home: Vec<Prefix>,
    /// The file of keys.
    pub(crate) keys: PathBuf,
    /// Whether Binding Updates without authentication are accepted.
    pub(crate) insecure_unauthenticated: bool,
    /// The longest lifetime that is granted.
    pub(crate) lifetime_max: Duration,
    /// How many bindings there may be.
    pub(crate) bindings_max: u32,
}

const KNOWN: [&str; 8] = [
    "address",
    "home",
    "model",
    "datapath",
    "keys",
    "insecure_unauthenticated",
    "lifetime_max",
    "bindings_max",
];
const LATER: [&str; 3] = ["selection", "probe", "affinity"];

/// What the command line may say in place of the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    pub(crate) address: Option<Ipv6Addr>,
    pub(crate) home: Vec<Prefix>,
    pub(crate) keys: Option<PathBuf>,
    pub(crate) insecure_unauthenticated: bool,
}

/// Reads the text of aarp.toml, with the command line over it.
pub(crate) fn read(text: &str, given: &Given) -> Result<Settings, BadSetting> {
    let document = document::parse_aarp(text)?;
    let empty = toml::Table::new();
    let entry = match document::table(&document, "agent")? {
        Some(entry) => entry,
        None => Entry::empty("agent", &empty),
    };
    entry.only(&KNOWN, &LATER)?;
    entry.word("model", &[("basic", ())])?;
    entry.word("datapath", &[("auto", ()), ("tun", ())])?;
    let address = given
        .address
        .map_or_else(|| entry.address("address"), |a| Ok(Some(a)))?;
    let expected = "expected the agent's own address, a global or unique-local unicast address";
    let address =
        address.ok_or_else(|| entry.bad("address", format_args!("{expected}, it is missing")))?;
    if !is_routable(address) {
        return Err(entry.bad("address", format_args!("{expected}, not {address}")));
    }
    let home = if given.home.is_empty() {
        entry.prefixes("home")?.unwrap_or_default()
    } else {
        given.home.clone()
    };
    if home.is_empty() {
        return Err(entry.bad(
            "home",
            "expected the anycast addresses to serve, there is none",
        ));
    }
    for prefix in &home {
        if !is_routable(prefix.address()) {
            let problem = format_args!("expected global or unique-local addresses, not {prefix}");
            return Err(entry.bad("home", problem));
        }
        if prefix.len_bits() == 128 && prefix.address() == address {
            let problem = format_args!("expected another address than the agent's own, {address}");
            return Err(entry.bad("home", problem));
        }
    }
    let keys = match &given.keys {
        Some(keys) => keys.clone(),
        None => entry
            .path_of("keys")?
            .unwrap_or_else(|| PathBuf::from(KEYS)),
    };
    let insecure = entry.boolean("insecure_unauthenticated")?.unwrap_or(false);
    let lifetime_max = entry.duration("lifetime_max")?.unwrap_or(LIFETIME_MAX);
    if lifetime_max < Duration::from_secs(4) {
        return Err(entry.bad(
            "lifetime_max",
            "expected at least \"4s\", the unit of lifetimes",
        ));
    }
    Ok(Settings {
        address,
        home,
        keys,
        insecure_unauthenticated: insecure || given.insecure_unauthenticated,
        lifetime_max,
        bindings_max: entry
            .number("bindings_max", 1..=16_777_216)?
            .unwrap_or(BINDINGS_MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(text: &str) -> String {
        match read(text, &Given::default()) {
            Ok(_) => "fine".to_owned(),
            Err(bad) => bad.to_string(),
        }
    }

    #[test]
    fn the_table_is_read_with_its_defaults() {
        let text = "[agent]\naddress = \"2001:db8:0:1::2\"\nhome = [\"2001:db8:0:1::a\"]";
        let settings = read(text, &Given::default()).unwrap();
        assert_eq!(settings.lifetime_max, LIFETIME_MAX);
        assert_eq!(settings.keys, PathBuf::from(KEYS));
        assert!(!settings.insecure_unauthenticated);
        assert!(settings.home[0].contains("2001:db8:0:1::a".parse().unwrap()));
    }

    #[test]
    fn the_command_line_goes_before_the_table() {
        let given = Given {
            address: Some("2001:db8::9".parse().unwrap()),
            home: vec!["2001:db8:a::/64".parse().unwrap()],
            keys: Some("/k".into()),
            insecure_unauthenticated: true,
        };
        let settings = read("", &given).unwrap();
        assert_eq!(settings.address, given.address.unwrap());
        assert_eq!(settings.home, given.home);
        assert_eq!(settings.keys, PathBuf::from("/k"));
        assert!(settings.insecure_unauthenticated);
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        let agent = |rest: &str| {
            outcome(&format!(
                "[agent]\naddress = \"2001:db8:0:1::2\"\nhome = [\"2001:db8:0:1::a\"]\n{rest}"
            ))
        };
        assert_eq!(agent(""), "fine");
        assert_eq!(agent("model = \"basic\"\ndatapath = \"tun\""), "fine");
        for (rest, key) in [
            ("model = \"advanced\"", "agent.model: expected \"basic\""),
            ("selection = \"rtt\"", "agent.selection: not supported yet"),
            (
                "lifetime_max = \"3s\"",
                "agent.lifetime_max: expected at least",
            ),
            (
                "bindings_max = 0",
                "agent.bindings_max: expected a whole number",
            ),
            (
                "keys = \"keys.toml\"",
                "agent.keys: expected an absolute path",
            ),
            ("hom = []", "agent.hom: unknown key"),
        ] {
            assert!(agent(rest).starts_with(key), "{}", agent(rest));
        }
        assert!(outcome("").starts_with("agent.address: expected the agent's own address"));
        let alone = "[agent]\naddress = \"2001:db8::1\"";
        assert!(outcome(alone).starts_with("agent.home: expected the anycast addresses"));
        for wrong in ["::", "::1", "ff02::1", "fe80::1", "::ffff:192.0.2.1"] {
            let text = format!("[agent]\naddress = \"{wrong}\"\nhome = [\"2001:db8::a\"]");
            assert!(
                outcome(&text).starts_with("agent.address: expected"),
                "{wrong}"
            );
            let text = format!("[agent]\naddress = \"2001:db8::1\"\nhome = [\"{wrong}\"]");
            assert!(
                outcome(&text).starts_with("agent.home: expected"),
                "{wrong}"
            );
        }
        let own = "[agent]\naddress = \"2001:db8::1\"\nhome = [\"2001:db8::1\"]";
        assert!(outcome(own).starts_with("agent.home: expected another address"));
    }
}
