//! The messages by which Linux is asked for the route to an address:
//! `RTM_GETROUTE` and its answer (rtnetlink(7)), for IPv6.
//!
//! The request carries `RTM_F_FIB_MATCH`, so that the answer is the entry of the
//! routing table that matched, with its prefix length, and not the clone made for
//! the one destination.

use core::net::Ipv6Addr;

use crate::Error;

const NLMSG_ERROR: u16 = 2;
pub(crate) const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const NLM_F_REQUEST: u16 = 1;
const RTM_F_FIB_MATCH: u32 = 0x2000;
pub(crate) const AF_INET6: u8 = 10;
pub(crate) const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_MULTIPATH: u16 = 9;
const RTA_MARK: u16 = 16;
const RTA_VIA: u16 = 18;
/// The flag bits of an attribute's type.
const NLA_TYPE_MASK: u16 = 0x3fff;

pub(crate) const NLMSGHDR: usize = 16;
pub(crate) const RTMSG: usize = 12;
const RTA_HDR: usize = 4;
/// `struct rtnexthop`, which an `RTA_MULTIPATH` attribute is a list of.
const RTNEXTHOP: usize = 8;

/// Octets that [`RouteRequest::emit`] writes at the most.
pub const REQUEST_MAX: usize = NLMSGHDR + RTMSG + (RTA_HDR + 16) * 2 + (RTA_HDR + 4) * 2;

/// A question for the route to an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteRequest {
    /// The destination.
    pub destination: Ipv6Addr,
    /// The source address that the packet would have, where it is fixed.
    pub source: Option<Ipv6Addr>,
    /// The interface that the packet would leave by, where it is fixed; 0 is none.
    pub interface: u32,
    /// The mark that the packet would have; 0 is none.
    pub mark: u32,
    /// Ties the answer to the question.
    pub sequence: u32,
}

impl RouteRequest {
    /// Writes the request and returns its octets.
    #[must_use]
    pub fn emit<'b>(&self, buffer: &'b mut [u8; REQUEST_MAX]) -> &'b [u8] {
        buffer.fill(0);
        let mut end = NLMSGHDR + RTMSG;
        let mut attribute = |kind: u16, value: &[u8]| {
            let len = RTA_HDR + value.len();
            buffer[end..end + 2].copy_from_slice(&(len as u16).to_ne_bytes());
            buffer[end + 2..end + 4].copy_from_slice(&kind.to_ne_bytes());
            buffer[end + 4..end + len].copy_from_slice(value);
            end += len;
        };
        attribute(RTA_DST, &self.destination.octets());
        if let Some(source) = self.source {
            attribute(RTA_SRC, &source.octets());
        }
        if self.interface != 0 {
            attribute(RTA_OIF, &self.interface.to_ne_bytes());
        }
        if self.mark != 0 {
            attribute(RTA_MARK, &self.mark.to_ne_bytes());
        }
        buffer[0..4].copy_from_slice(&(end as u32).to_ne_bytes());
        buffer[4..6].copy_from_slice(&RTM_GETROUTE.to_ne_bytes());
        buffer[6..8].copy_from_slice(&NLM_F_REQUEST.to_ne_bytes());
        buffer[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        buffer[NLMSGHDR] = AF_INET6;
        buffer[NLMSGHDR + 1] = 128;
        if self.source.is_some() {
            buffer[NLMSGHDR + 2] = 128;
        }
        buffer[NLMSGHDR + 8..NLMSGHDR + 12].copy_from_slice(&RTM_F_FIB_MATCH.to_ne_bytes());
        &buffer[..end]
    }
}

/// What kind of route it is (`rtm_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteType {
    /// To another node.
    Unicast,
    /// An address of this host.
    Local,
    /// An anycast address of this host.
    Anycast,
    /// Multicast.
    Multicast,
    /// Blackhole, unreachable, prohibit, or one unknown here.
    Refusing,
}

/// The entry of the routing table that matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteRepr {
    /// Its type.
    pub route_type: RouteType,
    /// The length of its destination prefix; 0 is the default route.
    pub prefix_len: u8,
    /// Whether the packet goes to a router, rather than to the destination itself.
    pub gateway: bool,
}

/// An answer of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RouteAnswer {
    /// The entry that matched.
    Route(RouteRepr),
    /// A number of errno(3), such as `ENETUNREACH`: there is no route.
    Error(i32),
}

