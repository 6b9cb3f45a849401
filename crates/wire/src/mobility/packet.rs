//! A Mobility Header that was received, and the checks that every one has to pass.

use core::net::Ipv6Addr;

use super::message::{Message, fixed_len};
use super::option::{Options, RawOptions};
use super::{ErrorStatus, field};
use crate::icmpv6_error::ERRONEOUS_FIELD;
use crate::ipv6::{Chain, Unrecognised, protocol};
use crate::{Error, checksum};

/// Borrowed octets of a Mobility Header, as many as its length field says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MobilityPacket<'a> {
    octets: &'a [u8],
}

/// Why a Mobility Header is not processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Another protocol, or a part of a packet.
    Protocol,
    /// Before it stands an option or a routing header that is not known and that the
    /// packet's destination may not pass over.
    Unrecognised(Unrecognised),
    /// Fewer octets than its length field says, or than every one has.
    Truncated,
    /// The checksum is wrong.
    Checksum,
    /// A type that is not known.
    Type(u8),
    /// Payload Proto is not 59.
    PayloadProto(u8),
    /// Header Len is too small for the type.
    HeaderLen(u8),
    /// A field with a value that the message does not define.
    Value,
}

/// What a receiver has to do about a message that it refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    Silence,
    /// A Binding Error to the source of the packet (RFC 6275 §9.3.3).
    BindingError(ErrorStatus),
    /// An ICMPv6 Parameter Problem directly to the source of the packet.
    ParameterProblem {
        /// Code: 0, and 2 for an option that is not known.
        code: u8,
        /// Pointer, in octets from the begin of the IPv6 header.
        pointer: u32,
    },
}

impl Refusal {
    /// What a receiver does about it, the Mobility Header beginning `offset` octets
    /// behind the begin of the IPv6 header.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-9.2
    #[must_use]
    pub fn answer(self, offset: usize) -> Answer {
        let problem = |code: u8, at: usize| Answer::ParameterProblem {
            code,
            pointer: u32::try_from(at).unwrap_or(u32::MAX),
        };
        match self {
            Refusal::Type(_) => Answer::BindingError(ErrorStatus::UNRECOGNISED_TYPE),
            Refusal::PayloadProto(_) => problem(ERRONEOUS_FIELD, offset + field::PAYLOAD_PROTO),
            Refusal::HeaderLen(_) => problem(ERRONEOUS_FIELD, offset + field::HEADER_LEN),
            Refusal::Unrecognised(Unrecognised {
                at,
                code: Some(code),
            }) => problem(code, at),
            Refusal::Unrecognised(Unrecognised { code: None, .. }) => Answer::Silence,
            Refusal::Protocol | Refusal::Truncated | Refusal::Checksum | Refusal::Value => {
                Answer::Silence
            }
        }
    }
}

impl<'a> MobilityPacket<'a> {
    /// Looks at a Mobility Header. What follows it is left out: its own Payload Proto
    /// says that there is nothing.
    ///
    /// # Errors
    /// [`Refusal::Truncated`].
    #[inline]
    pub fn new(octets: &'a [u8]) -> Result<Self, Refusal> {
        let units = octets.get(field::HEADER_LEN).ok_or(Refusal::Truncated)?;
        let len = (usize::from(*units) + 1) * 8;
        match octets.get(..len) {
            Some(octets) => Ok(Self { octets }),
            None => Err(Refusal::Truncated),
        }
    }

    /// Makes the checks of RFC 6275 §9.2, in its order, on the Mobility Header of a
    /// packet, behind those of a destination on the headers before it: of a packet that
    /// was logged on its way in, the kernel has not judged them yet. The addresses for the checksum are those of the chain: the home address
    /// where there is one (RFC 6275 §6.1.1).
    ///
    /// # Errors
    /// [`Refusal`], whose [`Refusal::answer`] is to be sent.
    #[inline]
    pub fn receive(chain: &Chain<'a>) -> Result<Self, Refusal> {
        if chain.protocol != protocol::MOBILITY || !chain.is_whole() {
            return Err(Refusal::Protocol);
        }
        //= https://www.rfc-editor.org/rfc/rfc8200#section-4.2
        //= https://www.rfc-editor.org/rfc/rfc5095#section-3
        if let Some(unrecognised) = chain.unrecognised {
            return Err(Refusal::Unrecognised(unrecognised));
        }
        Self::check(chain.payload(), chain.source(), chain.destination())
    }

