//! The walk over the extension headers of a packet (RFC 8200 §4).

use core::net::Ipv6Addr;

use super::{HEADER, Ipv6Packet, field, is_unicast_routable, protocol};
use crate::{Error, array, be16, be32};

/// Type of the Home Address option.
//= https://www.rfc-editor.org/rfc/rfc6275#section-6.3
pub const HOME_ADDRESS_OPTION: u8 = 0xc9;
/// Type of the routing header that carries a home address.
//= https://www.rfc-editor.org/rfc/rfc6275#section-6.4
pub const TYPE_2: u8 = 2;
/// Extension headers of one packet that are followed. RFC 8200 §4.1 names six kinds, of
/// which one may stand twice.
pub const HEADERS_MAX: usize = 12;

const PAD1: u8 = 0;
const PADN: u8 = 1;

/// Where the upper layer of a packet begins, and what was on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chain<'a> {
    /// The packet.
    pub packet: Ipv6Packet<'a>,
    /// The protocol of the upper layer: the first value of a Next Header field that is
    /// none of the extension headers that are followed. Also that of a fragment other
    /// than the first, whose octets are not the begin of it.
    pub protocol: u8,
    /// Where it begins, in octets from the begin of the IPv6 header.
    pub offset: usize,
    /// Where the Next Header field is that names it, likewise: what a Parameter
    /// Problem of code 1 points at.
    pub named_at: usize,
    /// The Fragment header, where there is one.
    pub fragment: Option<Fragment>,
    /// The Home Address option, where there is one.
    pub home_address: Option<HomeAddress>,
    /// The home address of a type 2 routing header, where there is one.
    pub routing: Option<Ipv6Addr>,
    /// What the packet's destination has to refuse, as it does not know it.
    pub unrecognised: Option<Unrecognised>,
}

/// A Fragment header (RFC 8200 §4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Where the header is, in octets from the begin of the IPv6 header.
    pub at: usize,
    /// Where in the reassembled part these octets belong.
    pub offset: u16,
    /// Whether more fragments follow.
    pub more: bool,
    /// Ties the fragments of a packet together.
    pub identification: u32,
}

impl Fragment {
    /// Whether it is the only fragment, so that the packet is whole (RFC 6946).
    #[must_use]
    pub fn is_atomic(&self) -> bool {
        self.offset == 0 && !self.more
    }
}

/// A Home Address option (RFC 6275 §6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HomeAddress {
    /// Where the option is, in octets from the begin of the IPv6 header.
    pub at: usize,
    /// The address.
    pub address: Ipv6Addr,
    /// Whether the option stands where its alignment of 8n+6 wants it.
    pub is_aligned: bool,
}

/// An option or a routing header that this code does not know and the packet's
/// destination may not pass over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unrecognised {
    /// Where it is, in octets from the begin of the IPv6 header: what the Parameter
    /// Problem points at.
    pub at: usize,
    /// The code of the Parameter Problem to send; `None`: discard in silence.
    pub code: Option<u8>,
}

/// Why a packet is to be discarded, in silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// What is wrong.
    pub error: Error,
    /// Where, in octets from the begin of the IPv6 header.
    pub at: usize,
}

impl<'a> Chain<'a> {
    /// The octets of the upper layer, or of a fragment what there is of them.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.packet.octets().get(self.offset..).unwrap_or(&[])
    }

    /// Whether the packet is whole: not a fragment, or the only one.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.fragment.is_none_or(|fragment| fragment.is_atomic())
    }

    /// The source address for the upper layer and its checksum.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-11.3.1
    #[must_use]
    pub fn source(&self) -> Ipv6Addr {
        match self.home_address {
            Some(home) => home.address,
            None => self.packet.source(),
        }
    }

    /// The destination address for the upper layer and its checksum.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-6.4
    #[must_use]
    pub fn destination(&self) -> Ipv6Addr {
        self.routing.unwrap_or_else(|| self.packet.destination())
    }
}

