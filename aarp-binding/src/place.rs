//! What the sidecar changes of its host: the anycast addresses on its TUN device, the
//! rules that lead their answers into it, and the nft rules of the control channel.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;
use std::path::Path;

use aarp_host::HostError;
use aarp_host::changes::{Change, Changes, METRIC};
use aarp_host::failure::Failure;
use aarp_host::inventory::Inventory;
use aarp_host::tool::Tool;
use aarp_mobility::channel::Channel;
use aarp_wire::ipv6::protocol;

use crate::path::{self, Lead, Others};
use crate::say;
use crate::settings::{Reverse, Settings};

/// The table of routes for what the anycast addresses send.
const TABLE: u32 = 0xaa70;
/// The place of the rules that lead there: behind the table of local addresses (0),
/// before the main one (32766).
const PRIORITY: u32 = 5270;

/// The changes of a running sidecar.
pub(crate) struct Placement {
    changes: Changes,
    bindings: Vec<(Ipv6Addr, Reverse)>,
    /// Those of the addresses that an agent has a binding of.
    registered: BTreeSet<Ipv6Addr>,
    /// What was told of their packets going astray.
    astray: BTreeMap<Ipv6Addr, String>,
    /// The filter that drops packets whose answers go straight, when it was told.
    filter: Option<String>,
    device: String,
    ip: Tool,
    nft: Tool,
}

impl Placement {
    /// Makes the changes, after what an instance that was killed has left is undone;
    /// those that were made before one fails are undone.
    pub(crate) fn take(
        bindings: &[Settings],
        ip: &Tool,
        nft: &Tool,
        device: &str,
        record: &Path,
    ) -> Result<Self, Failure> {
        let (changes, errors) = Changes::recorded(ip.clone(), record)?;
        for error in errors {
            say(&format!("undo what was left behind: {error}"));
        }
        let mut placement = Self {
            changes,
            bindings: bindings.iter().map(|b| (b.anycast, b.reverse)).collect(),
            registered: BTreeSet::new(),
            astray: BTreeMap::new(),
            filter: None,
            device: device.to_owned(),
            ip: ip.clone(),
            nft: nft.clone(),
        };
        match placement.make(|_| {}) {
            Ok(_) => Ok(placement),
            Err(error) => {
                for error in placement.changes.undo() {
                    say(&error.to_string());
                }
                Err(error.into())
            }
        }
    }

    /// Makes what is missing, and tells of each that was made; also where another cannot be.
    fn make(&mut self, made: impl FnMut(&Change)) -> Result<(), HostError> {
        let inventory = Inventory::read(&self.ip)?;
        let wanted = self.wanted(&inventory);
        self.changes.make_all(&wanted, made)
    }

    /// What is to be so.
    fn wanted(&self, inventory: &Inventory) -> Vec<Change> {
        // The route before the rules that lead to it.
        let mut wanted = vec![Change::Route {
            destination: Ipv6Addr::UNSPECIFIED,
            prefix_length: 0,
            interface: self.device.clone(),
            table: TABLE,
            metric: METRIC,
        }];
        for (anycast, reverse) in &self.bindings {
            if self.registered.contains(anycast) {
                wanted.push(rule(*anycast, *reverse));
            }
            // Where the operator or aarp-responder has it, it stays theirs; when they
            // give it up, it is needed here.
            if !inventory.has(*anycast) {
                wanted.push(Change::Address {
                    address: *anycast,
                    prefix_length: 128,
                    interface: self.device.clone(),
                    deprecated: true,
                });
            }
        }
        wanted
    }

    /// Leads what an address sends into the tunnel while an agent has a binding of it,
    /// and only then: without one the agent would drop it, and an address that is
    /// reached without agents answers as if we were not there.
    pub(crate) fn lead(&mut self, anycast: Ipv6Addr, registered: bool) -> Result<(), Failure> {
        let found = self.bindings.iter().find(|(a, _)| *a == anycast);
        let Some((_, reverse)) = found else {
            return Ok(());
        };
        let rule = rule(anycast, *reverse);
        if registered && self.registered.insert(anycast) {
            self.changes.make(rule)?;
        } else if !registered && self.registered.remove(&anycast) {
            self.changes.revert(&rule)?;
            self.astray.remove(&anycast);
        }
        Ok(())
    }

