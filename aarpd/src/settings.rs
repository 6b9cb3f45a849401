//! The `[daemon]` table of aarp.toml.

use std::net::SocketAddr;
use std::path::PathBuf;

use aarp_core::table::CAPACITY_MAX;
use aarp_host::document::{self, BadSetting, Entry};

/// How many mappings there may be unless the table says otherwise.
const ENTRIES: u32 = 100_000;

/// What the daemon is to do, checked as far as that is possible without the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where programs ask.
    pub(crate) socket: Option<PathBuf>,
    /// The mapping table.
    pub(crate) table: Option<PathBuf>,
    /// How many mappings it may hold.
    pub(crate) entries: u32,
    /// The user, by name or number, whose table and socket programs trust besides root's.
    pub(crate) user: Option<String>,
    /// Where Prometheus reads counters: an address of this host that no other reaches.
    pub(crate) metrics: Option<SocketAddr>,
}

const KNOWN: [&str; 6] = ["socket", "table", "entries", "user", "metrics", "use"];

/// Reads the text of aarp.toml.
pub(crate) fn read(text: &str) -> Result<Settings, BadSetting> {
    let document = document::parse_aarp(text)?;
    let empty = toml::Table::new();
    let entry = match document::table(&document, "daemon")? {
        Some(entry) => entry,
        None => Entry::empty("daemon", &empty),
    };
    entry.only(&KNOWN, &[])?;
    let most = u32::try_from(CAPACITY_MAX).unwrap_or(u32::MAX);
    let what = "a loopback address and a port, such as \"[::1]:9847\"";
    let user = "a user's name or number";
    Ok(Settings {
        socket: entry.path_of("socket")?,
        table: entry.path_of("table")?,
        entries: entry.number("entries", 1..=most)?.unwrap_or(ENTRIES),
        user: entry.read("user", user, |text| {
            (!text.is_empty() && !text.contains(':')).then(|| text.to_owned())
        })?,
        metrics: entry.read("metrics", what, |text| {
            let address: Option<SocketAddr> = text.parse().ok();
            address.filter(|address| address.ip().is_loopback())
        })?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_with_its_defaults() {
        let settings = read("[resolve]\nprefixes = [\"2001:db8::/32\"]\n").unwrap();
        assert_eq!(settings.entries, ENTRIES);
        assert_eq!((settings.socket, settings.metrics), (None, None));
        let text = "[daemon]\nsocket = \"/s\"\ntable = \"/t\"\nentries = 1000000\nuser = \"aarp\"\n\
                    metrics = \"127.0.0.1:9847\"\nuse = \"auto\"\n";
        let settings = read(text).unwrap();
        assert_eq!(settings.entries, 1_000_000);
        assert_eq!(settings.socket, Some("/s".into()));
        assert_eq!(settings.table, Some("/t".into()));
        assert_eq!(settings.user.as_deref(), Some("aarp"));
        assert_eq!(settings.metrics, Some("127.0.0.1:9847".parse().unwrap()));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (line, key) in [
            ("entries = 0", "daemon.entries"),
            ("entries = 8388609", "daemon.entries"),
            ("metrics = \"[::]:9847\"", "daemon.metrics"),
            ("metrics = \"9847\"", "daemon.metrics"),
            ("socket = \"s\"", "daemon.socket"),
            ("user = \"a:b\"", "daemon.user"),
            ("users = \"a\"", "daemon.users"),
        ] {
            let error = read(&format!("[daemon]\n{line}\n")).unwrap_err();
            assert_eq!(error.key(), key, "{error}");
        }
    }
}
