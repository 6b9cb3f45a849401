//! aarpd, where there is one: its table, and asking it.

use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use aarp_core::mapping::Mapping;
use aarp_core::settings::{DaemonUse, Settings};
use aarp_core::table::TableView;
use aarp_sys::clock::boottime;
use aarp_sys::daemon::{SOCKET, TABLE, at, is_too_old, judged, told, trusted};
use aarp_sys::interrupt::{AllHeld, Interruptible};
use aarp_sys::mapper::{self, Daemon, DaemonError, Reply, Waiting};
use aarp_sys::table::{AttachError, Attachment};
use aarp_wire::mapper::{Asked, Message};

/// What is not there is looked for again after so long.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// A daemon gives a sign of life in its table every five seconds. One that has given none
/// for so long may be stuck, …
const LATE: Duration = Duration::from_secs(7);
/// … and of one that has given none for so long nothing is expected.
const SIGN_OF_LIFE: Duration = Duration::from_secs(12);
/// One that has not answered, or says what means nothing, is not asked for so long.
const STUCK: Duration = Duration::from_secs(10);

static ATTACHED: Attachment = Attachment::none();
/// When the table is looked for again, and when the daemon is spoken to again:
/// nanoseconds of `CLOCK_BOOTTIME`.
static LOOK: AtomicU64 = AtomicU64::new(0);
static SPEAK: AtomicU64 = AtomicU64::new(0);

/// Places, as bits (see [`at`]), where the table is one of another network namespace: then
/// so is the daemon, whose socket may be seen from everywhere.
static FOREIGN: AtomicU8 = AtomicU8::new(0);

fn is_over(not_before: &AtomicU64, now: Duration) -> bool {
    now.as_nanos() as u64 >= not_before.load(Ordering::Relaxed)
}

fn wait(not_before: &AtomicU64, until: Duration) {
    not_before.store(until.as_nanos() as u64, Ordering::Relaxed);
}

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

/// What came of asking the daemon.
pub(crate) enum Told {
    Mapping(Mapping),
    /// It has not answered in time.
    NotYet,
    Interrupted,
    /// There is none who would say.
    Nobody,
}

/// The table of this network namespace, if there is one; its place is looked at now and
/// then.
fn table(settings: &Settings, now: Duration) -> Option<TableView<'static>> {
    // One whose daemon is silent may have been replaced without a word.
    if !life(now).is_any() && is_over(&LOOK, now) {
        wait(&LOOK, now + LOOK_AGAIN);
        let _ = attach(settings);
    }
    ATTACHED.table().filter(|it| !it.header().is_retired())
}

/// Reads the table that is found first, of those whose daemon lives; where none does, of
/// the others.
fn attach(settings: &Settings) -> Result<(), AttachError> {
    // A handler may jump out of here.
    let _signals = AllHeld::hold().map_err(AttachError::Open)?;
    match attach_within(settings, SIGN_OF_LIFE) {
        Err(AttachError::Silent(_)) => attach_within(settings, Duration::MAX),
        attached => attached,
    }
}

