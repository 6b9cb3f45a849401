//! From single results to a state: `rise` successes in a row to come up, `fall`
//! failures in a row to go down.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Serialize;

/// What is held of a check, or of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// No result yet.
    Unknown,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            State::Unknown => "unknown",
            State::Up => "up",
            State::Down => "down",
        })
    }
}

/// A change of state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// What was held before.
    pub from: State,
    /// What is held now; never [`State::Unknown`].
    pub to: State,
}

/// The decision about one check.
///
/// The very first result decides at once, whichever it is: nothing is announced
/// before the service has answered, and one that answers need not prove it `rise`
/// times before it is of use (HAProxy and keepalived likewise take the first result
/// of a start at its word). From then on a state is left only after `rise`
/// successes, or `fall` failures, in a row; one result of the other sort begins the
/// count anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hysteresis {
    rise: NonZeroU32,
    fall: NonZeroU32,
    state: State,
    since: Duration,
    /// Results in a row that speak against `state`.
    against: u32,
    /// The next result decides alone.
    fresh: bool,
}

impl Hysteresis {
    /// Nothing known, at `now`.
    #[must_use]
    pub fn new(rise: NonZeroU32, fall: NonZeroU32, now: Duration) -> Self {
        Self {
            rise,
            fall,
            state: State::Unknown,
            since: now,
            against: 0,
            fresh: true,
        }
    }

    /// What is held.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when that is held; a time as given to [`record`](Self::record).
    #[must_use]
    pub fn since(&self) -> Duration {
        self.since
    }

    /// What is checked is another one from now on: the state is kept for the time
    /// being, so that a healthy service is not taken away for the length of a check,
    /// and the next result decides alone.
    pub fn begin_anew(&mut self) {
        self.fresh = true;
        self.against = 0;
    }

    /// Takes in one result; whether that changes the state.
    pub fn record(&mut self, now: Duration, success: bool) -> Option<Change> {
        let (to, needed) = if success {
            (State::Up, self.rise)
        } else {
            (State::Down, self.fall)
        };
        let decisive = std::mem::take(&mut self.fresh);
        if self.state == to {
            self.against = 0;
            return None;
        }
        self.against = self.against.saturating_add(1);
        if !decisive && self.against < needed.get() {
            return None;
        }
        let from = std::mem::replace(&mut self.state, to);
        self.since = now;
        self.against = 0;
        Some(Change { from, to })
    }
}

/// The state of a service with these checks: down if one is down, up if all are up,
/// and not known before. A service that has no check is up.
pub fn combine(states: impl IntoIterator<Item = State>) -> State {
    let mut all = State::Up;
    for state in states {
        match state {
            State::Down => return State::Down,
            State::Unknown => all = State::Unknown,
            State::Up => {}
        }
    }
    all
}

#[cfg(test)]
#[path = "hysteresis_tests.rs"]
mod tests;
