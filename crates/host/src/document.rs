//! Tables of aarp.toml, read key by key: a wrong one is an error of one line that
//! names the key and says what was expected.

use std::fmt::{self, Display};
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aarp_core::config::read_duration;
use aarp_core::prefix::Prefix;
use thiserror::Error;
use toml::{Table, Value};

/// A setting that cannot be used: the file, the key, and what was expected.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{file}{key}: {problem}")]
pub struct BadSetting {
    file: String,
    key: String,
    problem: String,
}

impl BadSetting {
    /// A problem with `key`.
    pub fn new(key: impl Display, problem: impl Display) -> Self {
        Self {
            file: String::new(),
            key: in_one_line(key),
            problem: in_one_line(problem),
        }
    }

    /// The same, in this file.
    #[must_use]
    pub fn of(mut self, file: &Path) -> Self {
        self.file = in_one_line(format_args!("{}: ", file.display()));
        self
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// With escapes for the control characters of what stands in a file.
fn in_one_line(text: impl Display) -> String {
    let mut line = String::new();
    for character in text.to_string().chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

/// The top-level tables of aarp.toml; each program reads its own.
const TABLES: [&str; 8] = [
    "resolve",
    "times",
    "daemon",
    "log",
    "responder",
    "binding",
    "agent",
    "prefix",
];

/// Reads a document as TOML.
///
/// # Errors
/// [`BadSetting`] with the number of the line in place of a key.
pub fn parse(text: &str) -> Result<Table, BadSetting> {
    text.parse().map_err(|error: toml::de::Error| {
        let line = error
            .span()
            .map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        let message = error.message().replace('\n', ", ");
        BadSetting::new(
            format_args!("line {line}"),
            format_args!("not TOML: {message}"),
        )
    })
}

/// Reads aarp.toml: a document with known tables at the top.
///
/// # Errors
/// As [`parse`], and for a table that no program reads.
pub fn parse_aarp(text: &str) -> Result<Table, BadSetting> {
    let document = parse(text)?;
    match document.keys().find(|key| !TABLES.contains(&key.as_str())) {
        None => Ok(document),
        Some(key) => Err(BadSetting::new(
            key,
            "unknown key; expected a table of aarp.toml, such as [agent] or [[binding]]",
        )),
    }
}

/// The tables written `[[name]]`; none if there is none.
///
/// # Errors
/// When `name` is something else.
pub fn tables<'t>(document: &'t Table, name: &str) -> Result<Vec<Entry<'t>>, BadSetting> {
    let wrong = |at: &dyn Display| {
        BadSetting::new(at, format_args!("expected a table, written [[{name}]]"))
    };
    let values = match document.get(name) {
        None => return Ok(Vec::new()),
        Some(Value::Array(values)) => values,
        Some(_) => return Err(wrong(&name)),
    };
    let entries = values.iter().enumerate().map(|(index, value)| {
        let path = format!("{name}[{index}]");
        match value {
            Value::Table(table) => Ok(Entry {
                path,
                table,
                is_secret: false,
            }),
            _ => Err(wrong(&path)),
        }
    });
    entries.collect()
}

/// The table written `[name]`, if there is one.
///
/// # Errors
/// When `name` is something else.
pub fn table<'t>(document: &'t Table, name: &str) -> Result<Option<Entry<'t>>, BadSetting> {
    match document.get(name) {
        None => Ok(None),
        Some(Value::Table(table)) => Ok(Some(Entry {
            path: name.to_owned(),
            table,
            is_secret: false,
        })),
        Some(_) => Err(BadSetting::new(
            name,
            format_args!("expected a table, written [{name}]"),
        )),
    }
}

/// An element of a list that has addresses and tables.
#[derive(Clone, Debug)]
pub enum AddressOrTable<'t> {
    /// An address.
    Address(Ipv6Addr),
    /// A table.
    Table(Entry<'t>),
}

/// A table of the document.
#[derive(Clone, Debug)]
pub struct Entry<'t> {
    path: String,
    table: &'t Table,
    is_secret: bool,
}

impl<'t> Entry<'t> {
    /// A table that is not there: nothing is set in it.
    #[must_use]
    pub fn empty(path: &str, table: &'t Table) -> Self {
        Self {
            path: path.to_owned(),
            table,
            is_secret: false,
        }
    }

    /// The same table, of whose text nothing is shown: a quotation mark too many, and
    /// what is found for one key is the value of another.
    #[must_use]
    pub fn secret(self) -> Self {
        Self {
            is_secret: true,
            ..self
        }
    }

