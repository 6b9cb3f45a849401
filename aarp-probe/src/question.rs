//! Asking one address, on behalf of a person.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::address::{Scope, scope};
use aarp_core::bypass::Bypass;
use aarp_core::mapping::Answer;
use aarp_core::policy::{Interest, Patience, interest, plan};
use aarp_core::settings::{Methods, Retransmits, Settings};
use aarp_sys::ask::{AskError, Inquiry, Report, ask};
use aarp_sys::interrupt::Interruptible;
use aarp_sys::route::Origin;

use crate::exit;
use crate::options::Asking;

/// How to ask.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asker<'s> {
    pub(crate) settings: &'s Settings,
    methods: Option<Methods>,
    timeout: Option<Duration>,
    once: bool,
}

/// What became of one address.
#[derive(Debug, Clone)]
pub(crate) enum Outcome {
    /// It was asked.
    Asked(Report),
    /// It could not be.
    NotAsked(AskError),
    /// It is no address that can be asked about.
    Ineligible(Bypass, &'static str),
    /// A name without an address.
    NoAddress(String),
}

impl<'s> Asker<'s> {
    pub(crate) fn new(settings: &'s Settings, asking: &Asking) -> Self {
        Self {
            settings,
            methods: asking.methods(),
            timeout: asking.timeout,
            once: false,
        }
    }

    /// Every question is one probe: a loss is seen as such, and not made up for.
    pub(crate) fn without_retransmission(self) -> Self {
        Self { once: true, ..self }
    }

    /// How long an answer from `a` is awaited.
    pub(crate) fn budget(&self, a: Ipv6Addr) -> Duration {
        let plan = plan(self.settings, a, Interest::Configured, Patience::Blocking);
        self.timeout.unwrap_or(plan.budget)
    }

    /// By these methods, and no others.
    pub(crate) fn by(self, methods: Methods) -> Self {
        Self {
            methods: Some(methods),
            ..self
        }
    }

