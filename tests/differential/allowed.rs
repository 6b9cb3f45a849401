//! What may differ: allowed.txt.
use std::cell::Cell;

/// So many entries there are at most, for all destinations.
const MOST: usize = 20;

/// A difference that is allowed.
#[derive(Default)]
struct Entry {
    /// The name of a case; with a star at its end, of all that begin so.
    case: String,
    /// One, or several with commas.
    destination: String,
    /// What stands in lines of the native transcript, and what in its place in ours.
    replaced: Vec<(String, String)>,
    why: String,
    used: Cell<bool>,
}

impl Entry {
    fn is_about(&self, case: &str) -> bool {
        match self.case.strip_suffix('*') {
            Some(begin) => case.starts_with(begin),
            None => self.case == case,
        }
    }

    fn allows(&self, native: &str, ours: &str) -> bool {
        let replaced = |line: String, (from, to): &(String, String)| line.replace(from, to);
        native == ours || self.replaced.iter().fold(native.to_owned(), replaced) == ours
    }
}

/// What may differ for one destination.
pub struct Allowed(Vec<Entry>);

impl Allowed {
    /// # Panics
    /// When the list is not as it says it is.
    pub fn of(destination: &str) -> Self {
        let mut entries = parse(include_str!("allowed.txt"));
        assert!(entries.len() <= MOST, "{} entries", entries.len());
        for entry in &entries {
            let Entry {
                case,
                destination,
                replaced,
                why,
                ..
            } = entry;
            assert!(
                !case.is_empty() && !replaced.is_empty() && why.len() > 40,
                "no case, nothing that differs, or no reason: {case}"
            );
            let known = ["direct", "pinned", "unanswered", "shared"];
            assert!(
                destination.split(", ").all(|name| known.contains(&name)),
                "{case}: {destination}"
            );
        }
        entries.retain(|entry| {
            entry
                .destination
                .split(", ")
                .any(|name| name == destination)
        });
        Self(entries)
    }

    /// Whether all that differs in these lines of a case may.
    pub fn allows(&self, case: &str, native: &[String], ours: &[String]) -> bool {
        let about = self.0.iter().filter(|entry| entry.is_about(case));
        let same_length = native.len() == ours.len();
        for entry in about {
            let mut pairs = native.iter().zip(ours);
            if same_length && pairs.all(|(native, ours)| entry.allows(native, ours)) {
                entry.used.set(true);
                return true;
            }
        }
        false
    }

    /// # Panics
    /// When an entry allows what does not differ any more.
    pub fn assert_all_used(&self) {
        for entry in &self.0 {
            assert!(
                entry.used.get(),
                "{}, {}: does not differ any more; take it out of allowed.txt",
                entry.case,
                entry.destination
            );
        }
    }
}

fn parse(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut native: Option<String> = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if line.is_empty() {
            continue;
        }
        let (key, value) = line.split_once(": ").expect("key: value");
        let value = value.to_owned();
        if key == "case" {
            entries.push(Entry::default());
        }
        let entry = entries.last_mut().expect("an entry begins with its case");
        match key {
            "case" => entry.case = value,
            "destination" => entry.destination = value,
            "native" => native = Some(value),
            "ours" => entry
                .replaced
                .push((native.take().expect("native, then ours"), value)),
            "why" => entry.why = value,
            _ => panic!("{key} is no key"),
        }
    }
    entries
}
