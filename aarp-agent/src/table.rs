//! The anycast binding cache, as the two threads of the agent share it.

use std::net::Ipv6Addr;

use aarp_core::binding::cache::{Binding, Cache};
use aarp_sys::clock;
use parking_lot::{Mutex, MutexGuard};

use crate::relay::Bindings;

/// The cache, shared by who answers updates and who relays.
#[derive(Debug)]
pub(crate) struct Table(Mutex<Cache>);

impl Table {
    pub(crate) fn new(cache: Cache) -> Self {
        Self(Mutex::new(cache))
    }

    /// The cache, while nobody else uses it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Cache> {
        self.0.lock()
    }
}

impl Bindings for Table {
    fn forwarded(&self, anycast: Ipv6Addr, octets: usize) -> Option<Option<Ipv6Addr>> {
        let mut cache = self.0.lock();
        if !cache.serves(anycast) {
            return None;
        }
        Some(cache.forward(clock::boottime(), anycast, octets))
    }

    fn returned(&self, anycast: Ipv6Addr, outer: Ipv6Addr, octets: usize) -> bool {
        let mut cache = self.0.lock();
        cache.reverse(clock::boottime(), outer, anycast, octets)
    }

    fn binding(&self, anycast: Ipv6Addr) -> Option<Option<Ipv6Addr>> {
        let cache = self.0.lock();
        if !cache.serves(anycast) {
            return None;
        }
        let binding = cache.lookup(clock::boottime(), anycast);
        Some(binding.map(Binding::care_of))
    }
}
