//! One anycast address asked by several methods at once: which answer counts, and
//! when it is certain.
//!
//! * A method that ranks higher is believed before one that ranks lower: an echo
//!   reply comes from whoever holds A, while a port-unreachable may come from any
//!   router on the way.
//! * U from one method counts more than A from another: `direct` is what is left
//!   when each method has answered or timed out.

use core::net::Ipv6Addr;
use core::time::Duration;

use aarp_wire::probe::{Method, Nonce};

use crate::accept::Verdict;
use crate::echo::Echo;
use crate::mapping::Answer;
use crate::probing::{
    Ignored, Incoming, MESSAGE_MAX, Meaning, ProbeMethod, Question, Step as QuestionStep,
};
use crate::settings::Retransmits;
use crate::unreach::Unreach;

/// How many methods there are.
pub const METHODS: usize = 2;

/// A method by its rank: 0 is believed before all others.
pub type Rank = usize;

/// The methods in the order in which they are believed.
pub const RANKING: [Method; METHODS] = [Method::Echo, Method::Unreach];

/// For how long an answer is held back at the least, for one that ranks higher.
///
/// Both probes leave together and go the same way, but the hosts at its end need
/// not work both off together: a port-unreachable is made in the responder's kernel,
/// an echo reply perhaps by a program of its. One more round trip is what the same
/// way takes again; a few milliseconds are a scheduler's share where that is short.
/// An echo that was lost is not waited for until its retransmission: who can only be
/// asked by `unreach` (the usual reason to have it) would be held every time.
pub const GRACE_MIN: Duration = Duration::from_millis(5);

/// For how much longer the others of several addresses are waited for, at the least,
/// once one of them is answered.
pub const OTHERS_MIN: Duration = Duration::from_millis(20);

/// For how much longer the others of several addresses are waited for, once one of them
/// is answered after `took`: as long again. They were asked at the same time, and the
/// hosts that serve one name are seldom much farther than twice as far as the nearest;
/// a few milliseconds, where that is near, reach the next region. Who connects to one
/// that is farther asks it then.
#[must_use]
pub fn patience_with_others(took: Duration) -> Duration {
    took.max(OTHERS_MIN)
}

/// Any of the methods.
#[derive(Debug, Clone, Copy)]
pub enum AnyMethod {
    /// ICMPv6 echo.
    Echo(Echo),
    /// UDP to a closed port.
    Unreach(Unreach),
}

impl AnyMethod {
    fn inner(&self) -> &dyn ProbeMethod {
        match self {
            AnyMethod::Echo(echo) => echo,
            AnyMethod::Unreach(unreach) => unreach,
        }
    }
}

impl ProbeMethod for AnyMethod {
    fn method(&self) -> Method {
        self.inner().method()
    }

    fn emit<'b>(&self, nonce: &Nonce, attempt: u32, buffer: &'b mut [u8; MESSAGE_MAX]) -> &'b [u8] {
        self.inner().emit(nonce, attempt, buffer)
    }

    fn examine(
        &self,
        nonce: &Nonce,
        sent: u32,
        incoming: &Incoming<'_>,
    ) -> Result<Meaning, Ignored> {
        self.inner().examine(nonce, sent, incoming)
    }
}

/// What a method has found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    /// Nothing yet.
    Nothing,
    /// Nothing, and nothing will be: it cannot be sent.
    Abandoned,
    /// A itself answered.
    Direct(Duration),
    /// U answered.
    Pinned(Ipv6Addr, Duration),
}

/// A method in flight.
#[derive(Debug, Clone)]
struct Flight {
    question: Question<AnyMethod>,
    heard: Heard,
}

