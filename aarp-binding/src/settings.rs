//! The `[[binding]]` tables of aarp.toml.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::address::is_routable;
use aarp_health::{Check, Checks};
use aarp_host::document::{self, AddressOrTable, BadSetting, Entry};
use serde::Deserialize;

/// How long a binding lives unless the table says otherwise.
const LIFETIME: Duration = Duration::from_secs(60);
/// The longest lifetime that 16 bits of 4 s can say.
const LIFETIME_LONGEST: Duration = Duration::from_secs(65_535 * 4);
/// The step over the number that a status of 135 names, as in the thesis.
const SEQUENCE_STEP: u16 = 2;

/// How answers go back to the initiators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reverse {
    /// Through the agent.
    Tunnel,
    /// Straight, with the anycast address as the source, where the network lets
    /// that pass.
    Direct,
}

/// What happens when another responder registers the same anycast address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ownership {
    /// It owns the address now, until its binding expires.
    Standby,
    /// Whoever registers last.
    Last,
}

/// Whether aarp-responder on the same host has a say in what is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Follow {
    /// Where it runs and has the address.
    Auto,
    /// Never.
    Off,
    /// Without it, nothing is registered.
    Require,
}

/// One anycast address to be registered, checked as far as that is possible
/// without the host.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// The anycast address: the Home Address of its Binding Updates.
    pub(crate) anycast: Ipv6Addr,
    /// The unicast address, its care-of address; chosen when none is given.
    pub(crate) care_of: Option<Ipv6Addr>,
    /// The agents.
    pub(crate) agents: Vec<Ipv6Addr>,
    /// Those that have a key of their own, with its SPI.
    pub(crate) agent_spis: Vec<(Ipv6Addr, u32)>,
    /// How long a binding is to live.
    pub(crate) lifetime: Duration,
    /// The entry of the file of keys; none: without authentication.
    pub(crate) spi: Option<u32>,
    /// See [`Reverse`].
    pub(crate) reverse: Reverse,
    /// See [`Ownership`].
    pub(crate) ownership: Ownership,
    /// What is added to the number that a status of 135 names.
    pub(crate) sequence_step: u16,
    /// Whether initiators are offered route optimisation.
    pub(crate) route_optimization: bool,
    /// See [`Follow`].
    pub(crate) responder: Follow,
    /// The health checks; the service is well while all of them are.
    pub(crate) checks: Vec<Check>,
}

const KNOWN: [&str; 11] = [
    "anycast",
    "care_of",
    "agents",
    "lifetime",
    "spi",
    "reverse",
    "sequence_step",
    "ownership",
    "route_optimization",
    "responder",
    "checks",
];

/// Reads the text of aarp.toml.
pub(crate) fn read(text: &str) -> Result<Vec<Settings>, BadSetting> {
    let document = document::parse_aarp(text)?;
    let mut bindings: Vec<Settings> = Vec::new();
    for entry in document::tables(&document, "binding")? {
        let binding = read_entry(&entry)?;
        if bindings.iter().any(|b| b.anycast == binding.anycast) {
            let problem = format!(
                "expected each address once, {} is there already",
                binding.anycast
            );
            return Err(entry.bad("anycast", problem));
        }
        bindings.push(binding);
    }
    Ok(bindings)
}

fn read_entry(entry: &Entry<'_>) -> Result<Settings, BadSetting> {
    entry.only(&KNOWN, &[])?;
    let missing =
        |key: &str, what: &str| entry.bad(key, format_args!("expected {what}, it is missing"));
    let anycast = entry
        .address("anycast")?
        .ok_or_else(|| missing("anycast", "an IPv6 address"))?;
    let (agents, agent_spis) =
        agents(entry)?.ok_or_else(|| missing("agents", "the addresses of the agents"))?;
    let checks = match entry.value("checks") {
        None => Checks::default(),
        // What is wrong with them they say themselves, with the key.
        Some(value) => Checks::deserialize(value.clone())
            .map_err(|bad| BadSetting::new(entry.path(), bad.message()))?,
    };
    let reverse = [Reverse::Tunnel, Reverse::Direct].map(|way| (way.name(), way));
    let ownership = [Ownership::Standby, Ownership::Last].map(|way| (way.name(), way));
    let follow = [Follow::Auto, Follow::Off, Follow::Require].map(|way| (way.name(), way));
    let step = entry.number("sequence_step", 1..=16_384)?;
    let default = Settings::new(anycast, agents);
    let settings = Settings {
        agent_spis,
        care_of: entry.address("care_of")?,
        lifetime: entry.duration("lifetime")?.unwrap_or(default.lifetime),
        spi: entry.number("spi", 256..=u32::MAX)?,
        reverse: entry.word("reverse", &reverse)?.unwrap_or(default.reverse),
        ownership: entry
            .word("ownership", &ownership)?
            .unwrap_or(default.ownership),
        sequence_step: step
            .and_then(|step| u16::try_from(step).ok())
            .unwrap_or(default.sequence_step),
        route_optimization: entry.boolean("route_optimization")?.unwrap_or(false),
        responder: entry
            .word("responder", &follow)?
            .unwrap_or(default.responder),
        checks: checks.0,
        ..default
    };
    settings
        .check()
        .map_err(|(key, problem)| entry.bad(key, problem))?;
    Ok(settings)
}

