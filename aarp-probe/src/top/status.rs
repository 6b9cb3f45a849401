//! What aarpd says of itself, as far as it is shown here, and how fast that goes up.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::statistics::rounded;

/// aarpd's record of itself; docs/json.md has the fields.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Status {
    pub(super) pid: u32,
    since: String,
    pub(super) epoch: u64,
    pub(super) capacity: u64,
    pub(super) mappings: BTreeMap<String, u64>,
    pub(super) open: u64,
    pub(super) waiters: u64,
    pub(super) clients: u64,
    pub(super) followers: u64,
    served: Served,
    requests: Requests,
    probes: BTreeMap<String, u64>,
    answers: Answers,
    pub(super) changes: u64,
    pub(super) gone: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Served {
    connections: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Requests {
    hits: u64,
    misses: u64,
    joined: u64,
    used: u64,
    failures: u64,
    refused: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Answers {
    pinned: u64,
    direct: u64,
    untrusted: u64,
    unanswered: u64,
}

impl Status {
    /// When the daemon was started.
    pub(super) fn since(&self) -> Option<SystemTime> {
        humantime::parse_rfc3339(&self.since).ok()
    }

    /// What is counted here, in the order of [`Rates`].
    fn counts(&self) -> [u64; 9] {
        let sum = |counts: &BTreeMap<String, u64>| counts.values().sum::<u64>();
        let requests = &self.requests;
        let refused = sum(&requests.refused);
        let answers = &self.answers;
        [
            requests.hits + requests.misses + requests.joined + refused,
            requests.hits,
            requests.joined,
            refused,
            requests.used,
            requests.failures,
            sum(&self.probes),
            answers.pinned + answers.direct + answers.untrusted + answers.unanswered,
            self.served.connections,
        ]
    }
}

/// How much, a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Rates {
    /// Programs' questions.
    pub(super) requests: f64,
    /// Those answered from the table.
    pub(super) hits: f64,
    /// Those that waited for a question that was open.
    pub(super) joined: f64,
    pub(super) refused: f64,
    /// That a mapping is in use.
    pub(super) used: f64,
    /// That a unicast address has failed.
    pub(super) failures: f64,
    pub(super) probes: f64,
    /// Questions to the network that ended.
    pub(super) answers: f64,
    /// Connections that programs have made.
    pub(super) connections: f64,
}

impl Rates {
    /// From one moment to another; from the start of the daemon where there is none
    /// before.
    pub(super) fn between(before: Option<&Status>, now: &Status, time: Duration) -> Self {
        // Another daemon counts from the beginning.
        let before = before
            .filter(|before| before.pid == now.pid)
            .map(Status::counts);
        let before = before.unwrap_or_default();
        let seconds = time.as_secs_f64().max(1e-3);
        let mut rates = now
            .counts()
            .into_iter()
            .zip(before)
            .map(|(now, before)| rounded(now.saturating_sub(before) as f64 / seconds));
        let mut next = || rates.next().unwrap_or(0.0);
        Self {
            requests: next(),
            hits: next(),
            joined: next(),
            refused: next(),
            used: next(),
            failures: next(),
            probes: next(),
            answers: next(),
            connections: next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(hits: u64, refused: u64, probes: u64) -> Status {
        Status {
            pid: 7,
            requests: Requests {
                hits,
                misses: 4,
                refused: [("busy".to_owned(), refused)].into(),
                ..Requests::default()
            },
            probes: [("echo".to_owned(), probes)].into(),
            ..Status::default()
        }
    }

    #[test]
    fn rates_are_those_between_two_moments() {
        let (before, now) = (status(10, 0, 3), status(30, 2, 3));
        let rates = Rates::between(Some(&before), &now, Duration::from_secs(2));
        let expected = Rates {
            requests: 11.0,
            hits: 10.0,
            refused: 1.0,
            ..Rates::default()
        };
        assert_eq!(rates, expected);
        let rates = Rates::between(None, &now, Duration::from_secs(10));
        assert_eq!((rates.requests, rates.probes), (3.6, 0.3));
        // A daemon that was started anew has counted less.
        let other = Status {
            pid: 8,
            ..status(1, 0, 0)
        };
        let rates = Rates::between(Some(&now), &other, Duration::from_secs(1));
        assert_eq!(rates.hits, 1.0);
    }
}