impl Flight {
    /// Whether it may still find out something.
    fn is_open(&self) -> bool {
        self.heard == Heard::Nothing && !self.question.is_exhausted()
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Send the next attempt of this method.
    Send(Rank),
    /// Wait for what comes in until then.
    Wait(Duration),
    /// It is over: see [`Resolution::answer`].
    Over,
}

/// A question to one A, by one or more methods.
#[derive(Debug, Clone)]
pub struct Resolution {
    flights: [Option<Flight>; METHODS],
    deadline: Duration,
    budget: Duration,
    /// Until when an answer is held back for one that ranks higher.
    held_until: Option<Duration>,
    /// When it is ended, decided or not, because nobody waits for it any more.
    given_up: Option<Duration>,
    /// The last source that was refused, and by which method.
    refused: Option<(Ipv6Addr, Rank)>,
}

/// When a question is asked, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// When it begins.
    pub began: Duration,
    /// How much time it has.
    pub budget: Duration,
    /// When it is asked again.
    pub retransmit: Retransmits,
}

impl Resolution {
    /// A question about `a` by those methods that there are, each with its fresh and
    /// random nonce, at the place of its rank.
    #[must_use]
    pub fn new(
        a: Ipv6Addr,
        schedule: &Schedule,
        methods: [Option<(AnyMethod, Nonce)>; METHODS],
    ) -> Self {
        let Schedule {
            began,
            budget,
            retransmit,
        } = *schedule;
        let flights = methods.map(|method| {
            method.map(|(method, nonce)| Flight {
                question: Question::new(method, a, nonce, retransmit, began, budget),
                heard: Heard::Nothing,
            })
        });
        Self {
            flights,
            deadline: began.saturating_add(budget),
            budget,
            held_until: None,
            given_up: None,
            refused: None,
        }
    }

    /// What to do at the time `now`.
    #[must_use]
    pub fn step(&self, now: Duration) -> Step {
        let end = self.end();
        if now >= end || self.is_concluded(now) {
            return Step::Over;
        }
        let mut until = self.held_until.unwrap_or(end).min(end);
        for (rank, flight) in self.flights.iter().enumerate() {
            match flight.as_ref().filter(|flight| flight.is_open()) {
                None => {}
                Some(flight) => match flight.question.step(now) {
                    QuestionStep::Send => return Step::Send(rank),
                    QuestionStep::Wait(then) => until = until.min(then),
                    QuestionStep::Over => {}
                },
            }
        }
        Step::Wait(until)
    }

    fn end(&self) -> Duration {
        self.given_up.unwrap_or(self.deadline).min(self.deadline)
    }

    /// Ends it at `until`, if that is before its budget is over.
    pub fn give_up_at(&mut self, until: Duration) {
        self.given_up = Some(until);
    }

    /// Whether it was ended before its budget was over, and nothing is decided: what
    /// [`Resolution::answer`] says is then no reason to remember anything.
    #[must_use]
    pub fn is_given_up(&self, now: Duration) -> bool {
        self.end() < self.deadline && now < self.deadline && !self.is_concluded(now)
    }

    /// Whether no more can be found out that would count.
    fn is_concluded(&self, now: Duration) -> bool {
        let is_open = |flight: &Option<Flight>| flight.as_ref().is_some_and(Flight::is_open);
        match self.pinned() {
            Some((_, _, rank)) => {
                self.held_until.is_some_and(|until| now >= until)
                    || !self.flights[..rank].iter().any(is_open)
            }
            None => !self.flights.iter().any(is_open),
        }
    }

    /// U from the method that ranks highest of those that have one.
    fn pinned(&self) -> Option<(Ipv6Addr, Duration, Rank)> {
        self.first(|heard| match heard {
            Heard::Pinned(u, rtt) => Some((u, rtt)),
            _ => None,
        })
        .map(|((u, rtt), rank)| (u, rtt, rank))
    }

    fn first<T>(&self, wanted: impl Fn(Heard) -> Option<T>) -> Option<(T, Rank)> {
        let flights = self.flights.iter().enumerate();
        flights
            .filter_map(|(rank, flight)| Some((wanted(flight.as_ref()?.heard)?, rank)))
            .next()
    }

