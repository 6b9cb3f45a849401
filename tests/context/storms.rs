//! Storms of forks, of signals and of cancellations. Each program says itself who is
//! stuck, after so many seconds, and what is wrong.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aarp_lab::Command;

use crate::{A, Place, Reply, finish, stage, with_place};

/// Nobody does one thing for longer, on a machine however slow.
const STUCK: u32 = 60;

/// One of the storms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storm {
    Forks,
    Signals,
    Cancellations,
    /// No storm: one thing after the other, each at another instruction.
    Steps,
}

impl Storm {
    /// Compiles its program.
    pub fn program(self, place: &Place) -> PathBuf {
        let (name, source) = match self {
            Storm::Forks => ("forks", include_str!("fork.c")),
            Storm::Signals => ("signals", include_str!("signals.c")),
            Storm::Cancellations => ("cancellations", include_str!("cancel.c")),
            Storm::Steps => ("steps", include_str!("steps.c")),
        };
        place.compile(name, source, &[])
    }

    /// The command that lets it rage: so many forks, seconds, or cancellations; or
    /// instructions from one step to the next.
    pub fn command<'p>(
        self,
        place: &'p Place,
        library: &Path,
        size: u32,
        stuck: u32,
    ) -> Command<'p> {
        let command = place.preloaded(&self.program(place), &[library]);
        let command = match self {
            // Some wait until it is over that nobody answers.
            Storm::Cancellations => command.env("AARP_BUDGET", "20ms"),
            // Not all wait for what they have asked: U is silent for them, by and by.
            Storm::Forks | Storm::Signals | Storm::Steps => command.env("AARP_REFUTED", "1ms"),
        };
        let numbers = [size, stuck].map(|number| number.to_string());
        command.arg(A.to_string()).args(numbers)
    }

    fn rages(self, size: u32, check: impl FnOnce(&Reply)) {
        with_place(|place| {
            let command = self.command(place, &stage::library(), size, STUCK);
            let run = finish(command.limit(Duration::from_secs(3000)));
            println!("{}{}", run.text, run.counters.log);
            check(&run.reply());
        });
    }
}

/// Children are their parent's equals: they are pinned, nothing of it shows, and none
/// waits for what a thread held that they do not have.
fn forks(size: u32) {
    Storm::Forks.rages(size, |reply| {
        let number = |key| reply.number(key);
        assert_eq!(number("forks"), u64::from(size));
        // For want of a place in a table one may be left unpinned, now and then.
        assert!(number("unmoved") <= u64::from(size) / 100, "{reply:?}");
        // The threads have waited for some answers, and known them for their own.
        assert!(number("own") > 0, "{reply:?}");
    });
}

fn signals(seconds: u32) {
    Storm::Signals.rages(seconds, |reply| {
        let number = |key| reply.number(key);
        // What has run, and not what the timer would have had: an overrun is no handler.
        // How long that takes is the machine's affair, and `rate` says so.
        assert!(number("runs") >= u64::from(seconds) * 10_000, "{reply:?}");
        assert!(number("in_library") >= number("runs") / 100, "{reply:?}");
        assert!(
            number("in_allocator") > 0 && number("jumps") > 0,
            "{reply:?}"
        );
        assert!(number("moved") > 0, "{reply:?}");
        assert!(number("own_moved") >= number("turns") / 2, "{reply:?}");
    });
}

fn cancellations(size: u32) {
    Storm::Cancellations.rages(size, |reply| {
        let number = |key| reply.number(key);
        assert_eq!(number("cancelled"), u64::from(size));
        assert!(number("unknowns") > 0, "{reply:?}");
        assert_eq!(number("moved"), number("checks"), "{reply:?}");
    });
}

#[test]
fn a_storm_of_forks() {
    forks(1500);
}

#[test]
fn a_storm_of_signals() {
    signals(3);
}

#[test]
fn a_storm_of_cancellations() {
    cancellations(1100);
}

#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_storm_of_a_hundred_thousand_forks() {
    forks(100_000);
}

#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_storm_of_signals_for_a_minute() {
    signals(60);
}

#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_storm_of_ten_thousand_cancellations() {
    cancellations(10_000);
}
