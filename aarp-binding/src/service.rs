//! One anycast address: whether it is to be registered, and where it is.

use std::net::Ipv6Addr;
use std::time::{SystemTime, UNIX_EPOCH};

use aarp_core::address::scope;
use aarp_core::binding::lifetime::Lifetime;
use aarp_core::binding::sequence::Sequence;
use aarp_core::binding::timestamp::Timestamp;
use aarp_core::binding::update_list::{self, Action, Moment, Notice, Registration, State};
use aarp_core::relay::Limit;
use aarp_health::feed::{Condition, Statement};
use aarp_health::{Event, Monitor, Subject};
use aarp_mobility::channel::{Buffers, Channel};
use aarp_mobility::registrant::{Heard, Registrant, Unheard};
use aarp_mobility::sealed;
use aarp_sys::clock;

use crate::keys::{Keys, Peers};
use crate::memory::Memory;
use crate::say;
use crate::settings::{Follow, Ownership, Settings};

/// How often a deregistration is sent without an answer: 7 s in all.
const DEREGISTRATION_TRIES: u32 = 3;

/// An anycast address with its registrations.
pub(crate) struct Service {
    pub(crate) settings: Settings,
    pub(crate) registrants: Vec<Registrant>,
    pub(crate) monitor: Option<Monitor>,
    /// The present unicast address, while the host has one.
    pub(crate) unicast: Option<Ipv6Addr>,
    /// What aarp-responder says of it, where that is followed.
    pub(crate) statement: Option<Statement>,
    /// Whether it is about to say so.
    pub(crate) awaits_statement: bool,
    /// Whether the program is going on.
    pub(crate) wanted: bool,
    /// Lines for the operator, to be said when the host is as they say.
    pub(crate) news: Vec<String>,
}

/// The moment that it is now.
pub(crate) fn moment() -> Moment {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH);
    Moment {
        now: clock::boottime(),
        wall: Timestamp::from_unix(wall.unwrap_or_default()),
        random: fastrand::u64(..),
    }
}

impl Service {
    /// Its registrations as they were left.
    pub(crate) fn new(
        settings: Settings,
        keys: &Keys,
        first: Option<u16>,
        memory: &Memory,
        peers: &mut Peers,
    ) -> Self {
        let ownership = match settings.ownership {
            Ownership::Standby => update_list::Ownership::Standby,
            Ownership::Last => update_list::Ownership::Last,
        };
        let of_list = update_list::Settings {
            // At least a unit: the settings were checked.
            lifetime: Lifetime::configured(settings.lifetime).unwrap_or(Lifetime(1)),
            sequence_step: settings.sequence_step,
            ownership,
            deregistration_tries: DEREGISTRATION_TRIES,
        };
        let registrants = settings.agents.iter().map(|&agent| {
            let remembered = memory.of(settings.anycast, agent);
            let known = remembered.map(|(sequence, _)| sequence.0);
            let spi = settings.spi_at(agent);
            // A number of chance: another responder's is most likely a different one.
            let sequence = first.or(known).unwrap_or_else(|| fastrand::u16(..));
            let registration = Registration::new(settings.anycast, of_list, Sequence(sequence));
            let association = spi.and_then(|spi| keys.get(&spi)).cloned();
            let peer = peers.of(agent, spi, memory);
            Registrant::sharing(registration, agent, peer, association)
        });
        Self {
            registrants: registrants.collect(),
            settings,
            monitor: None,
            unicast: None,
            statement: None,
            awaits_statement: false,
            wanted: true,
            news: Vec::new(),
        }
    }

    /// Authenticates with these keys from now on.
    pub(crate) fn set_keys(&mut self, keys: &Keys) {
        for registrant in &mut self.registrants {
            let spi = self.settings.spi_at(registrant.agent());
            let association = spi.and_then(|spi| keys.get(&spi)).cloned();
            registrant.set_association(association);
        }
    }

    /// Whether the service is well, as far as is known: by the checks that are made here,
    /// and by aarp-responder where it has the address.
    pub(crate) fn health(&self) -> aarp_health::State {
        use aarp_health::State::{Down, Unknown, Up};
        let checked = self.monitor.as_ref().map_or(Unknown, Monitor::state);
        let said = match (&self.statement, self.settings.responder) {
            (_, Follow::Off) => Up,
            (None, _) if self.awaits_statement => Unknown,
            (None, Follow::Auto) => Up,
            (None, Follow::Require) => Down,
            (Some(said), _) => match said.condition {
                Condition::Up => Up,
                Condition::Unknown => Unknown,
                Condition::Draining | Condition::Down | Condition::Maintenance => Down,
            },
        };
        aarp_health::combine([checked, said])
    }

