//! ICMPv6 error messages (RFC 4443 §3).

use crate::icmpv6::{
    DESTINATION_UNREACHABLE, NEXT_HEADER, PARAMETER_PROBLEM, TIME_EXCEEDED, fill_checksum,
};
use crate::ipv6::{Datagram, Ipv6Packet, MTU_MIN, walk};
use crate::{Error, be32};

/// Type of a Packet Too Big message.
//= https://www.rfc-editor.org/rfc/rfc4443#section-3.2
pub const PACKET_TOO_BIG: u8 = 2;
/// Type of a Redirect message (RFC 4861 §4.5).
const REDIRECT: u8 = 137;
/// The first type of an informational message (RFC 4443 §2.1).
const INFORMATIONAL: u8 = 128;
/// Octets before the quoted packet.
pub const ERROR_HEADER: usize = 8;

/// Code of a Destination Unreachable message: address unreachable (RFC 4443 §3.1).
pub const ADDRESS_UNREACHABLE: u8 = 3;
/// Code of a Destination Unreachable message: no route to destination.
pub const NO_ROUTE: u8 = 0;
/// Code of a Destination Unreachable message: administratively prohibited.
pub const PROHIBITED: u8 = 1;
/// Code of a Time Exceeded message: hop limit exceeded in transit (RFC 4443 §3.3).
pub const HOP_LIMIT_EXCEEDED: u8 = 0;
/// Code of a Parameter Problem: erroneous header field (RFC 4443 §3.4).
pub const ERRONEOUS_FIELD: u8 = 0;
/// Code of a Parameter Problem: unrecognised Next Header type.
pub const UNRECOGNISED_NEXT_HEADER: u8 = 1;
/// Code of a Parameter Problem: unrecognised IPv6 option.
pub const UNRECOGNISED_OPTION: u8 = 2;

/// What an error message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Destination Unreachable.
    DestinationUnreachable {
        /// Why, such as [`ADDRESS_UNREACHABLE`].
        code: u8,
    },
    /// Packet Too Big.
    PacketTooBig {
        /// MTU of the next hop, in octets.
        mtu: u32,
    },
    /// Time Exceeded.
    TimeExceeded {
        /// 0 in transit, 1 in reassembly.
        code: u8,
    },
    /// Parameter Problem.
    ParameterProblem {
        /// Such as [`ERRONEOUS_FIELD`].
        code: u8,
        /// The octet in question, from the begin of the packet that is answered.
        pointer: u32,
    },
}

/// An error message in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorRepr<'a> {
    /// What it says.
    pub kind: ErrorKind,
    /// The packet that it answers, from its IPv6 header; of one that was received as
    /// much as is quoted.
    pub invoking: &'a [u8],
}

impl<'a> ErrorRepr<'a> {
    /// Reads an ICMPv6 message, beginning with its type. The checksum is not looked at;
    /// see [`crate::icmpv6::checksum`].
    ///
    /// # Errors
    /// [`Error::Truncated`], and [`Error::Type`] for other messages than the four of RFC
    /// 4443. Any code is read.
    pub fn parse(octets: &'a [u8]) -> Result<Self, Error> {
        let (header, invoking) = octets
            .split_at_checked(ERROR_HEADER)
            .ok_or(Error::Truncated)?;
        let (code, parameter) = (header[1], be32(header, 4)?);
        let kind = match header[0] {
            DESTINATION_UNREACHABLE => ErrorKind::DestinationUnreachable { code },
            PACKET_TOO_BIG => ErrorKind::PacketTooBig { mtu: parameter },
            TIME_EXCEEDED => ErrorKind::TimeExceeded { code },
            PARAMETER_PROBLEM => ErrorKind::ParameterProblem {
                code,
                pointer: parameter,
            },
            _ => return Err(Error::Type),
        };
        Ok(Self { kind, invoking })
    }

