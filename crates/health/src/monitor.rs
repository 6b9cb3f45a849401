//! The checks of one service while they run.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};
use rustix::io::{Errno, read, write};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::hysteresis::{Change, Hysteresis, State, combine};
use crate::settings::{Check, Outcome};
use crate::worker::Worker;

/// Stack of a check's thread, in octets; of which the kernel provides what is used.
const STACK: usize = 128 * 1024;

/// Events that nobody has fetched; of more, the oldest are forgotten.
const EVENTS_MAX: usize = 256;

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// One check, by its place in the list.
    Check(usize),
    /// The service: all of them together.
    Service,
}

/// A change of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When, by `CLOCK_BOOTTIME`.
    pub at: Duration,
    /// Of what.
    pub subject: Subject,
    /// From what.
    pub from: State,
    /// To what.
    pub to: State,
    /// Why, in words.
    pub reason: String,
    /// How long the check took that decided.
    pub latency: Duration,
}

/// How one check stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckStatus {
    /// Its short form.
    pub check: String,
    /// What is held of it.
    pub state: State,
    /// Since when, by `CLOCK_BOOTTIME`.
    pub since: Duration,
    /// What its last result was, in words; empty before the first.
    pub reason: String,
    /// How long that took.
    pub latency: Duration,
    /// Results so far that were good.
    pub successes: u64,
    /// Results so far that were not.
    pub failures: u64,
}

/// One check as the threads share it.
#[derive(Debug)]
struct Entry {
    label: String,
    decision: Hysteresis,
    last: Option<Outcome>,
    successes: u64,
    failures: u64,
    /// Whom it asks; counts up when that changes, so that what an old one said is not
    /// taken for the new one's.
    address: Ipv6Addr,
    generation: u64,
}

impl Entry {
    fn new(check: &Check, unicast: Ipv6Addr, at: Duration) -> Self {
        Self {
            label: check.to_string(),
            decision: Hysteresis::new(check.rise, check.fall, at),
            last: None,
            successes: 0,
            failures: 0,
            address: check.address.unwrap_or(unicast),
            generation: 0,
        }
    }
}

#[derive(Debug)]
struct Held {
    entries: Vec<Entry>,
    service: State,
    events: VecDeque<Event>,
    stop: bool,
}

/// What the monitor and its threads share.
#[derive(Debug)]
pub(crate) struct Shared {
    held: Mutex<Held>,
    /// Readable while there are events.
    bell: OwnedFd,
}

/// The time of events.
fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    // Neither is ever negative.
    Duration::try_from(time).unwrap_or_default()
}

/// What a thread is to do next.
pub(crate) enum Assignment {
    /// Ask this address.
    Ask(Ipv6Addr, u64),
    Stop,
}

impl Shared {
    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing panics while it is held.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn assignment(&self, index: usize) -> Assignment {
        let held = self.held();
        match held.entries.get(index) {
            Some(entry) if !held.stop => Assignment::Ask(entry.address, entry.generation),
            _ => Assignment::Stop,
        }
    }

    /// Takes in a result, unless it is one of an earlier generation.
    pub(crate) fn record(&self, index: usize, generation: u64, outcome: Outcome) {
        let at = now();
        let mut held = self.held();
        let Some(entry) = held.entries.get_mut(index) else {
            return;
        };
        if entry.generation != generation {
            return;
        }
        let success = outcome.result.is_ok();
        let count = if success {
            &mut entry.successes
        } else {
            &mut entry.failures
        };
        *count = count.saturating_add(1);
        let (reason, latency) = (outcome.reason().to_owned(), outcome.latency);
        let change = entry.decision.record(at, success);
        entry.last = Some(outcome);
        if let Some(change) = change {
            let subject = Subject::Check(index);
            self.tell(&mut held, at, subject, change, reason, latency);
            self.weigh(&mut held, at, latency);
        }
    }

    /// Tells if the service as a whole has changed.
    fn weigh(&self, held: &mut Held, at: Duration, latency: Duration) {
        let to = combine(held.entries.iter().map(|entry| entry.decision.state()));
        let from = std::mem::replace(&mut held.service, to);
        if from != to {
            let reason = held.service_reason();
            self.tell(
                held,
                at,
                Subject::Service,
                Change { from, to },
                reason,
                latency,
            );
        }
    }

    fn tell(
        &self,
        held: &mut Held,
        at: Duration,
        subject: Subject,
        Change { from, to }: Change,
        reason: String,
        latency: Duration,
    ) {
        if held.events.len() == EVENTS_MAX {
            held.events.pop_front();
        }
        held.events.push_back(Event {
            at,
            subject,
            from,
            to,
            reason,
            latency,
        });
        ring(&self.bell);
    }
}

