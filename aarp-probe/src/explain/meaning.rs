//! What an answer means for a program, in words.

use aarp_core::bypass::Bypass;
use aarp_core::mapping::Answer;
use aarp_core::policy::Plan;
use aarp_core::settings::{OnFailure, Settings};

use super::time;
use crate::question::Outcome;
use crate::statistics::millis;

/// What becomes of a program's next connection.
pub(super) fn meaning(settings: &Settings, plans: &[Plan; 2], outcome: &Outcome) -> String {
    let [blocking, nonblocking] = plans;
    let times = &blocking.times;
    let unpinned = match settings.on_failure {
        OnFailure::Pass => "goes to the anycast address",
        OnFailure::Refuse => "fails with EHOSTUNREACH",
    };
    match outcome {
        Outcome::Asked(report) => match report.answer {
            Answer::Pinned { u, rtt } => {
                let mut text = format!(
                    "A program's next connection goes to {u} and stays there; for {} nobody is \
                     asked again.",
                    time(times.ttl)
                );
                let rtt_text = millis(rtt);
                if rtt >= blocking.budget {
                    text = format!(
                        "The answer took {rtt_text} ms, longer than any call waits: a program's \
                         connection {unpinned}."
                    );
                } else if rtt >= nonblocking.budget {
                    text.push_str(&format!(
                        " The answer took {rtt_text} ms, longer than a non-blocking call waits: \
                         one that is the first to ask {unpinned}."
                    ));
                }
                text
            }
            Answer::Direct { .. } => format!(
                "A itself answered: it is unicast, or has no responder. Programs go there, and \
                 for {} nobody is asked again.",
                time(times.direct)
            ),
            Answer::Untrusted { u } => {
                let why = report
                    .refused
                    .map_or_else(String::new, |(_, why)| format!(": {why}"));
                format!(
                    "{u} answered and is not used{why}. A program's connection {unpinned}; after \
                     {} the question is asked again.",
                    time(times.unanswered)
                )
            }
            Answer::None { .. } => format!(
                "Nobody answered. A program's connection {unpinned}, after waiting once for {}; \
                 it is asked again after {}, and ever more seldom, up to {}.",
                time(blocking.budget),
                time(times.unanswered),
                time(times.unanswered_max)
            ),
        },
        other => {
            let reason = other.reason().unwrap_or_default();
            let fails = other.bypass().is_some_and(Bypass::is_failure);
            let does = if fails {
                unpinned
            } else {
                "goes to the anycast address"
            };
            format!("It cannot be asked: {reason}. A program's connection {does}.")
        }
    }
}
