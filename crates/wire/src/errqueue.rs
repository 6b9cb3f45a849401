//! What Linux tells about an ICMPv6 error on the error queue of a socket: the
//! control message `IPV6_RECVERR` with a `struct sock_extended_err`
//! (<linux/errqueue.h>) and the offender's address behind it, in host byte order.

use core::mem::size_of;
use core::net::Ipv6Addr;

use crate::{Error, array};

/// `SO_EE_ORIGIN_ICMP6`: the error is an ICMPv6 message that came in.
pub const ORIGIN_ICMP6: u8 = 3;

const IPPROTO_IPV6: i32 = 41;
const IPV6_RECVERR: i32 = 25;
const AF_INET6: u16 = 10;

/// The length of a control message is a `size_t`, and each begins at a multiple of
/// its size.
const WORD: usize = size_of::<usize>();
/// `struct cmsghdr`.
const HEADER: usize = WORD + 8;
/// `struct sock_extended_err`.
const EXTENDED: usize = 16;
/// `struct sockaddr_in6`.
const ADDRESS: usize = 28;
/// Octets that [`QueuedError::emit`] writes.
pub const LEN: usize = (HEADER + EXTENDED + ADDRESS).next_multiple_of(WORD);

/// One error of the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueuedError {
    /// The number of errno(3) that the kernel makes of it.
    pub errno: u32,
    /// Who says so, such as [`ORIGIN_ICMP6`].
    pub origin: u8,
    /// The type of the ICMPv6 message.
    pub message_type: u8,
    /// Its code.
    pub code: u8,
    /// Who sent the message; `None` where the kernel names nobody.
    pub offender: Option<Ipv6Addr>,
}

impl QueuedError {
    /// Looks for the error among the control messages that recvmsg(2) has given.
    ///
    /// # Errors
    /// [`Error::Truncated`] when it is shorter than its structures, [`Error::Length`]
    /// when a control message claims to be longer than there is room, [`Error::Type`]
    /// when none is an error of IPv6.
    pub fn parse(control: &[u8]) -> Result<Self, Error> {
        let mut rest = control;
        // What follows the last message is shorter than a header.
        while rest.len() >= HEADER {
            let len = usize::from_ne_bytes(array(rest, 0)?);
            if !(HEADER..=rest.len()).contains(&len) {
                return Err(Error::Length);
            }
            let level = i32::from_ne_bytes(array(rest, WORD)?);
            let kind = i32::from_ne_bytes(array(rest, WORD + 4)?);
            if (level, kind) == (IPPROTO_IPV6, IPV6_RECVERR) {
                return Self::parse_data(&rest[HEADER..len]);
            }
            rest = rest.get(len.next_multiple_of(WORD)..).unwrap_or(&[]);
        }
        Err(Error::Type)
    }

    fn parse_data(data: &[u8]) -> Result<Self, Error> {
        let (extended, name) = data.split_at_checked(EXTENDED).ok_or(Error::Truncated)?;
        let name = name.get(..ADDRESS).ok_or(Error::Truncated)?;
        let is_ipv6 = u16::from_ne_bytes(array(name, 0)?) == AF_INET6;
        let address: [u8; 16] = array(name, 8)?;
        Ok(Self {
            errno: u32::from_ne_bytes(array(extended, 0)?),
            origin: extended[4],
            message_type: extended[5],
            code: extended[6],
            offender: is_ipv6.then(|| address.into()),
        })
    }

    /// The control message, as the kernel writes it.
    #[must_use]
    pub fn emit(&self) -> [u8; LEN] {
        let mut octets = [0; LEN];
        let len = HEADER + EXTENDED + ADDRESS;
        octets[..WORD].copy_from_slice(&len.to_ne_bytes());
        octets[WORD..WORD + 4].copy_from_slice(&IPPROTO_IPV6.to_ne_bytes());
        octets[WORD + 4..HEADER].copy_from_slice(&IPV6_RECVERR.to_ne_bytes());
        let extended = &mut octets[HEADER..HEADER + EXTENDED];
        extended[..4].copy_from_slice(&self.errno.to_ne_bytes());
        extended[4..7].copy_from_slice(&[self.origin, self.message_type, self.code]);
        if let Some(offender) = self.offender {
            let name = &mut octets[HEADER + EXTENDED..len];
            name[..2].copy_from_slice(&AF_INET6.to_ne_bytes());
            name[8..24].copy_from_slice(&offender.octets());
        }
        octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_error() -> impl Strategy<Value = QueuedError> {
        let octets = any::<(u8, u8, u8)>();
        (any::<u32>(), octets, any::<Option<u128>>()).prop_map(|(errno, octets, offender)| {
            QueuedError {
                errno,
                origin: octets.0,
                message_type: octets.1,
                code: octets.2,
                offender: offender.map(Ipv6Addr::from),
            }
        })
    }

    proptest! {
        #[test]
        fn what_is_emitted_is_parsed(error in any_error()) {
            prop_assert_eq!(QueuedError::parse(&error.emit()), Ok(error));
        }

        #[test]
        fn other_control_messages_are_passed_over(
            error in any_error(), data in proptest::collection::vec(any::<u8>(), 0..40), kind in 26..99i32,
        ) {
            let mut control = (HEADER + data.len()).to_ne_bytes().to_vec();
            control.extend(IPPROTO_IPV6.to_ne_bytes());
            control.extend(kind.to_ne_bytes());
            control.extend(data);
            prop_assert_eq!(QueuedError::parse(&control), Err(Error::Type));
            control.resize(control.len().next_multiple_of(WORD), 0);
            control.extend(error.emit());
            prop_assert_eq!(QueuedError::parse(&control), Ok(error));
        }

        #[test]
        fn foreign_bytes_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..160)) {
            if let Ok(error) = QueuedError::parse(&octets) {
                prop_assert_eq!(QueuedError::parse(&error.emit()), Ok(error));
            }
        }
    }

    #[test]
    fn every_cut_is_refused() {
        let error = QueuedError {
            errno: 111,
            origin: ORIGIN_ICMP6,
            message_type: 1,
            code: 4,
            offender: Some(Ipv6Addr::LOCALHOST),
        };
        let octets = error.emit();
        for len in 0..HEADER + EXTENDED + ADDRESS {
            assert!(QueuedError::parse(&octets[..len]).is_err(), "{len}");
            let mut shorter = octets;
            shorter[..WORD].copy_from_slice(&len.to_ne_bytes());
            let expected = if len < HEADER {
                Error::Length
            } else {
                Error::Truncated
            };
            assert_eq!(QueuedError::parse(&shorter), Err(expected), "{len}");
        }
    }
}
