//! Message headers that the program hands us, as for sendmsg(2) and recvmsg(2).

use core::mem::{MaybeUninit, size_of};
use core::net::Ipv6Addr;

use crate::user::is_readable;

/// Octets of an IPv6 socket address.
pub const SIN6: libc::socklen_t = size_of::<libc::sockaddr_in6>() as libc::socklen_t;

/// The most messages that sendmmsg(2) and recvmmsg(2) take at a time (`UIO_MAXIOV`).
pub const MESSAGES_MAX: usize = 1024;

/// A copy of a message header; `None` when it cannot be read.
///
/// # Safety
/// None of the pointer: that is what is checked. But what is readable now must not be
/// unmapped by another thread before the call returns.
#[inline]
#[must_use]
pub unsafe fn header(message: *const libc::msghdr) -> Option<libc::msghdr> {
    if !is_readable(message.cast(), size_of::<libc::msghdr>()) {
        return None;
    }
    // SAFETY: readable, as was just seen; alignment is not asked for.
    Some(unsafe { message.read_unaligned() })
}

/// Whether a message says itself from where, or by which way, it is to be sent: a
/// source (`IPV6_PKTINFO`), a routing header, a next hop (RFC 3542, section 6), or a
/// mark. What cannot be read says nothing.
///
/// # Safety
/// As for [`header`], of the control messages.
#[must_use]
pub unsafe fn own_way(message: &libc::msghdr) -> bool {
    const IPV6_NEXTHOP: i32 = 9;
    let is_own = |level, kind, data: &[u8]| match (level, kind) {
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => data.iter().any(|octet| *octet != 0),
        (libc::IPPROTO_IPV6, libc::IPV6_RTHDR | IPV6_NEXTHOP) => true,
        (libc::SOL_SOCKET, libc::SO_MARK) => true,
        _ => false,
    };
    // SAFETY: by the promise.
    unsafe { any_control(message, is_own) }
}

/// As many descriptors are found in one message.
pub const DESCRIPTORS_MAX: usize = (LOOKED_AT - 16) / size_of::<i32>();

/// Finds the descriptors that are sent with a message (`SCM_RIGHTS`), and says how many.
/// What cannot be read has none.
///
/// # Safety
/// As for [`header`], of the control messages.
pub unsafe fn descriptors_in(
    message: &libc::msghdr,
    descriptors: &mut [i32; DESCRIPTORS_MAX],
) -> usize {
    let mut found = 0;
    let collect = |level, kind, data: &[u8]| {
        if (level, kind) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
            let (numbers, _) = data.as_chunks();
            for (number, to) in numbers.iter().zip(&mut descriptors[found..]) {
                *to = i32::from_ne_bytes(*number);
                found += 1;
            }
        }
        false
    };
    // SAFETY: by the promise.
    unsafe { any_control(message, collect) };
    found
}

/// As many octets of control messages are looked at; as many as is_readable does.
const LOOKED_AT: usize = 256;

/// Whether any of the control messages is such: its level, its type, and its data, as far
/// as that is looked at.
///
/// # Safety
/// As for [`header`], of the control messages.
unsafe fn any_control(
    message: &libc::msghdr,
    mut is_such: impl FnMut(i32, i32, &[u8]) -> bool,
) -> bool {
    let len = message.msg_controllen.min(LOOKED_AT);
    let start = message.msg_control.cast_const().cast::<u8>();
    if !is_readable(start, len) {
        return false;
    }
    let mut octets = [0u8; LOOKED_AT];
    // SAFETY: readable, as was just seen; and there is room.
    unsafe { core::ptr::copy_nonoverlapping(start, octets.as_mut_ptr(), len) };
    let mut rest = &octets[..len];
    // A length of 8 octets, level, type, and the data; each begins at a multiple of 8.
    while let Some((head, _)) = rest.split_at_checked(16) {
        let number =
            |at: usize| i32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let mut length = [0; size_of::<usize>()];
        length.copy_from_slice(&head[..size_of::<usize>()]);
        let length = usize::from_ne_bytes(length);
        let data = rest.get(16..length.min(rest.len())).unwrap_or(&[]);
        if is_such(number(8), number(12), data) {
            return true;
        }
        let next = length
            .checked_next_multiple_of(8)
            .filter(|next| *next >= 16);
        rest = next.and_then(|next| rest.get(next..)).unwrap_or(&[]);
    }
    false
}

/// Where the kernel has just written who could not deliver what was sent, in the control
/// messages of an error (`IPV6_RECVERR`), and how many octets of that there was room for.
///
/// # Safety
/// The kernel must just have written the control messages of this header.
#[must_use]
pub unsafe fn offender(message: &libc::msghdr) -> Option<(*mut libc::sockaddr, usize)> {
    // SAFETY: by the promise. The error comes before the offender.
    unsafe { name_in(message, libc::IPV6_RECVERR, 16) }
}

/// Where the kernel has just written to whom a packet was too large (`IPV6_PATHMTU`), and
/// how many octets of that there was room for.
///
/// # Safety
/// As for [`offender`].
#[must_use]
pub unsafe fn path_mtu(message: &libc::msghdr) -> Option<(*mut libc::sockaddr, usize)> {
    const IPV6_PATHMTU: i32 = 61;
    // SAFETY: by the promise.
    unsafe { name_in(message, IPV6_PATHMTU, 0) }
}

