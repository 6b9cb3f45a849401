//! The short form of a check, and the values that it shares with a table.

use std::net::Ipv6Addr;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::time::Duration;

use aarp_core::config::{Key, read_variable};
use aarp_core::settings::{Layer, Settings};

use crate::dns::{Name, Rcode, RecordType};
use crate::settings::{BadCheck, Check, Command, Dns, Http, Kind, StatusRange, Udp, UdpAnswer};

pub(crate) const SHORT: &str = "a check such as \"tcp:80\", \"http:80/health\", \"udp:7\", \"dns:53/example.test\" or \"command:/usr/lib/x --y\"";
const PORT: &str = "a port from 1 to 65535";
const PATH: &str = "a path such as \"/health\", in visible ASCII";
const HOST: &str = "the value of a Host field, in visible ASCII";
const STATUS: &str = "statuses from 100 to 599, such as \"200\" or \"200-399\"";
const PROGRAM: &str = "the absolute path of a program, and its arguments";
const NAME: &str = "a domain name such as \"example.test\"";
const ADDRESS: &str = "an IPv6 address that is not unspecified, multicast, link-local or IPv4";

/// What an HTTP request line or field may be made of: no way to add a line.
fn is_visible(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic())
}

pub(crate) fn port(text: &str) -> Result<NonZeroU16, BadCheck> {
    let digits = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    let port = digits.then(|| text.parse().ok()).flatten();
    port.ok_or_else(|| BadCheck::new("port", PORT, text))
}

pub(crate) fn path(text: &str) -> Result<String, BadCheck> {
    if text.starts_with('/') && is_visible(text) {
        return Ok(text.to_owned());
    }
    Err(BadCheck::new("path", PATH, text))
}

pub(crate) fn host(text: &str) -> Result<String, BadCheck> {
    if is_visible(text) {
        return Ok(text.to_owned());
    }
    Err(BadCheck::new("host", HOST, text))
}

pub(crate) fn statuses(text: &str) -> Result<StatusRange, BadCheck> {
    let number = |text: &str| match text.as_bytes() {
        [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => text.parse().ok(),
        _ => None,
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => Ok(StatusRange { first, last }),
        _ => Err(BadCheck::new("status", STATUS, text)),
    }
}

pub(crate) fn name(text: &str) -> Result<Name, BadCheck> {
    Name::parse(text).ok_or_else(|| BadCheck::new("name", NAME, text))
}

pub(crate) fn program(words: Vec<String>) -> Result<Command, BadCheck> {
    let bad = |found: &str| Err(BadCheck::new("command", PROGRAM, found));
    // The kernel takes neither.
    if let Some(word) = words.iter().find(|word| word.contains('\0')) {
        return bad(word);
    }
    let mut words = words.into_iter();
    match words.next() {
        Some(program) if program.starts_with('/') => Ok(Command {
            program,
            arguments: words.collect(),
        }),
        Some(program) => bad(&program),
        None => bad(""),
    }
}

pub(crate) fn address(text: &str) -> Result<Ipv6Addr, BadCheck> {
    use aarp_core::address::{Scope, scope};
    let address = Ipv6Addr::from_str(text).ok().filter(|address| {
        matches!(
            scope(*address),
            Scope::Global | Scope::UniqueLocal | Scope::Loopback
        )
    });
    address.ok_or_else(|| BadCheck::new("address", ADDRESS, text))
}

/// As everywhere in aarp.toml: read by the very same code, as `times.ttl` is.
pub(crate) fn duration(key: &str, text: &str) -> Result<Duration, BadCheck> {
    let mut settings = Settings::DEFAULT;
    match read_variable(&mut settings, Layer::System, Key::Ttl, text) {
        Ok(()) => Ok(settings.times.ttl),
        Err(error) => Err(BadCheck::new(key, error.expected, text)),
    }
}

impl FromStr for Check {
    type Err = BadCheck;

    fn from_str(text: &str) -> Result<Self, BadCheck> {
        let bad = || BadCheck::new("check", SHORT, text);
        let (kind, rest) = text.split_once(':').ok_or_else(bad)?;
        let (number, behind) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let kind = match kind {
            "tcp" => Kind::Tcp { port: port(rest)? },
            "http" => {
                let mut http = Http::new(port(number)?);
                if !behind.is_empty() {
                    http.path = path(behind)?;
                }
                Kind::Http(http)
            }
            "udp" => Kind::Udp(Udp {
                port: port(rest)?,
                send: Vec::new(),
                expect: UdpAnswer::Any,
            }),
            "dns" => Kind::Dns(Dns {
                port: port(number)?,
                name: name(behind.strip_prefix('/').unwrap_or(""))?,
                record_type: RecordType::AAAA,
                rcodes: vec![Rcode::NOERROR],
            }),
            "command" => {
                let words = rest.split_ascii_whitespace().map(str::to_owned);
                Kind::Command(program(words.collect())?)
            }
            _ => return Err(bad()),
        };
        Ok(Check::new(kind))
    }
}
