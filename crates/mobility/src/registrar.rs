//! The agent's side of registrations: from the octets of a Binding Update to those of
//! the answer, without I/O.

use std::net::Ipv6Addr;
use std::time::Duration;

use aarp_core::binding::authentication::MAC_LEN;
use aarp_core::binding::cache::{Cache, Change, Discard, Sender, Verdict};
use aarp_core::binding::keyring::{Authentication, Credentials, Keyring, Silence};
use aarp_core::binding::lifetime::Lifetime;
use aarp_core::binding::message::{Acknowledgement, Update};
use aarp_core::binding::sequence::Sequence;
use aarp_core::binding::timestamp::Timestamp;
use aarp_core::relay::Limit;
use aarp_wire::icmpv6_error::{ErrorKind, ErrorRepr, may_answer};
use aarp_wire::ipv6::{Chain, Datagram, Extension, Ipv6Packet, is_unicast_routable, walk};
use aarp_wire::mobility::{
    AcknowledgementFlags, Answer, BindingOptions, Message, Method, MobilityOption, MobilityPacket,
    Refusal, Status, UpdateFlags,
};

use crate::sealed::{self, Seal};

/// What came of a packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome<'b> {
    /// An update was judged, and this is the answer.
    Judged {
        /// The packet to send.
        answer: &'b [u8],
        /// The address it is about.
        anycast: Ipv6Addr,
        /// The responder.
        care_of: Ipv6Addr,
        /// The verdict.
        status: Status,
        /// What is different now.
        change: Change,
    },
    /// It was no update that could be judged, and this is the answer.
    Complaint(&'b [u8]),
    /// No answer, and why.
    Silence(Why),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// It is not an IPv6 packet to the agent with a Mobility Header, or one that
    /// contradicts itself, or its source is not one that can be answered.
    Malformed,
    /// Its checksum is wrong.
    Checksum,
    /// An option cannot be read.
    Options,
    /// Another message than a Binding Update.
    Message,
    /// The cache does not answer this.
    Discarded(Discard),
    /// It is not authenticated (RFC 4285 §5).
    Unauthenticated,
    /// It is authenticated by nobody who is known (RFC 4285 §5.1).
    Unknown,
    /// Too many complaints already.
    Limited,
    /// The answer could not be written.
    Unanswerable,
}

impl Why {
    /// The name in counters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Checksum => "checksum",
            Self::Options => "options",
            Self::Message => "message",
            Self::Discarded(Discard::HomeAddress) => "home-address",
            Self::Discarded(Discard::CareOfAddress) => "care-of-address",
            Self::Discarded(Discard::Circular) => "circular",
            Self::Discarded(Discard::NotHomeRegistration) => "not-home-registration",
            Self::Unauthenticated => "unauthenticated",
            Self::Unknown => "unknown",
            Self::Limited => "limited",
            Self::Unanswerable => "unanswerable",
        }
    }
}

/// Who may register, and how that is found out.
#[derive(Debug)]
pub struct Registrar {
    agent: Ipv6Addr,
    keyring: Keyring,
    insecure: bool,
    complaints: Limit,
}

/// An update that has been read.
struct Request<'p> {
    update: Update,
    options: BindingOptions<'p>,
    octets: &'p [u8],
    source: Ipv6Addr,
    /// Whether it had a Home Address option.
    away: bool,
}

impl Registrar {
    /// The registrar of the agent at this address. `insecure` accepts updates that
    /// nothing authenticates.
    #[must_use]
    pub fn new(agent: Ipv6Addr, keyring: Keyring, insecure: bool) -> Self {
        Self {
            agent,
            keyring,
            insecure,
            complaints: Limit::new(Duration::from_millis(10), 50),
        }
    }

    /// Who may register, to be changed.
    pub const fn keyring_mut(&mut self) -> &mut Keyring {
        &mut self.keyring
    }

