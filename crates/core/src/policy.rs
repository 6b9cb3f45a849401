//! Which destinations are asked about, and how long a caller may wait.

use core::net::Ipv6Addr;
use core::time::Duration;

use aarp_wire::probe::Method;

use crate::address::{Scope, scope};
use crate::bypass::Bypass;
use crate::settings::{Methods, Settings, Times};

/// Whether a destination is one of `prefixes`, or merely not excluded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interest {
    /// It is in `prefixes`: full budget, all methods.
    Configured,
    /// No `prefixes` are configured: echo alone, with the small budget.
    Unconfigured,
}

/// Whether `a` is of a kind that can be asked about, whatever the configuration.
///
/// # Errors
/// The reason why not.
#[inline]
pub fn possible(a: Ipv6Addr) -> Result<(), Bypass> {
    match scope(a) {
        Scope::Global | Scope::UniqueLocal => Ok(()),
        Scope::V4 => Err(Bypass::Family),
        Scope::Loopback | Scope::LinkLocal | Scope::Unspecified | Scope::Multicast => {
            Err(Bypass::Local)
        }
    }
}

/// Whether `a` is asked about. Addresses of this host are not known here; see
/// [`crate::accept`].
///
/// # Errors
/// The reason why not.
pub fn interest(settings: &Settings, a: Ipv6Addr) -> Result<Interest, Bypass> {
    possible(a)?;
    if settings.exclude.contains(a) {
        return Err(Bypass::Excluded);
    }
    if settings.prefixes.is_empty() {
        Ok(Interest::Unconfigured)
    } else if settings.prefixes.contains(a) {
        Ok(Interest::Configured)
    } else {
        Err(Bypass::Policy)
    }
}

/// Whether the caller waits for its call, or looks in again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// A blocking socket.
    Blocking,
    /// A non-blocking socket, most likely in an event loop.
    NonBlocking,
}

/// How a destination is asked.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// The methods.
    pub methods: Methods,
    /// The times, with those of a `[[prefix]]` table.
    pub times: Times,
    /// The longest that the caller is held.
    pub budget: Duration,
}

/// How `a`, which [`interest`] has let through, is asked.
#[must_use]
pub fn plan(settings: &Settings, a: Ipv6Addr, interest: Interest, patience: Patience) -> Plan {
    let rule = settings.rules.matching(a);
    let times = rule.map_or(settings.times, |rule| rule.times.over(&settings.times));
    let methods = match interest {
        Interest::Configured => rule
            .and_then(|rule| rule.methods)
            .unwrap_or(settings.methods),
        Interest::Unconfigured => settings.methods.and(Methods::ECHO),
    };
    let methods = permitted(settings, a, methods);
    let budget = match (interest, patience) {
        (Interest::Configured, Patience::Blocking) => times.budget,
        (Interest::Configured, Patience::NonBlocking) => times.budget_nonblocking,
        (Interest::Unconfigured, Patience::Blocking) => times.budget_unconfigured,
        (Interest::Unconfigured, Patience::NonBlocking) => times.budget_unconfigured / 2,
    };
    Plan {
        methods,
        times,
        budget,
    }
}

/// Those of `methods` by which `a` may be asked. `unreach` is for addresses in
/// `prefixes` for which a list says what U may be: any router with a rule that
/// rejects answers it too, from an address of its own.
#[must_use]
pub fn permitted(settings: &Settings, a: Ipv6Addr, methods: Methods) -> Methods {
    let mut rules = settings.rules.containing(a);
    let lists = settings.trusted.is_set() || rules.any(|rule| rule.trusted.is_some());
    if settings.prefixes.contains(a) && lists {
        methods
    } else {
        methods.without(Method::Unreach)
    }
}

