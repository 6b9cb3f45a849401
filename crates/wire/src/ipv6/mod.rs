//! The IPv6 header (RFC 8200 §3), the walk over the extension headers behind it, and
//! the headers that Mobile IPv6 puts before a message.

mod chain;
mod datagram;

use core::net::Ipv6Addr;

pub use chain::{
    Chain, Fragment, HEADERS_MAX, HOME_ADDRESS_OPTION, HomeAddress, Malformed, TYPE_2,
    Unrecognised, walk,
};
pub use datagram::{Datagram, EXTENSION, Extension, encapsulating};

use crate::{Error, array};

/// Octets of the IPv6 header.
pub const HEADER: usize = 40;
/// The MTU that every link has at least (RFC 8200 §5).
pub const MTU_MIN: usize = 1280;

/// Values of the Next Header field.
pub mod protocol {
    /// Hop-by-Hop Options header (RFC 8200 §4.3).
    pub const HOP_BY_HOP: u8 = 0;
    /// IPv6 in IPv6 (RFC 2473).
    pub const IPV6: u8 = 41;
    /// Routing header (RFC 8200 §4.4).
    pub const ROUTING: u8 = 43;
    /// Fragment header (RFC 8200 §4.5).
    pub const FRAGMENT: u8 = 44;
    /// Encapsulating Security Payload (RFC 4303).
    pub const ESP: u8 = 50;
    /// Authentication Header (RFC 4302).
    pub const AUTHENTICATION: u8 = 51;
    /// ICMPv6 (RFC 4443).
    pub const ICMPV6: u8 = 58;
    /// Nothing follows (RFC 8200 §4.7).
    pub const NONE: u8 = 59;
    /// Destination Options header (RFC 8200 §4.6).
    pub const DESTINATION_OPTIONS: u8 = 60;
    /// Mobility Header (RFC 6275 §6.1).
    pub const MOBILITY: u8 = 135;
}

pub(crate) mod field {
    pub(crate) const PAYLOAD_LEN: usize = 4;
    pub(crate) const NEXT_HEADER: usize = 6;
    pub(super) const HOP_LIMIT: usize = 7;
    pub(super) const SOURCE: usize = 8;
    pub(super) const DESTINATION: usize = 24;
}

/// A borrowed IPv6 packet: the header and what its payload length covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Packet<'a> {
    header: &'a [u8; HEADER],
    octets: &'a [u8],
}

impl<'a> Ipv6Packet<'a> {
    /// Looks at a whole packet. Octets beyond the payload length, such as a link
    /// puts behind short packets, are left out. A jumbogram (RFC 2675) has a payload
    /// length of zero and appears empty.
    ///
    /// # Errors
    /// [`Error::Truncated`] with fewer octets than the header or its payload length
    /// says; [`Error::Version`] for a version other than 6.
    #[inline]
    pub fn new(octets: &'a [u8]) -> Result<Self, Error> {
        let packet = Self::quoted(octets)?;
        if packet.octets.len() < HEADER + usize::from(packet.payload_len()) {
            return Err(Error::Truncated);
        }
        Ok(packet)
    }

    /// Looks at the front of a packet, as an ICMPv6 error quotes it: the payload may
    /// be cut off anywhere.
    ///
    /// # Errors
    /// [`Error::Truncated`] with fewer than 40 octets, [`Error::Version`].
    #[inline]
    pub fn quoted(octets: &'a [u8]) -> Result<Self, Error> {
        let header: &[u8; HEADER] = octets.first_chunk().ok_or(Error::Truncated)?;
        if header[0] >> 4 != 6 {
            return Err(Error::Version);
        }
        let whole = Self { header, octets };
        let end = HEADER + usize::from(whole.payload_len());
        Ok(Self {
            header,
            octets: octets.get(..end).unwrap_or(octets),
        })
    }

    /// The traffic class.
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        self.header[0] << 4 | self.header[1] >> 4
    }

    /// The flow label, 20 bits.
    #[must_use]
    pub fn flow_label(&self) -> u32 {
        u32::from_be_bytes([0, self.header[1] & 0xf, self.header[2], self.header[3]])
    }

    /// The payload length that the header states, in octets.
    #[must_use]
    pub fn payload_len(&self) -> u16 {
        u16::from_be_bytes([self.header[4], self.header[5]])
    }

    /// The type of the header behind this one.
    #[must_use]
    pub fn next_header(&self) -> u8 {
        self.header[field::NEXT_HEADER]
    }

    /// The hop limit.
    #[must_use]
    pub fn hop_limit(&self) -> u8 {
        self.header[field::HOP_LIMIT]
    }

    /// The source address.
    #[must_use]
    pub fn source(&self) -> Ipv6Addr {
        self.address(field::SOURCE)
    }

    /// The destination address; with a routing header that is not yet done, it is
    /// that of the next node that looks into it.
    #[must_use]
    pub fn destination(&self) -> Ipv6Addr {
        self.address(field::DESTINATION)
    }

    fn address(&self, at: usize) -> Ipv6Addr {
        // Both lie within the header.
        array(self.header, at).map_or(Ipv6Addr::UNSPECIFIED, <[u8; 16]>::into)
    }

    /// The header and the payload.
    #[must_use]
    pub fn octets(&self) -> &'a [u8] {
        self.octets
    }

    /// What is behind the header.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        &self.octets[HEADER..]
    }
}

/// The IPv6 header in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv6Repr {
    /// Traffic class.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Octets behind the header.
    pub payload_len: u16,
    /// Type of the header behind this one.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
}

impl Ipv6Repr {
    /// The parts of a packet's header.
    #[must_use]
    pub fn parse(packet: &Ipv6Packet<'_>) -> Self {
        Self {
            traffic_class: packet.traffic_class(),
            flow_label: packet.flow_label(),
            payload_len: packet.payload_len(),
            next_header: packet.next_header(),
            hop_limit: packet.hop_limit(),
            source: packet.source(),
            destination: packet.destination(),
        }
    }

    /// Writes the 40 octets of the header.
    ///
    /// # Errors
    /// [`Error::Truncated`] when the buffer is smaller than the header,
    /// [`Error::Value`] for a flow label of more than 20 bits.
    #[inline]
    pub fn emit(&self, buffer: &mut [u8]) -> Result<(), Error> {
        let header: &mut [u8; HEADER] = buffer.first_chunk_mut().ok_or(Error::Truncated)?;
        if self.flow_label >> 20 != 0 {
            return Err(Error::Value);
        }
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label;
        header[..4].copy_from_slice(&first.to_be_bytes());
        header[field::PAYLOAD_LEN..6].copy_from_slice(&self.payload_len.to_be_bytes());
        header[field::NEXT_HEADER] = self.next_header;
        header[field::HOP_LIMIT] = self.hop_limit;
        header[field::SOURCE..field::DESTINATION].copy_from_slice(&self.source.octets());
        header[field::DESTINATION..].copy_from_slice(&self.destination.octets());
        Ok(())
    }
}

/// Whether a packet can be routed to the address and one node is meant: global or
/// unique-local unicast. Link-local, loopback, unspecified, multicast and IPv4-mapped
/// addresses are not.
#[must_use]
pub fn is_unicast_routable(address: Ipv6Addr) -> bool {
    !(address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || address.is_unicast_link_local()
        || address.to_ipv4_mapped().is_some())
}

#[cfg(test)]
mod tests;
