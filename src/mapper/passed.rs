//! Telling the daemon of sockets that another program will have, and asking it whose one
//! is that has come from there.

use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use aarp_core::settings::Settings;
use aarp_core::state::ProcessState;
use aarp_sys::clock::boottime;
use aarp_sys::mapper::DaemonError;
use aarp_sys::mapper::passed;
use aarp_sys::process::thread;
use aarp_wire::mapper::Peer;

use super::{ATTACHED, LOOK_AGAIN, NotBefore, find_table, is_ours, is_spoken_to, speak};
use crate::flight;

/// For how long who starts a program, or asks for a peer, waits for the daemon: natively
/// neither waits for anybody.
const PATIENCE: Duration = Duration::from_millis(50);
/// What is less is not worth a question.
const LEAST: Duration = Duration::from_millis(5);

/// When a daemon that has not answered in time is spoken to of sockets again.
static AGAIN: NotBefore = NotBefore::new();

/// So many answers in a row that nobody has said anything of a socket …
const NOTHING_SAID: u32 = 16;
/// … are counted here, …
static UNKNOWN: AtomicU32 = AtomicU32::new(0);
/// … and this is when one is asked about again after them: most likely this program is
/// handed its connections by one that has not made them.
static ASK_AGAIN: NotBefore = NotBefore::new();

/// For how long a thread is held at most.
fn budget(settings: &Settings) -> Duration {
    if settings.prefixes.is_empty() {
        settings.times.budget_unconfigured
    } else {
        settings.times.budget
    }
}

/// How long this thread may wait now, which is held for at most one budget a second,
/// whatever it asks for; `None` where it is not worth it.
fn patience(settings: &Settings, state: &ProcessState, now: Duration) -> Option<Duration> {
    let left = state.stalls.allowance(thread(), now, budget(settings));
    (left >= LEAST).then(|| left.min(PATIENCE))
}

/// Whether the daemon is not to be asked about a socket now, for a reason that is over soon:
/// what is not asked now is asked later.
pub(crate) fn is_paused(settings: Option<&Settings>, state: Option<&ProcessState>) -> bool {
    let now = boottime();
    let is_held = |(settings, state)| patience(settings, state, now).is_none();
    let is_left_alone = !AGAIN.is_over(now) || !ASK_AGAIN.is_over(now);
    is_left_alone || settings.zip(state).is_some_and(is_held)
}

/// Whether the daemon is likely to answer.
fn is_there(settings: &Settings, now: Duration) -> bool {
    is_spoken_to(settings, now) && AGAIN.is_over(now)
}

/// Whether there is one that might be told, and this thread may wait for it.
pub(crate) fn is_heard(settings: &Settings, state: &ProcessState) -> bool {
    let now = boottime();
    is_there(settings, now) && patience(settings, state, now).is_some()
}

/// Which daemon it is that keeps the table, by a number; 0 where none is known.
pub(crate) fn daemon() -> u64 {
    match ATTACHED.table() {
        Some(table) if !table.header().is_retired() => table.header().identity().key[0],
        _ => 0,
    }
}

/// A daemon that has not answered in time, of which there was enough, is left alone for a
/// while. What this thread has waited for before says nothing about it.
fn heard(
    settings: &Settings,
    outcome: Result<(), DaemonError>,
    patience: Duration,
) -> Result<(), DaemonError> {
    let is_enough = patience >= PATIENCE.min(budget(settings));
    if matches!(outcome, Err(DaemonError::Late)) && is_enough {
        AGAIN.wait(boottime(), LOOK_AGAIN);
    }
    outcome
}

/// Tells the daemon of sockets, each with what `told` gets where it need not be told of it
/// again. To be called as a question, but in a vfork child.
pub(crate) fn tell<T: Copy>(
    settings: &Settings,
    state: &ProcessState,
    sockets: &mut dyn Iterator<Item = (T, Peer)>,
    told: &dyn Fn(T),
) {
    let now = boottime();
    if let (true, Some(patience)) = (is_there(settings, now), patience(settings, state, now)) {
        let until = now + patience;
        let (outcome, _) = speak(settings, now, |daemon| {
            passed::tell(daemon, sockets, told, until)
        });
        // A vfork child's thread is its parent's, which waits for it.
        state.stalls.charge(thread(), now, boottime());
        let _ = heard(settings, outcome, patience);
    }
}

/// What comes of asking whose a socket is.
pub(crate) enum Whose {
    /// Somebody has told the daemon.
    Known(Peer),
    /// Nobody has, or there is no daemon that would say.
    Unknown,
    /// It has not said in time, or will not now: it may later.
    NotNow,
}

/// What the daemon was told about a socket, by its cookie.
pub(crate) fn whose(settings: &Settings, state: &ProcessState, cookie: u64) -> Whose {
    // The table says whether it is stuck.
    find_table(settings, state, boottime());
    let ask = || {
        let now = boottime();
        if !is_spoken_to(settings, now) {
            return Whose::Unknown;
        }
        // Another thread may have waited for it a moment ago.
        let patience = patience(settings, state, now).filter(|_| AGAIN.is_over(now));
        let Some(patience) = patience else {
            return Whose::NotNow;
        };
        let until = now + patience;
        let mut peer = None;
        let (outcome, place) = speak(settings, now, |daemon| {
            peer = passed::whose(daemon, cookie, until)?;
            Ok(())
        });
        let ended = boottime();
        state.stalls.charge(thread(), now, ended);
        match heard(settings, outcome, patience) {
            Ok(()) if is_ours(settings, ended, place) => {}
            Err(DaemonError::Late) => return Whose::NotNow,
            _ => return Whose::Unknown,
        }
        if let Some(peer) = peer {
            UNKNOWN.store(0, Ordering::Relaxed);
            return Whose::Known(peer);
        }
        if UNKNOWN.fetch_add(1, Ordering::Relaxed) + 1 >= NOTHING_SAID {
            UNKNOWN.store(0, Ordering::Relaxed);
            ASK_AGAIN.wait(ended, LOOK_AGAIN);
        }
        Whose::Unknown
    };
    flight::question(state, ask).unwrap_or(Whose::Unknown)
}
