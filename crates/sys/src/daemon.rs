//! Where aarpd is looked for, whose it may be, and what counts of what it says: for all
//! who read its table or ask it.

use core::net::Ipv6Addr;
use core::time::Duration;

use aarp_core::accept::{Verdict, judge_address};
use aarp_core::mapping::{Mapping, State};
use aarp_core::settings::{Settings, Times};
use aarp_core::table::Hit;
use aarp_core::text::Text;
use aarp_wire::mapper::Answer;

use crate::process;

/// Where the system's daemon has its socket and its table; a user's own has them below
/// `$XDG_RUNTIME_DIR/aarp`.
pub const FOLDER: &str = "/run/aarp";
/// The name of its socket, with the stroke before it.
pub const SOCKET: &str = "/aarpd.sock";
/// The name of its mapping table, with the stroke before it.
pub const TABLE: &str = "/table";

/// Calls `reach` with the path that is `configured`; or with that of the system's daemon
/// and then with that of the user's own, until it finds something. The environment is not
/// looked at: a thread of the program may be changing it, and natively connect(2), close(2)
/// or a handler of a signal would not notice.
pub fn at<T>(
    settings: &Settings,
    configured: &str,
    name: &str,
    mut reach: impl FnMut(&str) -> Option<T>,
) -> Option<T> {
    if !configured.is_empty() {
        return reach(configured);
    }
    let mut path = Text::<256>::from(FOLDER);
    path.push(name);
    if let Some(found) = reach(path.as_str()) {
        return Some(found);
    }
    let runtime = settings.daemon.runtime.as_str();
    if runtime.is_empty() {
        return None;
    }
    let mut path = Text::<256>::from(runtime);
    path.push("/aarp");
    path.push(name);
    reach(path.as_str())
}

/// Whose daemon is believed: root's, one's own, and that of the user who is configured.
/// While a program acts for another user it has none of its own: what it began to read would
/// be read on when it is root again.
#[must_use]
pub fn trusted(settings: &Settings) -> [u32; 3] {
    let own = process::sole_user().unwrap_or(0);
    [0, own, settings.daemon.uid.unwrap_or(0)]
}

/// Whether what belongs to `owner` belongs to one of the `trusted` users. In a user
/// namespace many owners have the same number, that of nobody they are.
#[must_use]
pub fn is_trusted(owner: u32, trusted: &[u32]) -> bool {
    trusted.contains(&owner) && (owner == 0 || owner != process::overflow_user())
}

/// What is told counts as far as this process's own configuration has it.
#[must_use]
#[inline]
pub fn judged(settings: &Settings, a: Ipv6Addr, told: Mapping) -> Mapping {
    let state = match (told.state, judge_address(settings, a, told.u)) {
        (State::Pinned, Some(Verdict::Refused(_))) => State::Untrusted,
        (State::Pinned, Some(Verdict::Direct)) => State::Direct,
        (state, _) => state,
    };
    Mapping { state, ..told }
}

/// What the daemon has said at `now`, as it counts for this process: judged by its own
/// configuration, and for no longer than that lets anything hold.
#[must_use]
pub fn told(settings: &Settings, a: Ipv6Addr, answer: &Answer, now: Duration) -> Mapping {
    let told = judged(settings, a, mapping(answer, now));
    let times = own_times(settings, a);
    let longest = match told.state {
        State::Pinned => times.ttl,
        State::Direct => times.direct,
        State::Unanswered | State::Untrusted => times.unanswered_max,
    };
    Mapping {
        expiry: told.expiry.min(now.saturating_add(longest)),
        ..told
    }
}

fn own_times(settings: &Settings, a: Ipv6Addr) -> Times {
    let rule = settings.rules.matching(a);
    rule.map_or(settings.times, |rule| rule.times.over(&settings.times))
}

/// Whether what stands in the table is older than this process's own `ttl`: the daemon's
/// may be longer.
#[must_use]
#[inline]
pub fn is_too_old(settings: &Settings, a: Ipv6Addr, hit: &Hit, now: Duration) -> bool {
    // What is fresh is no older than its time.
    let is_shorter = settings.times.ttl < hit.ttl() || !settings.rules.is_empty();
    is_shorter && is_past_own_time(settings, a, hit, now)
}

#[cold]
fn is_past_own_time(settings: &Settings, a: Ipv6Addr, hit: &Hit, now: Duration) -> bool {
    let left = hit.mapping.expiry.saturating_sub(now);
    let age = hit.ttl().saturating_sub(left);
    !hit.ttl().is_zero() && age >= own_times(settings, a).ttl
}

