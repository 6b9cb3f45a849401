//! The description of a network: hosts, links and names.
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::Duration;

use serde::Deserialize;

use crate::quantity::{Rate, Span};
use crate::{Error, Result};

/// A network as it is to be made. Built up in a program, or read from a scenario.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// The hosts by name.
    pub hosts: BTreeMap<String, HostSpec>,
    /// The links between them.
    pub links: Vec<LinkSpec>,
    /// What `/etc/hosts` says inside every host: a name and its addresses.
    pub names: BTreeMap<String, Vec<String>>,
}

/// One host.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HostSpec {
    /// Whether it forwards packets.
    pub forwarding: bool,
    /// Addresses (`address/length` and options of `ip address add`) by interface.
    pub addresses: BTreeMap<String, Vec<String>>,
    /// Routes, each as after `ip route add`.
    pub routes: Vec<String>,
    /// Settings under /proc/sys, by dotted name.
    pub sysctls: BTreeMap<String, String>,
    /// Rules as for `nft -f`.
    pub firewall: Option<String>,
}

impl HostSpec {
    /// A host with nothing but loopback.
    pub fn new() -> Self {
        Self::default()
    }

    /// A host that forwards packets.
    pub fn router() -> Self {
        Self {
            forwarding: true,
            ..Self::default()
        }
    }

    /// Adds an address, `2001:db8::1/64`, to an interface.
    pub fn address(mut self, interface: &str, address: impl Into<String>) -> Self {
        let list = self.addresses.entry(interface.to_owned()).or_default();
        list.push(address.into());
        self
    }

    /// Adds a route, as after `ip route add`.
    pub fn route(mut self, route: impl Into<String>) -> Self {
        self.routes.push(route.into());
        self
    }

    /// Sets `net.ipv6.…`.
    pub fn sysctl(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.sysctls.insert(name.into(), value.into());
        self
    }

    /// Loads rules, as for `nft -f`.
    pub fn firewall(mut self, rules: impl Into<String>) -> Self {
        self.firewall = Some(rules.into());
        self
    }
}

/// A link between two hosts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSpec {
    /// Its two ends: `host:interface` and, separated by spaces, addresses.
    pub ends: [String; 2],
    /// How long a packet is under way, in each direction.
    pub delay: Option<Span>,
    /// How much goes over it, in each direction.
    pub rate: Option<Rate>,
    /// Its MTU, 1500 unless given.
    pub mtu: Option<u32>,
    /// Whether the ends may join and offload packets; always false with a delay
    /// or a rate, else true.
    pub offloads: Option<bool>,
}

impl LinkSpec {
    /// A link without delay between `host:interface [address/length…]` and another.
    pub fn new(one: impl Into<String>, other: impl Into<String>) -> Self {
        Self {
            ends: [one.into(), other.into()],
            delay: None,
            rate: None,
            mtu: None,
            offloads: None,
        }
    }

    /// Sets the delay in each direction.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(Span(delay));
        self
    }

    /// Sets the rate in each direction, in bits per second.
    pub fn rate(mut self, bits: u64) -> Self {
        self.rate = Some(Rate(bits));
        self
    }

    /// Sets the MTU.
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = Some(mtu);
        self
    }

    /// Says whether packets may be joined and their checksums left to the peer.
    pub fn offloads(mut self, offloads: bool) -> Self {
        self.offloads = Some(offloads);
        self
    }

    /// Whether something must stand between the ends.
    pub(crate) fn shaped(&self) -> bool {
        self.rate.is_some() || self.delay.is_some_and(|delay| !delay.0.is_zero())
    }
}

/// One end of a link, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct End<'a> {
    pub(crate) host: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) addresses: Vec<&'a str>,
}

impl<'a> End<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let (host, interface) = words.next()?.split_once(':')?;
        // IFNAMSIZ, and what the kernel itself refuses.
        let valid = (1..=15).contains(&interface.len())
            && !interface.contains(['/', ':'])
            && !host.is_empty();
        valid.then(|| Self {
            host,
            interface,
            addresses: words.collect(),
        })
    }
}

impl Network {
    /// An empty network.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a host.
    pub fn host(mut self, name: impl Into<String>, host: HostSpec) -> Self {
        self.hosts.insert(name.into(), host);
        self
    }

    /// Adds a link between `host:interface [address/length…]` and another.
    pub fn link(self, one: impl Into<String>, other: impl Into<String>) -> Self {
        self.add_link(LinkSpec::new(one, other))
    }

    /// Adds a link with properties of its own.
    pub fn add_link(mut self, link: LinkSpec) -> Self {
        self.links.push(link);
        self
    }

    /// Lets every host resolve `name` to `address`.
    pub fn name(mut self, name: impl Into<String>, address: impl Into<String>) -> Self {
        self.names
            .entry(name.into())
            .or_default()
            .push(address.into());
        self
    }

    /// Which host has an address. One that several have is nobody's.
    pub(crate) fn hosts_by_address(&self) -> BTreeMap<Ipv6Addr, String> {
        let of_links = self.links.iter().flat_map(|link| &link.ends);
        let of_links = of_links.filter_map(|text| End::parse(text));
        let of_links = of_links.map(|end| (end.host, end.addresses));
        let of_hosts = self.hosts.iter().flat_map(|(name, host)| {
            let lists = host.addresses.values();
            lists.map(move |list| (name.as_str(), list.iter().map(String::as_str).collect()))
        });
        let mut owners: BTreeMap<Ipv6Addr, Option<&str>> = BTreeMap::new();
        for (host, addresses) in of_links.chain(of_hosts) {
            for text in addresses {
                let Some(Ok(address)) = text.split('/').next().map(str::parse) else {
                    continue;
                };
                let owner = owners.entry(address).or_insert(Some(host));
                if *owner != Some(host) {
                    *owner = None;
                }
            }
        }
        owners
            .into_iter()
            .filter_map(|(address, host)| Some((address, host?.to_owned())))
            .collect()
    }

    pub(crate) fn check(&self, file: &str) -> Result<()> {
        let error = |message| Error::Scenario {
            file: file.to_owned(),
            message,
        };
        let mut seen = std::collections::BTreeSet::new();
        for text in self.links.iter().flat_map(|link| &link.ends) {
            let end = End::parse(text).ok_or_else(|| {
                error(format!(
                    "links: ends: {text:?} is not `host:interface [address/length…]`"
                ))
            })?;
            if !self.hosts.contains_key(end.host) {
                let message = format!("links: ends: there is no host {:?}", end.host);
                return Err(error(message));
            }
            if !seen.insert((end.host, end.interface)) {
                let message = format!("links: ends: {}:{} twice", end.host, end.interface);
                return Err(error(message));
            }
        }
        for (name, host) in &self.hosts {
            for interface in host.addresses.keys() {
                if interface != "lo" && !seen.contains(&(name.as_str(), interface.as_str())) {
                    let message =
                        format!("hosts.{name}.addresses: no link ends at {name}:{interface}");
                    return Err(error(message));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_one_host_that_has_it() {
        let network = Network::new()
            .host("a", HostSpec::new().address("lo", "2001:db8::a/128"))
            .host("b", HostSpec::new().address("lo", "2001:db8::a/128"))
            .link("a:eth0 2001:db8::1/64", "b:eth0 2001:db8::2/64");
        let hosts = network.hosts_by_address();
        let of = |text: &str| hosts.get(&text.parse().unwrap()).map(String::as_str);
        assert_eq!(of("2001:db8::1"), Some("a"));
        assert_eq!(of("2001:db8::2"), Some("b"));
        assert_eq!(of("2001:db8::a"), None);
    }
}
