//! Records for programs, one JSON object a line: the daemon, its mappings, and what
//! happens (docs/json.md).

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::{Duration, SystemTime};

use aarp_core::mapping::State;
use aarp_core::prefix::Prefix;
use aarp_core::probing::Ignored;
use aarp_core::resolution::RANKING;
use aarp_core::table::Entry;
use aarp_mapper::{Counters, Event, Unasked, Why};
use humantime::format_rfc3339_millis;
use serde::Serialize;

/// The version of the records.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Record<'r, R> {
    schema: u32,
    #[serde(rename = "type")]
    kind: &'static str,
    time: String,
    #[serde(flatten)]
    record: &'r R,
}

/// A record as a line.
fn line(kind: &'static str, record: &impl Serialize) -> String {
    let record = Record {
        schema: SCHEMA,
        kind,
        time: format_rfc3339_millis(SystemTime::now()).to_string(),
        record,
    };
    // Strings, numbers and addresses: none of them can fail.
    let mut line = serde_json::to_string(&record).unwrap_or_default();
    line.push('\n');
    line
}

/// A time in milliseconds, to the microsecond.
fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[derive(Serialize)]
struct MappingRecord {
    anycast: Ipv6Addr,
    state: &'static str,
    unicast: Option<Ipv6Addr>,
    method: &'static str,
    rtt_ms: Option<f64>,
    failures: u8,
    remaining_ms: u64,
    unused_ms: u64,
}

/// A mapping that holds.
pub(crate) fn mapping(entry: &Entry, now: Duration) -> String {
    let mapping = &entry.mapping;
    let unicast = matches!(mapping.state, State::Pinned | State::Untrusted);
    let is_answered = matches!(mapping.state, State::Pinned | State::Direct);
    let used = Duration::from_secs(entry.used.into());
    line(
        "mapping",
        &MappingRecord {
            anycast: entry.a,
            state: mapping.state.name(),
            unicast: unicast.then_some(mapping.u),
            method: mapping.method.name(),
            rtt_ms: is_answered.then(|| ms(mapping.rtt)),
            failures: mapping.failures,
            remaining_ms: whole_ms(mapping.expiry.saturating_sub(now)),
            unused_ms: whole_ms(now.saturating_sub(used)),
        },
    )
}

/// What is counted outside of the mapper.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Served {
    /// Connections that were let in.
    pub(crate) connections: u64,
    /// Those that had to make room for others.
    pub(crate) displaced: u64,
    /// Those that were not let in for want of room.
    pub(crate) turned_away: u64,
    /// Those that were closed because they did not read.
    pub(crate) deaf: u64,
    /// Messages that mean nothing.
    pub(crate) malformed: u64,
    /// Those that came from another network namespace, and were answered no question.
    pub(crate) foreign: u64,
    /// Sockets that were told of, and asked for.
    pub(crate) sockets_told: u64,
    pub(crate) sockets_asked: u64,
}

/// How much a user has asked who is neither root nor the daemon's own.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct UserRecord {
    pub(crate) uid: u32,
    /// Connections that there are.
    pub(crate) connections: usize,
    /// Questions that it has caused, and what it has told.
    #[serde(rename = "questions")]
    pub(crate) heard: u64,
    /// What was refused.
    pub(crate) refused: u64,
}

/// How the daemon is.
pub(crate) struct Standing<'s> {
    pub(crate) since: SystemTime,
    pub(crate) table: &'s str,
    pub(crate) socket: &'s str,
    pub(crate) namespace: String,
    pub(crate) sockets: Vec<&'static str>,
    pub(crate) epoch: u64,
    pub(crate) capacity: usize,
    pub(crate) stored: usize,
    pub(crate) census: [u64; State::ALL.len()],
    pub(crate) open: usize,
    pub(crate) waiters: usize,
    pub(crate) clients: usize,
    pub(crate) followers: usize,
    pub(crate) served: Served,
    pub(crate) counters: &'s Counters,
}

#[derive(Serialize)]
struct DaemonRecord<'s> {
    version: &'static str,
    pid: u32,
    since: String,
    namespace: &'s str,
    table: &'s str,
    socket: &'s str,
    methods: &'s [&'static str],
    epoch: u64,
    capacity: usize,
    stored: usize,
    mappings: BTreeMap<&'static str, u64>,
    open: usize,
    waiters: usize,
    clients: usize,
    followers: usize,
    served: Served,
    requests: Requests,
    questions: BTreeMap<&'static str, u64>,
    probes: BTreeMap<&'static str, u64>,
    answers: Answers,
    ignored: BTreeMap<&'static str, u64>,
    changes: u64,
    gone: u64,
    epochs: u64,
    users: &'s [UserRecord],
}

#[derive(Serialize)]
struct Requests {
    hits: u64,
    misses: u64,
    joined: u64,
    used: u64,
    failures: u64,
    doubts: u64,
    refused: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct Answers {
    pinned: u64,
    direct: u64,
    untrusted: u64,
    unanswered: u64,
    late: u64,
    unkept: u64,
}

/// Names with their counts.
fn by_name(
    names: impl IntoIterator<Item = &'static str>,
    counts: &[u64],
) -> BTreeMap<&'static str, u64> {
    names.into_iter().zip(counts.iter().copied()).collect()
}