    /// Asks about `a`, whatever `prefixes` and `exclude` say: a person wants to know,
    /// and has the patience of `prefixes`.
    pub(crate) fn ask(&self, a: Ipv6Addr) -> Outcome {
        if let Err((bypass, what)) = eligible(a) {
            return Outcome::Ineligible(bypass, what);
        }
        let mut plan = plan(self.settings, a, Interest::Configured, Patience::Blocking);
        plan.methods = self.methods.unwrap_or(plan.methods);
        plan.budget = self.budget(a);
        if self.once {
            plan.times.retransmit = Retransmits::NONE;
        }
        let inquiry = Inquiry {
            settings: self.settings,
            a,
            scope: 0,
            plan,
            budget: plan.budget,
            origin: Origin::default(),
            interruptible: Interruptible::Never,
        };
        match ask(&inquiry) {
            Ok(report) => Outcome::Asked(report),
            Err(error) => Outcome::NotAsked(error),
        }
    }
}

/// Whether an address of this kind can be asked about, in words.
pub(crate) fn eligible(a: Ipv6Addr) -> Result<(), (Bypass, &'static str)> {
    match scope(a) {
        Scope::Global | Scope::UniqueLocal => Ok(()),
        Scope::LinkLocal => Err((Bypass::Local, "link-local")),
        Scope::Loopback => Err((Bypass::Local, "the loopback address")),
        Scope::Unspecified => Err((Bypass::Local, "the unspecified address")),
        Scope::Multicast => Err((Bypass::Local, "multicast")),
        Scope::V4 => Err((Bypass::Family, "IPv4 in IPv6 form")),
    }
}

/// What neither a ping socket nor a raw one is permitted for.
pub(crate) const NOT_PERMITTED: &str = "neither ping sockets (sysctl net.ipv4.ping_group_range) \
                                        nor raw sockets (CAP_NET_RAW) are permitted; unreach \
                                        needs no permission: see aarp-probe doctor";

impl Outcome {
    /// The exit code for this one.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Outcome::Asked(report) => exit::of_answer(&report.answer),
            Outcome::NotAsked(AskError::NotPermitted) => exit::NOT_PERMITTED,
            Outcome::NotAsked(AskError::NoRoute) => exit::NO_ANSWER,
            Outcome::NotAsked(AskError::System(..)) => exit::SOFTWARE,
            Outcome::NotAsked(_) | Outcome::Ineligible(..) => exit::CANNOT_BE_PINNED,
            Outcome::NoAddress(_) => exit::NO_ANSWER,
        }
    }

    /// The state, by the names of logs and metrics.
    pub(crate) fn state(&self) -> &'static str {
        match self {
            Outcome::Asked(report) => match report.answer {
                Answer::Pinned { .. } => "pinned",
                Answer::Direct { .. } => "direct",
                Answer::Untrusted { .. } => "untrusted",
                Answer::None { .. } => "unanswered",
            },
            Outcome::NotAsked(AskError::NoRoute) => "unanswered",
            // Nobody was asked: a name without an address has nobody to ask.
            Outcome::NotAsked(_) | Outcome::Ineligible(..) | Outcome::NoAddress(_) => "bypass",
        }
    }

    /// What was reported, if it was asked.
    pub(crate) fn report(&self) -> Option<&Report> {
        match self {
            Outcome::Asked(report) => Some(report),
            _ => None,
        }
    }

    /// The unicast address that answered, be it accepted or not.
    pub(crate) fn unicast(&self) -> Option<Ipv6Addr> {
        match self.report()?.answer {
            Answer::Pinned { u, .. } | Answer::Untrusted { u } => Some(u),
            Answer::Direct { .. } | Answer::None { .. } => None,
        }
    }

    /// The round trip of the answer that decided.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        match self.report()?.answer {
            Answer::Pinned { rtt, .. } | Answer::Direct { rtt } => Some(rtt),
            Answer::Untrusted { .. } | Answer::None { .. } => None,
        }
    }

    /// Why it is as it is, where the state alone does not say.
    pub(crate) fn reason(&self) -> Option<String> {
        match self {
            Outcome::Asked(report) => match (report.answer, report.refused) {
                (Answer::Untrusted { .. }, Some((_, refusal))) => Some(refusal.to_string()),
                (Answer::Direct { .. }, _) => {
                    Some("it answers itself: unicast, or without a responder".to_owned())
                }
                (Answer::None { .. }, _) if report.unreachable => {
                    Some("the network says that it is unreachable".to_owned())
                }
                _ => None,
            },
            Outcome::NotAsked(AskError::NotPermitted) => Some(NOT_PERMITTED.to_owned()),
            Outcome::NotAsked(error) => Some(error.to_string()),
            Outcome::Ineligible(_, what) => Some((*what).to_owned()),
            Outcome::NoAddress(error) => Some(error.clone()),
        }
    }

    /// Why the library would leave a program with A, by the names of its log.
    pub(crate) fn bypass(&self) -> Option<Bypass> {
        match self {
            Outcome::Asked(report) => match report.answer {
                Answer::Pinned { .. } => None,
                Answer::Direct { .. } => Some(Bypass::Direct),
                Answer::Untrusted { .. } => Some(Bypass::Untrusted),
                Answer::None { .. } => Some(Bypass::NoAnswer),
            },
            Outcome::NotAsked(AskError::Local) => Some(Bypass::Local),
            Outcome::NotAsked(AskError::NoRoute) => Some(Bypass::NoAnswer),
            Outcome::NotAsked(AskError::NoMethod) => Some(Bypass::Policy),
            Outcome::NotAsked(AskError::NotPermitted) => Some(Bypass::NoPermission),
            Outcome::NotAsked(_) => Some(Bypass::Busy),
            Outcome::Ineligible(bypass, _) => Some(*bypass),
            Outcome::NoAddress(_) => None,
        }
    }
}

/// Why the library, by its configuration, would not ask about an address that a
/// person may ask about all the same.
pub(crate) fn not_asked_by_library(settings: &Settings, a: Ipv6Addr) -> Option<Bypass> {
    if crate::mapper::is_wanting(settings) {
        return Some(Bypass::Off);
    }
    interest(settings, a).err()
}

/// How long the library would wait at the most, where the answer came later: then it
/// pins no program, and the reason is [`Bypass::Budget`].
pub(crate) fn too_late(settings: &Settings, a: Ipv6Addr, outcome: &Outcome) -> Option<Duration> {
    let Answer::Pinned { rtt, .. } = outcome.report()?.answer else {
        return None;
    };
    let interest = interest(settings, a).ok()?;
    let budget = plan(settings, a, interest, Patience::Blocking).budget;
    (rtt >= budget).then_some(budget)
}

/// That in words.
pub(crate) fn in_words(bypass: Bypass) -> &'static str {
    match bypass {
        Bypass::Budget => "too late for the library",
        Bypass::Excluded => "the library would not ask: in `exclude`",
        Bypass::Policy => "the library would not ask: outside `prefixes`",
        Bypass::Off => {
            "the library would not ask: daemon.use is \"require\", and there is no aarpd"
        }
        Bypass::Family => "the library would not ask: IPv4",
        _ => "the library would not ask: of this host or of the link",
    }
}
