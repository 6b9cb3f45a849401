//! Checks as they stand in aarp.toml: a short form, or a table.
//!
//! By hand over a value of any type, not derived: an error has to name the key, and
//! what was expected of it.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::dns::{Rcode, RecordType};
use crate::settings::{BadCheck, Check, Command, Dns, Http, Kind, StatusRange, Udp, UdpAnswer};
use crate::short;

const KIND: &str = "\"tcp\", \"http\", \"udp\", \"dns\" or \"command\"";
const COUNT: &str = "a number from 1 to 100";
const OCTETS: &str = "text of at most 1200 octets, or \"hex:\" and an even number of hex digits";
/// Fits into the smallest IPv6 MTU: it is no test of fragments.
const OCTETS_MAX: usize = 1200;

/// What may stand in a file.
#[derive(Debug, Clone, PartialEq)]
enum Value {
    Text(String),
    Integer(i64),
    List(Vec<Value>),
    Table(Vec<(String, Value)>),
    /// Nothing that any key takes, in words.
    Other(String),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => f.write_str(text),
            Value::Integer(number) => number.fmt(f),
            Value::List(_) => f.write_str("a list"),
            Value::Table(_) => f.write_str("a table"),
            Value::Other(other) => f.write_str(other),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Integer(number))
    }
    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(i64::try_from(number).map_or_else(|_| Value::Other(number.to_string()), Value::Integer))
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Other(value.to_string()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Other(value.to_string()))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Other("nothing".into()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut table = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            table.push(entry);
        }
        Ok(Value::Table(table))
    }
}

/// The `checks` of a service: a list, in which short forms and tables may be mixed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checks(pub Vec<Check>);

impl<'de> Deserialize<'de> for Checks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let list = match Value::deserialize(deserializer)? {
            Value::List(list) => list,
            other => {
                let expected = format!("a list, each {}", short::SHORT);
                let bad = BadCheck::new("checks", expected, &other.to_string());
                return Err(de::Error::custom(bad));
            }
        };
        let checks = list.into_iter().enumerate().map(|(index, value)| {
            read(value).map_err(|bad| {
                let key = match bad.key.as_str() {
                    "check" => format!("checks[{index}]"),
                    key => format!("checks[{index}].{key}"),
                };
                de::Error::custom(BadCheck { key, ..bad })
            })
        });
        checks.collect::<Result<_, _>>().map(Self)
    }
}

