//! Which signals would interrupt a call that the program makes.
//!
//! The kernel restarts an interrupted connect(2) after a handler that was
//! installed with `SA_RESTART`, and fails it with `EINTR` after any other. A wait
//! of ours in its place must do the same, and poll(2) alone cannot tell the two
//! apart.

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

/// What a signal does to a wait.
#[derive(Debug)]
pub enum Interruption {
    /// Nothing: the wait goes on after any handler.
    Restarts,
    /// It ends the wait.
    Interrupts,
    /// Some do and some do not. Those that do are blocked during the wait, and
    /// seen through the descriptor.
    Mixed {
        /// Readable once a signal that interrupts is pending.
        pending: Fd,
        /// The mask to wait with.
        mask: SignalSet,
    },
}

impl Interruption {
    /// Looks at the handlers that the program has installed.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn of_this_process() -> Result<Self, Errno> {
        let mut interrupting: SignalSet = 0;
        let mut restarting: SignalSet = 0;
        for signal in 1..=64usize {
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
            let bit = 1 << (signal - 1);
            if action.flags & libc::SA_RESTART as usize != 0 {
                restarting |= bit;
            } else {
                interrupting |= bit;
            }
        }
        if interrupting == 0 {
            return Ok(Self::Restarts);
        }
        if restarting == 0 {
            return Ok(Self::Interrupts);
        }
        let mut blocked: SignalSet = 0;
        let to = (&raw mut blocked) as usize;
        // SAFETY: there is room for the set.
        unsafe {
            syscall(
                libc::SYS_rt_sigprocmask,
                [libc::SIG_BLOCK as usize, 0, to, 8, 0, 0],
            )
        }?;
        let watched = interrupting & !blocked;
        let from = (&raw const watched) as usize;
        let flags = (libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) as usize;
        // SAFETY: the pointer is that of a set.
        let number = unsafe { syscall(libc::SYS_signalfd4, [usize::MAX, from, 8, flags, 0, 0]) }?;
        Ok(Self::Mixed {
            pending: Fd::adopt(number)?,
            mask: blocked | watched,
        })
    }

    /// The descriptor to wait for besides the others, and the mask to wait with.
    #[must_use]
    pub fn wait_with(&self) -> Option<(i32, SignalSet)> {
        match self {
            Self::Mixed { pending, mask } => Some((pending.number(), *mask)),
            Self::Restarts | Self::Interrupts => None,
        }
    }
}
