//! A descriptor of our own, which never outlives the call that opened it.
//!
//! The program knows nothing of it, and may close its number in another thread, or put
//! something else there; and a child that is forked meanwhile has it too. So all that
//! are open stand in a list: who closes numbers strikes them out first ([`strike`]), and
//! what was struck out is neither used nor closed any more; and a child closes what it
//! finds in its copy ([`sweep`]).

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};

use crate::process;
use crate::syscall::{Errno, syscall};

/// For how many descriptors there is room: four for each thread that asks.
const PLACES: usize = 256;

/// The list. In ordinary memory, which a forked child has a copy of; a vfork child has
/// the very same, and descriptors of its own: so each place says whose it is.
static OPEN: [AtomicU64; PLACES] = [const { AtomicU64::new(0) }; PLACES];

/// How many places are taken.
static TAKEN: AtomicU32 = AtomicU32::new(0);

/// The smallest table of descriptors that the kernel has. To make it larger takes it
/// 15 ms in a program with threads.
const SMALLEST_TABLE: usize = 64;

/// How many times a thread is let pass that is in the midst of a system call on a
/// descriptor of ours. None of those waits for anything.
const TURNS: u32 = 2000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// About to be opened: its number is not known yet.
    Opening = 0,
    Open = 1,
    /// A system call is being made on it.
    InUse = 2,
    /// It is being closed, or is already.
    Closing = 3,
    /// The program has taken the number.
    Struck = 4,
}

/// What stands in a place; zero is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    process: i32,
    number: i32,
    state: State,
}

impl Entry {
    fn word(self) -> u64 {
        u64::from(self.process as u32) << 32 | (self.number as u64) << 3 | self.state as u64
    }

    fn of(word: u64) -> Option<Self> {
        let state = match word & 7 {
            _ if word == 0 => return None,
            0 => State::Opening,
            1 => State::Open,
            2 => State::InUse,
            3 => State::Closing,
            _ => State::Struck,
        };
        Some(Self {
            process: (word >> 32) as i32,
            number: (word as u32 >> 3) as i32,
            state,
        })
    }

    fn with(self, state: State) -> Self {
        Self { state, ..self }
    }
}

fn exchange(place: &AtomicU64, from: Entry, to: u64) -> bool {
    let exchanged = place.compare_exchange(from.word(), to, SeqCst, SeqCst);
    exchanged.is_ok()
}

/// An open descriptor; closed when dropped.
#[derive(Debug)]
pub struct Fd {
    place: &'static AtomicU64,
    entry: Entry,
}

impl Fd {
    /// Opens a descriptor for a short while, by a system call.
    ///
    /// The first three numbers are left to the program, which may have closed its
    /// standard streams and look for them at any moment.
    pub(crate) fn open(call: impl FnOnce() -> Result<usize, Errno>) -> Result<Self, Errno> {
        let low = Self::begin(call)?;
        if low.entry.number > 2 {
            return low.opened();
        }
        low.moved_to(3)
    }

    /// Opens a descriptor that somebody waits with, at a high number: the lowest that is
    /// free stays the program's, and one that was struck out is not soon used again.
    pub(crate) fn open_high(call: impl FnOnce() -> Result<usize, Errno>) -> Result<Self, Errno> {
        let low = Self::begin(call)?;
        let number = low.entry.number as usize;
        // In the midst of what is left of the table.
        let size = (number + 1).next_power_of_two().max(SMALLEST_TABLE);
        let left = size - number;
        if left < 8 && number > 2 {
            return low.opened();
        }
        low.moved_to(number + left / 2)
    }

    /// A descriptor that counts as being in use.
    fn begin(call: impl FnOnce() -> Result<usize, Errno>) -> Result<Self, Errno> {
        let mut fd = Self::reserve()?;
        match call() {
            Ok(number) => {
                fd.becomes(number, State::InUse);
                Ok(fd)
            }
            Err(errno) => {
                fd.leave();
                Err(errno)
            }
        }
    }

    fn reserve() -> Result<Self, Errno> {
        let entry = Entry {
            process: process::id(),
            number: 0,
            state: State::Opening,
        };
        TAKEN.fetch_add(1, SeqCst);
        let free = |place: &&AtomicU64| {
            let taken = place.compare_exchange(0, entry.word(), SeqCst, SeqCst);
            taken.is_ok()
        };
        match OPEN.iter().find(free) {
            Some(place) => Ok(Self { place, entry }),
            None => {
                TAKEN.fetch_sub(1, SeqCst);
                Err(Errno(libc::EMFILE))
            }
        }
    }

