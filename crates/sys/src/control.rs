//! The control messages of a packet (RFC 3542, section 20), as octets.

use core::mem::size_of;
use core::net::Ipv6Addr;

/// Octets of control messages that are kept of a packet: enough for an address, a
/// hop limit and a traffic class, or for an error with its offender.
pub(crate) const CONTROL_MAX: usize = 256;

const WORD: usize = size_of::<usize>();
/// `struct cmsghdr`: a length of the whole, the level, the type.
const HEADER: usize = WORD + 8;

/// The control messages in `octets`, as level, type and data. It ends at the first
/// that contradicts itself.
pub(crate) fn read(octets: &[u8]) -> impl Iterator<Item = (libc::c_int, libc::c_int, &[u8])> {
    let mut rest = octets;
    core::iter::from_fn(move || {
        let length = usize::from_ne_bytes(*rest.first_chunk()?);
        let data = rest.get(HEADER..length)?;
        let (level, kind) = (int(&rest[WORD..])?, int(&rest[WORD + 4..])?);
        rest = rest.get(length.next_multiple_of(WORD)..).unwrap_or(&[]);
        Some((level, kind, data))
    })
}

/// Writes control messages of the level IPPROTO_IPV6 whose data are an int; the
/// octets that they take.
pub(crate) fn write(
    octets: &mut [u8; CONTROL_MAX],
    numbers: &[(libc::c_int, libc::c_int)],
) -> usize {
    let each = (HEADER + size_of::<libc::c_int>()).next_multiple_of(WORD);
    let places = octets.chunks_exact_mut(each);
    for (place, (kind, value)) in places.zip(numbers) {
        let length = HEADER + size_of::<libc::c_int>();
        place[..WORD].copy_from_slice(&length.to_ne_bytes());
        place[WORD..WORD + 4].copy_from_slice(&libc::IPPROTO_IPV6.to_ne_bytes());
        place[WORD + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
        place[HEADER..length].copy_from_slice(&value.to_ne_bytes());
    }
    numbers.len() * each
}

/// The int that the octets begin with.
pub(crate) fn int(octets: &[u8]) -> Option<libc::c_int> {
    octets.first_chunk().map(|four| i32::from_ne_bytes(*four))
}

/// The address in a `struct sockaddr_in6`; `None` if it is none.
pub(crate) fn name(octets: &[u8]) -> Option<Ipv6Addr> {
    let family = u16::from_ne_bytes(*octets.first_chunk()?);
    let address: [u8; 16] = *octets.get(8..)?.first_chunk()?;
    (i32::from(family) == libc::AF_INET6).then(|| address.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut octets = [0xa5; CONTROL_MAX];
        let numbers = [(libc::IPV6_HOPLIMIT, 64), (libc::IPV6_TCLASS, 0xb9)];
        let length = write(&mut octets, &numbers);
        let found: Vec<_> = read(&octets[..length])
            .map(|(level, kind, data)| (level, kind, int(data)))
            .collect();
        let level = libc::IPPROTO_IPV6;
        assert_eq!(
            found,
            numbers.map(|(kind, value)| (level, kind, Some(value)))
        );
        assert_eq!(write(&mut octets, &[]), 0);
    }

    #[test]
    fn lengths_that_lie_end_it() {
        let mut octets = [0; CONTROL_MAX];
        let length = write(&mut octets, &[(libc::IPV6_HOPLIMIT, 64)]);
        for lie in [0, 1, HEADER - 1, length + 1, usize::MAX, usize::MAX - 7] {
            octets[..WORD].copy_from_slice(&lie.to_ne_bytes());
            assert_eq!(read(&octets[..length]).count(), 0, "{lie}");
        }
        octets[..WORD].copy_from_slice(&HEADER.to_ne_bytes());
        for cut in 0..HEADER {
            assert_eq!(read(&octets[..cut]).count(), 0, "{cut}");
        }
        assert_eq!(read(&octets[..HEADER]).count(), 1);
    }
}