    /// Looks whether others lead packets elsewhere than to and from the tunnel, and tells
    /// it once. What is others' is not changed: it may be meant. It is looked for after
    /// each change of routes and rules, so also after ours.
    fn examine(&mut self) -> Result<(), HostError> {
        let lead = Lead {
            device: &self.device,
            table: TABLE,
            priority: PRIORITY,
        };
        let others = match self.registered.is_empty() {
            true => Others::None,
            false => lead.others(&self.ip)?,
        };
        for (anycast, reverse) in &self.bindings {
            if !self.registered.contains(anycast) {
                continue;
            }
            match lead.diverted(&self.ip, &others, *anycast, led(*reverse))? {
                Some(now) if self.astray.get(anycast) != Some(&now) => {
                    say(&now);
                    self.astray.insert(*anycast, now);
                }
                Some(_) => {}
                None if self.astray.remove(anycast).is_some() => {
                    say(&format!("what {anycast} sends takes the tunnel again"));
                }
                None => {}
            }
        }
        let direct = |(_, reverse): &(_, Reverse)| *reverse == Reverse::Direct;
        if self.bindings.iter().any(direct) {
            // Without what counters and sets hold.
            let ruleset = self.nft.run(&["-s", "-t", "list", "ruleset"], None)?;
            let rule = path::reverse_path_rule(&ruleset, &self.device).map(str::to_owned);
            if rule != self.filter {
                let device = &self.device;
                say(&match &rule {
                    Some(rule) => format!(
                        "reverse = \"direct\": a filter of this host drops what comes by the tunnel, for the answers go another way: \"{rule}\"; have 'iifname \"{device}\" accept' before it, or reverse = \"tunnel\""
                    ),
                    None => "no filter drops what comes by the tunnel any more".to_owned(),
                });
                self.filter = rule;
            }
        }
        Ok(())
    }

    /// Has the kernel leave the control messages to the channel.
    pub(crate) fn apply(&self, channel: &Channel) -> Result<(), Failure> {
        self.nft.run(&["-f", "-"], Some(&channel.rules()))?;
        Ok(())
    }

    /// Puts back what somebody else has removed.
    pub(crate) fn restore(&mut self, channel: &Channel) -> Result<(), Failure> {
        let up = ["link", "set", "dev", &self.device, "up"];
        self.ip.run(&up, None)?;
        self.make(|change| say(&format!("put back what was removed: {}", describe(change))))?;
        let list = ["list", "chain", "ip6", channel.table(), "control"];
        match self.nft.run(&list, None) {
            Ok(text) if channel.is_in(&text) => {}
            Ok(_) | Err(HostError::Failed { .. }) => {
                self.apply(channel)?;
                say("put back what was removed: the nft rules of the control channel");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(self.examine()?)
    }

    /// Undoes everything.
    pub(crate) fn give_back(&mut self, channel: &Channel) -> Result<(), Failure> {
        let mut result = Ok(());
        if let Err(error) = self.nft.run(&["-f", "-"], Some(&channel.removal())) {
            result = Err(Failure::from(error));
        }
        for error in self.changes.undo() {
            say(&error.to_string());
            result = result.and(Err(error.into()));
        }
        result
    }
}

/// The protocol that is led into the tunnel; all, if none is named. Answers to probes have
/// to leave from U, and that is seen to where they pass: ICMPv6 goes into the device even
/// where all else goes straight.
fn led(reverse: Reverse) -> Option<u8> {
    match reverse {
        Reverse::Tunnel => None,
        Reverse::Direct => Some(protocol::ICMPV6),
    }
}

/// The rule for what an address sends.
fn rule(anycast: Ipv6Addr, reverse: Reverse) -> Change {
    Change::Rule {
        from: anycast,
        protocol: led(reverse),
        table: TABLE,
        priority: PRIORITY,
    }
}

fn describe(change: &Change) -> String {
    match change {
        Change::Address {
            address, interface, ..
        } => format!("the address {address} on {interface}"),
        Change::Rule { from, .. } => format!("the routing rule from {from}"),
        Change::Route { interface, .. } => format!("the route into {interface}"),
        other => format!("{other:?}"),
    }
}
