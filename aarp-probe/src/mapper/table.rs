//! The table that aarpd keeps, read as programs read it: also when its daemon is dead.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aarp_core::settings::Settings;
use aarp_core::table::{Entry, TableView};
use aarp_sys::daemon::trusted;
use aarp_sys::table::{AttachError, Attachment};

use super::Which;

/// A table that programs of this user, in this network namespace, would use.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) path: PathBuf,
    pub(crate) view: TableView<'static>,
}

/// A file that is there and is not used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) path: PathBuf,
    pub(crate) error: AttachError,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.error)
    }
}

impl Which {
    /// The table that programs would use; else why not, for each file that there is or
    /// could be.
    pub(crate) fn table(&self, settings: &Settings) -> Result<Table, Vec<Refused>> {
        let mut users = trusted(settings).to_vec();
        let mut refused = Vec::new();
        for path in self.tables(settings) {
            if self.named().is_some() {
                users.extend(owner(&path));
            }
            match attach(&path, &users) {
                Ok(view) => return Ok(Table { path, view }),
                Err(error) => refused.push(Refused { path, error }),
            }
        }
        Err(refused)
    }
}

/// Whoever it belongs to.
fn owner(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    Some(path.symlink_metadata().ok()?.uid())
}

fn attach(path: &Path, users: &[u32]) -> Result<TableView<'static>, AttachError> {
    // A path that is no text cannot be configured either.
    let name = path.to_str().ok_or(AttachError::Absent)?;
    let attachment = Attachment::none();
    attachment.attach(name, users)?;
    let view = attachment.table().ok_or(AttachError::Retired)?;
    if view.header().is_retired() {
        return Err(AttachError::Retired);
    }
    Ok(view)
}

impl Table {
    /// All mappings that hold, in the order of their addresses.
    pub(crate) fn fresh(&self, now: Duration) -> Vec<Entry> {
        let epoch = self.view.header().epoch();
        let entries = self.view.entries(0..self.view.slots());
        let mut fresh: Vec<Entry> = entries.filter(|entry| entry.is_fresh(epoch, now)).collect();
        fresh.sort_by_key(|entry| entry.a);
        // What the writer moves meanwhile may come twice.
        fresh.dedup_by_key(|entry| entry.a);
        fresh
    }
}
