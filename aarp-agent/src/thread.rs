//! The thread of the relay.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;

use aarp_host::failure::Failure;
use aarp_sys::tun::Tun;
use aarp_sys::tunnel::Tunnel;
use rustix::event::{EventfdFlags, eventfd};

use crate::counters::Counters;
use crate::relay::{Bindings, Relay};
use crate::say;

/// The relay's thread, which is told to stop when this goes away.
pub(crate) struct RelayThread {
    stop: OwnedFd,
    thread: Option<JoinHandle<()>>,
    ended: OwnedFd,
}

/// Tells that the thread has ended, also when it panics: an agent that does not relay
/// must not go on answering updates.
struct Tells(OwnedFd);

impl Drop for Tells {
    fn drop(&mut self) {
        signal(&self.0);
    }
}

impl RelayThread {
    /// Relays from now on.
    pub(crate) fn start<B: Bindings + 'static>(
        tun: Tun,
        tunnel: Tunnel,
        bindings: Arc<B>,
        counters: Arc<Counters>,
    ) -> Result<Self, Failure> {
        let stop = event()?;
        let told = stop
            .try_clone()
            .map_err(|error| Failure::system("copy an event descriptor", error))?;
        let relay = Relay {
            tun,
            tunnel,
            bindings,
            counters,
            stop: told,
        };
        Self::spawn(stop, move || {
            if let Err(error) = relay.run() {
                say(&format!("relay: {error}"));
            }
        })
    }

    fn spawn(stop: OwnedFd, work: impl FnOnce() + Send + 'static) -> Result<Self, Failure> {
        let ended = event()?;
        let tells = ended
            .try_clone()
            .map_err(|error| Failure::system("copy an event descriptor", error))?;
        let tells = Tells(tells);
        let thread = std::thread::Builder::new()
            .name("relay".to_owned())
            .spawn(move || {
                let _tells = tells;
                work();
            })
            .map_err(|error| Failure::system("start the relay's thread", error))?;
        Ok(Self {
            stop,
            thread: Some(thread),
            ended,
        })
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&self) -> bool {
        rustix::io::read(&self.ended, &mut [0; 8]).is_ok()
    }

    /// Readable when it has ended.
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

impl Drop for RelayThread {
    fn drop(&mut self) {
        signal(&self.stop);
        if let Some(thread) = self.thread.take() {
            // What failed in it was said.
            let _ = thread.join();
        }
    }
}

fn event() -> Result<OwnedFd, Failure> {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
        .map_err(|error| Failure::system("make an event descriptor", error))
}

/// Makes an event descriptor readable.
fn signal(event: &OwnedFd) {
    // Fails only when it is readable already, a 2^64 - 1 times.
    let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    use super::*;

    /// Whether the end of a thread that does this is heard of.
    fn is_heard(work: impl FnOnce() + Send + 'static) -> bool {
        let thread = RelayThread::spawn(event().unwrap(), work).unwrap();
        let within = Timespec {
            tv_sec: 20,
            tv_nsec: 0,
        };
        let mut fds = [PollFd::from_borrowed_fd(thread.ended(), PollFlags::IN)];
        poll(&mut fds, Some(&within)) == Ok(1) && thread.has_ended()
    }

    #[test]
    fn an_end_is_told_and_a_panic_too() {
        assert!(is_heard(|| {}));
        assert!(is_heard(|| panic!("on purpose, in a test")));
    }
}
