//! From A to U: what is remembered, and asking where nothing is.

use core::net::Ipv6Addr;
use core::time::Duration;

use aarp_core::bypass::Bypass;
use aarp_core::mapping::{Answer, Mapping};
use aarp_core::policy::{Interest, Patience, Plan, interest, plan};
use aarp_core::refutation::{Cause, Claim};
use aarp_core::settings::{DaemonUse, Settings, Times};
use aarp_core::state::ProcessState;
use aarp_sys::ask::{ADDRESSES, AskError, Inquiry, Report, ask, ask_all, ask_most};
use aarp_sys::clock::boottime;
use aarp_sys::interrupt::Interruptible;
use aarp_sys::memory::with_scratch_of;
use aarp_sys::process::{has_stack_for_a_question, thread};
use aarp_sys::route::Origin;
use aarp_sys::socket;

use crate::connect::TCP;
use crate::mapper::{Allowance, Told};
use crate::{flight, mapper, report};

/// What is less is too little for any network, and not worth a probe.
const LEAST: Duration = Duration::from_millis(5);

/// Who asks, and for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'s> {
    /// The socket, whose time limit decides which signals interrupt connect().
    pub(crate) fd: i32,
    pub(crate) settings: &'s Settings,
    pub(crate) state: &'s ProcessState,
    pub(crate) interest: Interest,
    pub(crate) patience: Patience,
    pub(crate) a: Ipv6Addr,
    pub(crate) scope: u32,
    /// What the socket's packets are sent with, where the program has fixed it:
    /// then nothing is remembered, because other sockets may see another network.
    pub(crate) origin: Option<Origin>,
    /// The transport protocol and port, for which U may be refuted.
    pub(crate) protocol: u8,
    pub(crate) port: u16,
}

/// Where a communication is moved to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) u: Ipv6Addr,
    /// The round trip of the answer that named U.
    pub(crate) rtt: Duration,
    /// Whether nobody had to be asked for it now.
    pub(crate) remembered: bool,
}

/// Why there is no U.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unresolved {
    /// The program goes to A.
    Bypass(Bypass),
    /// A signal came that interrupts the program's call.
    Interrupted,
    /// The program has closed the descriptor meanwhile: its number may be another
    /// socket's by now, which is not to be touched.
    Closed,
}

