//! `aarp-responder run`: from settings to owned addresses, and back.

use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::config::{Recipe, Spec};
use crate::host::Host;
use crate::ownership::{Ownership, tidy};
use crate::ruleset;
use crate::rundir::{Lock, RunDir, this_process};
use crate::say;
use crate::states::States;
use aarp_host::address::classify;
use aarp_host::choice::{self, Choice};
use aarp_host::failure::{Failure, code};
use aarp_host::inventory::Inventory;
use aarp_host::privilege;
use aarp_host::watch::{Event, Watch};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Duplicate address detection at boot takes a second or two.
const TENTATIVE_PATIENCE: Duration = Duration::from_secs(4);

/// Owns the addresses until a signal comes.
pub(crate) fn run(specs: Vec<Spec>, run_dir: &Path) -> Result<(), Failure> {
    for spec in &specs {
        refuse_what_cannot_work(spec)?;
    }
    privilege::require_net_admin()?;
    let host = Host::find()?;
    let mut watch = Watch::open()?;
    let mut owned = start(&host, specs, run_dir, &mut watch)?;
    let mut result = supervise(&host, &mut owned, &mut watch, run_dir);
    while let Some(one) = owned.pop() {
        if let Err(failure) = one.release() {
            say(&failure.to_string());
            result = result.and(Err(failure));
        }
    }
    result
}

/// Both need something that is not there without nftables: the kernel's own
/// answers silenced, or ordinary TCP clients of A sacrificed.
fn refuse_what_cannot_work(spec: &Spec) -> Result<(), Failure> {
    let why = match spec.recipe {
        Recipe::Auto | Recipe::Nft => return Ok(()),
        Recipe::Raw => {
            "recipe raw needs the kernel's own echo replies suppressed, which takes nftables, and then recipe nft is better in every way; use auto or nft"
        }
        Recipe::Route => {
            "recipe route is not supported yet (an anycast route drops every TCP connection to A); use auto or nft"
        }
    };
    Err(Failure::new(
        code::UNAVAILABLE,
        format!("{}: {why}", spec.anycast),
    ))
}

fn start(
    host: &Host,
    specs: Vec<Spec>,
    run_dir: &Path,
    watch: &mut Watch,
) -> Result<Vec<Ownership>, Failure> {
    // Before anything is touched.
    host.observe().map_err(|error| {
        Failure::new(
            code::UNAVAILABLE,
            format!("nftables does not work here ({error}); needed are the package nftables and the kernel's nf_tables"),
        )
    })?;
    if host.inventory()?.interface_up("lo") != Some(true) {
        return Err(Failure::new(
            code::UNAVAILABLE,
            "interface lo is down, so that no address on it works: ip link set lo up",
        ));
    }
    let rundir = RunDir::locate(run_dir)?;
    let mut claimed = VecDeque::new();
    let mut owned = Vec::new();
    let result = take_all(host, &rundir, specs, watch, &mut claimed, &mut owned);
    if result.is_err() {
        while let Some(one) = owned.pop() {
            one.release()?;
        }
        // What a dead instance left must not stay because the next one cannot start.
        for (spec, lock) in claimed {
            tidy(host, &rundir, spec.anycast, lock)?;
        }
        rundir.remove_if_idle()?;
    }
    result.map(|()| owned)
}

fn take_all(
    host: &Host,
    rundir: &RunDir,
    specs: Vec<Spec>,
    watch: &mut Watch,
    claimed: &mut VecDeque<(Spec, Lock)>,
    owned: &mut Vec<Ownership>,
) -> Result<(), Failure> {
    let me = this_process()?;
    for spec in specs {
        let lock = rundir.claim(spec.anycast, me)?;
        claimed.push_back((spec, lock));
    }
    let ours: Vec<Ipv6Addr> = claimed.iter().map(|(s, _)| s.anycast).collect();
    sweep(host, rundir, &ours)?;
    while let Some((spec, _)) = claimed.front() {
        let choice = settle(host, rundir, spec, &ours, watch)?;
        let inventory = host.inventory()?;
        if let Some((spec, lock)) = claimed.pop_front() {
            owned.push(Ownership::take(
                host, rundir, spec, &choice, &inventory, lock, me,
            )?);
        }
    }
    Ok(())
}

