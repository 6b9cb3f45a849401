//! Threads that are cancelled or have little room, and filters of system calls.

use aarp_lab::rootless;

use crate::site::{A, U1};
use crate::stage::has;
use crate::{NEEDED, assert_same, run, same, silent_site};

#[test]
fn a_cancelled_connect_leaves_the_process_alive() {
    same(include_str!("cancel.c"), 9, 3);
}

#[test]
fn the_first_caller_may_have_a_small_stack() {
    same(include_str!("stack.c"), 6, 2);
}

/// Once the program has a filter of its own no system call of ours is made: what is
/// connected then goes to A, and what was pinned before still shows A.
#[test]
fn a_program_with_a_seccomp_filter_is_not_killed() {
    if !has(&NEEDED) {
        return;
    }
    rootless::test(|| {
        let site = silent_site();
        for way in 0..3 {
            let source = format!("#define WAY {way}\n{}", include_str!("filter.c"));
            let native = run(&site, &source, false);
            let ours = run(&site, &source, true);
            assert_same(&native.transcript, &ours.transcript);
            assert!(ours.transcript.contains("after: 0 -"));
            // On port 80: two before the filter, and one after it.
            assert_eq!(ours.seen.tried("s1", U1).len(), 2, "way {way}");
            assert_eq!(ours.seen.tried("s1", A).len(), 1, "way {way}");
        }
    });
}
