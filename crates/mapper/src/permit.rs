//! What becomes of a mapping that other settings, or another daemon, have brought about.

use std::time::Duration;

use aarp_core::accept::judge_address;
use aarp_core::mapping::{Mapping, State};
use aarp_core::policy::{Patience, interest, plan};
use aarp_core::settings::{Settings, Times};
use aarp_core::table::Entry;

/// The part of its time before the end of a mapping in which it is asked again: one in so
/// many.
pub(crate) const AHEAD: u32 = 5;

/// For how long before its end a mapping is due.
pub(crate) fn due(mapping: &Mapping, times: &Times) -> u32 {
    match mapping.state {
        State::Pinned => u32::try_from((times.ttl / AHEAD).as_millis()).unwrap_or(u32::MAX),
        _ => 0,
    }
}

/// For how long a mapping holds.
fn lasts(mapping: &Mapping, times: &Times) -> Duration {
    match mapping.state {
        State::Pinned => times.ttl,
        State::Direct => times.direct,
        State::Unanswered | State::Untrusted => {
            let doublings = mapping.failures.saturating_sub(1).min(24);
            let pause = times.unanswered.saturating_mul(1 << doublings);
            pause.min(times.unanswered_max)
        }
    }
}

/// What these settings leave of a mapping that was found out under others: nothing where
/// they do not ask about A or do not accept U, and no more time than they give. `before`
/// are the others, where they are known.
#[must_use]
pub fn permitted(
    settings: &Settings,
    before: Option<&Settings>,
    entry: &Entry,
    now: Duration,
) -> Option<Entry> {
    let times = |settings: &Settings| {
        let interest = interest(settings, entry.a).ok()?;
        Some(plan(settings, entry.a, interest, Patience::Blocking).times)
    };
    let wanted = times(settings)?;
    let mapping = &entry.mapping;
    let is_refused = || judge_address(settings, entry.a, mapping.u).is_some();
    if mapping.state == State::Pinned && is_refused() {
        return None;
    }
    let lasts_now = lasts(mapping, &wanted);
    // Since when it is known, where that can be told.
    let told = match (before.and_then(times), entry.due) {
        (Some(before), _) => Some(lasts(mapping, &before)),
        (None, 0) => None,
        (None, due) => Some(Duration::from_millis(due.into()) * AHEAD),
    };
    let since = told.map_or(now, |told| mapping.expiry.saturating_sub(told).min(now));
    let expiry = mapping.expiry.min(since + lasts_now);
    let due = match entry.due {
        0 => 0,
        before => before.min(due(mapping, &wanted)),
    };
    (now < expiry).then_some(Entry {
        mapping: Mapping { expiry, ..*mapping },
        due,
        ..*entry
    })
}
