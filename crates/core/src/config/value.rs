//! Values: from text to settings.

use core::time::Duration;

use aarp_wire::probe::Method;

use super::Key;
use crate::prefix::{Prefix, PrefixError, PrefixSet};
use crate::settings::{
    Daemon, DaemonKeys, DaemonUse, GetAddrInfo, Layer, LogLevel, Methods, OnFailure, Retransmits,
    Rule, Settings, Times, TimesPatch,
};
use crate::text::Text;

/// What was expected in place of a value.
pub(super) type Expected = &'static str;

const PREFIX: Expected = "an IPv6 prefix such as \"2001:db8::/32\" or an IPv6 address";
const SOME: Expected = "at least one IPv6 prefix, since there are some in an earlier place";
const ROOM: Expected =
    "fewer prefixes: there is room for 64 in a list, for 8 in one of a [[prefix]]";
const DURATION: Expected =
    "a duration above zero and up to 30 days, such as \"60s\", \"300ms\", \"5m\" or \"1h\"";
const RETRANSMIT: Expected = "at most four durations, each longer than the one before";
const METHOD: Expected = "\"echo\" or \"unreach\"";
const BOOLEAN: Expected = "true or false";
const PORT: Expected = "a port from 1 to 65535";
const PATH: Expected = "a path of at most 255 octets";
const SOCKET: Expected = "an absolute path of at most 107 octets";
const TABLE: Expected = "an absolute path of at most 255 octets";
const USER: Expected = "a user's name or number, of at most 31 octets";

/// The type that a setting has in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    List,
    Text,
    Boolean,
    Number,
}

pub(super) fn form(key: Key) -> (Form, Expected) {
    match key {
        Key::Prefixes | Key::Exclude | Key::Trusted => (
            Form::List,
            "a list of IPv6 prefixes such as [\"2001:db8::/32\"]",
        ),
        Key::Methods => (Form::List, "a list of \"echo\" and \"unreach\""),
        Key::Retransmit => (
            Form::List,
            "a list of durations such as [\"100ms\", \"300ms\"]",
        ),
        Key::IncludeLocal | Key::LogStats => (Form::Boolean, BOOLEAN),
        Key::UnreachPort => (Form::Number, PORT),
        Key::RulePrefix => (Form::Text, PREFIX),
        Key::OnFailure => (Form::Text, "\"pass\" or \"refuse\""),
        Key::GetAddrInfo => (Form::Text, "\"prefetch\", \"rewrite\" or \"off\""),
        Key::DaemonUse => (Form::Text, "\"auto\", \"off\" or \"require\""),
        Key::LogLevel => (
            Form::Text,
            "\"off\", \"error\", \"warn\", \"info\" or \"debug\"",
        ),
        Key::LogFile => (Form::Text, PATH),
        Key::DaemonSocket => (Form::Text, SOCKET),
        Key::DaemonTable => (Form::Text, TABLE),
        Key::DaemonUser => (Form::Text, USER),
        _ => (Form::Text, DURATION),
    }
}

/// A duration with its unit: h, m, s, ms or us; none if it is not one above zero
/// and up to thirty days.
#[must_use]
pub fn read_duration(text: &str) -> Option<Duration> {
    duration(text).ok()
}

fn duration(text: &str) -> Result<Duration, Expected> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| DURATION)?;
    let unit = match &text[digits..] {
        "h" => Duration::from_secs(3600),
        "m" => Duration::from_secs(60),
        "s" => Duration::from_secs(1),
        "ms" => Duration::from_millis(1),
        "us" => Duration::from_micros(1),
        _ => return Err(DURATION),
    };
    let total = u128::from(number) * unit.as_nanos();
    let longest = Duration::from_secs(30 * 24 * 3600).as_nanos();
    match u64::try_from(total) {
        Ok(nanos) if nanos > 0 && total <= longest => Ok(Duration::from_nanos(nanos)),
        _ => Err(DURATION),
    }
}

fn prefix(text: &str) -> Result<Prefix, Expected> {
    text.parse().map_err(|error| match error {
        PrefixError::Address => PREFIX,
        PrefixError::Length => "an IPv6 prefix length from 0 to 128",
        PrefixError::HostBits => "an IPv6 prefix with no bits set behind its length",
    })
}

fn method(text: &str) -> Result<Method, Expected> {
    match text {
        "echo" => Ok(Method::Echo),
        "unreach" => Ok(Method::Unreach),
        _ => Err(METHOD),
    }
}

