//! The program's descriptors: none of ours is left among them, and what is known of
//! each survives what children and other threads do.

use std::time::Duration;

use crate::site::{A, Failure, Variant};
use crate::{command, finish, run, silence_probes, with_site};

/// A handler jumps out of connect() while A is being asked.
#[test]
fn a_jump_out_of_connect_leaves_no_descriptor() {
    with_site(Variant::default(), |site| {
        silence_probes(site);
        site.block("s1", A, Failure::Silence);
        let command = command(site, true, "jumping", "").env("AARP_BUDGET", "60s");
        let run = finish(site, command);
        assert_eq!(run.replies.len(), 3);
        for reply in &run.replies {
            assert_eq!(reply.get("jumped"), "1", "{}", run.counters.log);
            assert_eq!(reply.get("more"), "0", "{}", run.counters.log);
        }
        // The signal is not held back until the question is over.
        let soonest = run.replies.iter().map(|r| r.elapsed()).min();
        assert!(soonest < Some(Duration::from_secs(8)), "{:?}", run.replies);
        assert!(run.seen.probes() >= 3, "A was being asked");
    });
}

/// A child of vfork has the memory of its parent, and descriptors of its own.
#[test]
fn a_vfork_child_leaves_the_records_of_its_parent() {
    with_site(Variant::default(), |site| {
        for how in ["dup2", "close", "close_range"] {
            let run = run(site, true, "vforking", how);
            assert_eq!(run.replies[0].get("status"), "0", "{how}");
            run.assert_pinned();
        }
    });
}

/// A child that is forked while another thread changes a record sees no half of it.
#[test]
fn forks_while_records_change_show_a() {
    with_site(Variant::default(), |site| {
        let run = run(site, true, "forking", "");
        assert_eq!(run.replies[0].number("wrong"), 0, "{}", run.counters.log);
        run.assert_pinned();
    });
}

/// A line of the log that nobody reads harms no program.
#[test]
fn a_log_that_nobody_reads_neither_kills_nor_blocks() {
    with_site(Variant::default(), |site| {
        for what in ["closed_log", "full_log"] {
            let command = command(site, true, what, "")
                .env("AARP_LOG", "info")
                .limit(Duration::from_secs(60));
            finish(site, command).assert_pinned();
        }
    });
}
