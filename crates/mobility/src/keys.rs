//! The keys of RFC 4285: `/etc/aarp/keys.toml`, which nobody but its owner may
//! read.
//!
//! ```toml
//! [[key]]
//! spi = 256                              # 256 to 4294967295
//! key = "…"                              # hex or base64, 16 octets or more
//! peer = "ar1@example.org"               # its Mobile Node Identifier
//! may_register = ["2001:db8:0:1::a"]     # for the agent: which anycast addresses
//! ```

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::Ipv6Addr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use thiserror::Error;
use toml::Table;

use aarp_host::document::{self, BadSetting, Entry};

/// Octets of the shortest key. The RFC has 16 for all of them; longer ones are taken too.
//= https://www.rfc-editor.org/rfc/rfc4285#section-5.1
pub const SHORTEST: usize = 16;
/// The longest that is read; HMAC hashes anything above 64 octets.
pub const LONGEST: usize = 1024;
/// Octets of the longest file that is read.
const FILE: u64 = 16 << 20;

/// The octets of a key. They are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} octets)", self.0.len())
    }
}

/// One entry: a mobility security association (RFC 4285 §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Security parameter index, above 255.
    pub spi: u32,
    /// The shared key.
    pub secret: Secret,
    /// The Mobile Node Identifier (RFC 4283) of the responder.
    pub peer: String,
    /// The anycast addresses that the responder may register.
    pub may_register: Vec<Ipv6Addr>,
}

/// Why a file of keys cannot be used.
#[derive(Debug, Error)]
pub enum KeysError {
    /// It cannot be read.
    #[error("{}: keys cannot be read: {error}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Others may read it, or change it.
    #[error(
        "{}: expected a file of mode 0600, not {mode:04o}: chmod 0600 {}",
        .file.display(),
        .file.display()
    )]
    Mode {
        /// The file.
        file: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It belongs to somebody else.
    #[error("{}: expected a file of root's or of user {user}, not of user {owner}", .file.display())]
    Owner {
        /// The file.
        file: PathBuf,
        /// Its owner.
        owner: u32,
        /// Who reads it.
        user: u32,
    },
    /// Its contents are wrong.
    #[error(transparent)]
    Bad(#[from] BadSetting),
}

/// Reads a file of keys.
///
/// # Errors
/// [`KeysError`]; nothing of a wrong file is used.
pub fn read(file: &Path) -> Result<Vec<Key>, KeysError> {
    let unreadable = |error: io::Error| KeysError::Unreadable {
        file: file.to_owned(),
        error,
    };
    // A FIFO in its place must not stop the program.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = rustix::fs::open(file, flags, Mode::empty());
    let opened = File::from(opened.map_err(|errno| unreadable(errno.into()))?);
    // Of the file that is open, whatever its name stands for by now.
    let metadata = opened.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(unreadable(io::Error::other("not a regular file")));
    }
    let user = rustix::process::geteuid().as_raw();
    if metadata.uid() != 0 && metadata.uid() != user {
        return Err(KeysError::Owner {
            file: file.to_owned(),
            owner: metadata.uid(),
            user,
        });
    }
    let mode = metadata.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeysError::Mode {
            file: file.to_owned(),
            mode,
        });
    }
    let mut text = String::new();
    let length = opened.take(FILE + 1).read_to_string(&mut text);
    if length.map_err(unreadable)? as u64 > FILE {
        return Err(unreadable(io::Error::other("longer than 16 MiB")));
    }
    parse(&text).map_err(|bad| KeysError::Bad(bad.of(file)))
}

/// Reads the text of keys.toml.
///
/// # Errors
/// [`BadSetting`]; it never shows a key.
pub fn parse(text: &str) -> Result<Vec<Key>, BadSetting> {
    let document: Table = document::parse(text)?;
    if let Some(key) = document.keys().find(|key| *key != "key") {
        return Err(BadSetting::new(
            key,
            "unknown key; expected tables, written [[key]]",
        ));
    }
    let mut keys: Vec<Key> = Vec::new();
    for entry in document::tables(&document, "key")? {
        let key = read_entry(&entry.clone().secret())?;
        if keys.iter().any(|other| other.spi == key.spi) {
            let problem = format_args!("expected each SPI once, {} is there already", key.spi);
            return Err(entry.bad("spi", problem));
        }
        keys.push(key);
    }
    Ok(keys)
}

