//! The choice of the unicast address U that answers the probes of A.

use std::net::Ipv6Addr;

use thiserror::Error;

use crate::address::{Class, classify};
use crate::inventory::{HostAddress, Inventory};

/// A chosen U and why it was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The address.
    pub unicast: Ipv6Addr,
    /// The interface that has it.
    pub interface: String,
    /// Why this one, in a few words.
    pub reason: &'static str,
}

/// Why there is no U.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ChoiceError {
    /// The named interface is not there.
    #[error("interface {0} does not exist on this host")]
    NoInterface(String),
    /// No address of the kind of A is fit to stand for this node.
    #[error(
        "no {class} unicast address on {place} can answer for {anycast} (deprecated, temporary, tentative and anycast ones do not count): add one or name it with --unicast",
        class = .class.name()
    )]
    NoCandidate {
        /// A.
        anycast: Ipv6Addr,
        /// Its kind.
        class: Class,
        /// Where it was looked for.
        place: String,
    },
    /// The named U is not usable.
    #[error("{unicast} is not a usable address of this host: {why}")]
    NotHere {
        /// U.
        unicast: Ipv6Addr,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Chooses U for `anycast`: on the named interface; else on that of the default
/// route; else on any other, loopback last (where routers keep theirs).
/// Configured addresses go before learned ones. `taken` lists addresses that are
/// anycast themselves, which must never stand for one node.
///
/// # Errors
/// [`ChoiceError::NoInterface`] and [`ChoiceError::NoCandidate`].
pub fn choose(
    anycast: Ipv6Addr,
    class: Class,
    interface: Option<&str>,
    inventory: &Inventory,
    taken: &[Ipv6Addr],
) -> Result<Choice, ChoiceError> {
    exists(interface, inventory)?;
    let default = inventory.default_interface.as_deref();
    let rank = |a: &HostAddress| {
        let place = if Some(a.interface.as_str()) == default {
            0
        } else {
            1 + u8::from(a.loopback)
        };
        (place, a.dynamic, a.ifindex)
    };
    let best = inventory
        .addresses
        .iter()
        .filter(|a| interface.is_none_or(|name| a.interface == name))
        .filter(|a| a.interface_up && !a.deprecated && !a.temporary && !a.tentative)
        .filter(|a| !a.is_marked() && a.address != anycast && !taken.contains(&a.address))
        .filter(|a| !is_subnet_router_anycast(a))
        .filter(|a| classify(a.address) == Ok(class))
        .min_by_key(|a| rank(a));
    match best {
        Some(a) => Ok(Choice {
            unicast: a.address,
            interface: a.interface.clone(),
            reason: if interface.is_some() {
                "an address of the named interface"
            } else if Some(a.interface.as_str()) == default {
                "an address of the interface of the default route"
            } else {
                "there is none on the interface of a default route"
            },
        }),
        None => Err(ChoiceError::NoCandidate {
            anycast,
            class,
            place: interface.map_or_else(|| "any interface".to_owned(), str::to_owned),
        }),
    }
}

fn exists(interface: Option<&str>, inventory: &Inventory) -> Result<(), ChoiceError> {
    match interface {
        Some(name) if inventory.interface_up(name).is_none() => {
            Err(ChoiceError::NoInterface(name.to_owned()))
        }
        _ => Ok(()),
    }
}

/// Checks a U that the operator named. It may be on another interface than the
/// named one (on lo, as routers have it), but that must exist.
///
/// # Errors
/// [`ChoiceError::NoInterface`] and [`ChoiceError::NotHere`].
pub fn confirm(
    unicast: Ipv6Addr,
    interface: Option<&str>,
    inventory: &Inventory,
) -> Result<Choice, ChoiceError> {
    exists(interface, inventory)?;
    match inventory.usable(unicast) {
        Some(a) if a.is_marked() => Err(ChoiceError::NotHere {
            unicast,
            why: "it is an anycast address of another responder",
        }),
        Some(a) => Ok(Choice {
            unicast,
            interface: a.interface.clone(),
            reason: "as told",
        }),
        None => Err(ChoiceError::NotHere {
            unicast,
            why: if inventory.has(unicast) {
                "it is tentative, or its interface is down"
            } else {
                "no interface has it"
            },
        }),
    }
}

/// What U is to be after the host's addresses changed: a named one only while it
/// is usable; a chosen one as long as it is good, then another, and at the last a
/// deprecated one. None: nothing may be answered from a unicast address.
pub fn follow(
    anycast: Ipv6Addr,
    class: Class,
    named: Option<Ipv6Addr>,
    interface: Option<&str>,
    current: Option<Ipv6Addr>,
    inventory: &Inventory,
    taken: &[Ipv6Addr],
) -> Option<Ipv6Addr> {
    if let Some(unicast) = named {
        return confirm(unicast, None, inventory).ok().map(|c| c.unicast);
    }
    let held = current.and_then(|u| inventory.usable(u));
    if let Some(good) = held.filter(|a| !a.deprecated) {
        return Some(good.address);
    }
    choose(anycast, class, interface, inventory, taken)
        .map(|c| c.unicast)
        .ok()
        .or(held.map(|a| a.address))
}

/// The all-zeros host part names every router of the link (RFC 4291, 2.6.1),
/// except on point-to-point /127 and on /128.
fn is_subnet_router_anycast(a: &HostAddress) -> bool {
    a.prefix_length < 127 && a.address.to_bits() << a.prefix_length == 0
}

#[cfg(test)]
#[path = "choice_tests.rs"]
mod tests;
