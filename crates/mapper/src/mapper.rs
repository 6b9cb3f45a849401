//! The mapper, and what goes in and out.

use std::collections::VecDeque;
use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::mapping::Mapping;
use aarp_core::probing::MESSAGE_MAX;
use aarp_core::resolution::Rank;
use aarp_core::settings::{Methods, Settings};
use aarp_core::table::{Entry, REACH, TableWriter};
use aarp_wire::route::RouteRepr;

use crate::counters::Counters;
use crate::crowds::Crowds;
use crate::event::Event;
use crate::judging::Judging;
use crate::pace::{Paces, Rate};
use crate::questions::{Phase, Questions};
use crate::sweep::Sweep;
use crate::users::Shares;
use crate::walks::Walk;

/// Parts of the table that are looked through before everything else has its turn.
const LOOKS: usize = 8;
/// How much is done in a turn beyond what was to be done when it began.
const ACTIONS: usize = 1024;

/// How much is done at once and in a second.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Questions that begin, of all.
    pub total: Rate,
    /// Questions that begin, to one /48.
    pub site: Rate,
    /// Questions that one user may cause who is neither root nor the daemon's own.
    pub user: Rate,
    /// Texts, such as lists, that one such user has made for it.
    pub user_texts: Rate,
    /// Those of all such users together.
    pub texts: Rate,
    /// What one such user may say and ask of sockets.
    pub user_sockets: Rate,
    /// What all such users may together.
    pub sockets: Rate,
    /// Questions at the same time.
    pub open: usize,
    /// Askers that wait at the same time.
    pub waiters: usize,
    /// Those of one user among them who is neither root nor the daemon's own.
    pub user_waiters: usize,
    /// For how long a question may wait for its turn, by [`crate::pace::Lane::patience`]; one that
    /// would for longer is refused.
    pub patience: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            total: Rate::new(2000, 500),
            site: Rate::new(500, 100),
            user: Rate::new(50, 200),
            user_texts: Rate::new(10, 20),
            texts: Rate::new(200, 200),
            user_sockets: Rate::new(1000, 4096),
            sockets: Rate::new(4000, 16_384),
            open: 8192,
            waiters: 16384,
            user_waiters: 1024,
            patience: Duration::from_secs(1),
        }
    }
}

/// Who waits for an answer: a connection, and the number of the request on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Asker {
    /// The connection; numbers are not used twice.
    pub client: u64,
    /// The request.
    pub request: u32,
}

/// Why nobody was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Unasked {
    /// The configuration does not ask about it, or this kind of address.
    Policy,
    /// This user may ask about `prefixes` only.
    NotForUser,
    /// This user has used up its share for now.
    UserLimit,
    /// Too much is being asked already.
    Busy,
    /// It is an address of this host.
    Local,
    /// There is no route to it.
    NoRoute,
    /// The kernel permits no socket to ask with.
    NotPermitted,
    /// Something of the system failed.
    System,
}

impl Unasked {
    /// How many there are.
    pub const COUNT: usize = 8;
    /// All, in the order of their numbers.
    pub const ALL: [Unasked; Unasked::COUNT] = [
        Unasked::Policy,
        Unasked::NotForUser,
        Unasked::UserLimit,
        Unasked::Busy,
        Unasked::Local,
        Unasked::NoRoute,
        Unasked::NotPermitted,
        Unasked::System,
    ];

    /// The name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Unasked::Policy => "policy",
            Unasked::NotForUser => "not-for-user",
            Unasked::UserLimit => "user-limit",
            Unasked::Busy => "busy",
            Unasked::Local => "local",
            Unasked::NoRoute => "no-route",
            Unasked::NotPermitted => "no-permission",
            Unasked::System => "system",
        }
    }
}

/// What an asker is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// What is known.
    Mapping(Ipv6Addr, Mapping),
    /// Why nobody was asked.
    Unasked(Ipv6Addr, Unasked),
}