/// The socket address in a control message of IPv6's, behind so many other octets.
///
/// # Safety
/// As for [`offender`].
unsafe fn name_in(
    message: &libc::msghdr,
    kind: i32,
    behind: usize,
) -> Option<(*mut libc::sockaddr, usize)> {
    let before = 16 + behind;
    let (start, end) = (message.msg_control.cast::<u8>(), message.msg_controllen);
    let mut at = 0;
    while !start.is_null() && end.saturating_sub(at) >= 16 {
        // SAFETY: the kernel has written a header here; alignment is not asked for.
        let header = unsafe { start.add(at).cast::<libc::cmsghdr>().read_unaligned() };
        let length = header.cmsg_len.min(end - at);
        if (header.cmsg_level, header.cmsg_type) == (libc::IPPROTO_IPV6, kind) {
            let room = length.saturating_sub(before);
            // SAFETY: inside what was written where there is any room, and else unused.
            return (room > 0).then(|| (unsafe { start.add(at + before) }.cast(), room));
        }
        at += length.max(16).next_multiple_of(8);
    }
    None
}

/// The IPv6 address and port that the kernel has just written as a whole.
///
/// # Safety
/// The kernel must have written a socket address of `len` octets there, or as many of
/// them as there was room for; or there must be [`SIN6`] octets to be read.
#[inline]
#[must_use]
pub unsafe fn written_source(
    name: *const libc::sockaddr,
    len: libc::socklen_t,
) -> Option<(Ipv6Addr, u16)> {
    if len != SIN6 || name.is_null() {
        return None;
    }
    // SAFETY: by the promise.
    unsafe {
        let family = name.cast::<libc::sa_family_t>().read_unaligned();
        (i32::from(family) == libc::AF_INET6).then(|| address_and_port(name))
    }
}

/// The address and port of an IPv6 socket address, each read where it stands: no copy
/// of the whole that would be read in other pieces than it was written in.
///
/// # Safety
/// There must be [`SIN6`] octets to be read.
#[inline]
#[must_use]
pub unsafe fn address_and_port(name: *const libc::sockaddr) -> (Ipv6Addr, u16) {
    let name = name.cast::<libc::sockaddr_in6>();
    // SAFETY: by the promise; alignment is not asked for.
    unsafe {
        let halves = (&raw const (*name).sin6_addr).cast::<u64>();
        let [high, low] = [halves, halves.add(1)].map(|half| u64::from_be(half.read_unaligned()));
        let port = u16::from_be((&raw const (*name).sin6_port).read_unaligned());
        (
            Ipv6Addr::from(u128::from(high) << 64 | u128::from(low)),
            port,
        )
    }
}

/// Room for a whole socket address, for a program that has none.
pub struct OwnName {
    storage: MaybeUninit<libc::sockaddr_storage>,
    /// Its length.
    pub len: libc::socklen_t,
}

impl OwnName {
    /// Empty room.
    #[must_use]
    pub fn new() -> Self {
        Self {
            storage: MaybeUninit::zeroed(),
            len: size_of::<libc::sockaddr_storage>() as libc::socklen_t,
        }
    }

    /// For the kernel to write to.
    pub fn as_mut_ptr(&mut self) -> *mut libc::sockaddr {
        self.storage.as_mut_ptr().cast()
    }
}

impl Default for OwnName {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Control messages: level, type, and data, one behind the other.
    fn control(messages: &[(i32, i32, &[u8])]) -> Vec<u8> {
        let mut octets = Vec::new();
        for (level, kind, data) in messages {
            octets.extend((16 + data.len()).to_ne_bytes());
            octets.extend(level.to_ne_bytes());
            octets.extend(kind.to_ne_bytes());
            octets.extend(*data);
            octets.resize(octets.len().next_multiple_of(8), 0);
        }
        octets
    }

    fn found(octets: &mut [u8]) -> Vec<i32> {
        // SAFETY: zeros are an empty header.
        let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
        message.msg_control = octets.as_mut_ptr().cast();
        message.msg_controllen = octets.len();
        let mut descriptors = [0; DESCRIPTORS_MAX];
        // SAFETY: the control messages are those octets.
        let count = unsafe { descriptors_in(&message, &mut descriptors) };
        descriptors[..count].to_vec()
    }

    #[test]
    fn descriptors_are_found_among_other_things() {
        let numbers =
            |from: i32, to: i32| -> Vec<u8> { (from..to).flat_map(i32::to_ne_bytes).collect() };
        let rights = (libc::SOL_SOCKET, libc::SCM_RIGHTS);
        let credentials = (libc::SOL_SOCKET, libc::SCM_CREDENTIALS, &[7; 12][..]);
        let (three, two) = (numbers(3, 6), numbers(40, 42));
        let mut octets = control(&[
            (rights.0, rights.1, &three),
            credentials,
            (rights.0, rights.1, &two),
        ]);
        assert_eq!(found(&mut octets), [3, 4, 5, 40, 41]);
        assert_eq!(found(&mut control(&[credentials])), []);
        assert_eq!(found(&mut []), []);
        // As many as are looked at.
        let many = numbers(0, 253);
        let expected: Vec<i32> = (0..DESCRIPTORS_MAX as i32).collect();
        assert_eq!(
            found(&mut control(&[(rights.0, rights.1, &many)])),
            expected
        );
    }

    #[test]
    fn lengths_that_lie_lead_nowhere() {
        let whole = control(&[(libc::SOL_SOCKET, libc::SCM_RIGHTS, &[1, 0, 0, 0])]);
        for length in [0, 1, 15, 16, 17, 19, 4096, usize::MAX - 7, usize::MAX] {
            let mut octets = whole.clone();
            octets[..8].copy_from_slice(&length.to_ne_bytes());
            // What there is of it is there: the kernel refuses such a message.
            assert!(found(&mut octets).len() <= 2, "{length}");
            for end in 0..octets.len() {
                assert!(found(&mut octets[..end].to_vec()).len() <= 2);
            }
        }
    }
}
