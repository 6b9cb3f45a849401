//! Questions on their way: from the turn that they have to what comes in.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::accept::{Verdict, judge_address, judge_routes};
use aarp_core::echo::Echo;
use aarp_core::probing::{Ignored, Incoming, MESSAGE_MAX, Meaning};
use aarp_core::resolution::{AnyMethod, METHODS, RANKING, Rank, Resolution, Schedule};
use aarp_core::settings::{Methods, Retransmits, Settings};
use aarp_core::unreach::Unreach;
use aarp_wire::icmpv6::EchoRepr;
use aarp_wire::probe::{Method, Payload};
use aarp_wire::route::{RouteRepr, RouteType};

use crate::mapper::{Action, Limits, Mapper, Probe, Start, Unasked};
use crate::questions::Phase;
use crate::rounds::{Round, Step};

impl Mapper<'_> {
    /// Begins a question, as [`Action::Begin`] has asked for.
    pub fn begin(&mut self, a: Ipv6Addr, start: &Start, now: Duration) {
        let Some(open) = self.questions.get(a) else {
            return;
        };
        let further = open.further();
        if further.is_none() && open.phase != Phase::Beginning {
            return;
        }
        let schedule = match further {
            Some(deadline) => Schedule {
                began: now,
                budget: deadline.saturating_sub(now),
                retransmit: Retransmits::NONE,
            },
            None => Schedule {
                began: now,
                // Who asks may have less: its answer is there when it asks again.
                budget: open.plan.times.budget,
                retransmit: open.plan.times.retransmit,
            },
        };
        let round = self.round(a, open.plan.methods, &schedule, start);
        match (round, further) {
            (Ok(round), None) => self.questions.begin(a, round, now),
            (Ok(round), Some(_)) => self.questions.go_on(a, round),
            (Err(unasked), None) => return self.give_up(a, unasked),
            (Err(_), Some(_)) => self.questions.put_off(a),
        }
        self.drive(a, now);
    }

    /// Probes by all methods that are wanted and that there are sockets for.
    fn round(
        &self,
        a: Ipv6Addr,
        wanted: Methods,
        schedule: &Schedule,
        start: &Start,
    ) -> Result<Round, Unasked> {
        let to_a = judge_route(&self.settings, start.route)?;
        let mut nonces = [None; METHODS];
        let mut methods = [None; METHODS];
        for (rank, method) in RANKING.into_iter().enumerate() {
            if !wanted.contains(method) || !start.methods.contains(method) {
                continue;
            }
            let mut nonce = [0; 16];
            nonce.copy_from_slice(&start.random[rank * 16..][..16]);
            let [.., high, low] = start.random;
            let method = match method {
                Method::Echo => AnyMethod::Echo(Echo {
                    ident: start.ident,
                    first_sequence: u16::from_ne_bytes([high, low]),
                }),
                Method::Unreach => AnyMethod::Unreach(Unreach {
                    port: self.settings.unreach_port,
                }),
            };
            nonces[rank] = Some(nonce);
            methods[rank] = Some((method, nonce));
        }
        if nonces.iter().all(Option::is_none) {
            return Err(match wanted.is_empty() {
                true => Unasked::Policy,
                false => Unasked::NotPermitted,
            });
        }
        Ok(Round {
            resolution: Resolution::new(a, schedule, methods),
            to_a,
            nonces,
        })
    }

    /// Something of the system failed on the way to begin a question.
    pub fn not_begun(&mut self, a: Ipv6Addr) {
        match self.questions.get(a) {
            Some(open) if open.further().is_some() => self.questions.put_off(a),
            _ => self.give_up(a, Unasked::System),
        }
    }

    /// Nobody can be asked: who waits is told so. Nothing is remembered.
    pub(crate) fn give_up(&mut self, a: Ipv6Addr, unasked: Unasked) {
        for waiter in self.questions.take_waiters(a) {
            self.refuse(waiter, a, unasked);
        }
        self.questions.remove(a);
        // What holds on is asked again when somebody says that it is used.
        self.table.note_unasked(a);
        // That this host cannot ask says nothing about who answers.
        if !matches!(
            unasked,
            Unasked::Busy | Unasked::System | Unasked::NotPermitted
        ) {
            self.forget_outdated(a);
        }
    }

    /// Sends what is due of a question, or ends it.
    pub(crate) fn drive(&mut self, a: Ipv6Addr, now: Duration) {
        loop {
            let Some(open) = self.questions.get_mut(a) else {
                return;
            };
            let (lane, in_doubt) = (open.lane, open.doubted_at.is_some());
            let Some(asked) = &mut open.asked else {
                return;
            };
            let (round, rank) = match asked.step(now, in_doubt) {
                Step::Send(round, rank) => (round, rank),
                Step::Further => {
                    // What would have to wait for its turn is left to those who do.
                    let at_once = Limits {
                        patience: Duration::ZERO,
                        ..self.limits
                    };
                    if self.paces.reserve(&at_once, lane, a, now).is_some() {
                        asked.await_further();
                        self.actions.push_back(Action::Begin(a));
                    } else {
                        asked.put_off();
                    }
                    continue;
                }
                Step::Wait(until) => return self.questions.wake(a, Some(until)),
                Step::Over => return self.conclude(a, now),
            };
            asked.note_sent(now);
            let resolution = &mut asked.round_mut(round).resolution;
            let is_first = resolution.sent() == 0;
            let mut message = [0; MESSAGE_MAX];
            let length = resolution.emit(rank, now, &mut message).len();
            let port = match RANKING[rank] {
                Method::Echo => 0,
                Method::Unreach => self.settings.unreach_port,
            };
            // Its turn has stood for the first.
            if !is_first {
                self.paces.charge(&self.limits, lane, a, now);
            }
            self.counters.sent[rank] += 1;
            self.actions.push_back(Action::Send(Probe {
                to: a,
                port,
                rank,
                message,
                length,
            }));
        }
    }

    /// This host will not send to A by that method.
    pub fn not_sent(&mut self, a: Ipv6Addr, rank: Rank, now: Duration) {
        let open = self.questions.get_mut(a);
        if let Some(open) = open
            && open.phase == Phase::Asking
            && let Some(asked) = &mut open.asked
        {
            asked.abandon(rank);
            self.drive(a, now);
        }
    }

    /// Something has come in on the socket of a method. `route` looks for the route to an
    /// address.
    pub fn hear(
        &mut self,
        rank: Rank,
        incoming: &Incoming<'_>,
        source: Ipv6Addr,
        now: Duration,
        route: impl FnOnce(Ipv6Addr) -> Option<RouteRepr>,
    ) {
        if let Err(ignored) = self.listen(rank, incoming, source, now, route) {
            self.counters.ignored[ignored as usize] += 1;
        }
    }

    fn listen(
        &mut self,
        rank: Rank,
        incoming: &Incoming<'_>,
        source: Ipv6Addr,
        now: Duration,
        route: impl FnOnce(Ipv6Addr) -> Option<RouteRepr>,
    ) -> Result<(), Ignored> {
        let a = match incoming {
            Incoming::Error(error) => error.destination,
            Incoming::Message(message) => self.asked_with(message)?,
        };
        let open = self.questions.get_mut(a).ok_or(Ignored::Destination)?;
        let phase = open.phase;
        let asked = open.asked.as_mut().ok_or(Ignored::Destination)?;
        let (number, attempt) = match asked.examine(rank, incoming)? {
            (number, Meaning::Answer(attempt)) => (number, attempt),
            (_, Meaning::Undelivered(_)) => {
                if phase == Phase::Asking {
                    self.drive(a, now);
                }
                return Ok(());
            }
        };
        let round = asked.round_mut(number);
        let verdict = judge_address(&self.settings, a, source)
            .unwrap_or_else(|| judge_routes(&self.settings, Some(round.to_a), route(source)));
        round.resolution.hear(rank, attempt, source, verdict, now);
        let mut refused = Ok(());
        if let Verdict::Refused(refusal) = verdict {
            asked.refused = Some((source, refusal));
            refused = Err(Ignored::Source);
        }
        match phase {
            Phase::Asking => self.drive(a, now),
            Phase::Answered => {}
            // Late, and right: it serves the next.
            _ if refused.is_ok() => {
                self.counters.late += 1;
                self.conclude(a, now);
            }
            _ => {}
        }
        refused
    }

    /// The A that was asked with the nonce in an echo reply.
    fn asked_with(&self, message: &[u8]) -> Result<Ipv6Addr, Ignored> {
        let message = EchoRepr::parse(message).map_err(|_| Ignored::Malformed)?;
        let payload = Payload::parse(message.data).map_err(|_| Ignored::Payload)?;
        self.questions
            .of_nonce(&payload.nonce)
            .ok_or(Ignored::Payload)
    }
}

/// The route to A, if A is one to ask about.
fn judge_route(settings: &Settings, route: Option<RouteRepr>) -> Result<RouteRepr, Unasked> {
    let to_a = route.ok_or(Unasked::NoRoute)?;
    match to_a.route_type {
        RouteType::Unicast => Ok(to_a),
        RouteType::Local | RouteType::Anycast if settings.include_local => Ok(to_a),
        RouteType::Refusing => Err(Unasked::NoRoute),
        _ => Err(Unasked::Local),
    }
}
