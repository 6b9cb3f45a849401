//! Listening sockets as /proc/net shows them, and which of them do not fit an A
//! whose clients are moved to U.

use std::net::Ipv6Addr;

use serde::Serialize;

/// The transport of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

/// A socket that waits for clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) protocol: Protocol,
    pub(crate) address: Ipv6Addr,
    pub(crate) port: u16,
    pub(crate) inode: u64,
}

/// What is wrong with a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Bound to A alone: a client that was moved to U does not find it.
    AnycastOnly,
    /// A datagram to A may be answered from another address.
    AnswersFromUnicast,
}

/// A service that does not fit, with all the sockets that make it up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) kind: Kind,
    pub(crate) protocol: Protocol,
    pub(crate) address: Ipv6Addr,
    pub(crate) port: u16,
    pub(crate) anycast: Ipv6Addr,
    pub(crate) unicast: Option<Ipv6Addr>,
    pub(crate) inodes: Vec<u64>,
}

/// Reads /proc/net/tcp6 or udp6. Lines that are not understood are passed over:
/// the kernel may add columns, and other states are none of our business.
pub(crate) fn parse(text: &str, protocol: Protocol) -> Vec<Listener> {
    text.lines()
        .skip(1)
        .filter_map(|line| parse_line(line, protocol))
        .collect()
}

fn parse_line(line: &str, protocol: Protocol) -> Option<Listener> {
    // sl local remote st tx:rx tr:when retrnsmt uid timeout inode
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let state = u8::from_str_radix(fields.get(3)?, 16).ok()?;
    // TCP_LISTEN; an unconnected UDP socket is TCP_CLOSE (net/tcp_states.h).
    let waiting = match protocol {
        Protocol::Tcp => 0x0a,
        Protocol::Udp => 0x07,
    };
    let (address, port) = fields.get(1)?.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    if state != waiting || port == 0 {
        return None;
    }
    Some(Listener {
        protocol,
        address: parse_address(address)?,
        port,
        inode: fields.get(9)?.parse().ok()?,
    })
}

/// Four words, each printed as the host reads it from memory.
fn parse_address(text: &str) -> Option<Ipv6Addr> {
    if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut octets = [0; 16];
    for (index, word) in octets.chunks_exact_mut(4).enumerate() {
        let digits = text.get(8 * index..8 * index + 8)?;
        word.copy_from_slice(&u32::from_str_radix(digits, 16).ok()?.to_ne_bytes());
    }
    Some(octets.into())
}

/// The services that do not fit the pair A and U.
pub(crate) fn examine(
    anycast: Ipv6Addr,
    unicast: Option<Ipv6Addr>,
    listeners: &[Listener],
) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for listener in listeners {
        // Another socket on the same port may serve U in its place.
        let serves_unicast = |other: &Listener| {
            (other.protocol, other.port) == (listener.protocol, listener.port)
                && (other.address.is_unspecified() || Some(other.address) == unicast)
        };
        let kind = if listener.address == anycast && !listeners.iter().any(serves_unicast) {
            Kind::AnycastOnly
        } else if listener.address.is_unspecified() && listener.protocol == Protocol::Udp {
            Kind::AnswersFromUnicast
        } else {
            continue;
        };
        let same = findings.iter_mut().find(|f| {
            (f.kind, f.protocol, f.address, f.port)
                == (kind, listener.protocol, listener.address, listener.port)
        });
        match same {
            Some(finding) => finding.inodes.push(listener.inode),
            None => findings.push(Finding {
                kind,
                protocol: listener.protocol,
                address: listener.address,
                port: listener.port,
                anycast,
                unicast,
                inodes: vec![listener.inode],
            }),
        }
    }
    findings.sort_by_key(|f| (f.kind, f.protocol, f.port, f.address));
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "  sl  local_address remote_address st tx_queue rx_queue tr tm->when retrnsmt uid timeout inode\n";

    fn ip(text: &str) -> Ipv6Addr {
        text.parse().expect("an address")
    }

    fn line(address: &str, port: u16, state: &str, inode: u64) -> String {
        let words: String = ip(address)
            .octets()
            .chunks_exact(4)
            .map(|c| format!("{:08X}", u32::from_ne_bytes([c[0], c[1], c[2], c[3]])))
            .collect();
        let zero = "0".repeat(32);
        format!(
            "   0: {words}:{port:04X} {zero}:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 {inode} 1 0000000000000000 100 0 0 10 0\n"
        )
    }

    fn listener(protocol: Protocol, address: &str, port: u16, inode: u64) -> Listener {
        Listener {
            protocol,
            address: ip(address),
            port,
            inode,
        }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn a_line_of_a_real_kernel() {
        let text = format!(
            "{HEADER}   1: B80D01200F0000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 27141 1 ffff8880 100 0 0 10 0\n"
        );
        assert_eq!(
            parse(&text, Protocol::Tcp),
            [listener(Protocol::Tcp, "2001:db8:0:f::1", 8080, 27141)]
        );
    }

    #[test]
    fn only_what_waits_is_read() {
        let text = [
            HEADER,
            &line("::", 53, "07", 1),
            &line("2001:db8::1", 53, "01", 2),
            &line("::", 0, "07", 3),
        ]
        .concat();
        assert_eq!(
            parse(&text, Protocol::Udp),
            [listener(Protocol::Udp, "::", 53, 1)]
        );
        assert_eq!(parse(&text, Protocol::Tcp), []);
    }

    #[test]
    fn broken_lines_are_passed_over() {
        let good = line("::", 53, "07", 1);
        for cut in 0..good.len() {
            // No cut may panic; a line without its inode is no listener.
            let found = parse(&format!("{HEADER}{}", &good[..cut]), Protocol::Udp);
            assert!(found.len() <= 1);
        }
        for bad in [
            "é: é:é é 07",
            "0: 0:35 0:0 07 0 0 0 0 0 1",
            "0: +0000000000000000000000000000000:0035 0 07 0 0 0 0 0 1",
        ] {
            assert_eq!(
                parse(&format!("{HEADER}{bad}\n{good}"), Protocol::Udp).len(),
                1,
                "{bad}"
            );
        }
        assert_eq!(parse("", Protocol::Udp), []);
    }

    #[test]
    fn findings() {
        let (a, u) = (ip("2001:db8:f::1"), ip("2001:db8:1::2"));
        let on = |address, port, inode| listener(Protocol::Tcp, address, port, inode);
        let listeners = [
            on("2001:db8:f::1", 80, 1),
            on("2001:db8:f::1", 80, 2),
            on("2001:db8:f::1", 443, 3),
            on("2001:db8:1::2", 443, 4),
            on("2001:db8:f::1", 8080, 5),
            on("::", 8080, 6),
            on("::", 22, 7),
            listener(Protocol::Udp, "2001:db8:f::1", 8080, 8),
            listener(Protocol::Udp, "::", 53, 9),
            listener(Protocol::Udp, "2001:db8:f::2", 54, 10),
        ];
        let found: Vec<_> = examine(a, Some(u), &listeners)
            .into_iter()
            .map(|f| (f.kind, f.protocol, f.port, f.inodes))
            .collect();
        assert_eq!(
            found,
            [
                (Kind::AnycastOnly, Protocol::Tcp, 80, vec![1, 2]),
                (Kind::AnycastOnly, Protocol::Udp, 8080, vec![8]),
                (Kind::AnswersFromUnicast, Protocol::Udp, 53, vec![9]),
            ]
        );
        let without = examine(a, None, &listeners);
        assert!(without.iter().any(|f| f.port == 443), "U is unknown");
    }
}
