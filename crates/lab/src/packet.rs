//! Captured packets, taken apart, and the questions that are asked about them.
use std::net::IpAddr;
use std::time::Duration;

use etherparse::{IpNumber, LaxNetSlice, LaxSlicedPacket, LinkSlice, TcpSlice, TransportSlice};
use serde::Deserialize;

/// What follows the IP header.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// A TCP segment.
    Tcp(Tcp),
    /// A UDP datagram.
    Udp {
        /// Source port.
        sport: u16,
        /// Destination port.
        dport: u16,
    },
    /// An ICMPv6 message.
    Icmp6 {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
    },
    /// Anything else, by its protocol number; also later fragments.
    Other(u8),
}

/// The header of a TCP segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Source port.
    pub sport: u16,
    /// Destination port.
    pub dport: u16,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    pub ack: u32,
    /// Flags, as in the header: FIN 1, SYN 2, RST 4, PSH 8, ACK 16.
    pub flags: u8,
}

/// Letters of the TCP flags, from the lowest bit on.
const FLAGS: [char; 8] = ['F', 'S', 'R', 'P', 'A', 'U', 'E', 'C'];

/// One IP packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// When it was captured, since the Unix epoch.
    pub time: Duration,
    /// Whether the host sent it (else it received it).
    pub outgoing: bool,
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// What it carries.
    pub transport: Transport,
    /// Octets after the transport header, as on the wire.
    pub payload_len: usize,
    /// As many of them as the capture kept.
    pub payload: Vec<u8>,
}

impl Packet {
    /// Takes a frame apart; none if it is no IP packet. `mac` is the address of
    /// the interface it was captured on.
    pub(crate) fn parse(time: Duration, frame: &[u8], mac: [u8; 6]) -> Option<Self> {
        let sliced = LaxSlicedPacket::from_ethernet(frame).ok()?;
        let outgoing = match &sliced.link {
            // On loopback, where both are zero, only arriving packets are captured.
            Some(LinkSlice::Ethernet2(ethernet)) => mac != [0; 6] && ethernet.source() == mac,
            _ => false,
        };
        let (src, dst, total, inner): (IpAddr, IpAddr, usize, _) = match sliced.net? {
            LaxNetSlice::Ipv6(ip) => {
                let header = ip.header();
                let total = usize::from(header.payload_length());
                (
                    header.source_addr().into(),
                    header.destination_addr().into(),
                    total.saturating_sub(ip.extensions().slice().len()),
                    ip.payload().clone(),
                )
            }
            LaxNetSlice::Ipv4(ip) => {
                let header = ip.header();
                let total = usize::from(header.total_len());
                (
                    header.source_addr().into(),
                    header.destination_addr().into(),
                    total.saturating_sub(usize::from(header.ihl()) * 4),
                    ip.payload().clone(),
                )
            }
            LaxNetSlice::Arp(_) => return None,
        };
        let number: IpNumber = inner.ip_number;
        let (transport, header_len) = match &sliced.transport {
            Some(TransportSlice::Tcp(tcp)) => {
                (Transport::Tcp(Tcp::new(tcp)), tcp.header_slice().len())
            }
            Some(TransportSlice::Udp(udp)) => {
                let (sport, dport) = (udp.source_port(), udp.destination_port());
                (Transport::Udp { sport, dport }, 8)
            }
            Some(TransportSlice::Icmpv6(icmp)) => {
                let (kind, code) = (icmp.type_u8(), icmp.code_u8());
                (Transport::Icmp6 { kind, code }, 8)
            }
            _ => (Transport::Other(number.0), 0),
        };
        let kept = inner.payload.get(header_len..).unwrap_or_default();
        let payload_len = total.saturating_sub(header_len);
        Some(Self {
            time,
            outgoing,
            src,
            dst,
            transport,
            payload_len,
            payload: kept[..kept.len().min(payload_len)].to_vec(),
        })
    }

    /// The TCP header, if it is a TCP segment.
    pub fn tcp(&self) -> Option<&Tcp> {
        match &self.transport {
            Transport::Tcp(tcp) => Some(tcp),
            _ => None,
        }
    }

    /// Source and destination port, if it has ports.
    pub fn ports(&self) -> Option<(u16, u16)> {
        match &self.transport {
            Transport::Tcp(tcp) => Some((tcp.sport, tcp.dport)),
            Transport::Udp { sport, dport } => Some((*sport, *dport)),
            _ => None,
        }
    }
}

impl Tcp {
    fn new(tcp: &TcpSlice<'_>) -> Self {
        Self {
            sport: tcp.source_port(),
            dport: tcp.destination_port(),
            seq: tcp.sequence_number(),
            ack: tcp.acknowledgment_number(),
            flags: tcp.header_slice()[13],
        }
    }

    /// Whether all of these flags are set, as letters: `"SA"`.
    pub fn has(&self, letters: &str) -> bool {
        mask(letters).is_some_and(|mask| self.flags & mask == mask)
    }
}

