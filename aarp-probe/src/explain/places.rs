//! Where settings stand: which line of which file, or which variable. What they are
//! is read by the code of the library; this only finds the place again.

use std::net::Ipv6Addr;

use aarp_core::prefix::Prefix;
use serde::Serialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Source {
    pub(crate) kind: &'static str,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<usize>,
    /// The key with its table, or the variable.
    pub(crate) name: String,
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "{file}:{line} {}", self.name),
            _ if self.kind == "default" => write!(f, "default ({})", self.name),
            _ => f.write_str(&self.name),
        }
    }
}

/// A setting that stands somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// As `resolve.prefixes`.
    key: String,
    /// The number of its `[[prefix]]` table, over all files.
    rule: Option<usize>,
    pub(crate) source: Source,
    /// The value, or the parts of a list, each with its own place.
    pub(crate) values: Vec<(String, Source)>,
}

/// All that stands somewhere, in the order in which it is read: later wins.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places {
    entries: Vec<Entry>,
    /// The prefix of each `[[prefix]]` table.
    rules: Vec<Prefix>,
}

/// The variable of a key that has another name than the rule gives it.
fn variable_of(key: &str) -> Option<String> {
    let (table, name) = key.split_once('.')?;
    match (table, name) {
        ("log", "level") => Some("AARP_LOG".to_owned()),
        ("resolve" | "times" | "log", name) => Some(format!("AARP_{}", name.to_uppercase())),
        _ => None,
    }
}

impl Places {
    /// Adds a file that has been found good.
    pub(crate) fn add_file(&mut self, path: &str, text: &str) {
        // The library's own reader has taken it; should this one not, then nothing
        // in the file is found again.
        let Ok(document) = DeTable::parse(text) else {
            return;
        };
        let line = |at: usize| 1 + text[..at].matches('\n').count();
        for (table, value) in document.get_ref() {
            let tables: Vec<(&DeTable<'_>, bool)> = match value.get_ref() {
                DeValue::Table(keys) => vec![(keys, false)],
                DeValue::Array(list) => list
                    .iter()
                    .filter_map(|item| match item.get_ref() {
                        DeValue::Table(keys) => Some((keys, true)),
                        _ => None,
                    })
                    .collect(),
                _ => Vec::new(),
            };
            for (keys, many) in tables {
                let rule = (many && table.get_ref() == "prefix").then(|| self.add_rule(keys));
                for (name, value) in keys {
                    let source = |value: &Spanned<DeValue<'_>>| Source {
                        kind: "file",
                        file: Some(path.to_owned()),
                        line: Some(line(value.span().start)),
                        name: format!("{}.{}", table.get_ref(), name.get_ref()),
                    };
                    self.entries.push(Entry {
                        key: format!("{}.{}", table.get_ref(), name.get_ref()),
                        rule,
                        source: Source {
                            line: Some(line(name.span().start)),
                            ..source(value)
                        },
                        values: match value.get_ref() {
                            DeValue::Array(list) => list
                                .iter()
                                .map(|part| (scalar(part.get_ref()), source(part)))
                                .collect(),
                            one => vec![(scalar(one), source(value))],
                        },
                    });
                }
            }
        }
    }

    /// Notes the prefix of a `[[prefix]]` table, and returns the table's number.
    fn add_rule(&mut self, keys: &DeTable<'_>) -> usize {
        let prefix = keys.get("prefix").map(|value| scalar(value.get_ref()));
        let prefix = prefix.and_then(|text| text.parse().ok());
        self.rules
            .push(prefix.unwrap_or(Prefix::host(Ipv6Addr::UNSPECIFIED)));
        self.rules.len() - 1
    }

    /// Adds a variable; an empty one is one that is not set.
    pub(crate) fn add_variable(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            return;
        }
        let source = Source {
            kind: "variable",
            file: None,
            line: None,
            name: name.to_owned(),
        };
        self.entries.push(Entry {
            key: name.to_owned(),
            rule: None,
            values: value
                .split(',')
                .map(|part| (part.trim().to_owned(), source.clone()))
                .collect(),
            source,
        });
    }

    /// Every place where `key` is set outside of `[[prefix]]`, in the order of reading.
    pub(crate) fn all<'p>(&'p self, key: &'p str) -> impl DoubleEndedIterator<Item = &'p Entry> {
        let variable = variable_of(key);
        self.entries.iter().filter(move |entry| {
            entry.rule.is_none() && (entry.key == key || Some(&entry.key) == variable.as_ref())
        })
    }

    /// The place that counts of a key for which the last one does.
    pub(crate) fn last(&self, key: &str) -> Source {
        self.all(key)
            .next_back()
            .map_or_else(|| default(key), |entry| entry.source.clone())
    }

    /// The place that counts for `a` of a key that a `[[prefix]]` may have too: the
    /// longest prefix that contains `a`, of the same ones the last.
    pub(crate) fn last_for(&self, a: Ipv6Addr, key: &str) -> Source {
        let rules = self.rules.iter().enumerate();
        let longest = rules
            .filter(|(_, prefix)| prefix.contains(a))
            .max_by_key(|(_, prefix)| prefix.len_bits());
        let of_rule = longest.and_then(|(number, _)| self.of_rule(number, key));
        of_rule.map_or_else(|| self.last(key), |entry| entry.source.clone())
    }

    /// What every `[[prefix]]` that contains `a` says of a key.
    pub(crate) fn in_rules<'p>(
        &'p self,
        a: Ipv6Addr,
        key: &'p str,
    ) -> impl Iterator<Item = &'p Entry> {
        let rules = self.rules.iter().enumerate();
        rules
            .filter(move |(_, prefix)| prefix.contains(a))
            .filter_map(move |(number, _)| self.of_rule(number, key))
    }

    fn of_rule(&self, number: usize, key: &str) -> Option<&Entry> {
        let (_, name) = key.split_once('.')?;
        let key = format!("prefix.{name}");
        self.entries
            .iter()
            .find(|entry| entry.rule == Some(number) && entry.key == key)
    }

    /// The part of a list of prefixes that contains `a`.
    pub(crate) fn containing(&self, a: Ipv6Addr, key: &str) -> Option<(String, Source)> {
        let values = self.all(key).flat_map(|entry| &entry.values);
        let parsed = values.filter_map(|(text, source)| {
            let prefix: Prefix = text.parse().ok()?;
            prefix.contains(a).then_some((prefix, text, source))
        });
        parsed
            .max_by_key(|(prefix, ..)| prefix.len_bits())
            .map(|(_, text, source)| (text.clone(), source.clone()))
    }
}

