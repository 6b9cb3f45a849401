//! The questions that are open: one for each A, however many wait for it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::policy::Plan;
use aarp_wire::probe::Nonce;

use crate::conclusion::DOUBT_AGAIN;
use crate::mapper::{Asker, Limits};
use crate::pace::Lane;
use crate::rounds::{Asked, Round};
use crate::users::User;

/// Why A is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Why {
    /// A program waits for it.
    Asked,
    /// A mapping that is used is about to end.
    Refresh,
    /// A program says that U has failed, or that what is known does not serve.
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
    /// It waits for its turn.
    AwaitsTurn,
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
    pub(crate) lane: Lane,
    /// Who has had it asked; nobody where it is asked because it is used.
    pub(crate) user: Option<User>,
    pub(crate) plan: Plan,
    pub(crate) waiters: Vec<(Asker, User)>,
    /// When it was asked last, or turned up.
    pub(crate) began: Duration,
    /// Who has said, while it is over, that U has failed again.
    pub(crate) again: Option<User>,
    /// How often it was asked without an answer.
    pub(crate) tries: u8,
    /// Since when somebody says that U has failed.
    pub(crate) doubted_at: Option<Duration>,
    /// Since probes were on their way.
    pub(crate) asked: Option<Asked>,
    /// When something is to be done about it.
    wake: Option<Duration>,
}

impl Open {
    /// From when on A may be doubted again, while that is over which was asked because of
    /// a doubt.
    pub(crate) fn doubted_until(&self) -> Option<Duration> {
        let is_over = self.phase.is_over() && self.why == Why::Doubt;
        is_over.then(|| self.began + DOUBT_AGAIN)
    }

    /// Somebody says, while it is asked, that U has failed.
    pub(crate) fn doubt(&mut self, now: Duration) {
        self.why = Why::Doubt;
        self.doubted_at.get_or_insert(now);
    }

    /// The end of the time of a further round, if the caller is to begin one.
    pub(crate) fn further(&self) -> Option<Duration> {
        let asked = self.asked.as_ref()?;
        asked.further().filter(|_| self.phase == Phase::Asking)
    }

    /// Whether it is too soon to doubt A again.
    pub(crate) fn was_doubted(&self, now: Duration) -> bool {
        self.doubted_until().is_some_and(|until| now < until)
    }

