//! The rules by which an update is judged, in their order.

use std::time::Duration;

use aarp_wire::mobility::{Status, UpdateFlags};

use super::{Binding, Cache, Change, Discard, Restored, Sender, Traffic, Verdict, nanos};
use crate::address::is_routable;
use crate::binding::lifetime::Lifetime;
use crate::binding::message::{Acknowledgement, Update};
use crate::binding::sequence::Sequence;

enum Refusal {
    Silent(Discard),
    OutOfWindow { last: Sequence, left: Lifetime },
    Status(Status),
}

impl Cache {
    /// Judges an update that arrived at `now`, and does what it asks for.
    ///
    /// Addresses that no honest node sends come first and are met with silence; then
    /// whether A is ours and whether the sender may have it, so that nobody else
    /// learns a sequence number; then the number; then the rest.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-9.5.1
    //= https://www.rfc-editor.org/rfc/rfc6275#section-10.3.1
    //= https://www.rfc-editor.org/rfc/rfc6275#section-10.3.2
    pub fn receive(&mut self, now: Duration, update: &Update, sender: Sender) -> Verdict {
        let now = nanos(now);
        match self.judge(now, update, sender) {
            Ok((status, lifetime, change)) => {
                let advice = self.settings.refresh_advice;
                self.answer(
                    update,
                    Acknowledgement {
                        status,
                        sequence: update.sequence,
                        lifetime,
                        // RFC 6275 §10.3.1: MUST be less than the lifetime.
                        refresh_advice: advice.filter(|advice| *advice < lifetime),
                        timestamp: None,
                    },
                    change,
                )
            }
            Err(Refusal::Silent(reason)) => {
                *self.counters.discarded.entry(reason).or_default() += 1;
                Verdict::Discard(reason)
            }
            Err(Refusal::OutOfWindow { last, left }) => {
                self.refuse(update, Status::SEQUENCE_OUT_OF_WINDOW, last, left)
            }
            Err(Refusal::Status(status)) => {
                self.refuse(update, status, update.sequence, Lifetime::ZERO)
            }
        }
    }

    fn refuse(
        &mut self,
        update: &Update,
        status: Status,
        sequence: Sequence,
        lifetime: Lifetime,
    ) -> Verdict {
        *self.counters.refused.entry(status).or_default() += 1;
        let acknowledgement = Acknowledgement {
            status,
            sequence,
            lifetime,
            refresh_advice: None,
            timestamp: None,
        };
        self.answer(update, acknowledgement, Change::None)
    }

    fn answer(
        &mut self,
        update: &Update,
        acknowledgement: Acknowledgement,
        change: Change,
    ) -> Verdict {
        match change {
            Change::None => {}
            Change::Created => self.counters.created += 1,
            Change::Refreshed => self.counters.refreshed += 1,
            Change::Moved { .. } => self.counters.moved += 1,
            Change::Deleted => self.counters.deregistered += 1,
        }
        Verdict::Acknowledge {
            acknowledgement: Acknowledgement {
                timestamp: update.timestamp,
                ..acknowledgement
            },
            change,
        }
    }

    fn judge(
        &mut self,
        now: u64,
        update: &Update,
        sender: Sender,
    ) -> Result<(Status, Lifetime, Change), Refusal> {
        let a = update.anycast;
        let deregisters = update.lifetime.is_zero();
        if !is_routable(a) {
            return Err(Refusal::Silent(Discard::HomeAddress));
        }
        // RFC 6275 §6.1.7. Who is at home may deregister with A as care-of address
        // (§11.5.5); where the binding points to is not asked then.
        if !deregisters {
            if !is_routable(update.care_of) {
                return Err(Refusal::Silent(Discard::CareOfAddress));
            }
            if update.care_of == a {
                return Err(Refusal::Silent(Discard::Circular));
            }
        }
        if !self.serves(a) {
            return Err(Refusal::Status(if deregisters {
                Status::NOT_HOME_AGENT
            } else {
                Status::NOT_HOME_SUBNET
            }));
        }
        if let Sender::Node {
            may_register: false,
            ..
        } = sender
        {
            return Err(Refusal::Status(Status::PROHIBITED));
        }
        if !deregisters && self.contested.contains(&a) {
            return Err(Refusal::Status(Status::DUPLICATE_ADDRESS));
        }
        let place = self.place(now, a);
        let existing = place.and_then(|place| self.slots[place as usize]);
        if let Some(binding) = existing
            && !update.sequence.is_after(binding.sequence)
        {
            let left = Duration::from_nanos(binding.expiry.saturating_sub(now));
            return Err(Refusal::OutOfWindow {
                last: binding.sequence,
                left: Lifetime::remaining(left),
            });
        }
        if !update.flags.contains(UpdateFlags::HOME_REGISTRATION) {
            return Err(match existing {
                Some(_) => Refusal::Status(Status::TYPE_CHANGE),
                None => Refusal::Silent(Discard::NotHomeRegistration),
            });
        }
        if deregisters {
            let (Some(place), Some(binding)) = (place, existing) else {
                return Err(Refusal::Status(Status::NOT_HOME_AGENT));
            };
            if !is_owner(&binding, update, sender) {
                return Err(Refusal::Status(Status::NOT_HOME_AGENT));
            }
            self.remove(place);
            return Ok((Status::ACCEPTED, Lifetime::ZERO, Change::Deleted));
        }
        if self.serves(update.care_of) || self.settings.own.contains(&update.care_of) {
            return Err(Refusal::Status(Status::INVALID_CARE_OF));
        }
        let lifetime = update.lifetime.min(self.settings.max_lifetime);
        let change = self.register(now, update, sender, lifetime, place)?;
        Ok((Status::ACCEPTED, lifetime, change))
    }

