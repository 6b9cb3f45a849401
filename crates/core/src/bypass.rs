//! Why a call went to its destination as if AARP were not there.

/// The reason of a bypass. The names are those of logs, JSON and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Bypass {
    /// Not IPv6, or IPv4 in IPv6 form.
    Family,
    /// The policy does not ask about this destination, or this kind of socket.
    Policy,
    /// The destination is in `exclude`.
    Excluded,
    /// The destination is of this host or of the link.
    Local,
    /// The kernel permits no probe.
    NoPermission,
    /// Nobody answered, now or a short while ago.
    NoAnswer,
    /// The budget of this caller was over before an answer came.
    Budget,
    /// This thread has been held for its share of this second already.
    Stalled,
    /// One unicast address stands for two destinations on one socket.
    Ambiguous,
    /// Another thread is at work on what is needed.
    Busy,
    /// A signal handler calls, on a stack of its own that has no room for a question.
    Reentrant,
    /// The program has installed a seccomp filter.
    Seccomp,
    /// A setting is wrong, so that nothing is known about what is wanted.
    BadConfig,
    /// Switched off.
    Off,
    /// An answer came from the destination itself: unicast, or not to be pinned.
    Direct,
    /// The answer came from an address that must not be used.
    Untrusted,
    /// The unicast address that answers has failed a short while ago.
    Refuted,
    /// getaddrinfo has given the program U in front of this destination, and it has
    /// come to this.
    Rewritten,
    /// It is a U that getaddrinfo has given to the program.
    Given,
}

impl Bypass {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Bypass; 19] = [
        Bypass::Family,
        Bypass::Policy,
        Bypass::Excluded,
        Bypass::Local,
        Bypass::NoPermission,
        Bypass::NoAnswer,
        Bypass::Budget,
        Bypass::Stalled,
        Bypass::Ambiguous,
        Bypass::Busy,
        Bypass::Reentrant,
        Bypass::Seccomp,
        Bypass::BadConfig,
        Bypass::Off,
        Bypass::Direct,
        Bypass::Untrusted,
        Bypass::Refuted,
        Bypass::Rewritten,
        Bypass::Given,
    ];

    /// The name in logs, JSON and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Bypass::Family => "family",
            Bypass::Policy => "policy",
            Bypass::Excluded => "excluded",
            Bypass::Local => "local",
            Bypass::NoPermission => "no-permission",
            Bypass::NoAnswer => "no-answer",
            Bypass::Budget => "budget",
            Bypass::Stalled => "stalled",
            Bypass::Ambiguous => "ambiguous",
            Bypass::Busy => "busy",
            Bypass::Reentrant => "reentrant",
            Bypass::Seccomp => "seccomp",
            Bypass::BadConfig => "bad-config",
            Bypass::Off => "off",
            Bypass::Direct => "direct",
            Bypass::Untrusted => "untrusted",
            Bypass::Refuted => "refuted",
            Bypass::Rewritten => "rewritten",
            Bypass::Given => "given",
        }
    }

    /// Whether `on_failure = "refuse"` applies: the destination should have been
    /// pinned, and is not.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(
            self,
            Bypass::NoPermission
                | Bypass::NoAnswer
                | Bypass::Budget
                | Bypass::Stalled
                | Bypass::Busy
                | Bypass::Reentrant
                | Bypass::Untrusted
                | Bypass::Refuted
                | Bypass::Rewritten
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_places_in_the_list() {
        for (number, reason) in Bypass::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number);
        }
    }
}
