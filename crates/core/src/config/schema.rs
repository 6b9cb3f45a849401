//! Which keys there are.

/// A setting of the resolving layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Key {
    /// `resolve.prefixes`
    Prefixes,
    /// `resolve.exclude`
    Exclude,
    /// `resolve.trusted`
    Trusted,
    /// `resolve.methods`
    Methods,
    /// `resolve.on_failure`
    OnFailure,
    /// `resolve.getaddrinfo`
    GetAddrInfo,
    /// `resolve.include_local`
    IncludeLocal,
    /// `resolve.unreach_port`
    UnreachPort,
    /// `times.ttl`
    Ttl,
    /// `times.direct`
    Direct,
    /// `times.unanswered`
    Unanswered,
    /// `times.unanswered_max`
    UnansweredMax,
    /// `times.refuted`
    Refuted,
    /// `times.budget`
    Budget,
    /// `times.budget_unconfigured`
    BudgetUnconfigured,
    /// `times.budget_nonblocking`
    BudgetNonblocking,
    /// `times.retransmit`
    Retransmit,
    /// `log.level`
    LogLevel,
    /// `log.file`
    LogFile,
    /// `log.stats`
    LogStats,
    /// `daemon.use`
    DaemonUse,
    /// `daemon.socket`
    DaemonSocket,
    /// `daemon.table`
    DaemonTable,
    /// `daemon.user`
    DaemonUser,
    /// `prefix.prefix`
    RulePrefix,
}

/// Every setting that has a variable, with the variable's name.
pub const VARIABLES: [(Key, &str); 20] = [
    (Key::Prefixes, "AARP_PREFIXES"),
    (Key::Exclude, "AARP_EXCLUDE"),
    (Key::Trusted, "AARP_TRUSTED"),
    (Key::Methods, "AARP_METHODS"),
    (Key::OnFailure, "AARP_ON_FAILURE"),
    (Key::GetAddrInfo, "AARP_GETADDRINFO"),
    (Key::IncludeLocal, "AARP_INCLUDE_LOCAL"),
    (Key::UnreachPort, "AARP_UNREACH_PORT"),
    (Key::Ttl, "AARP_TTL"),
    (Key::Direct, "AARP_DIRECT"),
    (Key::Unanswered, "AARP_UNANSWERED"),
    (Key::UnansweredMax, "AARP_UNANSWERED_MAX"),
    (Key::Refuted, "AARP_REFUTED"),
    (Key::Budget, "AARP_BUDGET"),
    (Key::BudgetUnconfigured, "AARP_BUDGET_UNCONFIGURED"),
    (Key::BudgetNonblocking, "AARP_BUDGET_NONBLOCKING"),
    (Key::Retransmit, "AARP_RETRANSMIT"),
    (Key::LogLevel, "AARP_LOG"),
    (Key::LogFile, "AARP_FILE"),
    (Key::LogStats, "AARP_STATS"),
];

impl Key {
    /// The name of its variable; empty for a key that has none.
    #[must_use]
    pub fn variable(self) -> &'static str {
        let entry = VARIABLES.iter().find(|(key, _)| *key == self);
        entry.map_or("", |(_, name)| name)
    }
}