/// A list as it is being read, in a file or from a variable.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::large_enum_variant)] // There is one at a time, and nothing may be allocated.
pub(super) enum List {
    Prefixes(PrefixSet<{ crate::settings::PREFIXES }>),
    Methods(Methods),
    Retransmits(Retransmits),
}

impl List {
    pub(super) fn of(key: Key) -> Option<Self> {
        match key {
            Key::Prefixes | Key::Exclude | Key::Trusted => Some(List::Prefixes(PrefixSet::new())),
            Key::Methods => Some(List::Methods(Methods::NONE)),
            Key::Retransmit => Some(List::Retransmits(Retransmits::NONE)),
            _ => None,
        }
    }

    pub(super) fn push(&mut self, text: &str) -> Result<(), Expected> {
        match self {
            List::Prefixes(set) => {
                let prefix = prefix(text)?;
                set.insert(prefix).map_err(|_| ROOM)
            }
            List::Methods(methods) => {
                *methods = methods.with(method(text)?);
                Ok(())
            }
            List::Retransmits(retransmits) => {
                *retransmits = retransmits.with(duration(text)?).ok_or(RETRANSMIT)?;
                Ok(())
            }
        }
    }
}

/// Takes over a list of the general settings.
pub(super) fn apply_list(
    settings: &mut Settings,
    layer: Layer,
    key: Key,
    list: &List,
) -> Result<(), Expected> {
    match (key, list) {
        // None at all would widen what an earlier layer says to everything.
        (Key::Prefixes, List::Prefixes(set)) if set.is_empty() && !settings.prefixes.is_empty() => {
            return Err(SOME);
        }
        (Key::Prefixes, List::Prefixes(set)) => settings.prefixes = *set,
        // Every layer adds to what is excluded.
        (Key::Exclude, List::Prefixes(set)) => {
            for prefix in set.as_slice() {
                settings.exclude.insert(*prefix).map_err(|_| ROOM)?;
            }
        }
        (Key::Trusted, List::Prefixes(set)) => settings.trusted.set(layer, *set),
        (Key::Methods, List::Methods(methods)) if methods.is_empty() => return Err(METHOD),
        (Key::Methods, List::Methods(methods)) => settings.methods = *methods,
        (Key::Retransmit, List::Retransmits(list)) => settings.times.retransmit = *list,
        _ => return Err(form(key).1),
    }
    Ok(())
}

/// Takes over a list of a `[[prefix]]` table.
pub(super) fn apply_rule_list(rule: &mut Rule, key: Key, list: &List) -> Result<(), Expected> {
    match (key, list) {
        (Key::Trusted, List::Prefixes(set)) => {
            let mut trusted = PrefixSet::new();
            for prefix in set.as_slice() {
                trusted.insert(*prefix).map_err(|_| ROOM)?;
            }
            rule.trusted = Some(trusted);
        }
        (Key::Methods, List::Methods(methods)) if methods.is_empty() => return Err(METHOD),
        (Key::Methods, List::Methods(methods)) => rule.methods = Some(*methods),
        (Key::Retransmit, List::Retransmits(list)) => rule.times.retransmit = Some(*list),
        _ => return Err(form(key).1),
    }
    Ok(())
}

/// Takes over one value of a `[[prefix]]` table.
pub(super) fn apply_rule_text(rule: &mut Rule, key: Key, text: &str) -> Result<(), Expected> {
    if key == Key::RulePrefix {
        rule.prefix = prefix(text)?;
        return Ok(());
    }
    let time = rule_time(&mut rule.times, key).ok_or(form(key).1)?;
    *time = Some(duration(text)?);
    Ok(())
}

fn rule_time(times: &mut TimesPatch, key: Key) -> Option<&mut Option<Duration>> {
    Some(match key {
        Key::Ttl => &mut times.ttl,
        Key::Direct => &mut times.direct,
        Key::Unanswered => &mut times.unanswered,
        Key::UnansweredMax => &mut times.unanswered_max,
        Key::Refuted => &mut times.refuted,
        Key::Budget => &mut times.budget,
        Key::BudgetNonblocking => &mut times.budget_nonblocking,
        _ => return None,
    })
}

