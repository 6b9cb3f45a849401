//! What is watched, for programs: records and metrics.

use serde::Serialize;
use serde_json::{Value, json};

use super::Show;
use super::history::{Event, Round};
use crate::prometheus::{self, Metrics};
use crate::record::{ms, rfc3339};
use crate::statistics::{RoundTrips, rounded};
use crate::who::Who;

impl Show<'_> {
    pub(super) fn probe_record(&self, round: &Round) -> Value {
        let own: Vec<Value> = round
            .own
            .iter()
            .map(|(u, rtt)| json!({"unicast": u, "rtt_ms": rtt.map(ms)}))
            .collect();
        json!({
            "name": self.arguments.destination,
            "anycast": self.a,
            "round": self.history.rounds,
            "state": Who::state(round.who),
            "unicast": round.who.and_then(Who::address),
            "rtt_ms": round.rtt.map(ms),
            "own": own,
            "reason": round.reason,
        })
    }

    pub(super) fn change_record(&self, event: &Event) -> Value {
        let (what, from, to) = match *event {
            Event::First(to) => ("first", None, Some(to)),
            Event::Changed(from, to) => ("changed", Some(from), Some(to)),
            Event::Silent(from) => ("silent", from, None),
            Event::Again(to, _) => ("again", Some(to), Some(to)),
        };
        json!({
            "name": self.arguments.destination,
            "anycast": self.a,
            "event": what,
            "from": from.and_then(Who::address),
            "from_state": from.map(|who| Who::state(Some(who))),
            "to": to.and_then(Who::address),
            "to_state": Who::state(to),
        })
    }

    pub(super) fn summary_record(&self) -> Value {
        let history = &self.history;
        let responders: Vec<Value> = history
            .responders
            .iter()
            .map(|responder| {
                json!({
                    "state": Who::state(Some(responder.who)),
                    "unicast": responder.who.address(),
                    "answers": responder.answers,
                    "share": history.share(responder).map(rounded),
                    "first": rfc3339(responder.first),
                    "last": rfc3339(responder.last),
                    "to_a": Trips::from(&responder.to_a),
                    "to_u": Trips::from(&responder.to_u),
                })
            })
            .collect();
        json!({
            "name": self.arguments.destination,
            "anycast": self.a,
            "rounds": history.rounds,
            "unanswered": history.unanswered,
            "changes": history.changes,
            "duration_ms": ms(history.duration()),
            "to_a": Trips::from(&history.to_a),
            "to_u": Trips::from(&history.to_u),
            "responders": responders,
        })
    }

    pub(super) fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::default();
        let a = self.a.to_string();
        let base = [
            ("name", self.arguments.destination.as_str()),
            ("anycast", a.as_str()),
        ];
        let history = &self.history;
        for (name, help, value) in [
            ("aarp_probe_watch_rounds", "Rounds so far.", history.rounds),
            (
                "aarp_probe_watch_unanswered",
                "Rounds in which nobody answered.",
                history.unanswered,
            ),
            (
                "aarp_probe_watch_changes",
                "Changes of responder.",
                history.changes,
            ),
        ] {
            metrics.gauge(name, help, &base, value as f64);
        }
        for responder in &history.responders {
            let who = responder.who.address().unwrap_or(self.a).to_string();
            let labels = [base[0], base[1], ("unicast", who.as_str())];
            let present = history.present() == Some(responder.who);
            metrics.gauge(
                "aarp_probe_watch_present",
                "1 for the responder that answered last, 0 for the others.",
                &labels,
                f64::from(u8::from(present)),
            );
            metrics.gauge(
                "aarp_probe_watch_share",
                "The share of answers that it gave.",
                &labels,
                history.share(responder).unwrap_or(0.0),
            );
            for (to, trips) in [("A", &responder.to_a), ("U", &responder.to_u)] {
                for (quantile, q) in [("0.5", 0.5), ("0.99", 0.99)] {
                    if let Some(rtt) = trips.quantile(q) {
                        metrics.gauge(
                            "aarp_probe_watch_rtt_seconds",
                            "Round trips, sent to the anycast address (A) or to the responder's \
                             own (U).",
                            &[
                                labels[0],
                                labels[1],
                                labels[2],
                                ("to", to),
                                ("quantile", quantile),
                            ],
                            rtt.as_secs_f64(),
                        );
                    }
                }
            }
        }
        prometheus::timestamp(&mut metrics, "watch");
        metrics
    }
}

/// Round trips in a record.
#[derive(Debug, Serialize)]
struct Trips {
    sent: u64,
    answered: u64,
    loss: Option<f64>,
    min_ms: Option<f64>,
    avg_ms: Option<f64>,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    max_ms: Option<f64>,
}

impl From<&RoundTrips> for Trips {
    fn from(trips: &RoundTrips) -> Self {
        Self {
            sent: trips.sent(),
            answered: trips.answered(),
            loss: trips.loss().map(rounded),
            min_ms: trips.min().map(ms),
            avg_ms: trips.mean().map(ms),
            p50_ms: trips.quantile(0.5).map(ms),
            p99_ms: trips.quantile(0.99).map(ms),
            max_ms: trips.max().map(ms),
        }
    }
}