    /// Judges a packet to the agent that carries a Mobility Header, at `now` of the
    /// cache's clock and `wall` of the day's, and writes the answer into `room`.
    pub fn receive<'b>(
        &mut self,
        cache: &mut Cache,
        octets: &[u8],
        now: Duration,
        wall: Timestamp,
        room: &'b mut [u8],
    ) -> Outcome<'b> {
        let chain = Ipv6Packet::new(octets).map(|packet| walk(&packet));
        let Ok(Ok(chain)) = chain else {
            return Outcome::Silence(Why::Malformed);
        };
        // A routing header would make the packet somebody else's.
        if chain.packet.destination() != self.agent || chain.routing.is_some() {
            return Outcome::Silence(Why::Malformed);
        }
        // Whatever it says, its answer would be nobody's.
        //= https://www.rfc-editor.org/rfc/rfc6275#section-9.3.3
        if !is_unicast_routable(chain.packet.source()) {
            return Outcome::Silence(Why::Malformed);
        }
        let packet = match MobilityPacket::receive(&chain) {
            Ok(packet) => packet,
            Err(refusal) => return self.complain(&chain, refusal, now, room),
        };
        let request = match read(&chain, &packet) {
            Ok(request) => request,
            Err(why) => return Outcome::Silence(why),
        };
        self.judge(cache, &request, now, wall, room)
    }

    fn judge<'b>(
        &mut self,
        cache: &mut Cache,
        request: &Request<'_>,
        now: Duration,
        wall: Timestamp,
        room: &'b mut [u8],
    ) -> Outcome<'b> {
        let update = &request.update;
        let refused = |status, timestamp| Acknowledgement {
            status,
            sequence: update.sequence,
            lifetime: Lifetime::ZERO,
            refresh_advice: None,
            timestamp,
        };
        let (sender, spi) = match self.identify(request, wall) {
            Ok(identified) => identified,
            Err(Identity::Silence(why)) => return Outcome::Silence(why),
            Err(Identity::Rejected {
                status,
                timestamp,
                spi,
            }) => {
                // Whoever sends such packets in another's name must not have that one
                // flooded with answers. A message whose code is right is nobody else's,
                // and its answer is what mends the clock; but the code does not cover
                // where it comes from, unless that is the care-of address.
                let is_its_own = status != Status::AUTHENTICATION_FAILED
                    && request.source == request.update.care_of;
                if !is_its_own && !self.complaints.permits(now) {
                    return Outcome::Silence(Why::Limited);
                }
                let acknowledgement = refused(status, timestamp);
                return self.answer(request, &acknowledgement, Change::None, Some(spi), room);
            }
        };
        match cache.receive(now, update, sender) {
            Verdict::Discard(why) => Outcome::Silence(Why::Discarded(why)),
            Verdict::Acknowledge {
                acknowledgement,
                change,
            } => self.answer(request, &acknowledgement, change, spi, room),
        }
    }

    /// Who sent it, and the SPI that the answer is authenticated with.
    fn identify(
        &mut self,
        request: &Request<'_>,
        wall: Timestamp,
    ) -> Result<(Sender, Option<u32>), Identity> {
        let by_key = request.options.authenticator.filter(|(place, _)| {
            place.is_last && matches!(place.method, Method::MobileNodeHomeAgent { .. })
        });
        let Some((place, code)) = by_key else {
            return match self.insecure {
                true => Ok((Sender::Unidentified, None)),
                //= https://www.rfc-editor.org/rfc/rfc4285#section-5
                false => Err(Identity::Silence(Why::Unauthenticated)),
            };
        };
        let Method::MobileNodeHomeAgent { spi } = place.method else {
            return Err(Identity::Silence(Why::Unauthenticated));
        };
        let mut mac = [0; MAC_LEN];
        mac.copy_from_slice(code);
        let credentials = Credentials {
            spi,
            identity: request.options.node_identifier.map(|(_, octets)| octets),
            timestamp: request.update.timestamp,
            mac,
            care_of: request.update.care_of,
            home: request.update.anycast,
            covered: request.octets.get(..place.at).unwrap_or_default(),
        };
        match self.keyring.authenticate(wall, &credentials) {
            Authentication::Fresh {
                node: id,
                may_register,
            } => Ok((Sender::Node { id, may_register }, Some(spi))),
            Authentication::Rejected { status, timestamp } => Err(Identity::Rejected {
                status,
                timestamp,
                spi,
            }),
            Authentication::Discarded(
                Silence::NoAssociation | Silence::NoIdentity | Silence::OtherIdentity,
            ) => Err(Identity::Silence(Why::Unknown)),
        }
    }

    /// A Binding Acknowledgement.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-9.5.4
    fn answer<'b>(
        &self,
        request: &Request<'_>,
        acknowledgement: &Acknowledgement,
        change: Change,
        spi: Option<u32>,
        room: &'b mut [u8],
    ) -> Outcome<'b> {
        let update = &request.update;
        let datagram = Datagram {
            extension: request.away.then_some(Extension::Routing(update.anycast)),
            ..Datagram::new(self.agent, request.source)
        };
        let message = Message::BindingAcknowledgement {
            status: acknowledgement.status,
            flags: AcknowledgementFlags(0),
            sequence: acknowledgement.sequence.0,
            lifetime: acknowledgement.lifetime.0,
        };
        let advice = acknowledgement
            .refresh_advice
            .map(|Lifetime(interval)| [MobilityOption::RefreshAdvice { interval }]);
        let seal = spi
            .and_then(|spi| self.keyring.association(spi))
            .map(|association| Seal {
                association,
                identify: false,
                timestamp: acknowledgement.timestamp,
                care_of: update.care_of,
                home: update.anycast,
            });
        let options = advice.as_ref().map_or(&[][..], |advice| &advice[..]);
        match sealed::emit(&datagram, message, options, seal.as_ref(), room) {
            Ok(answer) => Outcome::Judged {
                answer,
                anycast: update.anycast,
                care_of: update.care_of,
                status: acknowledgement.status,
                change,
            },
            Err(_) => Outcome::Silence(Why::Unanswerable),
        }
    }

    /// What RFC 6275 §9.2 has the receiver say about a header that it refuses.
    fn complain<'b>(
        &mut self,
        chain: &Chain<'_>,
        refusal: Refusal,
        now: Duration,
        room: &'b mut [u8],
    ) -> Outcome<'b> {
        let (source, home) = (chain.packet.source(), chain.home_address);
        let answer = refusal.answer(chain.offset);
        if answer == Answer::Silence {
            return Outcome::Silence(match refusal {
                Refusal::Checksum => Why::Checksum,
                _ => Why::Malformed,
            });
        }
        if !self.complaints.permits(now) {
            return Outcome::Silence(Why::Limited);
        }
        let datagram = Datagram::new(self.agent, source);
        let written = match answer {
            Answer::BindingError(status) => {
                let home_address = home.map_or(Ipv6Addr::UNSPECIFIED, |home| home.address);
                let message = Message::BindingError {
                    status,
                    home_address,
                };
                sealed::emit(&datagram, message, &[], None, room)
            }
            Answer::ParameterProblem { code, pointer } => {
                let kind = ErrorKind::ParameterProblem { code, pointer };
                if !may_answer(&chain.packet, kind) {
                    return Outcome::Silence(Why::Malformed);
                }
                let invoking = chain.packet.octets();
                ErrorRepr { kind, invoking }.emit_packet(&datagram, room)
            }
            Answer::Silence => return Outcome::Silence(Why::Malformed),
        };
        match written {
            Ok(octets) => Outcome::Complaint(octets),
            Err(_) => Outcome::Silence(Why::Unanswerable),
        }
    }
}

