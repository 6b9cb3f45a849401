//! Round trips and losses in numbers, in bounded memory however long one watches.

use std::collections::BTreeMap;
use std::time::Duration;

/// How much wider each class of round trips is than the one below: quantiles are
/// right to half of this.
const STEP: f64 = 1.01;

/// What was sent, what came back, and how long that took.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RoundTrips {
    sent: u64,
    answered: u64,
    sum: Duration,
    least: Duration,
    most: Duration,
    last: Option<Duration>,
    /// How many round trips fell into each class, by the logarithm of nanoseconds.
    classes: BTreeMap<u32, u64>,
}

impl RoundTrips {
    /// Counts a probe: with its round trip, or lost.
    pub(crate) fn add(&mut self, rtt: Option<Duration>) {
        self.sent += 1;
        self.last = rtt;
        let Some(rtt) = rtt else { return };
        self.least = match self.answered {
            0 => rtt,
            _ => self.least.min(rtt),
        };
        self.most = self.most.max(rtt);
        self.answered += 1;
        self.sum += rtt;
        *self.classes.entry(class(rtt)).or_default() += 1;
    }

    /// How many were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// How many came back.
    pub(crate) fn answered(&self) -> u64 {
        self.answered
    }

    /// The share that was lost, from 0 to 1; none where nothing was sent.
    pub(crate) fn loss(&self) -> Option<f64> {
        (self.sent > 0).then(|| (self.sent - self.answered) as f64 / self.sent as f64)
    }

    /// The latest round trip; none when the latest probe was lost.
    pub(crate) fn last(&self) -> Option<Duration> {
        self.last
    }

    /// The shortest.
    pub(crate) fn min(&self) -> Option<Duration> {
        (self.answered > 0).then_some(self.least)
    }

    /// The longest.
    pub(crate) fn max(&self) -> Option<Duration> {
        (self.answered > 0).then_some(self.most)
    }

    /// The mean.
    pub(crate) fn mean(&self) -> Option<Duration> {
        (self.answered > 0).then(|| self.sum.div_f64(self.answered as f64))
    }

    /// The round trip that the share `q` of all did not exceed (nearest rank), to
    /// half a per cent.
    pub(crate) fn quantile(&self, q: f64) -> Option<Duration> {
        let rank = ((q * self.answered as f64).ceil() as u64).clamp(1, self.answered.max(1));
        let mut seen = 0;
        for (class, count) in &self.classes {
            seen += count;
            if seen >= rank {
                let nanos = STEP.powf(f64::from(*class) + 0.5);
                return Some(Duration::from_nanos(nanos as u64).clamp(self.least, self.most));
            }
        }
        None
    }
}

fn class(rtt: Duration) -> u32 {
    let nanos = rtt.as_nanos().max(1) as f64;
    (nanos.ln() / STEP.ln()) as u32
}

/// With how much confidence nobody was missed: the largest share of all flows that
/// a responder may have and still be unseen after so many `answers`, at 95 %
/// confidence, where each flow falls to a responder independently of the others.
pub(crate) fn unseen_share(answers: u64) -> f64 {
    match answers {
        0 => 1.0,
        // (1 - share)^answers = 0.05
        _ => 1.0 - 0.05f64.powf(1.0 / answers as f64),
    }
}

/// Milliseconds for people: three digits that count, or more.
pub(crate) fn millis(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1e3;
    let decimals = match ms {
        _ if ms >= 1000.0 => 0,
        _ if ms >= 100.0 => 1,
        _ if ms >= 10.0 => 2,
        _ => 3,
    };
    format!("{ms:.decimals$}")
}

/// The same, or a dash.
pub(crate) fn millis_or_dash(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), millis)
}

/// A share for people.
pub(crate) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

/// A share for records, without digits that are not known.
pub(crate) fn rounded(share: f64) -> f64 {
    (share * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn nothing_is_known_of_nothing() {
        let none = RoundTrips::default();
        assert_eq!(
            (none.min(), none.mean(), none.max(), none.quantile(0.5)),
            (None, None, None, None)
        );
        assert_eq!((none.loss(), none.last()), (None, None));
    }

    #[test]
    fn a_hundred_and_a_loss() {
        let mut trips = RoundTrips::default();
        for n in 1..=100 {
            trips.add(Some(n * MS));
        }
        trips.add(None);
        assert_eq!((trips.sent(), trips.answered()), (101, 100));
        assert_eq!((trips.min(), trips.max()), (Some(MS), Some(100 * MS)));
        assert_eq!(trips.mean(), Some(Duration::from_micros(50_500)));
        assert!((trips.loss().unwrap() - 1.0 / 101.0).abs() < 1e-9);
        assert_eq!(trips.last(), None);
        let near = |q: f64, expected: f64| {
            let found = trips.quantile(q).unwrap().as_secs_f64() * 1e3;
            assert!((found / expected - 1.0).abs() < 0.006, "{q}: {found}");
        };
        near(0.5, 50.0);
        near(0.99, 99.0);
        assert_eq!(trips.quantile(1.0), Some(100 * MS));
        near(0.0, 1.0);
    }

    #[test]
    fn confidence_is_the_rule_of_three() {
        assert_eq!(unseen_share(0), 1.0);
        assert!((unseen_share(1) - 0.95).abs() < 1e-9);
        for n in [100, 300, 1000] {
            let three = 3.0 / n as f64;
            assert!((unseen_share(n) / three - 1.0).abs() < 0.02, "{n}");
        }
    }

    #[test]
    fn times_for_people() {
        for (micros, text) in [
            (81, "0.081"),
            (12_345, "12.35"),
            (123_456, "123.5"),
            (1_234_567, "1235"),
        ] {
            assert_eq!(millis(Duration::from_micros(micros)), text);
        }
        assert_eq!(
            (millis_or_dash(None).as_str(), percent(None).as_str()),
            ("-", "-")
        );
        assert_eq!(percent(Some(0.125)), "12.5 %");
    }

    proptest! {
        #[test]
        fn quantiles_are_near_those_of_a_sorted_list(
            mut micros in proptest::collection::vec(1u64..10_000_000, 1..300), q in 0.0..1.0f64,
        ) {
            let mut trips = RoundTrips::default();
            for rtt in &micros {
                trips.add(Some(Duration::from_micros(*rtt)));
            }
            micros.sort_unstable();
            let rank = ((q * micros.len() as f64).ceil() as usize).clamp(1, micros.len());
            let exact = micros[rank - 1] as f64;
            let found = trips.quantile(q).unwrap().as_secs_f64() * 1e6;
            prop_assert!((found / exact - 1.0).abs() < 0.0101, "{found} {exact}");
        }
    }
}