/// The agents, and the SPIs of those that are tables: `{ address = "…", spi = 256 }`.
type Agents = (Vec<Ipv6Addr>, Vec<(Ipv6Addr, u32)>);

fn agents(entry: &Entry<'_>) -> Result<Option<Agents>, BadSetting> {
    let what = "an IPv6 address, or a table such as { address = \"2001:db8::1\", spi = 256 }";
    let Some(items) = entry.addresses_or_tables("agents", what)? else {
        return Ok(None);
    };
    let (mut agents, mut spis) = (Vec::new(), Vec::new());
    for item in items {
        let table = match item {
            AddressOrTable::Address(address) => {
                agents.push(address);
                continue;
            }
            AddressOrTable::Table(table) => table,
        };
        table.only(&["address", "spi"], &[])?;
        let address = table
            .address("address")?
            .ok_or_else(|| table.bad("address", "expected the agent's, it is missing"))?;
        agents.push(address);
        if let Some(spi) = table.number("spi", 256..=u32::MAX)? {
            spis.push((address, spi));
        }
    }
    Ok(Some((agents, spis)))
}

impl Reverse {
    /// As the settings have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Tunnel => "tunnel",
            Self::Direct => "direct",
        }
    }
}

impl Ownership {
    /// As the settings have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Standby => "standby",
            Self::Last => "last",
        }
    }
}

impl Follow {
    /// As the settings have it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Off => "off",
            Self::Require => "require",
        }
    }
}

impl Settings {
    /// A binding with everything else left to the defaults; to be checked.
    pub(crate) fn new(anycast: Ipv6Addr, agents: Vec<Ipv6Addr>) -> Self {
        Self {
            anycast,
            care_of: None,
            agents,
            agent_spis: Vec::new(),
            lifetime: LIFETIME,
            spi: None,
            reverse: Reverse::Tunnel,
            ownership: Ownership::Standby,
            sequence_step: SEQUENCE_STEP,
            route_optimization: false,
            responder: Follow::Auto,
            checks: Vec::new(),
        }
    }

    /// The SPI of the key that is used at an agent.
    pub(crate) fn spi_at(&self, agent: Ipv6Addr) -> Option<u32> {
        let own = self.agent_spis.iter().find(|(other, _)| *other == agent);
        own.map(|(_, spi)| *spi).or(self.spi)
    }

    /// The SPIs of all keys that are used.
    pub(crate) fn spis(&self) -> Vec<u32> {
        let agents = self.agents.iter();
        agents.filter_map(|agent| self.spi_at(*agent)).collect()
    }

