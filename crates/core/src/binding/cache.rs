//! The anycast binding cache of an agent: which U stands for an anycast address.
//!
//! One binding for each A (the basic model). It is the responders who decide who
//! owns A: the cache follows the sequence numbers of RFC 6275 and nothing else.
//!
//! **The memory of a sequence number ends with the binding.** RFC 6275 §9.5.1: a node
//! that "has no Binding Cache entry for the indicated home address MUST accept any
//! Sequence Number value", and §10.3.2 has the entry deleted on a deregistration; only
//! §9.5.3 asks for more, of correspondents, for as long as the nonces are valid.
//! Old updates are kept out by what authenticates them: the timestamp of RFC 4285,
//! which the keyring remembers for each node for ever, or IPsec's replay window.
//! It is also what lets a standby responder find out that A is free: a number that
//! a living binding refuses is accepted once there is none.

mod binding;
mod rules;
#[cfg(test)]
mod tests;

use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::net::Ipv6Addr;
use std::time::Duration;

pub use self::binding::{Binding, Counters, Discard, Restored, Traffic};
use super::keyring::NodeId;
use super::lifetime::Lifetime;
use super::message::Acknowledgement;
use crate::prefix::Prefix;

/// Who sent an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// Authenticated here (RFC 4285).
    Node {
        /// Who.
        id: NodeId,
        /// Whether it may register this A.
        may_register: bool,
    },
    /// Not authenticated here: IPsec did, or the agent was told not to mind.
    Unidentified,
}

impl Sender {
    const fn node(self) -> Option<NodeId> {
        match self {
            Sender::Node { id, .. } => Some(id),
            Sender::Unidentified => None,
        }
    }
}

/// What the agent serves and grants.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The anycast addresses it serves. A responder's own address is in none of them.
    pub home: Vec<Prefix>,
    /// The addresses of the agent itself.
    pub own: Vec<Ipv6Addr>,
    /// The longest lifetime that is granted; at least a unit.
    pub max_lifetime: Lifetime,
    /// After how long responders are advised to refresh, where that is less than the
    /// lifetime.
    pub refresh_advice: Option<Lifetime>,
    /// The most bindings.
    pub capacity: usize,
}

/// What an accepted update changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: it was refused.
    None,
    /// A has a U now.
    Created,
    /// A keeps its U for longer.
    Refreshed,
    /// A has another U, or the same one of another node.
    Moved {
        /// The U until now.
        from: Ipv6Addr,
    },
    /// A has no U any more.
    Deleted,
}

/// What comes of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered, with or without the A flag (RFC 6275 §10.3.1).
    Acknowledge {
        /// The answer, with the timestamp of the update.
        acknowledgement: Acknowledgement,
        /// What is different now.
        change: Change,
    },
    /// It is not answered.
    Discard(Discard),
}

/// The cache.
#[derive(Debug)]
pub struct Cache {
    hosts: HashSet<Ipv6Addr>,
    prefixes: Vec<Prefix>,
    /// Those of the addresses that another node has on its link.
    contested: HashSet<Ipv6Addr>,
    settings: Settings,
    /// Where in `slots` the binding of an A is. The hash is keyed: A comes from
    /// packets of strangers.
    places: HashMap<Ipv6Addr, u32, RandomState>,
    slots: Vec<Option<Binding>>,
    free: Vec<u32>,
    /// Each binding once, in the order in which they end.
    ends: BTreeSet<(u64, u32)>,
    /// Bindings that ended and were not told yet.
    ended: VecDeque<Binding>,
    counters: Counters,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Cache {
    /// An empty cache.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let (hosts, prefixes) = settings
            .home
            .iter()
            .copied()
            .partition::<Vec<_>, _>(|prefix| prefix.len_bits() == 128);
        Self {
            hosts: hosts.iter().map(Prefix::address).collect(),
            prefixes,
            contested: HashSet::new(),
            // A table that grows copies itself, and a packet waits for that.
            places: HashMap::with_capacity_and_hasher(
                settings.capacity.min(1 << 20),
                RandomState::new(),
            ),
            settings,
            slots: Vec::new(),
            free: Vec::new(),
            ends: BTreeSet::new(),
            ended: VecDeque::new(),
            counters: Counters::default(),
        }
    }

