//! The responder's end of the tunnels: a thread that gives the service what agents
//! relay to it, and the agents what it answers.

use std::io;
use std::net::Ipv6Addr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use aarp_core::relay::Dropped;
use aarp_sys::raw6::RawSender;
use aarp_sys::tun::Tun;
use aarp_sys::tunnel::Tunnel;
use parking_lot::Mutex;
use rustix::event::{EventfdFlags, eventfd};

mod mover;

use mover::Mover;

/// The tunnels of one unicast address.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) tunnel: Tunnel,
    /// The anycast addresses behind it, each with its agents, the preferred one first.
    pub(crate) anycasts: Vec<(Ipv6Addr, Vec<Ipv6Addr>)>,
    /// Those of them whose answers go straight.
    pub(crate) direct: Vec<Ipv6Addr>,
    /// Every address of this host: no initiator has one of these.
    pub(crate) own: Vec<Ipv6Addr>,
    /// Those of them whose initiators are offered route optimisation.
    pub(crate) optimized: Vec<Ipv6Addr>,
}

impl End {
    fn agents(&self, anycast: Ipv6Addr) -> &[Ipv6Addr] {
        let found = self.anycasts.iter().find(|(a, _)| *a == anycast);
        found.map_or(&[], |(_, agents)| agents)
    }

    fn has_agent(&self, agent: Ipv6Addr) -> bool {
        let mut all = self.anycasts.iter();
        all.any(|(_, agents)| agents.contains(&agent))
    }
}

/// What the thread has counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) delivered: AtomicU64,
    pub(crate) returned: AtomicU64,
    pub(crate) probe_answers: AtomicU64,
    pub(crate) straight: AtomicU64,
    pub(crate) not_sent: AtomicU64,
    pub(crate) path_errors: AtomicU64,
    /// Initiators that were offered route optimisation, and those that refused.
    pub(crate) asked: AtomicU64,
    pub(crate) refusing: AtomicU64,
    pub(crate) refused: [AtomicU64; Dropped::ALL.len()],
    pub(crate) dropped: [AtomicU64; Dropped::ALL.len()],
}

fn count(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}

/// The running thread.
pub(crate) struct Ends {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    ends: Mutex<Arc<Vec<End>>>,
    counters: Arc<Counters>,
    /// Readable when the ends are others, or the thread is to stop.
    wake: OwnedFd,
    /// Readable when the thread has ended.
    ended: OwnedFd,
    stop: std::sync::atomic::AtomicBool,
}

impl Shared {
    fn new(counters: Arc<Counters>) -> io::Result<Arc<Self>> {
        let event = || eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        Ok(Arc::new(Self {
            ends: Mutex::default(),
            counters,
            wake: event()?,
            ended: event()?,
            stop: false.into(),
        }))
    }
}

/// Tells that the thread has ended, also when it panics: an address whose packets nobody
/// moves must not stay registered.
struct Tells(Arc<Shared>);

impl Drop for Tells {
    fn drop(&mut self) {
        signal(&self.0.ended);
    }
}

impl Ends {
    /// Starts the thread, without any end so far.
    pub(crate) fn start(
        tun: Arc<Tun>,
        sender: RawSender,
        counters: Arc<Counters>,
        say: fn(&str),
    ) -> io::Result<Self> {
        let shared = Shared::new(counters)?;
        let mover = Mover::new(tun, sender, Arc::clone(&shared));
        Self::spawn(shared, move || {
            if let Err(error) = mover.run() {
                say(&format!("tunnel: {error}"));
            }
        })
    }

    fn spawn(shared: Arc<Shared>, work: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let tells = Tells(Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("tunnel".to_owned())
            .stack_size(256 << 10)
            .spawn(move || {
                let _tells = tells;
                work();
            })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Has it serve these ends from now on.
    pub(crate) fn set(&self, ends: Vec<End>) {
        *self.shared.ends.lock() = Arc::new(ends);
        signal(&self.shared.wake);
    }

    /// Readable when the thread has ended.
    pub(crate) fn ended(&self) -> &OwnedFd {
        &self.shared.ended
    }

    /// Whether it has.
    pub(crate) fn has_ended(&self) -> bool {
        rustix::io::read(&self.shared.ended, &mut [0; 8]).is_ok()
    }
}

impl Drop for Ends {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        signal(&self.shared.wake);
        if let Some(thread) = self.thread.take() {
            // What failed in it was said.
            let _ = thread.join();
        }
    }
}

/// Makes an event descriptor readable.
fn signal(event: &OwnedFd) {
    // Fails only when it is readable already, 2^64 - 1 times.
    let _ = rustix::io::write(event, &1_u64.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_thread_is_told_however_it_ends() {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let works: [fn(); 2] = [|| {}, || panic!("as if a packet had broken it")];
        for work in works {
            let shared = Shared::new(Arc::default()).unwrap();
            let ends = Ends::spawn(shared, work).unwrap();
            let within = Timespec {
                tv_sec: 30,
                tv_nsec: 0,
            };
            let ready = poll(
                &mut [PollFd::new(ends.ended(), PollFlags::IN)],
                Some(&within),
            );
            assert_eq!(ready, Ok(1));
            assert!(ends.has_ended());
        }
    }
}