fn read_entry(entry: &Entry<'_>) -> Result<Key, BadSetting> {
    entry.only(&["spi", "key", "peer", "may_register"], &[])?;
    let missing =
        |key: &str, what: &str| entry.bad(key, format_args!("expected {what}, it is missing"));
    //= https://www.rfc-editor.org/rfc/rfc4285#section-5.1
    let spi = entry
        .number("spi", 256..=u32::MAX)?
        .ok_or_else(|| missing("spi", "a number from 256 to 4294967295"))?;
    let what = "16 to 1024 octets in hex or base64, as a string";
    // Not by `Entry::read`, which would print what it cannot read.
    let secret = match entry.value("key") {
        None => return Err(missing("key", what)),
        Some(value) => value.as_str().and_then(decode),
    };
    let secret = secret.ok_or_else(|| entry.bad("key", format_args!("expected {what}")))?;
    let what =
        "the responder's Mobile Node Identifier such as \"ar1@example.org\", of 1 to 253 octets";
    let peer = entry
        .read("peer", what, |text| {
            Some(text.to_owned()).filter(|text| (1..=253).contains(&text.len()))
        })?
        .ok_or_else(|| missing("peer", what))?;
    Ok(Key {
        spi,
        secret: Secret(secret),
        peer,
        may_register: entry.addresses("may_register")?.unwrap_or_default(),
    })
}

/// The octets of a key in hex, or else in base64.
fn decode(text: &str) -> Option<Vec<u8>> {
    use data_encoding::{BASE64, BASE64_NOPAD, HEXLOWER_PERMISSIVE};
    let text = text.trim();
    let octets = HEXLOWER_PERMISSIVE
        .decode(text.as_bytes())
        .or_else(|_| BASE64.decode(text.as_bytes()))
        .or_else(|_| BASE64_NOPAD.decode(text.as_bytes()))
        .ok()?;
    (SHORTEST..=LONGEST)
        .contains(&octets.len())
        .then_some(octets)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const GOOD: &str = r#"
[[key]]
spi = 256
key = "000102030405060708090a0b0c0d0e0f"
peer = "ar1@example.org"
may_register = ["2001:db8:0:1::a"]
[[key]]
spi = 4294967295
key = "AAECAwQFBgcICQoLDA0ODw=="
peer = "ar2@example.org"
"#;

    #[test]
    fn keys_are_read_in_hex_and_base64() {
        let keys = parse(GOOD).unwrap();
        assert_eq!(keys.len(), 2);
        let octets: Vec<u8> = (0..16).collect();
        assert_eq!(keys[0].secret.octets(), octets);
        assert_eq!(keys[1].secret.octets(), octets);
        assert_eq!(
            keys[0].may_register,
            ["2001:db8:0:1::a".parse::<Ipv6Addr>().unwrap()]
        );
        assert_eq!(keys[1].spi, u32::MAX);
        assert!(!format!("{keys:?}").contains("[0, 1"), "no key is printed");
    }

    #[test]
    fn wrong_entries_are_named_and_keys_never_printed() {
        let cases = [
            (
                "spi = 255",
                "key[0].spi: expected a whole number from 256 to 4294967295, not 255",
            ),
            (
                "spi = 256",
                "key[0].key: expected 16 to 1024 octets in hex or base64, as a string, it is missing",
            ),
            (
                "spi = 256\nkey = \"0001\"",
                "key[0].key: expected 16 to 1024 octets in hex or base64, as a string",
            ),
            (
                "spi = 256\nkey = \"secret, and no base64\"",
                "key[0].key: expected 16 to 1024 octets in hex or base64, as a string",
            ),
            (
                "spi = 256\nkey = 12345678901234567",
                "key[0].key: expected 16 to 1024 octets in hex or base64, as a string",
            ),
            (
                "name = 1",
                "key[0].name: unknown key; expected one of spi, key, peer, may_register",
            ),
        ];
        let slip = "spi = \"\"\"256\nkey = \"000102030405060708090a0b0c0d0e0f\"\"\"\"";
        let bad = parse(&format!("[[key]]\n{slip}")).unwrap_err();
        assert!(!bad.to_string().contains("0001"), "{bad}");
        for (text, expected) in cases {
            let bad = parse(&format!("[[key]]\n{text}")).unwrap_err();
            assert_eq!(bad.to_string(), expected);
        }
        assert!(
            parse(&GOOD.replace("4294967295", "256")).is_err(),
            "an SPI twice"
        );
        assert_eq!(parse("spi = 4").unwrap_err().key(), "spi");
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        let mut file = File::create(&path).unwrap();
        file.write_all(GOOD.as_bytes()).unwrap();
        for (mode, usable) in [
            (0o600, true),
            (0o400, true),
            (0o640, false),
            (0o604, false),
            (0o620, false),
        ] {
            file.set_permissions(PermissionsExt::from_mode(mode))
                .unwrap();
            let result = read(&path);
            assert_eq!(result.is_ok(), usable, "{mode:o}: {result:?}");
            if !usable {
                assert!(matches!(result, Err(KeysError::Mode { .. })));
            }
        }
        assert!(matches!(
            read(folder.path()),
            Err(KeysError::Unreadable { .. })
        ));
        assert!(matches!(
            read(&folder.path().join("none")),
            Err(KeysError::Unreadable { .. })
        ));
    }
}