impl Held {
    fn service_reason(&self) -> String {
        let down = self
            .entries
            .iter()
            .filter(|e| e.decision.state() == State::Down);
        let reasons: Vec<String> = down
            .map(|entry| match &entry.last {
                Some(outcome) => format!("{}: {}", entry.label, outcome.reason()),
                None => entry.label.clone(),
            })
            .collect();
        if !reasons.is_empty() {
            return reasons.join("; ");
        }
        match (self.service, self.entries.len()) {
            (State::Up, 0) => "no checks".into(),
            (State::Up, _) => "all checks succeed".into(),
            _ => "no result yet".into(),
        }
    }
}

/// Makes an eventfd readable.
fn ring(bell: &OwnedFd) {
    // The only error there can be is that the count is full: it is readable then.
    let _ = write(bell, &1_u64.to_ne_bytes());
}

/// Makes an eventfd unreadable.
pub(crate) fn hush(bell: impl AsFd) {
    // The only error there can be is that it is unreadable already.
    let _: Result<usize, Errno> = read(bell, &mut [0_u8; 8]);
}

#[derive(Debug)]
struct Thread {
    /// Written to when its assignment has changed.
    call: Arc<OwnedFd>,
    handle: JoinHandle<()>,
    follows_unicast: bool,
}

/// Runs the checks of one service, each on a thread with a small stack.
///
/// Changes of state are told as [`Event`]s. The descriptor that [`AsFd`] gives is
/// readable while there are some; it is never to be read from, that is what
/// [`Monitor::events`] does.
///
/// Dropping it stops all threads and ends their programs, without waiting for any
/// service.
#[derive(Debug)]
pub struct Monitor {
    shared: Arc<Shared>,
    threads: Vec<Thread>,
}

impl Monitor {
    /// Starts to run `checks`; those without an `address` of their own ask `unicast`.
    /// A service without checks is up at once.
    ///
    /// # Errors
    /// The system gives no thread, or no descriptor.
    pub fn start(checks: Vec<Check>, unicast: Ipv6Addr) -> io::Result<Self> {
        let at = now();
        let entries = checks.iter().map(|check| Entry::new(check, unicast, at));
        let held = Held {
            entries: entries.collect(),
            service: State::Unknown,
            events: VecDeque::new(),
            stop: false,
        };
        let mut monitor = Self {
            shared: Arc::new(Shared {
                held: Mutex::new(held),
                bell: new_bell()?,
            }),
            threads: Vec::with_capacity(checks.len()),
        };
        if checks.is_empty() {
            let mut held = monitor.shared.held();
            monitor.shared.weigh(&mut held, at, Duration::ZERO);
        }
        for (index, check) in checks.into_iter().enumerate() {
            let call = Arc::new(new_bell()?);
            let follows_unicast = check.follows_unicast();
            let name = format!("check {}", check.kind.name());
            let worker = Worker::new(Arc::clone(&monitor.shared), Arc::clone(&call), index, check);
            let handle = std::thread::Builder::new()
                .name(name)
                .stack_size(STACK)
                .spawn(move || worker.run())?;
            monitor.threads.push(Thread {
                call,
                handle,
                follows_unicast,
            });
        }
        Ok(monitor)
    }

    /// What is held of the service.
    #[must_use]
    pub fn state(&self) -> State {
        self.shared.held().service
    }

    /// How each check stands, in their order.
    #[must_use]
    pub fn status(&self) -> Vec<CheckStatus> {
        let held = self.shared.held();
        let entries = held.entries.iter().map(|entry| CheckStatus {
            check: entry.label.clone(),
            state: entry.decision.state(),
            since: entry.decision.since(),
            reason: entry
                .last
                .as_ref()
                .map_or_else(String::new, |last| last.reason().to_owned()),
            latency: entry
                .last
                .as_ref()
                .map_or(Duration::ZERO, |last| last.latency),
            successes: entry.successes,
            failures: entry.failures,
        });
        entries.collect()
    }

    /// What has changed since the last call, in order; never waits. A service whose
    /// events are not fetched loses the oldest after 256; [`state`](Self::state) is
    /// right even so.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        let mut held = self.shared.held();
        hush(&self.shared.bell);
        held.events.drain(..).collect()
    }

    /// U is another one from now on. The checks that follow it are done at once; each
    /// keeps its state until then, and its next result decides alone.
    pub fn set_unicast(&self, unicast: Ipv6Addr) {
        let mut held = self.shared.held();
        for (entry, thread) in held.entries.iter_mut().zip(&self.threads) {
            if thread.follows_unicast && entry.address != unicast {
                entry.address = unicast;
                entry.generation += 1;
                entry.decision.begin_anew();
                ring(&thread.call);
            }
        }
    }
}

fn new_bell() -> io::Result<OwnedFd> {
    Ok(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)
}

impl AsFd for Monitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.bell.as_fd()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.shared.held().stop = true;
        for thread in &self.threads {
            ring(&thread.call);
        }
        for thread in self.threads.drain(..) {
            // Its panics are caught and told as failures.
            let _ = thread.handle.join();
        }
    }
}

#[cfg(test)]
#[path = "monitor_tests.rs"]
mod tests;
