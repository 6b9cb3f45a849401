//! What stands between the ends of a link with a delay or a rate, where the
//! kernel has no netem: a thread that passes frames on when their time has come.
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aarp_sys::packet::{Ring, RingSize, sharpen_timeouts};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::Result;
use crate::error::Context;

/// Octets under way in one direction before the relay, like any queue, drops.
const QUEUE: usize = 128 << 20;

/// How long a frame that the other end has no room for waits for the next try.
const RETRY: Duration = Duration::from_micros(100);

/// Delay and rate of one direction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) delay: Duration,
    pub(crate) bits_per_second: Option<u64>,
}

/// A relay at work; it ends when dropped.
#[derive(Debug)]
pub(crate) struct Relay {
    stop: Arc<OwnedFd>,
    lost: Arc<AtomicU64>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Relay {
    /// How the memory of a relay's rings is divided for an MTU.
    pub(crate) fn ring_size(mtu: u32) -> RingSize {
        // The kernel's header, the link layer's, and a VLAN tag.
        let slot = (mtu as usize + 128).next_power_of_two();
        let slots = RingSize::FRAMES.slot * RingSize::FRAMES.slots / slot;
        RingSize { slot, slots }
    }

    pub(crate) fn start(name: &str, ends: [Ring; 2], shape: Shape) -> Result<Self> {
        let stop = Arc::new(
            eventfd(0, EventfdFlags::CLOEXEC).context(|| "make an event descriptor".into())?,
        );
        let lost = Arc::new(AtomicU64::new(0));
        let (stopped, counter) = (Arc::clone(&stop), Arc::clone(&lost));
        let thread = std::thread::Builder::new()
            .name(format!("relay {name}"))
            .spawn(move || relay(ends, shape, &stopped, &counter))
            .context(|| format!("start the relay of {name}"))?;
        Ok(Self {
            stop,
            lost,
            thread: Some(thread),
        })
    }

    /// Frames lost so far, for want of room or because an end was down.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // Fails for no reason but a descriptor that is not ours.
        let _ = rustix::io::write(&*self.stop, &1u64.to_ne_bytes());
        if let Some(thread) = self.thread.take()
            && let Ok(Err(error)) = thread.join()
        {
            eprintln!("aarp-lab: a relay had ended: {error}");
        }
    }
}

/// One direction of a link.
struct Lane {
    shape: Shape,
    waiting: VecDeque<(Instant, Box<[u8]>)>,
    octets: usize,
    /// When the last frame will have left the sender.
    free: Instant,
}

impl Lane {
    fn new(shape: Shape) -> Self {
        Self {
            shape,
            waiting: VecDeque::new(),
            octets: 0,
            free: Instant::now(),
        }
    }

    /// Takes a frame that arrived at `arrival`; false when there is no room.
    fn accept(&mut self, arrival: Instant, frame: &[u8]) -> bool {
        if self.octets + frame.len() > QUEUE {
            return false;
        }
        let mut leaves = arrival;
        if let Some(rate) = self.shape.bits_per_second {
            let nanoseconds = frame.len() as u64 * 8 * 1_000_000_000 / rate;
            leaves = leaves.max(self.free) + Duration::from_nanos(nanoseconds);
            self.free = leaves;
        }
        self.octets += frame.len();
        self.waiting
            .push_back((leaves + self.shape.delay, frame.into()));
        true
    }

    /// Sends what is due; returns when to be called again, and the losses.
    fn deliver(&mut self, out: &Ring, now: Instant) -> (Option<Instant>, u64) {
        let mut lost = 0;
        while let Some((due, frame)) = self.waiting.front() {
            if *due > now {
                return (Some(*due), lost);
            }
            match out.send(frame) {
                Ok(()) => {}
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock
                        || error.raw_os_error()
                            == Some(rustix::io::Errno::NOBUFS.raw_os_error()) =>
                {
                    return (Some(now + RETRY), lost);
                }
                // The other end is down: what arrives there is lost, as on a wire.
                Err(_) => lost += 1,
            }
            self.octets -= frame.len();
            self.waiting.pop_front();
        }
        (None, lost)
    }
}

fn relay(mut ends: [Ring; 2], shape: Shape, stop: &OwnedFd, lost: &AtomicU64) -> io::Result<()> {
    sharpen_timeouts()?;
    let mut lanes = [Lane::new(shape), Lane::new(shape)];
    loop {
        for (lane, end) in lanes.iter_mut().zip(&mut ends) {
            let mut refused = 0;
            end.drain(|frame| {
                // From when the kernel had it, not from when this thread was
                // scheduled. The wall clock is read first: a thread that has to
                // wait in between takes the frame for younger, never for older.
                // A step of the wall clock makes an error of one delay at most.
                let wall = SystemTime::now();
                let now = Instant::now();
                let wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
                let age = wall.saturating_sub(frame.time).min(shape.delay);
                if !lane.accept(now - age, frame.data) {
                    refused += 1;
                }
            });
            lost.fetch_add(refused, Ordering::Relaxed);
        }
        let now = Instant::now();
        let mut next: Option<Instant> = None;
        for (lane, out) in lanes.iter_mut().zip(ends.iter().rev()) {
            let (due, gone) = lane.deliver(out, now);
            lost.fetch_add(gone, Ordering::Relaxed);
            next = [next, due].into_iter().flatten().min();
        }
        let timeout = next.map(|due| {
            let left = due.saturating_duration_since(Instant::now());
            Timespec {
                tv_sec: left.as_secs().cast_signed(),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        let mut fds = [
            PollFd::new(&ends[0], PollFlags::IN),
            PollFd::new(&ends[1], PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if !fds[2].revents().is_empty() {
            return Ok(());
        }
        let failed = [0, 1].map(|end: usize| fds[end].revents().contains(PollFlags::ERR));
        for (end, failed) in ends.iter().zip(failed) {
            if failed {
                end.take_error()?;
            }
        }
    }
}
