//! The questions that are open: one for each A, however many wait for it.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::accept::Refusal;
use aarp_core::policy::Plan;
use aarp_core::resolution::Resolution;
use aarp_wire::probe::Nonce;
use aarp_wire::route::RouteRepr;

use crate::mapper::Asker;

/// Why A is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Why {
    /// A program waits for it.
    Asked,
    /// A mapping that is used is about to end.
    Refresh,
    /// A program says that U has failed.
    Doubt,
    /// The epoch has ended in which it was found out.
    Epoch,
}

impl Why {
    /// How many there are.
    pub const COUNT: usize = 4;
    /// All, in the order of their numbers.
    pub const ALL: [Why; Why::COUNT] = [Why::Asked, Why::Refresh, Why::Doubt, Why::Epoch];

    /// The name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Why::Asked => "asked",
            Why::Refresh => "refresh",
            Why::Doubt => "doubt",
            Why::Epoch => "epoch",
        }
    }
}

/// How far a question is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It waits for the turn of its /48.
    AwaitsSite,
    /// It waits for the turn among all.
    AwaitsTotal,
    /// The caller is to begin it.
    Beginning,
    /// Probes are on their way.
    Asking,
    /// It was not answered, and is asked again at its time.
    Pausing,
    /// It is over without an answer, and one may still come.
    Lingering,
    /// It is answered, and other answers may still come, which count for nothing.
    Answered,
}

impl Phase {
    /// Whether it waits for nothing but its end.
    pub(crate) fn is_over(self) -> bool {
        matches!(self, Phase::Lingering | Phase::Answered)
    }
}

/// How many are kept that are over.
const OVER: usize = 4096;

/// A question.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) phase: Phase,
    pub(crate) why: Why,
    pub(crate) plan: Plan,
    pub(crate) waiters: Vec<Asker>,
    /// How often it was asked without an answer.
    pub(crate) tries: u8,
    /// Since probes were on their way.
    pub(crate) asked: Option<Asked>,
    /// When something is to be done about it.
    wake: Option<Duration>,
}

/// Probes on their way.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) resolution: Box<Resolution>,
    pub(crate) to_a: RouteRepr,
    pub(crate) nonces: [Option<Nonce>; aarp_core::resolution::METHODS],
    /// The last source that was refused, and why.
    pub(crate) refused: Option<(Ipv6Addr, Refusal)>,
}

impl Open {
    pub(crate) fn new(why: Why, plan: Plan) -> Self {
        Self {
            phase: Phase::AwaitsSite,
            why,
            plan,
            waiters: Vec::new(),
            tries: 0,
            asked: None,
            wake: None,
        }
    }
}

/// All of them, found by A, by nonce and by what is due next.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    by_a: HashMap<Ipv6Addr, Open>,
    by_nonce: HashMap<Nonce, Ipv6Addr>,
    wakes: BTreeSet<(Duration, Ipv6Addr)>,
    /// The same of those that are over.
    ends: BTreeSet<(Duration, Ipv6Addr)>,
    waiters: usize,
}

impl Questions {
    /// How many are not over.
    pub(crate) fn active(&self) -> usize {
        self.by_a.len() - self.ends.len()
    }

