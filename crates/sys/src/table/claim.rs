//! Who may make a table: one process, which tries everything else that may fail before the
//! old table is given up.

use aarp_core::table::{Entry, slots_for};

use super::create::{CreateError, Created, Options, beside, make};
use super::lock::{Lock, Tenure, writer_of};

/// Makes an empty table, takes over what is fresh in the one that is there, and takes
/// its place. The folder must be there.
///
/// # Errors
/// Why not.
pub fn create(options: &Options<'_>) -> Result<Created, CreateError> {
    Claim::take(options)?.create(&|entry| Some(*entry))
}

/// What becomes of a mapping of the old table.
pub(super) type Judge<'j> = &'j dyn Fn(&Entry) -> Option<Entry>;

/// The right to make a table, which nobody else has for as long as this lives: what else
/// may fail is tried under it, while the old table serves on.
#[derive(Debug)]
pub struct Claim<'o> {
    options: &'o Options<'o>,
    slots: usize,
    /// Until the table has it.
    lock: Option<Lock>,
}

impl<'o> Claim<'o> {
    /// Takes the lock of a table. The folder must be there.
    ///
    /// # Errors
    /// [`CreateError::Held`] where another process has it, and what else is in the way.
    pub fn take(options: &'o Options<'o>) -> Result<Self, CreateError> {
        let capacity = options.capacity;
        let slots = slots_for(capacity).ok_or(CreateError::Capacity(capacity))?;
        let lock = Lock::take(beside(options.path, ".lock"))?;
        let claim = Self {
            options,
            slots,
            lock: Some(lock),
        };
        // Somebody may have removed the lock file of who writes the table.
        match writer_of(options.path) {
            None => Ok(claim),
            Some(pid) => Err(CreateError::Held {
                path: options.path.to_owned(),
                pid,
            }),
        }
    }

    /// Makes the table as [`create`] does, and takes over what `judge` makes of each
    /// mapping, or nothing of it.
    ///
    /// # Errors
    /// Why not.
    pub fn create(mut self, judge: Judge<'_>) -> Result<Created, CreateError> {
        let (mut table, previous) = make(self.options, self.slots, judge)?;
        table.tenure = Tenure::of(self.lock.take());
        Ok(Created { table, previous })
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            lock.remove();
        }
    }
}