/// Follows the extension headers to the upper layer: hop-by-hop options, destination
/// options, routing, fragment and authentication headers.
///
/// # Errors
/// [`Malformed`] for a chain that is cut off ([`Error::Truncated`]) or contradicts
/// itself ([`Error::Length`]), a header or a Home Address option where it may not stand
/// ([`Error::Order`]) or that stands there twice ([`Error::Duplicate`]), a Home Address
/// option or a type 2 routing header with another length ([`Error::Length`]) or
/// impossible content ([`Error::Value`]), and more than [`HEADERS_MAX`] headers
/// ([`Error::Order`]).
pub fn walk<'a>(packet: &Ipv6Packet<'a>) -> Result<Chain<'a>, Malformed> {
    let mut chain = Chain {
        packet: *packet,
        protocol: packet.next_header(),
        offset: HEADER,
        named_at: field::NEXT_HEADER,
        fragment: None,
        home_address: None,
        routing: None,
        unrecognised: None,
    };
    let mut protected = false;
    for count in 0..=HEADERS_MAX {
        let at = chain.offset;
        let malformed = |error| Malformed { error, at };
        let rest = chain.payload();
        let unit = match chain.protocol {
            protocol::HOP_BY_HOP | protocol::DESTINATION_OPTIONS | protocol::ROUTING => 8,
            protocol::FRAGMENT | protocol::AUTHENTICATION => 4,
            _ => return Ok(chain),
        };
        if count == HEADERS_MAX {
            return Err(malformed(Error::Order));
        }
        let (next, len) = match *rest {
            [next, len, ..] => (next, usize::from(len)),
            _ => return Err(malformed(Error::Truncated)),
        };
        let len = match chain.protocol {
            protocol::FRAGMENT => 8,
            // Of 32 bits each, two fewer than there are (RFC 4302 §2.2).
            protocol::AUTHENTICATION => (len + 2) * unit,
            _ => (len + 1) * unit,
        };
        let header = rest.get(..len).ok_or(malformed(Error::Truncated))?;
        match chain.protocol {
            protocol::HOP_BY_HOP if at != HEADER => return Err(malformed(Error::Order)),
            protocol::HOP_BY_HOP => options(&mut chain, header, None)?,
            protocol::DESTINATION_OPTIONS => options(&mut chain, header, Some(protected))?,
            protocol::ROUTING => routing(&mut chain, header).map_err(malformed)?,
            protocol::FRAGMENT => {
                if chain.fragment.is_some() {
                    return Err(malformed(Error::Duplicate));
                }
                protected = true;
                let place = be16(header, 2).map_err(malformed)?;
                chain.fragment = Some(Fragment {
                    at,
                    offset: place & !7,
                    more: place & 1 != 0,
                    identification: be32(header, 4).map_err(malformed)?,
                });
            }
            _ => protected = true,
        }
        chain.named_at = at;
        chain.protocol = next;
        chain.offset = at + len;
        if chain.fragment.is_some_and(|fragment| fragment.offset != 0) {
            return Ok(chain);
        }
    }
    Ok(chain)
}

/// The options of a hop-by-hop options header (`protected` is `None`) or of a
/// destination options header, which may come behind a fragment or authentication
/// header (`protected` is true).
fn options(chain: &mut Chain<'_>, header: &[u8], protected: Option<bool>) -> Result<(), Malformed> {
    let begin = chain.offset;
    let mut at = 2;
    while let Some(&kind) = header.get(at) {
        let malformed = |error| Malformed {
            error,
            at: begin + at,
        };
        if kind == PAD1 {
            at += 1;
            continue;
        }
        let len = usize::from(*header.get(at + 1).ok_or(malformed(Error::Length))?);
        let data = header
            .get(at + 2..at + 2 + len)
            .ok_or(malformed(Error::Length))?;
        match (kind, protected) {
            (PADN, _) => {}
            (HOME_ADDRESS_OPTION, Some(protected)) => {
                // The packet is discarded, whoever is told nothing of it.
                if protected {
                    return Err(malformed(Error::Order));
                }
                //= https://www.rfc-editor.org/rfc/rfc6275#section-6.3
                //# For each IPv6 packet header, the Home Address option MUST NOT appear
                //# more than once.
                if chain.home_address.is_some() {
                    return Err(malformed(Error::Duplicate));
                }
                let address: [u8; 16] = data.try_into().map_err(|_| malformed(Error::Length))?;
                let address = Ipv6Addr::from(address);
                //= https://www.rfc-editor.org/rfc/rfc6275#section-9.3.1
                //# Packets containing a Home Address option MUST be dropped if the given
                //# home address is not a unicast routable address.
                if !is_unicast_routable(address) {
                    return Err(malformed(Error::Value));
                }
                chain.home_address = Some(HomeAddress {
                    at: begin + at,
                    address,
                    is_aligned: at % 8 == 6,
                });
            }
            // The two highest bits say what is to be done (RFC 8200 §4.2).
            _ if kind >> 6 != 0 && chain.unrecognised.is_none() => {
                let is_multicast = chain.packet.destination().is_multicast();
                chain.unrecognised = Some(Unrecognised {
                    at: begin + at,
                    code: match kind >> 6 {
                        2 => Some(2),
                        3 if !is_multicast => Some(2),
                        _ => None,
                    },
                });
            }
            _ => {}
        }
        at += 2 + len;
    }
    Ok(())
}

fn routing(chain: &mut Chain<'_>, header: &[u8]) -> Result<(), Error> {
    let (kind, segments_left) = (header[2], header[3]);
    // An option for the packet's destination stands behind the routing header.
    //= https://www.rfc-editor.org/rfc/rfc6275#section-6.3
    if chain.home_address.is_some() {
        return Err(Error::Order);
    }
    if kind == TYPE_2 {
        //= https://www.rfc-editor.org/rfc/rfc6275#section-11.3.3
        //# If any of these checks fail, the node MUST silently discard the packet.
        if header.len() != 24 {
            return Err(Error::Length);
        }
        if segments_left != 1 {
            return Err(Error::Value);
        }
        if chain.routing.is_some() {
            return Err(Error::Duplicate);
        }
        let address = Ipv6Addr::from(array::<16>(header, 8)?);
        if !is_unicast_routable(address) {
            return Err(Error::Value);
        }
        chain.routing = Some(address);
    } else {
        // Others come before it.
        //= https://www.rfc-editor.org/rfc/rfc6275#section-6.4.1
        if chain.routing.is_some() {
            return Err(Error::Order);
        }
        // RFC 8200 §4.4: to be passed over when no segment is left.
        if segments_left != 0 && chain.unrecognised.is_none() {
            chain.unrecognised = Some(Unrecognised {
                at: chain.offset + 2,
                code: Some(0),
            });
        }
    }
    Ok(())
}
