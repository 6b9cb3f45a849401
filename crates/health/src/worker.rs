//! One check on its thread.

use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::command::{self, Undead};
use crate::exchange;
use crate::monitor::{Assignment, Shared, hush};
use crate::patience::{Halt, Patience};
use crate::settings::{Check, Kind, Outcome};

/// The first check is done after a random part of this, and at the most of a quarter of
/// the interval: what starts together is not asked together, and not kept waiting.
const FIRST: Duration = Duration::from_millis(250);

/// An interval is longer or shorter by up to a tenth, so that checks that came to fall
/// together part again.
const SPREAD: f64 = 0.1;

/// `random` is from 0 to 1, 1 excluded.
fn first_pause(interval: Duration, random: f64) -> Duration {
    FIRST.min(interval / 4).mul_f64(random)
}

fn spread(interval: Duration, random: f64) -> Duration {
    interval.mul_f64(1.0 + SPREAD * (2.0 * random - 1.0))
}

impl Check {
    /// Does the check once; `unicast` is asked unless it has an address of its own.
    /// Takes no longer than the timeout, and half a second where a program that was
    /// killed does not go.
    #[must_use]
    pub fn run(&self, unicast: Ipv6Addr) -> Outcome {
        let address = self.address.unwrap_or(unicast);
        match self.attempt(address, None, &mut Undead::default()) {
            Some(outcome) => outcome,
            // Nobody could.
            None => Outcome {
                result: Err("called off".into()),
                latency: Duration::ZERO,
            },
        }
    }

    /// `None`: it was called off.
    fn attempt(
        &self,
        address: Ipv6Addr,
        call: Option<BorrowedFd<'_>>,
        undead: &mut Undead,
    ) -> Option<Outcome> {
        let start = Instant::now();
        let patience = Patience::new(self.timeout, call);
        let result = match &self.kind {
            Kind::Tcp { port } => exchange::tcp(address, *port, &patience),
            Kind::Http(http) => exchange::http(http, address, &patience),
            Kind::Udp(udp) => exchange::udp(udp, address, &patience),
            Kind::Dns(dns) => exchange::dns(dns, address, &patience),
            Kind::Command(command) => command::run(self, command, address, &patience, undead),
        };
        let result = match result {
            Ok(()) => Ok(()),
            Err(Halt::Failed(why)) => Err(why),
            Err(Halt::TimeOver) => Err(format!("no answer {}", patience.within())),
            Err(Halt::CalledOff) => return None,
        };
        let latency = start.elapsed();
        Some(Outcome { result, latency })
    }
}

/// Does one check again and again until it is told to stop.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    call: Arc<OwnedFd>,
    index: usize,
    check: Check,
}

impl Worker {
    pub(crate) fn new(shared: Arc<Shared>, call: Arc<OwnedFd>, index: usize, check: Check) -> Self {
        Self {
            shared,
            call,
            index,
            check,
        }
    }

    pub(crate) fn run(self) {
        let mut undead = Undead::default();
        let mut pause = first_pause(self.check.interval, fastrand::f64());
        loop {
            // A call that came before this is answered by looking.
            if self.sleep(pause) {
                hush(&self.call);
            }
            let Assignment::Ask(address, generation) = self.shared.assignment(self.index) else {
                return;
            };
            let start = Instant::now();
            let attempt = catch_unwind(AssertUnwindSafe(|| {
                self.check
                    .attempt(address, Some(self.call.as_fd()), &mut undead)
            }));
            let outcome = attempt.unwrap_or_else(|_| {
                let result = Err("a fault in the check itself".into());
                let latency = start.elapsed();
                Some(Outcome { result, latency })
            });
            pause = match outcome {
                Some(outcome) => {
                    self.shared.record(self.index, generation, outcome);
                    spread(self.check.interval, fastrand::f64()).saturating_sub(start.elapsed())
                }
                None => Duration::ZERO,
            };
        }
    }

    /// Whether it was called before the time was over.
    fn sleep(&self, pause: Duration) -> bool {
        let patience = Patience::new(pause, Some(self.call.as_fd()));
        match patience.poll(&mut Vec::new()) {
            Err(Halt::CalledOff) => true,
            Err(Halt::TimeOver) | Ok(()) => false,
            // Without poll there is no check either, but that is for the check to say;
            // it must not be said in a tight loop.
            Err(Halt::Failed(_)) => {
                std::thread::sleep(pause.min(Duration::from_secs(1)));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_do_not_stay_together_and_keep_their_interval() {
        let (ms, half) = (Duration::from_millis, 0.5);
        assert_eq!(first_pause(ms(2000), 0.0), ms(0));
        assert_eq!(first_pause(ms(2000), half), ms(125));
        assert_eq!(first_pause(ms(100), half).as_micros(), 12_500);
        for (random, expected) in [(0.0, 1800), (half, 2000), (1.0, 2200)] {
            let milliseconds = spread(ms(2000), random).as_secs_f64() * 1000.0;
            assert_eq!(milliseconds.round() as u64, expected);
        }
    }
}