    /// Registers or deregisters, whichever the state of things asks for, and does what
    /// is due. Without effect where everything is as it should be. While nothing is
    /// known of the service, what is stays.
    pub(crate) fn pursue(&mut self, channel: &Channel, buffers: &mut Buffers, memory: &mut Memory) {
        let health = self.health();
        let is_kept = self.wanted && health == aarp_health::State::Unknown;
        let is_up = self.wanted && health == aarp_health::State::Up;
        for registrant in &mut self.registrants {
            let at = moment();
            let mut actions = match self.unicast {
                Some(_) if is_kept => Vec::new(),
                Some(care_of) if is_up => registrant.register(at, care_of),
                _ => registrant.deregister(at),
            };
            actions.extend(registrant.wake(moment()));
            act(
                registrant,
                &actions,
                channel,
                buffers,
                memory,
                &mut self.news,
            );
        }
    }

    /// What the checks have found.
    pub(crate) fn tell_health(&self) {
        let Some(monitor) = &self.monitor else { return };
        for event in monitor.events() {
            let Event {
                subject,
                from,
                to,
                reason,
                ..
            } = event;
            let anycast = self.settings.anycast;
            let line = match subject {
                Subject::Service => format!("{anycast}: the service is {to}, was {from}: {reason}"),
                Subject::Check(index) => {
                    let checks = monitor.status();
                    let check = checks.get(index).map_or("a check", |c| c.check.as_str());
                    format!("{anycast}: {check} is {to}, was {from}: {reason}")
                }
            };
            say(&line);
        }
    }

    /// Listens to a packet, if it is about this address.
    pub(crate) fn hear(
        &mut self,
        packet: &[u8],
        channel: &Channel,
        buffers: &mut Buffers,
        memory: &mut Memory,
        limit: &mut Limit,
    ) -> Result<(), Unheard> {
        let mut result = Err(Unheard::Elsewhere);
        for registrant in &mut self.registrants {
            match registrant.hear(packet, moment()) {
                Err(Unheard::Elsewhere) => continue,
                Err(why) => result = Err(why),
                Ok((Heard::BindingError(status), _)) => {
                    // It is not authenticated: anybody can send it.
                    if limit.permits(clock::boottime()) {
                        let agent = registrant.agent();
                        let anycast = self.settings.anycast;
                        say(&format!(
                            "{anycast}: {agent} sent a Binding Error of status {status}"
                        ));
                    }
                    result = Ok(());
                }
                Ok((_, actions)) => {
                    act(
                        registrant,
                        &actions,
                        channel,
                        buffers,
                        memory,
                        &mut self.news,
                    );
                    result = Ok(());
                }
            }
            break;
        }
        result
    }

    /// Whether an agent has a binding of it.
    pub(crate) fn is_registered(&self) -> bool {
        let mut all = self.registrants.iter();
        all.any(|registrant| registrant.registration.state() == State::Registered)
    }

    /// Whether nothing is registered any more.
    pub(crate) fn is_idle(&self) -> bool {
        let mut all = self.registrants.iter();
        all.all(|registrant| registrant.registration.state() == State::Idle)
    }

    /// Whether U can be a care-of address for A: of the same scope.
    pub(crate) fn fits(&self, unicast: Ipv6Addr) -> bool {
        scope(unicast) == scope(self.settings.anycast)
    }
}

/// Does what the binding update list wants done.
fn act(
    registrant: &Registrant,
    actions: &[Action],
    channel: &Channel,
    buffers: &mut Buffers,
    memory: &mut Memory,
    news: &mut Vec<String>,
) {
    let anycast = registrant.registration.anycast();
    let agent = registrant.agent();
    for action in actions {
        match *action {
            Action::Send(update) => {
                let mut room = [0; sealed::ROOM];
                let sent = match registrant.packet(&update, &mut room) {
                    Ok(packet) => channel.send(buffers, packet).map_err(|e| e.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                // It is sent again in any case.
                if let Err(error) = sent {
                    news.push(format!("{anycast}: Binding Update to {agent}: {error}"));
                }
            }
            Action::StateChanged { from, to } => {
                let care_of = registrant.registration.care_of();
                // Of one that stands by, the address is registered nowhere.
                let care_of = care_of.filter(|_| to != State::Standby);
                let with = care_of.map_or_else(String::new, |u| format!(" with {u}"));
                news.push(format!("{anycast} at {agent}: {to}{with}, was {from}"));
            }
            Action::Notice(notice) => {
                news.push(format!("{anycast} at {agent}: {}", words(notice)));
            }
        }
    }
    memory.note(
        anycast,
        agent,
        registrant.registration.upcoming(),
        registrant.last_timestamp(),
    );
}

fn words(notice: Notice) -> String {
    match notice {
        Notice::Refused { status, again } => {
            let wait = again.saturating_sub(clock::boottime()).as_secs();
            format!("refused: {status}; asked again in {wait} s")
        }
        Notice::ClockDiffers { ahead } => {
            format!("the agent's clock is {ahead} s ahead of ours; its clock is used")
        }
        Notice::Silent { updates } => format!(
            "no answer to {updates} updates: is the agent reachable, and are Mobility Headers \
             (protocol 135) let through both ways? An agent is also silent to a key that it \
             does not know; its log has it. Still trying"
        ),
        Notice::PrefixDiscovery => "the agent wants prefix discovery, which is not done".to_owned(),
        Notice::NotDeregistered => {
            "the deregistration was not answered; the binding ends by itself".to_owned()
        }
    }
}