/// A message to A.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Probe {
    /// A.
    pub to: Ipv6Addr,
    /// The port; 0 for a method without ports.
    pub port: u16,
    /// The method's rank.
    pub rank: Rank,
    pub(crate) message: [u8; MESSAGE_MAX],
    pub(crate) length: usize,
}

impl Probe {
    /// The octets to send.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message[..self.length]
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Look for the route to A, and call [`Mapper::begin`].
    Begin(Ipv6Addr),
    /// Send this, and call [`Mapper::not_sent`] where the host will not have it.
    Send(Probe),
    /// Tell somebody who waits; who has left misses nothing.
    Tell(Asker, Reply),
    /// Tell whoever follows.
    Happened(Event),
    /// Tell somebody who waits that so many mappings were forgotten.
    Flushed(Asker, usize),
    /// All mappings were judged by the settings of the last reload; so many were forgotten.
    Reloaded(usize),
}

/// With what a question begins.
#[derive(Debug, Clone, Copy)]
pub struct Start {
    /// The route to A, where there is one.
    pub route: Option<RouteRepr>,
    /// Which methods there are sockets for.
    pub methods: Methods,
    /// The identifier of echo requests, where it is ours to choose.
    pub ident: Option<u16>,
    /// Random bits.
    pub random: [u8; 34],
}

/// What a program says of a U.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// The anycast address.
    pub a: Ipv6Addr,
    /// The unicast address that failed.
    pub u: Ipv6Addr,
    /// The transport protocol.
    pub protocol: u8,
    /// The port.
    pub port: u16,
    /// The number of errno(3); 0 for silence.
    pub errno: i32,
}

/// The mapper of one network namespace.
#[derive(Debug)]
pub struct Mapper<'t> {
    pub(crate) table: &'t mut TableWriter<'static>,
    pub(crate) settings: Box<Settings>,
    pub(crate) limits: Limits,
    pub(crate) questions: Questions,
    pub(crate) paces: Paces,
    pub(crate) shares: Shares,
    pub(crate) crowds: Crowds,
    pub(crate) counters: Counters,
    pub(crate) actions: VecDeque<Action>,
    pub(crate) sweep: Option<Sweep>,
    pub(crate) judging: Option<Judging>,
    pub(crate) walks: VecDeque<Walk>,
}

impl<'t> Mapper<'t> {
    /// A mapper that keeps what it learns in `table`.
    #[must_use]
    pub fn new(
        table: &'t mut TableWriter<'static>,
        settings: Box<Settings>,
        limits: Limits,
    ) -> Self {
        let crowds = Crowds::new(table.view().slots().div_ceil(REACH));
        Self {
            table,
            crowds,
            settings,
            limits,
            questions: Questions::default(),
            paces: Paces::default(),
            shares: Shares::default(),
            counters: Counters::default(),
            actions: VecDeque::new(),
            sweep: None,
            judging: None,
            walks: VecDeque::new(),
        }
    }

