//! IPv6 packets, ICMPv6 errors, and the messages of Mobile IPv6.

use std::net::Ipv6Addr;
use std::num::NonZeroU16;

use aarp_wire::icmpv6::checksum;
use aarp_wire::icmpv6_error::{ErrorKind, ErrorRepr, may_answer};
use aarp_wire::ipv6::{Chain, Datagram, Extension, HEADERS_MAX, Ipv6Packet, Ipv6Repr, walk};
use aarp_wire::mobility::{
    BindingIdentifier, BindingOptions, CareOf, MobilityOption, MobilityPacket, MobilityRepr,
    Refusal, Status, fill_checksum, seal,
};

use crate::input::Input;

/// IPv6 headers, and the walk over those behind: `Ipv6Packet`, `walk`.
pub fn ipv6(data: &[u8]) {
    one_packet(data);
    // Most changes break version or length: once more with the right ones.
    if data.len() >= 40 {
        let mut whole = data.to_vec();
        whole[0] = 0x60 | data[0] & 0xf;
        whole[4..6].copy_from_slice(&((data.len() - 40) as u16).to_be_bytes());
        one_packet(&whole);
    }
}

fn one_packet(data: &[u8]) {
    let len = |octets: &[u8]| 40 + (usize::from(octets[4]) << 8 | usize::from(octets[5]));
    let is_header = data.len() >= 40 && data[0] >> 4 == 6;
    let packet = Ipv6Packet::new(data);
    assert_eq!(packet.is_ok(), is_header && data.len() >= len(data));
    let quoted = Ipv6Packet::quoted(data);
    assert_eq!(quoted.is_ok(), is_header);
    let Ok(packet) = quoted else { return };
    assert_eq!(packet.octets(), &data[..data.len().min(len(data))]);
    let mut header = [0xa5; 41];
    Ipv6Repr::parse(&packet)
        .emit(&mut header)
        .expect("it was one");
    assert_eq!((&header[..40], header[40]), (&data[..40], 0xa5));

    let chain = walk(&packet);
    let expected = read_chain(packet.octets());
    match (&chain, &expected) {
        (Ok(chain), Some(expected)) => assert_eq!(Read::of(chain), *expected),
        (Err(malformed), None) => assert!(malformed.at <= packet.octets().len()),
        other => panic!("{other:?}"),
    }
}

/// What a walk finds.
#[derive(Debug, PartialEq, Default)]
struct Read {
    protocol: u8,
    offset: usize,
    home: Option<Ipv6Addr>,
    routing: Option<Ipv6Addr>,
    fragment: Option<(usize, u16, bool)>,
    unrecognised: Option<(usize, Option<u8>)>,
}

impl Read {
    fn of(chain: &Chain<'_>) -> Self {
        let fragment = chain.fragment;
        Self {
            protocol: chain.protocol,
            offset: chain.offset,
            home: chain.home_address.map(|home| home.address),
            routing: chain.routing,
            fragment: fragment.map(|found| (found.at, found.offset, found.more)),
            unrecognised: chain.unrecognised.map(|found| (found.at, found.code)),
        }
    }
}

/// 2000::/3 and fc00::/7 are, and what is reserved but not for something else.
fn routable(octets: &[u8]) -> Option<Ipv6Addr> {
    let number = u128::from_be_bytes(octets.try_into().ok()?);
    let is_other = number < 2
        || number >> 120 == 0xff
        || number >> 118 == 0xfe80 >> 6
        || number >> 32 == 0xffff;
    (!is_other).then(|| number.into())
}

/// Whether a packet with this source, or to this destination, may go from link to link.
pub(crate) fn is_routable(address: Ipv6Addr) -> bool {
    routable(&address.octets()).is_some()
}

/// The protocol behind the extension headers of a packet that is whole; none where they
/// are malformed.
pub(crate) fn upper_protocol(octets: &[u8]) -> Option<u8> {
    let end = 40 + (usize::from(octets[4]) << 8 | usize::from(octets[5]));
    read_chain(&octets[..end]).map(|read| read.protocol)
}