    /// Takes over a binding that an earlier run of the agent had granted, on the same
    /// clock. Whether it has: not where it has ended, or would be refused today.
    pub fn restore(&mut self, now: Duration, known: &Restored, sender: Sender) -> bool {
        let granted = known.expiry.checked_sub(known.lifetime.duration());
        let Some(granted) = granted.filter(|granted| *granted <= now && known.expiry > now) else {
            return false;
        };
        let update = Update {
            anycast: known.anycast,
            care_of: known.care_of,
            sequence: known.sequence,
            lifetime: known.lifetime,
            flags: UpdateFlags::ACKNOWLEDGE.union(UpdateFlags::HOME_REGISTRATION),
            timestamp: None,
        };
        let judged = self.judge(nanos(granted), &update, sender);
        if !matches!(judged, Ok((_, _, Change::Created))) {
            return false;
        }
        if let Some(place) = self.places.get(&known.anycast)
            && let Some(binding) = &mut self.slots[*place as usize]
        {
            binding.since = nanos(known.since).min(binding.since);
        }
        true
    }

    fn register(
        &mut self,
        now: u64,
        update: &Update,
        sender: Sender,
        lifetime: Lifetime,
        place: Option<u32>,
    ) -> Result<Change, Refusal> {
        let expiry = now.saturating_add(nanos(lifetime.duration()));
        let fresh = Binding {
            anycast: update.anycast,
            care_of: update.care_of,
            expiry,
            since: now,
            updates: 1,
            to_responder: Traffic::default(),
            from_responder: Traffic::default(),
            node: sender.node(),
            sequence: update.sequence,
            lifetime,
        };
        if let Some(place) = place
            && let Some(binding) = &mut self.slots[place as usize]
        {
            self.ends.remove(&(binding.expiry, place));
            self.ends.insert((expiry, place));
            let from = binding.care_of;
            if from == fresh.care_of && binding.node == fresh.node {
                *binding = Binding {
                    since: binding.since,
                    updates: binding.updates + 1,
                    to_responder: binding.to_responder,
                    from_responder: binding.from_responder,
                    ..fresh
                };
                return Ok(Change::Refreshed);
            }
            *binding = fresh;
            return Ok(Change::Moved { from });
        }
        // RFC 6275 §10.3.1: a home registration MUST NOT be removed before its end to
        // make room for another.
        while self.places.len() >= self.settings.capacity {
            let ended = self.remove_ended(now);
            let Some(binding) = ended else {
                return Err(Refusal::Status(Status::RESOURCES));
            };
            self.ended.push_back(binding);
        }
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        self.slots[place as usize] = Some(fresh);
        self.places.insert(update.anycast, place);
        self.ends.insert((expiry, place));
        Ok(Change::Created)
    }
}

/// Whether the binding is the sender's own: of the same node where nodes are known,
/// else with the same care-of address.
fn is_owner(binding: &Binding, update: &Update, sender: Sender) -> bool {
    match (binding.node, sender.node()) {
        (Some(owner), Some(node)) => owner == node,
        _ => binding.care_of == update.care_of,
    }
}
