//! The tables that are compared, and what they hold.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aarp_core::mapping::{Mapping, State};
use aarp_core::table::TableView;
use aarp_sys::clock::boottime;
use aarp_sys::table::{Attachment, Options, OwnTable, create};
use aarp_wire::probe::Method;
use anyhow::{Context, Result};
use parking_lot::RwLock;

const HOUR: Duration = Duration::from_secs(3600);

/// Something in which mappings are looked up.
pub(crate) trait Lookup: Sync {
    fn lookup(&self, a: Ipv6Addr, now: Duration) -> Option<Mapping>;
}

impl Lookup for TableView<'_> {
    #[inline]
    fn lookup(&self, a: Ipv6Addr, now: Duration) -> Option<Mapping> {
        TableView::lookup(self, a, now).map(|hit| hit.mapping)
    }
}

/// As the library has it: from one word that another thread may change.
impl Lookup for Attachment {
    #[inline]
    fn lookup(&self, a: Ipv6Addr, now: Duration) -> Option<Mapping> {
        self.table()?.lookup(a, now).map(|hit| hit.mapping)
    }
}

/// The peer: as one process would have it with the means of std, and a good lock.
pub(crate) type Peer = RwLock<HashMap<Ipv6Addr, Mapping>>;

impl Lookup for Peer {
    #[inline]
    fn lookup(&self, a: Ipv6Addr, now: Duration) -> Option<Mapping> {
        let mapping = *self.read().get(&a)?;
        mapping.is_fresh(now).then_some(mapping)
    }
}

/// The n-th address that has a mapping.
pub(crate) fn known(n: usize) -> Ipv6Addr {
    // As spread as addresses of many networks are.
    let spread = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(spread) << 32 | 1)
}

/// The n-th address that has none.
pub(crate) fn unknown(n: usize) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(known(n)) | 2)
}

/// What is known of every address: the last octet of U is 0.
pub(crate) fn mapping(now: Duration) -> Mapping {
    Mapping {
        state: State::Pinned,
        u: Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x100),
        method: Method::Echo,
        expiry: now + HOUR,
        rtt: Duration::from_millis(10),
        failures: 0,
    }
}

/// The file of a table for so many mappings, with as many in it.
pub(crate) fn full(folder: &Path, mappings: usize) -> Result<(OwnTable, PathBuf)> {
    let path = folder.join("table");
    let created = create(&Options {
        path: &path,
        capacity: mappings,
        mode: 0o600,
        trusted: &[],
        longest: HOUR,
    })?;
    let (mut table, now) = (created.table, boottime());
    for n in 0..mappings {
        table.store(known(n), &mapping(now), Duration::ZERO, now);
    }
    Ok((table, path))
}

/// That file as a reader has it.
pub(crate) fn attached(path: &Path) -> Result<Attachment> {
    let attachment = Attachment::none();
    let own = rustix::process::geteuid().as_raw();
    attachment
        .attach(path.to_str().context("UTF-8")?, &[own])
        .with_context(|| format!("{}", path.display()))?;
    Ok(attachment)
}