impl Asker<'_> {
    pub(crate) fn claim(&self, u: Ipv6Addr) -> Claim {
        Claim {
            a: self.a,
            u,
            protocol: self.protocol,
            port: self.port,
        }
    }

    /// The U to move to, from what is remembered or by asking, for no longer than
    /// `most`, which is only looked up where somebody is asked.
    #[inline]
    pub(crate) fn resolve(
        &self,
        now: Duration,
        most: impl FnOnce() -> Duration,
    ) -> Result<Target, Unresolved> {
        if self.origin.is_none() {
            if mapper::is_read() {
                return self.by_table(now, most);
            }
            // Without a table nothing is paid for it.
            if let Some(known) = own(self.state, self.a, now) {
                return self.remembered(&known, now, most);
            }
        }
        self.find_or_ask(now, most)
    }

    /// The same where there is a table to look in first.
    #[inline(never)]
    fn by_table(
        &self,
        now: Duration,
        most: impl FnOnce() -> Duration,
    ) -> Result<Target, Unresolved> {
        match known(self.settings, self.state, self.a, now) {
            Some(known) => self.remembered(&known, now, most),
            None => self.find_or_ask(now, most),
        }
    }

    #[cold]
    fn find_or_ask(
        &self,
        now: Duration,
        most: impl FnOnce() -> Duration,
    ) -> Result<Target, Unresolved> {
        if self.origin.is_none()
            && mapper::find_table(self.settings, self.state, now)
            && let Some(known) = mapper::known(self.settings, self.state, self.a, now)
        {
            return self.remembered(&known, now, most);
        }
        self.ask_anyone(now, most(), false)
    }

    #[inline(always)]
    fn remembered(
        &self,
        known: &Mapping,
        now: Duration,
        most: impl FnOnce() -> Duration,
    ) -> Result<Target, Unresolved> {
        match known.target(self.settings.times.budget) {
            Ok(u) => {
                let Some(until) = self.state.refutations.refuted_until(&self.claim(u), now) else {
                    return Ok(Target {
                        u,
                        rtt: known.rtt,
                        remembered: true,
                    });
                };
                self.past_a_refutation(until, now, most())
            }
            // Only who was silent may answer one who waits for longer.
            Err(reason) if !known.is_worth_asking_again(Duration::MAX) => {
                Err(Unresolved::Bypass(reason))
            }
            Err(reason) => {
                let plan = plan(self.settings, self.a, self.interest, self.patience);
                let most = most();
                if known.is_worth_asking_again(plan.budget.min(most)) {
                    return self.resolve_anew(now, most);
                }
                Err(Unresolved::Bypass(reason))
            }
        }
    }

    /// The U that is remembered has failed. Once it has, A is asked again: another
    /// may answer. When that was done already, the program goes to A.
    #[cold]
    fn past_a_refutation(
        &self,
        until: Duration,
        now: Duration,
        most: Duration,
    ) -> Result<Target, Unresolved> {
        let times = plan(self.settings, self.a, self.interest, self.patience).times;
        let failed = until.saturating_sub(times.refuted);
        if self.state.refutations.was_asked_since(self.a, failed) {
            return Err(Unresolved::Bypass(Bypass::Refuted));
        }
        self.resolve_anew(now, most)
    }

    /// The U that answers now, but not one that has failed; waits no longer than
    /// `most`.
    #[cold]
    pub(crate) fn resolve_anew(&self, now: Duration, most: Duration) -> Result<Target, Unresolved> {
        self.ask_anyone(now, most, true)
    }

    /// Asks the daemon, where there is one, or the network; `anew` if what the daemon
    /// knows already does not serve.
    fn ask_anyone(&self, now: Duration, most: Duration, anew: bool) -> Result<Target, Unresolved> {
        let plan = plan(self.settings, self.a, self.interest, self.patience);
        if most < LEAST {
            return Err(Unresolved::Bypass(Bypass::Budget));
        }
        let stalls = &self.state.stalls;
        let allowance = stalls.allowance(thread(), now, plan.budget).min(most);
        if allowance < LEAST {
            return Err(Unresolved::Bypass(Bypass::Stalled));
        }
        let asked = flight::question(self.state, || {
            if !has_stack_for_a_question() {
                return None;
            }
            report::miss();
            let socket = socket::cookie(self.fd);
            let for_daemon = Allowance::new(allowance, plan.budget);
            let asked = self.ask_daemon(for_daemon, anew).unwrap_or_else(|waited| {
                // What else the time was spent with is no question.
                let spent = if waited {
                    boottime().saturating_sub(now)
                } else {
                    Duration::ZERO
                };
                match allowance.saturating_sub(spent) {
                    left if left < LEAST => Err(Unresolved::Bypass(Bypass::Budget)),
                    left => self.ask_network(plan, left),
                }
            });
            Some((asked, socket::cookie(self.fd) == socket))
        });
        let ended = boottime();
        let (asked, is_same) = match asked {
            Some(Some(asked)) => asked,
            Some(None) => return Err(Unresolved::Bypass(Bypass::Reentrant)),
            None => return Err(Unresolved::Bypass(Bypass::Seccomp)),
        };
        self.state.stalls.charge(thread(), now, ended);
        if !is_same {
            return Err(Unresolved::Closed);
        }
        let mapping = asked?;
        let u = mapping
            .target(self.settings.times.budget)
            .map_err(Unresolved::Bypass)?;
        match self.state.refutations.refuted_until(&self.claim(u), ended) {
            None => Ok(Target {
                u,
                rtt: mapping.rtt,
                remembered: false,
            }),
            Some(_) => Err(Unresolved::Bypass(Bypass::Refuted)),
        }
    }

    /// What the daemon says; an error where the network has to be asked: whether the
    /// daemon was waited for.
    fn ask_daemon(
        &self,
        allowance: Allowance,
        anew: bool,
    ) -> Result<Result<Mapping, Unresolved>, bool> {
        // What a socket with a source of its own sees is nobody else's business.
        if self.origin.is_some() {
            return Err(false);
        }
        let patience = self.patience;
        let interruptible = self.interruptible();
        let told = mapper::ask(
            self.settings,
            self.a,
            patience,
            (allowance, anew),
            interruptible,
        );
        Ok(match told {
            Told::Mapping(mapping) => {
                report::told(self.a, &mapping);
                let now = boottime();
                if !mapper::is_kept(self.a, now) {
                    self.state.mappings.store(self.a, mapping);
                }
                if anew {
                    self.state.refutations.was_asked(self.a, now);
                }
                Ok(mapping)
            }
            Told::NotYet => Err(Unresolved::Bypass(Bypass::Budget)),
            Told::Interrupted => Err(Unresolved::Interrupted),
            Told::Halted => Err(Unresolved::Bypass(Bypass::Seccomp)),
            Told::Nobody | Told::Nothing if self.settings.daemon.usage == DaemonUse::Require => {
                Err(Unresolved::Bypass(Bypass::Off))
            }
            Told::Nobody => return Err(false),
            Told::Nothing => return Err(true),
        })
    }

    /// What the network says, and that is remembered.
    fn ask_network(&self, plan: Plan, budget: Duration) -> Result<Mapping, Unresolved> {
        let asked = ask(&self.inquiry(self.a, plan, budget));
        let told = asked.map_err(|error| {
            if !matches!(error, AskError::Halted | AskError::Interrupted) {
                report::not_asked(self.a, &error);
            }
            Unresolved::Bypass(match error {
                AskError::Interrupted => return Unresolved::Interrupted,
                AskError::Halted => Bypass::Seccomp,
                AskError::Local => Bypass::Local,
                AskError::NoRoute => Bypass::NoAnswer,
                AskError::NotPermitted => Bypass::NoPermission,
                AskError::NoMethod => Bypass::Policy,
                _ => Bypass::Busy,
            })
        })?;
        let mapping = learned(self.state, self.a, &told, &plan.times, boottime());
        if self.origin.is_none() {
            self.state.mappings.store(self.a, mapping);
        }
        Ok(mapping)
    }

    fn inquiry(&self, a: Ipv6Addr, plan: Plan, budget: Duration) -> Inquiry<'_> {
        Inquiry {
            settings: self.settings,
            a,
            scope: self.scope,
            plan,
            budget,
            origin: self.origin.unwrap_or_default(),
            interruptible: self.interruptible(),
        }
    }

    /// Asks, and whether the descriptor is the same socket behind it: by the kernel's
    /// name, since a number can be closed unseen, and what we know of it be wiped by a
    /// vfork child.
    fn ask(&self, a: Ipv6Addr, plan: Plan, budget: Duration) -> (Result<Report, AskError>, bool) {
        let socket = socket::cookie(self.fd);
        let asked = ask(&self.inquiry(a, plan, budget));
        (asked, socket::cookie(self.fd) == socket)
    }

    /// Whether a U that has answered for A before still answers for itself. Where
    /// this thread may not be held any longer, nothing is held against it.
    #[cold]
    pub(crate) fn is_alive(&self, u: Ipv6Addr, now: Duration) -> Result<bool, Unresolved> {
        let plan = plan(self.settings, self.a, self.interest, self.patience);
        let stalls = &self.state.stalls;
        // The other half is for A.
        let allowance = stalls.allowance(thread(), now, plan.budget) / 2;
        if allowance < LEAST {
            return Ok(true);
        }
        let asked = flight::question(self.state, || {
            has_stack_for_a_question().then(|| self.ask(u, plan, allowance))
        });
        let Some(Some((asked, is_same))) = asked else {
            return Ok(true);
        };
        stalls.charge(thread(), now, boottime());
        if !is_same {
            return Err(Unresolved::Closed);
        }
        Ok(match asked {
            Ok(told) => {
                report::asked(u, &told);
                !matches!(told.answer, Answer::None { .. })
            }
            Err(AskError::Halted) => true,
            Err(error) => {
                report::not_asked(u, &error);
                false
            }
        })
    }

    /// The kernel restarts connect(2) only on a socket without a time limit.
    fn interruptible(&self) -> Interruptible {
        match self.patience {
            // Sending a datagram does not wait.
            _ if self.protocol != TCP => Interruptible::Never,
            Patience::NonBlocking => Interruptible::Never,
            Patience::Blocking => match socket::send_timeout(self.fd) {
                Ok(timeout) if !timeout.is_zero() => Interruptible::Always,
                _ => Interruptible::UnlessRestarted,
            },
        }
    }

    /// U has failed for this port.
    #[cold]
    pub(crate) fn refute(&self, u: Ipv6Addr, cause: Cause) {
        refute(self.settings, self.state, &self.claim(u), cause);
    }
}