    /// Where mappings are kept.
    #[must_use]
    pub fn table(&self) -> &TableWriter<'static> {
        self.table
    }

    /// The same, for signs of life and its end.
    pub fn table_mut(&mut self) -> &mut TableWriter<'static> {
        self.table
    }

    /// What is known about `a`, fresh or not.
    pub(crate) fn known(&self, a: Ipv6Addr) -> Option<Entry> {
        let known = self.table.view().get(a);
        known.filter(|entry| !self.is_forbidden(entry))
    }

    /// Whether programs use it.
    pub(crate) fn is_fresh(&self, entry: &Entry, now: Duration) -> bool {
        entry.is_fresh(self.table.view().header().epoch(), now)
    }

    /// What was counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// What users who are neither root nor the daemon's own have used of their shares.
    #[must_use]
    pub fn shares(&self) -> &Shares {
        &self.shares
    }

    /// How many questions there are, and how many wait for their answers.
    #[must_use]
    pub fn open(&self) -> (usize, usize) {
        (self.questions.active(), self.questions.waiters())
    }

    /// How much is to be done at once, besides what comes of it.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.actions.len()
    }

    /// How often [`next`](Self::next) is called before everything else has its turn: for all
    /// that is to be done at once, and then for what is due. However much is asked in each
    /// turn of what is known, questions go on and the table is gone through.
    #[must_use]
    pub fn turn(&self) -> usize {
        self.queued() + ACTIONS
    }

    pub(crate) fn tell(&mut self, asker: Asker, reply: Reply) {
        self.actions.push_back(Action::Tell(asker, reply));
    }

    pub(crate) fn happened(&mut self, event: Event) {
        self.actions.push_back(Action::Happened(event));
    }

    /// When [`next`](Self::next) has something to do, if nothing happens before.
    #[must_use]
    pub fn due(&self) -> Option<Duration> {
        if !self.actions.is_empty() {
            return Some(Duration::ZERO);
        }
        let is_walking = self.judging.is_some() || !self.walks.is_empty();
        let judging = is_walking.then_some(Duration::ZERO);
        let dues = [judging, self.sweep_due(), self.questions.due()];
        dues.into_iter().flatten().min()
    }

    /// What is to be done now. `None` for nothing, or where so much of the table was looked
    /// through that everything else is to have its turn: [`due`](Self::due) says so.
    pub fn next(&mut self, now: Duration) -> Option<Action> {
        let mut looks = LOOKS;
        loop {
            if let Some(action) = self.actions.pop_front() {
                return Some(action);
            }
            if let Some((a, again)) = self.questions.take_due(now) {
                match again {
                    Some(user) => self.doubt_again(a, user, now),
                    None => self.pursue(a, now),
                }
                continue;
            }
            looks = looks.checked_sub(1)?;
            // A change is judged when nothing moves all the time that was judged already.
            if !self.walks.is_empty() {
                self.walk(now);
            } else if self.judging.is_some() {
                self.judge(now);
            } else if self.sweep_due().is_some_and(|at| at <= now) {
                self.sweep(now);
            } else {
                return None;
            }
        }
    }

    /// Does what is due about a question.
    fn pursue(&mut self, a: Ipv6Addr, now: Duration) {
        match self.questions.get(a).map(|open| open.phase) {
            Some(Phase::Pausing) => self.ask_again(a, now),
            Some(Phase::AwaitsTurn) => {
                if let Some(open) = self.questions.get_mut(a) {
                    open.phase = Phase::Beginning;
                    self.actions.push_back(Action::Begin(a));
                }
            }
            Some(Phase::Asking) => self.drive(a, now),
            Some(Phase::Beginning | Phase::Lingering | Phase::Answered) | None => {}
        }
    }

    /// Has a question that is open wait for another turn. Where there is none, who waits
    /// is told so, and U that is known holds on.
    pub(crate) fn ask_again(&mut self, a: Ipv6Addr, now: Duration) {
        let Some(open) = self.questions.get_mut(a) else {
            return;
        };
        let lane = open.lane;
        if let Some(turn) = self.paces.reserve(&self.limits, lane, a, now) {
            open.phase = Phase::AwaitsTurn;
            return self.questions.wake(a, Some(turn));
        }
        let known = self.known(a).filter(|entry| self.is_fresh(entry, now));
        let later = now + self.limits.patience / 2;
        match known.filter(|entry| later < entry.mapping.expiry) {
            Some(_) => {
                for waiter in self.questions.take_waiters(a) {
                    self.refuse(waiter, a, Unasked::Busy);
                }
                if let Some(open) = self.questions.get_mut(a) {
                    open.phase = Phase::Pausing;
                }
                self.questions.wake(a, Some(later));
            }
            None => self.give_up(a, Unasked::Busy),
        }
    }
}