/// A table of the configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Table {
    /// One of the resolving layer, `[name]`, with its keys.
    Own(&'static str, &'static [(&'static str, Option<Key>)]),
    /// A `[[prefix]]`.
    Rule,
    /// One of another part, `[name]` or `[[name]]`, with the names of its keys.
    Foreign(&'static str, &'static [&'static str]),
}

const RESOLVE: &[(&str, Option<Key>)] = &[
    ("prefixes", Some(Key::Prefixes)),
    ("exclude", Some(Key::Exclude)),
    ("trusted", Some(Key::Trusted)),
    ("methods", Some(Key::Methods)),
    ("on_failure", Some(Key::OnFailure)),
    ("getaddrinfo", Some(Key::GetAddrInfo)),
    ("include_local", Some(Key::IncludeLocal)),
    ("unreach_port", Some(Key::UnreachPort)),
];

const TIMES: &[(&str, Option<Key>)] = &[
    ("ttl", Some(Key::Ttl)),
    ("direct", Some(Key::Direct)),
    ("unanswered", Some(Key::Unanswered)),
    ("unanswered_max", Some(Key::UnansweredMax)),
    ("refuted", Some(Key::Refuted)),
    ("budget", Some(Key::Budget)),
    ("budget_unconfigured", Some(Key::BudgetUnconfigured)),
    ("budget_nonblocking", Some(Key::BudgetNonblocking)),
    ("retransmit", Some(Key::Retransmit)),
];

/// Keys without a [`Key`] belong to aarpd itself.
const DAEMON: &[(&str, Option<Key>)] = &[
    ("use", Some(Key::DaemonUse)),
    ("socket", Some(Key::DaemonSocket)),
    ("table", Some(Key::DaemonTable)),
    ("entries", None),
    ("user", Some(Key::DaemonUser)),
    ("metrics", None),
];

const LOG: &[(&str, Option<Key>)] = &[
    ("level", Some(Key::LogLevel)),
    ("file", Some(Key::LogFile)),
    ("stats", Some(Key::LogStats)),
];

const RULE: &[(&str, Option<Key>)] = &[
    ("prefix", Some(Key::RulePrefix)),
    ("trusted", Some(Key::Trusted)),
    ("methods", Some(Key::Methods)),
    ("ttl", Some(Key::Ttl)),
    ("direct", Some(Key::Direct)),
    ("unanswered", Some(Key::Unanswered)),
    ("unanswered_max", Some(Key::UnansweredMax)),
    ("refuted", Some(Key::Refuted)),
    ("budget", Some(Key::Budget)),
    ("budget_nonblocking", Some(Key::BudgetNonblocking)),
    ("retransmit", Some(Key::Retransmit)),
];

const RESPONDER: &[&str] = &[
    "anycast",
    "unicast",
    "interface",
    "recipe",
    "answer",
    "checks",
    "drain",
    "announce",
];
const BINDING: &[&str] = &[
    "anycast",
    "care_of",
    "agents",
    "lifetime",
    "spi",
    "reverse",
    "sequence_step",
    "ownership",
    "checks",
];
const AGENT: &[&str] = &[
    "address",
    "home",
    "model",
    "datapath",
    "selection",
    "probe",
    "affinity",
    "keys",
    "insecure_unauthenticated",
];

/// The table that a header names; `array` is whether it has double brackets.
pub(super) fn table(name: &str, array: bool) -> Option<Table> {
    Some(match (name, array) {
        ("resolve", false) => Table::Own("resolve", RESOLVE),
        ("times", false) => Table::Own("times", TIMES),
        ("daemon", false) => Table::Own("daemon", DAEMON),
        ("log", false) => Table::Own("log", LOG),
        ("prefix", true) => Table::Rule,
        ("responder", true) => Table::Foreign("responder", RESPONDER),
        ("binding", true) => Table::Foreign("binding", BINDING),
        ("agent", false) => Table::Foreign("agent", AGENT),
        _ => return None,
    })
}

/// What a key in a table is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// A setting of the resolving layer, and its place in the table.
    Own(Key, usize),
    /// A key of another part, and its place in the table.
    Foreign(usize),
}

impl Table {
    pub(super) fn name(self) -> &'static str {
        match self {
            Table::Own(name, _) | Table::Foreign(name, _) => name,
            Table::Rule => "prefix",
        }
    }

    pub(super) fn is_array(self) -> bool {
        matches!(
            self,
            Table::Rule | Table::Foreign("responder" | "binding", _)
        )
    }

    pub(super) fn key(self, name: &str) -> Option<Known> {
        let own = |keys: &[(&str, Option<Key>)]| {
            let place = keys.iter().position(|(known, _)| *known == name)?;
            Some(
                keys[place]
                    .1
                    .map_or(Known::Foreign(place), |key| Known::Own(key, place)),
            )
        };
        match self {
            Table::Own(_, keys) => own(keys),
            Table::Rule => own(RULE),
            Table::Foreign(_, keys) => keys
                .iter()
                .position(|known| *known == name)
                .map(Known::Foreign),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_aarp_and_the_key_in_capitals() {
        for (keys, prefix) in [(RESOLVE, ""), (TIMES, ""), (LOG, "")] {
            for (name, key) in keys {
                let expected = match *name {
                    "level" => "AARP_LOG".to_owned(),
                    name => format!("AARP_{prefix}{}", name.to_uppercase()),
                };
                assert_eq!(key.unwrap().variable(), expected);
            }
        }
    }
}
