//! What becomes of all mappings at once: a new epoch.

use std::time::Duration;

use aarp_core::mapping::State;
use aarp_core::policy::{Patience, interest, plan};
use aarp_core::table::{Entry, REACH};

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
    /// What was looked through.
    place: usize,
    /// How often something had been removed from the table by then.
    vacated: u64,
    /// How many times more it goes back for what has moved: a table that changes faster than
    /// it can be looked through is looked through all the same.
    turns: usize,
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
        self.sweep = Some(Sweep {
            place: 0,
            vacated: self.table.vacated(),
            turns: 2 * self.table.view().slots().div_ceil(PLACES) + 1,
        });
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
        let Some(sweep) = self.sweep else {
            return;
        };
        let table = self.table.view();
        // What has moved since may have come to where was looked before.
        let vacated = self.table.vacated();
        let moved = match sweep.turns {
            0 => 0,
            _ => usize::try_from(vacated - sweep.vacated).unwrap_or(usize::MAX),
        };
        let from = sweep.place.saturating_sub(moved.saturating_mul(REACH));
        let to = from + PLACES;
        let epoch = table.header().epoch() as u8;
        for entry in table.entries(from..to) {
            // Where it cannot be asked now, who uses it next has it asked.
            if entry.epoch != epoch && self.is_used(&entry, now) {
                self.ask_by_itself(entry.a, (Why::Epoch, None), now);
            }
        }
        self.sweep = (to < table.slots()).then_some(Sweep {
            place: to,
            vacated,
            turns: sweep.turns.saturating_sub(1),
        });
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