/// Why a sender is not known.
enum Identity {
    Silence(Why),
    Rejected {
        status: Status,
        timestamp: Option<Timestamp>,
        spi: u32,
    },
}

/// Reads a Binding Update.
//= https://www.rfc-editor.org/rfc/rfc6275#section-9.5.1
fn read<'p>(chain: &Chain<'p>, packet: &MobilityPacket<'p>) -> Result<Request<'p>, Why> {
    let Ok(Message::BindingUpdate {
        sequence,
        flags,
        lifetime,
    }) = packet.message()
    else {
        return Err(Why::Message);
    };
    let options = BindingOptions::parse(packet).map_err(|_| Why::Options)?;
    let source = chain.packet.source();
    let update = Update {
        anycast: chain.source(),
        //= https://www.rfc-editor.org/rfc/rfc6275#section-10.3.1
        care_of: options.alternate_care_of.unwrap_or(source),
        sequence: Sequence(sequence),
        lifetime: Lifetime(lifetime),
        flags: UpdateFlags(flags.0),
        timestamp: options.timestamp.map(Timestamp),
    };
    Ok(Request {
        update,
        options,
        octets: packet.octets(),
        source,
        away: chain.home_address.is_some(),
    })
}

#[cfg(test)]
#[path = "registrar_tests.rs"]
mod tests;