    /// The message of the next attempt of a method, which is then taken for sent at
    /// `now`; empty for a method that is not in flight.
    pub fn emit<'b>(
        &mut self,
        rank: Rank,
        now: Duration,
        buffer: &'b mut [u8; MESSAGE_MAX],
    ) -> &'b [u8] {
        match self.flights.get_mut(rank).and_then(Option::as_mut) {
            Some(flight) => flight.question.emit(now, buffer),
            None => &[],
        }
    }

    /// What `incoming`, on the socket of a method, means. What did not arrive is
    /// noted; an answer is to be judged, and then given to [`Resolution::hear`].
    ///
    /// # Errors
    /// Why it has nothing to do with this question.
    pub fn examine(&mut self, rank: Rank, incoming: &Incoming<'_>) -> Result<Meaning, Ignored> {
        let flight = self.flights.get_mut(rank).and_then(Option::as_mut);
        let flight = flight.ok_or(Ignored::Malformed)?;
        let meaning = flight.question.examine(incoming)?;
        if let Meaning::Undelivered(attempt) = meaning {
            flight.question.note_undelivered(attempt);
        }
        Ok(meaning)
    }

    /// Takes note that `source` has answered an attempt of a method, at the time
    /// `now`, and what that was judged to be. The first answer of a method counts.
    pub fn hear(
        &mut self,
        rank: Rank,
        attempt: u32,
        source: Ipv6Addr,
        verdict: Verdict,
        now: Duration,
    ) {
        let Some(flight) = self.flights.get_mut(rank).and_then(Option::as_mut) else {
            return;
        };
        let rtt = flight.question.round_trip(attempt, now);
        let is_first = matches!(flight.heard, Heard::Nothing | Heard::Abandoned);
        match verdict {
            Verdict::Pinned | Verdict::Direct if !is_first => {}
            Verdict::Pinned => {
                flight.heard = Heard::Pinned(source, rtt);
                self.held_until
                    .get_or_insert(now.saturating_add(rtt.max(GRACE_MIN)));
            }
            Verdict::Direct => flight.heard = Heard::Direct(rtt),
            Verdict::Refused(_) => {
                self.refused = Some((source, rank));
                // Who sends an error in A's place has not let the datagram through.
                // An echo reply may be forged, and the right one still on its way.
                if flight.question.method() == Method::Unreach {
                    flight.question.note_undelivered(attempt);
                }
            }
        }
    }

    /// Gives a method up: this host will not send by it.
    pub fn abandon(&mut self, rank: Rank) {
        if let Some(flight) = self.flights.get_mut(rank).and_then(Option::as_mut)
            && flight.heard == Heard::Nothing
        {
            flight.heard = Heard::Abandoned;
        }
    }

    /// How it has ended at the time `now`, and by which method. `most` is the
    /// longest that anybody would have waited.
    #[must_use]
    pub fn answer(&self, now: Duration, most: Duration) -> (Answer, Rank) {
        if let Some((u, rtt, rank)) = self.pinned() {
            return (Answer::Pinned { u, rtt }, rank);
        }
        let direct = self.first(|heard| match heard {
            Heard::Direct(rtt) => Some(rtt),
            _ => None,
        });
        if let Some((rtt, rank)) = direct {
            return (Answer::Direct { rtt }, rank);
        }
        if let Some((u, rank)) = self.refused {
            return (Answer::Untrusted { u }, rank);
        }
        let rank = self.flights.iter().position(Option::is_some).unwrap_or(0);
        let waited = if self.is_given_up(now) {
            let began = self.deadline.saturating_sub(self.budget);
            now.saturating_sub(began)
        } else if now < self.deadline || self.is_undelivered() {
            // Over before its time, or nothing has arrived: who waits longer hears no
            // more than this. It is no matter of the budget.
            self.budget.max(most)
        } else {
            self.budget
        };
        (Answer::None { waited }, rank)
    }

    /// Whether nothing that was sent has arrived, as the network or this host says.
    #[must_use]
    pub fn is_undelivered(&self) -> bool {
        self.flights
            .iter()
            .flatten()
            .all(|flight| flight.heard == Heard::Abandoned || flight.question.is_undelivered())
    }

    /// How many attempts were made by all methods together.
    #[must_use]
    pub fn sent(&self) -> u32 {
        let flights = self.flights.iter().flatten();
        flights.map(|flight| flight.question.sent()).sum()
    }
}

#[cfg(test)]
#[path = "resolution_tests.rs"]
mod tests;
