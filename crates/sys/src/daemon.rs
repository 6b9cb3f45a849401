//! Where aarpd is looked for, whose it may be, and what counts of what it says: for all
//! who read its table or ask it.

use core::net::Ipv6Addr;
use core::time::Duration;

use aarp_core::accept::{Verdict, judge_address};
use aarp_core::mapping::{Mapping, State};
use aarp_core::settings::Settings;
use aarp_core::text::Text;
use aarp_wire::mapper::Answer;

use crate::environment;
use crate::process;

/// Where the system's daemon has its socket and its table; a user's own has them below
/// `$XDG_RUNTIME_DIR/aarp`.
pub const FOLDER: &str = "/run/aarp";
/// The name of its socket, with the stroke before it.
pub const SOCKET: &str = "/aarpd.sock";
/// The name of its mapping table, with the stroke before it.
pub const TABLE: &str = "/table";

/// Calls `reach` with the path that is configured; or with that of the system's daemon
/// and then with that of the user's own, until it finds something.
pub fn at<T>(configured: &str, name: &str, mut reach: impl FnMut(&str) -> Option<T>) -> Option<T> {
    if !configured.is_empty() {
        return reach(configured);
    }
    let mut path = Text::<256>::from(FOLDER);
    path.push(name);
    if let Some(found) = reach(path.as_str()) {
        return Some(found);
    }
    let own = environment::variable("XDG_RUNTIME_DIR", |folder| {
        let mut path = Text::<256>::from(folder.ok().filter(|folder| folder.starts_with('/'))?);
        path.push("/aarp");
        path.push(name);
        (!path.is_cut()).then_some(path)
    });
    reach(own.flatten()?.as_str())
}

/// Whose daemon is believed: root's, one's own, and that of the user who is configured.
#[must_use]
pub fn trusted(settings: &Settings) -> [u32; 3] {
    let own = process::user();
    [0, own, settings.daemon.uid.unwrap_or(own)]
}

/// Whether what belongs to `owner` belongs to one of the `trusted` users. In a user
/// namespace many owners have the same number, that of nobody they are.
#[must_use]
pub fn is_trusted(owner: u32, trusted: &[u32]) -> bool {
    trusted.contains(&owner) && (owner == 0 || owner != process::overflow_user())
}

/// What is told counts as far as this process's own configuration has it.
#[must_use]
#[inline]
pub fn judged(settings: &Settings, a: Ipv6Addr, told: Mapping) -> Mapping {
    let state = match (told.state, judge_address(settings, a, told.u)) {
        (State::Pinned, Some(Verdict::Refused(_))) => State::Untrusted,
        (State::Pinned, Some(Verdict::Direct)) => State::Direct,
        (state, _) => state,
    };
    Mapping { state, ..told }
}

/// What the daemon has said at `now`, by `CLOCK_BOOTTIME`.
#[must_use]
pub fn mapping(answer: &Answer, now: Duration) -> Mapping {
    Mapping {
        state: answer.state,
        u: answer.u,
        method: answer.method,
        expiry: now + Duration::from_millis(answer.ttl.into()),
        rtt: Duration::from_micros(answer.rtt.into()),
        failures: answer.failures,
    }
}