/// What the daemon has said at `now`, by `CLOCK_BOOTTIME`.
#[must_use]
pub fn mapping(answer: &Answer, now: Duration) -> Mapping {
    Mapping {
        state: answer.state,
        u: answer.u,
        method: answer.method,
        expiry: now + Duration::from_millis(answer.ttl.into()),
        rtt: Duration::from_micros(answer.rtt.into()),
        failures: answer.failures,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aarp_core::config::{TOKENS, end_token, read_document};
    use aarp_core::settings::Layer;
    use aarp_core::table::{Identity, Namespace, TableWriter, size_of_slots, slots_for};
    use aarp_wire::probe::Method;
    use core::sync::atomic::AtomicU64;

    const SECOND: Duration = Duration::from_secs(1);

    fn with(text: &str) -> Settings {
        let mut settings = Settings::DEFAULT;
        let tokens = &mut [end_token(); TOKENS];
        read_document(&mut settings, Layer::System, text, tokens).unwrap();
        settings
    }

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    #[test]
    fn a_users_own_daemon_is_looked_for_after_the_systems() {
        let places = |runtime: &str, configured: &str, name: &str| {
            let mut settings = Settings::DEFAULT;
            settings.daemon.runtime = Text::from(runtime);
            let mut places = Vec::new();
            at(&settings, configured, name, |path| {
                places.push(path.to_owned());
                None::<()>
            });
            places
        };
        let of_system = "/run/aarp/aarpd.sock";
        let own = "/run/user/1000/aarp/aarpd.sock";
        assert_eq!(places("/run/user/1000", "", SOCKET), [of_system, own]);
        assert_eq!(places("/run/user/1000", "/c/s", SOCKET), ["/c/s"]);
        assert_eq!(places("", "", SOCKET), [of_system]);
        // As long as a folder may be.
        let long = "/".repeat(240);
        for name in [TABLE, SOCKET] {
            assert_eq!(places(&long, "", name)[1], format!("{long}/aarp{name}"));
        }
    }

    /// What the daemon lets hold for 60 s, a program may want to be newer.
    #[test]
    fn what_the_table_holds_is_no_older_than_ones_own_time() {
        let (a, learned) = (ip("2001:db8:a::53"), 1000 * SECOND);
        let hit = |due: u32| Hit {
            mapping: Mapping {
                state: State::Pinned,
                u: ip("2001:db8:51::2"),
                method: Method::Echo,
                expiry: learned + 60 * SECOND,
                rtt: SECOND,
                failures: 0,
            },
            is_due: false,
            due,
        };
        let rule = "[[prefix]]\nprefix = \"2001:db8:a::/48\"\nttl = \"10s\"\n";
        for (text, due, ages) in [
            ("", 12_000, [false, false, false]),
            ("[times]\nttl = \"2h\"\n", 12_000, [false, false, false]),
            ("[times]\nttl = \"10s\"\n", 12_000, [false, true, true]),
            (rule, 12_000, [false, true, true]),
            ("[times]\nttl = \"40s\"\n", 12_000, [false, false, true]),
            // Of an unanswered question it is not known when it was asked.
            ("[times]\nttl = \"10s\"\n", 0, [false, false, false]),
        ] {
            let settings = with(text);
            let is_old = |age| is_too_old(&settings, a, &hit(due), learned + age);
            let found = [9 * SECOND, 10 * SECOND, 59 * SECOND].map(is_old);
            assert_eq!(found, ages, "{text:?} {due}");
        }
    }

    /// Nor while the daemon asks again, because somebody has said that it is used.
    #[test]
    fn what_is_being_asked_again_is_no_older_than_ones_own_time() {
        let (a, learned) = (ip("2001:db8:a::53"), 1000 * SECOND);
        let slots = slots_for(1).unwrap();
        let memory: Vec<_> = (0..size_of_slots(slots) / 8)
            .map(|_| AtomicU64::new(0))
            .collect();
        let identity = Identity {
            capacity: 1,
            key: [1, 2],
            namespace: Namespace {
                device: 4,
                inode: 5,
            },
            boot: [6, 7],
            pid: 8,
            started: 9,
        };
        let mut writer = TableWriter::format(&memory, &identity, learned).unwrap();
        let mapping = Mapping {
            state: State::Pinned,
            u: ip("2001:db8:51::2"),
            method: Method::Echo,
            expiry: learned + 60 * SECOND,
            rtt: SECOND,
            failures: 0,
        };
        writer.store(a, &mapping, 12 * SECOND, learned);
        let used = learned + 50 * SECOND;
        assert!(writer.note_use(a, used).is_some());
        let hit = writer.view().lookup(a, used).unwrap();
        let is_old = |text: &str| is_too_old(&with(text), a, &hit, used);
        assert!(!is_old("") && !is_old("[times]\nttl = \"51s\"\n"));
        assert!(is_old("[times]\nttl = \"50s\"\n") && is_old("[times]\nttl = \"10s\"\n"));
    }

    #[test]
    fn what_the_daemon_tells_holds_no_longer_than_ones_own_time() {
        let (a, u, now) = (ip("2001:db8:a::53"), ip("2001:db8:51::2"), 1000 * SECOND);
        let lasts = |text: &str, state, u, ttl| {
            let answer = Answer {
                a,
                u,
                state,
                method: Method::Echo,
                failures: 0,
                ttl,
                rtt: 1,
            };
            told(&with(text), a, &answer, now).expiry - now
        };
        let short = "[times]\nttl = \"10s\"\ndirect = \"20s\"\nunanswered_max = \"30s\"\n";
        let hour = 3_600_000;
        assert_eq!(lasts(short, State::Pinned, u, hour), 10 * SECOND);
        assert_eq!(lasts(short, State::Pinned, u, 5000), 5 * SECOND);
        assert_eq!(lasts(short, State::Direct, a, hour), 20 * SECOND);
        assert_eq!(lasts(short, State::Unanswered, a, hour), 30 * SECOND);
        assert_eq!(lasts("", State::Pinned, u, 30_000), 30 * SECOND);
        let rule = "[[prefix]]\nprefix = \"2001:db8:a::/48\"\nttl = \"7s\"\n";
        assert_eq!(lasts(rule, State::Pinned, u, hour), 7 * SECOND);
    }
}
