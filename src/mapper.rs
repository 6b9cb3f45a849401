//! aarpd, where there is one: the mapping table that it keeps for all processes, read
//! without a system call, and its socket, where it is asked about what is not there.
//!
//! Neither is looked for before the first question. A daemon that is not there, not
//! trusted, busy, or says what means nothing costs the program nothing but that: it asks
//! the network itself.

use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicU64, Ordering};
use core::time::Duration;

use aarp_core::mapping::Mapping;
use aarp_core::policy::{Patience, Plan};
use aarp_core::refutation::{Cause, Claim};
use aarp_core::settings::{DaemonUse, Settings};
use aarp_core::state::ProcessState;
use aarp_sys::ask::ADDRESSES;
use aarp_sys::clock::boottime;
use aarp_sys::daemon::{SOCKET, TABLE, at, judged, mapping, trusted};
use aarp_sys::interrupt::Interruptible;
use aarp_sys::mapper::{self, Daemon, DaemonError, Reply, Waiting};
use aarp_sys::process;
use aarp_sys::table::{AttachError, Attachment};
use aarp_wire::mapper::{Asked, Failure, Message};

use crate::{filter, flight, report};

/// What is not there is looked for again after so long, when somebody asks.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// A daemon that has given no sign of life for so long, and does not answer, is stuck. It
/// gives one every five seconds.
const SIGN_OF_LIFE: Duration = Duration::from_secs(12);
/// It is then not asked for so long.
const STUCK: Duration = Duration::from_secs(10);

static ATTACHED: Attachment = Attachment::none();

/// Not before: nanoseconds of CLOCK_BOOTTIME.
struct NotBefore(AtomicU64);

impl NotBefore {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    fn is_over(&self, now: Duration) -> bool {
        now.as_nanos() as u64 >= self.0.load(Ordering::Relaxed)
    }

    fn wait(&self, now: Duration, pause: Duration) {
        let until = (now + pause).as_nanos() as u64;
        self.0.store(until, Ordering::Relaxed);
    }
}

/// When the table is looked for again.
static LOOK: NotBefore = NotBefore::new();
/// When the daemon is spoken to again.
static SPEAK: NotBefore = NotBefore::new();

/// What the table says about `a`, if it is read already, and fresh.
#[inline]
pub(crate) fn known(
    settings: &Settings,
    state: &ProcessState,
    a: Ipv6Addr,
    now: Duration,
) -> Option<Mapping> {
    let hit = ATTACHED.table()?.lookup(a, now)?;
    if hit.is_due {
        used(settings, state, a, now);
    }
    Some(judged(settings, a, hit.mapping))
}

/// The same where it has to be found first. Whether it was, now.
#[cold]
pub(crate) fn find_table(settings: &Settings, state: &ProcessState, now: Duration) -> bool {
    if settings.daemon.usage == DaemonUse::Off || !LOOK.is_over(now) {
        return false;
    }
    let is_read = |table: aarp_core::table::TableView<'_>| !table.header().is_retired();
    if ATTACHED.table().is_some_and(is_read) {
        return false;
    }
    LOOK.wait(now, LOOK_AGAIN);
    flight::question(state, || attach(settings).is_ok()) == Some(true)
}

/// Reads the table that is found first. To be called as a question.
fn attach(settings: &Settings) -> Result<(), AttachError> {
    let trusted = trusted(settings);
    let mut last = AttachError::Absent;
    let found = at(settings.daemon.table.as_str(), TABLE, |path| {
        match ATTACHED.attach(path, &trusted) {
            Ok(()) => return Some(()),
            Err(AttachError::Absent) => {}
            Err(error) => {
                report::no_table(path, &error);
                last = error;
            }
        }
        None
    });
    found.ok_or(last)
}

/// Whether a daemon that has answered serves this network namespace: its socket may be
/// seen from others, its table tells. One whose table is not there is believed. To be
/// called as a question.
fn is_ours(settings: &Settings, now: Duration) -> bool {
    let is_read = |table: aarp_core::table::TableView<'_>| !table.header().is_retired();
    if ATTACHED.table().is_some_and(is_read) {
        return true;
    }
    let is_ours = !matches!(attach(settings), Err(AttachError::Namespace));
    if !is_ours {
        SPEAK.wait(now, STUCK);
    }
    is_ours
}

/// What came of asking the daemon.
pub(crate) enum Told {
    /// It knows.
    Mapping(Mapping),
    /// It is asking still: who comes later finds the answer.
    NotYet,
    /// A signal came that interrupts the program's call.
    Interrupted,
    /// No system call may be made any more.
    Halted,
    /// There is none who would say: one has to ask oneself.
    Nobody,
}

/// Whether the daemon may be spoken to.
fn is_spoken_to(settings: &Settings, now: Duration) -> bool {
    settings.daemon.usage != DaemonUse::Off && SPEAK.is_over(now)
}

/// Asks the daemon who answers for `a`; `anew` if what it knows does not serve. To be
/// called as a question.
pub(crate) fn ask(
    settings: &Settings,
    a: Ipv6Addr,
    (plan, patience): (&Plan, Patience),
    (budget, anew): (Duration, bool),
    interruptible: Interruptible,
) -> Told {
    let now = boottime();
    if !is_spoken_to(settings, now) {
        return Told::Nobody;
    }
    let question = [question(a, patience, budget, anew)];
    let mut replies = [Reply::None];
    let until = now + budget;
    let asked = speak(settings, now, |daemon| {
        mapper::resolve(
            daemon,
            &question,
            &mut replies,
            until,
            Waiting::ForAll,
            interruptible,
        )
    });
    let ended = boottime();
    match (asked, replies[0]) {
        (_, Reply::Answer(_)) if !is_ours(settings, ended) => Told::Nobody,
        (_, Reply::Answer(answer)) => Told::Mapping(judged(settings, a, mapping(&answer, ended))),
        (Err(DaemonError::Interrupted), _) => Told::Interrupted,
        (Err(DaemonError::Halted), _) => Told::Halted,
        (Ok(()), Reply::None) => {
            // Who waits for as long as anybody hears of silence before.
            if budget >= plan.budget && is_stuck(ended) {
                SPEAK.wait(ended, STUCK);
            }
            Told::NotYet
        }
        _ => Told::Nobody,
    }
}

