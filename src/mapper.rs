//! aarpd, where there is one: the mapping table that it keeps for all processes, read
//! without a system call, and its socket, where it is asked about what is not there.
//!
//! Neither is looked for before the first question. A daemon that is not there, not
//! trusted, busy, or says what means nothing costs the program nothing but that: it asks
//! the network itself.

use core::net::Ipv6Addr;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use core::time::Duration;

use aarp_core::mapping::Mapping;
use aarp_core::policy::Patience;
use aarp_core::refutation::{Cause, Claim};
use aarp_core::settings::{DaemonUse, Settings};
use aarp_core::state::ProcessState;
use aarp_core::table::TableView;
use aarp_sys::ask::ADDRESSES;
use aarp_sys::clock::boottime;
use aarp_sys::daemon::{SOCKET, TABLE, at, is_too_old, judged, told, trusted};
use aarp_sys::interrupt::{AllHeld, Interruptible};
use aarp_sys::mapper::{self, Daemon, DaemonError, Reply, Waiting};
use aarp_sys::process;
use aarp_sys::table::{AttachError, Attachment};
use aarp_wire::mapper::{Asked, Failure, Message};

use crate::{filter, flight, report};

pub(crate) mod passed;

/// What is not there is looked for again after so long, when somebody asks.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// A daemon gives a sign of life in its table every five seconds. One that has given none
/// for so long may be stuck, …
const LATE: Duration = Duration::from_secs(7);
/// … and of one that has given none for so long nothing is expected.
const SIGN_OF_LIFE: Duration = Duration::from_secs(12);
/// One that has not answered, or says what means nothing, is not asked for so long.
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

/// Places, by their number (see [`at`]), where the table is one of another network
/// namespace: then so is the daemon, whose socket may be seen from everywhere.
static FOREIGN: AtomicU8 = AtomicU8::new(0);

/// What the table that is read tells of its daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    /// None is read, or it was retired.
    Unknown,
    /// It goes on.
    Going,
    /// It may be stuck.
    Late,
    /// It is stuck, or dead.
    Silent,
}

impl Life {
    /// Whether a table is read that somebody writes, as far as one knows.
    fn is_any(self) -> bool {
        matches!(self, Self::Going | Self::Late)
    }
}

fn life(now: Duration) -> Life {
    let is_read = |table: &TableView<'_>| !table.header().is_retired();
    let Some(table) = ATTACHED.table().filter(is_read) else {
        return Life::Unknown;
    };
    match now.saturating_sub(table.header().heartbeat()) {
        since if since > SIGN_OF_LIFE => Life::Silent,
        since if since > LATE => Life::Late,
        _ => Life::Going,
    }
}

/// Whether a table is read.
#[inline]
pub(crate) fn is_read() -> bool {
    ATTACHED.is_any()
}

/// What the table says about `a`, if it is read already, and fresh.
pub(crate) fn known(
    settings: &Settings,
    state: &ProcessState,
    a: Ipv6Addr,
    now: Duration,
) -> Option<Mapping> {
    let hit = ATTACHED.table()?.lookup(a, now)?;
    if !state.is_in_network() && !is_still_of_this_network(state) {
        return None;
    }
    if is_too_old(settings, a, &hit, now) {
        return None;
    }
    if hit.is_due {
        used(settings, state, a, &hit.mapping, now);
    }
    Some(judged(settings, a, hit.mapping))
}

/// Whether the table that its parent has read is good for a child, which may have been
/// made in another network by a call that no hook sees: otherwise it reads none.
#[cold]
fn is_still_of_this_network(state: &ProcessState) -> bool {
    // Where nobody may be asked, a table that was good stays so.
    let is_of_it = flight::question(state, || ATTACHED.is_of_this_network());
    match is_of_it {
        Some(false) => {
            ATTACHED.detach();
            return false;
        }
        Some(true) => state.set_in_network(),
        None => {}
    }
    true
}

