//! What the agent changes of its host: the routes of the anycast addresses into the TUN
//! device, neighbour solicitations answered for those of its own links, and the rules of
//! the control channel.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use std::path::Path;

use aarp_core::prefix::Prefix;
use aarp_host::HostError;
use aarp_host::changes::{Change, Changes, MAIN, METRIC};
use aarp_host::failure::{Failure, code};
use aarp_host::inventory::Inventory;
use aarp_host::sysctl::Switch;
use aarp_host::tool::Tool;
use aarp_mobility::channel::Channel;
use aarp_sys::packet::is_running;
use aarp_sys::tun::Tun;

use crate::say;
use crate::settings::Settings;

/// The largest packet that the device takes. What is too big for the tunnel to the
/// responder the relay tells the initiator, by the path to each: the device's own MTU
/// must not come before that.
const DEVICE_MTU: u32 = 65_535;

/// The changes of a serving agent.
pub(crate) struct Placement {
    changes: Changes,
    wanted: Vec<Change>,
    /// The addresses on links of this host, and those that are answered for there.
    on_links: Vec<(Ipv6Addr, String)>,
    answered: BTreeSet<(Ipv6Addr, String)>,
    ip: Tool,
    nft: Tool,
    device: String,
    removal: String,
    /// This host's own addresses, of which none can be a responder's.
    inventory: Inventory,
}

impl Placement {
    /// Brings the device up and makes the changes; those that were made before one
    /// fails are undone.
    pub(crate) fn take(
        settings: &Settings,
        ip: &Tool,
        nft: &Tool,
        tun: &Tun,
        channel: &Channel,
        record: &Path,
    ) -> Result<Self, Failure> {
        let system = |operation: &'static str| move |error| Failure::system(operation, error);
        let device = tun
            .name()
            .map_err(system("ask for the TUN device's name"))?;
        require_forwarding("all")?;
        require_forwarding(&device)?;
        tun.set_mtu(DEVICE_MTU)
            .map_err(system("set the TUN device's MTU"))?;
        tun.up().map_err(system("bring the TUN device up"))?;
        let inventory = Inventory::read(ip)?;
        for prefix in &settings.home {
            if let Some(own) = own(&inventory, *prefix) {
                let message = format!(
                    "{prefix} of agent.home has {own} in it, an address of this host on {}, which would never be relayed, or cut the host off; name the anycast addresses themselves",
                    own_interface(&inventory, own)
                );
                return Err(Failure::new(code::UNAVAILABLE, message));
            }
        }
        let on_links = on_links(&settings.home, &inventory);
        for (_, interface) in &on_links {
            require_forwarding(interface)?;
        }
        let (changes, errors) = Changes::recorded(ip.clone(), record)?;
        for error in errors {
            say(&format!("undo what was left behind: {error}"));
        }
        let mut placement = Self {
            changes,
            ip: ip.clone(),
            device: device.clone(),
            wanted: wanted(&settings.home, &device),
            on_links,
            answered: BTreeSet::new(),
            nft: nft.clone(),
            removal: channel.removal(),
            inventory,
        };
        let made = placement
            .changes
            .make_all(&placement.wanted, |_| {})
            .and_then(|()| placement.rules(channel));
        match made {
            Ok(()) => Ok(placement),
            Err(error) => {
                placement.give_back()?;
                Err(error.into())
            }
        }
    }

    /// The addresses and interfaces that this host had when it began.
    pub(crate) fn inventory(&self) -> &Inventory {
        &self.inventory
    }

    /// The anycast addresses on links of this host, to be answered for there.
    pub(crate) fn on_links(&self) -> &[(Ipv6Addr, String)] {
        &self.on_links
    }

    /// Answers neighbours for an address on a link from now on.
    pub(crate) fn answer(&mut self, address: Ipv6Addr, interface: &str) -> Result<(), Failure> {
        self.answered.insert((address, interface.to_owned()));
        let changes = answering(address, interface);
        Ok(self.changes.make_all(&changes, |_| {})?)
    }

    /// Answers no more.
    pub(crate) fn fall_silent(
        &mut self,
        address: Ipv6Addr,
        interface: &str,
    ) -> Result<(), Failure> {
        self.answered.remove(&(address, interface.to_owned()));
        let interface = interface.to_owned();
        let proxy = Change::ProxyNeighbour { address, interface };
        self.changes.revert(&proxy)?;
        Ok(())
    }

    fn rules(&self, channel: &Channel) -> Result<(), HostError> {
        self.nft.run(&["-f", "-"], Some(&channel.rules())).map(drop)
    }

    /// Puts back what somebody else has removed; tells the addresses that were not
    /// answered for meanwhile, also where something else cannot be put back.
    pub(crate) fn restore(
        &mut self,
        channel: &Channel,
        unanswered: &mut Vec<(Ipv6Addr, String)>,
    ) -> Result<(), Failure> {
        if !is_running(&self.device).is_ok_and(|running| running) {
            let up = ["link", "set", "dev", &self.device, "up"];
            self.ip.run(&up, None)?;
            say("put back what was removed: the device is up again");
        }
        let mut wanted = self.wanted.clone();
        let mut links = BTreeSet::new();
        for (address, interface) in &self.answered {
            let [switches @ .., proxy] = answering(*address, interface);
            // Of a link that several addresses are on they are wanted once.
            if links.insert(interface) {
                wanted.extend(switches);
            }
            wanted.push(proxy);
        }
        let made = self.changes.make_all(&wanted, |change| {
            say(&format!("put back what was removed: {}", describe(change)));
            if let Change::ProxyNeighbour { address, interface } = change {
                unanswered.push((*address, interface.clone()));
            }
        });
        self.restore_rules(channel)?;
        Ok(made?)
    }