    /// The same, with the addresses for the checksum.
    ///
    /// # Errors
    /// [`Refusal`].
    #[inline]
    pub fn check(
        octets: &'a [u8],
        source: Ipv6Addr,
        destination: Ipv6Addr,
    ) -> Result<Self, Refusal> {
        let packet = Self::new(octets)?;
        //= https://www.rfc-editor.org/rfc/rfc6275#section-9.2
        //# Otherwise, the node MUST
        //# silently discard the message.
        if !packet.checksum_holds(source, destination) {
            return Err(Refusal::Checksum);
        }
        packet.well_formed()?;
        Ok(packet)
    }

    /// The checks behind that of the checksum.
    #[inline]
    fn well_formed(&self) -> Result<usize, Refusal> {
        //= https://www.rfc-editor.org/rfc/rfc6275#section-9.2
        //# The MH Type field MUST have a known value (Section 6.1.1).
        let fixed = fixed_len(self.mh_type()).ok_or(Refusal::Type(self.mh_type()))?;
        //= https://www.rfc-editor.org/rfc/rfc6275#section-9.2
        //# The Payload Proto field MUST be IPPROTO_NONE (59 decimal).
        match self.octets[field::PAYLOAD_PROTO] {
            protocol::NONE => {}
            other => return Err(Refusal::PayloadProto(other)),
        }
        //= https://www.rfc-editor.org/rfc/rfc6275#section-9.2
        //# The Header Len field in the Mobility Header MUST NOT be less than
        //# the length specified for this particular type of message in
        //# Section 6.1.
        if self.octets.len() < fixed {
            return Err(Refusal::HeaderLen(self.octets[field::HEADER_LEN]));
        }
        Ok(fixed)
    }

    /// The octets of the header.
    #[must_use]
    pub fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// The MH Type field.
    #[must_use]
    pub fn mh_type(&self) -> u8 {
        self.octets[field::TYPE]
    }

    /// Whether the checksum holds. With a Home Address option the source is the home
    /// address, with a type 2 routing header the destination.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-6.1.1
    #[must_use]
    pub fn checksum_holds(&self, source: Ipv6Addr, destination: Ipv6Addr) -> bool {
        checksum::upper_layer(source, destination, protocol::MOBILITY, self.octets) == 0
    }

    /// The message. Reserved fields are not looked at.
    ///
    /// # Errors
    /// [`Refusal::Type`], [`Refusal::PayloadProto`], [`Refusal::HeaderLen`];
    /// [`Refusal::Value`] for a binding revocation message that is neither indication
    /// nor acknowledgement.
    #[inline]
    pub fn message(&self) -> Result<Message, Refusal> {
        self.well_formed()?;
        Message::parse(self.mh_type(), self.octets).map_err(|_| Refusal::Value)
    }

    /// The options that are known; none in a message of an unknown type.
    #[inline]
    #[must_use]
    pub fn options(&self) -> Options<'a> {
        Options(self.raw_options())
    }

    /// All options, also padding and those that are not known.
    #[inline]
    #[must_use]
    pub fn raw_options(&self) -> RawOptions<'a> {
        let at = fixed_len(self.mh_type()).unwrap_or(self.octets.len());
        RawOptions {
            rest: self.octets.get(at..).unwrap_or(&[]),
            at,
        }
    }
}

/// Writes the checksum into a Mobility Header. With a Home Address option the source is
/// the home address, with a type 2 routing header the destination.
///
/// # Errors
/// [`Error::Truncated`] when the octets have no checksum field.
//= https://www.rfc-editor.org/rfc/rfc6275#section-6.1.1
#[inline]
pub fn fill_checksum(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    octets: &mut [u8],
) -> Result<(), Error> {
    let checksum = octets.get_mut(field::CHECKSUM).ok_or(Error::Truncated)?;
    checksum.fill(0);
    let sum = checksum::upper_layer(source, destination, protocol::MOBILITY, octets);
    octets[field::CHECKSUM].copy_from_slice(&sum.to_be_bytes());
    Ok(())
}
