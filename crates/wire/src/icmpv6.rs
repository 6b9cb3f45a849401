//! ICMPv6 Echo Request and Echo Reply (RFC 4443 §4.1 and §4.2).

use core::net::Ipv6Addr;

use crate::{Error, be16};

/// Type of an Echo Request.
//= https://www.rfc-editor.org/rfc/rfc4443#section-4.1
pub const ECHO_REQUEST: u8 = 128;
/// Type of an Echo Reply.
//= https://www.rfc-editor.org/rfc/rfc4443#section-4.2
pub const ECHO_REPLY: u8 = 129;
/// Type of a Destination Unreachable message.
//= https://www.rfc-editor.org/rfc/rfc4443#section-3.1
pub const DESTINATION_UNREACHABLE: u8 = 1;
/// Code of a Destination Unreachable message: port unreachable.
//= https://www.rfc-editor.org/rfc/rfc4443#section-3.1
pub const PORT_UNREACHABLE: u8 = 4;
/// Type of a Time Exceeded message.
//= https://www.rfc-editor.org/rfc/rfc4443#section-3.3
pub const TIME_EXCEEDED: u8 = 3;
/// Type of a Parameter Problem message.
//= https://www.rfc-editor.org/rfc/rfc4443#section-3.4
pub const PARAMETER_PROBLEM: u8 = 4;
/// Next header value of ICMPv6 (RFC 4443 §1).
pub const NEXT_HEADER: u8 = 58;
/// Octets before the data of an echo message.
pub const ECHO_HEADER: usize = 8;

mod field {
    use core::ops::Range;
    pub(super) const TYPE: usize = 0;
    pub(super) const CODE: usize = 1;
    pub(super) const CHECKSUM: Range<usize> = 2..4;
    pub(super) const IDENT: usize = 4;
    pub(super) const SEQUENCE: usize = 6;
    pub(super) const DATA: usize = 8;
}

/// Borrowed octets that are long enough to be an echo message.
#[derive(Debug, Clone, Copy)]
pub struct EchoPacket<'a> {
    octets: &'a [u8],
}

impl<'a> EchoPacket<'a> {
    /// Looks at an ICMPv6 message, beginning with its type.
    ///
    /// # Errors
    /// [`Error::Truncated`] with fewer than eight octets.
    pub fn new(octets: &'a [u8]) -> Result<Self, Error> {
        if octets.len() < ECHO_HEADER {
            return Err(Error::Truncated);
        }
        Ok(Self { octets })
    }

    /// The type field.
    #[must_use]
    pub fn message_type(&self) -> u8 {
        self.octets[field::TYPE]
    }

    /// The code field.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.octets[field::CODE]
    }

    /// The data behind the sequence number.
    #[must_use]
    pub fn data(&self) -> &'a [u8] {
        &self.octets[field::DATA..]
    }

    /// Whether the checksum holds for a packet from `src` to `dst`
    /// (RFC 4443 §2.3).
    #[must_use]
    pub fn checksum_holds(&self, src: Ipv6Addr, dst: Ipv6Addr) -> bool {
        checksum(src, dst, self.octets) == 0
    }
}

/// Which of the two echo messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EchoKind {
    /// Echo Request.
    Request,
    /// Echo Reply.
    Reply,
}

/// An echo message in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EchoRepr<'a> {
    /// Request or reply.
    pub kind: EchoKind,
    /// Identifier.
    pub ident: u16,
    /// Sequence number.
    pub sequence: u16,
    /// Data, of any length.
    pub data: &'a [u8],
}

impl<'a> EchoRepr<'a> {
    /// Reads an echo message. The checksum is not looked at: ping sockets and raw
    /// ICMPv6 sockets deliver only what the kernel has verified; see
    /// [`EchoPacket::checksum_holds`] for bytes from elsewhere.
    ///
    /// # Errors
    /// [`Error::Truncated`], [`Error::Type`], and [`Error::Code`] for a code other
    /// than zero, which is the only one that RFC 4443 defines.
    pub fn parse(octets: &'a [u8]) -> Result<Self, Error> {
        let packet = EchoPacket::new(octets)?;
        let kind = match packet.message_type() {
            ECHO_REQUEST => EchoKind::Request,
            ECHO_REPLY => EchoKind::Reply,
            _ => return Err(Error::Type),
        };
        //= https://www.rfc-editor.org/rfc/rfc4443#section-4.2
        //# Code           0
        if packet.code() != 0 {
            return Err(Error::Code);
        }
        Ok(Self {
            kind,
            ident: be16(octets, field::IDENT)?,
            sequence: be16(octets, field::SEQUENCE)?,
            data: packet.data(),
        })
    }

    /// Octets that [`EchoRepr::emit`] writes.
    #[must_use]
    pub fn buffer_len(&self) -> usize {
        ECHO_HEADER + self.data.len()
    }

