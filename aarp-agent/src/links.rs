//! The anycast addresses on the agent's own links: claimed before they are answered for,
//! announced, and watched. `aarp_mobility::neighbour` decides; here are the sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use aarp_core::relay::Limit;
use aarp_host::failure::{Failure, code};
use aarp_host::inventory::Inventory;
use aarp_host::sysctl::Number;
use aarp_mobility::neighbour::{
    self, Action, Claim, LinkLayer, Message, Nonce, Standing, Timing, solicited_node,
};
use aarp_sys::neighbour::NeighbourSocket;
use aarp_sys::packet::{ethernet_address, is_running};

use crate::say;

/// Messages of one link before others have their turn.
const TURN: usize = 64;
/// Octets of a message that are looked at; what is longer says no more.
const MESSAGE: usize = 1500;

/// The links.
pub(crate) struct Links {
    links: Vec<Link>,
    /// By which probes of the agent's are known, also on another of its interfaces: two
    /// of them may be on one link.
    nonce: Nonce,
    /// For lines that neighbours can cause.
    limit: Limit,
}

struct Link {
    interface: String,
    socket: NeighbourSocket,
    /// What the agent announces with.
    source: Ipv6Addr,
    claims: BTreeMap<Ipv6Addr, Claim>,
    /// Whether it was told that there are more addresses than groups to be joined.
    told: bool,
}

/// How it stands with an address on a link by now.
pub(crate) struct Found {
    pub(crate) address: Ipv6Addr,
    pub(crate) interface: String,
    /// Whether it is the agent's.
    pub(crate) held: bool,
}

impl Links {
    /// Claims these addresses on these links.
    pub(crate) fn claim(
        wanted: &[(Ipv6Addr, String)],
        inventory: &Inventory,
        agent: Ipv6Addr,
        now: Duration,
    ) -> Result<Self, Failure> {
        let mut links: Vec<Link> = Vec::new();
        let interfaces: BTreeSet<&String> = wanted.iter().map(|(_, link)| link).collect();
        for interface in interfaces {
            let Some(mut link) = Link::open(interface, inventory, agent)? else {
                say(&format!(
                    "{interface} is no Ethernet link: nobody on it asks where the addresses of its prefix are; route them to the agent"
                ));
                continue;
            };
            for (address, _) in wanted.iter().filter(|(_, link)| link == interface) {
                link.claim(*address, now)?;
            }
            links.push(link);
        }
        let limit = Limit::new(Duration::from_secs(10), 10);
        let [_, _, nonce @ ..] = std::hash::RandomState::new().hash_one(agent).to_ne_bytes();
        Ok(Self {
            links,
            nonce,
            limit,
        })
    }

    /// Whether it is not known yet of some address whether anybody has it.
    pub(crate) fn are_tentative(&self) -> bool {
        let mut claims = self.links.iter().flat_map(|link| link.claims.values());
        claims.any(|claim| claim.standing() == Standing::Tentative)
    }

    /// The addresses that another node has on some link.
    pub(crate) fn contested(&self) -> BTreeSet<Ipv6Addr> {
        let claims = self.links.iter().flat_map(|link| &link.claims);
        let contested = claims.filter(|(_, claim)| claim.standing() == Standing::Contested);
        contested.map(|(address, _)| *address).collect()
    }

    /// After what moment there is something to do.
    pub(crate) fn due(&self) -> Option<Duration> {
        let claims = self.links.iter().flat_map(|link| link.claims.values());
        claims.filter_map(Claim::due).min()
    }

    /// What becomes readable when a neighbour says something.
    pub(crate) fn sources(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.links.iter().map(|link| link.socket.as_fd())
    }

    /// Tells neighbours where an address is.
    pub(crate) fn announce(&mut self, address: Ipv6Addr, now: Duration) {
        let claims = self.links.iter_mut();
        for claim in claims.filter_map(|link| link.claims.get_mut(&address)) {
            claim.announce(now);
        }
    }

    /// An address was not answered for on a link for a while.
    pub(crate) fn doubt(&mut self, address: Ipv6Addr, interface: &str, now: Duration) {
        let links = self.links.iter_mut();
        for link in links.filter(|link| link.interface == interface) {
            if let Some(claim) = link.claims.get_mut(&address) {
                claim.doubt(now);
            }
        }
    }

    /// Listens to neighbours and does what is due; what has come of it.
    pub(crate) fn turn(&mut self, now: Duration) -> Vec<Found> {
        let mut found = Vec::new();
        let mut news = Vec::new();
        // Not remembered: the address of an interface may change.
        let own: Vec<LinkLayer> = self.links.iter().filter_map(Link::hardware).collect();
        for link in &mut self.links {
            link.hear(now, &own, self.nonce, &mut found, &mut news);
            link.wake(now, self.nonce, &mut found, &mut news);
        }
        for line in news {
            if self.limit.permits(now) {
                say(&line);
            }
        }
        found
    }
}