    /// Where it stands: `binding[0]`.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// A problem with one of its keys.
    pub fn bad(&self, key: &str, problem: impl Display) -> BadSetting {
        BadSetting::new(format_args!("{}.{key}", self.path), problem)
    }

    fn expected(&self, key: &str, what: impl Display, value: &Value) -> BadSetting {
        if self.is_secret && !value.is_integer() {
            return self.bad(key, format_args!("expected {what}"));
        }
        self.bad(key, format_args!("expected {what}, not {value}"))
    }

    /// That it has no other keys than these; of `later` it is said that they are
    /// not there yet.
    ///
    /// # Errors
    /// For the first key that is unknown, or not supported yet.
    pub fn only(&self, known: &[&str], later: &[&str]) -> Result<(), BadSetting> {
        for key in self.table.keys() {
            if later.contains(&key.as_str()) {
                return Err(self.bad(key, "not supported yet; remove it"));
            }
            if !known.contains(&key.as_str()) {
                let expected = known.join(", ");
                return Err(self.bad(key, format_args!("unknown key; expected one of {expected}")));
            }
        }
        Ok(())
    }

    /// The value as it stands in the file.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<&'t Value> {
        self.table.get(key)
    }

    /// A value that is read from a string by `read`.
    ///
    /// # Errors
    /// When it is no string, or `read` returns none.
    pub fn read<T>(
        &self,
        key: &str,
        what: impl Display,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, BadSetting> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let parsed = value.as_str().and_then(read);
        parsed
            .map(Some)
            .ok_or_else(|| self.expected(key, what, value))
    }

    /// A list of values that are read from strings by `read`.
    ///
    /// # Errors
    /// When it is no list, or one of them cannot be read.
    pub fn list<T>(
        &self,
        key: &str,
        what: impl Display,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<Vec<T>>, BadSetting> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let Some(values) = value.as_array() else {
            return Err(self.expected(key, format_args!("a list of {what}"), value));
        };
        let parsed = values.iter().enumerate().map(|(index, value)| {
            let parsed = value.as_str().and_then(&read);
            parsed.ok_or_else(|| self.expected(&format!("{key}[{index}]"), &what, value))
        });
        parsed.collect::<Result<_, _>>().map(Some)
    }

    /// An IPv6 address.
    ///
    /// # Errors
    /// When it is something else.
    pub fn address(&self, key: &str) -> Result<Option<Ipv6Addr>, BadSetting> {
        self.read(key, "an IPv6 address as a string", |text| text.parse().ok())
    }

    /// A list of IPv6 addresses.
    ///
    /// # Errors
    /// When it is something else.
    pub fn addresses(&self, key: &str) -> Result<Option<Vec<Ipv6Addr>>, BadSetting> {
        let what = "an IPv6 address as a string";
        self.list(key, what, |text| text.parse().ok())
    }

    /// A list of IPv6 addresses and of tables that say more than an address.
    ///
    /// # Errors
    /// When it is something else.
    pub fn addresses_or_tables(
        &self,
        key: &str,
        what: &str,
    ) -> Result<Option<Vec<AddressOrTable<'t>>>, BadSetting> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let Some(values) = value.as_array() else {
            return Err(self.expected(key, format_args!("a list of {what}"), value));
        };
        let items = values.iter().enumerate().map(|(index, value)| {
            let key = format!("{key}[{index}]");
            if let Value::Table(table) = value {
                return Ok(AddressOrTable::Table(Entry {
                    path: format!("{}.{key}", self.path),
                    table,
                    is_secret: self.is_secret,
                }));
            }
            let address = value.as_str().and_then(|text| text.parse().ok());
            let address = address.ok_or_else(|| self.expected(&key, what, value))?;
            Ok(AddressOrTable::Address(address))
        });
        items.collect::<Result<_, _>>().map(Some)
    }

    /// A list of IPv6 prefixes; an address is one of 128 bits.
    ///
    /// # Errors
    /// When it is something else.
    pub fn prefixes(&self, key: &str) -> Result<Option<Vec<Prefix>>, BadSetting> {
        let what = "an IPv6 prefix such as \"2001:db8::/64\" or an address, as a string";
        self.list(key, what, |text| text.parse().ok())
    }

    /// A duration with its unit.
    ///
    /// # Errors
    /// When it is none, or not above zero, or beyond thirty days.
    pub fn duration(&self, key: &str) -> Result<Option<Duration>, BadSetting> {
        let what = "a duration above zero and up to 30 days, such as \"60s\", \"300ms\" or \"1h\"";
        self.read(key, what, read_duration)
    }

    /// True or false.
    ///
    /// # Errors
    /// When it is something else.
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, BadSetting> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let wrong = || self.expected(key, "true or false", value);
        value.as_bool().map(Some).ok_or_else(wrong)
    }

    /// A whole number of a range.
    ///
    /// # Errors
    /// When it is something else.
    pub fn number(
        &self,
        key: &str,
        range: std::ops::RangeInclusive<u32>,
    ) -> Result<Option<u32>, BadSetting> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        let number = value.as_integer().and_then(|n| u32::try_from(n).ok());
        let number = number.filter(|n| range.contains(n));
        number.map(Some).ok_or_else(|| {
            let (low, high) = (range.start(), range.end());
            let what = format_args!("a whole number from {low} to {high}");
            self.expected(key, what, value)
        })
    }

    /// One of these words, with what it stands for.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, BadSetting> {
        self.read(key, Words(words), |text| {
            let found = words.iter().find(|(word, _)| *word == text);
            found.map(|(_, meaning)| *meaning)
        })
    }

    /// An absolute path.
    ///
    /// # Errors
    /// When it is something else.
    pub fn path_of(&self, key: &str) -> Result<Option<PathBuf>, BadSetting> {
        self.read(key, "an absolute path as a string", |text| {
            Some(PathBuf::from(text)).filter(|path| path.is_absolute())
        })
    }
}

