//! Every setting of the resolving layer, with its default.

use core::net::Ipv6Addr;
use core::time::Duration;

use aarp_wire::probe::Method;

use crate::prefix::{Prefix, PrefixSet};
use crate::text::Text;

/// Prefixes that one list of the configuration can hold.
pub const PREFIXES: usize = 64;
/// `[[prefix]]` tables that a configuration can hold.
pub const RULES: usize = 16;
/// `trusted` prefixes of one `[[prefix]]` table.
pub const RULE_TRUSTED: usize = 8;
/// Retransmissions of one question.
pub const RETRANSMITS: usize = 4;

/// What becomes of a communication whose destination should have been pinned and
/// is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// It goes to A.
    Pass,
    /// It fails with `EHOSTUNREACH`.
    Refuse,
}

/// What getaddrinfo does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GetAddrInfo {
    /// Probes all answers in parallel and changes none.
    Prefetch,
    /// Gives U to the application in place of A.
    Rewrite,
    /// Nothing.
    Off,
}

/// Whether aarpd is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaemonUse {
    /// Where there is one.
    Auto,
    /// Never.
    Off,
    /// Always; without it nothing is pinned.
    Require,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Nothing.
    Off,
    /// What is broken.
    Error,
    /// What is not as it should be.
    Warn,
    /// What was resolved and refuted.
    Info,
    /// Every decision.
    Debug,
}

/// Which keys of `[daemon]` count: nobody else's file may bring a process to trust a
/// foreign user's daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DaemonKeys {
    /// None.
    None,
    /// All but `user`.
    Places,
    /// All of them.
    All,
}

/// Where the daemon is found, and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct Daemon {
    /// Whether it is asked.
    pub usage: DaemonUse,
    /// Its socket; empty: where it is by default, and then that of a user's own.
    pub socket: Text<107>,
    /// Its mapping table; empty: as for the socket.
    pub table: Text<255>,
    /// The user, by name or number, who is trusted with it besides root and who one is
    /// oneself; empty: nobody.
    pub user: Text<31>,
    /// The number of that user, once it has been looked up.
    pub uid: Option<u32>,
    /// `$XDG_RUNTIME_DIR`, below which a user's own daemon is; empty: nowhere. No key: as it
    /// was in the environment when the configuration was read.
    pub runtime: Text<240>,
    /// Which keys count of the file that is being read.
    pub keys: DaemonKeys,
}

impl Daemon {
    /// Nothing configured.
    pub const DEFAULT: Daemon = Daemon {
        usage: DaemonUse::Auto,
        socket: Text::new(),
        table: Text::new(),
        user: Text::new(),
        uid: None,
        runtime: Text::new(),
        keys: DaemonKeys::All,
    };
}

/// A set of probe methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Methods(u8);

impl Methods {
    /// Echo alone, the default.
    pub const ECHO: Methods = Methods(1 << Method::Echo as u8);
    /// No method.
    pub const NONE: Methods = Methods(0);

    /// With one more method.
    #[must_use]
    pub const fn with(self, method: Method) -> Self {
        Self(self.0 | 1 << method as u8)
    }

    /// Without one of them.
    #[must_use]
    pub const fn without(self, method: Method) -> Self {
        Self(self.0 & !(1 << method as u8))
    }

    /// Those that are in one or the other.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are in both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether the method is among them.
    #[must_use]
    pub fn contains(self, method: Method) -> bool {
        self.0 & 1 << method as u8 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// When a question is sent again, counted from its first transmission.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retransmits {
    at: [Duration; RETRANSMITS],
    len: u8,
}

impl Retransmits {
    /// No retransmission.
    pub const NONE: Self = Self {
        at: [Duration::ZERO; RETRANSMITS],
        len: 0,
    };

    /// Adds a retransmission later than those there are. `None` when it is not
    /// later, or when there are [`RETRANSMITS`] already.
    #[must_use]
    pub fn with(mut self, at: Duration) -> Option<Self> {
        if self.as_slice().last().is_some_and(|last| *last >= at) {
            return None;
        }
        *self.at.get_mut(usize::from(self.len))? = at;
        self.len += 1;
        Some(self)
    }

