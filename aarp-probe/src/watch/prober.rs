//! Asks A and the responders behind it, round after round.

use std::net::Ipv6Addr;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant, SystemTime};

use aarp_core::mapping::Answer;
use aarp_core::settings::Methods;
use aarp_sys::ask::AskError;

use super::Message;
use super::history::Round;
use crate::question::{Asker, Outcome};
use crate::who::Who;

/// Responders whose own addresses are asked in every round.
const FOLLOWED: usize = 8;

/// Asks, round after round.
pub(super) struct Prober<'s> {
    asker: Asker<'s>,
    a: Ipv6Addr,
    /// The unicast addresses that are asked themselves, the latest first.
    followed: Vec<Ipv6Addr>,
}

impl<'s> Prober<'s> {
    /// A prober that knows no responder yet.
    pub(super) fn new(asker: Asker<'s>, a: Ipv6Addr) -> Self {
        Self {
            // A loss is to be seen, and not made up for.
            asker: asker.without_retransmission(),
            a,
            followed: Vec::new(),
        }
    }

    /// Asks every `interval`, `count` times or for ever, and tells what came of it.
    pub(super) fn run(mut self, count: Option<u64>, interval: Duration, to: &Sender<Message>) {
        let mut due = Instant::now();
        for round in 0..count.unwrap_or(u64::MAX) {
            if round > 0 {
                // A round that took longer is not made up for.
                due = (due + interval).max(Instant::now());
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            let message = match self.round() {
                Ok(round) => Message::Round(round),
                Err(outcome) => Message::Hindered(outcome),
            };
            let last = matches!(message, Message::Hindered(_));
            // Nobody listens any more: the program is about to end.
            if to.send(message).is_err() || last {
                return;
            }
        }
        let _ = to.send(Message::Done);
    }

    /// One round: A and every responder's own address at the same time.
    fn round(&mut self) -> Result<Round, Outcome> {
        let at = SystemTime::now();
        let (asker, a) = (self.asker, self.a);
        let (outcome, answers) = std::thread::scope(|scope| {
            let own: Vec<_> = self
                .followed
                .iter()
                .map(|u| (*u, scope.spawn(move || own_rtt(asker, *u))))
                .collect();
            let outcome = asker.ask(a);
            let own: Vec<_> = own
                .into_iter()
                .map(|(u, thread)| (u, thread.join().expect("asking does not panic")))
                .collect();
            (outcome, own)
        });
        let who = match &outcome {
            Outcome::Asked(report) => match report.answer {
                Answer::Pinned { u, .. } => Some(Who::Unicast(u)),
                Answer::Untrusted { u } => Some(Who::Refused(u)),
                Answer::Direct { .. } => Some(Who::Itself),
                Answer::None { .. } => None,
            },
            // The route may come back.
            Outcome::NotAsked(AskError::NoRoute) => None,
            _ => return Err(outcome),
        };
        let mut answers = answers;
        if let Some(Who::Unicast(u)) = who {
            if !self.followed.contains(&u) {
                answers.push((u, own_rtt(asker, u)));
            }
            self.followed.retain(|known| *known != u);
            self.followed.insert(0, u);
            self.followed.truncate(FOLLOWED);
        }
        let own_forbidden = answers.iter().any(|(_, own)| *own == Own::Forbidden);
        let own = answers
            .into_iter()
            .filter_map(|(u, own)| match own {
                Own::Answered(rtt) => Some((u, Some(rtt))),
                Own::Lost => Some((u, None)),
                Own::Forbidden | Own::NotAsked => None,
            })
            .collect();
        Ok(Round {
            at,
            own_forbidden,
            who,
            rtt: outcome.rtt(),
            own,
            reason: outcome.reason().filter(|_| who.is_none()),
        })
    }
}

/// What became of an echo to a unicast address itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Own {
    Answered(Duration),
    Lost,
    /// This user may not send any.
    Forbidden,
    NotAsked,
}

fn own_rtt(asker: Asker<'_>, u: Ipv6Addr) -> Own {
    // By echo, whatever A is asked by: other methods are for A alone.
    match asker.by(Methods::ECHO).ask(u) {
        Outcome::Asked(report) => match report.answer {
            // It answers for itself, as every unicast address does.
            Answer::Direct { rtt } => Own::Answered(rtt),
            _ => Own::Lost,
        },
        Outcome::NotAsked(AskError::NoRoute) => Own::Lost,
        Outcome::NotAsked(AskError::NotPermitted) => Own::Forbidden,
        _ => Own::NotAsked,
    }
}