fn time(times: &mut Times, key: Key) -> Option<&mut Duration> {
    Some(match key {
        Key::Ttl => &mut times.ttl,
        Key::Direct => &mut times.direct,
        Key::Unanswered => &mut times.unanswered,
        Key::UnansweredMax => &mut times.unanswered_max,
        Key::Refuted => &mut times.refuted,
        Key::Budget => &mut times.budget,
        Key::BudgetUnconfigured => &mut times.budget_unconfigured,
        Key::BudgetNonblocking => &mut times.budget_nonblocking,
        _ => return None,
    })
}

/// Takes over one general setting, given as text.
pub(super) fn apply_text(
    settings: &mut Settings,
    layer: Layer,
    key: Key,
    text: &str,
) -> Result<(), Expected> {
    if let Some(mut list) = List::of(key) {
        for item in text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            list.push(item)?;
        }
        return apply_list(settings, layer, key, &list);
    }
    let expected = form(key).1;
    match key {
        Key::OnFailure => {
            settings.on_failure = match text {
                "pass" => OnFailure::Pass,
                "refuse" => OnFailure::Refuse,
                _ => return Err(expected),
            }
        }
        Key::GetAddrInfo => {
            settings.getaddrinfo = match text {
                "prefetch" => GetAddrInfo::Prefetch,
                "rewrite" => GetAddrInfo::Rewrite,
                "off" => GetAddrInfo::Off,
                _ => return Err(expected),
            }
        }
        Key::LogLevel => {
            settings.log_level = match text {
                "off" => LogLevel::Off,
                "error" => LogLevel::Error,
                "warn" => LogLevel::Warn,
                "info" => LogLevel::Info,
                "debug" => LogLevel::Debug,
                _ => return Err(expected),
            }
        }
        Key::IncludeLocal => settings.include_local = boolean(text)?,
        Key::LogStats => settings.stats = boolean(text)?,
        Key::UnreachPort => {
            let port = text.parse().ok().filter(|port| *port != 0);
            settings.unreach_port = port.ok_or(PORT)?;
        }
        Key::LogFile => settings.log_file = whole(text).ok_or(expected)?,
        Key::DaemonUse | Key::DaemonSocket | Key::DaemonTable | Key::DaemonUser => {
            apply_daemon(&mut settings.daemon, layer, key, text).ok_or(expected)?;
        }
        _ => *time(&mut settings.times, key).ok_or(expected)? = duration(text)?,
    }
    Ok(())
}

/// Takes over a value of `[daemon]`, if it counts where it stands; `None` for what is
/// none, wherever it stands.
fn apply_daemon(daemon: &mut Daemon, layer: Layer, key: Key, text: &str) -> Option<()> {
    let counts = daemon.keys >= DaemonKeys::Places;
    match key {
        Key::DaemonUse => {
            let usage = match text {
                "auto" => DaemonUse::Auto,
                "off" => DaemonUse::Off,
                "require" => DaemonUse::Require,
                _ => return None,
            };
            if counts {
                daemon.usage = usage;
            }
        }
        Key::DaemonSocket => {
            let socket = absolute(text)?;
            if counts {
                daemon.socket = socket;
            }
        }
        Key::DaemonTable => {
            let table = absolute(text)?;
            if counts {
                daemon.table = table;
            }
        }
        _ => {
            let user = whole(text).filter(|_| !text.is_empty() && !text.contains([':', '\n']))?;
            // A user may not widen whom the system trusts.
            if daemon.keys == DaemonKeys::All && layer == Layer::System {
                daemon.user = user;
            }
        }
    }
    Some(())
}

/// A text, if there is room for it.
fn whole<const N: usize>(text: &str) -> Option<Text<N>> {
    Some(Text::from(text)).filter(|text: &Text<N>| !text.is_cut())
}

fn absolute<const N: usize>(text: &str) -> Option<Text<N>> {
    whole(text).filter(|_| text.starts_with('/') && !text.contains('\0'))
}

fn boolean(text: &str) -> Result<bool, Expected> {
    match text {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(BOOLEAN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("60s", 60_000),
            ("300ms", 300),
            ("5m", 300_000),
            ("2h", 7_200_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)));
        }
        assert_eq!(duration("250us"), Ok(Duration::from_micros(250)));
        for text in [
            "",
            "s",
            "60",
            "-1s",
            "+1s",
            "1.5s",
            "0s",
            "60 s",
            "1d",
            "721h",
            "99999999999999999999s",
        ] {
            assert_eq!(duration(text), Err(DURATION), "{text:?}");
        }
    }
}
