//! The signals that a daemon hears of, as a descriptor among others that it waits for.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::HostError;

/// What a signal wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// That the program ends, by this signal.
    End(usize),
    /// That what can be read again is.
    Reload,
}

/// The signals that are heard: those that end a program no longer end this one, nor does
/// SIGHUP, as of a terminal that is closed. Readable when one has come.
#[derive(Debug)]
pub struct Signals {
    pipe: UnixStream,
    last: Arc<AtomicUsize>,
    reload: Arc<AtomicBool>,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// [`HostError::System`].
    pub fn open() -> Result<Self, HostError> {
        let failed = |error: io::Error| HostError::system("install signal handlers", error);
        let (pipe, sender) = UnixStream::pair().map_err(failed)?;
        pipe.set_nonblocking(true).map_err(failed)?;
        let (last, reload) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        signal_hook::flag::register(SIGHUP, Arc::clone(&reload)).map_err(failed)?;
        for signal in [SIGINT, SIGTERM, SIGQUIT] {
            let number = usize::try_from(signal).unwrap_or_default();
            signal_hook::flag::register_usize(signal, Arc::clone(&last), number).map_err(failed)?;
        }
        // Behind what it tells of: whoever reads from it finds that.
        for signal in [SIGINT, SIGTERM, SIGQUIT, SIGHUP] {
            let sender = sender.try_clone().map_err(failed)?;
            signal_hook::low_level::pipe::register(signal, sender).map_err(failed)?;
        }
        Ok(Self { pipe, last, reload })
    }

    /// The signal that is to end the program, if one has come; without waiting.
    pub fn ending(&mut self) -> Option<usize> {
        // What is in it does not matter; it must not stay readable.
        while matches!(self.pipe.read(&mut [0; 16]), Ok(count) if count > 0) {}
        match self.last.swap(0, Ordering::Relaxed) {
            0 => None,
            signal => Some(signal),
        }
    }

    /// What is wanted, without waiting; the end before all else.
    pub fn take(&mut self) -> Option<Wanted> {
        if let Some(signal) = self.ending() {
            return Some(Wanted::End(signal));
        }
        let reload = self.reload.swap(false, Ordering::Relaxed);
        reload.then_some(Wanted::Reload)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