    /// The times, ascending.
    #[must_use]
    pub fn as_slice(&self) -> &[Duration] {
        &self.at[..usize::from(self.len)]
    }
}

/// `[times]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// A pinned mapping is used for so long.
    pub ttl: Duration,
    /// An answer from A itself is believed for so long.
    pub direct: Duration,
    /// After no answer nobody is asked for so long, doubling …
    pub unanswered: Duration,
    /// … up to this.
    pub unanswered_max: Duration,
    /// A unicast address that failed is avoided for so long.
    pub refuted: Duration,
    /// A blocking caller waits so long for an answer, for `prefixes`.
    pub budget: Duration,
    /// A blocking caller waits so long for an answer, elsewhere. A non-blocking
    /// one waits half of it.
    pub budget_unconfigured: Duration,
    /// A caller with a non-blocking socket waits so long, for `prefixes`.
    pub budget_nonblocking: Duration,
    /// When a question is sent again.
    pub retransmit: Retransmits,
}

impl Times {
    /// The defaults of the contract.
    pub const DEFAULT: Times = Times {
        ttl: Duration::from_secs(60),
        direct: Duration::from_secs(300),
        unanswered: Duration::from_secs(10),
        unanswered_max: Duration::from_secs(3600),
        refuted: Duration::from_secs(60),
        budget: Duration::from_secs(1),
        budget_unconfigured: Duration::from_millis(100),
        budget_nonblocking: Duration::from_millis(250),
        retransmit: Retransmits {
            at: [
                Duration::from_millis(100),
                Duration::from_millis(300),
                Duration::ZERO,
                Duration::ZERO,
            ],
            len: 2,
        },
    };
}

/// Where a setting comes from; later ones win.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layer {
    /// `/etc/aarp/aarp.toml`, or what `AARP_CONFIG` names.
    System = 0,
    /// The user's own file.
    User = 1,
    /// `AARP_*` variables.
    Environment = 2,
    /// Options of a command.
    CommandLine = 3,
}

/// How many layers there are.
pub const LAYERS: usize = 4;

/// What U may be: inside the list of every layer that has one. So a user may
/// shrink what the administrator trusts and never widen it.
#[derive(Debug, Clone, Copy)]
pub struct Trusted {
    layers: [Option<PrefixSet<PREFIXES>>; LAYERS],
}

impl Trusted {
    /// No list in any layer: nothing is said about U.
    pub const UNSET: Self = Self {
        layers: [None; LAYERS],
    };

    /// Whether any layer has a list.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.layers.iter().any(Option::is_some)
    }

    /// Replaces the list of one layer.
    pub fn set(&mut self, layer: Layer, prefixes: PrefixSet<PREFIXES>) {
        self.layers[layer as usize] = Some(prefixes);
    }

    /// Whether every list there is contains `u`.
    #[must_use]
    pub fn allows(&self, u: Ipv6Addr) -> bool {
        self.layers.iter().flatten().all(|list| list.contains(u))
    }
}

/// A `[[prefix]]` table: what is different for one prefix.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The prefix of A.
    pub prefix: Prefix,
    /// What U may be, besides what `trusted` says.
    pub trusted: Option<PrefixSet<RULE_TRUSTED>>,
    /// Methods in place of the general ones.
    pub methods: Option<Methods>,
    /// Times, where they are not the general ones.
    pub times: TimesPatch,
}

/// Times that a `[[prefix]]` table changes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimesPatch {
    /// See [`Times::ttl`].
    pub ttl: Option<Duration>,
    /// See [`Times::direct`].
    pub direct: Option<Duration>,
    /// See [`Times::unanswered`].
    pub unanswered: Option<Duration>,
    /// See [`Times::unanswered_max`].
    pub unanswered_max: Option<Duration>,
    /// See [`Times::refuted`].
    pub refuted: Option<Duration>,
    /// See [`Times::budget`].
    pub budget: Option<Duration>,
    /// See [`Times::budget_nonblocking`].
    pub budget_nonblocking: Option<Duration>,
    /// See [`Times::retransmit`].
    pub retransmit: Option<Retransmits>,
}

