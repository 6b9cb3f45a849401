//! What nfnetlink_log tells about packets (<linux/netfilter/nfnetlink_log.h>).

use crate::netlink::{ATTRIBUTE, HEADER, TYPE_MASK};

/// `struct nfgenmsg`.
const FIXED: usize = 4;
const PACKET: u16 = (libc::NFNL_SUBSYS_ULOG << 8 | libc::NFULNL_MSG_PACKET) as u16;
const SEQUENCE: u16 = libc::NFULA_SEQ as u16;
const INTERFACE: u16 = libc::NFULA_IFINDEX_INDEV as u16;
const MARK: u16 = libc::NFULA_MARK as u16;
const PREFIX: u16 = libc::NFULA_PREFIX as u16;
const PAYLOAD: u16 = libc::NFULA_PAYLOAD as u16;
const PACKET_HEADER: u16 = libc::NFULA_PACKET_HDR as u16;

/// A message that contradicts itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// One logged packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Logged<'a> {
    /// The packet from the network header on, whole up to 65 531 octets.
    pub packet: &'a [u8],
    /// The protocol, as of an Ethernet frame: 0x86dd is IPv6.
    pub protocol: u16,
    /// The netfilter hook: 1 is input.
    pub hook: u8,
    /// What the rule says with `log prefix "…"`.
    pub prefix: &'a [u8],
    /// The index of the interface that it came in by; 0 is none.
    pub interface: u32,
    /// The mark of the packet; 0 is none.
    pub mark: u32,
    /// Its number in the group.
    pub sequence: Option<u32>,
}

/// The packets in one message of the kernel, which may hold several.
pub fn parse(datagram: &[u8]) -> impl Iterator<Item = Result<Logged<'_>, Malformed>> {
    let mut rest = datagram;
    core::iter::from_fn(move || {
        while !rest.is_empty() {
            let Some((kind, body, next)) = message(rest) else {
                rest = &[];
                return Some(Err(Malformed));
            };
            rest = next;
            // Others: the end of several parts, which has nothing in it, and what
            // later kernels may say.
            if kind == PACKET {
                return Some(logged(body).ok_or(Malformed));
            }
        }
        None
    })
}

/// The type and the body of the first message, and what follows it.
fn message(octets: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(*octets.first_chunk()?) as usize;
    let body = octets.get(HEADER..length)?;
    let kind = u16::from_ne_bytes(*octets[4..].first_chunk()?);
    let next = octets.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    Some((kind, body, next))
}

fn logged(body: &[u8]) -> Option<Logged<'_>> {
    let mut packet = None;
    let mut logged = Logged {
        packet: &[],
        protocol: 0,
        hook: 0,
        prefix: &[],
        interface: 0,
        mark: 0,
        sequence: None,
    };
    let mut rest = body.get(FIXED..)?;
    while !rest.is_empty() {
        let length = usize::from(u16::from_ne_bytes(*rest.first_chunk()?));
        let value = rest.get(ATTRIBUTE..length)?;
        let kind = u16::from_ne_bytes(*rest[2..].first_chunk()?);
        match kind & TYPE_MASK {
            PACKET_HEADER => {
                // struct nfulnl_msg_packet_hdr: protocol, hook, padding.
                let &[a, b, hook, _] = value.first_chunk()?;
                logged.protocol = u16::from_be_bytes([a, b]);
                logged.hook = hook;
            }
            MARK => logged.mark = be32(value)?,
            INTERFACE => logged.interface = be32(value)?,
            SEQUENCE => logged.sequence = Some(be32(value)?),
            PREFIX => logged.prefix = value.strip_suffix(&[0]).unwrap_or(value),
            PAYLOAD => packet = Some(value),
            _ => {}
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
    }
    logged.packet = packet?;
    Some(logged)
}

fn be32(value: &[u8]) -> Option<u32> {
    value.first_chunk().map(|four| u32::from_be_bytes(*four))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attribute;

    fn datagram(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![10, 0, 0, 42];
        for (kind, value) in attributes {
            body.extend(attribute(*kind, value));
        }
        let mut octets = ((HEADER + body.len()) as u32).to_ne_bytes().to_vec();
        octets.extend(PACKET.to_ne_bytes());
        octets.extend([0; 10]);
        octets.extend(body);
        octets
    }

    fn example() -> Vec<u8> {
        datagram(&[
            (PACKET_HEADER, &[0x86, 0xdd, 1, 0]),
            (PREFIX, b"bu\0"),
            (INTERFACE, &[0, 0, 0, 7]),
            (MARK, &[0, 0, 1, 0]),
            (SEQUENCE, &[0, 0, 0, 9]),
            (PAYLOAD, &[0x60, 1, 2, 3, 4]),
        ])
    }

    #[test]
    fn several_packets_in_one_datagram() {
        let mut octets = example();
        octets.extend(datagram(&[(PAYLOAD, b"x")]));
        // NLMSG_DONE with its number of errno.
        octets.extend([20, 0, 0, 0, 3, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let found: Vec<_> = parse(&octets).map(Result::unwrap).collect();
        assert_eq!(found.len(), 2);
        let first = Logged {
            packet: &[0x60, 1, 2, 3, 4],
            protocol: 0x86dd,
            hook: 1,
            prefix: b"bu",
            interface: 7,
            mark: 256,
            sequence: Some(9),
        };
        assert_eq!(found[0], first);
        assert_eq!((found[1].packet, found[1].sequence), (&b"x"[..], None));
    }

    #[test]
    fn every_cut_is_refused() {
        let octets = example();
        for cut in 1..octets.len() {
            let whole = parse(&octets[..cut]).all(|packet| packet.is_ok());
            assert!(!whole, "{cut} of {}", octets.len());
        }
    }

    #[test]
    fn every_length_is_checked() {
        let octets = example();
        for at in [0, HEADER + FIXED, HEADER + FIXED + 8] {
            for lie in 0..=u16::MAX {
                let mut octets = octets.clone();
                octets[at..at + 2].copy_from_slice(&lie.to_ne_bytes());
                // Ends, and never panics.
                assert!(parse(&octets).count() <= octets.len() / HEADER + 1);
            }
        }
        let mut endless = octets.clone();
        endless[..4].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(parse(&endless).collect::<Vec<_>>(), [Err(Malformed)]);
    }

    #[test]
    fn a_bad_message_does_not_hide_the_next() {
        let mut octets = datagram(&[(PREFIX, b"no packet\0")]);
        octets.extend(datagram(&[(MARK, &[1]), (PAYLOAD, b"x")]));
        octets.extend(example());
        let found: Vec<_> = parse(&octets).map(|p| p.is_ok()).collect();
        assert_eq!(found, [false, false, true]);
    }
}
