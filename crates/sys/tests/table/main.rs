//! The mapping table's file: made, read, refused, replaced; and where it matters:
//! another network namespace, a file system without room, a writer that is killed.
#![allow(unsafe_code)]

mod files;
mod successors;
mod surroundings;
mod writers;

use std::fs;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use aarp_core::mapping::{Mapping, State};
use aarp_core::table::TableView;
use aarp_sys::table::{AttachError, Attachment, CreateError, Created, Options, create};
use aarp_wire::probe::Method;

pub(crate) const HOUR: Duration = Duration::from_secs(3600);
/// A folder of one test, which no other test runs beside: a process that one forks holds
/// the locks of all.
pub(crate) struct Folder {
    folder: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Folder {
    pub(crate) fn new() -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(|failed| failed.into_inner());
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            _alone: alone,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Where the table is to be.
    pub(crate) fn table(&self) -> PathBuf {
        self.path().join("table")
    }

    /// The names in it.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).expect("a folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().into_string())
            .map(|name| name.expect("UTF-8"))
            .collect();
        names.sort();
        names
    }
}

pub(crate) fn make(path: &Path, capacity: usize) -> Result<Created, CreateError> {
    create(&Options {
        path,
        capacity,
        mode: 0o644,
        trusted: &[own()],
        longest: HOUR,
    })
}

pub(crate) fn own() -> u32 {
    // SAFETY: no arguments; cannot fail.
    unsafe { libc::geteuid() }
}

pub(crate) fn attach(to: &Attachment, path: &Path) -> Result<(), AttachError> {
    to.attach(path.to_str().expect("UTF-8"), &[own()])
}

pub(crate) fn a(n: u64) -> Ipv6Addr {
    Ipv6Addr::from(0x2001_0db8_000a << 80 | u128::from(n))
}

/// A mapping of which every part tells for which A, and from which store it is.
pub(crate) fn mapping(n: u64, turn: u64, now: Duration) -> Mapping {
    Mapping {
        state: State::Pinned,
        u: Ipv6Addr::from(0x2001_0db8 << 96 | u128::from(n) << 32 | u128::from(turn)),
        method: Method::Echo,
        expiry: now + HOUR - Duration::from_secs(turn % 1000),
        rtt: Duration::from_micros(turn),
        failures: 0,
    }
}

/// Everything in a table, each mapping in one piece; how many there are.
pub(crate) fn assert_whole(table: &TableView<'_>, now: Duration) -> usize {
    let whole = table.entries(0..usize::MAX).map(|entry| {
        let n = u128::from(entry.a) as u64;
        let turn = entry.mapping.rtt.as_micros() as u64;
        assert_eq!(entry.mapping, mapping(n, turn, now));
    });
    whole.count()
}
