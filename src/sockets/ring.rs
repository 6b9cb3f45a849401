//! The descriptors of one socket: each names the next, and the last the first, so that
//! what one of them asks does not grow with the number of all descriptors.
//!
//! Rings are changed by one thread at a time. Who finds another at it does not wait: all
//! rings are void then, and each is closed anew, by a look at all descriptors, when it is
//! needed next. So it is with one that a descriptor has left unseen, or that a fork, a
//! signal or a jump out of a handler has caught in between; where that has left the lock
//! locked, there are no rings any more, and all descriptors are looked at each time.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::known;
use super::store::{CHECKSUM, NEXT, NUMBER, Place, place};

/// Nobody has more numbers for one socket; who has is looked for among all.
const MOST: usize = 1 << 20;

static LOCK: AtomicBool = AtomicBool::new(false);
/// A link that was made in another age is none.
static AGE: AtomicU32 = AtomicU32::new(1);

fn link_to(fd: i32) -> u64 {
    u64::from(AGE.load(Ordering::Relaxed)) << 32 | fd as u32 as u64
}

fn next(place: &Place) -> Option<(i32, &'static Place)> {
    let link = place[NEXT].load(Ordering::Relaxed);
    let fd = link as i32;
    Some((fd, self::place(fd).filter(|_| link == link_to(fd))?))
}

fn links(from: &Place, to: i32) {
    from[NEXT].store(link_to(to), Ordering::Relaxed);
}

/// Changes rings, if nobody else is at it.
fn alone_at_it<T>(change: impl FnOnce() -> T) -> Option<T> {
    if LOCK.swap(true, Ordering::Acquire) {
        AGE.fetch_add(1, Ordering::Relaxed);
        return None;
    }
    let result = change();
    LOCK.store(false, Ordering::Release);
    Some(result)
}

fn is(place: &Place, socket: u32) -> bool {
    place[NUMBER].load(Ordering::Relaxed) == u64::from(socket)
        && place[CHECKSUM].load(Ordering::Relaxed) != 0
}

/// Along the ring, as far as it goes.
fn along(from: &'static Place, socket: u32) -> impl Iterator<Item = (i32, &'static Place)> {
    let mut at = from;
    let further = move || {
        let (fd, to) = next(at)?;
        at = to;
        (!core::ptr::eq(to, from) && is(to, socket)).then_some((fd, to))
    };
    core::iter::from_fn(further).fuse().take(MOST)
}

/// Whether the ring comes back to where it begins.
fn is_closed(from: &'static Place, socket: u32) -> bool {
    let last = along(from, socket).last().map_or(from, |(_, last)| last);
    next(last).is_some_and(|(_, to)| core::ptr::eq(to, from))
}

/// All descriptors of the socket, by a look at all that there are.
fn all(socket: u32) -> impl Iterator<Item = (i32, &'static Place)> {
    let places = known(0, u32::MAX).filter_map(|fd| Some((fd, place(fd)?)));
    places.filter(move |(_, place)| is(place, socket))
}

/// Closes the ring of a socket anew, by who is alone at it. Whether it is closed then.
#[cold]
fn close(from: &'static Place, socket: u32) -> bool {
    let Some((first, mut before)) = all(socket).next() else {
        return false;
    };
    for (fd, place) in all(socket).skip(1) {
        links(before, fd);
        before = place;
    }
    links(before, first);
    is_closed(from, socket)
}

/// The other descriptors of a socket that has, or has had, more than one.
pub(super) fn others(
    of: &'static Place,
    socket: u32,
) -> impl Iterator<Item = (i32, &'static Place)> {
    let ring = is_closed(of, socket) || alone_at_it(|| close(of, socket)) == Some(true);
    let along = ring.then(|| along(of, socket)).into_iter().flatten();
    let all = (!ring).then(|| all(socket)).into_iter().flatten();
    along.chain(all.filter(move |(_, other)| !core::ptr::eq(*other, of)))
}

/// A descriptor has become a duplicate of another, which was the only one so far if it
/// is `single`.
pub(super) fn join(fd: i32, copy: i32, single: bool) {
    let (Some(at), Some(new)) = (place(fd), place(copy)) else {
        return;
    };
    alone_at_it(|| {
        // One that has left its ring unseen may be named there still.
        if next(new).is_some() || single && next(at).is_some() {
            AGE.fetch_add(1, Ordering::Relaxed);
        }
        match next(at) {
            Some((behind, _)) => links(new, behind),
            None if single => links(new, fd),
            // Void, and closed anew when it is needed.
            None => return,
        }
        links(at, copy);
    });
}

/// A descriptor is about to be none of the socket's any more.
pub(super) fn leave(fd: i32, socket: u32) {
    let Some(gone) = place(fd) else {
        return;
    };
    alone_at_it(|| {
        if !is_closed(gone, socket) && !close(gone, socket) {
            return;
        }
        let last = along(gone, socket).last();
        if let (Some((_, before)), Some((behind, _))) = (last, next(gone)) {
            links(before, behind);
        }
        gone[NEXT].store(0, Ordering::Relaxed);
    });
}
