//! A look at the host: each listing is read when it is first needed, and once.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::net::Ipv6Addr;

use super::Change;
use super::listing::{self, Rule};
use crate::HostError;
use crate::inventory::{self, HostAddress};
use crate::sysctl::{Number, Switch};
use crate::tool::Tool;

/// What has been listed so far.
pub(super) struct Look<'t> {
    ip: &'t Tool,
    addresses: Option<Vec<HostAddress>>,
    rules: Option<Vec<Rule>>,
    proxies: Option<HashSet<(Ipv6Addr, String)>>,
    /// By the table and the interface.
    routes: HashMap<(u32, String), HashSet<Route>>,
}

/// A prefix, its length, and the metric.
type Route = (Ipv6Addr, u8, u32);

impl<'t> Look<'t> {
    pub(super) fn new(ip: &'t Tool) -> Self {
        Self {
            ip,
            addresses: None,
            rules: None,
            proxies: None,
            routes: HashMap::new(),
        }
    }

    /// Whether it is so.
    pub(super) fn holds(&mut self, change: &Change) -> Result<bool, HostError> {
        Ok(match change {
            Change::Address {
                address,
                prefix_length,
                interface,
                ..
            } => self.addresses()?.iter().any(|a| {
                (a.address, a.prefix_length, &a.interface) == (*address, *prefix_length, interface)
            }),
            Change::Route {
                destination,
                prefix_length,
                interface,
                table,
                metric,
            } => self
                .routes(*table, interface)?
                .contains(&(*destination, *prefix_length, *metric)),
            Change::Rule {
                from,
                protocol,
                table,
                priority,
            } => self.rules()?.contains(&Rule {
                from: *from,
                protocol: *protocol,
                table: *table,
                priority: *priority,
            }),
            Change::ProxyNeighbour { address, interface } => {
                self.proxies()?.contains(&(*address, interface.clone()))
            }
            Change::ProxyNdp { interface } => Switch::ProxyNdp.read(interface)?.unwrap_or_default(),
            Change::ProxyDelay { interface } => Number::ProxyDelay.read(interface)? == Some(0),
            Change::Forwarding { interface } => {
                Switch::Forwarding.read(interface)?.unwrap_or_default()
            }
        })
    }

    fn addresses(&mut self) -> Result<&[HostAddress], HostError> {
        if self.addresses.is_none() {
            let list = self.ip.run(&["-j", "-6", "addr", "show"], None)?;
            let inventory =
                inventory::parse(&list, "").map_err(unreadable("ip -j -6 addr show"))?;
            self.addresses = Some(inventory.addresses);
        }
        Ok(self.addresses.as_deref().unwrap_or_default())
    }

    fn rules(&mut self) -> Result<&[Rule], HostError> {
        if self.rules.is_none() {
            let list = self.ip.run(&["-N", "-j", "-6", "rule", "show"], None)?;
            self.rules = Some(listing::rules(&list).map_err(unreadable("ip -j rule"))?);
        }
        Ok(self.rules.as_deref().unwrap_or_default())
    }

    fn proxies(&mut self) -> Result<&HashSet<(Ipv6Addr, String)>, HostError> {
        let proxies = match self.proxies.take() {
            Some(proxies) => proxies,
            None => {
                let list = self.ip.run(&["-j", "-6", "neigh", "show", "proxy"], None)?;
                let list = listing::proxies(&list).map_err(unreadable("ip -j neigh show proxy"))?;
                list.into_iter().collect()
            }
        };
        Ok(self.proxies.insert(proxies))
    }

    /// The routes that lead into the interface, to no router.
    fn routes(&mut self, table: u32, interface: &str) -> Result<&HashSet<Route>, HostError> {
        let place = match self.routes.entry((table, interface.to_owned())) {
            Entry::Occupied(place) => return Ok(place.into_mut()),
            Entry::Vacant(place) => place,
        };
        // Only those of the interface: a router may have a million others.
        let number = table.to_string();
        let list = [
            "-N", "-6", "route", "show", "table", &number, "dev", interface,
        ];
        let routes = match self.ip.run(&list, None) {
            Ok(text) => listing::routes(&text),
            // A table comes into being with its first route; and where there is no such
            // interface nothing leads into it.
            Err(HostError::Failed { reason, .. })
                if reason.contains("does not exist") || reason.contains("Cannot find") =>
            {
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        let routes = routes.into_iter().filter_map(|route| {
            let (destination, length) = listing::destination(&route)?;
            let metric = listing::metric(&route)?;
            listing::leads_into(&route, interface).then_some((destination, length, metric))
        });
        Ok(place.insert(routes.collect()))
    }
}

fn unreadable(command: &str) -> impl FnOnce(serde_json::Error) -> HostError {
    move |source| HostError::Unreadable {
        command: command.to_owned(),
        source,
    }
}
