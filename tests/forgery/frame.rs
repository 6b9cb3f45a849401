//! Echo messages and errors as frames on the wire, written and read without the code that is
//! tested.

use std::net::Ipv6Addr;

pub const ECHO_REQUEST: u8 = 128;
pub const ECHO_REPLY: u8 = 129;
pub const UNREACHABLE: u8 = 1;
pub const PORT_UNREACHABLE: u8 = 4;

const ETHERNET: usize = 14;
const IP: usize = 40;
const ICMP: usize = 8;

/// An ICMPv6 message with what carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub ethernet: [u8; ETHERNET],
    /// Version, traffic class and flow label.
    pub first: [u8; 4],
    pub hop_limit: u8,
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub kind: u8,
    pub code: u8,
    /// By how much the checksum is off; 0 is right.
    pub checksum_off: u16,
    pub ident: u16,
    pub sequence: u16,
    pub payload: Vec<u8>,
}

/// The sum in one's complement of the pseudo-header and a message.
fn sum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).expect("a short message");
    let mut octets = [source.octets(), destination.octets()].concat();
    octets.extend(length.to_be_bytes());
    octets.extend([0, 0, 0, 58]);
    octets.extend(message);
    if octets.len() % 2 == 1 {
        octets.push(0);
    }
    let mut sum: u32 = octets
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

impl Message {
    /// Takes a frame apart; none if it is no ICMPv6 message of eight octets or more.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let (ethernet, packet) = frame.split_first_chunk::<ETHERNET>()?;
        let (ip, rest) = packet.split_first_chunk::<IP>()?;
        if ethernet[12..] != [0x86, 0xdd] || ip[6] != 58 {
            return None;
        }
        let message = rest.get(..usize::from(u16::from_be_bytes([ip[4], ip[5]])))?;
        let (icmp, payload) = message.split_first_chunk::<ICMP>()?;
        let address = |at: usize| {
            let octets: [u8; 16] = ip[at..at + 16].try_into().expect("sixteen octets");
            Ipv6Addr::from(octets)
        };
        let word = |at: usize| u16::from_be_bytes([icmp[at], icmp[at + 1]]);
        let (source, destination) = (address(8), address(24));
        let mut blank = message.to_vec();
        blank[2..4].fill(0);
        let right = !sum(source, destination, &blank);
        Some(Self {
            ethernet: *ethernet,
            first: ip[..4].try_into().expect("four octets"),
            hop_limit: ip[7],
            source,
            destination,
            kind: icmp[0],
            code: icmp[1],
            checksum_off: word(2).wrapping_sub(right),
            ident: word(4),
            sequence: word(6),
            payload: payload.to_vec(),
        })
    }

    /// The frame.
    pub fn emit(&self) -> Vec<u8> {
        let mut message = vec![self.kind, self.code, 0, 0];
        message.extend(self.ident.to_be_bytes());
        message.extend(self.sequence.to_be_bytes());
        message.extend(&self.payload);
        let checksum =
            (!sum(self.source, self.destination, &message)).wrapping_add(self.checksum_off);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
        let length = u16::try_from(message.len()).expect("a short message");
        let mut frame = self.ethernet.to_vec();
        frame.extend(self.first);
        frame.extend(length.to_be_bytes());
        frame.extend([58, self.hop_limit]);
        frame.extend(self.source.octets());
        frame.extend(self.destination.octets());
        frame.extend(message);
        frame
    }

    /// What a responder answers to this request, from `source`.
    pub fn reply(&self, source: Ipv6Addr) -> Self {
        let mut ethernet = self.ethernet;
        ethernet[..6].copy_from_slice(&self.ethernet[6..12]);
        ethernet[6..12].copy_from_slice(&self.ethernet[..6]);
        Self {
            ethernet,
            first: [0x60, 0, 0, 0],
            hop_limit: 62,
            source,
            destination: self.source,
            kind: ECHO_REPLY,
            code: 0,
            checksum_off: 0,
            ..self.clone()
        }
    }

    /// What a host says from `source` on whose port nobody listens, if the frame
    /// carries a probe to this address and port.
    pub fn port_unreachable(
        frame: &[u8],
        (address, port): (Ipv6Addr, u16),
        source: Ipv6Addr,
    ) -> Option<Self> {
        let (ethernet, packet) = frame.split_first_chunk::<ETHERNET>()?;
        let udp = packet.get(IP..)?;
        let is_probe = ethernet[12..] == [0x86, 0xdd]
            && packet[6] == 17
            && packet[24..40] == address.octets()
            && udp.get(2..4)? == port.to_be_bytes()
            && udp.get(8..12)? == b"AARP";
        let from: [u8; 16] = packet[8..24].try_into().expect("sixteen octets");
        let blank = Self {
            ethernet: *ethernet,
            first: [0x60, 0, 0, 0],
            hop_limit: 62,
            source: from.into(),
            destination: address,
            kind: UNREACHABLE,
            code: PORT_UNREACHABLE,
            checksum_off: 0,
            ident: 0,
            sequence: 0,
            payload: packet.to_vec(),
        };
        is_probe.then(|| Self {
            kind: UNREACHABLE,
            code: PORT_UNREACHABLE,
            ..blank.reply(source)
        })
    }

    /// The names of what differs from another message.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        [
            ("ethernet", self.ethernet != other.ethernet),
            ("first", self.first != other.first),
            ("hop limit", self.hop_limit != other.hop_limit),
            ("source", self.source != other.source),
            ("destination", self.destination != other.destination),
            ("type", self.kind != other.kind),
            ("code", self.code != other.code),
            ("checksum", self.checksum_off != other.checksum_off),
            ("identifier", self.ident != other.ident),
            ("sequence", self.sequence != other.sequence),
            ("payload", self.payload != other.payload),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }
}
