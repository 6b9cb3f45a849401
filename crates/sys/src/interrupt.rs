//! Signals while the network is asked in the place of a call that the program makes.
//!
//! Two things must be right. The kernel restarts an interrupted connect(2) after a
//! handler that was installed with `SA_RESTART`, and fails it with `EINTR` after any
//! other; a wait of ours must do the same, and poll(2) alone cannot tell the two
//! apart. And a handler may never return (wget's jumps out of its alarm): whatever
//! is open then stays open.
//!
//! So handled signals are held back while descriptors of ours are open. One that
//! arrives ends the wait at once, through a signalfd; the descriptors are closed, and
//! only then does its handler run.

use core::mem::MaybeUninit;

use crate::fd::Fd;
use crate::syscall::{Errno, syscall};

/// The kernel's signal set.
type SignalSet = u64;

/// The kernel's `struct sigaction`, of which two fields are read.
#[derive(Clone, Copy)]
#[repr(C)]
struct Action {
    handler: usize,
    flags: usize,
    rest: [usize; 4],
}

/// Which signals end a question: those that would interrupt the call in whose place
/// it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interruptible {
    /// None: the call does not block.
    Never,
    /// Those with handlers that were installed without `SA_RESTART`.
    UnlessRestarted,
    /// All that have handlers: a call with a time limit (`SO_SNDTIMEO`) is never
    /// restarted, see signal(7).
    Always,
}

/// Signals that a fault of the thread itself raises: holding them back would end the
/// program.
const OF_FAULTS: [i32; 7] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGSYS,
    libc::SIGABRT,
];

const fn bit(signal: usize) -> SignalSet {
    1 << (signal - 1)
}

/// The signals that have handlers, and those of them that interrupt.
fn handled(interruptible: Interruptible) -> (SignalSet, SignalSet) {
    let (mut all, mut interrupting) = (0, 0);
    for signal in 1..=64usize {
        if OF_FAULTS.contains(&(signal as i32)) {
            continue;
        }
        let mut action = MaybeUninit::<Action>::zeroed();
        let to = action.as_mut_ptr() as usize;
        // SAFETY: there is room for the action, and zeros are one.
        let action = unsafe {
            match syscall(libc::SYS_rt_sigaction, [signal, 0, to, 8, 0, 0]) {
                Ok(_) => action.assume_init(),
                Err(_) => continue,
            }
        };
        if action.handler == libc::SIG_DFL || action.handler == libc::SIG_IGN {
            continue;
        }
        all |= bit(signal);
        let restarts = action.flags & libc::SA_RESTART as usize != 0;
        let interrupts = match interruptible {
            Interruptible::Never => false,
            Interruptible::UnlessRestarted => !restarts,
            Interruptible::Always => true,
        };
        if interrupts {
            interrupting |= bit(signal);
        }
    }
    (all, interrupting)
}

/// Sets the mask of this thread, and returns the one there was.
fn set_mask(how: i32, set: SignalSet) -> Result<SignalSet, Errno> {
    let mut before: SignalSet = 0;
    let (from, to) = ((&raw const set) as usize, (&raw mut before) as usize);
    // SAFETY: the pointers are those of signal sets.
    unsafe { syscall(libc::SYS_rt_sigprocmask, [how as usize, from, to, 8, 0, 0]) }?;
    Ok(before)
}

/// Handled signals, held back until this is dropped.
#[derive(Debug)]
pub struct HeldSignals {
    /// The mask of the program; `None` where nothing is held back.
    before: Option<SignalSet>,
    held: SignalSet,
    interrupting: SignalSet,
    watch: Option<Fd>,
}

impl HeldSignals {
    /// Holds back the signals that have handlers. Costs no more than a look at the
    /// handlers where there are none.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn hold(interruptible: Interruptible) -> Result<Self, Errno> {
        let (all, interrupting) = handled(interruptible);
        let mut this = Self {
            before: None,
            held: 0,
            interrupting,
            watch: None,
        };
        if all == 0 {
            return Ok(this);
        }
        let before = set_mask(libc::SIG_BLOCK, all)?;
        this.before = Some(before);
        this.held = all & !before;
        let from = (&raw const this.held) as usize;
        let flags = (libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) as usize;
        // SAFETY: the pointer is that of a set.
        let open = || unsafe { syscall(libc::SYS_signalfd4, [usize::MAX, from, 8, flags, 0, 0]) };
        this.watch = Some(Fd::open_high(open)?);
        Ok(this)
    }

    /// A descriptor that is readable once a signal is being held back; negative when
    /// there is none to watch.
    #[must_use]
    pub fn watch(&self) -> i32 {
        self.watch.as_ref().map_or(-1, Fd::number)
    }

    /// Whether one of those that interrupt is being held back.
    #[must_use]
    pub fn interrupts(&self) -> bool {
        let mut pending: SignalSet = 0;
        let to = (&raw mut pending) as usize;
        // SAFETY: there is room for the set.
        let asked = unsafe { syscall(libc::SYS_rt_sigpending, [to, 8, 0, 0, 0, 0]) };
        asked.is_ok() && pending & self.held & self.interrupting != 0
    }
}

/// All signals but those of faults, held back until this is dropped: for what waits for
/// nothing, or for no longer than a moment. It costs two system calls, where to look which
/// of them have handlers costs sixty.
#[derive(Debug)]
pub struct AllHeld {
    /// The mask of the program.
    before: SignalSet,
}

impl AllHeld {
    /// Holds them back.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn hold() -> Result<Self, Errno> {
        let faults = OF_FAULTS
            .iter()
            .fold(0, |set, signal| set | bit(*signal as usize));
        let before = set_mask(libc::SIG_BLOCK, !faults)?;
        Ok(Self { before })
    }
}

impl Drop for AllHeld {
    fn drop(&mut self) {
        // It was the program's mask a moment ago.
        let _ = set_mask(libc::SIG_SETMASK, self.before);
    }
}

impl Drop for HeldSignals {
    fn drop(&mut self) {
        // Handlers run in here, and may not come back: nothing of ours is open.
        self.watch = None;
        if let Some(before) = self.before {
            // It was the program's mask a moment ago.
            let _ = set_mask(libc::SIG_SETMASK, before);
        }
    }
}
