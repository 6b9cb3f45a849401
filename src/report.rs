//! Counters, and lines for those who ask for them.

use core::fmt;
use core::fmt::Write as _;
use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aarp_core::bypass::Bypass;
use aarp_core::mapping::{Answer, Mapping};
use aarp_core::probing::Ignored;
use aarp_core::refutation::{Cause, Claim};
use aarp_core::settings::LogLevel;
use aarp_core::state::ProcessState;
use aarp_core::text::Text;
use aarp_sys::ask::{AskError, Report};
use aarp_sys::mapper::DaemonError;
use aarp_sys::settings::SettingsError;
use aarp_sys::syscall::Errno;
use aarp_sys::table::AttachError;
use aarp_sys::user::SocketAddress;
use aarp_sys::{environment, errno, process};

use crate::resolve::Target;
use crate::{ops, settings, state};

static PINNED_FROM_MEMORY: AtomicU64 = AtomicU64::new(0);
static MISSES: AtomicU64 = AtomicU64::new(0);
static PINNED_BY_ASKING: AtomicU64 = AtomicU64::new(0);
static GIVEN: AtomicU64 = AtomicU64::new(0);
static REWRITTEN: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);
static REFUTED: AtomicU64 = AtomicU64::new(0);
static PROBES: AtomicU64 = AtomicU64::new(0);
/// By aarpd, in the place of probes.
static TOLD: AtomicU64 = AtomicU64::new(0);
static BYPASSES: [AtomicU64; Bypass::ALL.len()] = [const { AtomicU64::new(0) }; Bypass::ALL.len()];
static IGNORED: [AtomicU64; Ignored::ALL.len()] = [const { AtomicU64::new(0) }; Ignored::ALL.len()];