    fn becomes(&mut self, number: usize, state: State) {
        let before = self.entry;
        self.entry = Entry {
            number: number as i32,
            state: State::Open,
            ..before
        };
        // Where it is not what it was, this is a child that was forked in a handler,
        // and has swept.
        exchange(self.place, before, self.entry.with(state).word());
    }

    /// What was in use from the beginning is open.
    fn opened(self) -> Result<Self, Errno> {
        if exchange(self.place, self.entry.with(State::InUse), self.entry.word()) {
            return Ok(self);
        }
        Err(Errno(libc::EBADF))
    }

    /// The same descriptor at a number not below `least`, if there is one.
    fn moved_to(self, least: usize) -> Result<Self, Errno> {
        let Ok(mut high) = Self::reserve() else {
            return self.opened_if_high(Errno(libc::EMFILE));
        };
        let (from, how) = (self.entry.number as usize, libc::F_DUPFD_CLOEXEC as usize);
        // SAFETY: no pointers.
        match unsafe { syscall(libc::SYS_fcntl, [from, how, least, 0, 0, 0]) } {
            Ok(number) => {
                high.becomes(number, State::Open);
                // Where it was struck out, nobody knows what was copied.
                self.opened().map(|_| high)
            }
            Err(errno) => {
                high.leave();
                self.opened_if_high(errno)
            }
        }
    }

    /// A program that has so few numbers left keeps the three lowest nevertheless.
    fn opened_if_high(self, error: Errno) -> Result<Self, Errno> {
        let number = self.entry.number;
        let open = self.opened()?;
        if number > 2 { Ok(open) } else { Err(error) }
    }

    /// Gives back a place without a descriptor.
    fn leave(self) {
        if exchange(self.place, self.entry.with(State::Opening), 0) {
            TAKEN.fetch_sub(1, SeqCst);
        }
        // There is nothing to close, and another may have the place already.
        core::mem::forget(self);
    }

    /// Whether the number is still ours.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.place.load(SeqCst) == self.entry.word()
    }

    /// The number to wait for in poll(2), which does nothing to what else may stand
    /// there by now; negative when the program has taken it.
    #[must_use]
    pub fn number(&self) -> i32 {
        if self.is_ours() {
            self.entry.number
        } else {
            -1
        }
    }

    /// Makes a system call on the number, which must not wait.
    ///
    /// # Errors
    /// What it fails with; `EBADF` when the program has taken the number.
    pub fn using<T>(&self, call: impl FnOnce(i32) -> Result<T, Errno>) -> Result<T, Errno> {
        let in_use = self.entry.with(State::InUse);
        if !exchange(self.place, self.entry, in_use.word()) {
            return Err(Errno(libc::EBADF));
        }
        let result = call(self.entry.number);
        exchange(self.place, in_use, self.entry.word());
        result
    }
}

#[cfg(feature = "std")]
impl std::os::fd::AsFd for Fd {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        // SAFETY: it is open for as long as this value lives.
        unsafe { std::os::fd::BorrowedFd::borrow_raw(self.number()) }
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        let closing = self.entry.with(State::Closing);
        let struck = self.entry.with(State::Struck);
        if exchange(self.place, self.entry, closing.word()) {
            close(self.entry.number);
        }
        // What a child has swept away may be another's place.
        if exchange(self.place, closing, 0) || exchange(self.place, struck, 0) {
            TAKEN.fetch_sub(1, SeqCst);
        }
    }
}

fn close(number: i32) {
    // SAFETY: no pointers; the number is ours.
    let _ = unsafe { syscall(libc::SYS_close, [number as usize, 0, 0, 0, 0, 0]) };
}

/// Whether there may be any descriptor of ours, in any thread.
#[inline]
#[must_use]
pub fn is_any_open() -> bool {
    TAKEN.load(SeqCst) != 0
}

/// This process, whose id is `process`, is about to close the numbers from `first` to
/// `last`, or to put something else there: those of ours among them are none of ours any
/// more. One that another thread is opening, or in the midst of a system call on, is
/// waited for, but not for long.
#[cold]
pub fn strike(first: u32, last: u32, process: i32) {
    let mut turns = 0;
    for place in &OPEN {
        while let Some(entry) = Entry::of(place.load(SeqCst)) {
            let is_meant = (first..=last).contains(&(entry.number as u32));
            let is_unknown = entry.state == State::Opening;
            if entry.process != process || !(is_meant || is_unknown) {
                break;
            }
            let is_over = turns >= TURNS;
            match entry.state {
                State::Struck => break,
                State::Opening | State::Closing if is_over => break,
                State::InUse if !is_over => pause(&mut turns),
                State::Opening | State::Closing => pause(&mut turns),
                State::Open | State::InUse => {
                    if exchange(place, entry, entry.with(State::Struck).word()) {
                        break;
                    }
                }
            }
        }
    }
}