/// The same, read with indices as in C; `None` for what is malformed.
fn read_chain(octets: &[u8]) -> Option<Read> {
    let mut read = Read {
        protocol: octets[6],
        offset: 40,
        ..Read::default()
    };
    let mut sealed = false;
    let mut count = 0;
    while [0, 43, 44, 51, 60].contains(&read.protocol) {
        count += 1;
        let at = read.offset;
        if count > HEADERS_MAX || at + 2 > octets.len() {
            return None;
        }
        let end = at
            + match read.protocol {
                44 => 8,
                51 => 8 + 4 * usize::from(octets[at + 1]),
                _ => 8 + 8 * usize::from(octets[at + 1]),
            };
        if end > octets.len() {
            return None;
        }
        match read.protocol {
            0 if at != 40 => return None,
            0 | 60 => read_options(octets, at, end, sealed, &mut read)?,
            43 if read.home.is_some() || read.routing.is_some() => return None,
            43 if octets[at + 2] == 2 => {
                if end != at + 24 || octets[at + 3] != 1 {
                    return None;
                }
                read.routing = Some(routable(&octets[at + 8..end])?);
            }
            43 if octets[at + 3] != 0 && read.unrecognised.is_none() => {
                read.unrecognised = Some((at + 2, Some(0)));
            }
            44 => {
                if read.fragment.is_some() {
                    return None;
                }
                let place = u16::from(octets[at + 2]) << 8 | u16::from(octets[at + 3]);
                read.fragment = Some((at, place / 8 * 8, place % 2 == 1));
                sealed = true;
            }
            51 => sealed = true,
            _ => {}
        }
        read.protocol = octets[at];
        read.offset = end;
        if read.fragment.is_some_and(|(_, offset, _)| offset != 0) {
            break;
        }
    }
    Some(read)
}

fn read_options(octets: &[u8], at: usize, end: usize, sealed: bool, read: &mut Read) -> Option<()> {
    let mut option = at + 2;
    while option < end {
        if octets[option] == 0 {
            option += 1;
            continue;
        }
        if option + 2 > end || option + 2 + usize::from(octets[option + 1]) > end {
            return None;
        }
        let data = &octets[option + 2..option + 2 + usize::from(octets[option + 1])];
        match octets[option] {
            1..=63 => {}
            201 if read.protocol == 60 => {
                if sealed || read.home.is_some() || data.len() != 16 {
                    return None;
                }
                read.home = Some(routable(data)?);
            }
            kind if read.unrecognised.is_none() => {
                let silent = kind < 128 || (kind >= 192 && octets[24] == 255);
                read.unrecognised = Some((option, (!silent).then_some(2)));
            }
            _ => {}
        }
        option += 2 + data.len();
    }
    Some(())
}

/// The octets of the fixed part.
fn fixed(kind: u8) -> Option<usize> {
    match kind {
        0 => Some(8),
        1 | 2 => Some(16),
        3 | 4 | 7 => Some(24),
        5 | 6 | 16 => Some(12),
        _ => None,
    }
}

/// Mobility Headers that were received: `MobilityPacket`.
pub fn mobility(data: &[u8]) {
    let Ok(packet) = MobilityPacket::new(data) else {
        assert!(data.len() < 2 || data.len() < 8 * (usize::from(data[1]) + 1));
        return one_header_of(data);
    };
    let octets = packet.octets();
    assert_eq!(octets, &data[..8 * (usize::from(data[1]) + 1)]);
    one_header(packet);
    one_header_of(data);
}

/// Once more with the right Payload Proto and length.
fn one_header_of(data: &[u8]) {
    if (8..=2048).contains(&data.len()) {
        let mut whole = data[..data.len() / 8 * 8].to_vec();
        whole[..2].copy_from_slice(&[59, (data.len() / 8 - 1) as u8]);
        one_header(MobilityPacket::new(&whole).expect("as long as it says"));
    }
}

