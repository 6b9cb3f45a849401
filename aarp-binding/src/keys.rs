//! The keys that the bindings name, and what registrations by one key at one agent share.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::path::Path;
use std::rc::Rc;

use aarp_core::binding::authentication::Association;
use aarp_core::binding::keyring::Freshness;
use aarp_core::binding::timestamp::Stamps;
use aarp_core::binding::update_list::Peer;
use aarp_host::failure::{Failure, code};
use aarp_mobility::keys::{self, Key};

use crate::memory::Memory;
use crate::settings::Settings;

/// The associations, by their SPIs.
pub(crate) type Keys = BTreeMap<u32, Association>;

/// The associations of the SPIs that the bindings name.
pub(crate) fn read<'s>(
    bindings: impl Iterator<Item = &'s Settings>,
    file: &Path,
) -> Result<Keys, Failure> {
    let wanted: BTreeSet<u32> = bindings.flat_map(Settings::spis).collect();
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let bad = |problem: &dyn std::fmt::Display| Failure::new(code::CONFIGURATION, problem);
    let keys: Vec<Key> = keys::read(file).map_err(|error| bad(&error))?;
    let file = file.display();
    let found = wanted.into_iter().map(|spi| {
        let key = keys.iter().find(|key| key.spi == spi);
        let key = key.ok_or_else(|| {
            bad(&format!(
                "{file}: expected an entry with spi = {spi}, as a binding names it"
            ))
        })?;
        let association = Association::new(spi, key.secret.octets(), key.peer.as_bytes());
        let association = association.map_err(|error| bad(&format!("{file}: {error}")))?;
        Ok((spi, association))
    });
    found.collect()
}

/// What there is to be warned of: an agent cannot tell an update that was meant for it
/// from one that was recorded on its way to another agent that has the same key, for the
/// code of RFC 4285 §5.1 covers no destination.
pub(crate) fn warnings(bindings: &[Settings]) -> Vec<String> {
    let mut agents: BTreeMap<u32, BTreeSet<Ipv6Addr>> = BTreeMap::new();
    for binding in bindings {
        for agent in &binding.agents {
            if let Some(spi) = binding.spi_at(*agent) {
                agents.entry(spi).or_default().insert(*agent);
            }
        }
    }
    let shared = agents.into_iter().filter(|(_, agents)| agents.len() > 1);
    let lines = shared.map(|(spi, agents)| {
        let agents: Vec<_> = agents.iter().map(ToString::to_string).collect();
        format!(
            "WARNING: the key with spi {spi} is used at {}: what is sent to one of them can be sent again to another; name an spi for each, as agents = [{{ address = \"…\", spi = … }}, …]",
            agents.join(" and ")
        )
    });
    lines.collect()
}

/// What all registrations by one key at one agent share.
#[derive(Debug, Default)]
pub(crate) struct Peers(BTreeMap<(Ipv6Addr, Option<u32>), Rc<RefCell<Peer>>>);

impl Peers {
    /// That of an agent and a key, as it was left.
    pub(crate) fn of(
        &mut self,
        agent: Ipv6Addr,
        spi: Option<u32>,
        memory: &Memory,
    ) -> Rc<RefCell<Peer>> {
        let peer = self.0.entry((agent, spi)).or_insert_with(|| {
            let peer = match spi {
                Some(_) => {
                    let stamps = Stamps::new(memory.last_timestamp(agent));
                    Peer::authenticated(stamps, Freshness::DEFAULT.skew)
                }
                None => Peer::new(),
            };
            Rc::new(RefCell::new(peer))
        });
        Rc::clone(peer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    #[test]
    fn a_key_at_an_agent_is_one_peer() {
        let folder = tempfile::tempdir().unwrap();
        let (memory, _) = Memory::open(folder.path());
        let ip = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        let (one, other) = (ip("2001:db8::1"), ip("2001:db8::2"));
        let mut peers = Peers::default();
        let first = peers.of(one, Some(256), &memory);
        assert!(Rc::ptr_eq(&first, &peers.of(one, Some(256), &memory)));
        for (agent, spi) in [(one, Some(257)), (one, None), (other, Some(256))] {
            let another = peers.of(agent, spi, &memory);
            assert!(!Rc::ptr_eq(&first, &another), "{agent} {spi:?}");
        }
    }

    #[test]
    fn one_key_for_several_agents_is_warned_of() {
        let warned = |text: &str| warnings(&settings::read(text).unwrap());
        let one = "[[binding]]\nanycast = \"2001:db8:0:1::a\"\nspi = 256\n";
        assert_eq!(
            warned(&format!("{one}agents = [\"2001:db8::1\"]\n")).len(),
            0
        );
        let both = "agents = [\"2001:db8::1\", \"2001:db8::2\"]\n";
        let lines = warned(&format!("{one}{both}"));
        assert_eq!(lines.len(), 1);
        assert!(lines[0].contains("spi 256 is used at 2001:db8::1 and 2001:db8::2"));
        let each = "agents = [\"2001:db8::1\", { address = \"2001:db8::2\", spi = 257 }]\n";
        assert_eq!(warned(&format!("{one}{each}")).len(), 0);
        // In two tables.
        let other = "[[binding]]\nanycast = \"2001:db8:0:1::b\"\nagents = [\"2001:db8::2\"]\n";
        let two = format!("{one}agents = [\"2001:db8::1\"]\n{other}");
        assert_eq!(warned(&two).len(), 0, "without a key");
        assert_eq!(warned(&format!("{two}spi = 256\n")).len(), 1);
    }
}