/// How the daemon is, as a record.
pub(crate) fn daemon(standing: &Standing<'_>, users: &[UserRecord]) -> String {
    let counters = standing.counters;
    line(
        "aarpd",
        &DaemonRecord {
            version: env!("CARGO_PKG_VERSION"),
            pid: std::process::id(),
            since: format_rfc3339_millis(standing.since).to_string(),
            namespace: &standing.namespace,
            table: standing.table,
            socket: standing.socket,
            methods: &standing.sockets,
            epoch: standing.epoch,
            capacity: standing.capacity,
            stored: standing.stored,
            mappings: by_name(State::ALL.map(State::name), &standing.census),
            open: standing.open,
            waiters: standing.waiters,
            clients: standing.clients,
            followers: standing.followers,
            served: standing.served,
            requests: Requests {
                hits: counters.hits,
                misses: counters.misses,
                joined: counters.joined,
                used: counters.used,
                failures: counters.failures,
                doubts: counters.doubts,
                refused: by_name(Unasked::ALL.map(Unasked::name), &counters.refused),
            },
            questions: by_name(Why::ALL.map(Why::name), &counters.questions),
            probes: by_name(RANKING.map(|method| method.name()), &counters.sent),
            answers: Answers {
                pinned: counters.pinned,
                direct: counters.direct,
                untrusted: counters.untrusted,
                unanswered: counters.unanswered,
                late: counters.late,
                unkept: counters.unkept,
            },
            ignored: by_name(Ignored::ALL.map(Ignored::name), &counters.ignored),
            changes: counters.changes,
            gone: counters.gone,
            epochs: counters.epochs,
            users,
        },
    )
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum EventRecord {
    Learned {
        anycast: Ipv6Addr,
        to: Ipv6Addr,
        rtt_ms: f64,
    },
    Changed {
        anycast: Ipv6Addr,
        from: Ipv6Addr,
        to: Ipv6Addr,
        rtt_ms: f64,
    },
    Gone {
        anycast: Ipv6Addr,
        from: Ipv6Addr,
        state: &'static str,
    },
    Untrusted {
        anycast: Ipv6Addr,
        unicast: Ipv6Addr,
        reason: Option<String>,
    },
    Failed {
        anycast: Ipv6Addr,
        unicast: Ipv6Addr,
        protocol: u8,
        port: u16,
        errno: i32,
    },
    Epoch {
        epoch: u64,
        cause: &'static str,
    },
    Flushed {
        prefix: String,
        count: usize,
    },
    Started {
        pid: u32,
    },
    Reloaded {
        forgotten: usize,
    },
    Stopping {
        pid: u32,
    },
}

/// What happens, as a record.
pub(crate) fn event(event: &Event) -> String {
    let prefix = |prefix: &Prefix| match prefix.len_bits() {
        128 => format!("{prefix}/128"),
        _ => prefix.to_string(),
    };
    line(
        "event",
        &match *event {
            Event::Learned { a, u, rtt } => EventRecord::Learned {
                anycast: a,
                to: u,
                rtt_ms: ms(rtt),
            },
            Event::Changed { a, from, to, rtt } => EventRecord::Changed {
                anycast: a,
                from,
                to,
                rtt_ms: ms(rtt),
            },
            Event::Gone { a, u, state } => EventRecord::Gone {
                anycast: a,
                from: u,
                state: state.name(),
            },
            Event::Untrusted { a, u, refusal } => EventRecord::Untrusted {
                anycast: a,
                unicast: u,
                reason: refusal.map(|refusal| refusal.to_string()),
            },
            Event::Failed {
                a,
                u,
                protocol,
                port,
                errno,
            } => EventRecord::Failed {
                anycast: a,
                unicast: u,
                protocol,
                port,
                errno,
            },
            Event::Epoch { epoch, cause } => EventRecord::Epoch {
                epoch,
                cause: cause.name(),
            },
            Event::Flushed { prefix: of, count } => EventRecord::Flushed {
                prefix: prefix(&of),
                count,
            },
        },
    )
}

/// That it has begun: what a follower hears first.
pub(crate) fn started() -> String {
    let pid = std::process::id();
    line("event", &EventRecord::Started { pid })
}

/// That the configuration was read again.
pub(crate) fn reloaded(forgotten: usize) -> String {
    line("event", &EventRecord::Reloaded { forgotten })
}

/// That it ends.
pub(crate) fn stopping() -> String {
    let pid = std::process::id();
    line("event", &EventRecord::Stopping { pid })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aarp_core::mapping::Mapping;
    use aarp_wire::probe::Method;

    #[test]
    fn a_record_is_a_line_with_its_schema() {
        let a = "2001:db8:a::53".parse().unwrap();
        let u = "2001:db8:1::1".parse().unwrap();
        let entry = Entry {
            a,
            mapping: Mapping {
                state: State::Pinned,
                u,
                method: Method::Echo,
                expiry: Duration::from_secs(160),
                rtt: Duration::from_micros(1234),
                failures: 0,
            },
            epoch: 1,
            used: 95,
            due: 12_000,
            is_asked: false,
            is_used: false,
            is_others: false,
        };
        let told = mapping(&entry, Duration::from_secs(100));
        let record: serde_json::Value = serde_json::from_str(&told).unwrap();
        assert_eq!(record["schema"], 1);
        assert_eq!(record["type"], "mapping");
        assert_eq!(record["unicast"], "2001:db8:1::1");
        assert_eq!(record["rtt_ms"], 1.234);
        assert_eq!(
            (&record["remaining_ms"], &record["unused_ms"]),
            (&60_000.into(), &5000.into())
        );
        assert!(told.ends_with("}\n") && told.lines().count() == 1);
        let changed = Event::Changed {
            a,
            from: u,
            to: a,
            rtt: Duration::ZERO,
        };
        let record: serde_json::Value = serde_json::from_str(&event(&changed)).unwrap();
        assert_eq!(
            (&record["type"], &record["event"]),
            (&"event".into(), &"changed".into())
        );
        assert_eq!(record["to"], "2001:db8:a::53");
    }
}
