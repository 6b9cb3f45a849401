//! What Linux tells by itself when routes change (rtnetlink(7)): of IPv6 routes, of the
//! rules that choose between their tables, and of next hops that routes share.

use core::net::Ipv6Addr;

use crate::Error;
use crate::route::{AF_INET6, Attributes, NLMSGHDR, RTA_DST, RTM_NEWROUTE, RTMSG, aligned};

const RTM_DELROUTE: u16 = 25;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
/// `RTM_F_CLONED`: an exception for one destination, such as its path MTU. It leads
/// nowhere else.
const CLONED: u32 = 0x200;

/// Something that has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A route to this prefix has come or gone.
    Route(Ipv6Addr, u8),
    /// A rule, or a next hop: any route may lead elsewhere.
    Any,
    /// Nothing that has to do with where packets go.
    Nothing,
}

/// The messages of one datagram. After an error there are no more.
#[derive(Debug, Clone, Copy)]
pub struct Changes<'m>(&'m [u8]);

impl<'m> Changes<'m> {
    /// Of what was received.
    #[must_use]
    pub fn of(octets: &'m [u8]) -> Self {
        Self(octets)
    }
}

impl Iterator for Changes<'_> {
    /// What has changed.
    ///
    /// # Errors
    /// [`Error::Truncated`] and [`Error::Length`] for octets that contradict themselves,
    /// [`Error::Value`] for a prefix longer than an address.
    type Item = Result<Change, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = core::mem::take(&mut self.0);
        if rest.is_empty() {
            return None;
        }
        let Some((length, kind)) = header(rest) else {
            return Some(Err(Error::Truncated));
        };
        let Some(body) = rest.get(NLMSGHDR..length) else {
            return Some(Err(Error::Length));
        };
        self.0 = rest.get(aligned(length)..).unwrap_or(&[]);
        let change = match kind {
            RTM_NEWROUTE | RTM_DELROUTE => route(body),
            RTM_NEWRULE | RTM_DELRULE | RTM_NEWNEXTHOP | RTM_DELNEXTHOP => Ok(Change::Any),
            _ => Ok(Change::Nothing),
        };
        if change.is_err() {
            self.0 = &[];
        }
        Some(change)
    }
}

/// Length and type.
fn header(octets: &[u8]) -> Option<(usize, u16)> {
    let header: &[u8; NLMSGHDR] = octets.first_chunk()?;
    let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
    let kind = u16::from_ne_bytes([header[4], header[5]]);
    Some((usize::try_from(length).ok()?, kind))
}

fn route(body: &[u8]) -> Result<Change, Error> {
    let (message, attributes) = body.split_at_checked(RTMSG).ok_or(Error::Truncated)?;
    let flags = u32::from_ne_bytes([message[8], message[9], message[10], message[11]]);
    if message[0] != AF_INET6 || flags & CLONED != 0 {
        return Ok(Change::Nothing);
    }
    let length = message[1];
    if length > 128 {
        return Err(Error::Value);
    }
    let mut destination = Ipv6Addr::UNSPECIFIED;
    for attribute in Attributes(attributes) {
        let (kind, value) = attribute?;
        if kind == RTA_DST {
            let octets: [u8; 16] = value.try_into().map_err(|_| Error::Length)?;
            destination = octets.into();
        }
    }
    Ok(Change::Route(destination, length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A message of this type, padded as netlink has it.
    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut octets = vec![0; NLMSGHDR];
        octets[..4].copy_from_slice(&((NLMSGHDR + body.len()) as u32).to_ne_bytes());
        octets[4..6].copy_from_slice(&kind.to_ne_bytes());
        octets.extend_from_slice(body);
        octets.resize(aligned(octets.len()), 0);
        octets
    }

    /// The body of a route, with another attribute before its destination.
    fn body(family: u8, length: u8, flags: u32, destination: Option<Ipv6Addr>) -> Vec<u8> {
        let mut body = vec![family, length, 0, 0, 254, 0, 0, 1];
        body.extend(flags.to_ne_bytes());
        body.extend([6, 0, 5, 0, 1, 2, 0, 0]);
        if let Some(destination) = destination {
            body.extend([20, 0, 1, 0]);
            body.extend(destination.octets());
        }
        body
    }

    fn changes(octets: &[u8]) -> Vec<Result<Change, Error>> {
        Changes::of(octets).collect()
    }

    #[test]
    fn several_messages_in_one_datagram() {
        let to: Ipv6Addr = "2001:db8:a::".parse().unwrap();
        let mut octets = message(RTM_NEWROUTE, &body(AF_INET6, 48, 0, Some(to)));
        octets.extend(message(RTM_DELROUTE, &body(AF_INET6, 0, 0, None)));
        octets.extend(message(
            RTM_NEWROUTE,
            &body(AF_INET6, 128, CLONED, Some(to)),
        ));
        octets.extend(message(RTM_NEWROUTE, &body(2, 24, 0, None)));
        octets.extend(message(RTM_DELRULE, &[]));
        octets.extend(message(RTM_NEWNEXTHOP, &[]));
        octets.extend(message(20, &[0; 8]));
        let expected = [
            Change::Route(to, 48),
            Change::Route(Ipv6Addr::UNSPECIFIED, 0),
            Change::Nothing,
            Change::Nothing,
            Change::Any,
            Change::Any,
            Change::Nothing,
        ];
        assert_eq!(changes(&octets), expected.map(Ok));
    }

    #[test]
    fn what_contradicts_itself_ends_it() {
        let to = Some(Ipv6Addr::LOCALHOST);
        let good = message(RTM_NEWROUTE, &body(AF_INET6, 128, 0, to));
        for (length, error) in [(15, Error::Truncated), (40, Error::Length)] {
            assert_eq!(changes(&good[..length]), [Err(error)]);
        }
        let long = message(RTM_NEWROUTE, &body(AF_INET6, 129, 0, to));
        assert_eq!(changes(&long), [Err(Error::Value)]);
        let mut attribute = good.clone();
        attribute[NLMSGHDR + RTMSG + 8] = 200;
        assert_eq!(changes(&attribute), [Err(Error::Length)]);
        let mut short = good;
        short[0] = 3;
        assert_eq!(changes(&short), [Err(Error::Length)]);
        assert_eq!(changes(&[]), []);
    }

    proptest! {
        #[test]
        fn routes_are_read_back(bits: u128, length in 0..=128u8, flags: u32) {
            let octets = message(RTM_DELROUTE, &body(AF_INET6, length, flags, Some(bits.into())));
            let expected = match flags & CLONED {
                0 => Change::Route(bits.into(), length),
                _ => Change::Nothing,
            };
            prop_assert_eq!(changes(&octets), [Ok(expected)]);
        }

        #[test]
        fn foreign_bytes_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            // Each is at least as long as a header: there is no end without end.
            prop_assert!(Changes::of(&octets).count() <= octets.len() / NLMSGHDR + 1);
        }
    }
}
