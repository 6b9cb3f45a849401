//! What a registration is told, says and remembers.

use std::fmt;
use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_wire::mobility::Status;

use super::ANSWERABLE;
use crate::binding::lifetime::Lifetime;
use crate::binding::message::Update;
use crate::binding::sequence::Sequence;
use crate::binding::timestamp::Timestamp;

/// When something happens.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// `CLOCK_BOOTTIME`.
    pub now: Duration,
    /// The wall clock, for timestamps.
    pub wall: Timestamp,
    /// A random number, another each time.
    pub random: u64,
}

/// Who has A when several responders register it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ownership {
    /// Whoever registered first, until its binding ends or another begins.
    #[default]
    Standby,
    /// Whoever registered last.
    Last,
}

/// How A is registered.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The lifetime that is asked for.
    pub lifetime: Lifetime,
    /// How far beyond the agent's number to go on after a 135; 1 suffices, the thesis
    /// has 2. Taken as 1 if it is 0.
    pub sequence_step: u16,
    /// Who has A.
    pub ownership: Ownership,
    /// How often a deregistration is sent without an answer.
    pub deregistration_tries: u32,
}

impl Settings {
    /// 60 s, a step of 2, standby, 5 tries in 31 s.
    pub const DEFAULT: Self = Self {
        lifetime: Lifetime(15),
        sequence_step: 2,
        ownership: Ownership::Standby,
        deregistration_tries: 5,
    };
}

/// Where a registration stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is to be registered.
    Idle,
    /// The agent was asked and has not agreed yet.
    Registering,
    /// The agent has the binding.
    Registered,
    /// Another responder has A; tried again when its binding ends.
    Standby,
    /// The agent refused; tried again later.
    Refused,
    /// The agent was asked to delete the binding and has not agreed yet.
    Deregistering,
}

impl State {
    /// Its name in status output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Registering => "registering",
            State::Registered => "registered",
            State::Standby => "standby",
            State::Refused => "refused",
            State::Deregistering => "deregistering",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is to be done, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// This is to be sent to the agent.
    Send(Update),
    /// The state is another.
    StateChanged {
        /// The one before.
        from: State,
        /// The one now.
        to: State,
    },
    /// To be told to whoever runs this.
    Notice(Notice),
}

/// What somebody may want to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// The agent refused.
    Refused {
        /// Why.
        status: Status,
        /// When it is asked again.
        again: Duration,
    },
    /// The agent's clock is ahead by so many seconds, or behind; timestamps are by its
    /// clock from now on.
    ClockDiffers {
        /// Seconds.
        ahead: i32,
    },
    /// So many updates in a row were not answered; it goes on trying.
    Silent {
        /// Their number.
        updates: u32,
    },
    /// The agent would have us discover its prefixes (status 1), which we do not.
    PrefixDiscovery,
    /// The agent did not answer the deregistration; its binding ends by itself.
    NotDeregistered,
}

/// What an update is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// To have A, whoever has it.
    Claim,
    /// To keep A.
    Refresh,
    /// To have A if nobody has it.
    Trial,
    /// After a trial that was accepted: to have a number beyond those of others.
    Confirmation,
    /// To have A no more.
    Deregistration,
}

/// An update that was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) sequence: Sequence,
    pub(super) kind: Kind,
    pub(super) care_of: Ipv6Addr,
    pub(super) lifetime: Lifetime,
    pub(super) timestamp: Option<Timestamp>,
    pub(super) at: Duration,
    /// Whether it was answered, or what was answered makes its answer worthless.
    pub(super) closed: bool,
}

impl Sent {
    pub(super) fn new(update: &Update, kind: Kind, at: Duration) -> Self {
        Self {
            sequence: update.sequence,
            kind,
            care_of: update.care_of,
            lifetime: update.lifetime,
            timestamp: update.timestamp,
            at,
            closed: false,
        }
    }

    /// Whether an answer may come.
    pub(super) fn is_open(&self, now: Duration) -> bool {
        !self.closed && now < self.at + ANSWERABLE
    }
}

/// What the agent granted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Granted {
    pub(super) sequence: Sequence,
    pub(super) care_of: Ipv6Addr,
    pub(super) expiry: Duration,
}