    pub(crate) fn new(why: Why, user: Option<User>, plan: Plan, now: Duration) -> Self {
        let lane = user.map_or(Lane::Upkeep, User::lane);
        Self {
            phase: Phase::AwaitsTurn,
            why,
            lane,
            user,
            plan,
            waiters: Vec::new(),
            began: now,
            again: None,
            tries: 0,
            doubted_at: None,
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
    /// How many are not over, by lane.
    active: [usize; Lane::COUNT],
    waiters: Waiters,
}

/// How many wait for answers.
#[derive(Debug, Default)]
struct Waiters {
    all: usize,
    /// Those who are neither root nor the daemon's own, and how many each user has.
    others: usize,
    of_user: HashMap<u32, usize>,
}

impl Questions {
    /// How many are not over.
    pub(crate) fn active(&self) -> usize {
        self.active.iter().sum()
    }

    /// Whether there is room for one more of that lane: upkeep has a quarter that is left
    /// to it, root's programs another.
    pub(crate) fn has_room(&self, lane: Lane, open: usize) -> bool {
        let quarter = open / 4;
        let [own, others, upkeep] = self.active;
        let room = match lane {
            Lane::Own => own + others < open - quarter,
            Lane::Others => others < (open / 2).max(1) && own + others < open - quarter,
            Lane::Upkeep => upkeep < quarter.max(1),
        };
        room && self.active() < open
    }

    /// What is being found out.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Ipv6Addr> {
        let active = self.by_a.iter().filter(|(_, open)| !open.phase.is_over());
        active.map(|(a, _)| *a)
    }

    /// How many wait for answers.
    pub(crate) fn waiters(&self) -> usize {
        self.waiters.all
    }

    /// Whether one more of that user may wait; all who are neither root nor the daemon's
    /// own leave a quarter to these.
    pub(crate) fn may_wait(&self, user: User, limits: &Limits) -> bool {
        let Waiters {
            all,
            others,
            of_user,
        } = &self.waiters;
        let is_within = match user {
            User::Own => true,
            User::Other(uid) => {
                *others < limits.waiters - limits.waiters / 4
                    && of_user.get(&uid).copied().unwrap_or(0) < limits.user_waiters
            }
        };
        is_within && *all < limits.waiters
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
        self.active[open.lane as usize] += 1;
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

    /// Has something done about it sooner than was said.
    pub(crate) fn wake_sooner(&mut self, a: Ipv6Addr, at: Duration) {
        let due = self.by_a.get(&a).and_then(|open| open.wake);
        if due.is_some_and(|due| at < due) {
            self.wake(a, Some(at));
        }
    }

    /// Lets a question be over: it is forgotten at its time, or earlier to make room.
    pub(crate) fn end(&mut self, a: Ipv6Addr, phase: Phase, at: Duration) {
        if let Some(open) = self.by_a.get_mut(&a) {
            self.active[open.lane as usize] -= usize::from(!open.phase.is_over());
            open.phase = phase;
            self.wake(a, Some(at));
        }
        while self.ends.len() > OVER
            && let Some((_, first)) = self.ends.first().copied()
        {
            self.remove(first);
        }
    }

    /// Forgets what is over.
    pub(crate) fn forget_over(&mut self) {
        while let Some((_, first)) = self.ends.first().copied() {
            self.remove(first);
        }
    }

    /// Those whose answers would be of no use any more: they are to be asked anew. What is
    /// over is forgotten.
    pub(crate) fn outdated(&mut self) -> Vec<Ipv6Addr> {
        self.forget_over();
        let asked = self.by_a.iter().filter(|(_, open)| open.asked.is_some());
        let asked: Vec<_> = asked.map(|(a, _)| *a).collect();
        for a in &asked {
            self.forget_nonces(*a);
        }
        asked
    }

    /// Has somebody wait for the answer.
    pub(crate) fn join(&mut self, a: Ipv6Addr, asker: Asker, user: User) {
        let Some(open) = self.by_a.get_mut(&a) else {
            return;
        };
        open.waiters.push((asker, user));
        self.waiters.all += 1;
        if let User::Other(uid) = user {
            self.waiters.others += 1;
            *self.waiters.of_user.entry(uid).or_default() += 1;
        }
    }

    /// Those who wait, who then do no longer.
    pub(crate) fn take_waiters(&mut self, a: Ipv6Addr) -> Vec<(Asker, User)> {
        let waiters = self.by_a.get_mut(&a).map(|open| &mut open.waiters);
        let waiters = waiters.map(std::mem::take).unwrap_or_default();
        self.waiters.all -= waiters.len();
        for (_, user) in &waiters {
            if let User::Other(uid) = user
                && let Entry::Occupied(mut count) = self.waiters.of_user.entry(*uid)
            {
                self.waiters.others -= 1;
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
        waiters
    }

    /// Takes note that probes leave. Where A is in doubt, answers to the try before count
    /// on: it is but a moment ago.
    pub(crate) fn begin(&mut self, a: Ipv6Addr, round: Round, now: Duration) {
        let Some(open) = self.by_a.get_mut(&a) else {
            return;
        };
        for nonce in round.nonces.iter().flatten() {
            self.by_nonce.insert(*nonce, a);
        }
        let deadline = now + open.plan.times.budget;
        let outdated = match &mut open.asked {
            Some(asked) if open.doubted_at.is_some() => asked.again(round, deadline),
            asked => {
                let before = asked.replace(Asked::new(round, deadline));
                before.map_or_else(Vec::new, |before| before.nonces().copied().collect())
            }
        };
        open.phase = Phase::Asking;
        open.began = now;
        for nonce in outdated {
            self.by_nonce.remove(&nonce);
        }
    }

    /// Takes note that probes of a further round leave.
    pub(crate) fn go_on(&mut self, a: Ipv6Addr, round: Round) {
        let asked = self.by_a.get_mut(&a).and_then(|open| open.asked.as_mut());
        if let Some(asked) = asked {
            for nonce in round.nonces.iter().flatten() {
                self.by_nonce.insert(*nonce, a);
            }
            asked.add(round);
        }
    }

    /// A further round cannot begin now.
    pub(crate) fn put_off(&mut self, a: Ipv6Addr) {
        let asked = self.by_a.get_mut(&a).and_then(|open| open.asked.as_mut());
        if let Some(later) = asked.map(Asked::put_off) {
            self.wake_sooner(a, later);
        }
    }

    fn forget_nonces(&mut self, a: Ipv6Addr) {
        let asked = self.by_a.get_mut(&a).and_then(|open| open.asked.take());
        for nonce in asked.iter().flat_map(Asked::nonces) {
            self.by_nonce.remove(nonce);
        }
    }

    /// Forgets a question, and who waited.
    pub(crate) fn remove(&mut self, a: Ipv6Addr) {
        self.wake(a, None);
        self.take_waiters(a);
        self.forget_nonces(a);
        if let Some(open) = self.by_a.remove(&a) {
            self.active[open.lane as usize] -= usize::from(!open.phase.is_over());
        }
    }

    /// When the first of them is due.
    pub(crate) fn due(&self) -> Option<Duration> {
        let first = |set: &BTreeSet<(Duration, Ipv6Addr)>| set.first().map(|(at, _)| *at);
        [&self.wakes, &self.ends]
            .into_iter()
            .filter_map(first)
            .min()
    }

    /// One that is due, which then is no longer; and who has doubted it again since it was
    /// over.
    pub(crate) fn take_due(&mut self, now: Duration) -> Option<(Ipv6Addr, Option<User>)> {
        let due = |set: &BTreeSet<_>| set.first().copied().filter(|(at, _)| *at <= now);
        let (_, a) = due(&self.wakes).or_else(|| due(&self.ends))?;
        let mut again = None;
        match self.by_a.get(&a) {
            Some(open) if open.phase.is_over() => {
                again = open.again;
                self.remove(a);
            }
            _ => self.wake(a, None),
        }
        Some((a, again))
    }
}
