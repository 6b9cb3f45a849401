//! Which mappings are used, change and fail, as far as that was seen.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use serde::Serialize;
use serde_json::Value;

use crate::mapper::mapping::Mapping;

/// Addresses of which changes and failures are remembered; beyond, those with the
/// fewest are forgotten.
const REMEMBERED: usize = 10_000;

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// When each was last used, in seconds of boot, and how often that was seen to go on.
    uses: BTreeMap<Ipv6Addr, (u64, u64)>,
    mappings: BTreeMap<Ipv6Addr, Mapping>,
    stories: BTreeMap<Ipv6Addr, Story>,
}

/// What has happened to one.
#[derive(Debug, Clone, Default, PartialEq)]
struct Story {
    changes: u64,
    from: Option<Ipv6Addr>,
    to: Option<Ipv6Addr>,
    /// Failures that programs have told.
    failed: u64,
    gone: u64,
    /// When the latest of these was.
    time: String,
}

/// A mapping, and how often it was used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Used {
    #[serde(flatten)]
    pub(super) mapping: Mapping,
    pub(super) uses: u64,
}

/// An address that another responder has answered for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Changing {
    pub(super) anycast: Ipv6Addr,
    pub(super) changes: u64,
    pub(super) from: Option<Ipv6Addr>,
    pub(super) to: Option<Ipv6Addr>,
    pub(super) last: String,
}

/// An address with which something is wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Failing {
    pub(super) anycast: Ipv6Addr,
    /// What is known now; none where nothing is.
    pub(super) state: Option<String>,
    /// How many times in a row nobody has answered.
    pub(super) silent: u64,
    /// How often a program has told that its unicast address failed.
    pub(super) failed: u64,
    /// How often a unicast address has stopped answering.
    pub(super) gone: u64,
    /// When it last failed or was gone; none where that was not seen.
    pub(super) last: Option<String>,
}

impl Tally {
    /// Takes the mappings that hold `now`, in milliseconds since boot.
    pub(super) fn observe(&mut self, mappings: Vec<Mapping>, now: u64) {
        let mut uses = BTreeMap::new();
        for mapping in &mappings {
            // Whole seconds are told: what is not one is the time that telling took.
            let used = (now.saturating_sub(mapping.unused_ms) + 500) / 1000;
            let (last, count) = self
                .uses
                .get(&mapping.anycast)
                .copied()
                .unwrap_or((used, 0));
            let count = count + u64::from(used > last);
            uses.insert(mapping.anycast, (used.max(last), count));
        }
        self.uses = uses;
        let named = mappings
            .into_iter()
            .map(|mapping| (mapping.anycast, mapping));
        self.mappings = named.collect();
    }

    /// Takes something that has happened.
    pub(super) fn happened(&mut self, event: &Value) {
        let address = |name: &str| event[name].as_str().and_then(|text| text.parse().ok());
        let kind = event["event"].as_str().unwrap_or_default();
        if !["changed", "gone", "failed", "untrusted"].contains(&kind) {
            return;
        }
        let Some(a) = address("anycast") else { return };
        if !self.stories.contains_key(&a) && self.stories.len() >= REMEMBERED {
            let count = |story: &Story| story.changes + story.failed + story.gone;
            let least = self.stories.iter().min_by_key(|(_, story)| count(story));
            if let Some(least) = least.map(|(a, _)| *a) {
                self.stories.remove(&least);
            }
        }
        let story = self.stories.entry(a).or_default();
        match kind {
            "changed" => {
                story.changes += 1;
                (story.from, story.to) = (address("from"), address("to"));
            }
            "gone" => story.gone += 1,
            _ => story.failed += 1,
        }
        story.time = crate::mapper::plain(event["time"].as_str().unwrap_or_default());
    }

    /// The most used first.
    pub(super) fn used(&self, most: usize) -> Vec<Used> {
        let mut used: Vec<(&Mapping, u64)> = self
            .mappings
            .values()
            .map(|mapping| {
                (
                    mapping,
                    self.uses.get(&mapping.anycast).map_or(0, |(_, n)| *n),
                )
            })
            .collect();
        used.sort_by_key(|(mapping, uses)| (u64::MAX - uses, mapping.unused_ms));
        let used = used.into_iter().take(most);
        used.map(|(mapping, uses)| Used {
            mapping: mapping.clone(),
            uses,
        })
        .collect()
    }

    /// Those that have changed most often first.
    pub(super) fn changing(&self, most: usize) -> Vec<Changing> {
        let stories = self.stories.iter().filter(|(_, story)| story.changes > 0);
        let mut changing: Vec<Changing> = stories
            .map(|(a, story)| Changing {
                anycast: *a,
                changes: story.changes,
                from: story.from,
                to: story.to,
                last: story.time.clone(),
            })
            .collect();
        changing.sort_by_key(|one| u64::MAX - one.changes);
        changing.truncate(most);
        changing
    }