    /// The quoted packet, which may be cut off anywhere behind its IPv6 header.
    ///
    /// # Errors
    /// Those of [`Ipv6Packet::quoted`].
    pub fn quoted(&self) -> Result<Ipv6Packet<'a>, Error> {
        Ipv6Packet::quoted(self.invoking)
    }

    /// Octets that [`ErrorRepr::emit_packet`] writes.
    #[must_use]
    pub fn buffer_len(&self, datagram: &Datagram) -> usize {
        (datagram.headers_len() + ERROR_HEADER + self.invoking.len()).min(MTU_MIN)
    }

    /// Writes a whole packet with the error message, and the right checksum, and returns
    /// its octets. It quotes as much as fits; whether there may be an answer at all,
    /// [`may_answer`] tells.
    ///
    /// # Errors
    /// Those of [`Datagram::emit`].
    pub fn emit_packet<'b>(
        &self,
        datagram: &Datagram,
        buffer: &'b mut [u8],
    ) -> Result<&'b mut [u8], Error> {
        //= https://www.rfc-editor.org/rfc/rfc4443#section-2.4
        //# Every ICMPv6 error message (type < 128) MUST include
        //# as much of the IPv6 offending (invoking) packet (the packet that
        //# caused the error) as possible without making the error message
        //# packet exceed the minimum IPv6 MTU [IPv6].
        let len = self.buffer_len(datagram);
        let octets = datagram.emit(NEXT_HEADER, len - datagram.headers_len(), buffer)?;
        let (message_type, code, parameter) = match self.kind {
            ErrorKind::DestinationUnreachable { code } => (DESTINATION_UNREACHABLE, code, 0),
            ErrorKind::PacketTooBig { mtu } => (PACKET_TOO_BIG, 0, mtu),
            ErrorKind::TimeExceeded { code } => (TIME_EXCEEDED, code, 0),
            ErrorKind::ParameterProblem { code, pointer } => (PARAMETER_PROBLEM, code, pointer),
        };
        let (header, quote) = octets.split_at_mut(ERROR_HEADER);
        header[..4].copy_from_slice(&[message_type, code, 0, 0]);
        header[4..].copy_from_slice(&parameter.to_be_bytes());
        // `len` is at most that of all three.
        quote.copy_from_slice(&self.invoking[..quote.len()]);
        fill_checksum(
            datagram.checksum_source(),
            datagram.checksum_destination(),
            octets,
        )?;
        buffer.get_mut(..len).ok_or(Error::Truncated)
    }
}

/// Whether a packet may be answered with such an error (RFC 4443 §2.4(e)): not an error
/// message or a redirect, nothing to a multicast address but for two kinds, nothing from
/// an address that is not one node's. Anycast sources and link-layer broadcasts only the
/// caller knows.
//= https://www.rfc-editor.org/rfc/rfc4443#section-2.4
#[must_use]
pub fn may_answer(packet: &Ipv6Packet<'_>, kind: ErrorKind) -> bool {
    let source = packet.source();
    if source.is_unspecified() || source.is_multicast() || source.is_loopback() {
        return false;
    }
    let even_multicast = matches!(
        kind,
        ErrorKind::PacketTooBig { .. }
            | ErrorKind::ParameterProblem {
                code: UNRECOGNISED_OPTION,
                ..
            }
    );
    if packet.destination().is_multicast() && !even_multicast {
        return false;
    }
    match walk(packet) {
        Ok(chain) if chain.protocol == NEXT_HEADER => {
            let is_first = chain.fragment.is_none_or(|fragment| fragment.offset == 0);
            match chain.payload().first() {
                // Of a later fragment the type is not known: better no answer than one
                // to an error.
                Some(_) if !is_first => false,
                Some(&message_type) => message_type >= INFORMATIONAL && message_type != REDIRECT,
                None => false,
            }
        }
        Ok(_) => true,
        // What it carries is not known.
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests;