/// Whether what the table has about `a` is fresh by the daemon's times, and not by those
/// of this process.
fn is_held_for_too_long(settings: &Settings, a: Ipv6Addr, now: Duration) -> bool {
    let hit = ATTACHED.table().and_then(|table| table.lookup(a, now));
    hit.is_some_and(|hit| is_too_old(settings, a, &hit, now))
}

/// Whether what the daemon has said about `a` stands in a table that this process reads,
/// and that somebody writes: then it is not remembered beside.
pub(crate) fn is_kept(a: Ipv6Addr, now: Duration) -> bool {
    let found = || ATTACHED.table().and_then(|table| table.lookup(a, now));
    life(now).is_any() && found().is_some()
}

/// The same where it has to be found first. Whether it was, now. A table whose daemon is
/// silent may have been replaced without a word to those who read it.
#[cold]
pub(crate) fn find_table(settings: &Settings, state: &ProcessState, now: Duration) -> bool {
    if settings.daemon.usage == DaemonUse::Off || !LOOK.is_over(now) || life(now).is_any() {
        return false;
    }
    let found = flight::question(state, || {
        if !process::has_stack_for_a_question() {
            return false;
        }
        LOOK.wait(now, LOOK_AGAIN);
        attach(settings).is_ok()
    });
    if found == Some(true) {
        state.set_in_network();
    }
    found == Some(true)
}

/// Reads the table that is found first, of those whose daemon lives; where none does, of
/// the others. To be called as a question.
fn attach(settings: &Settings) -> Result<(), AttachError> {
    let _signals = AllHeld::hold().map_err(AttachError::Open)?;
    let trusted = trusted(settings);
    match attach_within(settings, &trusted, SIGN_OF_LIFE) {
        Err(AttachError::Silent(_)) => attach_within(settings, &trusted, Duration::MAX),
        attached => attached,
    }
}

fn attach_within(
    settings: &Settings,
    trusted: &[u32],
    silence: Duration,
) -> Result<(), AttachError> {
    let mut last = AttachError::Absent;
    let mut foreign = 0;
    let mut place = 1;
    let found = at(settings, settings.daemon.table.as_str(), TABLE, |path| {
        match ATTACHED.attach_living(path, trusted, silence) {
            Ok(()) => return Some(()),
            Err(AttachError::Absent) => {}
            Err(error) => {
                report::no_table(path, &error);
                if error == AttachError::Namespace {
                    foreign |= place;
                }
                if !matches!(last, AttachError::Silent(_)) {
                    last = error;
                }
            }
        }
        place <<= 1;
        None
    });
    // Where only one of them is configured, nobody knows which belong together.
    let daemon = &settings.daemon;
    let is_paired = daemon.table.as_str().is_empty() == daemon.socket.as_str().is_empty();
    let foreign = if foreign != 0 && !is_paired {
        !0
    } else {
        foreign
    };
    FOREIGN.store(foreign, Ordering::Relaxed);
    found.ok_or(last)
}

/// Whether a daemon that has answered at this place serves this network namespace: its
/// table tells. One whose table is not there is believed. To be called as a question.
fn is_ours(settings: &Settings, now: Duration, place: u8) -> bool {
    if !life(now).is_any() {
        // Why it is not read, if it is not, has been said.
        let _ = attach(settings);
    }
    FOREIGN.load(Ordering::Relaxed) & place == 0
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
    /// Nor does who is there, who was waited for.
    Nothing,
}

/// Whether the daemon may be spoken to: not where its table says that nobody is there.
fn is_spoken_to(settings: &Settings, now: Duration) -> bool {
    settings.daemon.usage != DaemonUse::Off && SPEAK.is_over(now) && life(now) != Life::Silent
}

/// For how long an answer may be waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance {
    time: Duration,
    /// Whether that is the whole budget: not what this thread, or this socket, has left.
    is_whole: bool,
}

impl Allowance {
    pub(crate) fn new(time: Duration, budget: Duration) -> Self {
        let is_whole = time >= budget;
        Self { time, is_whole }
    }
}

