//! How an explanation is shown.

use aarp_core::bypass::Bypass;
use serde_json::json;

use super::{Decision, Explanation};
use crate::exit;
use crate::paint::{Brush, Tone, headings, table};
use crate::question::Outcome;
use crate::record::ms;
use crate::resolve::tone;
use crate::statistics::millis;

impl Explanation {
    pub(super) fn code(&self) -> u8 {
        match (&self.outcome, self.bypass) {
            (_, Some(Bypass::Budget)) => exit::CANNOT_BE_PINNED,
            (Some(outcome), _) => outcome.code(),
            (None, Some(_)) => exit::CANNOT_BE_PINNED,
            (None, None) => exit::PINNED,
        }
    }

    pub(super) fn record(&self) -> serde_json::Value {
        let answer = self.outcome.as_ref().map(|outcome| {
            json!({
                "state": outcome.state(),
                "unicast": outcome.unicast(),
                "rtt_ms": outcome.rtt().map(ms),
                "method": outcome.report().map(|report| report.method.name()),
                "socket": outcome.report().map(|report| report.socket.name()),
                "reason": outcome.reason(),
            })
        });
        json!({
            "name": self.target.name,
            "anycast": self.target.address.clone().ok(),
            "asks": matches!(self.bypass, None | Some(Bypass::Budget)) && self.target.address.is_ok(),
            "bypass": self.bypass.map(Bypass::name),
            "decisions": self.decisions,
            "answer": answer,
            "meaning": self.meaning,
        })
    }

    pub(super) fn in_columns(&self, brush: Brush) -> String {
        let mut text = format!("{}\n", brush.paint(Tone::Bold, &self.target.describe()));
        if !self.decisions.is_empty() {
            let mut rows = vec![headings(&["DECISION", "VALUE", "DECIDED BY"])];
            for Decision {
                decision,
                value,
                source,
            } in &self.decisions
            {
                rows.push(vec![
                    ((*decision).to_owned(), Tone::Plain),
                    (value.clone(), Tone::Plain),
                    (source.to_string(), Tone::Faint),
                ]);
            }
            text.push_str(&table(brush, &rows));
        }
        // A name without an address has nobody to be asked.
        let asked = |outcome: &&Outcome| !matches!(outcome, Outcome::NoAddress(_));
        if let Some(outcome) = self.outcome.as_ref().filter(asked) {
            let state = brush.paint(tone(outcome.state()), outcome.state());
            let unicast = outcome.unicast().map(|u| format!(", {u}"));
            let rtt = outcome.rtt().map(|rtt| format!(", {} ms", millis(rtt)));
            let how = outcome.report().map(|report| {
                let method = report.method.name();
                format!(", by {method} ({})", report.socket.name())
            });
            text.push_str(&format!(
                "asked now: {state}{}{}{}\n",
                unicast.unwrap_or_default(),
                rtt.unwrap_or_default(),
                how.unwrap_or_default()
            ));
        }
        text.push_str(&brush.wrapped(&self.meaning, 0));
        text.push('\n');
        text
    }
}
