//! What becomes of all mappings at once: a new epoch.

use std::time::Duration;

use aarp_core::mapping::State;
use aarp_core::policy::{Patience, interest, plan};
use aarp_core::table::Entry;

use crate::event::Event;
use crate::mapper::Mapper;
use crate::pace::Lane;
use crate::questions::Why;

/// Places of the table that are looked at in one go.
pub(crate) const PLACES: usize = 1024;
/// Why an epoch ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A route has changed that matters, or an address of this host.
    Routes,
    /// The host was suspended.
    Resume,
}

impl Cause {
    /// The name in events.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Cause::Routes => "routes",
            Cause::Resume => "resume",
        }
    }
}

/// How far the table was looked through since the epoch began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sweep {
    place: usize,
}

impl Mapper<'_> {
    /// What was found out before is in doubt: nobody uses it, and what is in use is asked
    /// about at once.
    pub fn begin_epoch(&mut self, cause: Cause, now: Duration) {
        let epoch = self.table.bump_epoch();
        self.counters.epochs += 1;
        self.happened(Event::Epoch { epoch, cause });
        // An answer that is on its way may have come from where A was before.
        for a in self.questions.outdated() {
            self.ask_again(a, now);
        }
        self.sweep = Some(Sweep { place: 0 });
        // Whatever it was about.
        self.judging = None;
    }

    /// From when on more of the table is to be looked through: there is room for what is
    /// found.
    pub(crate) fn sweep_due(&self) -> Option<Duration> {
        let has_room = self.questions.has_room(Lane::Upkeep, self.limits.open);
        (self.sweep.is_some() && has_room).then(|| self.paces.upkeep_from(&self.limits))
    }

    /// Looks through a part of the table: what is in use is asked about.
    pub(crate) fn sweep(&mut self, now: Duration) {
        let Some(Sweep { place }) = self.sweep else {
            return;
        };
        let table = self.table.view();
        let epoch = table.header().epoch() as u8;
        for entry in table.entries(place..place + PLACES) {
            // Where it cannot be asked now, who uses it next has it asked.
            if entry.epoch != epoch && self.is_used(&entry, now) {
                self.ask_by_itself(entry.a, (Why::Epoch, None), now);
            }
        }
        let next = place + PLACES;
        self.sweep = (next < table.slots()).then_some(Sweep { place: next });
    }

    /// Whether a mapping was used in the time that it holds.
    fn is_used(&self, entry: &Entry, now: Duration) -> bool {
        let Ok(interest) = interest(&self.settings, entry.a) else {
            return false;
        };
        let ttl = plan(&self.settings, entry.a, interest, Patience::Blocking)
            .times
            .ttl;
        entry.mapping.state == State::Pinned
            && entry.mapping.is_fresh(now)
            && now.saturating_sub(Duration::from_secs(entry.used.into())) <= ttl
    }
}
