//! The table that is there when a new one is made: what is taken over of it, and its end.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::time::Duration;

use aarp_core::table::{RETIRED_AT, TableView, TableWriter, is_of_any_version, retire};

use super::claim::Judge;
use super::create::{Options, Previous, map};
use super::{AttachError, Mapping, is_ours};
use crate::syscall::Errno;

/// The file that is there, of a trusted user.
pub(super) struct Old {
    file: File,
    /// For writing; or why it cannot be read.
    mapping: Result<Mapping, AttachError>,
}

impl Old {
    pub(super) fn open(options: &Options<'_>) -> Result<Self, AttachError> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(options.path)
            .map_err(|error| match error.raw_os_error() {
                Some(libc::ENOENT) => AttachError::Absent,
                Some(libc::ELOOP) => AttachError::Link,
                Some(libc::EISDIR) => AttachError::Kind,
                other => AttachError::Open(Errno(other.unwrap_or(libc::EIO))),
            })?;
        let mapping = match map(&file, options.trusted) {
            // No program reads what belongs to others, and it is not ours to write.
            Err(error @ (AttachError::Kind | AttachError::Owner(_))) => return Err(error),
            mapping => mapping.and_then(|mapping| {
                mapping
                    .open()
                    .map(|_| mapping)
                    .inspect_err(|_| mapping.unmap())
            }),
        };
        Ok(Self { file, mapping })
    }

    pub(super) fn take_over(
        &self,
        writer: &mut TableWriter<'_>,
        by: (&Options<'_>, Judge<'_>),
        now: Duration,
    ) -> Previous {
        match self.mapping.and_then(|mapping| mapping.open()) {
            Ok(table) => take_over(writer, &table, by, now),
            Err(error) => Previous::Refused(error),
        }
    }

    /// Has nobody read it any more; of a table of another version, or of another size than
    /// it says, its own readers: where that is told is the same in all of them.
    pub(super) fn retire(self) {
        if let Ok(mapping) = self.mapping {
            let _ = retire(mapping.words());
            return mapping.unmap();
        }
        // Written, not mapped: a page of it may have no memory, and no room for any.
        let mut magic = [0; 8];
        let is_read = self.file.read_exact_at(&mut magic, 0).is_ok();
        if is_read && is_of_any_version(magic) {
            // Where it cannot be written it serves on until its mappings end.
            let _ = self.file.write_all_at(&1u64.to_ne_bytes(), RETIRED_AT);
        }
    }
}

fn take_over(
    writer: &mut TableWriter<'_>,
    old: &TableView<'_>,
    (options, judge): (&Options<'_>, Judge<'_>),
    now: Duration,
) -> Previous {
    if let Err(error) = is_ours(old) {
        return Previous::Refused(error);
    }
    let epoch = old.header().epoch();
    for entry in old.entries(0..old.slots()) {
        let lasts = entry.mapping.expiry.saturating_sub(now);
        if entry.is_fresh(epoch, now)
            && lasts <= options.longest
            && let Some(mut entry) = judge(&entry)
        {
            // Whoever asked about it is gone.
            entry.is_asked = false;
            entry.epoch = writer.view().header().epoch() as u8;
            writer.store_entry(&entry, now);
        }
    }
    Previous::Taken(writer.len())
}
