//! Options of the program's sockets that are not as it has set them, while a connect() of
//! ours lasts.
//!
//! A thread that is cancelled in it, or a handler that jumps out of it, runs nothing of
//! ours any more. So what the program has set is noted before it is changed, by
//! descriptor. A number that is given again holds nothing where a socket is made by it, or
//! copied to it; who finds something held elsewhere looks whether it is that socket still.

use core::sync::atomic::Ordering;
use core::time::Duration;

use super::store::{HELD, HOLDER, OURS, Place, place};

/// An option that limits how long connect() takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limit {
    /// `TCP_USER_TIMEOUT`
    UserTimeout = 1,
    /// `SO_SNDTIMEO`
    SendTimeout = 2,
}

/// An option that is not as the program has set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) limit: Limit,
    /// As the program has it.
    pub(crate) own: Duration,
    /// As it is meanwhile.
    pub(crate) ours: Duration,
    /// The thread that has changed it.
    pub(crate) holder: u64,
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Notes what is about to be changed. Whether that was possible.
pub(crate) fn hold(fd: i32, held: &Held) -> bool {
    let Some(place) = place(fd) else {
        return false;
    };
    let own = micros(held.own).min(u64::MAX >> 2) << 2 | held.limit as u64;
    place[OURS].store(micros(held.ours), Ordering::Relaxed);
    place[HOLDER].store(held.holder, Ordering::Relaxed);
    place[HELD].store(own, Ordering::Relaxed);
    true
}

/// What is held of a descriptor.
#[inline]
pub(crate) fn held(fd: i32) -> Option<Held> {
    let place = place(fd)?;
    if place[HELD].load(Ordering::Relaxed) == 0 {
        return None;
    }
    read(place)
}

#[cold]
fn read(place: &Place) -> Option<Held> {
    let [own, ours, holder] = [HELD, OURS, HOLDER].map(|at| place[at].load(Ordering::Relaxed));
    let limit = match own & 3 {
        1 => Limit::UserTimeout,
        2 => Limit::SendTimeout,
        _ => return None,
    };
    Some(Held {
        limit,
        own: Duration::from_micros(own >> 2),
        ours: Duration::from_micros(ours),
        holder,
    })
}

/// Nothing is held of a descriptor any more.
pub(crate) fn release(fd: i32) {
    if let Some(place) = place(fd) {
        place[HELD].store(0, Ordering::Relaxed);
    }
}
