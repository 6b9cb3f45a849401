//! What programs ask and tell.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::bypass::Bypass;
use aarp_core::mapping::State;
use aarp_core::policy::{Interest, Patience, interest, plan};
use aarp_core::table::Entry;

use crate::conclusion::DOUBT_AGAIN;
use crate::event::Event;
use crate::mapper::{Asker, Failed, Mapper, Reply, Unasked};
use crate::pace::Lane;
use crate::questions::{Open, Phase, Why};
use crate::users::User;

impl Mapper<'_> {
    /// Somebody wants to know the U of A; `anew` when what the table has does not serve.
    pub fn resolve(&mut self, asker: Asker, user: User, a: Ipv6Addr, anew: bool, now: Duration) {
        let interest = match self.interest(user, a) {
            Ok(interest) => interest,
            Err(unasked) => return self.refuse((asker, user), a, unasked),
        };
        let open = self.questions.get(a);
        // Who says that it does not serve is heard as often as who says that U has failed.
        let was_doubted = open.is_some_and(|open| open.was_doubted(now));
        let is_asked = open.is_some_and(|open| !open.phase.is_over());
        if (!anew || was_doubted)
            && let Some(entry) = self.known(a).filter(|entry| self.is_fresh(entry, now))
        {
            let times = plan(&self.settings, a, interest, Patience::Blocking).times;
            if !entry.mapping.is_worth_asking_again(times.budget) {
                self.counters.hits += 1;
                self.tell(asker, Reply::Mapping(a, entry.mapping));
                self.note_use(user, &entry, now);
                return;
            }
        }
        if !self.questions.may_wait(user, &self.limits) {
            return self.refuse((asker, user), a, Unasked::Busy);
        }
        match is_asked {
            true => {
                self.counters.joined += 1;
                // Somebody waits now.
                self.hurry(a, now);
            }
            false => {
                if !self.shares.permits(&self.limits.user, user, now) {
                    return self.refuse((asker, user), a, Unasked::UserLimit);
                }
                let why = if anew { Why::Doubt } else { Why::Asked };
                if let Err(unasked) = self.ask(a, interest, (why, Some(user)), now) {
                    return self.refuse((asker, user), a, unasked);
                }
                self.counters.misses += 1;
            }
        }
        self.questions.join(a, asker, user);
    }

    /// Somebody has used a mapping that is about to end.
    pub fn used(&mut self, user: User, a: Ipv6Addr, now: Duration) {
        if self.is_heard(user, a, now)
            && let Some(entry) = self.known(a).filter(|entry| self.is_fresh(entry, now))
        {
            self.counters.used += 1;
            self.note_use(user, &entry, now);
        }
    }

    /// Whether a user may have a text made for it, which takes as long as hundreds of
    /// answers from the table.
    pub fn permits_text(&mut self, user: User, now: Duration) -> bool {
        let permitted = self.shares.permits_text(&self.limits, user, now);
        if !permitted {
            self.count_refused(user, Unasked::UserLimit);
        }
        permitted
    }

    /// Whether a user may say or ask now whose a socket is.
    pub fn permits_socket(&mut self, user: User, now: Duration) -> bool {
        let permitted = self.shares.permits_socket(&self.limits, user, now);
        if !permitted {
            self.count_refused(user, Unasked::UserLimit);
        }
        permitted
    }

    /// Whether what a user says about `a` counts: it concerns what the user may ask about,
    /// and the user does not say too much.
    fn is_heard(&mut self, user: User, a: Ipv6Addr, now: Duration) -> bool {
        let unasked = match self.interest(user, a) {
            Err(unasked) => unasked,
            Ok(_) if self.shares.permits(&self.limits.user, user, now) => return true,
            Ok(_) => Unasked::UserLimit,
        };
        self.count_refused(user, unasked);
        false
    }

    fn count_refused(&mut self, user: User, unasked: Unasked) {
        self.counters.refused[unasked as usize] += 1;
        self.shares.count_refused(user);
    }

    /// Asks again about what is used, when it is time.
    fn note_use(&mut self, user: User, entry: &Entry, now: Duration) {
        let Entry {
            a, mapping, due, ..
        } = *entry;
        let is_pinned = mapping.state == State::Pinned;
        let left = mapping.expiry.saturating_sub(now);
        let is_due = !entry.is_asked && left < Duration::from_millis(due.into());
        if is_due && is_pinned && self.ask_by_itself(a, (Why::Refresh, None), now) {
            // Readers need not say so again.
            self.table.note_use(a, now);
            return;
        }
        let used = Entry {
            used: u32::try_from(now.as_secs()).unwrap_or(u32::MAX),
            is_used: true,
            is_others: entry.is_others && user != User::Own,
            ..*entry
        };
        if used != *entry {
            self.table.store_entry(&used, now);
        }
    }

    /// Somebody says that a U has failed.
    pub fn failed(&mut self, user: User, failed: &Failed, now: Duration) {
        if !self.is_heard(user, failed.a, now) {
            return;
        }
        self.counters.failures += 1;
        let Failed {
            a,
            u,
            protocol,
            port,
            errno,
        } = *failed;
        // Of a U that is no longer the one, everybody knows already.
        if self.pinned(a, now) != Some(u) {
            return;
        }
        let is_new = match self.questions.get_mut(a) {
            // It was asked because of that a moment ago: once more, in a moment.
            Some(open) if open.was_doubted(now) => {
                let is_new = open.again.replace(user).is_none();
                if let Some(until) = open.doubted_until() {
                    self.questions.wake_sooner(a, until);
                }
                is_new
            }
            // Its answer is about to come, and tells of whoever answers now.
            Some(open) if !open.phase.is_over() => {
                let was_doubted = open.why == Why::Doubt;
                open.doubt(now);
                if open.phase == Phase::Asking {
                    self.drive(a, now);
                }
                self.hurry(a, now);
                !was_doubted
            }
            _ => self.ask_by_itself(a, (Why::Doubt, Some(user)), now),
        };
        if is_new {
            self.counters.doubts += 1;
            self.happened(Event::Failed {
                a,
                u,
                protocol,
                port,
                errno,
            });
        }
    }

    /// The U of a mapping that programs use.
    fn pinned(&self, a: Ipv6Addr, now: Duration) -> Option<Ipv6Addr> {
        let entry = self.known(a).filter(|entry| self.is_fresh(entry, now))?;
        let is_pinned = entry.mapping.state == State::Pinned;
        is_pinned.then_some(entry.mapping.u)
    }

    /// Somebody has said that U has failed while its last doubt was fresh: now is the
    /// time to ask.
    pub(crate) fn doubt_again(&mut self, a: Ipv6Addr, user: User, now: Duration) {
        if self.pinned(a, now).is_some() {
            self.ask_by_itself(a, (Why::Doubt, Some(user)), now);
        }
    }

    /// Has a question that pauses asked sooner, once a second at the most: whoever wants
    /// it anew all the time does not use up the times that U may be silent.
    fn hurry(&mut self, a: Ipv6Addr, now: Duration) {
        let began = match self.questions.get(a) {
            Some(open) if open.phase == Phase::Pausing => open.began,
            _ => return,
        };
        self.questions
            .wake_sooner(a, (began + DOUBT_AGAIN).max(now));
    }

    /// Asks about a mapping that is there, if that is not being done; whether it is now.
    pub(crate) fn ask_by_itself(
        &mut self,
        a: Ipv6Addr,
        why: (Why, Option<User>),
        now: Duration,
    ) -> bool {
        let doubted = |open: &Open| why.0 == Why::Doubt && open.was_doubted(now);
        let is_free = |open: &Open| open.phase.is_over() && !doubted(open);
        if !self.questions.get(a).is_none_or(is_free) {
            return false;
        }
        let Ok(interest) = interest(&self.settings, a) else {
            return false;
        };
        self.ask(a, interest, why, now).is_ok()
    }

    /// Opens a question.
    fn ask(
        &mut self,
        a: Ipv6Addr,
        interest: Interest,
        (why, user): (Why, Option<User>),
        now: Duration,
    ) -> Result<(), Unasked> {
        let lane = user.map_or(Lane::Upkeep, User::lane);
        if !self.questions.has_room(lane, self.limits.open) {
            return Err(Unasked::Busy);
        }
        let plan = plan(&self.settings, a, interest, Patience::Blocking);
        let mut open = Open::new(why, user, plan, now);
        // Where no U is known there is none that may have moved.
        let in_doubt = why == Why::Doubt && self.pinned(a, now).is_some();
        open.doubted_at = in_doubt.then_some(now);
        let at = match self.paces.reserve(&self.limits, lane, a, now) {
            Some(turn) => turn,
            // Programs say once that they use it: it is tried again until it ends.
            None if why == Why::Refresh => {
                open.phase = Phase::Pausing;
                now + self.limits.patience / 2
            }
            None => return Err(Unasked::Busy),
        };
        self.questions.insert(a, open, at);
        self.counters.questions[why as usize] += 1;
        Ok(())
    }

    /// Whether the user may ask about `a`.
    pub(crate) fn interest(&self, user: User, a: Ipv6Addr) -> Result<Interest, Unasked> {
        let interest = interest(&self.settings, a).map_err(unasked_for)?;
        match (interest, user) {
            (Interest::Unconfigured, User::Other(_)) => Err(Unasked::NotForUser),
            (interest, _) => Ok(interest),
        }
    }

    pub(crate) fn refuse(&mut self, (asker, user): (Asker, User), a: Ipv6Addr, unasked: Unasked) {
        self.count_refused(user, unasked);
        self.tell(asker, Reply::Unasked(a, unasked));
    }
}

/// Why nobody is asked whom the configuration leaves out.
pub(crate) fn unasked_for(bypass: Bypass) -> Unasked {
    match bypass {
        Bypass::Local => Unasked::Local,
        _ => Unasked::Policy,
    }
}