/// What is known about `a` and fresh: by the table of all processes, or by this one.
#[inline]
pub(crate) fn known(
    settings: &Settings,
    state: &ProcessState,
    a: Ipv6Addr,
    now: Duration,
) -> Option<Mapping> {
    mapper::known(settings, state, a, now).or_else(|| own(state, a, now))
}

/// The same by this process alone.
#[inline]
fn own(state: &ProcessState, a: Ipv6Addr, now: Duration) -> Option<Mapping> {
    let known = state.mappings.lookup(a);
    known.filter(|known| known.is_fresh(now))
}

/// What is known about A once it has been asked.
fn learned(
    state: &ProcessState,
    a: Ipv6Addr,
    told: &Report,
    times: &Times,
    ended: Duration,
) -> Mapping {
    report::asked(a, told);
    state.refutations.was_asked(a, ended);
    let previous = state.mappings.lookup(a);
    Mapping::after(told.answer, a, told.method, previous.as_ref(), times, ended)
}

/// Asks about addresses that are about to be needed, all at once and for no longer
/// than for one of them; with the scope of each. Unless `all` are waited for, one that is
/// silent does not hold the program once another has answered: nothing is remembered of
/// it then, and who connects to it asks with its own budget.
pub(crate) fn prefetch(
    settings: &Settings,
    state: &ProcessState,
    addresses: &[(Ipv6Addr, u32)],
    now: Duration,
    all: bool,
) {
    let mut left = [(Ipv6Addr::UNSPECIFIED, 0); ADDRESSES];
    let count = prefetch_from_daemon((settings, state), addresses, &mut left, now, all);
    if count == 0 {
        return;
    }
    // What the daemon has taken counts already.
    let now = boottime();
    let addresses = &left[..count];
    let empty = Inquiry {
        settings,
        a: Ipv6Addr::UNSPECIFIED,
        scope: 0,
        plan: plan(
            settings,
            Ipv6Addr::UNSPECIFIED,
            Interest::Unconfigured,
            Patience::Blocking,
        ),
        budget: Duration::ZERO,
        origin: Origin::default(),
        interruptible: Interruptible::Never,
    };
    // A thread of the program may have next to no stack left. Without memory nobody is
    // asked now, but when somebody connects.
    let _ = with_scratch_of(
        || empty,
        |inquiries: &mut [_; ADDRESSES]| {
            with_scratch_of(
                || Err(AskError::NoMethod),
                |reports: &mut [_; ADDRESSES]| {
                    let room = (&mut inquiries[..], &mut reports[..]);
                    prefetch_in(room, state, addresses, now, all);
                },
            )
        },
    );
}