fn attach_within(settings: &Settings, silence: Duration) -> Result<(), AttachError> {
    let trusted = trusted(settings);
    let mut last = AttachError::Absent;
    let mut foreign = 0;
    let mut place = 1;
    let found = at(settings, settings.daemon.table.as_str(), TABLE, |path| {
        match ATTACHED.attach_living(path, &trusted, silence) {
            Ok(()) => return Some(()),
            // What is not there says nothing about what is.
            Err(AttachError::Absent) => {}
            Err(error) => {
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
    if foreign != 0 && !is_paired {
        foreign = !0;
    }
    FOREIGN.store(foreign, Ordering::Relaxed);
    found.ok_or(last)
}

/// What the table says about `a`, if that is fresh.
pub(crate) fn known(settings: &Settings, a: Ipv6Addr, now: Duration) -> Option<Mapping> {
    if settings.daemon.usage == DaemonUse::Off {
        return None;
    }
    let hit = table(settings, now)?.lookup(a, now)?;
    if is_too_old(settings, a, &hit, now) {
        return None;
    }
    if hit.is_due {
        used(settings, a, &hit.mapping);
    }
    Some(judged(settings, a, hit.mapping))
}

/// Uses that the daemon has been told of: marks of A and of the end of its mapping.
static TOLD_OF: [AtomicU64; 16] = [const { AtomicU64::new(0) }; 16];

/// A mapping that will soon end is in use. The daemon is told once of each, but for those
/// that share a place.
fn used(settings: &Settings, a: Ipv6Addr, mapping: &Mapping) {
    let address = u128::from(a);
    let folded = (address >> 64) as u64 ^ (address as u64).rotate_left(29);
    let mixed = folded.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mark = mixed ^ mapping.expiry.as_nanos() as u64;
    let place = &TOLD_OF[(mixed >> 60) as usize];
    if place.load(Ordering::Relaxed) != mark && tell(settings, &Message::Used(a)) {
        place.store(mark, Ordering::Relaxed);
    }
}

/// Whether what the daemon has said about `a` stands in a table that this process reads,
/// and that somebody writes: then it is not remembered beside.
pub(crate) fn is_kept(a: Ipv6Addr, now: Duration) -> bool {
    let found = || ATTACHED.table().and_then(|table| table.lookup(a, now));
    life(now).is_any() && found().is_some()
}

/// Asks the daemon who answers for `a`, for no longer than `budget`, of which `full` is
/// as much as an answer may take; `anew` if what it knows does not serve.
pub(crate) fn ask(
    settings: &Settings,
    a: Ipv6Addr,
    (budget, full): (Duration, Duration),
    anew: bool,
    interruptible: Interruptible,
) -> Told {
    let now = boottime();
    if !is_spoken_to(settings, now) {
        return Told::Nobody;
    }
    let is_all = settings.daemon.usage == DaemonUse::Require || life(now) == Life::Going;
    let held = || ATTACHED.table().and_then(|table| table.lookup(a, now));
    let anew = anew || held().is_some_and(|hit| is_too_old(settings, a, &hit, now));
    // Where no table says that it goes on, there is to be time for the network.
    let wait_for = if is_all { budget } else { budget / 2 };
    let question = [Asked {
        a,
        budget: u32::try_from(wait_for.as_millis()).unwrap_or(u32::MAX),
        flags: if anew { Asked::ANEW } else { 0 },
    }];
    let mut replies = [Reply::None];
    let until = now.saturating_add(wait_for);
    let (asked, place) = speak(settings, now, |daemon| {
        let waiting = Waiting::ForAll;
        mapper::resolve(
            daemon,
            &question,
            &mut replies,
            until,
            waiting,
            interruptible,
        )
    });
    let ended = boottime();
    match (asked, replies[0]) {
        (_, Reply::Answer(answer)) if is_ours(settings, ended, place) => {
            Told::Mapping(told(settings, a, &answer, ended))
        }
        (Err(DaemonError::Interrupted), _) => Told::Interrupted,
        (Ok(()), Reply::None) => {
            if budget >= full && life(ended) != Life::Going {
                wait(&SPEAK, ended + STUCK);
            }
            if is_all { Told::NotYet } else { Told::Nobody }
        }
        _ => Told::Nobody,
    }
}

/// Whether a daemon that has answered at this place serves this network namespace: its
/// table tells. A daemon whose table is not there is believed.
fn is_ours(settings: &Settings, now: Duration, place: u8) -> bool {
    if !life(now).is_any() {
        let _ = attach(settings);
    }
    FOREIGN.load(Ordering::Relaxed) & place == 0
}

/// Whether the daemon may be spoken to: not where its table says that nobody is there.
fn is_spoken_to(settings: &Settings, now: Duration) -> bool {
    settings.daemon.usage != DaemonUse::Off && is_over(&SPEAK, now) && life(now) != Life::Silent
}

/// Tells the daemon something that it does not answer. Nobody waits for it, and nothing
/// comes of it here: it may be lost. Whether it was told.
pub(crate) fn tell(settings: &Settings, message: &Message<'_>) -> bool {
    let now = boottime();
    is_spoken_to(settings, now) && {
        let (told, _) = speak(settings, now, |daemon| mapper::tell(daemon, message));
        told.is_ok()
    }
}

/// Speaks to the daemon, and at which place, as a bit; one that cannot be reached, or that
/// says what means nothing, is left alone for a while.
fn speak(
    settings: &Settings,
    now: Duration,
    mut talk: impl FnMut(&Daemon<'_>) -> Result<(), DaemonError>,
) -> (Result<(), DaemonError>, u8) {
    let trusted = trusted(settings);
    let mut last = DaemonError::Busy;
    let mut place = 1;
    let spoken = at(settings, settings.daemon.socket.as_str(), SOCKET, |path| {
        let trusted = &trusted;
        let is_foreign = FOREIGN.load(Ordering::Relaxed) & place != 0;
        let spoken = if is_foreign {
            Err(DaemonError::Foreign)
        } else {
            talk(&Daemon { path, trusted })
        };
        let Err(error) = spoken else {
            return Some(Ok(()));
        };
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
        Ok(()) | Err(DaemonError::Interrupted | DaemonError::Halted) => {}
        Err(DaemonError::Nonsense) => wait(&SPEAK, now + STUCK),
        Err(_) => wait(&SPEAK, now + LOOK_AGAIN),
    }
    (spoken, place)
}