fn pause(turns: &mut u32) {
    *turns += 1;
    if *turns < 64 {
        return core::hint::spin_loop();
    }
    // SAFETY: no arguments.
    let _ = unsafe { syscall(libc::SYS_sched_yield, [0; 6]) };
}

/// Closes what a child, whose id is `process`, has inherited by fork(2). Where it is
/// `alone`, all that stands in the list is; otherwise its own stays.
///
/// Not to be called in a vfork child: the list is its parent's.
#[cold]
pub fn sweep(process: i32, alone: bool) {
    for place in &OPEN {
        let Some(entry) = Entry::of(place.load(SeqCst)) else {
            continue;
        };
        let is_inherited = alone || entry.process != process;
        if is_inherited && exchange(place, entry, 0) {
            TAKEN.fetch_sub(1, SeqCst);
            if matches!(entry.state, State::Open | State::InUse) {
                close(entry.number);
            }
        }
    }
    if alone {
        TAKEN.store(0, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// The list is one for all tests.
    static TURN: Mutex<()> = Mutex::new(());

    fn null() -> Result<usize, Errno> {
        let path = c"/dev/null".as_ptr() as usize;
        let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as usize;
        let folder = libc::AT_FDCWD as usize;
        // SAFETY: the path ends with a zero.
        unsafe { syscall(libc::SYS_openat, [folder, path, flags, 0, 0, 0]) }
    }

    fn is_open(number: i32) -> bool {
        // SAFETY: no pointers.
        unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
    }

    #[test]
    fn entries_are_what_they_were() {
        for state in 0..5 {
            let word = 4_194_303 << 32 | 1_048_575 << 3 | state;
            let entry = Entry::of(word).unwrap();
            assert_eq!((entry.process, entry.number), (4_194_303, 1_048_575));
            assert_eq!(entry.word(), word);
        }
        assert_eq!(Entry::of(0), None);
    }

    #[test]
    fn what_is_struck_out_is_left_alone() {
        let _turn = TURN.lock().unwrap();
        for open in [Fd::open, Fd::open_high] {
            let fd = open(null).unwrap();
            let number = fd.number();
            assert!(is_open(number) && fd.is_ours());
            assert_eq!(fd.using(Ok), Ok(number));
            // Others that this process asks for at the same time are left alone.
            strike(u32::MAX, u32::MAX, process::id());
            strike(number as u32, number as u32, process::id() + 1);
            assert!(fd.is_ours());
            strike(number as u32, number as u32, process::id());
            assert_eq!(fd.using(Ok), Err(Errno(libc::EBADF)));
            assert_eq!(fd.number(), -1);
            drop(fd);
            assert!(is_open(number));
            close(number);
        }
    }

    #[test]
    fn one_that_is_in_use_is_waited_for() {
        let _turn = TURN.lock().unwrap();
        let fd = Fd::open_high(null).unwrap();
        let number = fd.number() as u32;
        let made = fd.using(|_| {
            // By the thread itself: it is not waited for for ever.
            strike(number, number, process::id());
            Ok(())
        });
        assert_eq!(made, Ok(()));
        assert!(!fd.is_ours());
        drop(fd);
        close(number as i32);
    }

    #[test]
    fn numbers_are_high_and_the_table_stays_small() {
        let _turn = TURN.lock().unwrap();
        let low = null().unwrap();
        let fd = Fd::open_high(null).unwrap();
        assert!(fd.entry.number as usize > low + 8, "{low} {fd:?}");
        let size = (low + 1).next_power_of_two().max(SMALLEST_TABLE);
        assert!((fd.entry.number as usize) < size, "{low} {fd:?}");
        drop(fd);
        close(low as i32);
    }

    #[test]
    fn what_a_child_has_inherited_is_swept_away() {
        let _turn = TURN.lock().unwrap();
        let parents = Fd::open_high(null).unwrap();
        let number = parents.number();
        for alone in [true, false] {
            // SAFETY: the child makes system calls only.
            let child = unsafe { libc::fork() };
            if child == 0 {
                sweep(process::id(), alone);
                // Another test's thread may have been about to open something at the fork:
                // only a child that is alone counts anew.
                let is_none = !alone || !is_any_open();
                let gone = !is_open(number) && !parents.is_ours() && is_none;
                // SAFETY: ends the child.
                unsafe { libc::_exit(i32::from(!gone)) };
            }
            let mut status = -1;
            // SAFETY: waits for the child just made.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            assert_eq!(status, 0);
        }
        assert!(parents.is_ours() && is_open(number));
    }
}
