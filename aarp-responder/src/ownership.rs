//! One A owned by this host: taken, kept and given back.
//!
//! The order is what keeps a client from ever seeing an answer to its probe that
//! comes from A (it would take A for a plain unicast address, and remember that
//! for minutes): the rules are there before the address, and go after it.

use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::config::{Recipe, Spec};
use crate::host::Host;
use crate::ruleset::{self, Observed};
use crate::rundir::{Lock, RunDir};
use crate::say;
use crate::state::{Process, Record, SCHEMA, rfc3339};
use aarp_health::feed::{Condition, Statement};
use aarp_health::{Monitor, State, Subject};
use aarp_host::choice::{self, Choice};
use aarp_host::failure::{Failure, code};
use aarp_host::inventory::Inventory;

/// How long the kernel may take to enter the route of an address: it does so in a
/// queue that all of its network namespaces share.
const DELIVERY_PATIENCE: Duration = Duration::from_secs(10);

/// The device of aarp-binding, which has A where nobody else has, and for no longer than
/// it runs: that is no reason to leave it out on `lo`.
const SIDECAR: &str = "aarp-binding";

/// Whether A is an address of this host for good.
fn is_there(inventory: &Inventory, anycast: Ipv6Addr) -> bool {
    let mut all = inventory.addresses.iter();
    all.any(|a| a.address == anycast && a.interface != SIDECAR)
}

/// An owned A; dropping it gives A back, whatever the reason.
#[derive(Debug)]
pub(crate) struct Ownership {
    host: Host,
    rundir: RunDir,
    spec: Spec,
    record: Record,
    /// None once everything is given back.
    lock: Option<Lock>,
    /// The address went away and that was said.
    address_missed: bool,
    /// What keeps A from being answered for, while something does.
    fault: Option<String>,
    monitor: Monitor,
}

impl Ownership {
    /// Takes A with answers from the chosen U. On failure nothing stays behind.
    pub(crate) fn take(
        host: &Host,
        rundir: &RunDir,
        spec: Spec,
        choice: &Choice,
        inventory: &Inventory,
        lock: Lock,
        me: Process,
    ) -> Result<Self, Failure> {
        let anycast = spec.anycast;
        // One that bears our mark was left by a dead instance, and becomes ours.
        let address_added = !is_there(inventory, anycast) || inventory.has_marked(anycast);
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(|e| Failure::system("read the clock", e))?;
        let record = Record {
            schema: SCHEMA,
            kind: "responder".to_owned(),
            anycast,
            unicast: Some(choice.unicast),
            interface: spec.interface.clone(),
            recipe: Recipe::Nft,
            answer: spec.answer,
            process: me,
            since: rfc3339(now.as_secs()),
            address_added,
        };
        let monitor = Monitor::start(spec.checks.clone(), choice.unicast)
            .map_err(|error| Failure::system("start the health checks", error))?;
        let owned = Self {
            host: host.clone(),
            rundir: rundir.clone(),
            spec,
            record,
            lock: Some(lock),
            address_missed: false,
            fault: None,
            monitor,
        };
        owned.rundir.write(&owned.record)?;
        owned.install_rules()?;
        if !is_there(inventory, anycast) {
            owned.host.add_anycast(anycast)?;
        }
        owned.wait_until_delivered()?;
        let address = match (address_added, is_there(inventory, anycast)) {
            (true, false) => "added to lo",
            (true, true) => "on lo, left by an instance that died",
            (false, _) => "configured by the operator, and stays",
        };
        say(&format!(
            "owns {anycast} ({address}); answers {} from {} on {} ({}), recipe nft",
            match owned.spec.answer {
                ruleset::Answer::Probes => "probes",
                ruleset::Answer::All => "all pings and unreachables",
            },
            choice.unicast,
            choice.interface,
            choice.reason,
        ));
        Ok(owned)
    }

    /// The anycast address.
    pub(crate) fn anycast(&self) -> Ipv6Addr {
        self.record.anycast
    }

