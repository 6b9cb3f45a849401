//! From A to U: what is remembered, and asking where nothing is.

use core::net::Ipv6Addr;
use core::time::Duration;

use aarp_core::bypass::Bypass;
use aarp_core::mapping::{Answer, Mapping};
use aarp_core::policy::{Interest, Patience, Plan, interest, plan};
use aarp_core::refutation::{Cause, Claim};
use aarp_core::settings::{Settings, Times};
use aarp_core::state::ProcessState;
use aarp_sys::ask::{ADDRESSES, AskError, Inquiry, Report, ask, ask_all, ask_most};
use aarp_sys::clock::boottime;
use aarp_sys::interrupt::Interruptible;
use aarp_sys::memory::with_scratch_of;
use aarp_sys::process::{has_stack_for_a_question, thread};
use aarp_sys::route::Origin;
use aarp_sys::socket;

use crate::connect::TCP;
use crate::{flight, report};

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
        if self.origin.is_none()
            && let Some(known) = self.state.mappings.lookup(self.a)
            && known.is_fresh(now)
        {
            return self.remembered(&known, now, most);
        }
        self.resolve_anew(now, most())
    }

    #[inline]
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
                self.past_a_refutation(known, until, now, most())
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
        known: &Mapping,
        until: Duration,
        now: Duration,
        most: Duration,
    ) -> Result<Target, Unresolved> {
        let times = plan(self.settings, self.a, self.interest, self.patience).times;
        let asked = known.expiry.saturating_sub(times.ttl);
        let failed = until.saturating_sub(times.refuted);
        if asked > failed {
            return Err(Unresolved::Bypass(Bypass::Refuted));
        }
        self.resolve_anew(now, most)
    }

    /// The U that answers now, but not one that has failed; waits no longer than
    /// `most`.
    #[cold]
    pub(crate) fn resolve_anew(&self, now: Duration, most: Duration) -> Result<Target, Unresolved> {
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
            Some(self.ask(self.a, plan, allowance))
        });
        let ended = boottime();
        let (asked, is_same) = match asked {
            Some(Some(asked)) => asked,
            Some(None) => return Err(Unresolved::Bypass(Bypass::Reentrant)),
            None => return Err(Unresolved::Bypass(Bypass::Seccomp)),
        };
        self.state.stalls.charge(thread(), now, ended);
        let told = match asked {
            Ok(told) => told,
            Err(_) if !is_same => return Err(Unresolved::Closed),
            Err(AskError::Halted) => return Err(Unresolved::Bypass(Bypass::Seccomp)),
            Err(AskError::Interrupted) => return Err(Unresolved::Interrupted),
            Err(error) => {
                report::not_asked(self.a, &error);
                return Err(Unresolved::Bypass(match error {
                    AskError::Local => Bypass::Local,
                    AskError::NoRoute => Bypass::NoAnswer,
                    AskError::NotPermitted => Bypass::NoPermission,
                    AskError::NoMethod => Bypass::Policy,
                    _ => Bypass::Busy,
                }));
            }
        };
        let mapping = learned(self.state, self.a, &told, &plan.times, ended);
        if self.origin.is_none() {
            self.state.mappings.store(self.a, mapping);
        }
        if !is_same {
            return Err(Unresolved::Closed);
        }
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

    /// Asks, and whether the descriptor is the same socket behind it: by the kernel's
    /// name, since a number can be closed unseen, and what we know of it be wiped by a
    /// vfork child.
    fn ask(&self, a: Ipv6Addr, plan: Plan, budget: Duration) -> (Result<Report, AskError>, bool) {
        let socket = socket::cookie(self.fd);
        let asked = ask(&Inquiry {
            settings: self.settings,
            a,
            scope: self.scope,
            plan,
            budget,
            origin: self.origin.unwrap_or_default(),
            interruptible: self.interruptible(),
        });
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

/// What is known about A once it has been asked.
fn learned(
    state: &ProcessState,
    a: Ipv6Addr,
    told: &Report,
    times: &Times,
    ended: Duration,
) -> Mapping {
    report::asked(a, told);
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
}
