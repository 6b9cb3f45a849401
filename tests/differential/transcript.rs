//! What the cases of a run have written down, and in what two runs differ.
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use crate::allowed::Allowed;

/// The lines of each case, and what the library has said meanwhile.
#[derive(Default)]
pub struct Transcript {
    cases: BTreeMap<String, Vec<String>>,
    logs: BTreeMap<String, Vec<String>>,
}

/// How the line begins that names a case.
const NAME: &str = "== ";

/// Adds lines to the case that they belong to. What comes before the first is of none.
fn split(text: &str, into: &mut BTreeMap<String, Vec<String>>) -> bool {
    let mut name = None;
    let mut ended = false;
    for line in text.lines() {
        match line.strip_prefix(NAME) {
            Some("end") => ended = true,
            Some(case) => {
                let first = into.insert(case.to_owned(), Vec::new()).is_none();
                assert!(first, "{case} has run twice");
                name = Some(case);
            }
            None => {
                if let Some(lines) = name.and_then(|name| into.get_mut(name)) {
                    lines.push(line.to_owned());
                }
            }
        }
    }
    ended
}

impl Transcript {
    /// Adds what the cases of a theme have written.
    pub fn add(&mut self, out: &str, log: &str) {
        let ended = split(out, &mut self.cases);
        assert!(ended, "it ended in the middle: {out}");
        split(log, &mut self.logs);
    }

    /// The whole of it, to be read.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, lines) in &self.cases {
            writeln!(text, "{NAME}{name}\n{}", lines.join("\n")).expect("a string");
            for line in self.logs.get(name).into_iter().flatten() {
                writeln!(text, "  log: {line}").expect("a string");
            }
        }
        text
    }

    /// The cases that have run.
    pub fn names(&self) -> BTreeSet<&str> {
        self.cases.keys().map(String::as_str).collect()
    }

    /// In how many cases the library has said this.
    pub fn logged(&self, what: &str) -> usize {
        let mut cases = self.logs.values();
        cases
            .by_ref()
            .filter(|lines| lines.iter().any(|line| line.contains(what)))
            .count()
    }

    /// In what the run under the library differs from this, but for what is allowed.
    pub fn differences<'t>(&'t self, ours: &'t Self, allowed: &Allowed) -> Differences<'t> {
        let differing = self.cases.iter().filter_map(|(name, native)| {
            let lines = ours.cases.get(name)?;
            let same = native == lines || allowed.allows(name, native, lines);
            (!same).then(|| Difference {
                name,
                native,
                ours: lines,
                log: ours.logs.get(name),
            })
        });
        Differences(differing.collect())
    }
}

/// A case in which two runs differ.
struct Difference<'t> {
    name: &'t str,
    native: &'t [String],
    ours: &'t [String],
    log: Option<&'t Vec<String>>,
}

/// The cases in which two runs differ.
pub struct Differences<'t>(Vec<Difference<'t>>);

/// So many are shown whole; of the others, the names.
const SHOWN: usize = 12;

impl Differences<'_> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What a developer has to know of them.
    pub fn report(&self) -> String {
        let mut text = format!(
            "{} cases differ (both transcripts are in {})\n",
            self.0.len(),
            env!("CARGO_TARGET_TMPDIR")
        );
        for (number, difference) in self.0.iter().enumerate() {
            let Difference {
                name,
                native,
                ours,
                log,
            } = difference;
            writeln!(text, "== {name}").expect("a string");
            if number >= SHOWN {
                continue;
            }
            for at in 0..native.len().max(ours.len()) {
                let (native, ours) = (native.get(at), ours.get(at));
                if native == ours {
                    writeln!(text, "          {}", native.map_or("", String::as_str))
                } else {
                    let or_none = |line: Option<&String>| line.cloned().unwrap_or_default();
                    writeln!(
                        text,
                        "  native: {}\n  ours:   {}",
                        or_none(native),
                        or_none(ours)
                    )
                }
                .expect("a string");
            }
            for line in log.iter().copied().flatten() {
                writeln!(text, "  log: {line}").expect("a string");
            }
        }
        text
    }
}