    /// Whether `a` is an anycast address that the agent serves.
    #[must_use]
    pub fn serves(&self, a: Ipv6Addr) -> bool {
        self.hosts.contains(&a) || self.prefixes.iter().any(|prefix| prefix.contains(a))
    }

    /// Has registrations of `a` refused with status 134 while another node has it on its
    /// link. A binding that there is lives to its end, and can be deleted.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-10.3.1
    pub fn contest(&mut self, a: Ipv6Addr, contested: bool) {
        match contested {
            true => self.contested.insert(a),
            false => self.contested.remove(&a),
        };
    }

    /// Where the binding of `a` is; one that has ended is removed first.
    fn place(&mut self, now: u64, a: Ipv6Addr) -> Option<u32> {
        let place = *self.places.get(&a)?;
        if self.slots[place as usize].is_some_and(|binding| binding.is_over(now)) {
            if let Some(binding) = self.remove(place) {
                self.counters.expired += 1;
                self.ended.push_back(binding);
            }
            return None;
        }
        Some(place)
    }

    fn remove(&mut self, place: u32) -> Option<Binding> {
        let binding = self.slots[place as usize].take()?;
        self.places.remove(&binding.anycast);
        self.ends.remove(&(binding.expiry, place));
        self.free.push(place);
        Some(binding)
    }

    fn remove_ended(&mut self, now: u64) -> Option<Binding> {
        let (_, place) = self.ends.first().filter(|(end, _)| *end <= now)?;
        let binding = self.remove(*place)?;
        self.counters.expired += 1;
        Some(binding)
    }

    /// Removes a binding whose lifetime is over; called until there is none.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-10.3.1
    pub fn expire(&mut self, now: Duration) -> Option<Binding> {
        self.ended
            .pop_front()
            .or_else(|| self.remove_ended(nanos(now)))
    }

    /// When the next binding ends: when to call [`Cache::expire`].
    #[must_use]
    pub fn next_expiry(&self) -> Option<Duration> {
        self.ends.first().map(|(end, _)| Duration::from_nanos(*end))
    }

    /// The binding of `a`.
    #[must_use]
    pub fn lookup(&self, now: Duration, a: Ipv6Addr) -> Option<&Binding> {
        let binding = self.slots[*self.places.get(&a)? as usize].as_ref()?;
        (!binding.is_over(nanos(now))).then_some(binding)
    }

    fn lookup_mut(&mut self, now: Duration, a: Ipv6Addr) -> Option<&mut Binding> {
        let binding = self.slots[*self.places.get(&a)? as usize].as_mut()?;
        (!binding.is_over(nanos(now))).then_some(binding)
    }

    /// Where a packet of `octets` to `a` goes; it is counted.
    pub fn forward(&mut self, now: Duration, a: Ipv6Addr, octets: usize) -> Option<Ipv6Addr> {
        let binding = self.lookup_mut(now, a)?;
        binding.to_responder.count(octets);
        Some(binding.care_of)
    }

    /// Whether a packet of `octets` from `a`, in a tunnel whose source is `outer`,
    /// comes from the U that is registered; if so it is counted.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-10.4.5
    pub fn reverse(&mut self, now: Duration, outer: Ipv6Addr, a: Ipv6Addr, octets: usize) -> bool {
        let binding = self.lookup_mut(now, a);
        let Some(binding) = binding.filter(|binding| binding.care_of == outer) else {
            return false;
        };
        binding.from_responder.count(octets);
        true
    }

    /// All bindings, in no order; also those that have ended and were not removed.
    pub fn iter(&self) -> impl Iterator<Item = &Binding> {
        self.slots.iter().flatten()
    }

    /// How many bindings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// What was counted.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }
}
