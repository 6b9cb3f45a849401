//! What concerns each mapping of the table: other settings, a flush, a count. A table of a
//! million is gone through a little at a time, so that nobody who asks waits for the end.

use std::ops::Range;
use std::time::Duration;

use aarp_core::accept::judge_address;
use aarp_core::mapping::State;
use aarp_core::policy::{Patience, interest, plan};
use aarp_core::prefix::Prefix;
use aarp_core::settings::Settings;
use aarp_core::table::{Entry, REACH};

use crate::event::Event;
use crate::mapper::{Action, Asker, Mapper};
use crate::permit::permitted;
use crate::requests::unasked_for;
use crate::sweep::PLACES;

/// What is done with each mapping.
#[derive(Debug)]
enum Task {
    /// It is judged by the settings of now; those before are these.
    Revise(Box<Settings>),
    /// It is forgotten, if it is about an A in this prefix; somebody waits to hear how many
    /// there were.
    Flush(Asker, Prefix),
}

/// A way through the table.
#[derive(Debug)]
pub(crate) struct Walk {
    task: Task,
    /// What was gone through.
    place: usize,
    /// How often something had been removed from the table by then.
    vacated: u64,
    /// How many times more it goes on; then through all that is left.
    turns: usize,
    /// How many were forgotten.
    count: usize,
}

impl Mapper<'_> {
    fn set_out(&mut self, task: Task) {
        self.walks.push_back(Walk {
            task,
            place: 0,
            vacated: self.table.vacated(),
            turns: 2 * self.table.view().slots().div_ceil(PLACES) + 1,
            count: 0,
        });
    }

    /// Goes on through the table.
    pub(crate) fn walk(&mut self, now: Duration) {
        let Some(mut walk) = self.walks.pop_front() else {
            return;
        };
        // What others have removed since may have moved something to where it was already.
        let vacated = self.table.vacated() - walk.vacated;
        let moved = usize::try_from(vacated).unwrap_or(usize::MAX);
        let from = walk.place.saturating_sub(moved.saturating_mul(REACH));
        let slots = self.table.view().slots();
        let to = match walk.turns.checked_sub(1) {
            Some(_) => slots.min(from + PLACES),
            None => slots,
        };
        walk.turns = walk.turns.saturating_sub(1);
        walk.count += match &walk.task {
            Task::Revise(before) => self.table.revise(from..to, |entry| {
                permitted(&self.settings, Some(before), entry, now)
            }),
            Task::Flush(_, prefix) => self
                .table
                .retain(from..to, |entry| !prefix.contains(entry.a)),
        };
        if to < slots {
            (walk.place, walk.vacated) = (to, self.table.vacated());
            return self.walks.push_front(walk);
        }
        match walk.task {
            Task::Revise(_) => self.actions.push_back(Action::Reloaded(walk.count)),
            Task::Flush(asker, prefix) => self.flushed(asker, prefix, walk.count),
        }
    }

    /// Goes on with other settings: mappings that they do not permit are forgotten, the
    /// others kept, for no longer than they say. When that is done, [`Action::Reloaded`].
    pub fn reload(&mut self, settings: Box<Settings>) {
        let before = std::mem::replace(&mut self.settings, settings);
        self.set_out(Task::Revise(before));
        // Late answers would be judged by what was.
        self.questions.forget_over();
        for a in self.questions.addresses().collect::<Vec<_>>() {
            match (interest(&self.settings, a), self.questions.get_mut(a)) {
                (Err(bypass), _) => self.give_up(a, unasked_for(bypass)),
                (Ok(interest), Some(open)) => {
                    open.plan = plan(&self.settings, a, interest, Patience::Blocking);
                }
                (Ok(_), None) => {}
            }
        }
    }

    /// Whether a mapping is one that the settings of now forbid, and the table was not gone
    /// through yet: nobody is told of it.
    pub(crate) fn is_forbidden(&self, entry: &Entry) -> bool {
        let is_revising = |walk: &Walk| matches!(walk.task, Task::Revise(_));
        self.walks.iter().any(is_revising)
            && entry.mapping.state == State::Pinned
            && judge_address(&self.settings, entry.a, entry.mapping.u).is_some()
    }

    /// Forgets what is known about every A in a prefix. When that is done,
    /// [`Action::Flushed`].
    pub fn flush(&mut self, asker: Asker, prefix: Prefix) {
        match prefix.len_bits() {
            128 => {
                let count = usize::from(self.table.remove(prefix.address()));
                self.flushed(asker, prefix, count);
            }
            _ => self.set_out(Task::Flush(asker, prefix)),
        }
    }

    fn flushed(&mut self, asker: Asker, prefix: Prefix, count: usize) {
        self.happened(Event::Flushed { prefix, count });
        self.actions.push_back(Action::Flushed(asker, count));
    }

    /// How many mappings there are that hold, in these places of the table, by the number of
    /// the state from 1.
    #[must_use]
    pub fn census(&self, places: Range<usize>, now: Duration) -> [u64; State::ALL.len()] {
        let mut states = [0; State::ALL.len()];
        for entry in self.table.view().entries(places) {
            if self.is_fresh(&entry, now) {
                states[entry.mapping.state as usize - 1] += 1;
            }
        }
        states
    }
}
