//! What programs ask and tell.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::bypass::Bypass;
use aarp_core::mapping::{Mapping, State};
use aarp_core::policy::{Interest, Patience, interest, plan};
use aarp_core::table::Entry;

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
            Err(unasked) => return self.refuse(asker, a, unasked),
        };
        let open = self.questions.get(a).map(|open| (open.phase, open.why));
        // Who says that it does not serve is heard as often as who says that U has failed.
        let was_doubted = open.is_some_and(|(phase, why)| phase.is_over() && why == Why::Doubt);
        if (!anew || was_doubted)
            && let Some(entry) = self.known(a).filter(|entry| self.is_fresh(entry, now))
        {
            let times = plan(&self.settings, a, interest, Patience::Blocking).times;
            if !entry.mapping.is_worth_asking_again(times.budget) {
                self.counters.hits += 1;
                self.tell(asker, Reply::Mapping(a, entry.mapping));
                self.note_use(&entry, now);
                return;
            }
        }
        if !self.questions.may_wait(user, &self.limits) {
            return self.refuse(asker, a, Unasked::Busy);
        }
        match open {
            Some((phase, _)) if !phase.is_over() => {
                self.counters.joined += 1;
                // Somebody waits now.
                if phase == Phase::Pausing {
                    self.ask_again(a, now);
                }
            }
            _ => {
                if !self.shares.permits(&self.limits.user, user, now) {
                    return self.refuse(asker, a, Unasked::UserLimit);
                }
                let why = if anew { Why::Doubt } else { Why::Asked };
                if let Err(unasked) = self.ask(a, interest, (why, user.lane()), now) {
                    return self.refuse(asker, a, unasked);
                }
                self.counters.misses += 1;
            }
        }
        self.questions.join(a, asker, user);
    }

    /// Somebody has used a mapping that is about to end.
    pub fn used(&mut self, user: User, a: Ipv6Addr, now: Duration) {
        if self.shares.permits(&self.limits.user, user, now)
            && let Some(entry) = self.known(a).filter(|entry| self.is_fresh(entry, now))
        {
            self.counters.used += 1;
            self.note_use(&entry, now);
        }
    }

    /// Asks again about what is used, when it is time.
    fn note_use(&mut self, entry: &Entry, now: Duration) {
        let Entry {
            a, mapping, due, ..
        } = *entry;
        let left = mapping.expiry.saturating_sub(now);
        let is_due = left < Duration::from_millis(due.into());
        if is_due
            && mapping.state == State::Pinned
            && self.ask_by_itself(a, (Why::Refresh, Lane::Upkeep), now)
        {
            // Readers need not say so again.
            self.table.note_use(a, now);
            return;
        }
        let seconds = u32::try_from(now.as_secs()).unwrap_or(u32::MAX);
        if entry.used != seconds {
            let used = Entry {
                used: seconds,
                ..*entry
            };
            self.table.store_entry(&used, now);
        }
    }

    /// Somebody says that a U has failed.
    pub fn failed(&mut self, user: User, failed: &Failed, now: Duration) {
        if !self.shares.permits(&self.limits.user, user, now) {
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
        let is_believed = self.known(a).is_some_and(|entry| {
            let Mapping {
                state, u: known, ..
            } = entry.mapping;
            self.is_fresh(&entry, now) && (state, known) == (State::Pinned, u)
        });
        if !is_believed {
            return;
        }
        if self.ask_by_itself(a, (Why::Doubt, user.lane()), now) {
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

    /// Asks about a mapping that is there, if that is not being done; whether it is now.
    pub(crate) fn ask_by_itself(&mut self, a: Ipv6Addr, why: (Why, Lane), now: Duration) -> bool {
        let doubted = |open: &Open| (why.0, open.why) == (Why::Doubt, Why::Doubt);
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
        (why, lane): (Why, Lane),
        now: Duration,
    ) -> Result<(), Unasked> {
        if !self.questions.has_room(lane, self.limits.open) {
            return Err(Unasked::Busy);
        }
        let turn = self.paces.reserve(&self.limits, lane, a, now);
        let turn = turn.ok_or(Unasked::Busy)?;
        let plan = plan(&self.settings, a, interest, Patience::Blocking);
        self.questions.insert(a, Open::new(why, lane, plan), turn);
        self.counters.questions[why as usize] += 1;
        Ok(())
    }

    /// Whether the user may ask about `a`.
    fn interest(&self, user: User, a: Ipv6Addr) -> Result<Interest, Unasked> {
        let interest = interest(&self.settings, a).map_err(|bypass| match bypass {
            Bypass::Local => Unasked::Local,
            _ => Unasked::Policy,
        })?;
        match (interest, user) {
            (Interest::Unconfigured, User::Other(_)) => Err(Unasked::NotForUser),
            (interest, _) => Ok(interest),
        }
    }

    pub(crate) fn refuse(&mut self, asker: Asker, a: Ipv6Addr, unasked: Unasked) {
        self.counters.refused[unasked as usize] += 1;
        self.tell(asker, Reply::Unasked(a, unasked));
    }
}