fn count(counter: &AtomicU64) {
    begin_to_count();
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A forked child finds what its parent has counted, and that is not its own.
#[inline]
fn begin_to_count() {
    if state::known().is_some_and(ProcessState::begins_to_count) {
        forget();
    }
}

#[cold]
fn forget() {
    let single = [
        &PINNED_FROM_MEMORY,
        &PINNED_BY_ASKING,
        &MISSES,
        &GIVEN,
        &REWRITTEN,
        &REFUSED,
        &REFUTED,
        &PROBES,
        &TOLD,
    ];
    for counter in single.into_iter().chain(&BYPASSES).chain(&IGNORED) {
        counter.store(0, Ordering::Relaxed);
    }
}

/// The network had to be asked.
pub(crate) fn miss() {
    count(&MISSES);
}

/// A communication went to A, and nothing may be said about it.
pub(crate) fn count_bypass(reason: Bypass) {
    count(&BYPASSES[reason as usize]);
}

/// A communication went to A.
#[inline]
pub(crate) fn bypass(call: &str, fd: i32, to: &SocketAddress, reason: Bypass) {
    let a = Ipv6Addr::from(to.raw.sin6_addr.s6_addr);
    bypass_of(call, fd, a, u16::from_be(to.raw.sin6_port), reason);
}

/// The same, by address and port.
#[inline]
pub(crate) fn bypass_of(call: &str, fd: i32, a: Ipv6Addr, port: u16, reason: Bypass) {
    if reason == Bypass::Given {
        return rewritten(call, fd, a, port);
    }
    count_bypass(reason);
    if is_logged(LogLevel::Debug) {
        log(format_args!(
            "{call} {fd} [{a}]:{port}: bypass, {}",
            reason.name()
        ));
    }
}

/// A communication goes to a U that getaddrinfo has given to the program.
#[cold]
fn rewritten(call: &str, fd: i32, u: Ipv6Addr, port: u16) {
    count(&REWRITTEN);
    if is_logged(LogLevel::Debug) {
        log(format_args!(
            "{call} {fd} [{u}]:{port}: rewritten by getaddrinfo"
        ));
    }
}

/// A communication was refused, as it is configured.
#[cold]
pub(crate) fn refused(call: &str, fd: i32, to: &SocketAddress, reason: Bypass) {
    count(&REFUSED);
    if is_logged(LogLevel::Debug) {
        let a = Ipv6Addr::from(to.raw.sin6_addr.s6_addr);
        let port = u16::from_be(to.raw.sin6_port);
        log(format_args!(
            "{call} {fd} [{a}]:{port}: refused, {}",
            reason.name()
        ));
    }
}

/// A communication went to U.
#[inline]
pub(crate) fn pinned(call: &str, fd: i32, to: &SocketAddress, target: &Target) {
    count(if target.remembered {
        &PINNED_FROM_MEMORY
    } else {
        &PINNED_BY_ASKING
    });
    if is_logged(LogLevel::Debug) {
        let (a, port) = (
            Ipv6Addr::from(to.raw.sin6_addr.s6_addr),
            u16::from_be(to.raw.sin6_port),
        );
        log(format_args!(
            "{call} {fd} [{a}]:{port}: pinned to {}",
            target.u
        ));
    }
}

/// What aarpd has said about A.
#[cold]
pub(crate) fn told(a: Ipv6Addr, mapping: &Mapping) {
    count(&TOLD);
    if is_logged(LogLevel::Info) {
        log(format_args!(
            "{a}: {}, {} says aarpd",
            mapping.state.name(),
            mapping.u
        ));
    }
}

/// aarpd cannot be asked, and the network is.
#[cold]
pub(crate) fn no_daemon(path: &str, error: &DaemonError) {
    let is_ours = matches!(error, DaemonError::Interrupted | DaemonError::Halted);
    if !is_ours && is_logged(LogLevel::Debug) {
        log(format_args!("{path}: {error}"));
    }
}

/// A mapping table is not read.
#[cold]
pub(crate) fn no_table(path: &str, error: &AttachError) {
    if is_logged(LogLevel::Warn) {
        log(format_args!("{path}: {error}"));
    }
}

/// U was put before an address that was found for a name.
#[cold]
pub(crate) fn given(a: Ipv6Addr, u: Ipv6Addr) {
    count(&GIVEN);
    if is_logged(LogLevel::Debug) {
        log(format_args!("getaddrinfo: {u} given before {a}"));
    }
}

/// A U that was silent on a socket is alive.
#[cold]
pub(crate) fn excused(fd: i32, to: &SocketAddress, u: Ipv6Addr) {
    if is_logged(LogLevel::Info) {
        let a = Ipv6Addr::from(to.raw.sin6_addr.s6_addr);
        let port = u16::from_be(to.raw.sin6_port);
        log(format_args!(
            "send {fd} [{a}]:{port}: {u} is silent, and alive: kept"
        ));
    }
}

/// Counts what was sent and what came, and warns of who answers and should not.
fn count_probes(a: Ipv6Addr, told: &Report) {
    PROBES.fetch_add(u64::from(told.sent), Ordering::Relaxed);
    for (counter, ignored) in IGNORED.iter().zip(told.ignored) {
        counter.fetch_add(u64::from(ignored), Ordering::Relaxed);
    }
    if let Some((source, refusal)) = told.refused
        && is_logged(LogLevel::Warn)
    {
        log(format_args!(
            "{a}: an answer from {source} was refused: {refusal}"
        ));
    }
}

/// An address was asked beside others, and no longer waited for when one of those had
/// answered.
#[cold]
pub(crate) fn given_up(a: Ipv6Addr, told: &Report) {
    count_probes(a, told);
    if is_logged(LogLevel::Info) {
        log(format_args!(
            "{a}: no answer yet, and not waited for: another address has answered"
        ));
    }
}

/// The network was asked.
#[cold]
pub(crate) fn asked(a: Ipv6Addr, told: &Report) {
    count_probes(a, told);
    if !is_logged(LogLevel::Info) {
        return;
    }
    let (method, socket, sent) = (told.method.name(), told.socket.name(), told.sent);
    match told.answer {
        Answer::Pinned { u, rtt } => {
            log(format_args!(
                "{a}: pinned, {u} answered in {} us ({method}, {socket})",
                rtt.as_micros()
            ));
        }
        Answer::Direct { rtt } => {
            log(format_args!(
                "{a}: direct, it answered itself in {} us",
                rtt.as_micros()
            ));
        }
        Answer::Untrusted { u } => log(format_args!("{a}: untrusted, {u} answered")),
        Answer::None { .. } if told.unreachable => log(format_args!("{a}: unreachable")),
        Answer::None { waited } => {
            log(format_args!(
                "{a}: unanswered, {sent} probes in {} ms",
                waited.as_millis()
            ));
        }
    }
}

/// The network could not be asked.
#[cold]
pub(crate) fn not_asked(a: Ipv6Addr, error: &AskError) {
    if is_logged(LogLevel::Info) {
        log(format_args!("{a}: not asked: {error}"));
    }
}

/// A U has failed.
#[cold]
pub(crate) fn refuted(claim: &Claim, cause: Cause) {
    count(&REFUTED);
    if !is_logged(LogLevel::Info) {
        return;
    }
    let Claim { a, u, port, .. } = claim;
    match cause {
        Cause::Refused => log(format_args!("{a}: refuted, {u} refuses port {port}")),
        Cause::Silent => log(format_args!("{a}: refuted, {u} is silent on port {port}")),
        Cause::Dead => log(format_args!(
            "{a}: refuted, {u} answers neither on port {port} nor to a probe"
        )),
        Cause::Unreachable => log(format_args!("{a}: refuted, {u} is unreachable")),
        Cause::Prohibited => log(format_args!("{a}: refuted, the way to {u} is prohibited")),
        Cause::Unknown => log(format_args!(
            "{a}: refuted, a connection to {u} port {port} has failed"
        )),
    }
}

/// A signal interrupted the asking.
#[cold]
pub(crate) fn interrupted() {
    if is_logged(LogLevel::Debug) {
        log(format_args!("interrupted by a signal"));
    }
}

/// The configuration cannot be used: everything is bypassed. Said only to those
/// who have asked for a log in the environment, which has been read before.
#[cold]
pub(crate) fn bad_configuration(error: &SettingsError) {
    if LOG_IS_ASKED_FOR.load(Ordering::Relaxed) {
        process::write(2, aarp_sys::settings::line(error).as_str().as_bytes());
    }
}

#[inline]
fn is_logged(level: LogLevel) -> bool {
    settings::known().is_some_and(|settings| settings.log_level >= level) && !ops::is_barred()
}

/// Writes one line to where the configuration says. `errno` is left alone.
#[cold]
fn log(text: fmt::Arguments<'_>) {
    let mut line = Text::<512>::new();
    // A Text takes whatever fits, and never fails.
    let _ = writeln!(line, "aarp[{}]: {text}", process::id());
    write(&line);
}

fn write(line: &Text<512>) {
    let errno = errno::get();
    let file = settings::known().map(|settings| &settings.log_file);
    match file.filter(|file| !file.as_str().is_empty()) {
        None => process::write(2, line.as_str().as_bytes()),
        Some(file) => {
            if let Err(error) = aarp_sys::file::append(file.as_str(), line.as_str().as_bytes()) {
                lost(file.as_str(), error);
            }
        }
    }
    errno::set(errno);
}

/// Whether who started the program has asked for a log in the environment.
static LOG_IS_ASKED_FOR: AtomicBool = AtomicBool::new(false);

/// The configuration is about to be read, and with it the environment: never again, since
/// a thread of the program may be changing it.
pub(crate) fn read_environment() {
    let asked = |level: Result<&str, ()>| level.is_ok_and(|level| level != "off");
    let is_asked_for = environment::variable("AARP_LOG", asked).unwrap_or(false);
    LOG_IS_ASKED_FOR.store(is_asked_for, Ordering::Relaxed);
}

/// The log file cannot be opened. That is said once, and only to those who have asked
/// for a log in the environment: a file of the system's that this user may not write
/// to must not make every program of theirs speak.
#[cold]
fn lost(file: &str, error: Errno) {
    static TOLD: AtomicBool = AtomicBool::new(false);
    if !LOG_IS_ASKED_FOR.load(Ordering::Relaxed) || TOLD.swap(true, Ordering::Relaxed) {
        return;
    }
    let mut line = Text::<640>::new();
    // A Text takes whatever fits, and never fails.
    let _ = writeln!(
        line,
        "aarp[{}]: the log is lost: {file} cannot be opened: {error}",
        process::id()
    );
    process::write(2, line.as_str().as_bytes());
}

/// One line of counters at exit, for those who have set `stats`.
pub(crate) fn at_exit() {
    if ops::is_barred() {
        return;
    }
    let wanted = match settings::known() {
        Some(settings) => settings.stats,
        None => environment::variable("AARP_STATS", |value| matches!(value, Ok("1" | "true")))
            .unwrap_or(false),
    };
    if !wanted {
        return;
    }
    begin_to_count();
    let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    // Most programs that a shell starts never connect to anything.
    let others = [
        &PINNED_FROM_MEMORY,
        &PINNED_BY_ASKING,
        &MISSES,
        &GIVEN,
        &REWRITTEN,
        &REFUSED,
    ];
    if others
        .into_iter()
        .chain(&BYPASSES)
        .all(|counter| of(counter) == 0)
    {
        return;
    }
    let hits = of(&PINNED_FROM_MEMORY);
    let pinned = hits + of(&PINNED_BY_ASKING);
    let bypassed: u64 = BYPASSES.iter().map(of).sum();
    let mut line = Text::<512>::new();
    let mut say = |text: fmt::Arguments<'_>| {
        // A Text takes whatever fits, and never fails.
        let _ = line.write_fmt(text);
    };
    say(format_args!(
        "aarp[{}]: pinned={pinned} calls={}",
        process::id(),
        pinned + of(&REFUSED) + bypassed
    ));
    say(format_args!(" hits={hits} misses={}", of(&MISSES)));
    say(format_args!(
        " probes={} refuted={}",
        of(&PROBES),
        of(&REFUTED)
    ));
    for (name, counter) in [
        ("told", &TOLD),
        ("given", &GIVEN),
        ("rewritten", &REWRITTEN),
        ("refused", &REFUSED),
    ] {
        if of(counter) > 0 {
            say(format_args!(" {name}={}", of(counter)));
        }
    }
    for reason in Bypass::ALL {
        let number = of(&BYPASSES[reason as usize]);
        if number > 0 {
            say(format_args!(" bypass.{}={number}", reason.name()));
        }
    }
    for reason in Ignored::ALL {
        let number = of(&IGNORED[reason as usize]);
        if number > 0 {
            say(format_args!(" ignored.{}={number}", reason.name()));
        }
    }
    say(format_args!("\n"));
    write(&line);
}
