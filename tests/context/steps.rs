//! Between any two instructions of the library: what a storm meets by chance, one by one.

use crate::storms::Storm;
use crate::{Reply, finish, stage, with_place};

/// On x86-64 only: of others it is not known here how they trap.
fn steps(how: &str, first: u32, stride: u32, check: impl FnOnce(&Reply)) {
    if !cfg!(target_arch = "x86_64") {
        return stage::skip("single steps are for x86-64");
    }
    with_place(|place| {
        let command = Storm::Steps.command(place, &stage::library(), stride, first);
        let run = finish(command.arg(how));
        println!("{}{}", run.text, run.counters.log);
        check(&Reply::from(
            run.text.lines().next_back().unwrap_or_default(),
        ));
    });
}

/// A handler finds everything whole: what is pinned shows A, and what it calls is done.
#[test]
fn a_signal_at_any_instruction() {
    steps("signal", 300, 499, |reply| {
        assert!(reply.number("taken") > 3000, "{reply:?}");
    });
}

/// And so does a child that has been forked there.
#[test]
fn a_fork_at_any_instruction() {
    steps("fork", 0, 211, |reply| {
        assert!(reply.number("taken") > 100, "{reply:?}");
        assert_eq!(reply.number("children"), reply.number("taken"), "{reply:?}");
    });
}

#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_signal_at_every_third_instruction() {
    steps("signal", 2000, 3, |reply| {
        assert!(reply.number("taken") > 15_000, "{reply:?}");
    });
}

#[test]
#[ignore = "long: in tests/run.sh --full"]
fn a_fork_at_every_instruction_of_most_calls() {
    steps("fork", 500, 53, |reply| {
        assert!(reply.number("taken") > 2000, "{reply:?}");
        assert_eq!(reply.number("children"), reply.number("taken"), "{reply:?}");
    });
}