    fn restore_rules(&self, channel: &Channel) -> Result<(), Failure> {
        let list = ["list", "chain", "ip6", channel.table(), "control"];
        match self.nft.run(&list, None) {
            Ok(text) if channel.is_in(&text) => Ok(()),
            Ok(_) | Err(HostError::Failed { .. }) => {
                self.rules(channel)?;
                say("put back what was removed: the nft rules of the control channel");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Undoes everything.
    pub(crate) fn give_back(&mut self) -> Result<(), Failure> {
        let mut result = Ok(());
        if let Err(error) = self.nft.run(&["-f", "-"], Some(&self.removal)) {
            result = Err(Failure::from(error));
        }
        for error in self.changes.undo() {
            say(&error.to_string());
            result = result.and(Err(error.into()));
        }
        result
    }
}

/// The kernel takes the packets to A, and hands on those from A, only as a router. That
/// switch changes how the host is configured by its routers: it is the operator's to
/// begin with. What is switched off later is put back like everything else that the agent
/// needs, and said: it is mostly a program that loads its own settings.
fn require_forwarding(interface: &str) -> Result<(), Failure> {
    if Switch::Forwarding.read(interface)? != Some(false) {
        return Ok(());
    }
    let message = format!(
        "net.ipv6.conf.{interface}.forwarding is 0, so that nothing can be relayed: sysctl -w net.ipv6.conf.all.forwarding=1 (and accept_ra=2 on interfaces that are configured by router advertisements)"
    );
    Err(Failure::new(code::UNAVAILABLE, message))
}

/// An address of this host that would never be relayed.
fn own(inventory: &Inventory, home: Prefix) -> Option<Ipv6Addr> {
    let mut addresses = inventory.addresses.iter().map(|a| a.address);
    addresses.find(|address| home.contains(*address))
}

fn own_interface(inventory: &Inventory, own: Ipv6Addr) -> &str {
    let found = inventory.addresses.iter().find(|a| a.address == own);
    found.map_or("its interface", |a| a.interface.as_str())
}

/// What is to be so for these addresses.
fn wanted(home: &[Prefix], device: &str) -> Vec<Change> {
    let forwarding = ["all", device].map(|interface| Change::Forwarding {
        interface: interface.to_owned(),
    });
    let routes = home.iter().map(|prefix| Change::Route {
        destination: prefix.address(),
        prefix_length: prefix.len_bits(),
        interface: device.to_owned(),
        table: MAIN,
        metric: METRIC,
    });
    forwarding.into_iter().chain(routes).collect()
}

/// What is to be so for an address that is answered for on a link.
fn answering(address: Ipv6Addr, interface: &str) -> [Change; 4] {
    let interface = interface.to_owned();
    // The switches before the address: none that is solicited goes unanswered, nor is its
    // answer put off, which the first packet would wait for.
    [
        Change::Forwarding {
            interface: interface.clone(),
        },
        Change::ProxyNdp {
            interface: interface.clone(),
        },
        Change::ProxyDelay {
            interface: interface.clone(),
        },
        Change::ProxyNeighbour { address, interface },
    ]
}

/// The addresses that lie on links of this host, with the interfaces.
fn on_links(home: &[Prefix], inventory: &Inventory) -> Vec<(Ipv6Addr, String)> {
    let hosts = home.iter().filter(|prefix| prefix.len_bits() == 128);
    let mut all: Vec<_> = hosts
        .flat_map(|prefix| {
            let address = prefix.address();
            let links = links(inventory, address).into_iter();
            links.map(move |interface| (address, interface))
        })
        .collect();
    all.sort();
    all.dedup();
    all
}

/// The interfaces on whose links an address lies.
//= https://www.rfc-editor.org/rfc/rfc6275#section-10.4.1
fn links(inventory: &Inventory, anycast: Ipv6Addr) -> Vec<String> {
    let on_link = inventory.addresses.iter().filter(|a| {
        let shift = 128 - u32::from(a.prefix_length.min(128));
        let differ = u128::from(a.address) ^ u128::from(anycast);
        !a.loopback && a.prefix_length < 128 && differ.checked_shr(shift).unwrap_or(0) == 0
    });
    let mut links: Vec<String> = on_link.map(|a| a.interface.clone()).collect();
    links.sort();
    links.dedup();
    links
}

fn describe(change: &Change) -> String {
    match change {
        Change::Route { destination, .. } => format!("the route of {destination}"),
        Change::ProxyNeighbour { address, interface } => {
            format!("the proxy neighbour {address} on {interface}")
        }
        Change::ProxyNdp { interface } => format!("proxy_ndp on {interface}"),
        Change::ProxyDelay { interface } => format!("proxy_delay of 0 on {interface}"),
        Change::Forwarding { interface } => {
            format!("net.ipv6.conf.{interface}.forwarding, which the relay needs")
        }
        other => format!("{other:?}"),
    }
}