    /// Those that have failed most often first.
    pub(super) fn failing(&self, most: usize) -> Vec<Failing> {
        let bad =
            |mapping: &&Mapping| ["unanswered", "untrusted"].contains(&mapping.state.as_ref());
        let now = self
            .mappings
            .values()
            .filter(bad)
            .map(|mapping| mapping.anycast);
        let then = self
            .stories
            .iter()
            .filter(|(_, story)| story.failed + story.gone > 0);
        let mut addresses: Vec<Ipv6Addr> = now.chain(then.map(|(a, _)| *a)).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let of = |a: Ipv6Addr| {
            let mapping = self.mappings.get(&a);
            let story = self
                .stories
                .get(&a)
                .filter(|story| story.failed + story.gone > 0);
            Failing {
                anycast: a,
                state: mapping.map(|mapping| mapping.state.to_string()),
                silent: mapping.map_or(0, |mapping| mapping.failures),
                failed: story.map_or(0, |story| story.failed),
                gone: story.map_or(0, |story| story.gone),
                last: story.map(|story| story.time.clone()),
            }
        };
        let mut failing: Vec<Failing> = addresses.into_iter().map(of).collect();
        failing.sort_by_key(|one| u64::MAX - (one.failed + one.gone + one.silent));
        failing.truncate(most);
        failing
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn mapping(a: &str, unused_ms: u64) -> Mapping {
        Mapping {
            anycast: a.parse().unwrap(),
            state: "pinned".into(),
            unicast: None,
            method: "echo".into(),
            rtt_ms: None,
            failures: 0,
            remaining_ms: 60_000,
            unused_ms,
        }
    }

    #[test]
    fn a_use_is_one_that_is_later_than_the_last() {
        let (idle, busy) = ("2001:db8::1", "2001:db8::2");
        let mut tally = Tally::default();
        tally.observe(vec![mapping(idle, 1000), mapping(busy, 3000)], 10_000);
        // What is used anew was not used for longer a second ago.
        let order = |tally: &Tally| -> Vec<(String, u64)> {
            let used = tally.used(10).into_iter();
            used.map(|used| (used.mapping.anycast.to_string(), used.uses))
                .collect()
        };
        assert_eq!(order(&tally), [(idle.to_owned(), 0), (busy.to_owned(), 0)]);
        // Told a little later, and a little earlier: the same use.
        tally.observe(vec![mapping(idle, 2004), mapping(busy, 500)], 11_000);
        tally.observe(vec![mapping(idle, 2996), mapping(busy, 100)], 12_000);
        assert_eq!(order(&tally), [(busy.to_owned(), 2), (idle.to_owned(), 0)]);
        assert_eq!(tally.used(1).len(), 1);
        tally.observe(Vec::new(), 13_000);
        assert_eq!(order(&tally), []);
    }

    #[test]
    fn what_changes_and_what_fails_are_told_apart() {
        let mut tally = Tally::default();
        let mut happened = |kind: &str, a: &str| {
            tally.happened(&json!({"event": kind, "anycast": a, "from": "2001:db8::8",
                                   "to": "2001:db8::9", "time": "now"}));
        };
        for _ in 0..2 {
            happened("changed", "2001:db8::1");
        }
        happened("changed", "2001:db8::2");
        happened("gone", "2001:db8::3");
        happened("learned", "2001:db8::4");
        let mut silent = mapping("2001:db8::5", 0);
        (silent.state, silent.failures) = ("unanswered".into(), 4);
        tally.observe(vec![silent, mapping("2001:db8::1", 0)], 1000);
        let changing = tally.changing(10);
        let changes: Vec<u64> = changing.iter().map(|one| one.changes).collect();
        assert_eq!(changes, [2, 1]);
        assert_eq!(changing[0].to, "2001:db8::9".parse().ok());
        let failing = tally.failing(10);
        let of: Vec<_> = failing
            .iter()
            .map(|one| (one.anycast.to_string(), one.silent, one.gone))
            .collect();
        assert_eq!(
            of,
            [
                ("2001:db8::5".to_owned(), 4, 0),
                ("2001:db8::3".to_owned(), 0, 1)
            ]
        );
        assert_eq!(
            (&failing[1].state, &failing[1].last),
            (&None, &Some("now".to_owned()))
        );
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut tally = Tally::default();
        for _ in 0..2 {
            tally.happened(&json!({"event": "gone", "anycast": "2001:db8::1"}));
        }
        for n in 0..REMEMBERED + 10 {
            let a = format!("2001:db8:1::{n:x}");
            tally.happened(&json!({"event": "gone", "anycast": a}));
        }
        assert_eq!(tally.stories.len(), REMEMBERED);
        assert_eq!(tally.failing(1)[0].gone, 2);
    }
}
