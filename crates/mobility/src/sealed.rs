//! Binding messages as packets, with the options and the authenticator of RFC 4285.

use std::net::Ipv6Addr;

use aarp_core::binding::authentication::Association;
use aarp_core::binding::timestamp::Timestamp;
use aarp_wire::Error;
use aarp_wire::ipv6::Datagram;
use aarp_wire::mobility::{self, Message, MobilityOption, MobilityPacket, MobilityRepr};

/// Octets that are enough for every message of this crate's.
pub const ROOM: usize = 1280;
/// Options of a message at the most.
const OPTIONS: usize = 6;
/// Subtype of a Network Access Identifier (RFC 4283 §3.1).
const NAI: u8 = 1;
/// Subtype of the authentication between mobile node and home agent (RFC 4285 §5.1).
const MN_HA: u8 = 1;

/// What authenticates a message.
#[derive(Clone, Copy, Debug)]
pub struct Seal<'a> {
    /// The security association.
    pub association: &'a Association,
    /// Whether the Mobile Node Identifier is told, as in every Binding Update.
    pub identify: bool,
    /// The Message Identification option.
    pub timestamp: Option<Timestamp>,
    /// The care-of address that the authenticator covers.
    pub care_of: Ipv6Addr,
    /// The home address that it covers.
    pub home: Ipv6Addr,
}

/// Writes a whole packet: the headers, the message, `options` and then those of the
/// seal; returns its octets.
///
/// # Errors
/// Those of [`MobilityRepr::emit_packet`], and [`Error::Length`] for more options than
/// any message of ours has.
pub fn emit<'b>(
    datagram: &Datagram,
    message: Message,
    options: &[MobilityOption<'_>],
    seal: Option<&Seal<'_>>,
    buffer: &'b mut [u8],
) -> Result<&'b mut [u8], Error> {
    let Some(seal) = seal else {
        let repr = MobilityRepr { message, options };
        return repr.emit_packet(datagram, buffer);
    };
    let empty = MobilityOption::RefreshAdvice { interval: 0 };
    let mut list = [empty; OPTIONS];
    let mut len = 0;
    let mut add = |option| {
        *list.get_mut(len).ok_or(Error::Length)? = option;
        len += 1;
        Ok::<_, Error>(())
    };
    for option in options {
        add(*option)?;
    }
    if seal.identify {
        add(MobilityOption::NodeIdentifier {
            subtype: NAI,
            identifier: seal.association.identity(),
        })?;
    }
    if let Some(Timestamp(timestamp)) = seal.timestamp {
        add(MobilityOption::MessageIdentification { timestamp })?;
    }
    add(MobilityOption::MessageAuthentication {
        subtype: MN_HA,
        spi: seal.association.spi(),
        code: &[0; mobility::AUTHENTICATOR],
    })?;
    let repr = MobilityRepr {
        message,
        options: &list[..len],
    };
    let packet = repr.emit_packet(datagram, buffer)?;
    let octets = packet
        .get_mut(datagram.headers_len()..)
        .ok_or(Error::Truncated)?;
    let place = MobilityPacket::new(octets)
        .ok()
        .and_then(|header| header.authenticator().ok().flatten())
        .ok_or(Error::Value)?;
    let covered = octets.get(..place.at).ok_or(Error::Truncated)?;
    let code = seal.association.mac(seal.care_of, seal.home, covered);
    mobility::seal(
        octets,
        &place,
        &code,
        datagram.checksum_source(),
        datagram.checksum_destination(),
    )?;
    Ok(packet)
}
