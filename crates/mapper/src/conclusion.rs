//! What becomes of a question: what is remembered, who is told, and whether it is asked
//! again.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::accept::judge_address;
use aarp_core::mapping::{Answer, Mapping, State};
use aarp_core::policy::{Patience, interest, plan};
use aarp_core::resolution::RANKING;
use aarp_core::table::{Entry, Stored};

use crate::event::Event;
use crate::mapper::{Mapper, Reply};
use crate::permit::due;
use crate::questions::{Open, Phase, Why};
use crate::requests::unasked_for;
use crate::users::User;

/// How often in a row a U that is in use may not answer before it is given up.
const TRIES: u8 = 3;
/// For how long a doubted U is kept at the least, whatever says that A cannot be reached: a
/// router may say so to every probe at once, until routing has found another way.
const DOUBT_MIN: Duration = Duration::from_secs(3);
/// How soon A is asked again when a U that was doubted has not answered.
const DOUBT_PAUSE: Duration = Duration::from_millis(100);
/// What is less is left to the end of the mapping.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// For how long an answer is taken that comes too late.
const LATE: Duration = Duration::from_secs(5);
/// How soon the same A may be doubted again.
pub(crate) const DOUBT_AGAIN: Duration = Duration::from_secs(1);

impl Mapper<'_> {
    /// A question has ended.
    pub(crate) fn conclude(&mut self, a: Ipv6Addr, now: Duration) {
        let Some(open) = self.questions.get(a) else {
            return;
        };
        let Some(asked) = &open.asked else { return };
        let (why, user, began) = (open.why, open.user, open.began);
        let (tries, doubted_at) = (open.tries.saturating_add(1), open.doubted_at);
        let budget = open.plan.times.budget;
        // The configuration may have become another since it was asked.
        let times = match interest(&self.settings, a) {
            Ok(interest) => plan(&self.settings, a, interest, Patience::Blocking).times,
            Err(bypass) => return self.give_up(a, unasked_for(bypass)),
        };
        let (answer, rank) = asked.answer(now, budget);
        let answer = self.judged(a, answer);
        let (refused, sent, further_at) = (asked.refused, asked.sent(), asked.further_at());
        let previous = self.known(a);
        let pinned = previous.filter(|entry| entry.mapping.state == State::Pinned);
        self.count(&answer);
        let is_answered = matches!(answer, Answer::Pinned { .. } | Answer::Direct { .. });
        let known = previous.map(|entry| entry.mapping);
        let mapping = Mapping::after(answer, a, RANKING[rank], known.as_ref(), &times, now);
        if !is_answered && let Some(entry) = pinned {
            let held = Some(entry.mapping).filter(|_| self.is_fresh(&entry, now));
            let left = held.map_or(Duration::ZERO, |held| held.expiry - now);
            if let Some(pause) = pause(tries, left, doubted_at, now) {
                // However soon it was over: there is no probe sooner than in the schedule.
                let again = doubted_at.map_or(now, |_| further_at).max(now + pause);
                // Nobody forgets U yet.
                self.tell_all(a, held.unwrap_or(mapping));
                if let Some(open) = self.questions.get_mut(a) {
                    open.tries = tries;
                    open.phase = Phase::Pausing;
                }
                return self.questions.wake(a, Some(again));
            }
        }
        let used = match (why, previous) {
            (Why::Epoch, Some(entry)) => entry.used,
            _ => u32::try_from(now.as_secs()).unwrap_or(u32::MAX),
        };
        let entry = Entry {
            a,
            mapping,
            epoch: self.table.view().header().epoch() as u8,
            used,
            due: due(&mapping, &times),
            is_asked: false,
            is_used: why == Why::Refresh || pinned.is_some_and(|entry| entry.is_used),
            is_others: self.is_of_others(a, user, previous),
        };
        if self.keep(&entry, user, previous.is_some(), now) {
            self.announce(a, known, &mapping, refused.map(|(_, refusal)| refusal));
        }
        self.tell_all(a, mapping);
        // Another answer to another attempt is no forgery.
        let mut until = match (is_answered, sent > 1) {
            (true, true) => Some(now + budget),
            (true, false) => None,
            (false, _) => Some(now + LATE),
        };
        if why == Why::Doubt {
            until = until.max(Some(began + DOUBT_AGAIN));
        }
        match (until, is_answered) {
            (None, _) => self.questions.remove(a),
            (Some(until), true) => self.questions.end(a, Phase::Answered, until),
            (Some(until), false) => self.questions.end(a, Phase::Lingering, until),
        }
    }

    /// What counts of an answer by the settings of now.
    fn judged(&self, a: Ipv6Addr, answer: Answer) -> Answer {
        match answer {
            Answer::Pinned { u, .. } if judge_address(&self.settings, a, u).is_some() => {
                Answer::Untrusted { u }
            }
            answer => answer,
        }
    }

    /// Whether only users have asked about A who are neither root nor the daemon's own.
    fn is_of_others(&self, a: Ipv6Addr, user: Option<User>, previous: Option<Entry>) -> bool {
        let waits = |open: &Open| open.waiters.iter().any(|(_, user)| *user == User::Own);
        let is_own = user == Some(User::Own)
            || previous.is_some_and(|entry| !entry.is_others)
            || self.questions.get(a).is_some_and(waits);
        !is_own
    }

    /// Stores what was found out, if there is a place for it, and its user has not added
    /// too much to that part of the table. Whether it is there.
    fn keep(&mut self, entry: &Entry, user: Option<User>, is_known: bool, now: Duration) -> bool {
        if let Some(User::Other(uid)) = user
            && entry.is_others
            && !is_known
            && !self.crowds.permits(uid, self.table.region(entry.a), now)
        {
            self.counters.unkept += 1;
            return false;
        }
        let is_kept = self.table.store_entry(entry, now) != Stored::Refused;
        self.counters.unkept += u64::from(!is_kept);
        is_kept
    }

    /// Tells all who wait, as far as they may still know.
    fn tell_all(&mut self, a: Ipv6Addr, mapping: Mapping) {
        for (asker, user) in self.questions.take_waiters(a) {
            match self.interest(user, a) {
                Ok(_) => self.tell(asker, Reply::Mapping(a, mapping)),
                Err(unasked) => self.refuse((asker, user), a, unasked),
            }
        }
    }

    fn count(&mut self, answer: &Answer) {
        let counters = &mut self.counters;
        match answer {
            Answer::Pinned { rtt, .. } => {
                counters.pinned += 1;
                counters.round_trips.count(*rtt);
            }
            Answer::Direct { rtt } => {
                counters.direct += 1;
                counters.round_trips.count(*rtt);
            }
            Answer::Untrusted { .. } => counters.untrusted += 1,
            Answer::None { .. } => counters.unanswered += 1,
        }
    }

    /// Tells what is different from what was known.
    fn announce(
        &mut self,
        a: Ipv6Addr,
        known: Option<Mapping>,
        mapping: &Mapping,
        refusal: Option<aarp_core::accept::Refusal>,
    ) {
        let before = known.filter(|known| known.state == State::Pinned);
        let Mapping { state, u, rtt, .. } = *mapping;
        match (before, state) {
            (None, State::Pinned) => self.happened(Event::Learned { a, u, rtt }),
            (Some(before), State::Pinned) if before.u != u => {
                self.counters.changes += 1;
                let (from, to) = (before.u, u);
                self.happened(Event::Changed { a, from, to, rtt });
            }
            (Some(_), State::Pinned) | (None, _) => {}
            (Some(before), _) => {
                self.counters.gone += 1;
                let u = before.u;
                self.happened(Event::Gone { a, u, state });
            }
        }
        let is_known = known.is_some_and(|known| (known.state, known.u) == (state, u));
        if state == State::Untrusted && !is_known {
            self.happened(Event::Untrusted { a, u, refusal });
        }
    }

    /// A cannot be asked, and what is known of it is of another epoch: nobody uses it.
    pub(crate) fn forget_outdated(&mut self, a: Ipv6Addr) {
        let epoch = self.table.view().header().epoch() as u8;
        let Some(entry) = self.known(a).filter(|entry| entry.epoch != epoch) else {
            return;
        };
        self.table.remove(a);
        if entry.mapping.state == State::Pinned {
            self.counters.gone += 1;
            let (u, state) = (entry.mapping.u, State::Unanswered);
            self.happened(Event::Gone { a, u, state });
        }
    }
}

/// When A is asked again whose U has not answered, while the mapping still holds for
/// `left`; `None` when that was the last time. A doubt outlasts the mapping: how it ends is
/// for A to say.
fn pause(
    tries: u8,
    left: Duration,
    doubted_at: Option<Duration>,
    now: Duration,
) -> Option<Duration> {
    let is_last = tries >= TRIES;
    match doubted_at {
        Some(since) => (!is_last || now < since + DOUBT_MIN).then_some(DOUBT_PAUSE),
        None => Some(left / 3).filter(|pause| !is_last && PAUSE_MIN <= *pause),
    }
}