/// Cleans up after instances that died: their lock is free, their record is not gone.
fn sweep(host: &Host, rundir: &RunDir, ours: &[Ipv6Addr]) -> Result<(), Failure> {
    for (anycast, _) in rundir.records()? {
        if ours.contains(&anycast) {
            continue;
        }
        if let Some(lock) = rundir.claim_if_free(anycast)? {
            tidy(host, rundir, anycast, lock)?;
            say(&format!("removed what a dead instance left of {anycast}"));
        }
    }
    Ok(())
}

/// Finds U, waiting a little while addresses are still tentative.
fn settle(
    host: &Host,
    rundir: &RunDir,
    spec: &Spec,
    ours: &[Ipv6Addr],
    watch: &mut Watch,
) -> Result<Choice, Failure> {
    let deadline = Instant::now() + TENTATIVE_PATIENCE;
    loop {
        let inventory = host.inventory()?;
        let taken = taken(host, rundir, ours)?;
        let chosen = match spec.unicast {
            Some(unicast) => choice::confirm(unicast, spec.interface.as_deref(), &inventory),
            None => choice::choose(
                spec.anycast,
                spec.class,
                spec.interface.as_deref(),
                &inventory,
                &taken,
            ),
        };
        let error = match chosen {
            Ok(choice) => return Ok(choice),
            Err(error) => error,
        };
        let hope = inventory
            .addresses
            .iter()
            .any(|a| a.tentative && classify(a.address) == Ok(spec.class));
        if !hope || Instant::now() >= deadline {
            return Err(Failure::new(code::UNAVAILABLE, error));
        }
        if watch.pending_signal().is_some() {
            return Err(Failure::new(
                code::UNAVAILABLE,
                "stopped by a signal while starting",
            ));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Every address that is an A here, ours or another instance's.
fn taken(host: &Host, rundir: &RunDir, ours: &[Ipv6Addr]) -> Result<Vec<Ipv6Addr>, Failure> {
    let mut taken = ours.to_vec();
    taken.extend(rundir.records()?.into_iter().map(|(anycast, _)| anycast));
    if let Some(observed) = host.observe()? {
        taken.extend(
            observed
                .chains
                .iter()
                .filter_map(|c| ruleset::anycast_of(&c.name)),
        );
    }
    Ok(taken)
}

fn supervise(
    host: &Host,
    owned: &mut [Ownership],
    watch: &mut Watch,
    run_dir: &Path,
) -> Result<(), Failure> {
    let rundir = RunDir::locate(run_dir)?;
    let mut complaint = String::new();
    let mut states = States::new(run_dir);
    loop {
        match watch.take()? {
            Some(Event::Signal(number)) => {
                say(&format!("stops on signal {number}"));
                return Ok(());
            }
            Some(Event::Reload) => {
                say("goes on after SIGHUP; nothing is read again: restart it for other settings");
            }
            Some(Event::Changed) => {
                // The host may be half-way through a change: what fails is said once
                // and tried again.
                match reconcile(host, &rundir, owned) {
                    Ok(()) => complaint.clear(),
                    Err(failure) => {
                        let now = failure.to_string();
                        if now != complaint {
                            say(&now);
                            complaint = now;
                        }
                        watch.retry();
                    }
                }
                states.serve();
            }
            None => {}
        }
        for one in &*owned {
            one.tell_health();
        }
        states.tell(owned);
        wait(watch, &states, owned)?;
    }
}

/// Until something has happened, or something is due.
fn wait(watch: &Watch, states: &States, owned: &[Ownership]) -> Result<(), Failure> {
    let due = watch.due_in().map(|due| Timespec {
        tv_sec: i64::try_from(due.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(due.subsec_nanos()),
    });
    let mut sources: Vec<BorrowedFd<'_>> = watch.sources().into();
    sources.extend(states.source());
    sources.extend(owned.iter().map(Ownership::source));
    let mut fds: Vec<PollFd<'_>> = sources
        .into_iter()
        .map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN))
        .collect();
    match poll(&mut fds, due.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(Failure::system("poll", error)),
    }
}

fn reconcile(host: &Host, rundir: &RunDir, owned: &mut [Ownership]) -> Result<(), Failure> {
    let ours: Vec<Ipv6Addr> = owned.iter().map(Ownership::anycast).collect();
    let taken = taken(host, rundir, &ours)?;
    let inventory: Inventory = host.inventory()?;
    let observed = host.observe()?;
    let mut result = Ok(());
    for one in owned {
        result = result.and(one.reconcile(&inventory, observed.as_ref(), &taken));
    }
    result
}