/// A key that is set nowhere.
pub(crate) fn default(key: &str) -> Source {
    Source {
        kind: "default",
        file: None,
        line: None,
        name: key.to_owned(),
    }
}

fn scalar(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => text.clone().into_owned(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Integer(value) => value.as_str().to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aarp_core::config::{Key, VARIABLES};
    use aarp_core::config::{TOKENS, end_token, read_document, read_variable};
    use aarp_core::settings::{Layer, Settings};

    const SYSTEM: &str = "\
[resolve]
prefixes = [
  \"2001:db8:a::/48\",
  \"2001:db8:b::/48\",   # the other one
]
exclude = [\"2001:db8:a:1::/64\"]
trusted = [\"2001:db8::/32\"]

[times]
ttl = \"30s\"
budget = \"2s\"

[[prefix]]
prefix = \"2001:db8:a::/56\"
budget = \"3s\"
trusted = [\"2001:db8:5::/48\"]
";
    const USER: &str =
        "[times]\nttl = \"20s\"\n[[prefix]]\nprefix = \"2001:db8:a::/56\"\nttl = \"5s\"\n";

    fn places() -> Places {
        let mut places = Places::default();
        places.add_file("/s", SYSTEM);
        places.add_file("/u", USER);
        places.add_variable("AARP_BUDGET", "4s");
        places.add_variable("AARP_EXCLUDE", "2001:db8:c::/48, 2001:db8:d::/48");
        places.add_variable("AARP_TTL", "");
        places
    }

    fn settings() -> Settings {
        let mut settings = Settings::DEFAULT;
        for (layer, text) in [(Layer::System, SYSTEM), (Layer::User, USER)] {
            read_document(&mut settings, layer, text, &mut [end_token(); TOKENS]).unwrap();
        }
        read_variable(&mut settings, Layer::Environment, Key::Budget, "4s").unwrap();
        settings
    }

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    #[test]
    fn each_part_of_a_list_has_its_line() {
        let places = places();
        let of = |a: &str, key: &str| {
            places
                .containing(ip(a), key)
                .map(|(text, source)| format!("{text} {source}"))
        };
        let said = |text: &str| Some(text.to_owned());
        assert_eq!(
            of("2001:db8:b::1", "resolve.prefixes"),
            said("2001:db8:b::/48 /s:4 resolve.prefixes")
        );
        assert_eq!(
            of("2001:db8:a:1::1", "resolve.exclude"),
            said("2001:db8:a:1::/64 /s:6 resolve.exclude")
        );
        assert_eq!(
            of("2001:db8:d::1", "resolve.exclude"),
            said("2001:db8:d::/48 AARP_EXCLUDE")
        );
        assert_eq!(of("2001:db8:e::1", "resolve.prefixes"), None);
    }

    /// The place that is named has the value that counts.
    #[test]
    fn the_place_is_that_of_the_value_that_counts() {
        let (places, settings) = (places(), settings());
        for (a, key, place, value) in [
            // Neither rule has a ttl but the user's, which is the last of the longest.
            ("2001:db8:a::1", "times.ttl", "/u:5 prefix.ttl", 5),
            ("2001:db8:b::1", "times.ttl", "/u:2 times.ttl", 20),
            // A later rule of the same prefix takes the whole place of the earlier one.
            ("2001:db8:a::1", "times.budget", "AARP_BUDGET", 4),
            ("2001:db8:b::1", "times.budget", "AARP_BUDGET", 4),
            (
                "2001:db8:b::1",
                "times.direct",
                "default (times.direct)",
                300,
            ),
        ] {
            let rule = settings.rules.matching(ip(a));
            let times = rule.map_or(settings.times, |rule| rule.times.over(&settings.times));
            let found = match key {
                "times.ttl" => times.ttl,
                "times.budget" => times.budget,
                _ => times.direct,
            };
            assert_eq!(found.as_secs(), value, "{a} {key}");
            assert_eq!(places.last_for(ip(a), key).to_string(), place, "{a} {key}");
        }
        let trusted: Vec<String> = places
            .in_rules(ip("2001:db8:a::1"), "resolve.trusted")
            .map(|entry| entry.source.to_string())
            .collect();
        assert_eq!(trusted, ["/s:16 prefix.trusted"]);
    }

    #[test]
    fn every_variable_is_that_of_a_key() {
        let keys = ["resolve", "times", "log"];
        let names: Vec<String> = VARIABLES
            .iter()
            .map(|(_, name)| (*name).to_owned())
            .collect();
        for name in names {
            let short = name.trim_start_matches("AARP_").to_lowercase();
            let short = if short == "log" {
                "level".to_owned()
            } else {
                short
            };
            assert!(
                keys.iter()
                    .any(|table| variable_of(&format!("{table}.{short}")) == Some(name.clone())),
                "{name}"
            );
        }
        assert_eq!(variable_of("daemon.use"), None);
    }
}
