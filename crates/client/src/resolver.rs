//! From A to U, as this process's configuration has it.

use std::net::Ipv6Addr;
use std::sync::OnceLock;
use std::time::Duration;

use aarp_core::bypass::Bypass;
use aarp_core::mapping::{self, MappingTable, State};
use aarp_core::policy::{Patience, Plan, interest, plan};
use aarp_core::settings::{DaemonUse, Settings};
use aarp_core::table::Namespace;
use aarp_sys::ask::{self, Inquiry};
use aarp_sys::clock::boottime;
use aarp_sys::interrupt::{AllHeld, Interruptible};
use aarp_sys::memory::leak_changed;
use aarp_sys::route::Origin;
use aarp_sys::settings::{OwnEnvironment, load};
use aarp_sys::syscall::Errno;
use aarp_sys::table::namespace;
use aarp_wire::mapper::{Failure, Message};

use crate::error::ResolveError;
use crate::mapper::{self, Told};

/// What is less is too little for any network, and not worth a probe.
const LEAST: Duration = Duration::from_millis(5);

/// Who told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Source {
    /// The mapping table of aarpd: nobody was asked.
    Table = 1,
    /// This process remembers it.
    Memory = 2,
    /// aarpd was asked.
    Daemon = 3,
    /// The network was asked.
    Network = 4,
}

/// Where to go instead of an anycast address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// U; or A itself, where A answers from its own address: it is a unicast address, or
    /// cannot be pinned.
    pub unicast: Ipv6Addr,
    /// For how long it is good for new communications: one that was begun stays with its
    /// U for as long as it lasts.
    pub ttl: Duration,
    /// The round trip of the answer.
    pub rtt: Duration,
    /// Who told it.
    pub source: Source,
}

static DEFAULT: Settings = Settings::DEFAULT;
/// What this process has found out itself, or was told where no table keeps it.
static OWN: MappingTable = MappingTable::new();
/// The network namespace that table and memory are of.
static NAMESPACE: OnceLock<Namespace> = OnceLock::new();

/// Who answers for `a`. Waits for no longer than `budget`, nor than `times.budget` of the
/// configuration. With a budget of zero only what is known already is found; but aarpd,
/// where it is there, begins to ask, and a later call finds what it has heard. Interrupted
/// by signals as connect(2) is.
///
/// # Errors
/// Why there is nobody; to go to `a` is then right.
pub fn resolve(a: Ipv6Addr, budget: Duration) -> Result<Mapping, ResolveError> {
    let settings = settings()?;
    let interest = interest(settings, a).map_err(|reason| match reason {
        Bypass::Family | Bypass::Local => ResolveError::Unsuitable(a),
        _ => ResolveError::Policy(a),
    })?;
    let plan = plan(settings, a, interest, Patience::Blocking);
    let question = Question {
        settings,
        plan,
        a,
        budget: budget.min(plan.times.budget),
        began: boottime(),
    };
    question.resolve()
}

/// A communication with `u`, which had been found for `a`, has failed: aarpd asks again who
/// answers for `a`, and this process forgets it. `protocol` is the IANA number of the
/// transport protocol, `errno` what the kernel said, or 0 if nothing was heard. Tells
/// nobody who was not there to be told, and waits for nobody.
///
/// # Errors
/// When the configuration is wrong.
pub fn failed(
    a: Ipv6Addr,
    u: Ipv6Addr,
    (protocol, port): (u8, u16),
    errno: i32,
) -> Result<(), ResolveError> {
    let settings = settings()?;
    let now = boottime();
    if let Some(known) = OWN.lookup(a).filter(|known| known.u == u) {
        let ended = mapping::Mapping {
            expiry: now,
            ..known
        };
        OWN.store(a, ended);
    }
    let failure = Failure {
        a,
        u,
        port,
        protocol,
        errno: errno.unsigned_abs(),
    };
    if is_at_home() {
        mapper::tell(settings, &Message::Failed(failure));
    }
    Ok(())
}