fn mask(letters: &str) -> Option<u8> {
    letters.chars().try_fold(0, |mask, letter| {
        let bit = FLAGS.iter().position(|flag| *flag == letter)?;
        Some(mask | 1 << bit)
    })
}

/// A protocol, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proto {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMPv6.
    Icmp6,
}

/// Whether the host sent or received a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Received.
    In,
    /// Sent.
    Out,
}

/// TCP flags that must be set (capitals) or clear (small letters): `"Sa"` is a
/// SYN that is no SYN-ACK.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlagPattern {
    set: u8,
    clear: u8,
}

impl std::str::FromStr for FlagPattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (set, clear): (String, String) = text.chars().partition(char::is_ascii_uppercase);
        let error =
            || format!("{text:?} are no TCP flags: letters out of FSRPAUEC, small for clear");
        Ok(Self {
            set: mask(&set).ok_or_else(error)?,
            clear: mask(&clear.to_ascii_uppercase()).ok_or_else(error)?,
        })
    }
}

impl<'de> Deserialize<'de> for FlagPattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// Which packets are meant: all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Filter {
    /// Protocol.
    pub proto: Option<Proto>,
    /// Source address.
    pub src: Option<IpAddr>,
    /// Destination address.
    pub dst: Option<IpAddr>,
    /// Source or destination address.
    pub address: Option<IpAddr>,
    /// Source port.
    pub sport: Option<u16>,
    /// Destination port.
    pub dport: Option<u16>,
    /// Source or destination port.
    pub port: Option<u16>,
    /// TCP flags.
    pub flags: Option<FlagPattern>,
    /// ICMPv6 type.
    pub icmp6_type: Option<u8>,
    /// Whether it carries anything after its transport header.
    pub data: Option<bool>,
    /// Its direction, seen from the host.
    pub direction: Option<Direction>,
}

impl Filter {
    /// Every packet.
    pub fn any() -> Self {
        Self::default()
    }

    /// TCP segments.
    pub fn tcp() -> Self {
        Self::proto(Proto::Tcp)
    }

    /// UDP datagrams.
    pub fn udp() -> Self {
        Self::proto(Proto::Udp)
    }

    /// ICMPv6 messages of a type.
    pub fn icmp6(kind: u8) -> Self {
        Self {
            icmp6_type: Some(kind),
            ..Self::proto(Proto::Icmp6)
        }
    }

    fn proto(proto: Proto) -> Self {
        Self {
            proto: Some(proto),
            ..Self::default()
        }
    }

    /// From this address.
    pub fn src(mut self, address: impl Into<IpAddr>) -> Self {
        self.src = Some(address.into());
        self
    }

    /// To this address.
    pub fn dst(mut self, address: impl Into<IpAddr>) -> Self {
        self.dst = Some(address.into());
        self
    }

    /// From or to this address.
    pub fn address(mut self, address: impl Into<IpAddr>) -> Self {
        self.address = Some(address.into());
        self
    }

    /// From or to this port.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// With these TCP flags set (capitals) or clear (small letters).
    ///
    /// # Panics
    /// When these are no letters of TCP flags.
    pub fn flags(mut self, letters: &str) -> Self {
        self.flags = Some(letters.parse().unwrap_or_else(|error| panic!("{error}")));
        self
    }

    /// Sent, or received, by the host.
    pub fn direction(mut self, direction: Direction) -> Self {
        self.direction = Some(direction);
        self
    }

    /// Whether a packet is meant.
    pub fn matches(&self, packet: &Packet) -> bool {
        fn is<T: PartialEq>(wanted: &Option<T>, value: Option<T>) -> bool {
            wanted.is_none() || *wanted == value
        }
        let (proto, kind) = match packet.transport {
            Transport::Tcp(_) => (Some(Proto::Tcp), None),
            Transport::Udp { .. } => (Some(Proto::Udp), None),
            Transport::Icmp6 { kind, .. } => (Some(Proto::Icmp6), Some(kind)),
            Transport::Other(_) => (None, None),
        };
        let ports = packet.ports();
        let direction = match packet.outgoing {
            true => Direction::Out,
            false => Direction::In,
        };
        is(&self.proto, proto)
            && is(&self.src, Some(packet.src))
            && is(&self.dst, Some(packet.dst))
            && self
                .address
                .is_none_or(|address| [packet.src, packet.dst].contains(&address))
            && is(&self.sport, ports.map(|ports| ports.0))
            && is(&self.dport, ports.map(|ports| ports.1))
            && self
                .port
                .is_none_or(|port| ports.is_some_and(|(s, d)| s == port || d == port))
            && self.flags.is_none_or(|pattern| {
                packet.tcp().is_some_and(|tcp| {
                    tcp.flags & pattern.set == pattern.set && tcp.flags & pattern.clear == 0
                })
            })
            && is(&self.icmp6_type, kind)
            && is(&self.data, Some(packet.payload_len > 0))
            && is(&self.direction, Some(direction))
    }

    /// How many of these packets are meant.
    pub fn count<'p>(&self, packets: impl IntoIterator<Item = &'p Packet>) -> usize {
        packets.into_iter().filter(|p| self.matches(p)).count()
    }
}