impl<'de> Deserialize<'de> for Check {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read(Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

fn read(value: Value) -> Result<Check, BadCheck> {
    match value {
        Value::Text(text) => text.parse(),
        Value::Table(entries) => Table(entries).read(),
        other => Err(BadCheck::new(
            "check",
            format!("{}, or a table", short::SHORT),
            &other.to_string(),
        )),
    }
}

/// The entries that have not been read yet.
struct Table(Vec<(String, Value)>);

impl Table {
    fn take(&mut self, key: &str) -> Option<Value> {
        let index = self.0.iter().position(|(name, _)| name == key)?;
        Some(self.0.swap_remove(index).1)
    }

    /// A key whose value is text.
    fn text<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, BadCheck>,
    ) -> Result<Option<T>, BadCheck> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::Text(text)) => parse(&text).map(Some),
            // What is expected of the text, and what is not text.
            Some(other) => Err(match parse("") {
                Err(bad) => BadCheck {
                    found: other.to_string(),
                    ..bad
                },
                Ok(_) => BadCheck::new(key, "a string", &other.to_string()),
            }),
        }
    }

    /// A key whose value is text or a number.
    fn word<T>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, BadCheck>,
    ) -> Result<Option<T>, BadCheck> {
        if let Some((_, value @ Value::Integer(_))) = self.0.iter_mut().find(|e| e.0 == key) {
            *value = Value::Text(value.to_string());
        }
        self.text(key, parse)
    }

    /// A key whose value is a list of such words, or just one of them.
    fn words<T>(
        &mut self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, BadCheck>,
    ) -> Result<Option<Vec<T>>, BadCheck> {
        let list = match self.take(key) {
            None => return Ok(None),
            Some(Value::List(list)) if list.is_empty() => vec![Value::Text(String::new())],
            Some(Value::List(list)) => list,
            Some(one) => vec![one],
        };
        let words = list.into_iter().map(|value| {
            let mut one = Table(vec![(key.to_owned(), value)]);
            let word = one.word(key, &parse)?;
            word.ok_or_else(|| BadCheck::new(key, "a value", ""))
        });
        words.collect::<Result<_, _>>().map(Some)
    }

    fn duration(
        &mut self,
        key: &str,
        range: (Duration, Duration),
        default: Duration,
    ) -> Result<Duration, BadCheck> {
        let (least, most) = range;
        let parse = |text: &str| {
            let duration = short::duration(key, text)?;
            if (least..=most).contains(&duration) {
                return Ok(duration);
            }
            let (least, most) = (
                crate::reason::duration(least),
                crate::reason::duration(most),
            );
            Err(BadCheck::new(
                key,
                format!("a duration from {least} to {most}"),
                text,
            ))
        };
        Ok(self.text(key, parse)?.unwrap_or(default))
    }

    fn count(&mut self, key: &str, default: NonZeroU32) -> Result<NonZeroU32, BadCheck> {
        match self.take(key) {
            None => Ok(default),
            Some(value) => {
                let number = match value {
                    Value::Integer(number @ 1..=100) => u32::try_from(number).ok(),
                    _ => None,
                };
                number
                    .and_then(NonZeroU32::new)
                    .ok_or_else(|| BadCheck::new(key, COUNT, &value.to_string()))
            }
        }
    }

    fn read(mut self) -> Result<Check, BadCheck> {
        let kind = match self.take("kind") {
            Some(Value::Text(kind)) => kind,
            other => {
                let found = other.map_or_else(String::new, |other| other.to_string());
                return Err(BadCheck::new("kind", KIND, &found));
            }
        };
        let (kind, keys) = self.kind(&kind)?;
        let mut check = Check::new(kind);
        check.address = self.text("address", short::address)?;
        check.interval = self.duration("interval", INTERVALS, Check::INTERVAL)?;
        check.timeout = self.duration("timeout", TIMEOUTS, Check::TIMEOUT)?;
        check.rise = self.count("rise", Check::RISE)?;
        check.fall = self.count("fall", Check::FALL)?;
        match self.0.first() {
            None => Ok(check),
            Some((key, _)) => {
                let kind = check.kind.name();
                let expected = format!(
                    "only the keys of kind \"{kind}\", which are kind, address, {keys}, interval, timeout, rise, fall"
                );
                // The key stands in a file: it may have anything in it.
                Err(BadCheck::new("check", expected, key))
            }
        }
    }

    /// What only this kind has, and the names of its keys.
    fn kind(&mut self, kind: &str) -> Result<(Kind, &'static str), BadCheck> {
        if kind == "command" {
            return Ok((Kind::Command(self.command()?), "command"));
        }
        if !matches!(kind, "tcp" | "http" | "udp" | "dns") {
            return Err(BadCheck::new("kind", KIND, kind));
        }
        let port = match self.word("port", short::port)? {
            Some(port) => port,
            None => short::port("")?,
        };
        Ok(match kind {
            "tcp" => (Kind::Tcp { port }, "port"),
            "http" => {
                let http = Http::new(port);
                let http = Http {
                    path: self.text("path", short::path)?.unwrap_or(http.path),
                    host: self.text("host", short::host)?,
                    statuses: self.statuses()?.unwrap_or(http.statuses),
                    body: self.text("body", body)?,
                    port,
                };
                (Kind::Http(http), "port, path, host, status, body")
            }
            "udp" => {
                let send = self.text("send", |text| octets("send", text))?;
                let udp = Udp {
                    port,
                    send: send.unwrap_or_default(),
                    expect: self.udp_answer()?,
                };
                (Kind::Udp(udp), "port, send, expect, expect_prefix")
            }
            _ => {
                let name = match self.text("name", short::name)? {
                    Some(name) => name,
                    None => short::name("")?,
                };
                let dns = Dns {
                    port,
                    name,
                    record_type: self.word("type", record_type)?.unwrap_or(RecordType::AAAA),
                    rcodes: self.words("rcode", rcode)?.unwrap_or(vec![Rcode::NOERROR]),
                };
                (Kind::Dns(dns), "port, name, type, rcode")
            }
        })
    }

    fn statuses(&mut self) -> Result<Option<Vec<StatusRange>>, BadCheck> {
        self.words("status", short::statuses)
    }

    fn udp_answer(&mut self) -> Result<UdpAnswer, BadCheck> {
        let equal = self.text("expect", |text| octets("expect", text))?;
        let prefix = self.text("expect_prefix", |text| octets("expect_prefix", text))?;
        match (equal, prefix) {
            (None, None) => Ok(UdpAnswer::Any),
            (Some(equal), None) => Ok(UdpAnswer::Equal(equal)),
            (None, Some(prefix)) => Ok(UdpAnswer::Prefix(prefix)),
            (Some(_), Some(_)) => Err(BadCheck::new(
                "expect_prefix",
                "either expect or expect_prefix",
                "both",
            )),
        }
    }

    fn command(&mut self) -> Result<Command, BadCheck> {
        let words = match self.take("command") {
            Some(Value::List(list)) => {
                let words = list.into_iter().map(|value| match value {
                    Value::Text(text) => Ok(text),
                    other => Err(BadCheck::new(
                        "command",
                        "a list of strings",
                        &other.to_string(),
                    )),
                });
                words.collect::<Result<Vec<_>, _>>()?
            }
            // In one string, as in the short form.
            Some(Value::Text(text)) => text.split_ascii_whitespace().map(str::to_owned).collect(),
            None => Vec::new(),
            Some(other) => {
                return Err(BadCheck::new(
                    "command",
                    "a list of strings: a program and its arguments",
                    &other.to_string(),
                ));
            }
        };
        short::program(words)
    }
}