impl RouteAnswer {
    /// Reads the answer to the request with the given sequence number.
    ///
    /// # Errors
    /// [`Error::Truncated`] and [`Error::Length`] for octets that contradict
    /// themselves, [`Error::Type`] for another message, [`Error::Value`] for
    /// another sequence number or address family.
    pub fn parse(octets: &[u8], sequence: u32) -> Result<Self, Error> {
        let header = octets.get(..NLMSGHDR).ok_or(Error::Truncated)?;
        let len = ne32(header, 0)? as usize;
        if ne32(header, 8)? != sequence {
            return Err(Error::Value);
        }
        if len < NLMSGHDR {
            return Err(Error::Length);
        }
        let body = octets.get(NLMSGHDR..len).ok_or(Error::Length)?;
        match ne16(header, 4)? {
            NLMSG_ERROR => {
                let code = ne32(body, 0)? as i32;
                match code {
                    // Zero is an acknowledgement, which was not asked for.
                    0 | i32::MIN => Err(Error::Value),
                    code => Ok(RouteAnswer::Error(code.abs())),
                }
            }
            RTM_NEWROUTE => parse_route(body).map(RouteAnswer::Route),
            _ => Err(Error::Type),
        }
    }
}

fn parse_route(body: &[u8]) -> Result<RouteRepr, Error> {
    let message = body.get(..RTMSG).ok_or(Error::Truncated)?;
    if message[0] != AF_INET6 {
        return Err(Error::Value);
    }
    let prefix_len = message[1];
    if prefix_len > 128 {
        return Err(Error::Value);
    }
    let route_type = match message[7] {
        1 => RouteType::Unicast,
        2 => RouteType::Local,
        4 => RouteType::Anycast,
        5 => RouteType::Multicast,
        _ => RouteType::Refusing,
    };
    let mut gateway = false;
    for attribute in Attributes(&body[RTMSG..]) {
        let (kind, value) = attribute?;
        gateway |= match kind {
            RTA_GATEWAY | RTA_VIA => true,
            RTA_MULTIPATH => any_nexthop_has_a_gateway(value)?,
            _ => false,
        };
    }
    Ok(RouteRepr {
        route_type,
        prefix_len,
        gateway,
    })
}

fn any_nexthop_has_a_gateway(mut nexthops: &[u8]) -> Result<bool, Error> {
    let mut gateway = false;
    while nexthops.len() >= RTNEXTHOP {
        let len = usize::from(ne16(nexthops, 0)?);
        let nexthop = nexthops.get(RTNEXTHOP..len).ok_or(Error::Length)?;
        for attribute in Attributes(nexthop) {
            let (kind, _) = attribute?;
            gateway |= matches!(kind, RTA_GATEWAY | RTA_VIA);
        }
        nexthops = nexthops.get(aligned(len)..).unwrap_or(&[]);
    }
    Ok(gateway)
}

/// The attributes of a message: type and value of each.
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.len() < RTA_HDR {
            return None;
        }
        let rest = core::mem::take(&mut self.0);
        let len = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let kind = u16::from_ne_bytes([rest[2], rest[3]]) & NLA_TYPE_MASK;
        let Some(value) = rest.get(RTA_HDR..len) else {
            return Some(Err(Error::Length));
        };
        self.0 = rest.get(aligned(len)..).unwrap_or(&[]);
        Some(Ok((kind, value)))
    }
}

/// Netlink pads everything to four octets.
pub(crate) fn aligned(len: usize) -> usize {
    len.saturating_add(3) & !3
}

fn ne16(octets: &[u8], at: usize) -> Result<u16, Error> {
    let two = octets.get(at..at + 2).ok_or(Error::Truncated)?;
    Ok(u16::from_ne_bytes([two[0], two[1]]))
}