/// The same by aarpd, where there is one. Whom the network has to be asked about is
/// `left`; so many are.
#[inline(never)]
fn prefetch_from_daemon(
    (settings, state): (&Settings, &ProcessState),
    addresses: &[(Ipv6Addr, u32)],
    left: &mut [(Ipv6Addr, u32); ADDRESSES],
    now: Duration,
    all: bool,
) -> usize {
    let mut wanted = [Ipv6Addr::UNSPECIFIED; ADDRESSES];
    let mut told = [None; ADDRESSES];
    let count = addresses.len().min(ADDRESSES);
    for (to, (a, _)) in wanted.iter_mut().zip(addresses) {
        *to = *a;
    }
    let budget = |a: &Ipv6Addr| {
        let interest = interest(settings, *a).ok()?;
        Some(plan(settings, *a, interest, Patience::Blocking).budget)
    };
    let longest = wanted[..count].iter().filter_map(budget).max();
    let longest = longest.unwrap_or_default();
    let allowance = state.stalls.allowance(thread(), now, longest);
    let mut is_over = false;
    if allowance >= LEAST && settings.daemon.usage != DaemonUse::Off {
        let asked = flight::question(state, || {
            let wanted = &wanted[..count];
            let allowance = Allowance::new(allowance, longest);
            has_stack_for_a_question()
                && mapper::ask_several(settings, wanted, &mut told, allowance, all)
        });
        is_over = asked == Some(true) || settings.daemon.usage == DaemonUse::Require;
        state.stalls.charge(thread(), now, boottime());
    }
    let mut number = 0;
    for ((a, scope), told) in addresses.iter().zip(told) {
        match told {
            Some(mapping) => {
                report::told(*a, &mapping);
                if !mapper::is_kept(*a, boottime()) {
                    state.mappings.store(*a, mapping);
                }
            }
            // Who comes later finds the answer.
            None if is_over => {}
            None => {
                left[number] = (*a, *scope);
                number += 1;
            }
        }
    }
    number
}

