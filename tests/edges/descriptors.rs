//! The program's descriptors: none of ours is left among them, and what is known of
//! each survives what children and other threads do.

use std::time::Duration;

use aarp_lab::wait_until;

use crate::site::{A, Failure, PATIENCE, Reply, Variant};
use crate::stage::has;
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
        let soonest = run.replies.iter().map(Reply::elapsed).min();
        assert!(soonest < Some(Duration::from_secs(8)), "{:?}", run.replies);
        assert!(run.seen.probes() >= 3, "A was being asked");
    });
}

/// Sockets and the like that a process has.
fn unnamed_descriptors(pid: u32) -> usize {
    let folder = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    let targets = folder.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    let names = targets.map(|target| target.to_string_lossy().into_owned());
    names
        .filter(|name| name.starts_with("socket:") || name.starts_with("anon_inode:"))
        .count()
}

/// wget jumps out of each of its tries.
#[test]
fn wget_that_gives_up_again_and_again_has_no_more_descriptors() {
    if !has(&["wget"]) {
        return;
    }
    with_site(Variant::default(), |site| {
        silence_probes(site);
        site.block("s1", A, Failure::Silence);
        let wget = site
            .under_library("wget")
            .args([
                "--no-config",
                "--connect-timeout=0.3",
                "--tries=0",
                "--waitretry=2",
            ])
            .args(["-O", "/dev/null", &format!("http://[{A}]/who")])
            .env("AARP_BUDGET", "60s")
            .spawn()
            .unwrap();
        let third_retry = || Ok(wget.stderr()?.matches("Retrying.").count() >= 3);
        wait_until("three retries", PATIENCE, third_retry).unwrap();
        // At rest between two tries, it has none.
        let at_rest = || Ok(unnamed_descriptors(wget.pid()) == 0);
        wait_until("wget without sockets", PATIENCE, at_rest).unwrap();
        assert!(wget.try_wait().unwrap().is_none());
        wget.kill();
        assert!(site.seen(Duration::ZERO).probes() >= 3);
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
