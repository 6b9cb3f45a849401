//! What aarpd reads: its table, what the kernel tells of routes, and HTTP requests.

use std::net::Ipv6Addr;

use aarp_core::table::CAPACITY_MAX;
use aarp_wire::Error;
use aarp_wire::route_change::{Change, Changes};

use crate::input::{assert_one_line, text};
use crate::{daemon_config, exporter};

/// The table of the daemon.
pub fn daemon_settings(data: &[u8]) {
    let Some(text) = text(data) else { return };
    match daemon_config::read(text) {
        Ok(settings) => {
            let document: toml::Table = text.parse().expect("it was read");
            let table = document.get("daemon").and_then(toml::Value::as_table);
            let value = |key: &str| table.and_then(|table| table.get(key));
            let entries = value("entries").and_then(toml::Value::as_integer);
            assert_eq!(i64::from(settings.entries), entries.unwrap_or(100_000));
            assert!((1..=CAPACITY_MAX).contains(&(settings.entries as usize)));
            for (path, key) in [(&settings.socket, "socket"), (&settings.table, "table")] {
                let written = value(key).and_then(toml::Value::as_str);
                assert_eq!(path.as_ref().and_then(|path| path.to_str()), written);
                assert!(path.as_ref().is_none_or(|path| path.is_absolute()));
            }
            let metrics = settings.metrics;
            assert_eq!(metrics.is_some(), value("metrics").is_some());
            assert!(metrics.is_none_or(|address| address.ip().is_loopback()));
            let user = value("user").and_then(toml::Value::as_str);
            assert_eq!(settings.user.as_deref(), user);
        }
        Err(error) => assert_one_line(&error.to_string()),
    }
}

/// What the kernel tells of routes: `Changes`.
pub fn route_change(data: &[u8]) {
    let mut expected = Vec::new();
    plain_changes(data, &mut expected);
    let changes: Vec<_> = Changes::of(data).collect();
    assert_eq!(changes, expected, "{data:02x?}");
}

fn number(octets: &[u8], at: usize, length: usize) -> usize {
    let octets = &octets[at..at + length];
    octets
        .iter()
        .rev()
        .fold(0, |all, octet| all << 8 | usize::from(*octet))
}

/// The same with indices, as in C, for little-endian hosts.
fn plain_changes(data: &[u8], found: &mut Vec<Result<Change, Error>>) {
    let mut at = 0;
    while at < data.len() {
        if data.len() - at < 16 {
            return found.push(Err(Error::Truncated));
        }
        let length = number(data, at, 4);
        if length < 16 || length > data.len() - at {
            return found.push(Err(Error::Length));
        }
        let kind = number(data, at + 4, 2);
        let change = match kind {
            24 | 25 => plain_route(&data[at + 16..at + length]),
            32 | 33 | 104 | 105 => Ok(Change::Any),
            _ => Ok(Change::Nothing),
        };
        found.push(change);
        if change.is_err() {
            return;
        }
        at += length.next_multiple_of(4);
    }
}

fn plain_route(body: &[u8]) -> Result<Change, Error> {
    if body.len() < 12 {
        return Err(Error::Truncated);
    }
    if body[0] != 10 || number(body, 8, 4) & 0x200 != 0 {
        return Ok(Change::Nothing);
    }
    if body[1] > 128 {
        return Err(Error::Value);
    }
    let mut to = [0; 16];
    let mut at = 12;
    while at + 4 <= body.len() {
        let length = number(body, at, 2);
        if length < 4 || at + length > body.len() {
            return Err(Error::Length);
        }
        if number(body, at + 2, 2) & 0x3fff == 1 {
            if length != 20 {
                return Err(Error::Length);
            }
            to.copy_from_slice(&body[at + 4..at + 20]);
        }
        at += length.next_multiple_of(4);
    }
    Ok(Change::Route(Ipv6Addr::from(to), body[1]))
}

/// Requests for metrics: `exporter::request`.
pub fn scrape(data: &[u8]) {
    let wanted = exporter::request(data);
    let lossy: String = data.iter().map(|octet| char::from(*octet)).collect();
    let is_whole = lossy.contains("\r\n\r\n") || lossy.contains("\n\n");
    assert_eq!(wanted.is_some(), is_whole);
    let Some(wanted) = wanted else { return };
    let line = lossy.split('\n').next().expect("there is a first");
    let is_get = line.starts_with("GET ") || line.trim_ascii_end() == "GET";
    assert_eq!(wanted == exporter::Request::Method, !is_get, "{line:?}");
    if wanted == exporter::Request::Metrics {
        assert!(line.starts_with("GET /metrics"), "{line:?}");
    }
    // What follows changes nothing.
    let more = [data, b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"].concat();
    assert_eq!(exporter::request(&more), Some(wanted));
}