fn one_header(packet: MobilityPacket<'_>) {
    let octets = packet.octets();
    let message = packet.message();
    let expected = match (fixed(octets[2]), octets[0]) {
        (None, _) => Some(Refusal::Type(octets[2])),
        (_, proto) if proto != 59 => Some(Refusal::PayloadProto(proto)),
        (Some(len), _) if octets.len() < len => Some(Refusal::HeaderLen(octets[1])),
        _ if octets[2] == 16 && !(1..=2).contains(&octets[6]) => Some(Refusal::Value),
        _ => None,
    };
    assert_eq!(message.err(), expected);

    // With the right checksum it is received if it is well-formed; with a wrong one not.
    let (source, destination) = (Ipv6Addr::LOCALHOST, Ipv6Addr::UNSPECIFIED);
    let mut mended = octets.to_vec();
    fill_checksum(source, destination, &mut mended).expect("long enough");
    let received = MobilityPacket::check(&mended, source, destination);
    match expected {
        None | Some(Refusal::Value) => assert!(received.is_ok()),
        Some(refusal) => assert_eq!(received, Err(refusal)),
    }
    mended[usize::from(octets[5]) % octets.len()] ^= 0x40;
    if let Ok(changed) = MobilityPacket::new(&mended) {
        let received = MobilityPacket::check(changed.octets(), source, destination);
        assert!(changed.octets().len() != octets.len() || received == Err(Refusal::Checksum));
    }

    let begin = fixed(octets[2]).unwrap_or(octets.len()).min(octets.len());
    let raw = read_raw(octets, begin);
    let mut found: Vec<_> = Vec::new();
    let mut failed = false;
    for option in packet.raw_options() {
        match option {
            Ok(option) => found.push((option.at, option.kind, option.data)),
            Err(_) => failed = true,
        }
    }
    assert_eq!((&found, failed), (&raw.0, raw.1));

    let mut options = Vec::new();
    let mut refused = raw.1;
    let mut raw = raw.0.iter();
    for placed in packet.options() {
        let Ok(placed) = placed else {
            refused = true;
            break;
        };
        // Those passed over are unknown or padding.
        let (at, kind, data) = loop {
            let (at, kind, data) = raw.next().expect("it was one of them");
            if *at == placed.at {
                break (at, kind, data);
            }
            assert!(![2, 3, 4, 5, 8, 9, 10, 35].contains(kind));
        };
        assert_eq!((placed.at, placed.option.kind()), (*at, *kind));
        assert_eq!(placed.option.buffer_len(), 2 + data.len());
        options.push(placed.option);
    }
    let read = BindingOptions::parse(&packet);
    assert!(read.is_err() || !refused);
    let Ok(message) = message else { return };
    if refused {
        return;
    }

    // Emitted and read again it is the same, if it may be sent like that.
    let repr = MobilityRepr {
        message,
        options: &options,
    };
    let Ok(len) = repr.buffer_len() else { return };
    let mut room = vec![0xa5; len + 1];
    assert!(repr.emit(&mut room[..len - 1]).is_err());
    let emitted = repr.emit(&mut room).expect("it was read").to_vec();
    assert_eq!(room[len], 0xa5, "written beyond the message");
    let again = MobilityPacket::new(&emitted).expect("as long as it says");
    assert_eq!(again.message(), Ok(message));
    let placed: Vec<_> = again
        .options()
        .map(|placed| placed.expect("it was read"))
        .collect();
    assert!(placed.iter().all(|placed| placed.is_aligned()));
    let placed: Vec<_> = placed.iter().map(|placed| placed.option).collect();
    assert_eq!(placed, options);
}

/// An option: where it is, its type and data.
type Raw<'a> = (usize, u8, &'a [u8]);

