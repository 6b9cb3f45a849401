//! Packets as they are sent: the IPv6 header and, for Mobile IPv6, one more before the
//! message.

use core::net::Ipv6Addr;

use super::chain::{HOME_ADDRESS_OPTION, TYPE_2};
use super::{HEADER, Ipv6Packet, Ipv6Repr, protocol};
use crate::Error;

/// Octets of either [`Extension`].
pub const EXTENSION: usize = 24;

/// The header that carries the home address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extension {
    /// A destination options header with a Home Address option: a packet from the
    /// mobile node, whose source is the care-of address.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-6.3
    HomeAddress(Ipv6Addr),
    /// A type 2 routing header: a packet to the mobile node, whose destination is the
    /// care-of address.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-6.4
    Routing(Ipv6Addr),
}

/// The headers before a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram {
    /// Source address of the IPv6 header.
    pub source: Ipv6Addr,
    /// Destination address of the IPv6 header.
    pub destination: Ipv6Addr,
    /// Traffic class.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
    /// Hop limit.
    pub hop_limit: u8,
    /// The header behind the IPv6 header.
    pub extension: Option<Extension>,
}

impl Datagram {
    /// Plain headers: traffic class and flow label 0, hop limit 64, no extension.
    #[must_use]
    pub fn new(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Self {
            source,
            destination,
            traffic_class: 0,
            flow_label: 0,
            hop_limit: 64,
            extension: None,
        }
    }

    /// Octets of the headers.
    #[must_use]
    pub fn headers_len(&self) -> usize {
        HEADER + self.extension.map_or(0, |_| EXTENSION)
    }

    /// The source address for the checksum of the upper layer.
    #[must_use]
    pub fn checksum_source(&self) -> Ipv6Addr {
        match self.extension {
            Some(Extension::HomeAddress(home)) => home,
            _ => self.source,
        }
    }

    /// The destination address for the checksum of the upper layer.
    #[must_use]
    pub fn checksum_destination(&self) -> Ipv6Addr {
        match self.extension {
            Some(Extension::Routing(home)) => home,
            _ => self.destination,
        }
    }

    /// Writes the headers before a payload of `payload_len` octets and returns where
    /// the payload is to be written.
    ///
    /// # Errors
    /// [`Error::Truncated`] when headers and payload do not fit the buffer,
    /// [`Error::Length`] when they do not fit the payload length of 16 bits,
    /// [`Error::Value`] for a flow label of more than 20 bits.
    #[inline]
    pub fn emit<'b>(
        &self,
        upper: u8,
        payload_len: usize,
        buffer: &'b mut [u8],
    ) -> Result<&'b mut [u8], Error> {
        let headers = self.headers_len();
        let behind = headers - HEADER + payload_len;
        let octets = buffer
            .get_mut(..headers + payload_len)
            .ok_or(Error::Truncated)?;
        let header = Ipv6Repr {
            traffic_class: self.traffic_class,
            flow_label: self.flow_label,
            payload_len: u16::try_from(behind).map_err(|_| Error::Length)?,
            next_header: match self.extension {
                None => upper,
                Some(Extension::HomeAddress(_)) => protocol::DESTINATION_OPTIONS,
                Some(Extension::Routing(_)) => protocol::ROUTING,
            },
            hop_limit: self.hop_limit,
            source: self.source,
            destination: self.destination,
        };
        header.emit(octets)?;
        let (headers, payload) = octets.split_at_mut(headers);
        if let (Some(extension), Some(room)) = (
            self.extension,
            headers[HEADER..].first_chunk_mut::<EXTENSION>(),
        ) {
            let (front, home) = match extension {
                // PadN of four octets, so that the option begins at 8n+6.
                Extension::HomeAddress(home) => {
                    ([upper, 2, 1, 2, 0, 0, HOME_ADDRESS_OPTION, 16], home)
                }
                Extension::Routing(home) => ([upper, 2, TYPE_2, 1, 0, 0, 0, 0], home),
            };
            room[..8].copy_from_slice(&front);
            room[8..].copy_from_slice(&home.octets());
        }
        Ok(payload)
    }
}

/// The header of a tunnel for an inner packet: its traffic class is that of the inner
/// packet, which keeps its marks, its flow label 0.
///
/// # Errors
/// [`Error::Length`] when the inner packet does not fit the payload length.
//= https://www.rfc-editor.org/rfc/rfc2473#section-3.1
pub fn encapsulating(
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
    inner: &Ipv6Packet<'_>,
) -> Result<Ipv6Repr, Error> {
    Ok(Ipv6Repr {
        traffic_class: inner.traffic_class(),
        flow_label: 0,
        payload_len: u16::try_from(inner.octets().len()).map_err(|_| Error::Length)?,
        next_header: protocol::IPV6,
        hop_limit,
        source,
        destination,
    })
}