impl Link {
    /// `None` on a link that has no neighbours to be found.
    fn open(
        interface: &str,
        inventory: &Inventory,
        agent: Ipv6Addr,
    ) -> Result<Option<Self>, Failure> {
        let hardware = ethernet_address(interface)
            .map_err(|error| Failure::system("ask for a hardware address", error))?;
        if hardware.is_none() {
            return Ok(None);
        }
        let socket = NeighbourSocket::open(interface)
            .map_err(|error| Failure::new(code::UNAVAILABLE, error))?;
        // RFC 6275 §10.4.1: the agent's address on this very interface.
        let here = inventory.addresses.iter();
        let mut here = here.filter(|a| a.interface == interface).map(|a| a.address);
        let own = here.clone().find(|address| *address == agent);
        let source = own.or_else(|| here.next()).unwrap_or(agent);
        Ok(Some(Self {
            interface: interface.to_owned(),
            socket,
            source,
            claims: BTreeMap::new(),
            told: false,
        }))
    }

    /// The hardware address by now; none where the interface is gone.
    fn hardware(&self) -> Option<LinkLayer> {
        ethernet_address(&self.interface).ok().flatten()
    }

    fn claim(&mut self, address: Ipv6Addr, now: Duration) -> Result<(), Failure> {
        let default = Timing::DEFAULT;
        let timing = Timing {
            transmits: Number::DadTransmits
                .read(&self.interface)?
                .unwrap_or(default.transmits),
            retransmit: Number::RetransTimer
                .read(&self.interface)?
                .map_or(default.retransmit, |ms| Duration::from_millis(ms.into())),
        };
        let claim = Claim::new(timing, now);
        // RFC 4862 §5.4.2: before the probe, so that nobody's at the same time is missed.
        if self.claims.insert(address, claim).is_none()
            && let Err(error) = self.socket.join(solicited_node(address))
            && !std::mem::replace(&mut self.told, true)
        {
            say(&error.to_string());
        }
        Ok(())
    }

    /// What neighbours say of the addresses.
    fn hear(
        &mut self,
        now: Duration,
        own: &[LinkLayer],
        own_nonce: Nonce,
        found: &mut Vec<Found>,
        news: &mut Vec<String>,
    ) {
        let mut buffer = [0; MESSAGE];
        for _ in 0..TURN {
            let heard = match self.socket.receive(&mut buffer) {
                Ok(Some(heard)) => heard,
                Ok(None) => return,
                Err(error) => {
                    // Of an interface that is down, or is gone; it is taken with that.
                    news.push(format!(
                        "listen to neighbours on {}: {error}",
                        self.interface
                    ));
                    return;
                }
            };
            let (target, by) = match neighbour::read(heard.source, heard.message) {
                // What a link sends back to us is ours.
                Some(Message::Probe { nonce, .. }) if nonce == Some(own_nonce) => continue,
                Some(Message::Advertisement { link_layer, .. })
                    if link_layer.is_some_and(|address| own.contains(&address)) =>
                {
                    continue;
                }
                Some(Message::Probe { target, .. }) => {
                    // Who looks whether it is free is told by the kernel that it is not.
                    let claim = self.claims.get(&target);
                    if claim.is_none_or(|claim| claim.standing() == Standing::Held) {
                        continue;
                    }
                    (target, "a node that is about to take it".to_owned())
                }
                Some(Message::Advertisement { target, link_layer }) => {
                    (target, node(heard.source, link_layer))
                }
                None => continue,
            };
            let Some(claim) = self.claims.get_mut(&target) else {
                continue;
            };
            let before = claim.standing();
            claim.object(now);
            if before != Standing::Contested && claim.standing() == Standing::Contested {
                let interface = self.interface.clone();
                news.push(format!(
                    "WARNING: {target} belongs to {by} on {interface}: it is not answered for there, and registrations of it are refused (status 134), until nobody has it"
                ));
                found.push(Found {
                    address: target,
                    interface,
                    held: false,
                });
            }
        }
    }

    fn wake(
        &mut self,
        now: Duration,
        nonce: Nonce,
        found: &mut Vec<Found>,
        news: &mut Vec<String>,
    ) {
        // What is sent where there is no carrier nobody hears, and no error tells.
        let carries = is_running(&self.interface).is_ok_and(|running| running);
        let hardware = self.hardware();
        for (&address, claim) in &mut self.claims {
            let was_contested = claim.standing() == Standing::Contested;
            while let Some(action) = claim.wake(now) {
                let sent = match action {
                    Action::Probe if !carries => {
                        claim.missed();
                        Ok(())
                    }
                    Action::Probe => self.socket.send(&neighbour::probe(address, nonce)),
                    Action::Announce => match hardware {
                        Some(hardware) => {
                            let packet = neighbour::announcement(self.source, address, hardware);
                            self.socket.send(&packet)
                        }
                        None => Ok(()),
                    },
                    Action::Take => {
                        if was_contested {
                            let interface = &self.interface;
                            news.push(format!("{address} on {interface} is free again: taken"));
                        }
                        found.push(Found {
                            address,
                            interface: self.interface.clone(),
                            held: true,
                        });
                        Ok(())
                    }
                };
                if let Err(error) = sent {
                    if action == Action::Probe {
                        claim.missed();
                    }
                    news.push(format!("{address}: {error}"));
                }
            }
        }
    }
}

fn node(source: Ipv6Addr, link_layer: Option<LinkLayer>) -> String {
    match link_layer {
        None => format!("the node {source}"),
        Some(octets) => {
            let octets = octets.map(|octet| format!("{octet:02x}"));
            format!("the node {} ({source})", octets.join(":"))
        }
    }
}