/// The configuration, read once; one that is wrong is read again by the next call.
fn settings() -> Result<&'static Settings, ResolveError> {
    static SETTINGS: OnceLock<&'static Settings> = OnceLock::new();
    if let Some(settings) = SETTINGS.get() {
        return Ok(settings);
    }
    let system = |call, Errno(errno)| ResolveError::System {
        a: Ipv6Addr::UNSPECIFIED,
        call,
        errno,
    };
    // A handler may jump out of here, and leave a file open; or a cell that is for ever being
    // set, for which the next caller would wait.
    let _signals = AllHeld::hold().map_err(|errno| system("rt_sigprocmask", errno))?;
    #[allow(clippy::result_large_err)] // As the function is that reads it.
    let read = leak_changed(&DEFAULT, |settings| load(settings, &OwnEnvironment));
    match read {
        Ok(Ok(settings)) => Ok(SETTINGS.get_or_init(|| settings)),
        Ok(Err(error)) => Err(ResolveError::Settings(Box::new(error))),
        Err(errno) => Err(system("mmap", errno)),
    }
}

/// Whether this thread is in the network namespace of the first question. Where that
/// cannot be told, it is not.
fn is_at_home() -> bool {
    namespace().is_ok_and(|here| *NAMESPACE.get_or_init(|| here) == here)
}

struct Question {
    settings: &'static Settings,
    plan: Plan,
    a: Ipv6Addr,
    budget: Duration,
    began: Duration,
}

impl Question {
    fn resolve(&self) -> Result<Mapping, ResolveError> {
        if !is_at_home() {
            return self.ask_network(false);
        }
        let mut anew = false;
        let known = mapper::known(self.settings, self.a, self.began)
            .map(|known| (known, Source::Table))
            .or_else(|| self.remembered());
        if let Some((known, source)) = known {
            // Only who waits for longer hears more of one who was silent.
            if !known.is_worth_asking_again(self.budget) {
                return self.told(&known, source);
            }
            anew = true;
        }
        let times = (self.budget, self.plan.times.budget);
        let interruptible = Interruptible::UnlessRestarted;
        match mapper::ask(self.settings, self.a, times, anew, interruptible) {
            Told::Mapping(mapping) => {
                if !mapper::is_kept(self.a, boottime()) {
                    OWN.store(self.a, mapping);
                }
                self.told(&mapping, Source::Daemon)
            }
            Told::NotYet => Err(self.timed_out()),
            Told::Interrupted => Err(ResolveError::Interrupted(self.a)),
            Told::Nobody if self.settings.daemon.usage == DaemonUse::Require => {
                Err(ResolveError::NoMapper(self.a))
            }
            Told::Nobody => self.ask_network(true),
        }
    }

    fn remembered(&self) -> Option<(mapping::Mapping, Source)> {
        let known = OWN.lookup(self.a)?;
        known
            .is_fresh(self.began)
            .then_some((known, Source::Memory))
    }

    /// Asks the network, and remembers what it says where the next caller is in the same.
    fn ask_network(&self, remember: bool) -> Result<Mapping, ResolveError> {
        let left = (self.began.saturating_add(self.budget)).saturating_sub(boottime());
        if left < LEAST {
            return Err(self.timed_out());
        }
        // A moment less than all of it is not less than it: who was silent for all of it
        // is not asked again at once.
        let whole = left + LEAST > self.budget;
        let budget = if whole { self.budget } else { left };
        let inquiry = Inquiry {
            settings: self.settings,
            a: self.a,
            scope: 0,
            plan: self.plan,
            budget,
            origin: Origin::default(),
            interruptible: Interruptible::UnlessRestarted,
        };
        let told = ask::ask(&inquiry).map_err(|error| ResolveError::of(self.a, error))?;
        let previous = OWN.lookup(self.a).filter(|_| remember);
        let (method, now) = (told.method, boottime());
        let times = &self.plan.times;
        let learned =
            mapping::Mapping::after(told.answer, self.a, method, previous.as_ref(), times, now);
        if remember {
            OWN.store(self.a, learned);
        }
        self.told(&learned, Source::Network)
    }

    fn told(&self, mapping: &mapping::Mapping, source: Source) -> Result<Mapping, ResolveError> {
        let unicast = match mapping.state {
            State::Pinned => mapping.u,
            State::Direct => self.a,
            State::Untrusted => {
                let (a, u) = (self.a, mapping.u);
                return Err(ResolveError::Untrusted { a, u });
            }
            State::Unanswered if mapping.rtt < self.plan.times.budget => {
                return Err(self.timed_out());
            }
            State::Unanswered => return Err(ResolveError::NoAnswer(self.a)),
        };
        Ok(Mapping {
            unicast,
            ttl: mapping.expiry.saturating_sub(boottime()),
            rtt: mapping.rtt,
            source,
        })
    }

    fn timed_out(&self) -> ResolveError {
        ResolveError::TimedOut {
            a: self.a,
            budget: self.budget,
        }
    }
}
