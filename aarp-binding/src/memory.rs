//! What outlives a restart: the sequence numbers, and the timestamps of RFC 4285.
//!
//! A file that is out of date, or gone, costs a refusal with status 135 or 144 that
//! names the right number; so it is written without waiting for the disk.

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

use aarp_core::binding::sequence::Sequence;
use aarp_core::binding::timestamp::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of the file.
const SCHEMA: u32 = 1;

/// What is remembered of one address at one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Remembered {
    /// The number of the next update.
    sequence: u16,
    /// The last timestamp.
    timestamp: Option<u64>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Contents {
    schema: u32,
    /// By the anycast address and then the agent.
    registrations: BTreeMap<Ipv6Addr, BTreeMap<Ipv6Addr, Remembered>>,
}

/// The memory, and its file.
#[derive(Debug)]
pub(crate) struct Memory {
    path: PathBuf,
    contents: Contents,
    changed: bool,
}

impl Memory {
    /// Reads the file in `folder`; a problem with it, if there is one, is returned
    /// beside an empty memory.
    pub(crate) fn open(folder: &Path) -> (Self, Option<io::Error>) {
        let path = folder.join("binding.json");
        let read = std::fs::read(&path).and_then(|octets| {
            let contents: Contents = serde_json::from_slice(&octets)?;
            match contents.schema {
                SCHEMA => Ok(contents),
                other => Err(io::Error::other(format!("unknown version {other}"))),
            }
        });
        let (contents, problem) = match read {
            Ok(contents) => (contents, None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Contents::default(), None),
            Err(error) => (Contents::default(), Some(error)),
        };
        let memory = Self {
            path,
            contents,
            changed: false,
        };
        (memory, problem)
    }

    /// What was the case when the program last ended.
    pub(crate) fn of(
        &self,
        anycast: Ipv6Addr,
        agent: Ipv6Addr,
    ) -> Option<(Sequence, Option<Timestamp>)> {
        let remembered = self.contents.registrations.get(&anycast)?.get(&agent)?;
        let timestamp = remembered.timestamp.map(Timestamp);
        Some((Sequence(remembered.sequence), timestamp))
    }

    /// The last timestamp that was sent to an agent, about whatever address.
    pub(crate) fn last_timestamp(&self, agent: Ipv6Addr) -> Option<Timestamp> {
        let all = self.contents.registrations.values();
        let all = all.filter_map(|agents| agents.get(&agent)?.timestamp);
        all.map(Timestamp)
            .reduce(|last, other| if other.is_after(last) { other } else { last })
    }

    /// Remembers this for the next start.
    pub(crate) fn note(
        &mut self,
        anycast: Ipv6Addr,
        agent: Ipv6Addr,
        sequence: Sequence,
        timestamp: Option<Timestamp>,
    ) {
        let now = Remembered {
            sequence: sequence.0,
            timestamp: timestamp.map(|Timestamp(ntp)| ntp),
        };
        let of_address = self.contents.registrations.entry(anycast).or_default();
        self.changed |= of_address.insert(agent, now) != Some(now);
    }

    /// Writes the file, if anything has changed since the last time.
    pub(crate) fn save(&mut self) -> io::Result<()> {
        if !std::mem::take(&mut self.changed) {
            return Ok(());
        }
        self.contents.schema = SCHEMA;
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        // Whole or not at all, whenever the program ends.
        let next = self.path.with_extension("json.new");
        std::fs::write(&next, serde_json::to_vec(&self.contents)?)?;
        std::fs::rename(&next, &self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_noted_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (anycast, agent) = (ip("2001:db8::a"), ip("2001:db8::2"));
        let (mut memory, problem) = Memory::open(folder.path());
        assert!(problem.is_none());
        assert_eq!(memory.of(anycast, agent), None);
        memory.note(anycast, agent, Sequence(7), Some(Timestamp(8)));
        memory.save().unwrap();
        let (memory, problem) = Memory::open(folder.path());
        assert!(problem.is_none());
        let expected = Some((Sequence(7), Some(Timestamp(8))));
        assert_eq!(memory.of(anycast, agent), expected);
        assert_eq!(memory.of(agent, agent), None);
    }

    #[test]
    fn the_last_timestamp_to_an_agent_is_that_of_all_addresses() {
        let folder = tempfile::tempdir().unwrap();
        let (mut memory, _) = Memory::open(folder.path());
        let agent = ip("2001:db8::2");
        assert_eq!(memory.last_timestamp(agent), None);
        for (last, timestamp) in [(1, Some(7)), (2, Some(9)), (3, Some(8)), (4, None)] {
            let anycast = ip(&format!("2001:db8::a:{last}"));
            memory.note(anycast, agent, Sequence(1), timestamp.map(Timestamp));
        }
        memory.note(
            ip("2001:db8::a"),
            ip("2001:db8::3"),
            Sequence(1),
            Some(Timestamp(99)),
        );
        assert_eq!(memory.last_timestamp(agent), Some(Timestamp(9)));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told_and_replaced() {
        let folder = tempfile::tempdir().unwrap();
        for text in ["", "{", "[]", r#"{"schema":2,"registrations":{}}"#] {
            std::fs::write(folder.path().join("binding.json"), text).unwrap();
            let (mut memory, problem) = Memory::open(folder.path());
            assert!(problem.is_some(), "{text}");
            memory.note(ip("::1"), ip("::2"), Sequence(1), None);
            memory.save().unwrap();
            assert!(Memory::open(folder.path()).1.is_none());
        }
    }
}