    /// How the service behind A stands. Without a unicast address it is served as ever;
    /// who needs one to register it has to wait.
    pub(crate) fn statement(&self) -> Statement {
        let (condition, reason) = match (&self.fault, self.monitor.state()) {
            (Some(fault), _) => (Condition::Down, fault.clone()),
            (None, State::Up) => (Condition::Up, "it is served".to_owned()),
            (None, State::Down) => (Condition::Down, self.complaints()),
            (None, State::Unknown) => (Condition::Unknown, "no result yet".to_owned()),
        };
        Statement { condition, reason }
    }

    /// What the checks complain about.
    fn complaints(&self) -> String {
        let checks = self.monitor.status().into_iter();
        let bad = checks.filter(|check| check.state == State::Down);
        let bad = bad.map(|check| format!("{}: {}", check.check, check.reason));
        bad.collect::<Vec<_>>().join("; ")
    }

    /// Readable when the checks have found something.
    pub(crate) fn source(&self) -> BorrowedFd<'_> {
        self.monitor.as_fd()
    }

    /// Tells the operator what the checks have found of the service.
    pub(crate) fn tell_health(&self) {
        for event in self.monitor.events() {
            if event.subject == Subject::Service && !self.spec.checks.is_empty() {
                let (anycast, to, why) = (self.anycast(), event.to, event.reason);
                say(&format!("the service of {anycast} is {to}: {why}"));
            }
        }
    }

    /// Until packets to A are delivered: before that the kernel answers them from A
    /// with "no route", and whoever waits for us to own A would be told too early.
    fn wait_until_delivered(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + DELIVERY_PATIENCE;
        while !self.host.delivers(self.anycast())? {
            if Instant::now() >= deadline {
                let why = format!(
                    "the kernel has no local route to {} after {DELIVERY_PATIENCE:?}",
                    self.anycast()
                );
                return Err(Failure::new(code::SYSTEM, why));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    fn install_rules(&self) -> Result<(), Failure> {
        let anycast = self.anycast();
        let table = self.rundir.lock_table()?;
        let observed = self.host.observe()?;
        let chain = observed.as_ref().and_then(|o| o.chain(anycast));
        let text = ruleset::install(
            anycast,
            self.record.unicast,
            self.record.answer,
            chain.is_some_and(|c| !c.hooked),
        );
        let result = self.host.apply(&text);
        drop(table);
        Ok(result?)
    }

    /// Brings the host back to what it should be after something changed.
    pub(crate) fn reconcile(
        &mut self,
        inventory: &Inventory,
        observed: Option<&Observed>,
        taken: &[Ipv6Addr],
    ) -> Result<(), Failure> {
        let result = self.put_in_place(inventory, observed, taken);
        self.fault = match &result {
            Err(failure) => Some(failure.to_string()),
            Ok(()) if self.address_missed => Some("the address is gone".to_owned()),
            Ok(()) => None,
        };
        result
    }

    fn put_in_place(
        &mut self,
        inventory: &Inventory,
        observed: Option<&Observed>,
        taken: &[Ipv6Addr],
    ) -> Result<(), Failure> {
        let anycast = self.anycast();
        let spec = &self.spec;
        let next = choice::follow(
            anycast,
            spec.class,
            spec.unicast,
            spec.interface.as_deref(),
            self.record.unicast,
            inventory,
            taken,
        );
        let previous = self.record.unicast;
        let intact = observed.is_some_and(|o| o.is_in_place(anycast, previous, self.record.answer));
        if next != previous || !intact {
            self.record.unicast = next;
            if let Err(failure) = self.install_rules() {
                // Unchanged, so that the next attempt sees the difference again.
                self.record.unicast = previous;
                return Err(failure);
            }
            self.rundir.write(&self.record)?;
            if let Some(unicast) = next {
                self.monitor.set_unicast(unicast);
            }
            self.tell(previous, next);
        }
        self.keep_address(inventory)
    }

    fn tell(&self, previous: Option<Ipv6Addr>, next: Option<Ipv6Addr>) {
        let anycast = self.anycast();
        say(&match (previous, next) {
            (Some(old), Some(new)) if old == new => {
                format!("the rules of {anycast} were changed by somebody else; put back")
            }
            (Some(old), Some(new)) => {
                format!(
                    "{old} cannot be used any more; probes of {anycast} are answered from {new} now"
                )
            }
            (Some(old), None) => format!(
                "{old} cannot be used any more and there is no other; probes of {anycast} are answered from {anycast} itself until there is"
            ),
            (None, Some(new)) => format!("probes of {anycast} are answered from {new} again"),
            (None, None) => {
                format!("the chain of {anycast} was changed by somebody else; put back")
            }
        });
    }

    /// An address we added comes back when it was lost (lo went down and up, a
    /// network daemon tidied up). One of the operator's is the operator's.
    fn keep_address(&mut self, inventory: &Inventory) -> Result<(), Failure> {
        let anycast = self.anycast();
        if is_there(inventory, anycast) {
            self.address_missed = false;
            return Ok(());
        }
        if self.record.address_added && inventory.interface_up("lo") == Some(true) {
            self.host.add_anycast(anycast)?;
            say(&format!("{anycast} was gone from lo; put back"));
        } else if !self.address_missed {
            self.address_missed = true;
            say(&format!(
                "{anycast} is no address of this host any more: {}",
                if self.record.address_added {
                    "lo is down"
                } else {
                    "the operator's, so it is not put back"
                }
            ));
        }
        Ok(())
    }

    /// Gives A back, and says whether all of it went well.
    pub(crate) fn release(mut self) -> Result<(), Failure> {
        self.give_back()
    }

    fn give_back(&mut self) -> Result<(), Failure> {
        let Some(lock) = self.lock.take() else {
            return Ok(());
        };
        tidy(&self.host, &self.rundir, self.anycast(), lock)?;
        say(&format!(
            "gave {} back{}",
            self.anycast(),
            if self.record.address_added {
                ""
            } else {
                "; the address stays, it was there before"
            }
        ));
        Ok(())
    }
}

impl Drop for Ownership {
    fn drop(&mut self) {
        if let Err(failure) = self.give_back() {
            say(&failure.to_string());
        }
    }
}

/// Removes what this program may have left of `anycast`: the address if it bears
/// our mark, then the rules, then the record. Each step is tried even if one
/// before it failed; the record stays when anything did.
pub(crate) fn tidy(
    host: &Host,
    rundir: &RunDir,
    anycast: Ipv6Addr,
    lock: Lock,
) -> Result<(), Failure> {
    let address = remove_address(host, anycast);
    // Rules that outlive the address do no harm; an address that outlives its
    // rules answers probes from A.
    let rules = match &address {
        Ok(()) => remove_rules(host, rundir, anycast),
        Err(_) => Ok(()),
    };
    address.and(rules)?;
    rundir.forget(anycast)?;
    drop(lock);
    rundir.remove_if_idle()
}

fn remove_address(host: &Host, anycast: Ipv6Addr) -> Result<(), Failure> {
    if host.inventory()?.has_marked(anycast)
        && let Err(error) = host.remove_anycast(anycast)
        && host.inventory()?.has_marked(anycast)
    {
        return Err(error.into());
    }
    Ok(())
}

fn remove_rules(host: &Host, rundir: &RunDir, anycast: Ipv6Addr) -> Result<(), Failure> {
    // Held over looking and deleting: another responder may be adding its chain.
    let table = rundir.lock_table()?;
    if let Some(observed) = host.observe()? {
        let others = observed.has_others(anycast);
        if observed.chain(anycast).is_some() || !others {
            host.apply(&ruleset::remove(anycast, others))?;
        }
    }
    drop(table);
    Ok(())
}
