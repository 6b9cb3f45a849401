//! The probes of a question: those of the configuration's schedule, and the further ones
//! of a doubt.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::accept::Refusal;
use aarp_core::mapping::Answer;
use aarp_core::probing::{Ignored, Incoming, Meaning};
use aarp_core::resolution::{self, METHODS, Rank, Resolution};
use aarp_wire::probe::Nonce;
use aarp_wire::route::RouteRepr;

/// How soon after a probe a doubted A has another one.
const FURTHER: Duration = Duration::from_millis(200);
/// How many further probes there are of each method, whatever the budget: each is
/// remembered until the question is over.
const FURTHER_MAX: usize = 24;

/// Probes that leave by one schedule, with nonces of their own.
#[derive(Debug)]
pub(crate) struct Round {
    pub(crate) resolution: Resolution,
    pub(crate) to_a: RouteRepr,
    pub(crate) nonces: [Option<Nonce>; METHODS],
}

/// What is to be done about a question that is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Send the next attempt of this round by this method.
    Send(usize, Rank),
    /// A further round is due: see [`Asked::await_further`] and [`Asked::put_off`].
    Further,
    /// Wait for what comes in until then.
    Wait(Duration),
    /// It is over.
    Over,
}

/// Probes on their way.
#[derive(Debug)]
pub(crate) struct Asked {
    /// Those of the try before, whose answers still count, and then those of this one.
    rounds: Vec<Round>,
    /// Where this try begins.
    first: usize,
    deadline: Duration,
    /// When a further round is due, if it is in doubt.
    further_at: Duration,
    /// The caller is to begin it.
    is_beginning: bool,
    /// The last source that was refused, and why.
    pub(crate) refused: Option<(Ipv6Addr, Refusal)>,
}

impl Asked {
    /// A question that is asked for the first time.
    pub(crate) fn new(round: Round, deadline: Duration) -> Self {
        Self {
            rounds: vec![round],
            first: 0,
            deadline,
            further_at: deadline,
            is_beginning: false,
            refused: None,
        }
    }

    /// The same once more. Answers to the try before still count; the nonces of those
    /// before that are of no use any more.
    pub(crate) fn again(&mut self, round: Round, deadline: Duration) -> Vec<Nonce> {
        let outdated = self.rounds.drain(..self.first);
        let outdated = outdated.flat_map(|round| round.nonces).flatten().collect();
        let before = std::mem::take(&mut self.rounds);
        *self = Self::new(round, deadline);
        self.first = before.len();
        self.rounds.splice(..0, before);
        outdated
    }

    /// Adds a further round.
    pub(crate) fn add(&mut self, round: Round) {
        self.is_beginning = false;
        self.rounds.push(round);
    }

    /// The further round that is due cannot be; when there may be another.
    pub(crate) fn put_off(&mut self) -> Duration {
        self.is_beginning = false;
        self.further_at += FURTHER;
        self.further_at
    }

    /// Takes note that the caller is to begin a further round.
    pub(crate) fn await_further(&mut self) {
        self.is_beginning = true;
    }

    /// The end of the time of a further round, if the caller is to begin one.
    pub(crate) fn further(&self) -> Option<Duration> {
        self.is_beginning.then_some(self.deadline)
    }

    /// When the next probe of a doubt may leave.
    pub(crate) fn further_at(&self) -> Duration {
        self.further_at
    }

    pub(crate) fn round_mut(&mut self, number: usize) -> &mut Round {
        &mut self.rounds[number]
    }

    /// Takes note that a probe leaves.
    pub(crate) fn note_sent(&mut self, now: Duration) {
        self.further_at = now + FURTHER;
    }

    /// What to do at the time `now`; in doubt there are further rounds.
    pub(crate) fn step(&self, now: Duration, in_doubt: bool) -> Step {
        let mut until = None;
        let mut wait = |then: Duration| until = Some(until.map_or(then, |at| then.min(at)));
        for (number, round) in self.rounds.iter().enumerate() {
            match round.resolution.step(now) {
                resolution::Step::Send(rank) => return Step::Send(number, rank),
                resolution::Step::Wait(then) => wait(then),
                resolution::Step::Over if round.is_answered(now) => return Step::Over,
                resolution::Step::Over => {}
            }
        }
        let is_full = self.rounds.len() - self.first > FURTHER_MAX;
        if self.is_beginning {
            wait(self.deadline);
        } else if in_doubt && !is_full && now.max(self.further_at) < self.deadline {
            if self.further_at <= now {
                return Step::Further;
            }
            wait(self.further_at);
        }
        until.map_or(Step::Over, Step::Wait)
    }

    /// What something that came in means, and for which round. What did not arrive is noted.
    ///
    /// # Errors
    /// Why it has nothing to do with any.
    pub(crate) fn examine(
        &mut self,
        rank: Rank,
        incoming: &Incoming<'_>,
    ) -> Result<(usize, Meaning), Ignored> {
        let mut ignored = Ignored::Malformed;
        for (number, round) in self.rounds.iter_mut().enumerate() {
            match round.resolution.examine(rank, incoming) {
                Ok(meaning) => return Ok((number, meaning)),
                Err(why) => ignored = ignored.max(why),
            }
        }
        Err(ignored)
    }

    /// This host will not send by that method, as far as it has been tried.
    pub(crate) fn abandon(&mut self, rank: Rank) {
        for round in &mut self.rounds {
            round.resolution.abandon(rank);
        }
    }

    /// How it has ended, and by which method.
    pub(crate) fn answer(&self, now: Duration, most: Duration) -> (Answer, Rank) {
        let (before, own) = self.rounds.split_at(self.first);
        let late = before.iter().filter(|round| round.is_answered(now));
        let answers = own.iter().chain(late);
        // Of equal ones the first: what nobody answered was asked for the whole budget.
        answers
            .map(|round| round.resolution.answer(now, most))
            .min_by_key(|(answer, rank)| match answer {
                Answer::Pinned { .. } => (0, *rank),
                Answer::Direct { .. } => (1, *rank),
                Answer::Untrusted { .. } => (2, *rank),
                Answer::None { .. } => (3, 0),
            })
            .unwrap_or((Answer::None { waited: most }, 0))
    }

    /// How many probes were sent.
    pub(crate) fn sent(&self) -> u32 {
        let rounds = self.rounds.iter();
        rounds.map(|round| round.resolution.sent()).sum()
    }

    /// The nonces of all probes that may still be answered.
    pub(crate) fn nonces(&self) -> impl Iterator<Item = &Nonce> {
        self.rounds.iter().flat_map(|round| &round.nonces).flatten()
    }
}

impl Round {
    fn is_answered(&self, now: Duration) -> bool {
        let (answer, _) = self.resolution.answer(now, Duration::ZERO);
        matches!(answer, Answer::Pinned { .. } | Answer::Direct { .. })
    }
}
