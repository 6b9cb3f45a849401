//! What the sidecar changes of its host: the anycast addresses on its TUN device, the
//! rules that lead their answers into it, and the nft rules of the control channel.

use std::net::Ipv6Addr;

use aarp_host::HostError;
use aarp_host::changes::{Change, Changes, METRIC};
use aarp_host::failure::Failure;
use aarp_host::inventory::Inventory;
use aarp_host::tool::Tool;
use aarp_mobility::channel::Channel;
use aarp_wire::ipv6::protocol;

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
    wanted: Vec<Change>,
    nft: Tool,
}

impl Placement {
    /// Makes the changes; those that were made before one fails are undone.
    pub(crate) fn take(
        bindings: &[Settings],
        ip: &Tool,
        nft: &Tool,
        device: &str,
    ) -> Result<Self, Failure> {
        let inventory = Inventory::read(ip)?;
        let mut placement = Self {
            changes: Changes::new(ip.clone()),
            wanted: wanted(bindings, device, &inventory),
            nft: nft.clone(),
        };
        match placement.make() {
            Ok(_) => Ok(placement),
            Err(error) => {
                for error in placement.changes.undo() {
                    say(&error.to_string());
                }
                Err(error.into())
            }
        }
    }

    fn make(&mut self) -> Result<Vec<Change>, HostError> {
        let mut made = Vec::new();
        for change in &self.wanted {
            if self.changes.make(change.clone())? {
                made.push(change.clone());
            }
        }
        Ok(made)
    }

    /// Has the kernel leave the control messages to the channel.
    pub(crate) fn apply(&self, channel: &Channel) -> Result<(), Failure> {
        self.nft.run(&["-f", "-"], Some(&channel.rules()))?;
        Ok(())
    }

    /// Puts back what somebody else has removed.
    pub(crate) fn restore(&mut self, channel: &Channel) -> Result<(), Failure> {
        for change in self.make()? {
            say(&format!("put back what was removed: {}", describe(&change)));
        }
        let list = ["list", "chain", "ip6", channel.table(), "control"];
        match self.nft.run(&list, None) {
            Ok(text) if channel.is_in(&text) => Ok(()),
            Ok(_) | Err(HostError::Failed { .. }) => {
                self.apply(channel)?;
                say("put back what was removed: the nft rules of the control channel");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
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

/// What is to be so for these bindings.
fn wanted(bindings: &[Settings], device: &str, inventory: &Inventory) -> Vec<Change> {
    let mut wanted = Vec::new();
    // The route before the rules that lead to it.
    if !bindings.is_empty() {
        wanted.push(Change::Route {
            destination: Ipv6Addr::UNSPECIFIED,
            prefix_length: 0,
            interface: device.to_owned(),
            table: TABLE,
            metric: METRIC,
        });
    }
    for binding in bindings {
        wanted.push(Change::Rule {
            from: binding.anycast,
            // Answers to probes have to leave from U, and that is seen to where they
            // pass: ICMPv6 goes into the device even where all else goes straight.
            protocol: match binding.reverse {
                Reverse::Tunnel => None,
                Reverse::Direct => Some(protocol::ICMPV6),
            },
            table: TABLE,
            priority: PRIORITY,
        });
        // Where the operator or aarp-responder has it, it stays.
        if !inventory.has(binding.anycast) {
            wanted.push(Change::Address {
                address: binding.anycast,
                prefix_length: 128,
                interface: device.to_owned(),
                deprecated: true,
            });
        }
    }
    wanted
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
