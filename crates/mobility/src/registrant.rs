//! The responder's side of a registration: from what the binding update list wants to
//! the octets of Binding Updates, and from those of the answers back, without I/O.

use std::cell::RefCell;
use std::net::Ipv6Addr;
use std::rc::Rc;

use aarp_core::binding::authentication::Association;
use aarp_core::binding::lifetime::Lifetime;
use aarp_core::binding::message::{Acknowledgement, Update};
use aarp_core::binding::sequence::Sequence;
use aarp_core::binding::timestamp::Timestamp;
use aarp_core::binding::update_list::{Action, Moment, Peer, Registration};
use aarp_wire::Error;
use aarp_wire::ipv6::{Chain, Datagram, Extension, Ipv6Packet, walk};
use aarp_wire::mobility::{
    BindingOptions, Message, Method, MobilityOption, MobilityPacket, UpdateFlags,
};

use crate::sealed::{self, Seal};

/// One anycast address at one agent.
#[derive(Debug)]
pub struct Registrant {
    /// Where it stands.
    pub registration: Registration,
    peer: Rc<RefCell<Peer>>,
    agent: Ipv6Addr,
    association: Option<Association>,
}

/// What an agent has said that is no acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// An acknowledgement, taken to heart: see what is to be done.
    Acknowledgement,
    /// Nothing that waits for this answer.
    Ignored,
    /// A Binding Error (RFC 6275 §6.1.9), with its status.
    BindingError(u8),
}

/// Why a packet is not heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unheard {
    /// It is not an IPv6 packet with a Mobility Header, or one that contradicts
    /// itself, or its checksum is wrong.
    Malformed,
    /// It is not from the agent about this address.
    Elsewhere,
    /// Another message.
    Message,
    /// It is not authenticated as agreed (RFC 4285 §5.1).
    Authentication,
}

impl Unheard {
    /// The name in counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Elsewhere => "elsewhere",
            Self::Message => "message",
            Self::Authentication => "authentication",
        }
    }
}

impl Registrant {
    /// A registration at `agent`, authenticated if there is an association.
    #[must_use]
    pub fn new(
        registration: Registration,
        agent: Ipv6Addr,
        peer: Peer,
        association: Option<Association>,
    ) -> Self {
        let peer = Rc::new(RefCell::new(peer));
        Self::sharing(registration, agent, peer, association)
    }

    /// The same, where there are others by the same key at the same agent: all of them
    /// have one `peer`.
    #[must_use]
    pub fn sharing(
        registration: Registration,
        agent: Ipv6Addr,
        peer: Rc<RefCell<Peer>>,
        association: Option<Association>,
    ) -> Self {
        Self {
            registration,
            peer,
            agent,
            association,
        }
    }

    /// The agent.
    #[must_use]
    pub const fn agent(&self) -> Ipv6Addr {
        self.agent
    }

    /// Authenticates with another key from now on.
    pub fn set_association(&mut self, association: Option<Association>) {
        self.association = association;
    }

    /// The last timestamp that was used, to be kept over a restart.
    #[must_use]
    pub fn last_timestamp(&self) -> Option<Timestamp> {
        self.peer.borrow().last_timestamp()
    }

    /// Has the address registered with `care_of`.
    pub fn register(&mut self, at: Moment, care_of: Ipv6Addr) -> Vec<Action> {
        self.registration
            .register(at, care_of, &mut self.peer.borrow_mut())
    }

    /// Has it registered no more.
    pub fn deregister(&mut self, at: Moment) -> Vec<Action> {
        self.registration
            .deregister(at, &mut self.peer.borrow_mut())
    }

    /// What is due by now.
    pub fn wake(&mut self, at: Moment) -> Vec<Action> {
        self.registration.wake(at, &mut self.peer.borrow_mut())
    }

