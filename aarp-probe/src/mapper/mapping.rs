//! A mapping, as aarpd's record has it.

use std::borrow::Cow;
use std::net::Ipv6Addr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use aarp_core::mapping::State;
use aarp_core::table::Entry;
use serde::{Deserialize, Serialize};

use super::{MapperError, plain};
use crate::record::{self, ms};

/// A mapping that holds; docs/json.md has the fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Mapping {
    pub(crate) anycast: Ipv6Addr,
    pub(crate) state: Cow<'static, str>,
    pub(crate) unicast: Option<Ipv6Addr>,
    pub(crate) method: Cow<'static, str>,
    pub(crate) rtt_ms: Option<f64>,
    pub(crate) failures: u64,
    pub(crate) remaining_ms: u64,
    pub(crate) unused_ms: u64,
}

/// A mapping, and the record of it, a line.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Known {
    pub(crate) mapping: Mapping,
    pub(crate) line: String,
}

impl Known {
    /// Reads the records of mappings that a daemon has told, in the order of their
    /// addresses.
    ///
    /// # Errors
    /// [`MapperError::Nonsense`] for what is none.
    pub(crate) fn all(path: &Path, text: &str) -> Result<Vec<Self>, MapperError> {
        let read = |line: &str| {
            let mut mapping: Mapping = serde_json::from_str(line)
                .map_err(|error| MapperError::Nonsense(path.to_owned(), error.to_string()))?;
            mapping.state = plain(&mapping.state).into();
            mapping.method = plain(&mapping.method).into();
            let line = format!("{line}\n");
            Ok(Self { mapping, line })
        };
        let mut all = text.lines().map(read).collect::<Result<Vec<_>, _>>()?;
        all.sort_by_key(|known| known.mapping.anycast);
        // What the daemon moved in its table meanwhile may have come twice.
        all.dedup_by_key(|known| known.mapping.anycast);
        Ok(all)
    }

    /// What stands in the table.
    /// What stands in the table, as the daemon's record would have it at that time.
    pub(crate) fn of_entry(entry: &Entry, now: Duration) -> std::io::Result<Self> {
        let mapping = of_entry(entry, now);
        let mut line = Vec::new();
        record::write(&mut line, "mapping", SystemTime::now(), &mapping)?;
        let line = String::from_utf8_lossy(&line).into_owned();
        Ok(Self { mapping, line })
    }
}

/// What stands in the table, as the daemon's record would have it at that time.
pub(crate) fn of_entry(entry: &Entry, now: Duration) -> Mapping {
    let state = entry.mapping.state;
    let has_unicast = matches!(state, State::Pinned | State::Untrusted);
    let is_answered = matches!(state, State::Pinned | State::Direct);
    let whole_ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let used = Duration::from_secs(entry.used.into());
    Mapping {
        anycast: entry.a,
        state: state.name().into(),
        unicast: has_unicast.then_some(entry.mapping.u),
        method: entry.mapping.method.name().into(),
        rtt_ms: is_answered.then(|| ms(entry.mapping.rtt)),
        failures: entry.mapping.failures.into(),
        remaining_ms: whole_ms(entry.mapping.expiry.saturating_sub(now)),
        unused_ms: whole_ms(now.saturating_sub(used)),
    }
}