/// The options, read with indices as in C, and whether one goes beyond the header.
fn read_raw(octets: &[u8], begin: usize) -> (Vec<Raw<'_>>, bool) {
    let mut raw = Vec::new();
    let mut at = begin;
    while at < octets.len() {
        if octets[at] == 0 {
            at += 1;
            continue;
        }
        if at + 1 == octets.len() {
            return (raw, true);
        }
        let end = at + 2 + usize::from(octets[at + 1]);
        if end > octets.len() {
            return (raw, true);
        }
        raw.push((at, octets[at], &octets[at + 2..end]));
        at = end;
    }
    (raw, false)
}

/// Messages with options of every kind, written and read back: `MobilityRepr`, `seal`.
pub fn mobility_options(data: &[u8]) {
    let mut input = Input(data);
    // The fixed part of a message, as another would send it.
    let kind = [0, 1, 2, 3, 4, 5, 6, 7, 16][usize::from(input.octet() % 9)];
    let mut header = [0; 24];
    header[..3].copy_from_slice(&[59, 2, kind]);
    header[6..].copy_from_slice(&input.array::<18>());
    header[6] = if kind == 16 {
        1 + header[6] % 2
    } else {
        header[6]
    };
    let message = MobilityPacket::new(&header).expect("24 octets").message();
    let message = message.expect("well-formed");

    let which = input.octet();
    let mut options = Vec::new();
    for _ in 0..which % 8 {
        options.push(option(&mut input));
    }
    let repr = MobilityRepr {
        message,
        options: &options,
    };
    let mut datagram = Datagram::new(input.array::<16>().into(), input.array::<16>().into());
    datagram.extension = match which >> 6 {
        0 | 1 => None,
        2 => Some(Extension::HomeAddress(Ipv6Addr::from(1u128 << 125 | 1))),
        _ => Some(Extension::Routing(Ipv6Addr::from(1u128 << 125 | 2))),
    };
    let mut room = vec![0xa5; 2048 + 64];
    let in_the_middle = options.iter().rev().skip(1).any(MobilityOption::is_last);
    let written = match repr.emit_packet(&datagram, &mut room) {
        Ok(written) => written.len(),
        Err(_) => {
            // Too long altogether, with more padding than any option needs, or an
            // authenticator in the middle.
            let len: usize = options.iter().map(|option| option.buffer_len() + 8).sum();
            assert!(in_the_middle || len + 24 > 2040);
            return;
        }
    };
    assert!(!in_the_middle);
    room.truncate(written);

    let packet = Ipv6Packet::new(&room).expect("a packet");
    let chain = walk(&packet).expect("headers");
    let received = MobilityPacket::receive(&chain).expect("it was sent");
    assert_eq!(received.message(), Ok(message));
    let placed: Vec<_> = received
        .options()
        .map(|placed| placed.expect("it was sent"))
        .collect();
    let found: Vec<_> = placed.iter().map(|placed| placed.option).collect();
    assert_eq!(found, options);
    for placed in &placed {
        let (at, len) = (placed.at, placed.option.buffer_len());
        let right = match placed.option.kind() {
            3 => at % 8 == 6,
            5 | 10 => at % 8 == 2,
            2 | 4 => at.is_multiple_of(2),
            9 => at % 4 == 1,
            35 if len > 6 => at % 8 == 2,
            35 => at.is_multiple_of(2),
            _ => true,
        };
        assert!(right, "{placed:?}");
    }

    let place = received.authenticator().expect("it was sent");
    assert_eq!(
        place.is_some(),
        options.last().is_some_and(MobilityOption::is_last)
    );
    let Some(place) = place else { return };
    assert!(place.is_last && place.at + 12 == received.octets().len());
    let mut mobility = received.octets().to_vec();
    let (source, destination) = (chain.source(), chain.destination());
    let code = [0x5a; 12];
    seal(&mut mobility, &place, &code, source, destination).expect("there is room");
    let sealed = MobilityPacket::check(&mobility, source, destination).expect("sealed");
    assert_eq!(place.code(sealed.octets()), Ok(&code));
    let mut covered = received.octets()[..place.at].to_vec();
    covered[4..6].fill(0);
    assert_eq!(place.covered(sealed.octets()).concat(), covered);
}