/// Whether `u` is inside `trusted`, for `a`: the general list of every layer, and
/// that of every `[[prefix]]` that contains `a`. A longer prefix, or one of a later
/// layer, never takes a narrower list away.
#[must_use]
pub fn trusts(settings: &Settings, a: Ipv6Addr, u: Ipv6Addr) -> bool {
    let mut lists = settings
        .rules
        .containing(a)
        .filter_map(|rule| rule.trusted.as_ref());
    settings.trusted.allows(u) && lists.all(|list| list.contains(u))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{TOKENS, end_token, read_document};
    use crate::settings::Layer;

    fn settings(text: &str) -> Settings {
        let mut settings = Settings::DEFAULT;
        read_document(
            &mut settings,
            Layer::System,
            text,
            &mut [end_token(); TOKENS],
        )
        .unwrap();
        settings
    }

    fn interest_in(settings: &Settings, a: &str) -> Result<Interest, Bypass> {
        interest(settings, a.parse().unwrap())
    }

    #[test]
    fn nothing_configured_asks_about_everything_routable() {
        let settings = Settings::DEFAULT;
        for a in ["2001:db8::1", "fd00::1"] {
            assert_eq!(interest_in(&settings, a), Ok(Interest::Unconfigured));
        }
        for (a, reason) in [
            ("::1", Bypass::Local),
            ("::", Bypass::Local),
            ("fe80::1", Bypass::Local),
            ("ff02::1", Bypass::Local),
            ("::ffff:192.0.2.1", Bypass::Family),
        ] {
            assert_eq!(interest_in(&settings, a), Err(reason), "{a}");
        }
        let a = "2001:db8::1".parse().unwrap();
        let of = |patience| {
            plan(&settings, a, Interest::Unconfigured, patience)
                .budget
                .as_millis()
        };
        assert_eq!(
            (of(Patience::Blocking), of(Patience::NonBlocking)),
            (100, 50)
        );
    }

    #[test]
    fn prefixes_ask_about_nothing_else() {
        let settings = settings(
            "[resolve]\nprefixes=[\"2001:db8:a::/48\"]\nexclude=[\"2001:db8:a:1::/64\"]\n\
             methods=[\"echo\",\"unreach\"]\ntrusted=[\"2001:db8::/32\"]\n\
             [[prefix]]\nprefix=\"2001:db8:a:2::/64\"\nbudget=\"2s\"\nmethods=[\"echo\"]\n\
             trusted=[\"2001:db8:1::/48\"]",
        );
        assert_eq!(
            interest_in(&settings, "2001:db8:a::1"),
            Ok(Interest::Configured)
        );
        assert_eq!(
            interest_in(&settings, "2001:db8:a:1::1"),
            Err(Bypass::Excluded)
        );
        assert_eq!(interest_in(&settings, "2001:db8:b::1"), Err(Bypass::Policy));
        let a = "2001:db8:a::1".parse().unwrap();
        let b = "2001:db8:a:2::1".parse().unwrap();
        let of = |a, patience| plan(&settings, a, Interest::Configured, patience);
        assert_eq!(of(a, Patience::Blocking).budget.as_millis(), 1000);
        assert_eq!(of(a, Patience::NonBlocking).budget.as_millis(), 250);
        assert_eq!(of(b, Patience::Blocking).budget.as_millis(), 2000);
        assert_eq!(of(b, Patience::Blocking).methods, Methods::ECHO);
        assert_ne!(of(a, Patience::Blocking).methods, Methods::ECHO);
        let u = "2001:db8:2::1".parse().unwrap();
        assert!(trusts(&settings, a, u));
        assert!(!trusts(&settings, b, u));
        assert!(trusts(&settings, b, "2001:db8:1::1".parse().unwrap()));
        assert!(!trusts(&settings, a, "2001:db9::1".parse().unwrap()));
    }

    #[test]
    fn unreach_needs_prefixes_and_a_list_of_what_is_trusted() {
        let general = "[resolve]\nprefixes=[\"2001:db8:a::/48\"]\nmethods=[\"echo\",\"unreach\"]\n";
        let trusted = "trusted=[\"2001:db8:51::/48\"]\n";
        let rule = "[[prefix]]\nprefix=\"2001:db8:a:1::/64\"\n";
        let by_unreach = |text: &[&str], a: &str, interest| {
            let settings = settings(&text.concat());
            let plan = plan(&settings, a.parse().unwrap(), interest, Patience::Blocking);
            assert!(plan.methods.contains(Method::Echo));
            plan.methods.contains(Method::Unreach)
        };
        let (configured, inside) = (Interest::Configured, "2001:db8:a:1::1");
        assert!(!by_unreach(&[general], inside, configured));
        assert!(by_unreach(&[general, trusted], inside, configured));
        assert!(by_unreach(&[general, rule, trusted], inside, configured));
        // The list of another prefix, and an address that is none of `prefixes`.
        assert!(!by_unreach(
            &[general, rule, trusted],
            "2001:db8:a::1",
            configured
        ));
        assert!(!by_unreach(
            &[general, trusted],
            "2001:db8:b::1",
            configured
        ));
        let no_prefixes = "[resolve]\nmethods=[\"echo\",\"unreach\"]\n";
        for interest in [configured, Interest::Unconfigured] {
            assert!(!by_unreach(&[no_prefixes, trusted], inside, interest));
        }
    }

    #[test]
    fn a_later_rule_never_takes_trust_away() {
        let mut settings =
            settings("[[prefix]]\nprefix=\"2001:db8:a::/48\"\ntrusted=[\"2001:db8:99::/48\"]");
        let later = "[[prefix]]\nprefix=\"2001:db8:a::/48\"\nttl=\"60s\"\n\
                     [[prefix]]\nprefix=\"2001:db8:a:1::/64\"\nttl=\"5s\"";
        read_document(
            &mut settings,
            Layer::User,
            later,
            &mut [end_token(); TOKENS],
        )
        .unwrap();
        let a = "2001:db8:a:1::1".parse().unwrap();
        assert!(!trusts(&settings, a, "2001:db8:1::1".parse().unwrap()));
        assert!(trusts(&settings, a, "2001:db8:99::1".parse().unwrap()));
    }
}