const INTERVALS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(3600));
const TIMEOUTS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(60));

fn body(text: &str) -> Result<String, BadCheck> {
    if (1..=crate::http::BODY_MAX).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    let expected = "text that stands in the body, of at most 64 KiB";
    Err(BadCheck::new("body", expected, text))
}

fn record_type(text: &str) -> Result<RecordType, BadCheck> {
    let expected = "a type such as \"AAAA\" or \"SOA\", or its number";
    RecordType::parse(text).ok_or_else(|| BadCheck::new("type", expected, text))
}

fn rcode(text: &str) -> Result<Rcode, BadCheck> {
    let expected = "response codes such as \"NOERROR\" or \"NXDOMAIN\", or numbers from 0 to 15";
    Rcode::parse(text).ok_or_else(|| BadCheck::new("rcode", expected, text))
}

/// Text as it is, or in hex.
fn octets(key: &str, text: &str) -> Result<Vec<u8>, BadCheck> {
    let bad = || BadCheck::new(key, OCTETS, text);
    let octets = match text.strip_prefix("hex:") {
        None => text.as_bytes().to_vec(),
        Some(digits) => digits
            .as_bytes()
            .chunks(2)
            .map(|pair| match pair {
                [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
                _ => None,
            })
            .collect::<Option<_>>()
            .ok_or_else(bad)?,
    };
    if octets.len() > OCTETS_MAX {
        return Err(bad());
    }
    Ok(octets)
}

fn digit(octet: u8) -> Option<u8> {
    char::from(octet)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