fn ne32(octets: &[u8], at: usize) -> Result<u32, Error> {
    let four = octets.get(at..at + 4).ok_or(Error::Truncated)?;
    Ok(u32::from_ne_bytes([four[0], four[1], four[2], four[3]]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn request() -> RouteRequest {
        RouteRequest {
            destination: "2001:db8::53".parse().unwrap(),
            source: None,
            interface: 0,
            mark: 0,
            sequence: 9,
        }
    }

    fn answer(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut octets = vec![0; NLMSGHDR];
        octets[0..4].copy_from_slice(&((NLMSGHDR + body.len()) as u32).to_ne_bytes());
        octets[4..6].copy_from_slice(&kind.to_ne_bytes());
        octets[8..12].copy_from_slice(&9u32.to_ne_bytes());
        octets.extend_from_slice(body);
        octets
    }

    fn rtmsg(prefix_len: u8, route_type: u8) -> Vec<u8> {
        vec![
            AF_INET6, prefix_len, 0, 0, 254, 0, 0, route_type, 0, 0, 0, 0,
        ]
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut octets = ((RTA_HDR + value.len()) as u16).to_ne_bytes().to_vec();
        octets.extend_from_slice(&kind.to_ne_bytes());
        octets.extend_from_slice(value);
        octets.resize(aligned(octets.len()), 0);
        octets
    }

    #[test]
    fn a_request_is_as_long_as_it_says() {
        let mut buffer = [0xa5; REQUEST_MAX];
        let full = RouteRequest {
            source: Some(Ipv6Addr::LOCALHOST),
            interface: 3,
            mark: 7,
            ..request()
        };
        for (request, len) in [(request(), 48), (full, REQUEST_MAX)] {
            let octets = request.emit(&mut buffer);
            assert_eq!(octets.len(), len);
            assert_eq!(ne32(octets, 0).unwrap() as usize, len);
        }
    }

    #[test]
    fn a_default_route_by_a_router() {
        let mut body = rtmsg(0, 1);
        body.extend(attribute(RTA_OIF, &[1, 0, 0, 0]));
        body.extend(attribute(RTA_GATEWAY, &[0xfe; 16]));
        let route = RouteRepr {
            route_type: RouteType::Unicast,
            prefix_len: 0,
            gateway: true,
        };
        assert_eq!(
            RouteAnswer::parse(&answer(RTM_NEWROUTE, &body), 9),
            Ok(RouteAnswer::Route(route))
        );
    }

    #[test]
    fn a_gateway_in_a_multipath_route_is_seen() {
        let mut nexthop = vec![0; RTNEXTHOP];
        nexthop.extend(attribute(RTA_GATEWAY, &[0xfe; 16]));
        let len = nexthop.len() as u16;
        nexthop[..2].copy_from_slice(&len.to_ne_bytes());
        let mut body = rtmsg(48, 1);
        body.extend(attribute(RTA_MULTIPATH, &nexthop));
        let route = RouteRepr {
            route_type: RouteType::Unicast,
            prefix_len: 48,
            gateway: true,
        };
        assert_eq!(
            RouteAnswer::parse(&answer(RTM_NEWROUTE, &body), 9),
            Ok(RouteAnswer::Route(route))
        );
    }

    #[test]
    fn on_link_and_own_addresses() {
        for (kind, route_type) in [
            (1, RouteType::Unicast),
            (2, RouteType::Local),
            (4, RouteType::Anycast),
            (5, RouteType::Multicast),
            (6, RouteType::Refusing),
            (7, RouteType::Refusing),
        ] {
            let route = RouteRepr {
                route_type,
                prefix_len: 64,
                gateway: false,
            };
            let octets = answer(RTM_NEWROUTE, &rtmsg(64, kind));
            assert_eq!(
                RouteAnswer::parse(&octets, 9),
                Ok(RouteAnswer::Route(route))
            );
        }
    }

    #[test]
    fn an_error_is_its_number() {
        let octets = answer(NLMSG_ERROR, &(-101i32).to_ne_bytes());
        assert_eq!(RouteAnswer::parse(&octets, 9), Ok(RouteAnswer::Error(101)));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let good = answer(RTM_NEWROUTE, &rtmsg(0, 1));
        assert_eq!(RouteAnswer::parse(&good, 8), Err(Error::Value));
        assert_eq!(RouteAnswer::parse(&good[..20], 9), Err(Error::Length));
        assert_eq!(RouteAnswer::parse(&good[..10], 9), Err(Error::Truncated));
        assert_eq!(
            RouteAnswer::parse(&answer(RTM_NEWROUTE, &rtmsg(129, 1)), 9),
            Err(Error::Value)
        );
        assert_eq!(
            RouteAnswer::parse(&answer(3, &rtmsg(0, 1)), 9),
            Err(Error::Type)
        );
        let mut body = rtmsg(0, 1);
        body.extend([99, 0, 5, 0]);
        assert_eq!(
            RouteAnswer::parse(&answer(RTM_NEWROUTE, &body), 9),
            Err(Error::Length)
        );
        body.truncate(RTMSG);
        body.extend([0, 0, 5, 0]);
        assert_eq!(
            RouteAnswer::parse(&answer(RTM_NEWROUTE, &body), 9),
            Err(Error::Length)
        );
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(mut octets in proptest::collection::vec(any::<u8>(), 0..120), newroute: bool) {
            if octets.len() >= NLMSGHDR && newroute {
                let len = octets.len() as u32;
                octets[..4].copy_from_slice(&len.to_ne_bytes());
                octets[4..6].copy_from_slice(&RTM_NEWROUTE.to_ne_bytes());
                octets[8..12].copy_from_slice(&9u32.to_ne_bytes());
                if let Some(family) = octets.get_mut(NLMSGHDR) { *family = AF_INET6; }
            }
            let _ = RouteAnswer::parse(&octets, 9);
        }
    }
}