impl TimesPatch {
    /// The general times with what this table changes.
    #[must_use]
    pub fn over(&self, times: &Times) -> Times {
        Times {
            ttl: self.ttl.unwrap_or(times.ttl),
            direct: self.direct.unwrap_or(times.direct),
            unanswered: self.unanswered.unwrap_or(times.unanswered),
            unanswered_max: self.unanswered_max.unwrap_or(times.unanswered_max),
            refuted: self.refuted.unwrap_or(times.refuted),
            budget: self.budget.unwrap_or(times.budget),
            budget_unconfigured: times.budget_unconfigured,
            budget_nonblocking: self.budget_nonblocking.unwrap_or(times.budget_nonblocking),
            retransmit: self.retransmit.unwrap_or(times.retransmit),
        }
    }
}

/// At most [`RULES`] `[[prefix]]` tables.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub(crate) rules: [Option<Rule>; RULES],
}

impl Rules {
    /// Whether there is none.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rules[0].is_none()
    }

    /// All tables.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().flatten()
    }

    /// The tables whose prefix contains `a`.
    pub fn containing(&self, a: Ipv6Addr) -> impl Iterator<Item = &Rule> {
        let rules = self.rules.iter().flatten();
        rules.filter(move |rule| rule.prefix.contains(a))
    }

    /// The table with the longest prefix that contains `a`; of several with the same
    /// the last one.
    #[must_use]
    pub fn matching(&self, a: Ipv6Addr) -> Option<&Rule> {
        self.containing(a).max_by_key(|rule| rule.prefix.len_bits())
    }
}

/// All settings of the resolving layer.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Only these are asked about, when there are any.
    pub prefixes: PrefixSet<PREFIXES>,
    /// These are never asked about.
    pub exclude: PrefixSet<PREFIXES>,
    /// What U may be.
    pub trusted: Trusted,
    /// Probe methods.
    pub methods: Methods,
    /// What becomes of what could not be pinned.
    pub on_failure: OnFailure,
    /// What getaddrinfo does.
    pub getaddrinfo: GetAddrInfo,
    /// Whether addresses of this host are asked about, and accepted as U.
    pub include_local: bool,
    /// The port that `unreach` probes.
    pub unreach_port: u16,
    /// Times.
    pub times: Times,
    /// `[[prefix]]` tables.
    pub rules: Rules,
    /// Whether aarpd is asked, and where it is.
    pub daemon: Daemon,
    /// How much is logged.
    pub log_level: LogLevel,
    /// Where the log goes; empty is standard error.
    pub log_file: Text<255>,
    /// Whether a line of counters is printed at exit.
    pub stats: bool,
}

impl Settings {
    /// Nothing configured.
    pub const DEFAULT: Settings = Settings {
        prefixes: PrefixSet::new(),
        exclude: PrefixSet::new(),
        trusted: Trusted::UNSET,
        methods: Methods::ECHO,
        on_failure: OnFailure::Pass,
        getaddrinfo: GetAddrInfo::Prefetch,
        include_local: false,
        unreach_port: 33999,
        times: Times::DEFAULT,
        rules: Rules {
            rules: [None; RULES],
        },
        daemon: Daemon::DEFAULT,
        log_level: LogLevel::Off,
        log_file: Text::new(),
        stats: false,
    };
}

impl Default for Settings {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retransmits_ascend_and_are_bounded() {
        let ms = Duration::from_millis;
        let mut retransmits = Retransmits::NONE;
        assert_eq!(Times::DEFAULT.retransmit.as_slice(), [ms(100), ms(300)]);
        for at in 1..=RETRANSMITS as u64 {
            retransmits = retransmits.with(ms(at)).unwrap();
            assert_eq!(retransmits.with(ms(at)), None);
        }
        assert_eq!(retransmits.with(ms(99)), None);
    }

    #[test]
    fn trust_is_only_ever_narrowed() {
        let set = |text: &str| {
            let mut set = PrefixSet::new();
            set.insert(text.parse().unwrap()).unwrap();
            set
        };
        let u = "2001:db8:1::1".parse().unwrap();
        let mut trusted = Trusted::UNSET;
        assert!(trusted.allows(u) && !trusted.is_set());
        trusted.set(Layer::System, set("2001:db8::/32"));
        assert!(trusted.allows(u) && trusted.is_set());
        trusted.set(Layer::Environment, set("::/0"));
        assert!(!trusted.allows("2001:db9::1".parse().unwrap()));
        trusted.set(Layer::User, set("2001:db8:2::/48"));
        assert!(!trusted.allows(u));
    }
}