fn option<'a>(input: &mut Input<'a>) -> MobilityOption<'a> {
    let mut octets = |most: usize| {
        let len = usize::from(input.octet()).min(most).min(input.0.len());
        let (front, rest) = input.0.split_at(len);
        input.0 = rest;
        front
    };
    match octets(1).first().copied().unwrap_or(0) % 9 {
        0 => MobilityOption::RefreshAdvice {
            interval: input.u16(),
        },
        1 => MobilityOption::AlternateCareOf(input.array::<16>().into()),
        2 => MobilityOption::NonceIndices {
            home: input.u16(),
            care_of: input.u16(),
        },
        3 => MobilityOption::AuthorizationData(input.array()),
        4 => MobilityOption::NodeIdentifier {
            identifier: octets(254),
            subtype: input.octet(),
        },
        5 => MobilityOption::MessageAuthentication {
            code: octets(250),
            spi: input.u32(),
            subtype: 2 + input.octet() % 254,
        },
        6 => MobilityOption::MessageAuthentication {
            subtype: 1,
            spi: input.u32(),
            code: &[7; 12],
        },
        7 => MobilityOption::MessageIdentification {
            timestamp: u64::from_be_bytes(input.array()),
        },
        _ => {
            let which = input.octet();
            MobilityOption::BindingIdentifier(BindingIdentifier {
                bid: NonZeroU16::new(input.u16()).unwrap_or(NonZeroU16::MIN),
                status: Status(input.octet()),
                at_home: which & 0x80 != 0,
                priority: which & 0x7f,
                care_of: match which % 3 {
                    0 => None,
                    1 => Some(CareOf::V4(input.array::<4>().into())),
                    _ => Some(CareOf::V6(input.array::<16>().into())),
                },
            })
        }
    }
}

/// ICMPv6 error messages, read and written: `ErrorRepr`.
pub fn icmpv6_error(data: &[u8]) {
    let parsed = ErrorRepr::parse(data);
    let Some((header, invoking)) = data.split_at_checked(8) else {
        return assert!(parsed.is_err());
    };
    assert_eq!(parsed.is_ok(), (1..=4).contains(&header[0]));
    let Ok(repr) = parsed else { return };
    assert_eq!(repr.invoking, invoking);
    let answerable = match repr.quoted() {
        Ok(quoted) => may_answer(&quoted, repr.kind),
        Err(_) => false,
    };
    if answerable {
        // Never an answer to an error, nor to nobody.
        assert!(invoking[8] != 0xff && invoking[8..24] != [0; 16]);
        assert!(!(invoking[6] == 58 && (invoking.len() < 41 || invoking[40] < 128)));
        assert!(invoking[24] != 0xff || matches!(header[..2], [2, _] | [4, 2]));
    }
    let datagram = Datagram::new(Ipv6Addr::from(1u128 << 125), Ipv6Addr::from(1u128 << 124));
    let mut room = [0xa5; 1300];
    let len = repr
        .emit_packet(&datagram, &mut room)
        .expect("there is room")
        .len();
    assert_eq!(len, (48 + invoking.len()).min(1280));
    assert_eq!(room[len], 0xa5, "written beyond the message");
    let message = &room[40..len];
    assert_eq!(checksum(datagram.source, datagram.destination, message), 0);
    assert_eq!(message[0], header[0]);
    // The code of Packet Too Big and what is unused are zero.
    let (code, parameter) = match repr.kind {
        ErrorKind::PacketTooBig { .. } => (0, &header[4..8]),
        ErrorKind::ParameterProblem { .. } => (header[1], &header[4..8]),
        _ => (header[1], &[0; 4][..]),
    };
    assert_eq!((message[1], &message[4..8]), (code, parameter));
    assert_eq!(message[8..], invoking[..len - 48]);
}