    /// Whether it can be used; else the key that cannot, and what was expected.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let unicast = "expected a global or unique-local unicast address";
        if !is_routable(self.anycast) {
            return Err(("anycast", format!("{unicast}, not {}", self.anycast)));
        }
        if let Some(care_of) = self.care_of {
            if !is_routable(care_of) {
                return Err(("care_of", format!("{unicast}, not {care_of}")));
            }
            if care_of == self.anycast {
                let problem =
                    format!("expected another address than the anycast address {care_of}");
                return Err(("care_of", problem));
            }
        }
        if self.agents.is_empty() {
            let problem = "expected the address of at least one agent".to_owned();
            return Err(("agents", problem));
        }
        for (index, &agent) in self.agents.iter().enumerate() {
            if !is_routable(agent) {
                return Err(("agents", format!("{unicast}, not {agent}")));
            }
            if agent == self.anycast || Some(agent) == self.care_of {
                let problem = format!("expected the address of another host, not {agent}");
                return Err(("agents", problem));
            }
            if self.agents[..index].contains(&agent) {
                let problem = format!("expected each agent once, {agent} is there already");
                return Err(("agents", problem));
            }
        }
        if self.lifetime < Duration::from_secs(4) || self.lifetime > LIFETIME_LONGEST {
            let problem = "expected \"4s\" to \"72h\", in units of 4 s".to_owned();
            return Err(("lifetime", problem));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(rest: &str) -> String {
        let text = format!("[[binding]]\nanycast = \"2001:db8:0:1::a\"\n{rest}");
        match read(&text) {
            Ok(_) => "fine".to_owned(),
            Err(bad) => bad.to_string(),
        }
    }

    const AGENT: &str = "agents = [\"2001:db8:0:1::2\"]\n";

    #[test]
    fn a_table_is_read_with_its_defaults() {
        let text = format!("[[binding]]\nanycast = \"2001:db8:0:1::a\"\n{AGENT}");
        let expected = Settings::new(
            "2001:db8:0:1::a".parse().unwrap(),
            vec!["2001:db8:0:1::2".parse().unwrap()],
        );
        assert_eq!(read(&text).unwrap(), [expected]);
        assert_eq!(read("").unwrap(), []);
    }

    #[test]
    fn an_agent_can_have_a_key_of_its_own() {
        let text = "[[binding]]\nanycast = \"2001:db8:0:1::a\"\nspi = 256\nagents = \
            [\"2001:db8::1\", { address = \"2001:db8::2\", spi = 257 }, \
            { address = \"2001:db8::3\" }]\n";
        let settings = read(text).unwrap().swap_remove(0);
        let ip = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        let agents = ["2001:db8::1", "2001:db8::2", "2001:db8::3"].map(ip);
        assert_eq!(settings.agents, agents);
        let spis = agents.map(|agent| settings.spi_at(agent));
        assert_eq!(spis, [Some(256), Some(257), Some(256)]);
        assert_eq!(settings.spis(), [256, 257, 256]);
        for (agents, expected) in [
            (
                "1",
                "agents: expected a list of an IPv6 address, or a table",
            ),
            ("[1]", "agents[0]: expected an IPv6 address, or a table"),
            ("[{ spi = 256 }]", "agents[0].address: expected the agent's"),
            (
                "[{ address = \"2001:db8::1\", spi = 1 }]",
                "agents[0].spi: expected a whole number from 256",
            ),
            (
                "[{ address = \"2001:db8::1\", key = 1 }]",
                "agents[0].key: unknown key",
            ),
        ] {
            let outcome = outcome(&format!("agents = {agents}"));
            let expected = format!("binding[0].{expected}");
            assert!(outcome.starts_with(&expected), "{outcome}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        let with = |rest: &str| outcome(&format!("{AGENT}{rest}"));
        let all = "reverse = \"direct\"\nownership = \"last\"\nsequence_step = 1\nresponder = \"require\"";
        assert_eq!(with(all), "fine");
        for (rest, expected) in [
            ("care_of = \"ff02::1\"", "care_of: expected a global"),
            (
                "care_of = \"2001:db8:0:1::a\"",
                "care_of: expected another address",
            ),
            (
                "care_of = \"2001:db8:0:1::2\"",
                "agents: expected the address of another host",
            ),
            ("lifetime = \"3s\"", "lifetime: expected \"4s\""),
            ("lifetime = \"73h\"", "lifetime: expected \"4s\""),
            ("spi = 255", "spi: expected a whole number from 256"),
            (
                "sequence_step = 0",
                "sequence_step: expected a whole number",
            ),
            (
                "ownership = \"first\"",
                "ownership: expected \"standby\" or \"last\"",
            ),
            ("checks = \"tcp:80\"", "checks: expected a list"),
            (
                "responder = \"on\"",
                "responder: expected \"auto\" or \"off\" or",
            ),
            ("reverse = 1", "reverse: expected \"tunnel\" or \"direct\""),
            ("lifetme = 1", "lifetme: unknown key"),
        ] {
            let expected = match expected.starts_with("checks") {
                true => format!("binding[0]: {expected}"),
                false => format!("binding[0].{expected}"),
            };
            assert!(with(rest).starts_with(&expected), "{}", with(rest));
        }
        let expected = "binding[0].agents: expected the addresses";
        assert!(outcome("").starts_with(expected));
        let expected = "binding[0].agents: expected the address of at least";
        assert!(outcome("agents = []").starts_with(expected));
        let twice = "agents = [\"2001:db8::1\", \"2001:db8::1\"]";
        assert!(outcome(twice).starts_with("binding[0].agents: expected each agent once"));
        let twice = format!("{AGENT}[[binding]]\nanycast = \"2001:db8:0:1::a\"\n{AGENT}");
        assert!(outcome(&twice).starts_with("binding[1].anycast: expected each address once"));
    }
}
