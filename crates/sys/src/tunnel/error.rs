//! What nodes on the path of a tunnel say about its packets.

use std::io;
use std::net::Ipv6Addr;

use crate::control::{self, int};

/// An ICMPv6 error about an outer packet (RFC 2473, section 8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelError<'b> {
    /// The ICMPv6 type (RFC 4443): 1 unreachable, 2 too big, 3 time exceeded,
    /// 4 parameter problem.
    pub icmp_type: u8,
    /// The ICMPv6 code.
    pub code: u8,
    /// The 32 bits after the checksum: of Packet Too Big the MTU, outer header
    /// included; of Parameter Problem the pointer.
    pub info: u32,
    /// Who sent it.
    pub offender: Option<Ipv6Addr>,
    /// The outer destination of the packet it is about.
    pub destination: Ipv6Addr,
    /// As much of the inner packet as it quotes.
    pub inner: &'b [u8],
}

/// Reads one message of a socket's queue of errors; `None` for what is no ICMPv6
/// error.
pub(super) fn parse<'b>(
    octets: &[u8],
    destination: Ipv6Addr,
    inner: &'b [u8],
) -> Option<TunnelError<'b>> {
    let wanted = (libc::IPPROTO_IPV6, libc::IPV6_RECVERR);
    let (_, _, data) = control::read(octets).find(|(level, kind, _)| (*level, *kind) == wanted)?;
    // struct sock_extended_err: errno, origin, type, code, padding, info, data; and
    // behind it the address of the offender.
    let (&[_, _, _, _, origin, icmp_type, code, _], rest) = data.split_first_chunk()?;
    let info = int(rest)?.cast_unsigned();
    (origin == libc::SO_EE_ORIGIN_ICMP6).then_some(TunnelError {
        icmp_type,
        code,
        info,
        offender: rest.get(8..).and_then(control::name),
        destination,
        inner,
    })
}

/// Whether a call can fail with this because of an ICMPv6 error that came in
/// (`icmpv6_err_convert` of Linux), and not because of the call.
pub(super) fn is_of_path(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ENETUNREACH
                | libc::EACCES
                | libc::EHOSTUNREACH
                | libc::ECONNREFUSED
                | libc::EMSGSIZE
                | libc::EPROTO
        )
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(origin: u8) -> Vec<u8> {
        let mut data = vec![0; 16 + 28];
        data[4] = origin;
        data[5] = 2;
        data[8..12].copy_from_slice(&1400u32.to_ne_bytes());
        data[16..18].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
        data[39] = 7;
        let mut octets = (size_of::<usize>() + 8 + data.len()).to_ne_bytes().to_vec();
        octets.extend(libc::IPPROTO_IPV6.to_ne_bytes());
        octets.extend(libc::IPV6_RECVERR.to_ne_bytes());
        octets.extend(data);
        octets
    }

    #[test]
    fn errors_of_the_path() {
        let to = Ipv6Addr::LOCALHOST;
        let octets = message(libc::SO_EE_ORIGIN_ICMP6);
        let error = parse(&octets, to, b"inner").unwrap();
        assert_eq!((error.icmp_type, error.code, error.info), (2, 0, 1400));
        assert_eq!(error.offender, Some(Ipv6Addr::from(7)));
        assert_eq!((error.destination, error.inner), (to, &b"inner"[..]));
        assert_eq!(parse(&message(libc::SO_EE_ORIGIN_LOCAL), to, b""), None);
        for cut in 0..octets.len() {
            assert_eq!(parse(&octets[..cut], to, b""), None, "{cut}");
        }
    }
}