/// How long the daemon is waited for. Where no table says that it goes on, only for so
/// long that there is time to ask the network itself.
fn share(settings: &Settings, budget: Duration, now: Duration) -> Duration {
    if is_all(settings, now) {
        budget
    } else {
        budget / 2
    }
}

/// Whether nobody is asked but the daemon, if it can be asked at all.
fn is_all(settings: &Settings, now: Duration) -> bool {
    settings.daemon.usage == DaemonUse::Require || life(now) == Life::Going
}

/// Asks the daemon who answers for `a`; `anew` if what it knows does not serve. To be
/// called as a question.
pub(crate) fn ask(
    settings: &Settings,
    a: Ipv6Addr,
    patience: Patience,
    (allowance, anew): (Allowance, bool),
    interruptible: Interruptible,
) -> Told {
    let now = boottime();
    if !is_spoken_to(settings, now) {
        return Told::Nobody;
    }
    let budget = share(settings, allowance.time, now);
    let anew = anew || is_held_for_too_long(settings, a, now);
    let question = [question(a, patience, budget, anew)];
    let mut replies = [Reply::None];
    let until = now + budget;
    let (asked, place) = speak(settings, now, |daemon| {
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
        (_, Reply::Answer(answer)) if is_ours(settings, ended, place) => {
            HAS_TOLD.store(true, Ordering::Relaxed);
            Told::Mapping(told(settings, a, &answer, ended))
        }
        (Err(DaemonError::Interrupted), _) => Told::Interrupted,
        (Err(DaemonError::Halted), _) => Told::Halted,
        (Ok(()), Reply::None) => {
            if was_in_vain(settings, allowance, ended) {
                Told::Nothing
            } else {
                Told::NotYet
            }
        }
        (Err(error), _) if error.is_at_once() => Told::Nobody,
        _ => Told::Nothing,
    }
}

/// The daemon was waited for, and has not answered. Whether the network has to be asked
/// now: where nothing says that the daemon goes on, which then is left alone by all, if it
/// had all the time that there is for a question.
fn was_in_vain(settings: &Settings, allowance: Allowance, now: Duration) -> bool {
    if life(now) != Life::Going && allowance.is_whole {
        SPEAK.wait(now, STUCK);
    }
    !is_all(settings, now)
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

/// Speaks to the daemon that is configured, or to that of the system, or to the user's
/// own, and at which of these places, as a bit; one that cannot be reached, or that says
/// what means nothing, is left alone for a while.
fn speak(
    settings: &Settings,
    now: Duration,
    mut talk: impl FnMut(&Daemon<'_>) -> Result<(), DaemonError>,
) -> (Result<(), DaemonError>, u8) {
    let trusted = trusted(settings);
    let mut last = DaemonError::Busy;
    let mut place = 1;
    let spoken = at(settings, settings.daemon.socket.as_str(), SOCKET, |path| {
        let daemon = Daemon {
            path,
            trusted: &trusted,
        };
        let is_foreign = FOREIGN.load(Ordering::Relaxed) & place != 0;
        let spoken = if is_foreign {
            Err(DaemonError::Foreign)
        } else {
            talk(&daemon)
        };
        let Err(error) = spoken else {
            return Some(Ok(()));
        };
        report::no_daemon(path, &error);
        last = error;
        match error {
            DaemonError::Absent(_) | DaemonError::NotTrusted(_) | DaemonError::Foreign => {
                place <<= 1;
                None
            }
            _ => Some(Err(error)),
        }
    });
    let spoken = spoken.unwrap_or(Err(last));
    match spoken {
        Ok(()) | Err(DaemonError::Interrupted | DaemonError::Halted | DaemonError::Late) => {}
        Err(DaemonError::Nonsense) => SPEAK.wait(now, STUCK),
        Err(_) => SPEAK.wait(now, LOOK_AGAIN),
    }
    (spoken, place)
}

/// Asks about several addresses at once. What is not answered stays [`None`]; whether
/// anybody was asked. To be called as a question.
pub(crate) fn ask_several(
    settings: &Settings,
    addresses: &[Ipv6Addr],
    told_of: &mut [Option<Mapping>],
    allowance: Allowance,
    all: bool,
) -> bool {
    let now = boottime();
    if !is_spoken_to(settings, now) {
        return false;
    }
    let count = addresses.len().min(ADDRESSES);
    let budget = share(settings, allowance.time, now);
    let mut questions =
        [question(Ipv6Addr::UNSPECIFIED, Patience::Blocking, budget, false); ADDRESSES];
    for (to, a) in questions.iter_mut().zip(addresses) {
        let anew = is_held_for_too_long(settings, *a, now);
        *to = question(*a, Patience::Blocking, budget, anew);
    }
    let mut replies = [Reply::None; ADDRESSES];
    let waiting = if all {
        Waiting::ForAll
    } else {
        Waiting::ForMost
    };
    let (asked, place) = speak(settings, now, |daemon| {
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
    let replies = &replies[..count];
    let has_answered = |reply: &Reply| matches!(reply, Reply::Answer(_));
    let is_any = replies.iter().any(has_answered);
    if is_any && !is_ours(settings, ended, place) {
        return false;
    }
    if is_any {
        HAS_TOLD.store(true, Ordering::Relaxed);
    }
    for ((to, reply), a) in told_of.iter_mut().zip(replies).zip(addresses) {
        if let Reply::Answer(answer) = reply {
            *to = Some(told(settings, *a, answer, ended));
        }
    }
    // What comes beside an answer is not waited for, unless all are.
    let is_awaited = replies.contains(&Reply::None) && (all || !is_any);
    if asked.is_err() || is_awaited && was_in_vain(settings, allowance, ended) {
        return false;
    }
    // Whom it refuses to ask about has to be asked about by oneself.
    !replies
        .iter()
        .any(|reply| matches!(reply, Reply::Refused(_)))
}

/// Whether the daemon has ever told this process anything.
static HAS_TOLD: AtomicBool = AtomicBool::new(false);

/// Uses that the daemon has been told of: marks of A and of the end of its mapping.
static TOLD_OF: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];

/// A mapping that will soon end is in use. The daemon is told once of each, but for those
/// that share a place.
#[cold]
fn used(settings: &Settings, state: &ProcessState, a: Ipv6Addr, mapping: &Mapping, now: Duration) {
    let address = u128::from(a);
    let folded = (address >> 64) as u64 ^ (address as u64).rotate_left(29);
    let mark = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ mapping.expiry.as_nanos() as u64;
    let place = &TOLD_OF[(folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize];
    if place.load(Ordering::Relaxed) != mark && tell(settings, state, &Message::Used(a), now) {
        place.store(mark, Ordering::Relaxed);
    }
}

/// A U has failed for this program. Told to the daemon if it is what that knows of, as far
/// as this process can see.
pub(crate) fn failed(settings: &Settings, state: &ProcessState, claim: &Claim, cause: Cause) {
    let now = boottime();
    let is_known = match life(now) {
        Life::Going | Life::Late => ATTACHED
            .table()
            .and_then(|table| table.lookup(claim.a, now))
            .is_some_and(|hit| hit.mapping.u == claim.u),
        Life::Unknown => HAS_TOLD.load(Ordering::Relaxed),
        Life::Silent => false,
    };
    if !is_known {
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
    let _ = tell(settings, state, &Message::Failed(failure), now);
}

/// Tells the daemon something, which nobody waits for. Whether it was told.
fn tell(settings: &Settings, state: &ProcessState, message: &Message<'_>, now: Duration) -> bool {
    if filter::is_barred() || !is_spoken_to(settings, now) || !process::has_stack_for_a_question() {
        return false;
    }
    let told = flight::question(state, || {
        let (told, _) = speak(settings, now, |daemon| mapper::tell(daemon, message));
        told.is_ok()
    });
    told == Some(true)
}