    /// Writes the message with a checksum field of zero, as ping sockets and raw
    /// ICMPv6 sockets want it (the kernel fills it in), and returns its octets.
    ///
    /// # Errors
    /// [`Error::Truncated`] when the buffer is smaller than
    /// [`EchoRepr::buffer_len`].
    pub fn emit<'b>(&self, buffer: &'b mut [u8]) -> Result<&'b mut [u8], Error> {
        let octets = buffer
            .get_mut(..self.buffer_len())
            .ok_or(Error::Truncated)?;
        octets[field::TYPE] = match self.kind {
            EchoKind::Request => ECHO_REQUEST,
            EchoKind::Reply => ECHO_REPLY,
        };
        octets[field::CODE] = 0;
        octets[field::CHECKSUM].fill(0);
        octets[field::IDENT..field::IDENT + 2].copy_from_slice(&self.ident.to_be_bytes());
        octets[field::SEQUENCE..field::SEQUENCE + 2].copy_from_slice(&self.sequence.to_be_bytes());
        octets[field::DATA..].copy_from_slice(self.data);
        Ok(octets)
    }
}

/// Writes the checksum into an ICMPv6 message from `src` to `dst`.
///
/// # Errors
/// [`Error::Truncated`] when the message has no checksum field.
pub fn fill_checksum(src: Ipv6Addr, dst: Ipv6Addr, message: &mut [u8]) -> Result<(), Error> {
    message
        .get_mut(field::CHECKSUM)
        .ok_or(Error::Truncated)?
        .fill(0);
    let sum = checksum(src, dst, message);
    message[field::CHECKSUM].copy_from_slice(&sum.to_be_bytes());
    Ok(())
}

/// The ones' complement checksum over the pseudo-header and the message (RFC 8200
/// §8.1). Zero when computed over a message whose checksum field is right.
#[must_use]
pub fn checksum(src: Ipv6Addr, dst: Ipv6Addr, message: &[u8]) -> u16 {
    crate::checksum::upper_layer(src, dst, NEXT_HEADER, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn checksum_worked_by_hand() {
        let src: Ipv6Addr = "fe80::1".parse().unwrap();
        let dst: Ipv6Addr = "ff02::1".parse().unwrap();
        let mut message = [128, 0, 0, 0, 0x12, 0x34, 0, 1, 0, 1, 2, 3];
        // The sum of every 16-bit word of pseudo-header and message, written out.
        let words: u32 = 0xfe80 + 1 + 0xff02 + 1 + 0x3a + 12 + 0x8000 + 0x1234 + 1 + 1 + 0x203;
        let folded = (words & 0xffff) + (words >> 16);
        let folded = (folded & 0xffff) + (folded >> 16);
        fill_checksum(src, dst, &mut message).unwrap();
        assert_eq!(be16(&message, 2).unwrap(), !(folded as u16));
        assert!(EchoPacket::new(&message).unwrap().checksum_holds(src, dst));
    }

    //= https://www.rfc-editor.org/rfc/rfc4443#section-4.2
    //= type=test
    #[test]
    fn a_code_other_than_zero_is_refused() {
        for code in 1..=255u8 {
            let message = [ECHO_REPLY, code, 0, 0, 0, 1, 0, 2];
            assert_eq!(EchoRepr::parse(&message), Err(Error::Code));
        }
    }

    #[test]
    fn other_types_are_refused() {
        for kind in (0..=255u8).filter(|k| !(128..=129).contains(k)) {
            assert_eq!(
                EchoRepr::parse(&[kind, 0, 0, 0, 0, 1, 0, 2]),
                Err(Error::Type)
            );
        }
    }

    #[test]
    fn too_short_is_refused() {
        for len in 0..ECHO_HEADER {
            assert_eq!(EchoRepr::parse(&[129; 8][..len]), Err(Error::Truncated));
        }
    }

    #[test]
    fn a_buffer_too_small_is_refused() {
        let repr = EchoRepr {
            kind: EchoKind::Reply,
            ident: 1,
            sequence: 2,
            data: &[0; 4],
        };
        assert_eq!(repr.emit(&mut [0; 11]), Err(Error::Truncated));
        assert_eq!(
            fill_checksum(Ipv6Addr::LOCALHOST, Ipv6Addr::LOCALHOST, &mut [0; 3]),
            Err(Error::Truncated)
        );
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_parsed(
            request: bool, ident: u16, sequence: u16,
            data in proptest::collection::vec(any::<u8>(), 0..200),
            src: [u8; 16], dst: [u8; 16],
        ) {
            let kind = if request { EchoKind::Request } else { EchoKind::Reply };
            let repr = EchoRepr { kind, ident, sequence, data: &data };
            let mut buffer = vec![0xa5; repr.buffer_len() + 3];
            let octets = repr.emit(&mut buffer).unwrap();
            prop_assert_eq!(EchoRepr::parse(octets), Ok(repr));
            fill_checksum(src.into(), dst.into(), octets).unwrap();
            prop_assert!(EchoPacket::new(octets).unwrap().checksum_holds(src.into(), dst.into()));
            prop_assert_eq!(EchoRepr::parse(octets), Ok(repr));
        }

        #[test]
        fn foreign_bytes_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(repr) = EchoRepr::parse(&octets) {
                let mut buffer = vec![0xa5; repr.buffer_len()];
                let out = repr.emit(&mut buffer).unwrap();
                prop_assert_eq!(&out[4..], &octets[4..]);
            }
        }
    }
}
