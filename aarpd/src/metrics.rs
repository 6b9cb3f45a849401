//! Counters in the text format of Prometheus.

use std::fmt::Write as _;

use aarp_core::mapping::State;
use aarp_core::probing::Ignored;
use aarp_core::resolution::RANKING;
use aarp_mapper::counters::RTT_BOUNDS;
use aarp_mapper::{Unasked, Why};

use crate::report::Standing;

/// The text under construction.
#[derive(Default)]
struct Text(String);

impl Text {
    /// A family of metrics, with its samples: labels and value of each.
    fn family(
        &mut self,
        (name, kind): (&str, &str),
        help: &str,
        samples: impl IntoIterator<Item = (String, f64)>,
    ) {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        for (labels, value) in samples {
            let _ = writeln!(self.0, "{name}{labels} {value}");
        }
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family((name, "counter"), help, [(String::new(), value as f64)]);
    }

    fn gauge(&mut self, name: &str, help: &str, value: usize) {
        self.family((name, "gauge"), help, [(String::new(), value as f64)]);
    }
}

/// A sample for each name.
fn labelled<'s>(
    label: &'s str,
    names: impl IntoIterator<Item = &'static str> + 's,
    values: &'s [u64],
) -> impl Iterator<Item = (String, f64)> + 's {
    let pairs = names.into_iter().zip(values);
    pairs.map(move |(name, value)| (format!("{{{label}=\"{name}\"}}"), *value as f64))
}

/// All of them.
pub(crate) fn text(standing: &Standing<'_>) -> String {
    let counters = standing.counters;
    let mut text = Text::default();
    text.family(
        ("aarpd_mappings", "gauge"),
        "Mappings that hold, by state.",
        labelled("state", State::ALL.map(State::name), &standing.census),
    );
    text.gauge(
        "aarpd_mappings_max",
        "Mappings that there may be.",
        standing.capacity,
    );
    text.gauge(
        "aarpd_questions_open",
        "Anycast addresses being asked.",
        standing.open,
    );
    text.gauge(
        "aarpd_waiters",
        "Requests that wait for an answer.",
        standing.waiters,
    );
    text.gauge("aarpd_clients", "Connections.", standing.clients);
    text.family(
        ("aarpd_requests_total", "counter"),
        "Requests, by what became of them.",
        labelled(
            "result",
            ["hit", "miss", "joined"],
            &[counters.hits, counters.misses, counters.joined],
        ),
    );
    text.family(
        ("aarpd_requests_refused_total", "counter"),
        "Requests that were refused, by reason.",
        labelled("reason", Unasked::ALL.map(Unasked::name), &counters.refused),
    );
    text.family(
        ("aarpd_questions_total", "counter"),
        "Questions begun, by why.",
        labelled("why", Why::ALL.map(Why::name), &counters.questions),
    );
    text.family(
        ("aarpd_probes_sent_total", "counter"),
        "Probes sent, by method.",
        labelled(
            "method",
            RANKING.map(|method| method.name()),
            &counters.sent,
        ),
    );
    text.family(
        ("aarpd_answers_total", "counter"),
        "Questions that ended, by how.",
        labelled(
            "state",
            State::ALL.map(State::name),
            &[
                counters.pinned,
                counters.direct,
                counters.unanswered,
                counters.untrusted,
            ],
        ),
    );
    text.counter(
        "aarpd_answers_late_total",
        "Answers after their time, which serve the next.",
        counters.late,
    );
    text.counter(
        "aarpd_answers_unkept_total",
        "Answers that were told and not kept, for want of a place in the table.",
        counters.unkept,
    );
    text.counter(
        "aarpd_probe_replies_forged_total",
        "What pretended to be an answer, or answered a probe that was forgotten: after a change \
         of routes, or doubled on its way.",
        counters.forged(),
    );
    text.family(
        ("aarpd_probe_replies_ignored_total", "counter"),
        "What came in and answers no question, by reason.",
        labelled("reason", Ignored::ALL.map(Ignored::name), &counters.ignored),
    );
    text.counter(
        "aarpd_responder_changes_total",
        "Times that another unicast address answered than before.",
        counters.changes,
    );
    text.counter(
        "aarpd_responders_gone_total",
        "Unicast addresses that stopped answering.",
        counters.gone,
    );
    text.counter(
        "aarpd_failures_total",
        "Times that a program has said that a unicast address failed.",
        counters.failures,
    );
    text.counter(
        "aarpd_epochs_total",
        "Times that a change of routes, or a resume, put all mappings in doubt.",
        counters.epochs,
    );
    text.counter(
        "aarpd_messages_malformed_total",
        "Messages of clients that mean nothing.",
        standing.served.malformed,
    );
    histogram(&mut text, standing);
    text.0
}

fn histogram(text: &mut Text, standing: &Standing<'_>) {
    let round_trips = &standing.counters.round_trips;
    let name = "aarpd_round_trip_seconds";
    let mut below = 0;
    let bounds = RTT_BOUNDS.iter().map(|us| (*us as f64 / 1e6).to_string());
    let bounds = bounds.chain(["+Inf".to_owned()]);
    text.family((name, "histogram"), "Round trips of the answers.", []);
    for (bound, count) in bounds.zip(round_trips.classes) {
        below += count;
        let _ = writeln!(text.0, "{name}_bucket{{le=\"{bound}\"}} {below}");
    }
    let _ = writeln!(text.0, "{name}_sum {}", round_trips.sum.as_secs_f64());
    let _ = writeln!(text.0, "{name}_count {below}");
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::report::Served;
    use aarp_mapper::Counters;

    #[test]
    fn every_line_is_a_sample_or_about_the_ones_that_follow() {
        let mut counters = Counters::default();
        counters.sent[0] = 7;
        counters.ignored[Ignored::Payload as usize] = 3;
        counters.round_trips.count(Duration::from_micros(700));
        counters.round_trips.count(Duration::from_secs(2));
        let standing = Standing {
            since: SystemTime::UNIX_EPOCH,
            table: "/t",
            socket: "/s",
            namespace: "4-1".to_owned(),
            sockets: vec![],
            epoch: 1,
            capacity: 100,
            stored: 1,
            census: [1, 2, 3, 4],
            open: 5,
            waiters: 6,
            clients: 7,
            followers: 0,
            served: Served::default(),
            counters: &counters,
        };
        let text = text(&standing);
        for expected in [
            "aarpd_mappings{state=\"pinned\"} 1\n",
            "aarpd_mappings{state=\"untrusted\"} 4\n",
            "aarpd_probes_sent_total{method=\"echo\"} 7\n",
            "aarpd_probe_replies_forged_total 3\n",
            "aarpd_round_trip_seconds_bucket{le=\"0.0005\"} 0\n",
            "aarpd_round_trip_seconds_bucket{le=\"0.001\"} 1\n",
            "aarpd_round_trip_seconds_bucket{le=\"1\"} 1\n",
            "aarpd_round_trip_seconds_bucket{le=\"+Inf\"} 2\n",
            "aarpd_round_trip_seconds_sum 2.0007\n",
            "aarpd_round_trip_seconds_count 2\n",
        ] {
            assert!(text.contains(expected), "{expected}{text}");
        }
        let mut families = std::collections::HashSet::new();
        let mut present = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                present = rest.split(' ').next().unwrap();
                assert!(families.insert(present), "{present} comes twice");
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(name.starts_with(present), "{line}");
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
    }
}