    /// What is being found out.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Ipv6Addr> {
        let active = self.by_a.iter().filter(|(_, open)| !open.phase.is_over());
        active.map(|(a, _)| *a)
    }

    /// How many wait for answers.
    pub(crate) fn waiters(&self) -> usize {
        self.waiters
    }

    pub(crate) fn get(&self, a: Ipv6Addr) -> Option<&Open> {
        self.by_a.get(&a)
    }

    /// For what is not its time, its waiters or its nonces.
    pub(crate) fn get_mut(&mut self, a: Ipv6Addr) -> Option<&mut Open> {
        self.by_a.get_mut(&a)
    }

    pub(crate) fn of_nonce(&self, nonce: &Nonce) -> Option<Ipv6Addr> {
        self.by_nonce.get(nonce).copied()
    }

    /// Adds a question, in the place of another about the same A.
    pub(crate) fn insert(&mut self, a: Ipv6Addr, open: Open, wake: Duration) {
        self.remove(a);
        self.by_a.insert(a, open);
        self.wake(a, Some(wake));
    }

    /// Says when something is to be done about a question.
    pub(crate) fn wake(&mut self, a: Ipv6Addr, at: Option<Duration>) {
        let Some(open) = self.by_a.get_mut(&a) else {
            return;
        };
        if let Some(before) = open.wake.take() {
            self.wakes.remove(&(before, a));
            self.ends.remove(&(before, a));
        }
        open.wake = at;
        match (at, open.phase.is_over()) {
            (None, _) => {}
            (Some(at), false) => drop(self.wakes.insert((at, a))),
            (Some(at), true) => drop(self.ends.insert((at, a))),
        }
    }

    /// Lets a question be over: it is forgotten at its time, or earlier to make room.
    pub(crate) fn end(&mut self, a: Ipv6Addr, phase: Phase, at: Duration) {
        if let Some(open) = self.by_a.get_mut(&a) {
            open.phase = phase;
            self.wake(a, Some(at));
        }
        while self.ends.len() > OVER
            && let Some((_, first)) = self.ends.first().copied()
        {
            self.remove(first);
        }
    }

    /// Those whose answers would be of no use any more: they are to be asked anew. What is
    /// over is forgotten.
    pub(crate) fn outdated(&mut self) -> Vec<Ipv6Addr> {
        while let Some((_, first)) = self.ends.first().copied() {
            self.remove(first);
        }
        let asked = self.by_a.iter().filter(|(_, open)| open.asked.is_some());
        let asked: Vec<_> = asked.map(|(a, _)| *a).collect();
        for a in &asked {
            self.forget_nonces(*a);
        }
        asked
    }

    /// Has somebody wait for the answer.
    pub(crate) fn join(&mut self, a: Ipv6Addr, asker: Asker) {
        if let Some(open) = self.by_a.get_mut(&a) {
            open.waiters.push(asker);
            self.waiters += 1;
        }
    }

    /// Those who wait, who then do no longer.
    pub(crate) fn take_waiters(&mut self, a: Ipv6Addr) -> Vec<Asker> {
        let waiters = self.by_a.get_mut(&a).map(|open| &mut open.waiters);
        let waiters = waiters.map(std::mem::take).unwrap_or_default();
        self.waiters -= waiters.len();
        waiters
    }

    /// Takes note that probes leave with these nonces.
    pub(crate) fn begin(&mut self, a: Ipv6Addr, asked: Asked) {
        self.forget_nonces(a);
        let Some(open) = self.by_a.get_mut(&a) else {
            return;
        };
        for nonce in asked.nonces.iter().flatten() {
            self.by_nonce.insert(*nonce, a);
        }
        open.phase = Phase::Asking;
        open.asked = Some(asked);
    }

    fn forget_nonces(&mut self, a: Ipv6Addr) {
        let asked = self.by_a.get_mut(&a).and_then(|open| open.asked.take());
        for nonce in asked.iter().flat_map(|asked| asked.nonces.iter().flatten()) {
            self.by_nonce.remove(nonce);
        }
    }

    /// Forgets a question, and who waited.
    pub(crate) fn remove(&mut self, a: Ipv6Addr) {
        self.wake(a, None);
        self.take_waiters(a);
        self.forget_nonces(a);
        self.by_a.remove(&a);
    }

    /// When the first of them is due.
    pub(crate) fn due(&self) -> Option<Duration> {
        let first = |set: &BTreeSet<(Duration, Ipv6Addr)>| set.first().map(|(at, _)| *at);
        [&self.wakes, &self.ends]
            .into_iter()
            .filter_map(first)
            .min()
    }

    /// One that is due, which then is no longer.
    pub(crate) fn take_due(&mut self, now: Duration) -> Option<Ipv6Addr> {
        let due = |set: &BTreeSet<_>| set.first().copied().filter(|(at, _)| *at <= now);
        let (_, a) = due(&self.wakes).or_else(|| due(&self.ends))?;
        match self.by_a.get(&a) {
            Some(open) if open.phase.is_over() => self.remove(a),
            _ => self.wake(a, None),
        }
        Some(a)
    }
}