/// `"a" or "b"`.
struct Words<'w, T>(&'w [(&'w str, T)]);

impl<T> Display for Words<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (word, _)) in self.0.iter().enumerate() {
            let between = if index == 0 { "" } else { " or " };
            write!(f, "{between}\"{word}\"")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str, check: impl Fn(&Entry) -> Result<(), BadSetting>) -> String {
        let document = parse(&format!("[agent]\n{text}")).unwrap();
        let entry = table(&document, "agent").unwrap().unwrap();
        match check(&entry) {
            Ok(()) => "fine".to_owned(),
            Err(bad) => bad.to_string(),
        }
    }

    #[test]
    fn a_wrong_value_is_named_with_what_was_expected() {
        let cases = [
            (
                entry("address = 4", |e| e.address("address").map(drop)),
                "agent.address: expected an IPv6 address as a string, not 4",
            ),
            (
                entry("home = [\"::1\", \"x\"]", |e| e.addresses("home").map(drop)),
                "agent.home[1]: expected an IPv6 address as a string, not \"x\"",
            ),
            (
                entry("home = \"::1\"", |e| e.addresses("home").map(drop)),
                "agent.home: expected a list of an IPv6 address as a string, not \"::1\"",
            ),
            (
                entry("lifetime = \"4\"", |e| e.duration("lifetime").map(drop)),
                "agent.lifetime: expected a duration above zero and up to 30 days, such as \"60s\", \"300ms\" or \"1h\", not \"4\"",
            ),
            (
                entry("step = 0", |e| e.number("step", 1..=9).map(drop)),
                "agent.step: expected a whole number from 1 to 9, not 0",
            ),
            (
                entry("mode = \"c\"", |e| {
                    e.word("mode", &[("a", 1), ("b", 2)]).map(drop)
                }),
                "agent.mode: expected \"a\" or \"b\", not \"c\"",
            ),
            (
                entry("x = \"a\\nb\"", |e| e.path_of("x").map(drop)),
                r#"agent.x: expected an absolute path as a string, not """\na\nb""""#,
            ),
            (
                entry("y = 1", |e| e.only(&["x", "z"], &[])),
                "agent.y: unknown key; expected one of x, z",
            ),
            (
                entry("y = 1", |e| e.only(&["x"], &["y"])),
                "agent.y: not supported yet; remove it",
            ),
            (
                entry("y = 1", |e| e.boolean("y").map(drop)),
                "agent.y: expected true or false, not 1",
            ),
            (entry("", |e| e.only(&["x"], &[])), "fine"),
        ];
        for (got, expected) in cases {
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn documents_that_are_none_are_refused_with_their_line() {
        let bad = parse_aarp("[agent]\naddress = \n").unwrap_err();
        assert_eq!(bad.key(), "line 2");
        let bad = parse_aarp("[agnet]").unwrap_err();
        assert_eq!(bad.key(), "agnet");
        let file = Path::new("/etc/aarp/aarp.toml");
        assert!(
            bad.of(file)
                .to_string()
                .starts_with("/etc/aarp/aarp.toml: agnet: ")
        );
        let document = parse_aarp("agent = 1\nbinding = [1]").unwrap();
        assert!(table(&document, "agent").is_err());
        assert!(tables(&document, "binding").is_err());
        assert!(tables(&document, "responder").unwrap().is_empty());
    }
}