/// The same, with room for inquiries, which are empty, and for reports.
fn prefetch_in(
    (inquiries, reports): (&mut [Inquiry<'_>], &mut [Result<Report, AskError>]),
    state: &ProcessState,
    addresses: &[(Ipv6Addr, u32)],
    now: Duration,
    all: bool,
) {
    let Some(empty) = inquiries.first().copied() else {
        return;
    };
    let settings = empty.settings;
    let mut count = 0;
    for (a, scope) in addresses {
        let (Ok(interest), Some(inquiry)) = (interest(settings, *a), inquiries.get_mut(count))
        else {
            continue;
        };
        let plan = plan(settings, *a, interest, Patience::Blocking);
        let allowance = state.stalls.allowance(thread(), now, plan.budget);
        *inquiry = Inquiry {
            a: *a,
            scope: *scope,
            plan,
            budget: allowance,
            ..empty
        };
        count += 1;
    }
    let (inquiries, reports) = (&inquiries[..count], &mut reports[..count]);
    if inquiries.iter().all(|inquiry| inquiry.budget < LEAST) {
        return;
    }
    let asked = flight::question(state, || {
        if !has_stack_for_a_question() {
            return false;
        }
        report::miss();
        if all {
            ask_all(inquiries, reports);
        } else {
            ask_most(inquiries, reports);
        }
        true
    });
    if asked != Some(true) {
        return;
    }
    let ended = boottime();
    state.stalls.charge(thread(), now, ended);
    for (Inquiry { a, plan, .. }, report) in inquiries.iter().zip(reports) {
        match report {
            Ok(told) if told.given_up => report::given_up(*a, told),
            Ok(told) => {
                let mapping = learned(state, *a, told, &plan.times, ended);
                state.mappings.store(*a, mapping);
            }
            Err(error) => report::not_asked(*a, error),
        }
    }
}

/// U has failed.
#[cold]
pub(crate) fn refute(settings: &Settings, state: &ProcessState, claim: &Claim, cause: Cause) {
    let rule = settings.rules.matching(claim.a);
    let times = rule.map_or(settings.times, |rule| rule.times.over(&settings.times));
    state
        .refutations
        .refute(claim, boottime().saturating_add(times.refuted));
    report::refuted(claim, cause);
    mapper::failed(settings, state, claim, cause);
}
