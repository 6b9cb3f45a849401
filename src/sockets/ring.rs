//! The descriptors of one socket: each names the next, and the last the first, so that
//! what one of them asks does not grow with the number of all descriptors.
//!
//! Rings are changed by one thread at a time. Who finds another at it does not wait: all
//! rings are void then, and each is closed anew, by a look at all descriptors, when it is
//! needed next. So it is with one that a descriptor has left unseen, or that a fork, a
//! signal or a jump out of a handler has caught in between; where that has left the lock
//! locked, there are no rings any more, and all descriptors are looked at each time.

use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::store::{NEXT, NUMBER, Place, has_record, place};
use super::{is, known};

/// Nobody has more numbers for one socket; who has is looked for among all.
const MOST: usize = 1 << 20;

static LOCK: AtomicBool = AtomicBool::new(false);
/// A link that was made in another age is none.
static AGE: AtomicU32 = AtomicU32::new(1);

fn age() -> u32 {
    AGE.load(Ordering::Acquire)
}

/// From now on all rings are void.
fn begin_another_age() {
    AGE.fetch_add(1, Ordering::AcqRel);
}

fn link_to(fd: i32, age: u32) -> u64 {
    u64::from(age) << 32 | u64::from(fd as u32)
}

fn next(place: &Place, age: u32) -> Option<(i32, &'static Place)> {
    let link = place[NEXT].load(Ordering::Acquire);
    let fd = link as i32;
    if link == link_to(fd, age) {
        Some((fd, self::place(fd)?))
    } else {
        None
    }
}

fn links(from: &Place, to: i32, age: u32) {
    from[NEXT].store(link_to(to, age), Ordering::Release);
}

/// Changes rings, if nobody else is at it: of the age that it is told, which may be over
/// when it ends.
fn alone_at_it(change: impl FnOnce(u32)) {
    if LOCK.swap(true, Ordering::Acquire) {
        begin_another_age();
    } else {
        change(age());
        LOCK.store(false, Ordering::Release);
    }
}

/// Along the ring, as far as it goes.
fn along(
    from: &'static Place,
    socket: u32,
    age: u32,
) -> impl Iterator<Item = (i32, &'static Place)> {
    let mut at = from;
    let further = move || {
        let (fd, to) = next(at, age)?;
        at = to;
        (!core::ptr::eq(to, from) && is(to, socket)).then_some((fd, to))
    };
    core::iter::from_fn(further).fuse().take(MOST)
}

/// Whether the ring comes back to where it begins.
fn is_closed(from: &'static Place, socket: u32, age: u32) -> bool {
    let last = along(from, socket, age).last();
    next(last.map_or(from, |(_, last)| last), age).is_some_and(|(_, to)| core::ptr::eq(to, from))
}

/// All descriptors of the socket, by a look at all that there are.
fn all(socket: u32) -> impl Iterator<Item = (i32, &'static Place)> {
    let places = known(0, u32::MAX).filter_map(|fd| Some((fd, place(fd)?)));
    places.filter(move |(_, place)| is(place, socket))
}

/// Closes the ring of a socket anew.
#[cold]
fn close(socket: u32, age: u32) {
    // In one pass: others come and go meanwhile, and find the ring open again.
    let mut found = all(socket);
    let Some((first, mut before)) = found.next() else {
        return;
    };
    for (fd, place) in found {
        links(before, fd, age);
        before = place;
    }
    links(before, first, age);
}

/// Whether a place still has this descriptor of this socket, by [`super::store::number`].
fn is_still(place: &Place, number: u64) -> bool {
    place[NUMBER].load(Ordering::Relaxed) == number && has_record(place)
}

/// Whether a socket has another descriptor than this. Where the number was given again,
/// it may be another of the same socket's.
pub(super) fn has_others(of: &'static Place, number: u64) -> bool {
    let socket = number as u32;
    let other = |to: &'static Place| !core::ptr::eq(to, of);
    if !is_still(of, number) {
        return all(socket).next().is_some();
    }
    match next(of, age()) {
        // Alone, or with one that is there.
        Some((_, to)) if !other(to) || is(to, socket) => other(to),
        _ => {
            alone_at_it(|age| close(socket, age));
            all(socket).any(|(_, to)| other(to))
        }
    }
}

/// Does something, once or more, with each of the other descriptors of a socket that has,
/// or has had, more than one.
pub(super) fn for_others(of: &'static Place, socket: u32, act: impl Fn(i32, &'static Place)) {
    let before = age();
    if is_closed(of, socket, before) {
        along(of, socket, before).for_each(|(fd, place)| act(fd, place));
        // Nobody has made it void meanwhile.
        if age() == before && is_closed(of, socket, before) {
            return;
        }
    }
    alone_at_it(|age| close(socket, age));
    let others = all(socket).filter(|(_, place)| !core::ptr::eq(*place, of));
    others.for_each(|(fd, place)| act(fd, place));
}

/// A descriptor has become a duplicate of another, which was the only one so far if it
/// is `single`.
pub(super) fn join(fd: i32, copy: i32, single: bool) {
    let (Some(at), Some(new)) = (place(fd), place(copy)) else {
        return;
    };
    alone_at_it(|age| {
        let behind = next(at, age);
        // One that has left its ring unseen may be named there still.
        if next(new, age).is_some() || single && behind.is_some() {
            return begin_another_age();
        }
        match behind {
            Some((behind, _)) => links(new, behind, age),
            None if single => links(new, fd, age),
            // Void, and closed anew when it is needed.
            None => return,
        }
        links(at, copy, age);
    });
}

/// A descriptor is about to be none of the socket's any more, if it still is this one.
pub(super) fn leave(fd: i32, number: u64) {
    let Some(gone) = place(fd) else {
        return;
    };
    let socket = number as u32;
    alone_at_it(|age| {
        // Who is given the number joins before this, and is seen, or finds somebody at it.
        if !is_still(gone, number) {
            return;
        }
        if !is_closed(gone, socket, age) {
            close(socket, age);
        }
        let last = along(gone, socket, age).last();
        match (last, next(gone, age)) {
            (Some((_, before)), Some((behind, _))) => links(before, behind, age),
            (None, Some((alone, _))) if alone == fd => {}
            _ => begin_another_age(),
        }
        gone[NEXT].store(0, Ordering::Release);
    });
}