    /// The packet of an update.
    ///
    /// # Errors
    /// When `room` is too small, or the identity too long for an option.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-11.7.1
    pub fn packet<'b>(&self, update: &Update, room: &'b mut [u8]) -> Result<&'b [u8], Error> {
        let datagram = Datagram {
            extension: Some(Extension::HomeAddress(update.anycast)),
            ..Datagram::new(update.care_of, self.agent)
        };
        let message = Message::BindingUpdate {
            sequence: update.sequence.0,
            flags: UpdateFlags(update.flags.0),
            lifetime: update.lifetime.0,
        };
        let seal = self.association.as_ref().map(|association| Seal {
            association,
            identify: true,
            timestamp: update.timestamp,
            care_of: update.care_of,
            home: update.anycast,
        });
        let options = [MobilityOption::AlternateCareOf(update.care_of)];
        let packet = sealed::emit(&datagram, message, &options, seal.as_ref(), room)?;
        Ok(packet)
    }

    /// Listens to a packet that carries a Mobility Header, and returns what is to be
    /// done about it.
    ///
    /// # Errors
    /// [`Unheard`]; nothing has changed.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-11.7.3
    pub fn hear(&mut self, octets: &[u8], at: Moment) -> Result<(Heard, Vec<Action>), Unheard> {
        let packet = Ipv6Packet::new(octets).map_err(|_| Unheard::Malformed)?;
        let chain = walk(&packet).map_err(|_| Unheard::Malformed)?;
        let header = MobilityPacket::receive(&chain).map_err(|_| Unheard::Malformed)?;
        if packet.source() != self.agent || chain.home_address.is_some() {
            return Err(Unheard::Elsewhere);
        }
        match header.message() {
            Ok(Message::BindingAcknowledgement {
                status,
                sequence,
                lifetime,
                ..
            }) => {
                if chain.routing != Some(self.registration.anycast()) {
                    return Err(Unheard::Elsewhere);
                }
                let options = BindingOptions::parse(&header).map_err(|_| Unheard::Malformed)?;
                self.authenticate(&chain, &header, &options)?;
                let acknowledgement = Acknowledgement {
                    status,
                    sequence: Sequence(sequence),
                    lifetime: Lifetime(lifetime),
                    refresh_advice: options.refresh_interval.map(Lifetime),
                    timestamp: options.timestamp.map(Timestamp),
                };
                let heard = self.registration.acknowledge(
                    at,
                    &acknowledgement,
                    &mut self.peer.borrow_mut(),
                );
                Ok(match heard {
                    Some(actions) => (Heard::Acknowledgement, actions),
                    None => (Heard::Ignored, Vec::new()),
                })
            }
            Ok(Message::BindingError {
                status,
                home_address,
            }) if home_address == self.registration.anycast() => {
                Ok((Heard::BindingError(status.0), Vec::new()))
            }
            Ok(Message::BindingError { .. }) => Err(Unheard::Elsewhere),
            _ => Err(Unheard::Message),
        }
    }

    //= https://www.rfc-editor.org/rfc/rfc4285#section-5.1
    fn authenticate(
        &self,
        chain: &Chain<'_>,
        header: &MobilityPacket<'_>,
        options: &BindingOptions<'_>,
    ) -> Result<(), Unheard> {
        let Some(association) = &self.association else {
            return Ok(());
        };
        let (place, code) = options.authenticator.ok_or(Unheard::Authentication)?;
        let method = Method::MobileNodeHomeAgent {
            spi: association.spi(),
        };
        if place.method != method || !place.is_last {
            return Err(Unheard::Authentication);
        }
        let covered = header.octets().get(..place.at).unwrap_or_default();
        let care_of = chain.packet.destination();
        let home = self.registration.anycast();
        match association.verify(care_of, home, covered, code) {
            true => Ok(()),
            false => Err(Unheard::Authentication),
        }
    }
}

#[cfg(test)]
#[path = "registrant_tests.rs"]
mod tests;