fn question(a: Ipv6Addr, patience: Patience, budget: Duration, anew: bool) -> Asked {
    let mut flags = 0;
    if patience == Patience::NonBlocking {
        flags |= Asked::NONBLOCKING;
    }
    if anew {
        flags |= Asked::ANEW;
    }
    Asked {
        a,
        budget: u32::try_from(budget.as_millis()).unwrap_or(u32::MAX),
        flags,
    }
}

/// Whether the daemon gives no sign of life in the table.
fn is_stuck(now: Duration) -> bool {
    ATTACHED
        .table()
        .is_none_or(|table| now.saturating_sub(table.header().heartbeat()) > SIGN_OF_LIFE)
}

/// Speaks to the daemon that is configured, or to that of the system, or to the user's
/// own; one that cannot be reached is left alone for a while.
fn speak(
    settings: &Settings,
    now: Duration,
    mut talk: impl FnMut(&Daemon<'_>) -> Result<(), DaemonError>,
) -> Result<(), DaemonError> {
    let trusted = trusted(settings);
    let mut last = DaemonError::Busy;
    let spoken = at(settings.daemon.socket.as_str(), SOCKET, |path| {
        let daemon = Daemon {
            path,
            trusted: &trusted,
        };
        match talk(&daemon) {
            Ok(()) => Some(Ok(())),
            Err(error @ (DaemonError::Absent(_) | DaemonError::NotTrusted(_))) => {
                last = error;
                None
            }
            Err(error) => Some(Err(error)),
        }
    });
    spoken.unwrap_or_else(|| {
        report::no_daemon(&last);
        SPEAK.wait(now, LOOK_AGAIN);
        Err(last)
    })
}

/// Asks about several addresses at once. What is not answered stays [`None`]; whether
/// anybody was asked. To be called as a question.
pub(crate) fn ask_several(
    settings: &Settings,
    addresses: &[Ipv6Addr],
    told: &mut [Option<Mapping>],
    budget: Duration,
    all: bool,
) -> bool {
    let now = boottime();
    if !is_spoken_to(settings, now) {
        return false;
    }
    let count = addresses.len().min(ADDRESSES);
    let mut questions =
        [question(Ipv6Addr::UNSPECIFIED, Patience::Blocking, budget, false); ADDRESSES];
    for (question, a) in questions.iter_mut().zip(addresses) {
        question.a = *a;
    }
    let mut replies = [Reply::None; ADDRESSES];
    let waiting = if all {
        Waiting::ForAll
    } else {
        Waiting::ForMost
    };
    let asked = speak(settings, now, |daemon| {
        let (questions, replies) = (&questions[..count], &mut replies[..count]);
        let until = now + budget;
        mapper::resolve(
            daemon,
            questions,
            replies,
            until,
            waiting,
            Interruptible::Never,
        )
    });
    let ended = boottime();
    if asked.is_ok() && !is_ours(settings, ended) {
        return false;
    }
    for ((to, reply), a) in told.iter_mut().zip(replies).zip(addresses) {
        if let Reply::Answer(answer) = reply {
            *to = Some(judged(settings, *a, mapping(&answer, ended)));
        }
    }
    // Whom it refuses to ask about has to be asked about by oneself.
    asked.is_ok()
        && !replies
            .iter()
            .any(|reply| matches!(reply, Reply::Refused(_)))
}

/// Whether what the daemon says stands in a table that this process reads: then it is not
/// remembered beside.
pub(crate) fn is_read() -> bool {
    ATTACHED.table().is_some()
}

/// A mapping that will soon end is in use.
#[cold]
fn used(settings: &Settings, state: &ProcessState, a: Ipv6Addr, now: Duration) {
    tell(settings, state, &Message::Used(a), now);
}

/// A U has failed for this program.
pub(crate) fn failed(settings: &Settings, state: &ProcessState, claim: &Claim, cause: Cause) {
    // Without a table it was most likely not the daemon who knew of it.
    if !is_read() {
        return;
    }
    let failure = Failure {
        a: claim.a,
        u: claim.u,
        port: claim.port,
        protocol: claim.protocol,
        errno: match cause {
            Cause::Refused => libc::ECONNREFUSED,
            Cause::Silent | Cause::Dead => libc::ETIMEDOUT,
            Cause::Unreachable => libc::EHOSTUNREACH,
            Cause::Prohibited => libc::EACCES,
            Cause::Unknown => 0,
        }
        .unsigned_abs(),
    };
    tell(settings, state, &Message::Failed(failure), boottime());
}

fn tell(settings: &Settings, state: &ProcessState, message: &Message<'_>, now: Duration) {
    if filter::is_barred() || !is_spoken_to(settings, now) || !process::has_stack_for_a_question() {
        return;
    }
    // Nobody waits for it, and nothing comes of it here.
    let _ = flight::question(state, || {
        speak(settings, now, |daemon| mapper::tell(daemon, message))
    });
}
