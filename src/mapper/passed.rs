//! Telling the daemon of sockets that another program will have, and asking it whose one
//! is that has come from there.

use core::time::Duration;

use aarp_core::settings::Settings;
use aarp_core::state::ProcessState;
use aarp_sys::clock::boottime;
use aarp_sys::mapper::DaemonError;
use aarp_sys::mapper::passed;
use aarp_wire::mapper::Peer;

use super::{ATTACHED, LOOK_AGAIN, NotBefore, find_table, is_ours, is_spoken_to, speak};
use crate::flight;

/// For how long who starts a program, or asks for a peer, waits for the daemon: natively
/// neither waits for anybody.
const PATIENCE: Duration = Duration::from_millis(50);

/// When a daemon that has not answered in time is spoken to of sockets again.
static AGAIN: NotBefore = NotBefore::new();

/// Whether the daemon is likely to answer.
fn is_there(settings: &Settings, now: Duration) -> bool {
    is_spoken_to(settings, now) && AGAIN.is_over(now)
}

/// Which daemon it is that keeps the table, by a number; 0 where none is known.
pub(crate) fn daemon() -> u64 {
    match ATTACHED.table() {
        Some(table) if !table.header().is_retired() => table.header().identity().key[0],
        _ => 0,
    }
}

/// A daemon that has not answered in time is left alone for a while.
fn heard<T>(outcome: Result<T, DaemonError>) -> Option<T> {
    if matches!(outcome, Err(DaemonError::Busy)) {
        AGAIN.wait(boottime(), LOOK_AGAIN);
    }
    outcome.ok()
}

/// Tells the daemon of sockets, each with a descriptor, which `told` gets when that is
/// done. To be called as a question, but in a vfork child.
pub(crate) fn tell(
    settings: &Settings,
    sockets: &mut dyn Iterator<Item = (i32, Peer)>,
    told: &dyn Fn(i32),
) {
    let now = boottime();
    if is_there(settings, now) {
        let until = now + PATIENCE;
        let (outcome, _) = speak(settings, now, |daemon| {
            passed::tell(daemon, sockets, told, until)
        });
        let _ = heard(outcome);
    }
}

/// What the daemon was told about a socket, by its cookie.
pub(crate) fn whose(settings: &Settings, state: &ProcessState, cookie: u64) -> Option<Peer> {
    // The table says whether it is stuck.
    find_table(settings, state, boottime());
    let ask = || {
        let now = boottime();
        if !is_there(settings, now) {
            return None;
        }
        let until = now + PATIENCE;
        let mut peer = None;
        let (outcome, place) = speak(settings, now, |daemon| {
            peer = passed::whose(daemon, cookie, until)?;
            Ok(())
        });
        heard(outcome).filter(|()| is_ours(settings, boottime(), place))?;
        peer
    };
    flight::question(state, ask).flatten()
}
