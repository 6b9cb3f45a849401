//! Questions on their way: from the turn that they have to what comes in.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::accept::{Verdict, judge_address, judge_routes};
use aarp_core::echo::Echo;
use aarp_core::probing::{Ignored, Incoming, MESSAGE_MAX, Meaning};
use aarp_core::resolution::{AnyMethod, METHODS, RANKING, Rank, Resolution, Schedule, Step};
use aarp_core::settings::Settings;
use aarp_core::unreach::Unreach;
use aarp_wire::icmpv6::EchoRepr;
use aarp_wire::probe::{Method, Payload};
use aarp_wire::route::{RouteRepr, RouteType};

use crate::mapper::{Action, Mapper, Probe, Start, Unasked};
use crate::questions::{Asked, Phase};

impl Mapper<'_> {
    /// Begins a question, as [`Action::Begin`] has asked for.
    pub fn begin(&mut self, a: Ipv6Addr, start: &Start, now: Duration) {
        let Some(open) = self.questions.get(a) else {
            return;
        };
        if open.phase != Phase::Beginning {
            return;
        }
        let to_a = match judge_route(&self.settings, start.route) {
            Ok(to_a) => to_a,
            Err(unasked) => return self.give_up(a, unasked),
        };
        let mut nonces = [None; METHODS];
        let mut methods = [None; METHODS];
        for (rank, method) in RANKING.into_iter().enumerate() {
            if !open.plan.methods.contains(method) || !start.methods.contains(method) {
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
            let wanted = !open.plan.methods.is_empty();
            return self.give_up(
                a,
                if wanted {
                    Unasked::NotPermitted
                } else {
                    Unasked::Policy
                },
            );
        }
        let schedule = Schedule {
            began: now,
            // Who asks may have less: its answer is there when it asks again.
            budget: open.plan.times.budget,
            retransmit: open.plan.times.retransmit,
        };
        let asked = Asked {
            resolution: Box::new(Resolution::new(a, &schedule, methods)),
            to_a,
            nonces,
            refused: None,
        };
        self.questions.begin(a, asked, now);
        self.drive(a, now);
    }

    /// Something of the system failed on the way to begin a question.
    pub fn not_begun(&mut self, a: Ipv6Addr) {
        self.give_up(a, Unasked::System);
    }

    /// Nobody can be asked: who waits is told so. Nothing is remembered.
    pub(crate) fn give_up(&mut self, a: Ipv6Addr, unasked: Unasked) {
        for waiter in self.questions.take_waiters(a) {
            self.refuse(waiter, a, unasked);
        }
        self.questions.remove(a);
        self.forget_outdated(a);
    }

    /// Sends what is due of a question, or ends it.
    pub(crate) fn drive(&mut self, a: Ipv6Addr, now: Duration) {
        loop {
            let Some(open) = self.questions.get_mut(a) else {
                return;
            };
            let Some(asked) = &mut open.asked else {
                return;
            };
            let rank = match asked.resolution.step(now) {
                Step::Send(rank) => rank,
                Step::Wait(until) => return self.questions.wake(a, Some(until)),
                Step::Over => return self.conclude(a, now),
            };
            let (is_first, lane) = (asked.resolution.sent() == 0, open.lane);
            let mut message = [0; MESSAGE_MAX];
            let length = asked.resolution.emit(rank, now, &mut message).len();
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
            asked.resolution.abandon(rank);
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
        let attempt = match asked.resolution.examine(rank, incoming)? {
            Meaning::Answer(attempt) => attempt,
            Meaning::Undelivered(_) => {
                if phase == Phase::Asking {
                    self.drive(a, now);
                }
                return Ok(());
            }
        };
        let verdict = judge_address(&self.settings, a, source)
            .unwrap_or_else(|| judge_routes(&self.settings, Some(asked.to_a), route(source)));
        asked.resolution.hear(rank, attempt, source, verdict, now);
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
