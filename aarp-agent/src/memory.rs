//! What outlives a restart of the agent: its bindings, as long as they live and the
//! host has not been started anew.
//!
//! They are kept beside the status socket, with times of `CLOCK_BOOTTIME`, which goes on
//! while no agent runs; whatever the wall clock does. A file that is out of date or gone
//! costs what it did before there was one: A has no responder until the next update.

use std::io::{self, Write};
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aarp_core::binding::cache::{Cache, Restored, Sender};
use aarp_core::binding::keyring::{Keyring, NodeId};
use aarp_core::binding::lifetime::Lifetime;
use aarp_core::binding::sequence::Sequence;
use aarp_host::own;
use aarp_sys::clock;
use serde::{Deserialize, Serialize};

/// The version of the file.
const SCHEMA: u32 = 1;
/// Changes that come together are written together.
const SETTLE: Duration = Duration::from_secs(1);
/// How many times longer than writing takes it rests afterwards.
const REST: u32 = 50;

#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    schema: u32,
    /// Which start of the host the times are of.
    boot: String,
    bindings: Vec<Remembered>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    anycast: Ipv6Addr,
    care_of: Ipv6Addr,
    /// Its Mobile Node Identifier; of whom nothing authenticates there is none.
    identity: Option<String>,
    sequence: u16,
    /// In units of four seconds.
    lifetime: u16,
    /// `CLOCK_BOOTTIME`, in nanoseconds.
    expiry: u64,
    since: u64,
}

/// The memory, and its file.
#[derive(Debug)]
pub(crate) struct Memory {
    path: PathBuf,
    boot: String,
    /// The updates that had been accepted when it was written.
    written: u64,
    /// Not before then.
    earliest: Instant,
}

/// How many updates have changed something.
fn accepted(cache: &Cache) -> u64 {
    let counters = cache.counters();
    counters.created + counters.refreshed + counters.moved + counters.deregistered
}

impl Memory {
    /// The memory in this file.
    ///
    /// # Errors
    /// The kernel does not say which start of the host this is.
    pub(crate) fn new(path: PathBuf) -> io::Result<Self> {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        Ok(Self {
            path,
            boot: boot.trim().to_owned(),
            written: 0,
            earliest: Instant::now(),
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the cache the bindings that live still, and would be granted today too; how
    /// many those are.
    ///
    /// # Errors
    /// The file cannot be read, or is none of ours.
    pub(crate) fn restore(
        &self,
        cache: &mut Cache,
        keyring: &Keyring,
        insecure: bool,
    ) -> io::Result<usize> {
        let octets = match own::read(&self.path) {
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let contents: Contents = serde_json::from_slice(&octets)?;
        if contents.schema != SCHEMA {
            let version = contents.schema;
            return Err(io::Error::other(format!("unknown version {version}")));
        }
        if contents.boot != self.boot {
            return Ok(0);
        }
        let now = clock::boottime();
        let mut restored = 0;
        for known in &contents.bindings {
            let sender = match &known.identity {
                // Of one that has no key any more, or no right, there is none.
                Some(identity) => match keyring.holder(identity.as_bytes(), known.anycast) {
                    Some((id, may_register)) => Sender::Node { id, may_register },
                    None => continue,
                },
                None if insecure => Sender::Unidentified,
                None => continue,
            };
            let binding = Restored {
                anycast: known.anycast,
                care_of: known.care_of,
                sequence: Sequence(known.sequence),
                lifetime: Lifetime(known.lifetime),
                expiry: Duration::from_nanos(known.expiry),
                since: Duration::from_nanos(known.since),
            };
            restored += usize::from(cache.restore(now, &binding, sender));
        }
        Ok(restored)
    }

    /// When to call [`Memory::keep`], if the cache has changed since it was written.
    pub(crate) fn due_in(&self, cache: &Cache) -> Option<Duration> {
        let changed = accepted(cache) != self.written;
        changed.then(|| self.earliest.saturating_duration_since(Instant::now()))
    }

    /// Writes the bindings, if there are new ones and the last time is long enough ago.
    ///
    /// # Errors
    /// The file cannot be written; it is tried again at the next change.
    pub(crate) fn keep(
        &mut self,
        cache: impl FnOnce() -> Copied,
        identities: &[String],
    ) -> io::Result<()> {
        let began = Instant::now();
        let copied = cache();
        self.written = copied.accepted;
        let written = self.write(&copied, identities).inspect_err(|_| {
            // What is full stays no fuller; that it was not there is no matter.
            let _ = std::fs::remove_file(self.unfinished());
        });
        let took = began.elapsed();
        self.earliest = Instant::now() + SETTLE.max(took * REST);
        written
    }

    fn unfinished(&self) -> PathBuf {
        self.path.with_extension("bindings.new")
    }

    fn write(&self, copied: &Copied, identities: &[String]) -> io::Result<()> {
        let of_node = |NodeId(number)| identities.get(number as usize);
        let bindings = copied.bindings.iter().map(|(known, node)| Remembered {
            anycast: known.anycast,
            care_of: known.care_of,
            identity: node.and_then(of_node).cloned(),
            sequence: known.sequence.0,
            lifetime: known.lifetime.0,
            expiry: nanos(known.expiry),
            since: nanos(known.since),
        });
        let contents = Contents {
            schema: SCHEMA,
            boot: self.boot.clone(),
            bindings: bindings.collect(),
        };
        // Whole or not at all, whenever the program ends.
        let next = self.unfinished();
        let mut file = io::BufWriter::new(own::create(&next)?);
        serde_json::to_writer(&mut file, &contents)?;
        file.flush()?;
        std::fs::rename(&next, &self.path)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// What of a cache is kept.
#[derive(Debug)]
pub(crate) struct Copied {
    accepted: u64,
    bindings: Vec<(Restored, Option<NodeId>)>,
}

impl Copied {
    /// The bindings of a cache.
    pub(crate) fn of(cache: &Cache) -> Self {
        let bindings = cache.iter().map(|binding| {
            let known = Restored {
                anycast: binding.anycast(),
                care_of: binding.care_of(),
                sequence: binding.sequence(),
                lifetime: binding.lifetime(),
                expiry: binding.expiry(),
                since: binding.since(),
            };
            (known, binding.node())
        });
        Self {
            accepted: accepted(cache),
            bindings: bindings.collect(),
        }
    }
}
